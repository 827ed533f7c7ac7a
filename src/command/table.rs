//! The one table of commands: it drives parsing, errors, HELP, completion and hints.

use crate::error::{Code, CommandError};
use crate::text::displayed;

/// Which command. What each does is told in [`COMMANDS`].
///
/// ```
/// use kv_cli::command::{Verb, find};
///
/// assert_eq!(find(b"quit").map(|spec| spec.verb), Some(Verb::Exit));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is told in COMMANDS")]
pub enum Verb {
    Put,
    Get,
    Del,
    Keys,
    Scan,
    Size,
    Begin,
    Commit,
    Abort,
    Flush,
    Snap,
    SetBatch,
    Stats,
    Bench,
    Export,
    Import,
    Help,
    Exit,
}

/// What there is to know about one command; a row of [`COMMANDS`].
///
/// ```
/// use kv_cli::command::find;
///
/// let put = find(b"PUT").expect("a command");
/// assert_eq!((put.args, put.arity, put.aliases), (&["key", "value"][..], (2, 2), &["SET"][..]));
/// ```
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Spec {
    /// Which command.
    pub verb: Verb,
    /// Its name, in the upper case it is shown in; any case is understood.
    pub name: &'static str,
    /// Other names for it.
    pub aliases: &'static [&'static str],
    /// Its arguments, one word each, `[optional]`.
    pub args: &'static [&'static str],
    /// The fewest and the most words it takes, without its name.
    pub arity: (usize, usize),
    /// Its arguments in words, such as `a key and a value`.
    pub takes: &'static str,
    /// One line for the list.
    pub summary: &'static str,
    /// What else there is to know, for `HELP name`.
    pub details: &'static str,
    /// A line that can be run.
    pub example: &'static str,
}

