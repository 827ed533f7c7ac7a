//! BENCH: measures the disk. Its options are read here; `bench/` does the work.

use super::args::{Args, Word, number};
use super::reply::Verb;
use super::spec::{Opt, Spec};
use crate::bench::{self, Amount, Dist};
use crate::error::{Code, CommandError};
use crate::session::Session;
use crate::text::displayed;
use kv_engine::{MAX_BATCH_SIZE, MAX_KEY_BYTES};
use std::time::Duration;

/// The most operations for each batch size.
const MAX_OPERATIONS: u64 = 100_000_000;
/// A key has a number of ten digits, which makes it different from the others.
const MIN_KEY_BYTES: u64 = 10;
const MAX_VALUE_BYTES: u64 = 16 << 20;
const MAX_THREADS: u64 = 256;
const MAX_TIME: Duration = Duration::from_secs(24 * 3600);

/// In the order of HELP.
static OPTIONS: &[Opt] = &[
    Opt {
        name: "--ops",
        value: "OPS",
        choices: &["puts", "gets", "mixed:50", "mixed:95"],
        summary: "puts (the default), gets, or mixed:P (P % gets, 1 to 99)",
    },
    Opt { name: "--key-bytes", value: "N", choices: &[], summary: "length of every key; 16" },
    Opt { name: "--value-bytes", value: "N", choices: &[], summary: "length of every value; 100" },
    Opt { name: "--keys", value: "N", choices: &[], summary: "different keys; 1000000, with gets 100000 (put first)" },
    Opt {
        name: "--dist",
        value: "DIST",
        choices: &["uniform", "zipfian"],
        summary: "uniform (the default), or zipfian: few hot keys (s = 0.99)",
    },
    Opt { name: "--threads", value: "N", choices: &[], summary: "threads, which share the n; 1" },
    Opt { name: "--warm-up", value: "N", choices: &[], summary: "work before, not counted: a number or a time; n/10 to 1000" },
    Opt { name: "--report", value: "FILE", choices: &[], summary: "write a page with charts: FILE.html or FILE.svg" },
    Opt { name: "--json", value: "", choices: &[], summary: "results as JSON, one object to a line" },
];

/// Measures what the options say. Boxed, because it is much larger than any other command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bench(pub(crate) Box<bench::Bench>);

impl<'a> Verb<'a> for Bench {
    const SPEC: &'static Spec = &Spec {
        name: "BENCH",
        args: &["n", "[sizes]", "[options]"],
        arity: (1, 2),
        takes: "a number or a time, and a list of batch sizes",
        options: OPTIONS,
        summary: "time n writes, for each of the batch sizes",
        details: "n is a number from 1 to 100000000, or a time, for example 10s. sizes is a list,\n\
            for example 1,5,50; without it the current size. BENCH runs in a scratch store\n\
            beside the log (same disk) and removes it; your data is not touched. The last\n\
            flush is timed too, so every counted write is durable. Ctrl-C stops it and\n\
            prints the result so far.",
        example: "BENCH 10000 1,5,50",
        ..Spec::NO_ARGUMENTS
    };
    type Reply = ();

    fn read(args: Args<'a>) -> Result<Bench, CommandError> {
        options(args.spec, &args.all).map(|options| Bench(Box::new(options)))
    }

    fn run(self, session: &mut Session) -> Result<(), CommandError> {
        let Bench(mut options) = self;
        if options.batch_sizes.is_empty() {
            options.batch_sizes.push(session.batch_size());
        }
        let Session { store, settings, output, flags, .. } = session;
        match store.server() {
            Some(remote) => bench::run_at_server(&options, remote, settings, output, flags),
            None => bench::run(&options, settings, output, flags),
        }
    }
}

