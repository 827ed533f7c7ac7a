//! The end of the process without a command: a mistake on the command line, help, or the version.
//!
//! Everything is escaped that a terminal would obey. The parser has refused the words or has not read all of them, so
//! the two options that matter here are looked up in the words themselves: `--output` (or `--json`, `--csv`) and
//! `--color`.
//!
//! | | text | `--json` | `--csv` |
//! |---|---|---|---|
//! | a mistake, status 2 | on stderr | also an object on stdout | also a row on stdout |
//! | help, the version | on stdout | an object on stdout | as text |

use crate::error::Code;
use crate::settings::{Format, When};
use crate::streams;
use crate::text::{columns, error_object, error_row, fit, is_hidden, object, safe};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, ValueEnum};
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};

/// Ends the process without a command: reports a mistake on stderr, or prints help or the version on stdout. `program`
/// is the one whose words were parsed.
pub(super) fn end_early(error: clap::Error, program: Command) -> ! {
    let wanted = Wanted::by(std::env::args_os().skip(1));
    let is_mistake = error.use_stderr();
    let what = if error.kind() == ErrorKind::DisplayVersion { "VERSION" } else { "HELP" };
    let is_terminal = if is_mistake { io::stderr().is_terminal() } else { io::stdout().is_terminal() };
    let color = wanted.color.on(is_terminal) && (is_mistake || wanted.format != Format::Json);
    let text = safe_text(error, program, color);
    let out = match (is_mistake, wanted.format) {
        (false, Format::Json) => object(&[("cmd", what.into()), ("ok", true.into()), ("text", text.trim_end().into())]),
        (false, _) => fitted(&text, is_mistake),
        (true, format) => {
            let _ = streams::stderr().write_all(fitted(&text, is_mistake).as_bytes());
            match format {
                Format::Json => error_object(Code::Usage, &in_one_line(&text)),
                Format::Csv => error_row(&in_one_line(&text)),
                Format::Text | Format::Raw => String::new(),
            }
        }
    };
    let status = streams::finish(streams::stdout().write_all(out.as_bytes()), if is_mistake { 2 } else { 0 });
    std::process::exit(status.into())
}

/// What the words ask for, also if they cannot be parsed.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    format: Format,
    color: When,
}

impl Wanted {
    /// The last one of an option counts. After `--` every word is data.
    fn by(words: impl IntoIterator<Item = OsString>) -> Wanted {
        let mut wanted = Wanted { format: Format::Text, color: When::Auto };
        let mut words = words.into_iter().map(|word| word.to_string_lossy().into_owned()).take_while(|word| word != "--");
        while let Some(word) = words.next() {
            let (option, value) = match word.split_once('=') {
                Some((option, value)) => (option, Some(value.to_string())),
                None => (&*word, None),
            };
            match option {
                "--json" => wanted.format = Format::Json,
                "--csv" => wanted.format = Format::Csv,
                "--raw" => wanted.format = Format::Raw,
                "--output" => set(&mut wanted.format, value.or_else(|| words.next())),
                "--color" => set(&mut wanted.color, value.or_else(|| words.next())),
                _ => {}
            }
        }
        wanted
    }
}

fn set<T: ValueEnum>(option: &mut T, value: Option<String>) {
    if let Some(value) = value.and_then(|value| T::from_str(&value, false).ok()) {
        *option = value;
    }
}

/// The mistake and the tip, without the usage.
fn in_one_line(text: &str) -> String {
    let text: String = text.split("\x1b[").enumerate().map(|(n, part)| if n == 0 { part } else { after_color(part) }).collect();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let end = ["\n\nUsage:", "\n\nFor more information"].iter().filter_map(|usage| text.find(usage)).min();
    let parts = text[..end.unwrap_or(text.len())].split("\n\n").map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
}

/// What follows an escape that sets a colour; its parameters and its `m` are left out.
fn after_color(rest: &str) -> &str {
    rest.split_once('m').map_or("", |(_, text)| text)
}

