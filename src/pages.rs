//! The man page and the completions of shells, made from the flags, the tables of `about` and the list of commands.

use crate::about::{ENVIRONMENT, EXAMPLES, EXIT_STATUS, FILES};
use crate::args::{Args, Generate};
use crate::command::COMMANDS;
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use roff::{Inline, Roff, bold, italic, roman};
use std::io::{self, Write};

/// The man page, or the script for a shell.
pub(crate) fn generate(kind: Generate) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut complete = |shell| clap_complete::generate(shell, &mut with_commands(), "kv_cli", &mut out);
    match kind {
        Generate::CompleteBash => complete(Shell::Bash),
        Generate::CompleteZsh => complete(Shell::Zsh),
        Generate::CompleteFish => complete(Shell::Fish),
        Generate::Man => man(&mut out)?,
    }
    Ok(out)
}

/// The flags, with the commands as subcommands. The parser itself accepts any word as a command and checks it later.
fn with_commands() -> Command {
    let command = |name: &'static str, about: &'static str| Command::new(name).about(about).disable_help_flag(true);
    let help = COMMANDS.iter().map(|spec| command(spec.name, spec.summary));
    // Long options may follow the command.
    let program = Args::command().mut_args(|arg| if arg.get_long().is_some() { arg.global(true) } else { arg });
    program.subcommands(COMMANDS.iter().map(|spec| {
        let found = command(spec.name, spec.summary);
        if spec.name == "HELP" { found.subcommands(help.clone()) } else { found }
    }))
}

fn man(out: &mut impl Write) -> io::Result<()> {
    let command = Args::command();
    let page = Man::new(command.clone()).manual("kv-engine");
    page.render_title(out)?;
    page.render_name_section(out)?;
    page.render_synopsis_section(out)?;
    page.render_description_section(out)?;
    page.render_options_section(out)?;
    section(out, "COMMANDS", |roff| {
        roff.text([roman("At the prompt, one to a line in a script, or as words of the command line; in any letter case.")]);
        for spec in COMMANDS {
            let names = std::iter::once(spec.usage()).chain(spec.aliases.iter().map(|alias| (*alias).to_string()));
            entry(roff, &names.collect::<Vec<_>>().join(", "), &format!("{}.", spec.summary));
            if !spec.details.is_empty() {
                roff.control("RS", []).text([roman(spec.details)]).control("RE", []);
            }
            roff.control("RS", []).text([italic("Example: "), roman(spec.example)]).control("RE", []);
        }
    })?;
    section(out, "TOOLS", |_| {})?;
    // Built, so that a tool knows the flags of all tools that its own exclude.
    let mut built = command;
    built.build();
    for tool in built.get_subcommands() {
        render_tool(out, tool)?;
    }
    for (title, rows) in [("EXIT STATUS", EXIT_STATUS), ("ENVIRONMENT", ENVIRONMENT), ("FILES", FILES)] {
        section(out, title, |roff| rows.iter().for_each(|(name, what)| entry(roff, name, what)))?;
    }
    section(out, "EXAMPLES", |roff| EXAMPLES.iter().for_each(|(line, what)| entry(roff, line, what)))?;
    page.render_version_section(out)
}

/// A tool, for example `kv_cli wal`, with its own options.
fn render_tool(out: &mut impl Write, tool: &Command) -> io::Result<()> {
    let mut roff = Roff::new();
    let about = tool.get_about().map(ToString::to_string).unwrap_or_default();
    roff.control("SS", [format!("kv_cli {}", tool.get_name()).as_str()]).text([roman(about)]);
    roff.to_writer(out)?;
    let is_own = |arg: &clap::Arg| !arg.is_global_set() && arg.get_id() != "help";
    if tool.get_arguments().any(is_own) {
        let own = tool.clone().mut_args(|arg| if is_own(&arg) { arg } else { arg.hide(true) });
        let mut options = Vec::new();
        Man::new(own).render_options_section(&mut options)?;
        let options = String::from_utf8_lossy(&options).replace(".SH OPTIONS\n", "");
        out.write_all(options.as_bytes())?;
    }
    Ok(())
}

fn section(out: &mut impl Write, title: &str, fill: impl FnOnce(&mut Roff)) -> io::Result<()> {
    let mut roff = Roff::new();
    roff.control("SH", [title]);
    fill(&mut roff);
    roff.to_writer(out)
}

fn entry(roff: &mut Roff, name: &str, what: &str) {
    roff.control("TP", []).text([bold(name)]).text([Inline::Roman(what.to_string())]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::about::{TOOLS, TOOLS_IN_SHORT};

    #[test]
    fn help_lists_every_tool() {
        let in_short: Vec<_> = TOOLS_IN_SHORT.iter().flat_map(|(names, _)| names.split([' ', ','])).collect();
        assert!(TOOLS.iter().all(|(usage, _)| in_short.contains(&usage.split(' ').next().unwrap_or(usage))));
        let listed = TOOLS.iter().filter_map(|(usage, _)| usage.split(' ').next());
        assert!(listed.eq(Args::command().get_subcommands().map(Command::get_name)));
    }

    #[test]
    fn every_variable_of_a_flag_is_in_the_table_and_names_its_flag() {
        for arg in Args::command().get_arguments() {
            let Some(variable) = arg.get_env() else { continue };
            let row = ENVIRONMENT.iter().find(|(name, _)| *name == variable).unwrap_or_else(|| panic!("{variable:?}"));
            let flag = format!("--{}", arg.get_long().expect("a long name"));
            assert!(row.1.starts_with(&flag), "{variable:?}: {}", row.1);
        }
    }
}
