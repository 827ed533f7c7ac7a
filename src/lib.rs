//! `kv_cli`: the store at a prompt, in a script, or one command at a time.
//!
//! [`run`] makes the settings from the flags, finds the store, and hands a session to the prompt, the script, or the
//! one command of the command line. One command that only reads reads the files of the store and does not open it. A
//! store that does not exist is created by the first command that writes. Tools (for example `kv_cli verify`) open no
//! store.
//!
//! Every module uses only modules above it in this table, and exactly those in the last column. All may use `error`.
//!
//! | module | what it does | uses |
//! |---|---|---|
//! | `error` | why a command failed: a text and a code | – |
//! | `text` | words of a line, quoting, units, width, colour, JSON | – |
//! | `streams` | stdin, stdout and stderr, also if they are non-blocking | – |
//! | `lines` | lines of bytes from a pipe or a file | – |
//! | `outfile` | files that are put in place when they are complete; scratch files; names that belong to a store | – |
//! | `progress` | the progress of a long command, on a terminal | – |
//! | `limits` | the limits of keys and values | – |
//! | `signals` | which signals came; the listener; the saved terminal | streams, outfile |
//! | `remote` | a store that a server serves: the connection, requests and replies | signals |
//! | `password` | the password of a server | text |
//! | `settings` | what the flags ask for, as data | – |
//! | `about` | the version, and the tables at the end of `--help` | – |
//! | `args` | the command line and `--help` | text, streams, outfile, remote, settings, about |
//! | `question` | a question to the person at the prompt | text, streams, signals |
//! | `output` | replies on stdout, errors on stderr, and their order | text, streams, settings |
//! | `store` | the store of a session: open, only read, not there yet, or a server's | outfile, remote |
//! | `session` | store, open group, output, exit status | text, limits, signals, settings, output, store |
//! | `gate` | the lock that decides whether the main thread or a signal ends the process | outfile, signals, store, session |
//! | `bench` | the work of BENCH | text, outfile, progress, signals, remote, settings, about, output |
//! | `transfer` | the work of EXPORT and IMPORT | text, streams, lines, outfile, progress, limits, signals, remote, settings, output, store |
//! | [`command`] | the language: one file for each command | text, limits, signals, remote, settings, about, question, output, store, session, bench, transfer |
//! | `anywhere` | options behind the command | text, args, command |
//! | `script` | commands from a pipe or a file | text, streams, lines, settings, output, session, gate, command |
//! | `prompt` | commands from a terminal; completion, hints, history | text, streams, outfile, signals, output, store, session, gate, bench, command, script |
//! | `serve` | the server: the checks before the store is opened, and its end | text, streams, signals, password, args |
//! | `connect` | finds the server that the shell uses | signals, remote, password, args, store |
//! | `pages` | the man page and the completions of shells | about, args, command |
//! | `tools` | `wal`, `verify`, `export`, `replay`, `torture`: they open no store | text, streams, progress, signals, settings, args, output, transfer |
//!
//! How to add a command: see the head of [`command`].

mod about;
mod anywhere;
mod args;
mod bench;
pub mod command;
mod connect;
mod error;
mod gate;
mod limits;
mod lines;
mod outfile;
mod output;
mod pages;
mod password;
mod progress;
mod prompt;
mod question;
mod remote;
mod script;
mod serve;
mod session;
mod settings;
mod signals;
mod store;
mod streams;
mod text;
mod tools;
mod transfer;

use anyhow::Context;
use args::{Args, ImportArgs, ServeArgs, Words};
use error::{Code, CommandError};
use gate::Gate;
use kv_engine::{Error, MAX_VALUE_BYTES};
use output::{Output, Place};
use progress::Progress;
use session::{Ending, Flow, Session};
use settings::{Format, Settings};
use signals::{Flags, Terminal};
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;
use store::{Files, Store};
use streams::{Patient, stdin};
use text::{error_object, safe};
use transfer::import::{Checked, Request};

static FLAGS: Flags = Flags::new();

/// Runs the program with the arguments of this process, to its end.
pub fn run() -> ExitCode {
    // Before any command writes anything.
    if let Err(error) = signals::survive_file_size_limit() {
        streams::say(&format!("kv_cli: error: SIGXFSZ cannot be handled: {error}; nothing was done"));
        return ExitCode::FAILURE;
    }
    let args = Args::of(anywhere::in_order(std::env::args_os()), |word| command::find(word).is_some());
    let done = match (args.generate, &args.words) {
        (Some(_), _) => generate(&args),
        (None, Some(Words::Serve(serve))) => serve_store(&args, serve),
        (None, _) => tools::run(&args, &FLAGS).map_or_else(|| with_store(&args), Ok),
    };
    done.unwrap_or_else(|error| {
        let text = format!("{error:#}");
        if args.format() == Format::Json {
            // If stdout cannot be written either, the text is still on stderr.
            let _ = streams::stdout().write_all(error_object(Code::Failed, &text).as_bytes());
        }
        streams::say(&format!("kv_cli: error: {}", safe(&text)));
        ExitCode::FAILURE
    })
}

