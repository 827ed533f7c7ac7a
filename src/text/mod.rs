//! Text for people and programs: the words of a line, quoting, units, width, colour and JSON.
//!
//! Nothing here does input or output on its own, and nothing here knows the store. No function returns a character that
//! a terminal would obey, except the colours of [`toned`].
//!
//! | module | what it has |
//! |---|---|
//! | `words` | a line as words, and bytes as a word or a value; texts that are safe on a terminal |
//! | `units` | sizes, times and counts for people |
//! | `width` | lines that fit a terminal |
//! | `color` | colours |
//! | `json` | one object to a line |
//! | `csv` | one row to a line |

mod color;
pub(crate) mod csv;
mod json;
mod units;
mod width;
mod words;

pub(crate) use color::{Tone, dimmed, toned};
pub(crate) use csv::error_row;
pub(crate) use json::{bytes, error_object, object};
pub(crate) use units::{counted, entries, human_bytes, human_time, whole_ms};
pub(crate) use width::{Fitted, column, columns, fit};
pub use words::{Words, displayed, is_hidden, write_escaped, write_value, write_word};
pub(crate) use words::{after_prompt, begins_prompt, safe, write_quoted};
