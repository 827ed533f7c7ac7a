//! [`Event`]: what an operator should know, for a log. No event has a key, a value or a password in it.

use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::SystemTime;

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// It is as it should be.
    Info,
    /// Something was refused, or may soon fail.
    Warn,
    /// Writes are refused, or may be lost.
    Error,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        })
    }
}

/// One event of a server. `Display` gives it as a line in logfmt: `level=info event=started listen=127.0.0.1:6379`.
///
/// ```
/// use std::sync::mpsc::channel;
/// # let dir = tempfile::tempdir()?;
/// # let engine = kv_engine::open(dir.path())?;
/// let (tell, told) = channel();
/// let options = kv_server::Options::default()
///     .listen([([127, 0, 0, 1], 0).into()])
///     .log(move |event| drop(tell.send(event.to_string())));
/// let server = kv_server::Server::start(engine, options)?;
/// server.handle().shut_down();
/// server.wait()?;
/// let lines: Vec<String> = told.try_iter().collect();
/// assert!(lines[0].starts_with("level=info event=started "));
/// assert!(lines.last().expect("several").starts_with("level=info event=ended "));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Event {
    /// How much it matters.
    pub level: Level,
    /// What has happened, in one word.
    pub name: &'static str,
    /// When.
    pub at: SystemTime,
    /// More about it, by names.
    pub fields: Vec<(&'static str, String)>,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "level={} event={}", self.level, self.name)?;
        for (name, value) in &self.fields {
            write!(f, " {name}=")?;
            write_value(value, f)?;
        }
        Ok(())
    }
}

/// As a word, or quoted if it would not be one word.
fn write_value(value: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let is_word = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '=' | '\\');
    if !value.is_empty() && value.chars().all(is_word) {
        return f.write_str(value);
    }
    f.write_char('"')?;
    for c in value.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            '\n' => f.write_str("\\n")?,
            c if c.is_control() => write!(f, "\\u{{{:x}}}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

/// Where events go.
#[derive(Clone)]
pub(crate) struct Log(Arc<dyn Fn(&Event) + Send + Sync>);

impl Default for Log {
    fn default() -> Log {
        Log(Arc::new(|_| {}))
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Log")
    }
}

impl Log {
    pub(crate) fn new(write: impl Fn(&Event) + Send + Sync + 'static) -> Log {
        Log(Arc::new(write))
    }

    pub(crate) fn info(&self, name: &'static str, fields: &[(&'static str, &dyn fmt::Display)]) {
        self.write(Level::Info, name, fields);
    }

    pub(crate) fn warn(&self, name: &'static str, fields: &[(&'static str, &dyn fmt::Display)]) {
        self.write(Level::Warn, name, fields);
    }

    pub(crate) fn error(&self, name: &'static str, fields: &[(&'static str, &dyn fmt::Display)]) {
        self.write(Level::Error, name, fields);
    }

    fn write(&self, level: Level, name: &'static str, fields: &[(&'static str, &dyn fmt::Display)]) {
        let fields = fields.iter().map(|(name, value)| (*name, value.to_string())).collect();
        (self.0)(&Event { level, name, at: SystemTime::now(), fields });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_one_word_or_quoted() {
        let fields = ["word", "two words", "", "a=b", "quo\"te", "line\nfeed", "\u{1b}[31m"];
        let fields = fields.iter().map(|value| ("v", value.to_string())).collect();
        let event = Event { level: Level::Warn, name: "test", at: SystemTime::now(), fields };
        let expected = r#"level=warn event=test v=word v="two words" v="" v="a=b" v="quo\"te" v="line\nfeed" v="\u{1b}[31m""#;
        assert_eq!(event.to_string(), expected);
    }
}
