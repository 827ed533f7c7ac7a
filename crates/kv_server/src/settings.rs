//! [`Settings`]: what CONFIG SET can change while the server runs.

use crate::options::Options;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize};

#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) max_clients: AtomicUsize,
    /// Seconds; 0: never.
    pub(crate) idle_timeout_s: AtomicU64,
    /// Commands that take longer are in the slow log; negative: none is.
    pub(crate) slow_us: AtomicI64,
    pub(crate) slow_log_entries: AtomicUsize,
}

impl Settings {
    pub(crate) fn new(options: &Options) -> Settings {
        Settings {
            max_clients: AtomicUsize::new(options.max_clients),
            idle_timeout_s: AtomicU64::new(options.idle_timeout.map_or(0, |time| time.as_secs().max(1))),
            slow_us: AtomicI64::new(10_000),
            slow_log_entries: AtomicUsize::new(128),
        }
    }
}
