//! The exit status that the tools have in common, and an error of a tool as JSON.

use crate::error::Code;
use crate::text::object;

/// The exit status for damaged, foreign or missing files.
pub(crate) const DAMAGED: u8 = 3;

/// What `--json` prints for an error. The text is also on stderr.
pub(crate) fn error_object(text: &str) -> String {
    object(&[("ok", false.into()), ("code", Code::Failed.to_string().into()), ("error", text.into())])
}
