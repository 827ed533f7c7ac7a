//! The description of a command: names, arguments, options and help.
//!
//! The files of the commands have the descriptions. Parsing, errors, HELP, the man page, completion and hints read
//! them.

use crate::about::TOOLS;
use crate::error::{Code, CommandError};
use crate::text::{displayed, fit};

/// What is known about one command; an item of [`COMMANDS`](super::COMMANDS).
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
    /// Its name, in upper case. A line may have it in any letter case.
    pub name: &'static str,
    /// Other names for it.
    pub aliases: &'static [&'static str],
    /// Its arguments, one word each, `[optional]`.
    pub args: &'static [&'static str],
    /// The fewest and the most words it takes, without its name.
    pub arity: (usize, usize),
    /// Its arguments as a phrase, for example `a key and a value`.
    pub takes: &'static str,
    /// What to do if a line has more words than that; empty: the usage is shown.
    pub(super) too_many: &'static str,
    /// Its options. If there are some, a word that begins with `--` is one.
    pub options: &'static [Opt],
    /// One line for the list.
    pub summary: &'static str,
    /// More about it, for `HELP name`.
    pub details: &'static str,
    /// A line that can be run.
    pub example: &'static str,
}

/// One `--option` of a command.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Opt {
    /// With its two dashes.
    pub name: &'static str,
    /// The name of its value; empty if it takes none.
    pub value: &'static str,
    /// The values it may have, if that is a short list.
    pub choices: &'static [&'static str],
    /// One line for HELP, with the default.
    pub summary: &'static str,
}

impl Opt {
    /// Its name and its value.
    #[must_use]
    pub fn usage(&self) -> String {
        format!("{} {}", self.name, self.value).trim_end().to_string()
    }
}

impl Spec {
    /// A command without arguments, for commands to begin with.
    pub(super) const NO_ARGUMENTS: Spec = Spec {
        name: "",
        aliases: &[],
        args: &[],
        arity: (0, 0),
        takes: "nothing",
        too_many: "",
        options: &[],
        summary: "",
        details: "",
        example: "",
    };

    /// Its name and arguments.
    ///
    /// ```
    /// use kv_cli::command::find;
    ///
    /// assert_eq!(find(b"keys").expect("a command").usage(), "KEYS [prefix] [LIMIT n]");
    /// ```
    #[must_use]
    pub fn usage(&self) -> String {
        std::iter::once(&self.name).chain(self.args).copied().collect::<Vec<_>>().join(" ")
    }

