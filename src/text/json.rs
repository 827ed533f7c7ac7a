//! JSON, one object to a line.

use super::words::is_hidden;
use crate::error::Code;
use base64::Engine as _;
use serde_json::Value as Json;

/// One line of JSON, its fields in this order.
pub(crate) fn object(fields: &[(&str, Json)]) -> String {
    let fields: Vec<_> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    without_controls(format!("{{{}}}", fields.join(","))) + "\n"
}

/// The object of an error. Its text is also on stderr.
pub(crate) fn error_object(code: Code, text: &str) -> String {
    object(&[("ok", false.into()), ("code", code.to_string().into()), ("error", text.into())])
}

/// `json` with every control character escaped. serde_json leaves some of them unchanged, and a terminal would obey
/// them.
fn without_controls(json: String) -> String {
    let escaped = |c: char| if is_hidden(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    if json.contains(is_hidden) { json.chars().map(escaped).collect() } else { json }
}

/// A field with these bytes: as a string if they are UTF-8, else in base64 under the other name.
pub(crate) fn bytes<'n>(name: &'n str, name_base64: &'n str, bytes: &[u8]) -> (&'n str, Json) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (name, text.into()),
        Err(_) => (name_base64, base64::prelude::BASE64_STANDARD.encode(bytes).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_keeps_the_order_of_its_fields_and_has_no_control_characters() {
        let line = |value: &[u8]| object(&[("ok", true.into()), bytes("value", "value_base64", value)]);
        assert_eq!(line(b"100"), "{\"ok\":true,\"value\":\"100\"}\n");
        assert_eq!(line(b"\xff"), "{\"ok\":true,\"value_base64\":\"/w==\"}\n");
        assert_eq!(line("\u{9b}\u{202e}\x1b".as_bytes()), "{\"ok\":true,\"value\":\"\\u009b\\u202e\\u001b\"}\n");
    }
}
