//! [`SlowLog`]: the last commands that took long to evaluate. The wait for the disk is not part of the time, as in
//! Redis.

use crate::resp::Args;
use crate::settings::Settings;
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Words of a command that are kept, and bytes of each.
const WORDS: usize = 32;
const WORD_BYTES: usize = 128;

#[derive(Clone, Debug)]
pub(crate) struct Slow {
    pub(crate) number: u64,
    /// When it ended, in seconds since 1970.
    pub(crate) at: u64,
    pub(crate) took_us: u64,
    pub(crate) words: Vec<Vec<u8>>,
    pub(crate) from: String,
    pub(crate) name: String,
}

#[derive(Debug, Default)]
pub(crate) struct SlowLog(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    next: u64,
    kept: VecDeque<Slow>,
}

impl SlowLog {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a command, if the settings say so.
    pub(crate) fn note(&self, took: Duration, args: Args<'_>, from: &str, name: &str, settings: &Settings) {
        let most = settings.slow_log_entries.load(Ordering::Relaxed);
        let shorten = |word: &[u8]| match word.len().checked_sub(WORD_BYTES) {
            None | Some(0) => word.to_vec(),
            Some(more) => [&word[..WORD_BYTES], format!("... ({more} more bytes)").as_bytes()].concat(),
        };
        let mut words: Vec<Vec<u8>> = args.from(0).take(WORDS).map(shorten).collect();
        if args.len() > WORDS {
            words[WORDS - 1] = format!("... ({} more arguments)", args.len() - WORDS + 1).into_bytes();
        }
        let mut entries = self.lock();
        let number = entries.next;
        entries.next += 1;
        entries.kept.push_front(Slow {
            number,
            at: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            took_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            words,
            from: from.to_string(),
            name: name.to_string(),
        });
        entries.kept.truncate(most);
    }

    /// The last commands, the newest first.
    pub(crate) fn last(&self, most: usize) -> Vec<Slow> {
        self.lock().kept.iter().take(most).cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().kept.len()
    }

    pub(crate) fn clear(&self) {
        self.lock().kept.clear();
    }
}
