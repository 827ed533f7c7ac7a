//! Entries into the store and out of it. EXPORT and IMPORT use it, and the tools `kv_cli export` and `kv_cli import`.
//!
//! | module | what it does |
//! |---|---|
//! | `form` | the two forms of an export: writes and reads their lines |
//! | `export` | every entry of a store to a file or to stdout |
//! | `importer` | takes entries and writes them in groups |
//! | `cpp` | reads the files of the C++ store |
//! | `detect` | what an input is, by its first bytes |
//! | `import` | reads inputs twice: first it checks them, then it writes |

pub(crate) mod export;
pub(crate) mod import;

mod cpp;
mod detect;
mod form;
mod importer;
