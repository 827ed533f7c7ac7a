//! CSV, one row to a line, as redis-cli writes it.
//!
//! A string is in double quotes, with the escapes of the shell. So a value may have any bytes, and no row has more than
//! one line. A number has no quotes, `NULL` is a value that is not there, and a row that begins with `ERROR` is
//! an error.

use super::words::write_quoted;
use serde_json::Value as Json;
use std::io::{self, Write};

/// A value that is not there.
pub(crate) const NULL: &[u8] = b"NULL";

/// Writes one row of strings.
pub(crate) fn write_row<'c>(cells: impl IntoIterator<Item = &'c [u8]>, out: &mut impl Write) -> io::Result<()> {
    for (n, cell) in cells.into_iter().enumerate() {
        out.write_all(if n == 0 { b"" } else { b"," })?;
        write_quoted(cell, out)?;
    }
    out.write_all(b"\n")
}

/// Writes a row for each field: its name and its value. A value that has parts is a string with their JSON.
pub(crate) fn write_fields(fields: &[(&str, Json)], out: &mut impl Write) -> io::Result<()> {
    for (name, value) in fields {
        write_quoted(name.as_bytes(), out)?;
        out.write_all(b",")?;
        match value {
            Json::Null => out.write_all(NULL)?,
            Json::Bool(_) | Json::Number(_) => write!(out, "{value}")?,
            Json::String(text) => write_quoted(text.as_bytes(), out)?,
            Json::Array(_) | Json::Object(_) => write_quoted(value.to_string().as_bytes(), out)?,
        }
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// The row of an error. Its text is also on stderr.
pub(crate) fn error_row(text: &str) -> String {
    let mut row = b"ERROR,".to_vec();
    let _ = write_row([text.as_bytes()], &mut row);
    String::from_utf8_lossy(&row).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_row_is_one_line_whatever_is_in_it() {
        let mut out = Vec::new();
        write_row([&b"a \"b\""[..], b"", "\u{e9},\n\u{1b}".as_bytes(), b"\xff\\"], &mut out).expect("memory");
        assert_eq!(String::from_utf8_lossy(&out), "\"a \\\"b\\\"\",\"\",\"é,\\n\\x1b\",\"\\xff\\\\\"\n");
        assert_eq!(error_row("no \"a\"\n"), "ERROR,\"no \\\"a\\\"\\n\"\n");
    }

    #[test]
    fn fields_are_rows_of_a_name_and_a_value() {
        let fields =
            [("n", json!(5)), ("s", json!("a\"b")), ("is", json!(true)), ("none", Json::Null), ("part", json!({"a": [1]}))];
        let mut out = Vec::new();
        write_fields(&fields, &mut out).expect("memory");
        let expected = "\"n\",5\n\"s\",\"a\\\"b\"\n\"is\",true\n\"none\",NULL\n\"part\",\"{\\\"a\\\":[1]}\"\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }
}
