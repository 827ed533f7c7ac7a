//! Searches an order of calls that explains what every caller got: the algorithm of Wing and Gong with the memory of
//! Lowe, as in "Testing for linearizability" (Gavin Lowe, 2017).
//!
//! A history of one register is *linearizable* if each call can be given one moment between its beginning and its end,
//! so that the results are those of a register that runs the calls in the order of these moments. A call whose end is
//! unknown may have its moment at any time after its beginning, or never.

use std::collections::HashSet;

/// The value of the register. `None`: the key does not exist.
pub(crate) type Value = Option<i64>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Get,
    Set(i64),
    /// Sets, and returns the old value.
    Swap(i64),
    /// Sets if the key does not exist. The result is whether it did: `Some(1)` or `Some(0)`.
    SetIfAbsent(i64),
    /// The result is whether the key existed.
    Delete,
    /// The result is the new value.
    Increment,
}

/// A call, with the moments of its beginning and its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) kind: Kind,
    pub(crate) began: u64,
    /// `None`: it is unknown whether the call was done.
    pub(crate) ended: Option<(u64, Value)>,
}

impl Kind {
    /// The register after the call, and the result.
    fn apply(self, value: Value) -> (Value, Value) {
        let yes = |is: bool| Some(i64::from(is));
        match self {
            Kind::Get => (value, value),
            Kind::Set(new) => (Some(new), None),
            Kind::Swap(new) => (Some(new), value),
            Kind::SetIfAbsent(new) => (value.or(Some(new)), yes(value.is_none())),
            Kind::Delete => (None, yes(value.is_some())),
            Kind::Increment => {
                let new = value.unwrap_or(0) + 1;
                (Some(new), Some(new))
            }
        }
    }
}

/// Which calls have their moment already.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Done(Vec<u64>);

impl Done {
    fn has(&self, call: usize) -> bool {
        self.0[call / 64] >> (call % 64) & 1 == 1
    }

    fn set(&mut self, call: usize, done: bool) {
        let bit = 1 << (call % 64);
        if done { self.0[call / 64] |= bit } else { self.0[call / 64] &= !bit }
    }
}

/// Whether an order explains the history of a register that first has the value `first`.
pub(crate) fn is_linearizable(calls: &[Call], first: Value) -> bool {
    let mut calls = calls.to_vec();
    calls.sort_by_key(|call| call.began);
    let mut done = Done(vec![0; calls.len().div_ceil(64)]);
    let mut value = first;
    let mut seen = HashSet::new();
    // The calls that have been given a moment, in order, each with the value before it.
    let mut order: Vec<(usize, Value)> = Vec::new();
    // Where the search for the next call begins.
    let mut from = 0;
    loop {
        match next(&calls, &done, value, from) {
            Next::All => return true,
            Next::Call(at, new) => {
                done.set(at, true);
                if seen.insert((done.clone(), new)) {
                    order.push((at, value));
                    (value, from) = (new, 0);
                } else {
                    done.set(at, false);
                    from = at + 1;
                }
            }
            Next::None => {
                let Some((at, before)) = order.pop() else { return false };
                done.set(at, false);
                (value, from) = (before, at + 1);
            }
        }
    }
}

enum Next {
    /// Every call with a known end has its moment.
    All,
    Call(usize, Value),
    None,
}

