//! Entries into the store and out of it: the forms of an export, reading them back, and the files of the C++ store.

pub(crate) mod cpp;
pub(crate) mod dump;
pub(crate) mod export;
pub(crate) mod import;
