//! HELP: lists the commands, or says more about one.

use super::args::Args;
use super::reply::{Effect, Reply, Verb};
use super::spec::{self, Commands, Spec};
use crate::error::CommandError;
use crate::session::Session;
use serde_json::Value as Json;
use std::io::{self, Write};

/// Says what the commands do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Help {
    commands: Commands,
    /// Only this one.
    one: Option<&'static Spec>,
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
        let find = |word: &[u8]| spec::position(commands, word).ok_or_else(|| spec::unknown(commands, word));
        let one = args.optional().map(|word| find(&word)).transpose()?.map(|at| commands[at]);
        Ok(Help { commands, one })
    }

    fn run(self, _: &mut Session) -> Result<Text, CommandError> {
        Ok(self.reply())
    }
}

impl Help {
    /// For `COMMAND --help`.
    pub(super) fn of(commands: Commands, one: &'static Spec) -> Help {
        Help { commands, one: Some(one) }
    }

    /// It needs no store.
    pub(crate) fn reply(&self) -> Text {
        Text(self.one.map_or_else(|| list(self.commands), Spec::help))
    }
}

/// A line for each command, without the last line feed.
pub(super) fn list(commands: Commands) -> String {
    let rows = commands.iter().map(|spec| format!("{:<26} {}", spec.usage(), spec.summary));
    rows.collect::<Vec<_>>().join("\n")
}

impl Reply for Text {
    fn text(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{}", self.0)
    }

    fn json(&self) -> Vec<(&'static str, Json)> {
        vec![("text", self.0.as_str().into())]
    }
}