    /// The option of this name. The error says what may have been meant.
    pub(super) fn option_or_explain(&self, name: &[u8]) -> Result<&'static Opt, CommandError> {
        self.options.iter().find(|option| option.name.as_bytes() == name).ok_or_else(|| {
            let names = || self.options.iter().map(|option| option.name);
            // `--value-bytes` for `--value-size`.
            let begins_alike = |other: &&str| first_part(other.as_bytes()) == first_part(name);
            let advice = match nearest(name, names()).or_else(|| names().find(begins_alike)) {
                Some(name) => format!("did you mean {name}?"),
                None => format!("HELP {} lists them", self.name),
            };
            let text = format!("{} has no option '{}'; {advice}", self.name, displayed(name));
            CommandError::new(Code::BadArgument, text)
        })
    }

    /// Refuses a wrong number of words. `extra` is the first word that is too many.
    pub(super) fn check_arity(&self, got: usize, extra: Option<&[u8]>) -> Result<(), CommandError> {
        if (self.arity.0..=self.arity.1).contains(&got) {
            return Ok(());
        }
        let got_words = match (got, extra) {
            (0, _) => "no words".to_string(),
            (1, None) => "1 word".to_string(),
            (1, Some(word)) => format!("'{}'", displayed(word)),
            // Which word is wrong cannot be known if one of them should have been quoted.
            (n, Some(word)) if self.too_many.is_empty() && n > self.arity.1 => {
                format!("{n} words; '{}' is too many", displayed(word))
            }
            (n, _) => format!("{n} words"),
        };
        let advice = match self.too_many {
            text if !text.is_empty() && got > self.arity.1 => text.to_string(),
            _ => format!("usage: {}", self.usage()),
        };
        let text = format!("{} takes {}, got {got_words}; {advice}", self.name, self.takes);
        Err(CommandError::new(Code::WrongArity, text))
    }

    /// The text of `HELP name`; lines, without the last line feed.
    ///
    /// ```
    /// use kv_cli::command::find;
    ///
    /// let help = find(b"DEL").expect("a command").help();
    /// assert!(help.starts_with("DEL key   remove key") && help.ends_with("\nexample: DEL name"));
    /// ```
    #[must_use]
    pub fn help(&self) -> String {
        let head = format!("{}   {}", self.usage(), self.summary);
        let options = self.options.iter().map(|option| format!("  {:<17} {}", option.usage(), option.summary));
        let details = self.details.lines().map(str::to_string);
        [head].into_iter().chain(details).chain(options).chain(self.end()).collect::<Vec<_>>().join("\n")
    }

    /// [`Spec::help`] in a terminal with this many columns, broken between words.
    pub(super) fn help_within(&self, columns: usize) -> String {
        let help = self.help();
        if help.lines().all(|line| line.chars().count() <= columns) {
            return help;
        }
        // The details are one paragraph, which was broken for a usual terminal.
        let details = Some(self.details.replace('\n', " ")).filter(|details| !details.is_empty());
        let options = self.options.iter().flat_map(|option| [format!("  {}", option.usage()), format!("    {}", option.summary)]);
        let lines = [self.usage(), format!("    {}", self.summary)].into_iter().chain(details).chain(options).chain(self.end());
        let fitted = lines.map(|line| fit(&line, columns, line.len() - line.trim_start().len()));
        fitted.collect::<Vec<_>>().join("\n")
    }

    /// Other names for it, and an example.
    fn end(&self) -> impl Iterator<Item = String> {
        let aliases = (!self.aliases.is_empty()).then(|| format!("also: {}", self.aliases.join(", ")));
        aliases.into_iter().chain([format!("example: {}", self.example)])
    }
}

/// Rows for HELP in a terminal with this many columns: a name, and what it does beside it or below it.
pub(super) fn rows(rows: &[(String, &str)], columns: usize) -> String {
    let beside = rows.iter().map(|(name, what)| format!("{name:<26} {what}")).collect::<Vec<_>>();
    if beside.iter().all(|row| row.chars().count() <= columns) {
        return beside.join("\n");
    }
    let below = rows.iter().flat_map(|(name, what)| [fit(name, columns, 2), fit(&format!("    {what}"), columns, 4)]);
    below.collect::<Vec<_>>().join("\n")
}

/// The tool of this name, in any letter case: how it is called, and what it does.
pub(super) fn tool(word: &[u8]) -> Option<(&'static str, &'static str)> {
    let is_name = |usage: &str| usage.split(' ').next().is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(word));
    TOOLS.iter().copied().find(|(usage, _)| is_name(usage))
}

/// All commands. HELP and the parser get the list as an argument, so that the files of commands do not import it.
pub(super) type Commands = &'static [&'static Spec];

/// The position of the command with this name or alias, in any letter case. Names come before aliases.
pub(super) fn position(commands: Commands, word: &[u8]) -> Option<usize> {
    let is = |name: &&str| name.as_bytes().eq_ignore_ascii_case(word);
    let by_name = commands.iter().position(|spec| is(&spec.name));
    by_name.or_else(|| commands.iter().position(|spec| spec.aliases.iter().any(is)))
}

/// The error for a word that names no command. It says what may have been meant.
pub(super) fn unknown(commands: Commands, word: &[u8]) -> CommandError {
    let names = commands.iter().flat_map(|spec| std::iter::once(&spec.name).chain(spec.aliases)).copied();
    let tools = TOOLS.iter().filter_map(|(usage, _)| usage.split(' ').next());
    let advice = match (tool(word), nearest(word, names)) {
        _ if word == b"kv_cli" => "this is kv_cli: write only what follows it".to_string(),
        (Some((usage, _)), _) => format!("it is a tool, which runs outside: kv_cli {usage}"),
        (None, Some(name)) => format!("did you mean {name}?"),
        (None, None) => match nearest(word, tools) {
            Some(name) => format!("did you mean the tool {name}? It runs outside: kv_cli {name}"),
            None => "HELP lists the commands".to_string(),
        },
    };
    CommandError::new(Code::UnknownCommand, format!("unknown command '{}'; {advice}", displayed(word)))
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
