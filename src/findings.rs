//! Findings about the files of a store that several commands report in the same words.

/// The exit status for damaged, foreign or missing files.
pub(crate) const DAMAGED: u8 = 3;

/// Follows the name of a log whose end shows that something failed there.
pub(crate) const BARE_END: &str = "ends right after its last write, without reserved space and without a mark: a write failed \
                                   there (for example on a full disk), or the file was truncated";