/// The first call from `from` on that may come next, and whose result fits.
fn next(calls: &[Call], done: &Done, value: Value, from: usize) -> Next {
    // A call may come next only if no other open call has ended before it began.
    let open = || calls.iter().enumerate().filter(|(at, _)| !done.has(*at));
    let Some(first_end) = open().filter_map(|(_, call)| call.ended.map(|(at, _)| at)).min() else { return Next::All };
    for (at, call) in open().skip_while(|(at, _)| *at < from) {
        if call.began > first_end {
            break; // and so have all later ones
        }
        let (new, result) = call.kind.apply(value);
        if call.ended.is_none_or(|(_, got)| got == result) {
            return Next::Call(at, new);
        }
    }
    Next::None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(kind: Kind, began: u64, ended: u64, got: Value) -> Call {
        Call { kind, began, ended: Some((ended, got)) }
    }

    fn unknown(kind: Kind, began: u64) -> Call {
        Call { kind, began, ended: None }
    }

    #[test]
    fn calls_one_behind_the_other_have_one_order() {
        let set = call(Kind::Set(1), 0, 1, None);
        assert!(is_linearizable(&[set, call(Kind::Get, 2, 3, Some(1))], None));
        assert!(!is_linearizable(&[set, call(Kind::Get, 2, 3, None)], None), "a stale read");
        assert!(!is_linearizable(&[call(Kind::Get, 0, 1, Some(1)), call(Kind::Set(1), 2, 3, None)], None), "from the future");
    }

    #[test]
    fn calls_at_the_same_time_may_have_either_order() {
        for got in [None, Some(1)] {
            assert!(is_linearizable(&[call(Kind::Set(1), 0, 10, None), call(Kind::Get, 5, 6, got)], None));
        }
        let back = [call(Kind::Set(1), 0, 10, None), call(Kind::Get, 2, 3, Some(1)), call(Kind::Get, 4, 5, None)];
        assert!(!is_linearizable(&back, None), "a value does not go away again");
    }

    #[test]
    fn a_lost_write_is_found() {
        let add = |began, got| call(Kind::Increment, began, began + 10, Some(got));
        assert!(is_linearizable(&[add(0, 1), add(5, 2)], None));
        assert!(is_linearizable(&[add(0, 2), add(5, 1)], None));
        assert!(!is_linearizable(&[add(0, 1), add(5, 1)], None), "two counted as one");
        let absent = |got| call(Kind::SetIfAbsent(got), 0, 10, Some(1));
        assert!(!is_linearizable(&[absent(1), absent(2)], None), "both were the first");
        assert!(!is_linearizable(&[call(Kind::Delete, 0, 1, Some(1)), call(Kind::Swap(2), 2, 3, Some(1))], Some(1)));
    }

    #[test]
    fn a_call_with_an_unknown_end_may_be_done_at_any_time_or_never() {
        let set = unknown(Kind::Set(1), 5);
        for got in [None, Some(1)] {
            assert!(is_linearizable(&[set, call(Kind::Get, 100, 101, got)], None));
        }
        assert!(is_linearizable(&[set, call(Kind::Get, 10, 11, None), call(Kind::Get, 100, 101, Some(1))], None));
        assert!(!is_linearizable(&[set, call(Kind::Get, 10, 11, Some(1)), call(Kind::Get, 100, 101, None)], None));
        assert!(!is_linearizable(&[set, call(Kind::Get, 1, 2, Some(1))], None), "before it began");
    }

    /// Compares with a search of all orders.
    #[test]
    fn random_histories_get_the_answer_of_a_plain_search() {
        fn plain(calls: &[Call], value: Value) -> bool {
            let Some(first_end) = calls.iter().filter_map(|call| call.ended.map(|(at, _)| at)).min() else { return true };
            (0..calls.len()).any(|at| {
                let (new, result) = calls[at].kind.apply(value);
                let mut rest = calls.to_vec();
                let call = rest.remove(at);
                call.began <= first_end && call.ended.is_none_or(|(_, got)| got == result) && plain(&rest, new)
            })
        }
        let mut random = fastrand::Rng::with_seed(7);
        let mut found = [0, 0];
        for _ in 0..20_000 {
            let calls: Vec<Call> = (0..random.usize(1..7))
                .map(|_| {
                    let kinds = [Kind::Get, Kind::Get, Kind::Set(random.i64(0..2)), Kind::Increment, Kind::Delete, Kind::Swap(1)];
                    let kind = kinds[random.usize(..kinds.len())];
                    let began = random.u64(..20);
                    let got = match kind {
                        Kind::Set(_) => None,
                        Kind::Delete => Some(random.i64(..2)),
                        _ => [None, Some(0), Some(1), Some(2)][random.usize(..4)],
                    };
                    let ended = (random.u8(..8) > 0).then(|| (began + random.u64(1..20), got));
                    Call { kind, began, ended }
                })
                .collect();
            let is = is_linearizable(&calls, None);
            assert_eq!(is, plain(&calls, None), "{calls:?}");
            found[usize::from(is)] += 1;
        }
        assert!(found.iter().all(|count| *count > 1000), "{found:?}");
    }
}
