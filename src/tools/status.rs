//! The exit status that the tools have in common.

/// The exit status for damaged, foreign or missing files.
pub(crate) const DAMAGED: u8 = 3;