/// All commands, in the order HELP lists them.
///
/// ```
/// use kv_cli::command::COMMANDS;
///
/// let names: Vec<_> = COMMANDS.iter().map(|spec| spec.name).collect(); // to complete, say
/// assert!(names.starts_with(&["PUT", "GET", "DEL"]));
/// ```
pub static COMMANDS: &[Spec] = &[
    Spec {
        verb: Verb::Put,
        name: "PUT",
        aliases: &["SET"],
        args: &["key", "value"],
        arity: (2, 2),
        takes: "a key and a value",
        summary: "store value under key",
        details: "Key 1 byte to 64 KiB, value 0 bytes to 256 MiB, any bytes.\n\
            Quote what has blanks or is empty: \"…\" takes \\n \\r \\t \\0 \\\\ \\\" \\xHH, '…'\n\
            is literal. OK means accepted; it is durable once the batch is full, after\n\
            FLUSH, or a second later.",
        example: "PUT name \"Ada Lovelace\"",
    },
    Spec {
        verb: Verb::Get,
        name: "GET",
        aliases: &[],
        args: &["key"],
        arity: (1, 1),
        takes: "a key",
        summary: "print the value of key, or (nil)",
        details: "Between BEGIN and COMMIT it sees the writes of the open group.",
        example: "GET name",
    },
    Spec {
        verb: Verb::Del,
        name: "DEL",
        aliases: &["DELETE"],
        args: &["key"],
        arity: (1, 1),
        takes: "a key",
        summary: "remove key; (nil) when there is none",
        details: "Removing a key that is not there writes nothing.",
        example: "DEL name",
    },
    Spec {
        verb: Verb::Keys,
        name: "KEYS",
        aliases: &[],
        args: &["[prefix]", "[LIMIT n]"],
        arity: (0, 3),
        takes: "at most a prefix and LIMIT n",
        summary: "list the keys that begin with prefix",
        details: "In byte order, one to a line. In a script all of them; on a terminal the first\n\
            100, with a note when there are more, unless LIMIT says how many. Writes of an\n\
            open group are not seen.",
        example: "KEYS user: LIMIT 10",
    },
    Spec {
        verb: Verb::Scan,
        name: "SCAN",
        aliases: &[],
        args: &["[prefix]", "[LIMIT n]"],
        arity: (0, 3),
        takes: "at most a prefix and LIMIT n",
        summary: "list keys and their values",
        details: "As KEYS, with the value behind each key; both are written so that PUT reads\n\
            them back.",
        example: "SCAN user: LIMIT 10",
    },
    Spec {
        verb: Verb::Size,
        name: "SIZE",
        aliases: &[],
        args: &[],
        arity: (0, 0),
        takes: "nothing",
        summary: "print the number of keys",
        details: "Writes of an open group are not counted.",
        example: "SIZE",
    },
    Spec {
        verb: Verb::Begin,
        name: "BEGIN",
        aliases: &[],
        args: &[],
        arity: (0, 0),
        takes: "nothing",
        summary: "begin an atomic group of PUT and DEL",
        details: "PUT and DEL answer QUEUED and are kept until COMMIT writes them all or none.\n\
            When a command fails in between, COMMIT refuses. Leaving with an open group\n\
            writes none of it.",
        example: "BEGIN",
    },
    Spec {
        verb: Verb::Commit,
        name: "COMMIT",
        aliases: &[],
        args: &[],
        arity: (0, 0),
        takes: "nothing",
        summary: "write the open group, all or nothing",
        details: "The group counts as one write of the batch.",
        example: "COMMIT",
    },
    Spec {
        verb: Verb::Abort,
        name: "ABORT",
        aliases: &["ROLLBACK"],
        args: &[],
        arity: (0, 0),
        takes: "nothing",
        summary: "drop the open group",
        details: "Nothing of it was written.",
        example: "ABORT",
    },
    Spec {
        verb: Verb::Flush,
        name: "FLUSH",
        aliases: &[],
        args: &[],
        arity: (0, 0),
        takes: "nothing",
        summary: "make every accepted write durable now",
        details: "After FLUSH OK neither kill -9 nor a power cut takes back anything accepted\n\
            before.",
        example: "FLUSH",
    },
    Spec {
        verb: Verb::Snap,
        name: "SNAP",
        aliases: &[],
        args: &[],
        arity: (0, 0),
        takes: "nothing",
        summary: "save a snapshot and empty the log",
        details: "The next start reads the snapshot instead of a long log. Everything accepted\n\
            is durable then.",
        example: "SNAP",
    },
    Spec {
        verb: Verb::SetBatch,
        name: "SETBATCH",
        aliases: &[],
        args: &["[n]"],
        arity: (0, 1),
        takes: "at most a number of writes",
        summary: "sync the log after every n writes; show n",
        details: "n from 1 (every OK is durable) to 1000000. At most the last n - 1 accepted\n\
            writes can be lost.",
        example: "SETBATCH 1",
    },
    Spec {
        verb: Verb::Stats,
        name: "STATS",
        aliases: &[],
        args: &[],
        arity: (0, 0),
        takes: "nothing",
        summary: "print what the store holds and has done",
        details: "In a script one line of name=value: _bytes, _ms and _us are their units, counts\n\
            are since the store was opened; --json has more. The percentiles of the sync\n\
            times are at most an eighth too high.",
        example: "STATS",
    },
    Spec {
        verb: Verb::Bench,
        name: "BENCH",
        aliases: &[],
        args: &["n", "[sizes]", "[options]"],
        arity: (1, 2),
        takes: "a number or a time, and a list of batch sizes",
        summary: "time n writes, for each of the batch sizes",
        details: "n from 1 to 100000000, or a time such as 10s; sizes such as 1,5,50, without\n\
            them the current one. It runs in a scratch store beside the log (same disk),\n\
            which is removed; your data is not touched. The last flush is timed too, so\n\
            everything counted is durable. Ctrl-C gives the result so far.",
        example: "BENCH 10000 1,5,50",
    },
    Spec {
        verb: Verb::Export,
        name: "EXPORT",
        aliases: &[],
        args: &["[file]"],
        arity: (0, 1),
        takes: "at most a file",
        summary: "write every entry to file, or show it",
        details: "One state, that after the last write, in key order; the file is put in place\n\
            whole. PUT lines, which kv_cli < file runs; JSON Lines for a name that ends in\n\
            .jsonl and with --json. Writes of an open group are not seen. An older export\n\
            is replaced, no other file. kv_cli export does it without opening the store.",
        example: "EXPORT kv.backup",
    },
    Spec {
        verb: Verb::Import,
        name: "IMPORT",
        aliases: &[],
        args: &["file"],
        arity: (1, 1),
        takes: "a file",
        summary: "read entries from file",
        details: "An export in either form, or the log or snapshot of the C++ store; it sees\n\
            which. All of it is checked before anything is written. Then it is written in\n\
            atomic groups of 1000 entries or 1 MiB, in order, and durable when it answers.\n\
            What is there already is not written again: after a crash, IMPORT again.",
        example: "IMPORT kv.backup",
    },
    Spec {
        verb: Verb::Help,
        name: "HELP",
        aliases: &["?"],
        args: &["[command]"],
        arity: (0, 1),
        takes: "at most one command",
        summary: "list the commands, or tell more of one",
        details: "",
        example: "HELP PUT",
    },
    Spec {
        verb: Verb::Exit,
        name: "EXIT",
        aliases: &["QUIT"],
        args: &["[status]"],
        arity: (0, 1),
        takes: "at most an exit status",
        summary: "flush and leave",
        details: "The status is from 0 to 255. Ctrl-D and the end of a script flush as well.",
        example: "EXIT",
    },
];