fn generate(args: &Args) -> anyhow::Result<ExitCode> {
    let text = args.generate.map(pages::generate).transpose()?.unwrap_or_default();
    Ok(ExitCode::from(streams::finish(streams::stdout().write_all(&text), 0)))
}

/// Opens the store and serves it.
fn serve_store(args: &Args, serve: &ServeArgs) -> anyhow::Result<ExitCode> {
    let options = serve::options(serve, args.read_only)?;
    serve::listen(&FLAGS).context("signals cannot be listened to, so the store was not opened")?;
    if let Some(error) = args.no_directory() {
        return Ok(serve::not_opened(&CommandError::new(Code::NotOpened, error)));
    }
    match opening(args).open() {
        Ok(engine) => serve::run(engine, options),
        Err(error) => Ok(serve::not_opened(&refused(&error, args))),
    }
}

/// Opens the store and runs the commands.
fn with_store(args: &Args) -> anyhow::Result<ExitCode> {
    let words = words(args)?;
    let import = import(args, words.as_deref());
    let words = words.filter(|_| import.is_none());
    let reads_stdin = words.is_none() && import.is_none() && args.command.is_empty() && args.file.is_empty();
    let interactive = reads_stdin && io::stdin().is_terminal();
    let mut output = Output::new(args.format(), args.color, interactive);
    // A mistake and HELP do not wait for the store.
    if let Some(status) = words.as_deref().and_then(|words| without_store(words, &mut output)) {
        return Ok(ExitCode::from(status));
    }
    let terminal: Option<&Terminal> = Terminal::save().filter(|_| interactive).map(|terminal| &*Box::leak(Box::new(terminal)));
    signals::begin(&FLAGS, terminal).context("signals cannot be listened to, so the store was not opened")?;
    // Checked before the store is opened, so that a file that cannot be imported does not create a store.
    let import = match import.map(|request| transfer::import::check(&request, None, &FLAGS).map(|checked| (request, checked))) {
        Some(Err(error)) => {
            output.error(&Place::Words, &error);
            let status = FLAGS.stop_signal().map_or(1, |signal| u8::try_from(128 + signal).unwrap_or(255));
            return Ok(ExitCode::from(output.finish(status)));
        }
        import => import.transpose().ok().flatten(),
    };
    let found = match &args.words {
        Some(Words::Connect(connect)) => connect::open(connect, &FLAGS),
        _ => find_store(args, words.as_deref(), &mut output),
    };
    let store = match found {
        Ok(store) => store,
        Err(error) => {
            output.error(&Place::Words, &error);
            return Ok(ExitCode::from(output.finish(error.code.status())));
        }
    };
    let settings = Settings {
        wal: args.wal.clone(),
        snapshot: args.snapshot.clone(),
        batch: args.batch,
        interactive,
        bail: args.bail,
        timing: args.timing,
        quiet: args.quiet,
        verbose: args.verbose,
        no_rc: args.no_rc,
    };
    // Never freed: the process ends with them, and freeing a large map takes time.
    let gate: &Gate = Box::leak(Box::new(Gate::new(Session::new(store, output, settings, &FLAGS))));
    greet(&mut gate.hold());
    gate.listen();
    let before = gate.hold().next();
    let flow = match words {
        _ if before != Flow::On => before,
        Some(words) => command::run_words(&mut gate.hold(), &Place::Words, &words),
        None if let Some((request, checked)) = &import => run_import(&mut gate.hold(), request, checked),
        None if !args.command.is_empty() => run_commands(gate, args),
        None if !args.file.is_empty() => run_files(gate, args),
        None if interactive => prompt::run(gate, &FLAGS, terminal),
        None => script::run(gate, Patient(stdin()?), "<stdin>"),
    };
    let mut session = gate.hold();
    let ending = match flow {
        Flow::On => Ending::Input,
        Flow::End(ending) => ending,
    };
    // The gate is still held, so no signal ends the process a second time.
    let status = session.end(ending);
    std::process::exit(status.into())
}

/// The store of the session: open, only read, or not there yet. What decides, in this order:
///
/// 1. `--read-only`: the files are read.
/// 2. There is no store: the first command that writes creates it.
/// 3. One command that only reads: it reads the files. If they need any repair or report, or are another user's, the
///    store is opened.
/// 4. The store is opened. If another process has it open, one command that only reads reads the files.
fn find_store(args: &Args, words: Option<&[Vec<u8>]>, output: &mut Output) -> Result<Store, CommandError> {
    if let Some(error) = args.no_directory() {
        return Err(CommandError::new(Code::NotOpened, error));
    }
    let is_missing = store::is_missing(&args.wal, &args.snapshot);
    if args.read_only {
        if is_missing {
            return Err(store::no_store(&args.wal));
        }
        return Files::look(&args.wal, &args.snapshot).map(Store::read_only).map_err(|error| refused(&error, args));
    }
    if is_missing {
        return Ok(Store::later(&args.wal, opening(args)));
    }
    let reads = words.and_then(command::only_reads);
    // Only an open store has all that STATS shows, and these options are about opening.
    let is_opened = args.snapshot_on_exit || args.verbose;
    if reads.is_some_and(|command| command.name != "STATS")
        && !is_opened
        && store::is_own(&args.wal)
        && store::is_own(&args.snapshot)
        && let Ok(files) = Files::look(&args.wal, &args.snapshot)
        && files.is_sound()
    {
        if let Some(pid) = store::holder(&args.wal).filter(|_| !args.quiet) {
            output.aside(&format!("kv_cli: {}", safe(&files.note(Some(pid)))));
        }
        return Ok(Store::read_only(files));
    }
    match opening(args).open() {
        Ok(engine) => Ok(Store::open(engine)),
        Err(Error::Locked { pid, .. }) if reads.is_some() => {
            let files = Files::look(&args.wal, &args.snapshot).map_err(|error| refused(&error, args))?;
            if !args.quiet {
                output.aside(&format!("kv_cli: {}", safe(&files.note(pid))));
            }
            Ok(Store::read_only(files))
        }
        Err(error) => Err(refused(&error, args)),
    }
}

