//! `kv_cli`: the store at a prompt, in a script, or one command at a time.
//!
//! | module | what it does |
//! |---|---|
//! | `args`, `pages` | flags; `--help`, the man page, completions |
//! | `session` | runs a line, answers, keeps the exit status; all modes share it |
//! | `repl`, `assist`, `history` | the prompt, help while typing, lines typed before |
//! | `script` | commands from a pipe or a file, as bytes |
//! | `render`, `stats` | text, raw and JSON; stdout before stderr; nothing harmful to a terminal |
//! | `bench` | BENCH |
//! | `export`, `import` | EXPORT and IMPORT |
//! | `outfile` | files that are put in place whole, and scratch files |
//! | `dump`, `cpp` | the forms of an export; the files of the C++ store |
//! | `progress` | how far a long command has come |
//! | `signals`, `streams` | orderly ends; pipes that do not wait |
//! | `tools`, `hex`, `replay` | `wal`, `verify` and `replay`: looking at the files |
//! | `torture` | crashing the engine on a simulated disk |
//! | `kills` | killing this program, as a process of its own |

mod about;
mod args;
mod bench;
pub mod command;
mod error;
mod findings;
mod gate;
mod lines;
mod outfile;
mod output;
mod pages;
mod progress;
mod prompt;
mod script;
mod session;
mod settings;
mod signals;
mod stats;
mod streams;
mod text;
mod tools;
mod transfer;

use crate::command::{Reply, parse_words};
use anyhow::Context;
use args::{Args, Words};
use clap::CommandFactory;
use error::{Code, CommandError};
use gate::Gate;
use kv_engine::{Engine, Error, MAX_VALUE_BYTES};
use output::{Output, Place};
use progress::Progress;
use session::{Ending, Flow, Session};
use settings::Settings;
use signals::{Flags, Terminal};
use std::borrow::Cow;
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;
use streams::{Patient, stdin};
use text::{displayed, safe};

static FLAGS: Flags = Flags::new();

/// Runs the program with the arguments of this process, to its end.
pub fn run() -> ExitCode {
    // Before anything is written, by whatever command.
    if let Err(error) = signals::survive_file_size_limit() {
        streams::say(&format!("kv_cli: error: SIGXFSZ cannot be handled: {error}; nothing was done"));
        return ExitCode::FAILURE;
    }
    let args = Args::of_process();
    let done = match args.generate {
        Some(_) => generate(&args),
        None => tools::run(&args, &FLAGS).map_or_else(|| converse(&args), Ok),
    };
    done.unwrap_or_else(|error| {
        streams::say(&format!("kv_cli: error: {}", safe(&format!("{error:#}"))));
        ExitCode::FAILURE
    })
}

fn generate(args: &Args) -> anyhow::Result<ExitCode> {
    let text = args.generate.map(pages::generate).transpose()?.unwrap_or_default();
    Ok(ExitCode::from(streams::finish(streams::stdout().write_all(&text), 0)))
}

/// Opens the store and runs what there is to run.
fn converse(args: &Args) -> anyhow::Result<ExitCode> {
    let words = words(args)?;
    let import = if let Some(Words::Import(import)) = &args.words { Some(import) } else { None };
    let reads_stdin = words.is_none() && import.is_none() && args.command.is_empty() && args.file.is_empty();
    let interactive = reads_stdin && io::stdin().is_terminal();
    let mut output = Output::new(args.format(), args.color, interactive);
    if let Some(status) = words.as_deref().and_then(|words| without_store(words, &mut output)) {
        return Ok(ExitCode::from(status));
    }
    let terminal: Option<&Terminal> = Terminal::save().filter(|_| interactive).map(|terminal| &*Box::leak(Box::new(terminal)));
    signals::begin(&FLAGS, terminal).context("signals cannot be listened to, so the store was not opened")?;
    let engine = match opening(args).open() {
        Ok(engine) => engine,
        Err(error) => {
            output.complain(&Place::Words, &refused(&error, args));
            return Ok(ExitCode::from(3));
        }
    };
    let settings = Settings {
        wal: args.wal.clone(),
        snapshot: args.snapshot.clone(),
        interactive,
        bail: args.bail,
        timing: args.timing,
        quiet: args.quiet,
        verbose: args.verbose,
    };
    // Never freed: the process ends with them, and freeing a large map takes time.
    let session = Session::new(engine.clone(), output, settings, &FLAGS);
    let gate: &Gate = Box::leak(Box::new(Gate::new(session, engine.clone())));
    greet(&mut gate.hold(), &engine);
    gate.listen();
    let asked_to_end = gate.hold().next();
    let flow = match words {
        _ if asked_to_end != Flow::On => asked_to_end,
        Some(words) => gate.hold().words(&Place::Words, &words),
        None if let Some(import) = import => gate.hold().import(&Place::Words, &import.files, import.from, import.salvage),
        None if !args.command.is_empty() => run_commands(gate, args),
        None if !args.file.is_empty() => run_files(gate, args),
        None if interactive => prompt::run(gate, engine, &FLAGS, terminal),
        None => script::run(gate, Patient(stdin()?), "<stdin>"),
    };
    let mut session = gate.hold();
    let ending = match flow {
        Flow::On => Ending::Input,
        Flow::End(ending) => ending,
    };
    // Still holding the gate, so that no signal ends the process a second time.
    let status = session.end(ending);
    std::process::exit(status.into())
}