/// The command of this name or alias, in any letter case.
///
/// ```
/// use kv_cli::command::find;
///
/// assert_eq!(find(b"rollback").map(|spec| spec.name), Some("ABORT"));
/// assert!(find(b"DROP").is_none());
/// ```
#[must_use]
pub fn find(word: &[u8]) -> Option<&'static Spec> {
    let is = |name: &&str| name.as_bytes().eq_ignore_ascii_case(word);
    COMMANDS.iter().find(|spec| is(&spec.name)).or_else(|| COMMANDS.iter().find(|spec| spec.aliases.iter().any(is)))
}

/// As [`find`]; the error says what may have been meant.
pub(super) fn find_or_explain(word: &[u8]) -> Result<&'static Spec, CommandError> {
    find(word).ok_or_else(|| {
        let names = COMMANDS.iter().flat_map(|spec| std::iter::once(&spec.name).chain(spec.aliases)).copied();
        let advice = match nearest(word, names) {
            Some(name) => format!("did you mean {name}?"),
            None => "HELP lists the commands".to_string(),
        };
        CommandError::new(Code::UnknownCommand, format!("unknown command '{}'; {advice}", displayed(word)))
    })
}

/// `--value` of `--value-bytes`.
fn first_part(option: &[u8]) -> &[u8] {
    let end = option.iter().skip(2).position(|&byte| byte == b'-').map_or(option.len(), |at| at + 2);
    &option[..end]
}

fn nearest(word: &[u8], names: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let word = std::str::from_utf8(word).ok().filter(|word| word.len() <= 16)?.to_ascii_uppercase();
    let near = names.map(|name| (strsim::osa_distance(&word, &name.to_ascii_uppercase()), name));
    near.filter(|&(d, name)| d <= 2 && d < name.len() - 1).min_by_key(|&(distance, _)| distance).map(|(_, name)| name)
}

/// One `--option` of a command.
///
/// ```
/// use kv_cli::command::Verb;
///
/// let threads = Verb::Bench.spec().options().iter().find(|option| option.name == "--threads").expect("has it");
/// assert_eq!((threads.usage(), threads.choices), ("--threads N".to_string(), &[][..]));
/// ```
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Opt {
    /// With its two dashes.
    pub name: &'static str,
    /// What it takes, empty when it takes nothing.
    pub value: &'static str,
    /// What may stand for the value, where that is a short list.
    pub choices: &'static [&'static str],
    /// One line for HELP, with the default.
    pub summary: &'static str,
}

impl Opt {
    /// Its name and what it takes.
    ///
    /// ```
    /// use kv_cli::command::Verb;
    ///
    /// assert_eq!(Verb::Bench.spec().options()[0].usage(), "--ops OPS");
    /// ```
    #[must_use]
    pub fn usage(&self) -> String {
        format!("{} {}", self.name, self.value).trim_end().to_string()
    }
}

impl Verb {
    /// Its row of the table.
    ///
    /// ```
    /// use kv_cli::command::Verb;
    ///
    /// assert_eq!(Verb::Del.spec().summary, "remove key; (nil) when there is none");
    /// ```
    #[must_use]
    pub fn spec(self) -> &'static Spec {
        COMMANDS.iter().find(|spec| spec.verb == self).expect("every verb has a row, which a test checks")
    }

    /// Its name, in upper case.
    ///
    /// ```
    /// use kv_cli::command::Verb;
    ///
    /// assert_eq!(Verb::SetBatch.name(), "SETBATCH");
    /// ```
    #[must_use]
    pub fn name(self) -> &'static str {
        self.spec().name
    }
}

impl Spec {
    /// Its name and arguments.
    ///
    /// ```
    /// use kv_cli::command::Verb;
    ///
    /// assert_eq!(Verb::Keys.spec().usage(), "KEYS [prefix] [LIMIT n]");
    /// ```
    #[must_use]
    pub fn usage(&self) -> String {
        std::iter::once(&self.name).chain(self.args).copied().collect::<Vec<_>>().join(" ")
    }