/// The text for the terminal that it goes to: lines that are too long are broken between words.
fn fitted(text: &str, is_mistake: bool) -> String {
    let columns = match is_mistake {
        true if io::stderr().is_terminal() => columns(io::stderr()),
        false if io::stdout().is_terminal() => columns(io::stdout()),
        _ => return text.to_string(),
    };
    text.lines().map(|line| fit(line, columns, line.len() - line.trim_start().len()) + "\n").collect()
}

/// The variable of this option, if the option itself was not typed: then the value came from the variable.
fn variable_of(mut program: Command, option: &str) -> Option<String> {
    program.build();
    let arg = program.get_arguments().find(|arg| arg.to_string() == option)?;
    let (variable, long) = (arg.get_env()?, format!("--{}", arg.get_long()?));
    let is_typed = |word: OsString| {
        let word = word.to_string_lossy().into_owned();
        word.strip_prefix(&long).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    };
    let is_set = std::env::var_os(variable).is_some() && !std::env::args_os().any(is_typed);
    is_set.then(|| format!("{}, in place of {option}", variable.to_string_lossy()))
}

/// The text of the parser. The parser repeats arguments and variables unchanged, and a terminal would obey them.
fn safe_text(mut error: clap::Error, program: Command, color: bool) -> String {
    let is_value = matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue);
    let option = error.get(ContextKind::InvalidArg).map(ToString::to_string);
    if let Some(variable) = option.and_then(|option| variable_of(program, &option)).filter(|_| is_value) {
        error.insert(ContextKind::InvalidArg, ContextValue::String(variable));
    }
    let is_unsafe = |text: &String| text.contains(is_hidden);
    let unsafe_values: Vec<_> = error
        .context()
        .filter_map(|(kind, value)| match value {
            ContextValue::String(text) if is_unsafe(text) => Some((kind, ContextValue::String(safe(text)))),
            ContextValue::Strings(texts) if texts.iter().any(is_unsafe) => {
                Some((kind, ContextValue::Strings(texts.iter().map(|text| safe(text)).collect())))
            }
            _ => None,
        })
        .collect();
    if unsafe_values.is_empty() {
        let text = error.render();
        return if color { text.ansi().to_string() } else { text.to_string() };
    }
    // The suggestion repeats the argument too.
    let unsafe_values = unsafe_values.into_iter().chain([(ContextKind::Suggested, ContextValue::None)]);
    unsafe_values.for_each(|(kind, value)| drop(error.insert(kind, value)));
    error.render().to_string().lines().map(|line| safe(line) + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(line: &str) -> (Format, When) {
        let Wanted { format, color } = Wanted::by(line.split_whitespace().map(OsString::from));
        (format, color)
    }

    #[test]
    fn the_words_tell_the_form_also_if_they_cannot_be_parsed() {
        for (line, format, color) in [
            ("", Format::Text, When::Auto),
            ("--wla --json", Format::Json, When::Auto),
            ("GET --output json --x", Format::Json, When::Auto),
            ("--output=csv", Format::Csv, When::Auto),
            ("--color never --wla", Format::Text, When::Never),
            ("--color=always --csv --help", Format::Csv, When::Always),
            ("--color never --color always", Format::Text, When::Always),
            ("--color sometimes --json", Format::Json, When::Auto),
            ("PUT k -- --json --color always", Format::Text, When::Auto),
            ("--output", Format::Text, When::Auto),
        ] {
            assert_eq!(wanted(line), (format, color), "{line}");
        }
    }

    #[test]
    fn a_mistake_is_one_line_for_a_program() {
        let colored = "\x1b[1m\x1b[31merror:\x1b[0m unexpected argument '\x1b[33m--wla\x1b[0m' found\n\n  tip: a similar\n  one\n\nUsage: x\n";
        assert_eq!(in_one_line(colored), "unexpected argument '--wla' found; tip: a similar one");
        assert_eq!(in_one_line("error: no\n\nFor more information, try '--help'.\n"), "no");
        assert_eq!(in_one_line("error: no"), "no");
    }
}
