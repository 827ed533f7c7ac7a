//! [`Engine`]: the conditional writes on one key. What they do follows from its value, and no write of another thread
//! comes between the look at the value and the write. The rules are at the top of `decide.rs`.
//!
//! | call | what it looks at | when another write comes between |
//! |---|---|---|
//! | `update` | reads the value, then runs a closure without a lock | the closure runs again |
//! | `compare_and_swap`, `put_if_absent` | compares under the lock, just before the append | none can |

use super::api::Engine;
use super::decide::{Decided, Finding, MOST_LOST, Order};
use super::group_commit::Write;
use super::in_flight::WriteKind;
use super::log::Log;
use super::report::Ack;
use super::shared::Shared;
use super::write::{checked_key, checked_value};
#[cfg(doc)]
use crate::Error;
use crate::error::Result;
use crate::state::{OpRef, Value};

/// What [`Engine::update`] did.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
/// let updated = engine.update("x", |old| old.is_none().then_some("100"))?;
/// assert_eq!((updated.old, updated.new.as_deref()), (None, Some(&b"100"[..])));
/// assert!(updated.ack.is_some_and(|ack| ack.durable));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Updated {
    /// The value before. `None`: the key did not exist.
    pub old: Option<Value>,
    /// The value after. `None`: the key does not exist any more.
    pub new: Option<Value>,
    /// The answer to the write. `None`: nothing was written, because the key did not exist and still does not.
    pub ack: Option<Ack>,
}

/// The answer to [`Engine::compare_and_swap`] and [`Engine::put_if_absent`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
/// use kv_engine::Swap;
///
/// assert!(engine.put_if_absent("leader", "a")?.is_done());
/// match engine.put_if_absent("leader", "b")? {
///     Swap::Done(ack) => println!("b leads since write {}", ack.seq),
///     Swap::Differs { current } => assert_eq!(current.as_deref(), Some(&b"a"[..])),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "the write may not have been made"]
pub enum Swap {
    /// The key had the expected value, and the new one was written. If there was nothing to write (`None` for a key
    /// that does not exist), the answer is that of the last write before.
    Done(Ack),
    /// The key has another value, and nothing was written.
    Differs {
        /// The value of the key. `None`: it does not exist.
        current: Option<Value>,
    },
}

impl Swap {
    /// Whether the new value was written.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// assert!(engine.put_if_absent("x", "1")?.is_done());
    /// assert!(!engine.put_if_absent("x", "2")?.is_done());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self, Swap::Done(_))
    }
}

