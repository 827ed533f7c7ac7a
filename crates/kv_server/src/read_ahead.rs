//! [`Budget`]: the memory for requests that were read and not run, of all connections together. [`Share`]: what one
//! connection has of it.
//!
//! - Bytes that were read, and commands between MULTI and EXEC, count.
//! - What a connection holds below [`FREE_BYTES`] does not count, and is never held back. So clients with short
//!   commands are served while others send long ones, and a connection with short commands never takes a lock here.
//! - When the budget is used up, nobody reads on but one: the first that asks. Otherwise clients whose long commands
//!   have come in part would wait for each other. It keeps this right until it holds less than the free bytes, or ends.
//!   Then the others ask again.
//!
//! So the server holds at most the budget, one command, and the free bytes of each connection.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

/// Bytes of one connection that do not count.
pub(crate) const FREE_BYTES: usize = 64 << 10;

#[derive(Debug)]
pub(crate) struct Budget {
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes of all connections that count.
    held: usize,
    peak: usize,
    /// The connection that reads on although the budget is used up.
    beyond: Option<u64>,
    /// Connections that wait.
    waiting: BTreeMap<u64, Waker>,
}

/// What one connection holds. It must be [returned](Share::end).
#[derive(Debug)]
pub(crate) struct Share {
    id: u64,
    counted: usize,
}

impl Budget {
    pub(crate) fn new(most: usize) -> Budget {
        Budget { most, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that are held now, and the most that were.
    pub(crate) fn held(&self) -> (usize, usize) {
        let state = self.lock();
        (state.held, state.peak)
    }
}

impl Share {
    pub(crate) fn new(id: u64) -> Share {
        Share { id, counted: 0 }
    }

    /// Whether the connection, which holds `bytes`, may read more. If not, the task is woken when it should ask again.
    pub(crate) fn may_read(&mut self, bytes: usize, budget: &Budget, cx: &Context<'_>) -> bool {
        if bytes < FREE_BYTES {
            self.end(budget);
            return true;
        }
        let mut state = budget.lock();
        state.held = state.held - self.counted + bytes;
        state.peak = state.peak.max(state.held);
        let has_shrunk = bytes < self.counted;
        self.counted = bytes;
        if has_shrunk && state.held < budget.most {
            wake_all(&mut state);
        }
        let may = state.held < budget.most || *state.beyond.get_or_insert(self.id) == self.id;
        if !may {
            state.waiting.insert(self.id, cx.waker().clone());
        }
        may
    }

    /// The connection holds nothing that counts any more.
    pub(crate) fn end(&mut self, budget: &Budget) {
        if self.counted == 0 {
            return;
        }
        let mut state = budget.lock();
        state.held -= self.counted;
        state.waiting.remove(&self.id);
        self.counted = 0;
        let was_beyond = state.beyond == Some(self.id);
        if was_beyond {
            state.beyond = None;
        }
        if was_beyond || state.held < budget.most {
            wake_all(&mut state);
        }
    }
}

fn wake_all(state: &mut State) {
    std::mem::take(&mut state.waiting).into_values().for_each(Waker::wake);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Woken>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    const MOST: usize = 4 * FREE_BYTES;

    #[test]
    fn one_reads_beyond_the_budget_and_the_others_wait_until_it_is_done() {
        let (budget, woken) = (Budget::new(MOST), Arc::new(Woken::default()));
        let waker = Waker::from(Arc::clone(&woken));
        let cx = Context::from_waker(&waker);
        let (mut one, mut two, mut three) = (Share::new(1), Share::new(2), Share::new(3));
        assert!(one.may_read(MOST - 1, &budget, &cx), "there is room");
        assert!(two.may_read(2 * FREE_BYTES, &budget, &cx), "one goes beyond");
        assert!(!one.may_read(MOST - 1, &budget, &cx) && !three.may_read(FREE_BYTES, &budget, &cx));
        assert!(two.may_read(9 * FREE_BYTES, &budget, &cx), "the same one goes on");
        assert!(three.may_read(FREE_BYTES - 1, &budget, &cx), "little is always read");
        assert!(!three.may_read(FREE_BYTES, &budget, &cx));
        assert_eq!((budget.held().0, woken.0.load(Ordering::Relaxed)), (MOST - 1 + 10 * FREE_BYTES, 0));

        two.end(&budget);
        assert_eq!(woken.0.load(Ordering::Relaxed), 2, "all that wait ask again");
        assert!(three.may_read(FREE_BYTES, &budget, &cx), "the next one goes beyond");
        assert!(!one.may_read(MOST - 1, &budget, &cx));
        three.end(&budget);
        assert!(one.may_read(MOST - 1, &budget, &cx));
        one.end(&budget);
        assert_eq!(budget.held(), (0, MOST - 1 + 10 * FREE_BYTES));
    }

    #[test]
    fn a_connection_that_ends_while_it_waits_is_forgotten() {
        let (budget, woken) = (Budget::new(FREE_BYTES), Arc::new(Woken::default()));
        let waker = Waker::from(Arc::clone(&woken));
        let cx = Context::from_waker(&waker);
        let (mut one, mut two) = (Share::new(1), Share::new(2));
        assert!(one.may_read(FREE_BYTES, &budget, &cx) && !two.may_read(FREE_BYTES, &budget, &cx));
        two.end(&budget);
        one.end(&budget);
        assert_eq!((budget.held().0, woken.0.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn what_becomes_less_makes_room() {
        let (budget, woken) = (Budget::new(MOST), Arc::new(Woken::default()));
        let waker = Waker::from(Arc::clone(&woken));
        let cx = Context::from_waker(&waker);
        let (mut one, mut two, mut three) = (Share::new(1), Share::new(2), Share::new(3));
        assert!(one.may_read(2 * FREE_BYTES, &budget, &cx) && two.may_read(2 * FREE_BYTES, &budget, &cx));
        assert!(!three.may_read(FREE_BYTES, &budget, &cx) && !one.may_read(2 * FREE_BYTES, &budget, &cx));
        assert!(two.may_read(2 * FREE_BYTES, &budget, &cx), "it goes beyond");
        two.end(&budget);
        assert_eq!(woken.0.load(Ordering::Relaxed), 2);
        assert!(three.may_read(FREE_BYTES, &budget, &cx));
    }
}
