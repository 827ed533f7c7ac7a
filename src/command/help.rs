//! HELP: lists the commands and the tools, or says more about one.

use super::args::Args;
use super::reply::{Effect, Reply, Verb};
use super::spec::{self, Commands, Spec};
use crate::about::TOOLS_IN_SHORT;
use crate::error::CommandError;
use crate::output::Output;
use crate::session::Session;
use crate::settings::Format;
use crate::text::{columns, fit};
use serde_json::Value as Json;
use std::io::{self, Write};

/// Says what the commands do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Help {
    commands: Commands,
    about: Topic,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Topic {
    All,
    Command(&'static Spec),
    /// How the tool is called, and what it does.
    Tool(&'static str, &'static str),
}

/// Lines, without the last line feed.
pub(crate) struct Text(String);

impl<'a> Verb<'a> for Help {
    const SPEC: &'static Spec = &Spec {
        name: "HELP",
        aliases: &["?"],
        args: &["[command]"],
        arity: (0, 1),
        takes: "at most one command",
        summary: "list the commands, or say more about one",
        example: "HELP PUT",
        ..Spec::NO_ARGUMENTS
    };
    const EFFECT: Effect = Effect::None;
    type Reply = Text;

    fn read(args: Args<'a>) -> Result<Help, CommandError> {
        let commands = args.commands;
        let about = match args.optional() {
            None => Topic::All,
            Some(word) => match (spec::position(commands, &word), spec::tool(&word)) {
                (Some(at), _) => Topic::Command(commands[at]),
                (None, Some((usage, summary))) => Topic::Tool(usage, summary),
                (None, None) => return Err(spec::unknown(commands, &word)),
            },
        };
        Ok(Help { commands, about })
    }

    fn run(self, session: &mut Session) -> Result<Text, CommandError> {
        Ok(self.reply(&session.output))
    }
}

impl Help {
    /// For `COMMAND --help`.
    pub(super) fn of(commands: Commands, one: &'static Spec) -> Help {
        Help { commands, about: Topic::Command(one) }
    }

    /// It needs no store. On a narrow terminal its lines are broken between words.
    pub(crate) fn reply(&self, output: &Output) -> Text {
        let is_shown = output.terminal && output.format == Format::Text;
        self.within(if is_shown { columns(io::stdout()) } else { usize::MAX })
    }

    fn within(&self, columns: usize) -> Text {
        Text(match self.about {
            Topic::All => list(self.commands, columns),
            Topic::Command(spec) => spec.help_within(columns),
            Topic::Tool(usage, summary) => tool(usage, summary, columns),
        })
    }
}

/// A line for each command and each tool, without the last line feed.
pub(super) fn list(commands: Commands, columns: usize) -> String {
    let commands: Vec<_> = commands.iter().map(|spec| (spec.usage(), spec.summary)).collect();
    let tools: Vec<_> = TOOLS_IN_SHORT.iter().map(|(names, what)| (names.to_string(), *what)).collect();
    format!("{}\n{}\n{}", spec::rows(&commands, columns), fit(OUTSIDE, columns, 2), spec::rows(&tools, columns))
}

const OUTSIDE: &str = "Outside the prompt (HELP wal says more):";

/// The tools that open the store. The others read its files, or use another store.
const OPENING: [&str; 2] = ["import", "serve"];

fn tool(usage: &str, summary: &str, columns: usize) -> String {
    let name = usage.split(' ').next().unwrap_or(usage);
    let when = if OPENING.contains(&name) { "when the store is closed here" } else { "also while the store is open here" };
    let how = format!("It is a tool: it runs outside the prompt, {when}.");
    let lines = [format!("kv_cli {usage}   {summary}"), how, format!("kv_cli help {name} lists its options.")];
    lines.map(|line| fit(&line, columns, 2)).join("\n")
}

impl Reply for Text {
    fn text(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{}", self.0)
    }

    fn json(&self) -> Vec<(&'static str, Json)> {
        vec![("text", self.0.as_str().into())]
    }
}