impl Engine {
    /// Replaces the value of `key` by what `change` makes of it: `Some` is stored, `None` removes the key. No write of
    /// another thread comes between, so a counter loses nothing. Durability as with [`Engine::put`].
    ///
    /// `change` gets `None` if the key does not exist. It runs without a lock, and again if another thread has changed
    /// the key in the meantime. So it should be quick, and do nothing but compute.
    ///
    /// If the key does not exist and `change` returns `None`, nothing is written.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// let add_one = |old: Option<&[u8]>| {
    ///     let count = old.map_or(0, |old| u64::from_le_bytes(old.try_into().expect("written here")));
    ///     Some((count + 1).to_le_bytes())
    /// };
    /// std::thread::scope(|scope| {
    ///     for _ in 0..4 {
    ///         scope.spawn(|| (0..10).for_each(|_| drop(engine.update("visits", add_one).expect("a healthy disk"))));
    ///     }
    /// });
    /// assert_eq!(engine.get("visits")?.as_deref(), Some(&40_u64.to_le_bytes()[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Engine::put`], and as [`Engine::get`].
    pub fn update<V: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        mut change: impl FnMut(Option<&[u8]>) -> Option<V>,
    ) -> Result<Updated> {
        let (shared, key) = (self.shared(), checked_key(key.as_ref())?);
        let (mut lost, mut turn) = (0, None);
        loop {
            if lost >= MOST_LOST && turn.is_none() {
                turn = shared.take_turn()?;
            }
            let mut log = shared.open_log()?;
            let (old, rests_on) = shared.effective(&mut log, key)?;
            let (moment, refusals) = (log.moment(), log.refusals);
            drop(log);
            let new = change(old.as_deref()).map(|value| Value::from(value.as_ref()));
            if old.is_none() && new.is_none() {
                if rests_on == 0 || shared.settled(shared.log()?, rests_on, refusals)?.1 {
                    return Ok(Updated { old, new, ack: None });
                }
            } else {
                let seen = || std::iter::once((key, old.as_deref()));
                let decided =
                    shared.put_or_delete(key, new.as_deref(), turn.as_ref().into(), |log| shared.holds(log, moment, seen()));
                if let Decided::Written(ack) | Decided::Answer(ack) = decided? {
                    return Ok(Updated { old, new, ack: Some(ack) });
                }
            }
            lost += 1;
        }
    }

    /// Writes `new` under `key` if the value is `expected`, and says the current value if it is another one. `None`
    /// is "the key does not exist", on both sides. No write of another thread comes between. Durability as with
    /// [`Engine::put`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// use kv_engine::Swap;
    ///
    /// engine.put("state", "new")?;
    /// assert!(engine.compare_and_swap("state", Some("new"), Some("running"))?.is_done());
    /// let Swap::Differs { current } = engine.compare_and_swap("state", Some("new"), Some("running"))? else {
    ///     unreachable!("it is running")
    /// };
    /// assert_eq!(current.as_deref(), Some(&b"running"[..]));
    /// assert!(engine.compare_and_swap("state", current, None::<&str>)?.is_done()); // removes it
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Engine::put`], and as [`Engine::get`]. That the value is another one is no error.
    pub fn compare_and_swap(
        &self,
        key: impl AsRef<[u8]>,
        expected: Option<impl AsRef<[u8]>>,
        new: Option<impl AsRef<[u8]>>,
    ) -> Result<Swap> {
        let (shared, key) = (self.shared(), checked_key(key.as_ref())?);
        let expected = expected.as_ref().map(|value| checked_value(value.as_ref())).transpose()?;
        let new = new.as_ref().map(|value| value.as_ref());
        let nothing_to_write = expected.is_none() && new.is_none();
        let decided = shared.put_or_delete(key, new, Order::GoesFirst, |log| {
            let (same, rests_on) = shared.is_effective(log, key, expected)?;
            if same && !nothing_to_write {
                return Ok(Finding::Holds);
            }
            let current = if same { None } else { Some(shared.effective(log, key)?.0) };
            Ok(Finding::Answer(current, rests_on))
        });
        Ok(match decided? {
            Decided::Written(ack) => Swap::Done(ack),
            Decided::Answer(Some(current)) => Swap::Differs { current },
            Decided::Answer(None) | Decided::Lost => Swap::Done(shared.last_ack()),
        })
    }

    /// Stores `value` under `key` if the key does not exist, and says the current value if it does. No write of another
    /// thread comes between: of several callers exactly one succeeds. Durability as with [`Engine::put`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// assert!(engine.put_if_absent("lock", "me")?.is_done());
    /// assert!(!engine.put_if_absent("lock", "you")?.is_done());
    /// assert_eq!(engine.get("lock")?.as_deref(), Some(&b"me"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Engine::compare_and_swap`].
    pub fn put_if_absent(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Swap> {
        self.compare_and_swap(key, None::<&[u8]>, Some(value))
    }
}

impl Shared {
    /// Decides a write that stores `new` under `key`, or with `None` removes the key.
    fn put_or_delete<T>(
        &self,
        key: &[u8],
        new: Option<&[u8]>,
        order: Order<'_>,
        look: impl FnMut(&mut Log) -> Result<Finding<T>>,
    ) -> Result<Decided<T>> {
        checked_value(new.unwrap_or_default())?;
        let op = OpRef { key, value: new };
        let kind = if new.is_some() { WriteKind::Put } else { WriteKind::Delete };
        self.encoded(
            op.encoded_len(),
            |out| op.encode(out),
            |body| self.decide(Write { kind, sync_first: false, body }, order, look),
        )
    }
}