    /// Its options. Where there are some, a word that begins with `--` is one.
    ///
    /// ```
    /// use kv_cli::command::Verb;
    ///
    /// assert!(Verb::Put.spec().options().is_empty());
    /// ```
    #[must_use]
    pub fn options(&self) -> &'static [Opt] {
        match self.verb {
            Verb::Bench => super::bench::OPTIONS,
            _ => &[],
        }
    }

    pub(super) fn option_or_explain(&self, name: &[u8]) -> Result<&'static Opt, CommandError> {
        self.options().iter().find(|option| option.name.as_bytes() == name).ok_or_else(|| {
            let names = || self.options().iter().map(|option| option.name);
            // `--value-size` where it is `--value-bytes`.
            let begins_alike = |other: &&str| first_part(other.as_bytes()) == first_part(name);
            let advice = match nearest(name, names()).or_else(|| names().find(begins_alike)) {
                Some(name) => format!("did you mean {name}?"),
                None => format!("HELP {} lists them", self.name),
            };
            let text = format!("{} has no option '{}'; {advice}", self.name, displayed(name));
            CommandError::new(Code::BadArgument, text)
        })
    }

    pub(super) fn check_arity(&self, got: usize) -> Result<(), CommandError> {
        if (self.arity.0..=self.arity.1).contains(&got) {
            return Ok(());
        }
        let got_words = match got {
            0 => "no words".to_string(),
            1 => "1 word".to_string(),
            n => format!("{n} words"),
        };
        let advice = match self.verb {
            Verb::Put if got > self.arity.1 => "quote a value that has blanks: ",
            Verb::Get | Verb::Del if got > self.arity.1 => "quote a key that has blanks; usage: ",
            _ => "usage: ",
        };
        let shown = if advice.starts_with("quote a value") { self.example.to_string() } else { self.usage() };
        let text = format!("{} takes {}, got {got_words}; {advice}{shown}", self.name, self.takes);
        Err(CommandError::new(Code::WrongArity, text))
    }

    /// The text of `HELP name`; lines without the last line feed.
    ///
    /// ```
    /// use kv_cli::command::Verb;
    ///
    /// let help = Verb::Del.spec().help();
    /// assert!(help.starts_with("DEL key   remove key") && help.ends_with("\nexample: DEL name"));
    /// ```
    #[must_use]
    pub fn help(&self) -> String {
        let details = if self.details.is_empty() { String::new() } else { format!("\n{}", self.details) };
        let options: String =
            self.options().iter().map(|option| format!("\n  {:<17} {}", option.usage(), option.summary)).collect();
        let aliases = if self.aliases.is_empty() { String::new() } else { format!("\nalso: {}", self.aliases.join(", ")) };
        format!("{}   {}{details}{options}{aliases}\nexample: {}", self.usage(), self.summary, self.example)
    }
}

/// The text of HELP: a line for each command, without the last line feed.
///
/// ```
/// use kv_cli::command::help;
///
/// assert!(help().lines().any(|line| line.starts_with("FLUSH ")));
/// ```
#[must_use]
pub fn help() -> String {
    let rows = COMMANDS.iter().map(|spec| format!("{:<26} {}", spec.usage(), spec.summary));
    rows.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_is_found_by_its_name_in_any_case() {
        for spec in COMMANDS {
            assert_eq!(spec.verb.spec().name, spec.name);
            assert_eq!(find(spec.name.to_lowercase().as_bytes()).map(|s| s.verb), Some(spec.verb));
        }
        assert_eq!(find(b"?").map(|spec| spec.verb), Some(Verb::Help));
        assert!(find(b"").is_none());
    }

    #[test]
    fn help_fits_a_terminal() {
        for text in COMMANDS.iter().map(Spec::help).chain([help()]) {
            for line in text.lines() {
                assert!(line.chars().count() < 80, "{line}");
            }
        }
    }

    #[test]
    fn a_near_miss_is_guessed() {
        let text = |word: &[u8]| find_or_explain(word).expect_err("unknown").text;
        assert_eq!(text(b"PTU"), "unknown command 'PTU'; did you mean PUT?");
        assert_eq!(text(b"flsh"), "unknown command 'flsh'; did you mean FLUSH?");
        assert_eq!(text(b"xyzzy"), "unknown command 'xyzzy'; HELP lists the commands");
    }
}
