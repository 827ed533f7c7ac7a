//! A follower: a thread with a feed of changes. It waits for changes until the store is closed or has failed. Each one
//! must have the next number, and a power cut in the moment in which it is told must not take it back.

use crate::history::History;
use kv_engine::{Changes, Error};

/// Follows the store to its end. Returns a list of faults.
pub fn follow(changes: Changes, history: &History) -> Vec<String> {
    let (mut wrong, mut last) = (Vec::new(), 0);
    for change in changes {
        match change {
            Ok(change) => {
                if change.seq() != last + 1 {
                    wrong.push(format!("change {} was told after change {last}", change.seq()));
                }
                last = change.seq();
                history.promise(last);
            }
            Err(Error::Poisoned { .. }) => history.poisoned(),
            Err(error) => wrong.push(format!("the feed of changes failed after change {last}: {error}")),
        }
    }
    wrong
}