/// Reads the words after the command's name.
fn options(spec: &Spec, words: &[Word<'_>]) -> Result<bench::Bench, CommandError> {
    let (plain, given) = split(spec, words)?;
    spec.check_arity(plain.len(), plain.get(spec.arity.1).copied())?;
    let sizes = plain.get(1).map(|word| word.split(|&b| b == b',').collect::<Vec<_>>()).unwrap_or_default();
    let size = |word: &&[u8]| number("each of the sizes", word, 1, MAX_BATCH_SIZE);
    let batch_sizes = sizes.iter().map(size).collect::<Result<_, _>>()?;
    let mut options = bench::Bench {
        amount: amount(spec.name, plain[0], 1)?,
        batch_sizes,
        gets_percent: 0,
        key_bytes: 16,
        value_bytes: 100,
        keys: None,
        dist: Dist::Uniform,
        threads: 1,
        warm_up: None,
        report: None,
        json: false,
    };
    given.into_iter().try_for_each(|(option, value)| set(&mut options, option, value))?;
    Ok(options)
}

fn set(options: &mut bench::Bench, option: &Opt, value: &[u8]) -> Result<(), CommandError> {
    let whole = |min, max| number(option.name, value, min, max);
    let short = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    match option.name {
        "--ops" => {
            options.gets_percent =
                gets_percent(value).ok_or_else(|| takes(option, "puts, gets or mixed:P (P from 1 to 99)", value))?
        }
        "--key-bytes" => options.key_bytes = short(whole(MIN_KEY_BYTES, MAX_KEY_BYTES as u64)?),
        "--value-bytes" => options.value_bytes = short(whole(0, MAX_VALUE_BYTES)?),
        "--keys" => options.keys = Some(whole(1, MAX_OPERATIONS)?),
        "--threads" => options.threads = whole(1, MAX_THREADS)?,
        "--warm-up" => options.warm_up = Some(amount(option.name, value, 0)?),
        "--json" => options.json = true,
        "--dist" => {
            let named = [Dist::Uniform, Dist::Zipfian].into_iter().find(|dist| dist.to_string().as_bytes() == value);
            options.dist = named.ok_or_else(|| takes(option, "uniform or zipfian", value))?;
        }
        "--report" => {
            let is = |end: &[u8]| value.len() > end.len() && value.to_ascii_lowercase().ends_with(end);
            if !is(b".html") && !is(b".svg") {
                return Err(takes(option, "a FILE.html or a FILE.svg", value));
            }
            options.report = Some(value.to_vec());
        }
        other => unreachable!("{other} is in the table only"),
    }
    Ok(())
}

/// The words that are not options, and the options with their values.
type Split<'w> = (Vec<&'w [u8]>, Vec<(&'static Opt, &'w [u8])>);

