//! The fuzz targets, as plain functions of bytes. libFuzzer calls them through `fuzz_targets/`, and `cargo test` calls
//! them with the corpora.
//!
//! | target | input | what must hold |
//! |---|---|---|
//! | [`records`] | a log | it is shown record by record like the reference reads it, in every field |
//! | [`frame`] | a log | it opens like the reference opens it, in every field of the report |
//! | [`log`] | a log and a snapshot | the same for both policies and on a second opening; writes go on; `inspect`, `verify` and `replay` agree |
//! | [`snapshot`] | a snapshot | it opens to exactly its entries, or is refused |
//! | [`indexed`] | a snapshot with an index of any shape | the index leads to its entries, or is damaged; reading always ends |
//! | [`tools`] | a log, a snapshot, and more of a log | values in the snapshot, export, salvage, `verify`, `replay` and follow agree |
//! | [`line`] | bytes of a shell line | its words are those of the reference; they are the right command, or refused |
//! | [`resp`] | what clients send to the server, in pieces | the commands are those of the crate `redis-protocol`, wherever the bytes are split; limits hold before the bytes come |
//! | [`reply`] | a key and a value | the printed form is harmless and can be read back |
//! | [`operations`] | calls, closes, crashes | the state is the model's; after a crash it is a prefix that holds every promised write |
//! | [`directory`] | several files | the store opens or is refused; no foreign file is changed |
//!
//! | module | its one responsibility |
//! |---|---|
//! | [`input`] | bytes as choices |
//! | [`layout`] | the bytes of the files, implemented a second time |
//! | [`forge`] | choices → files with right checks |
//! | [`reference`] | a simple reader of the files, and the expected result of opening them |
//! | [`store`] | compares the engine with the reference |
//! | [`words`] | a simple reader of the words of a line |

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
pub mod resp;
pub mod snapshot;
pub mod store;
pub mod tools;
pub mod words;

pub use bounded::bounded;

/// A target: its name, and the function that runs an input.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 11] = [
    ("records", records::run),
    ("frame", frame::run),
    ("log", log::run),
    ("snapshot", snapshot::run),
    ("indexed", indexed::run),
    ("tools", tools::run),
    ("line", line::run),
    ("reply", reply::run),
    ("resp", resp::run),
    ("operations", operations::run),
    ("directory", directory::run),
];