/// Why the store is not open, and what is left to do with damaged files.
fn refused(error: &Error, args: &Args) -> String {
    match error {
        Error::Mismatch { .. } => {
            let old_place = args.old_place().map(|text| format!("; {text}")).unwrap_or_default();
            format!("{error}{old_place}")
        }
        Error::Damaged { .. } => format!("{error}; what is whole in the files: kv_cli export --salvage"),
        Error::Foreign { path, .. } if *path == args.wal => format!(
            "{error}; where it was the log of this store, kv_cli verify says what stands in it, and kv_cli export --salvage writes \
             that out"
        ),
        _ => error.to_string(),
    }
}

/// How to open the store: with a bar when that takes over a second and somebody looks.
fn opening(args: &Args) -> kv_engine::Options {
    let progress = Progress::new("opening {wide_bar} {bytes} of {total_bytes}", None, args.quiet);
    if !progress.is_wanted() {
        return args.options();
    }
    args.options().progress(move |read, total| {
        progress.set_total(total);
        progress.set(read);
    })
}

/// The words of a one-shot command, the last one from stdin with `-x`.
fn words(args: &Args) -> anyhow::Result<Option<Vec<Vec<u8>>>> {
    let Some(Words::Command(words)) = &args.words else { return Ok(None) };
    let mut words: Vec<_> = words.iter().cloned().map(OsStringExt::into_vec).collect();
    if args.stdin_argument {
        let mut last = Vec::new();
        // One byte more than a value may have, so that the engine can refuse it.
        Patient(stdin()?).take(MAX_VALUE_BYTES as u64 + 1).read_to_end(&mut last).context("<stdin>")?;
        words.push(last);
    }
    Ok(Some(words))
}

/// A mistake and HELP need no store, and must not wait for one.
fn without_store(words: &[Vec<u8>], output: &mut Output) -> Option<u8> {
    let status = match parse_words(words.iter().map(|word| Cow::Borrowed(word.as_slice()))) {
        Ok(Some(crate::command::Command::Help(spec))) => {
            let text = spec.map_or_else(crate::command::help, crate::command::Spec::help);
            output.reply(crate::command::Verb::Help, &Reply::Help(text), &FLAGS, || None);
            0
        }
        Ok(_) => return None,
        Err(error) => {
            output.error(&Place::Words, &or_a_tool(error, &words[0]));
            1
        }
    };
    Some(output.finish(status))
}

/// What is no command may be a tool, mistyped.
fn or_a_tool(error: CommandError, word: &[u8]) -> CommandError {
    if error.code != Code::UnknownCommand || error.text.contains("did you mean") {
        return error;
    }
    let (program, typed) = (Args::command(), String::from_utf8_lossy(word).to_lowercase());
    let near = program.get_subcommands().find(|tool| strsim::osa_distance(&typed, tool.get_name()) <= 2);
    near.map_or(error, |tool| {
        let text = format!("unknown command '{}'; did you mean {}?", displayed(word), tool.get_name());
        CommandError::new(Code::UnknownCommand, text)
    })
}

fn greet(session: &mut Session, engine: &Engine) {
    let Settings { quiet, verbose, .. } = session.settings;
    if session.output.interactive && !quiet {
        prompt::banner(session, engine);
        return;
    }
    // A lost write is said in any case: quiet is not silent.
    if !quiet || engine.recovery().is_loss() {
        for warning in engine.recovery().warnings() {
            session.output.warn(&warning);
        }
    }
    if verbose {
        session.output.aside(&format!("kv_cli: {}", safe(&engine.recovery().to_string())));
    }
}

fn run_commands(gate: &Gate, args: &Args) -> Flow {
    let mut session = gate.hold();
    for (at, text) in args.command.iter().cloned().map(OsStringExt::into_vec).enumerate() {
        for line in text.split(|&b| b == b'\n') {
            let place = Place::Option(at + 1);
            let flow = session.line(&place, line);
            session.tell_background(&place);
            if flow != Flow::On {
                return flow;
            }
        }
    }
    Flow::On
}

fn run_files(gate: &Gate, args: &Args) -> Flow {
    for path in &args.file {
        let flow = match stdin() {
            Ok(stdin) if path.as_os_str() == "-" => script::run(gate, Patient(stdin), "<stdin>"),
            _ => script::run_file(gate, path),
        };
        if flow != Flow::On {
            return flow;
        }
    }
    Flow::On
}

/// The example of the README is a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