/// Options are `--name VALUE` or `--name=VALUE`, anywhere after the command.
fn split<'w>(spec: &Spec, words: &'w [Word<'_>]) -> Result<Split<'w>, CommandError> {
    let (mut plain, mut options): Split<'w> = Default::default();
    let mut words = words.iter().map(|word| &**word);
    while let Some(word) = words.next() {
        if !word.starts_with(b"--") {
            plain.push(word);
            continue;
        }
        let (name, joined) = match word.iter().position(|&b| b == b'=') {
            Some(at) => (&word[..at], Some(&word[at + 1..])),
            None => (word, None),
        };
        let option = spec.option_or_explain(name)?;
        let (value, complaint) = match option.value {
            "" => (joined.is_none().then_some(&b""[..]), "takes no value"),
            _ => (joined.or_else(|| words.next()), "needs a value"),
        };
        let value = value.ok_or_else(|| {
            let text = format!("{} {complaint}; usage: {}", option.name, option.usage());
            CommandError::new(Code::WrongArity, text)
        })?;
        options.push((option, value));
    }
    Ok((plain, options))
}

fn gets_percent(word: &[u8]) -> Option<u64> {
    match word {
        b"puts" => Some(0),
        b"gets" => Some(100),
        b"mixed" => Some(50),
        _ => {
            let percent = std::str::from_utf8(word.strip_prefix(b"mixed:")?).ok()?;
            percent.parse().ok().filter(|percent| (1..100).contains(percent))
        }
    }
}

fn takes(option: &Opt, what: &str, got: &[u8]) -> CommandError {
    CommandError::new(Code::BadArgument, format!("{} takes {what}, got '{}'", option.name, displayed(got)))
}

/// `10000`, `10s`, `500ms`, `2m`.
fn amount(what: &str, word: &[u8], min: u64) -> Result<Amount, CommandError> {
    let digits = word.iter().take_while(|b| b.is_ascii_digit()).count();
    let scale_ms = match &word[digits..] {
        b"" => return number(what, word, min, MAX_OPERATIONS).map(Amount::Count),
        b"ms" => Some(1),
        b"s" => Some(1_000),
        b"m" => Some(60_000),
        b"h" => Some(3_600_000),
        _ => None,
    };
    let count = std::str::from_utf8(&word[..digits]).ok().and_then(|text| text.parse::<u64>().ok());
    let time = scale_ms.zip(count).and_then(|(scale, count)| count.checked_mul(scale)).map(Duration::from_millis);
    time.filter(|time| *time <= MAX_TIME && (min == 0 || !time.is_zero())).map(Amount::Time).ok_or_else(|| {
        let text = format!(
            "{what} takes a whole number from {min} to {MAX_OPERATIONS}, or a time (10s, 500ms, 2m), got '{}'",
            displayed(word)
        );
        CommandError::new(Code::BadNumber, text)
    })
}

#[cfg(test)]
mod tests {
    use super::super::help::Help;
    use super::super::{COMMANDS, Command, Put, parse};
    use super::*;

    fn bench(line: &str) -> Result<bench::Bench, String> {
        match parse(line.as_bytes()) {
            Ok(Some(Command::Bench(Bench(options)))) => Ok(*options),
            Ok(other) => Err(format!("{other:?}")),
            Err(error) => Err(format!("{}: {}", error.code, error.text)),
        }
    }

    #[test]
    fn options_are_shown_as_the_line_that_repeats_them() {
        for line in [
            "BENCH 10000",
            "BENCH 10000 1,5,50",
            "BENCH 1500ms 5 --ops gets --key-bytes 32 --value-bytes 0 --keys 7 --dist zipfian --threads 8 --warm-up 0",
            "BENCH 2s --ops mixed:95 --warm-up 100ms",
        ] {
            assert_eq!(bench(line).expect(line).to_string(), line);
        }
        assert_eq!(bench("bench --threads=2 10 --json 1,5").expect("anywhere").to_string(), "BENCH 10 1,5 --threads 2");
        assert_eq!(bench("BENCH 2m").expect("minutes").amount, Amount::Time(Duration::from_secs(120)));
        assert_eq!(bench("BENCH 1 --report x.SVG").expect("a file").report, Some(b"x.SVG".to_vec()));
    }

    #[test]
    fn an_error_says_what_is_expected() {
        for (line, text) in [
            (
                "BENCH",
                "wrong_arity: BENCH takes a number or a time, and a list of batch sizes, got no words; usage: BENCH n [sizes] [options]",
            ),
            ("BENCH 0s", "bad_number: BENCH takes a whole number from 1 to 100000000, or a time (10s, 500ms, 2m), got '0s'"),
            ("BENCH 25h", "bad_number: BENCH takes a whole number from 1 to 100000000, or a time (10s, 500ms, 2m), got '25h'"),
            ("BENCH 1 --threads", "wrong_arity: --threads needs a value; usage: --threads N"),
            ("BENCH 1 --json=yes", "wrong_arity: --json takes no value; usage: --json"),
            ("BENCH 1 --threads 0", "bad_number: --threads takes a whole number from 1 to 256, got '0'"),
            (
                "BENCH 1 --warm-up x",
                "bad_number: --warm-up takes a whole number from 0 to 100000000, or a time (10s, 500ms, 2m), got 'x'",
            ),
            ("BENCH 1 --dist flat", "bad_argument: --dist takes uniform or zipfian, got 'flat'"),
            ("BENCH 1 --ops put", "bad_argument: --ops takes puts, gets or mixed:P (P from 1 to 99), got 'put'"),
            ("BENCH 1 --ops mixed:100", "bad_argument: --ops takes puts, gets or mixed:P (P from 1 to 99), got 'mixed:100'"),
            ("BENCH 1 --report kv.wal", "bad_argument: --report takes a FILE.html or a FILE.svg, got 'kv.wal'"),
            ("BENCH 1 --report .svg", "bad_argument: --report takes a FILE.html or a FILE.svg, got '.svg'"),
        ] {
            assert_eq!(bench(line), Err(text.to_string()), "{line}");
        }
        assert_eq!(
            bench("BENCH 1 --value-size 9"),
            Err("bad_argument: BENCH has no option '--value-size'; did you mean --value-bytes?".to_string())
        );
        assert_eq!(
            bench("BENCH 1 --thread 2"),
            Err("bad_argument: BENCH has no option '--thread'; did you mean --threads?".to_string())
        );
    }

    #[test]
    fn help_fits_a_terminal_and_has_every_option() {
        let help = Bench::SPEC.help();
        assert!(help.lines().all(|line| line.chars().count() <= 79), "{help}");
        assert!(OPTIONS.iter().all(|option| help.contains(&option.usage())));
    }

    #[test]
    fn only_commands_with_options_look_for_them() {
        assert!(matches!(parse(b"PUT x --report"), Ok(Some(Command::Put(Put { value, .. }))) if *value == *b"--report"));
        assert!(matches!(parse(b"BENCH --help"), Ok(Some(Command::Help(help))) if help == Help::of(COMMANDS, Bench::SPEC)));
    }
}