/// Why the store is not open, and what can be done.
fn refused(error: &Error, args: &Args) -> CommandError {
    let refused = CommandError::of_files(error);
    let text = &refused.text;
    let advice = match error {
        Error::Mismatch { .. } => args.old_place(),
        // Some reasons of the engine have this advice already.
        Error::Damaged { .. } if !text.contains("--salvage") => {
            Some("kv_cli export --salvage exports the entries that are not damaged".to_string())
        }
        Error::Foreign { path, .. } if *path == args.wal => Some(
            "if this was the log of the store: kv_cli wal shows its undamaged records, kv_cli export --salvage exports them"
                .to_string(),
        ),
        Error::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied && !text.contains("--wal") => {
            Some("to use a store of your own: --dir DIR, or --wal PATH".to_string())
        }
        _ => None,
    };
    let text = advice.map_or_else(|| text.clone(), |advice| format!("{text}; {advice}"));
    CommandError { text, ..refused }
}

/// The options to open the store with. On a terminal a bar shows the progress if it takes over a second.
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
    let Some(words) = args.command_words() else { return Ok(None) };
    let mut words: Vec<_> = words.iter().cloned().map(OsStringExt::into_vec).collect();
    if args.stdin_argument {
        let mut last = Vec::new();
        // One byte more than a value may have, so that the engine can refuse it.
        Patient(stdin()?).take(MAX_VALUE_BYTES as u64 + 1).read_to_end(&mut last).context("<stdin>")?;
        words.push(last);
    }
    Ok(Some(words))
}

/// Answers HELP and words that are no command, and returns the exit status; `None` if the words need the store.
fn without_store(words: &[Vec<u8>], output: &mut Output) -> Option<u8> {
    let status = match command::run_without_store(words, output, &FLAGS) {
        Ok(true) => 0,
        Ok(false) => return None,
        Err(error) => {
            output.error(&Place::Words, &error);
            1
        }
    };
    Some(output.finish(status))
}

fn greet(session: &mut Session) {
    let Settings { quiet, verbose, .. } = session.settings;
    if session.output.interactive && !quiet {
        // Ctrl-C during the opening: the session ends at once.
        if session.flags.stop_signal().is_none() {
            prompt::banner(session);
        }
        return;
    }
    let Session { store, output, .. } = session;
    // A store that is not there yet is reported by the first command that needs it.
    let is_there = store.opened().get().is_some() || store.is_read_only();
    // Lost writes are reported even with --quiet.
    if is_there && (!quiet || store.is_loss()) {
        store.warnings().iter().for_each(|warning| output.warn(warning));
    }
    if verbose && is_there {
        output.aside(&format!("kv_cli: {}", safe(&store.found())));
    }
}

/// What `kv_cli import FILE…` or `kv_cli IMPORT FILE` imports.
fn import<'a>(args: &'a Args, words: Option<&[Vec<u8>]>) -> Option<Request<'a>> {
    let (files, from, salvage) = match &args.words {
        Some(Words::Import(ImportArgs { files, from, salvage })) => (files.clone(), *from, *salvage),
        _ => (vec![command::file_to_import(words?)?], None, false),
    };
    Some(Request { wal: &args.wal, files, from, salvage, quiet: args.quiet })
}

fn run_import(session: &mut Session, request: &Request<'_>, checked: &Checked) -> Flow {
    let done = session
        .writer_and_output()
        .and_then(|(store, output, flags)| transfer::import::write(checked, request, store, output, flags));
    session.report_connection();
    match done {
        Ok(()) => session.next(),
        Err(error) => session.refuse(&Place::Words, &error),
    }
}

fn run_commands(gate: &Gate, args: &Args) -> Flow {
    let mut session = gate.hold();
    for (at, text) in args.command.iter().cloned().map(OsStringExt::into_vec).enumerate() {
        for line in text.split(|&b| b == b'\n') {
            let place = Place::Option(at + 1);
            let flow = command::run_line(&mut session, &place, line);
            session.report_background(&place);
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

/// The example of the page about the library is a test.
#[cfg(doctest)]
#[doc = include_str!("../docs/library.md")]
struct Library;
