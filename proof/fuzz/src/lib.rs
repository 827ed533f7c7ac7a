//! What the fuzzers run, as plain functions of bytes: libFuzzer calls them through `fuzz_targets/`, and
//! `cargo test` calls them with the corpora.
//!
//! | target | an input is | what must hold |
//! |---|---|---|
//! | [`records`] | a log | is shown record by record as the reference says, to the last field |
//! | [`frame`] | a log | opens as the reference says, to the last field of the report |
//! | [`log`] | a log and a snapshot | the same for both policies, twice, and it goes on; `inspect`, `verify` and `replay` agree |
//! | [`snapshot`] | a snapshot | opens to exactly its entries, or is refused |
//! | [`indexed`] | a snapshot with an index of any shape | the index leads to its entries, or is damaged; no way is endless |
//! | [`tools`] | a log, a snapshot, and more of a log | values in the snapshot, export, salvage, `verify`, `replay`, follow: all agree |
//! | [`line`] | bytes of a shell line | its words are those of the reference; it is their command, or refused |
//! | [`reply`] | a key and a value | what is printed of them is harmless and reads back |
//! | [`operations`] | calls, closes, crashes | the state is the model's; after a crash a prefix that holds all that was promised |
//! | [`directory`] | several files | opens or is refused; nothing of another's is changed |
//!
//! | module | its one responsibility |
//! |---|---|
//! | [`input`] | bytes as choices |
//! | [`layout`] | the bytes of the files, written down a second time |
//! | [`forge`] | choices → files with right checks |
//! | [`reference`] | a plain reader of the files, and what opening them must give |
//! | [`store`] | the engine held against the reference |
//! | [`words`] | a plain reader of the words of a line |

mod bounded;
pub mod directory;
pub mod forge;
pub mod frame;
pub mod indexed;
pub mod input;
pub mod layout;
pub mod line;
pub mod log;
pub mod operations;
pub mod records;
pub mod reference;
pub mod reply;
pub mod snapshot;
pub mod store;
pub mod tools;
pub mod words;

pub use bounded::bounded;

/// A target: a name, and what to do with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 10] = [
    ("records", records::run),
    ("frame", frame::run),
    ("log", log::run),
    ("snapshot", snapshot::run),
    ("indexed", indexed::run),
    ("tools", tools::run),
    ("line", line::run),
    ("reply", reply::run),
    ("operations", operations::run),
    ("directory", directory::run),
];
