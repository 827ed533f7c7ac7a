//! COMMAND: the table of commands, as client libraries and redis-cli read it.

use super::call::{Call, NO_KEYS, Row, Spec, flag};
use super::glob;
use super::option::is;
use crate::refusal::Refusal;
use crate::resp::{Args, Reply, Span};

const FLAGS: u32 = flag::LOADING | flag::STALE;

pub(super) const ROWS: &[Spec] = &[Spec::new("command", -1, FLAGS, NO_KEYS, all)
    .about("server", "2.8.13", "O(N) with N commands", "Returns all commands.")
    .subcommands(&[
        Spec::new("count", 2, FLAGS, NO_KEYS, count).about("server", "2.8.13", "O(1)", "Returns the number of commands."),
        Spec::new("info", -2, FLAGS, NO_KEYS, info).about("server", "2.8.13", "O(N) with N commands", "Returns some commands."),
        Spec::new("docs", -2, FLAGS, NO_KEYS, docs).about(
            "server",
            "7.0.0",
            "O(N) with N commands",
            "Returns what people read about commands.",
        ),
        Spec::new("list", -2, FLAGS, NO_KEYS, list).about(
            "server",
            "7.0.0",
            "O(N) with N commands",
            "Returns the names of commands.",
        ),
        Spec::new("getkeys", -3, FLAGS, NO_KEYS, getkeys).about(
            "server",
            "2.8.13",
            "O(N) with N words",
            "Returns the keys of a command.",
        ),
    ])];

/// HELP of every command that has subcommands.
pub(super) static HELP: Spec =
    Spec::new("help", 2, FLAGS, NO_KEYS, help).about("server", "5.0.0", "O(1)", "Returns the subcommands.");

/// Flags that clients read.
const NAMES: [(u32, &str); 10] = [
    (flag::WRITE, "write"),
    (flag::READONLY, "readonly"),
    (flag::DENYOOM, "denyoom"),
    (flag::ADMIN, "admin"),
    (flag::NOSCRIPT, "noscript"),
    (flag::LOADING, "loading"),
    (flag::STALE, "stale"),
    (flag::FAST, "fast"),
    (flag::NO_AUTH, "no_auth"),
    (flag::NO_MULTI, "no_multi"),
];

/// The categories of a command, as those of Redis's access lists.
fn categories(spec: &Spec) -> Vec<&'static str> {
    let group = match spec.group {
        "generic" => Some("@keyspace"),
        "string" => Some("@string"),
        "connection" => Some("@connection"),
        "transactions" => Some("@transaction"),
        _ => None,
    };
    let by_flag = [(flag::READONLY, "@read"), (flag::WRITE, "@write"), (flag::ADMIN, "@admin"), (flag::ADMIN, "@dangerous")];
    let mut found: Vec<&str> = by_flag.iter().filter(|(flag, _)| spec.has(*flag)).map(|(_, name)| *name).collect();
    found.extend(group);
    found.push(if spec.has(flag::FAST) { "@fast" } else { "@slow" });
    found
}

fn simple_set(reply: &mut Reply, names: &[&str]) {
    reply.set(names.len());
    names.iter().for_each(|name| reply.simple(name));
}

/// One command as COMMAND INFO tells it.
fn tell(call: &mut Call<'_>, number: usize) {
    let row = &call.table.rows[number];
    let spec = row.spec;
    let flags: Vec<&str> = NAMES.iter().filter(|(flag, _)| spec.has(*flag)).map(|(_, name)| *name).collect();
    let reply = &mut *call.reply;
    reply.array(10);
    reply.bulk(&row.full_name);
    reply.integer(spec.arity);
    simple_set(reply, &flags);
    let (first, last, step) = spec.keys;
    [first, last, step].into_iter().for_each(|number| reply.integer(number));
    simple_set(reply, &categories(spec));
    reply.array(0);
    reply.array(usize::from(first > 0));
    if first > 0 {
        tell_keys(reply, spec);
    }
    let subcommands = call.subcommands(number);
    call.reply.array(subcommands.len());
    for sub in subcommands {
        tell(call, sub);
    }
}

/// Where the keys are, in the form that Redis 7 has.
fn tell_keys(reply: &mut Reply, spec: &Spec) {
    let (first, last, step) = spec.keys;
    let access = if spec.has(flag::WRITE) { ["RW", "access", "update"] } else { ["RO", "access", ""] };
    let access: Vec<&str> = access.into_iter().filter(|word| !word.is_empty()).collect();
    reply.map(3);
    reply.bulk("flags");
    simple_set(reply, &access);
    reply.bulk("begin_search");
    reply.map(2);
    reply.bulk("type");
    reply.bulk("index");
    reply.bulk("spec");
    reply.map(1);
    reply.bulk("index");
    reply.integer(first);
    reply.bulk("find_keys");
    reply.map(2);
    reply.bulk("type");
    reply.bulk("range");
    reply.bulk("spec");
    reply.map(3);
    reply.bulk("lastkey");
    reply.integer(if last < 0 { last } else { last - first });
    reply.bulk("keystep");
    reply.integer(step);
    reply.bulk("limit");
    reply.integer(0);
}

fn all(call: &mut Call<'_>, _: Args<'_>) -> Result<(), Refusal> {
    let numbers = call.commands();
    call.reply.array(numbers.len());
    for number in numbers {
        tell(call, number);
    }
    Ok(())
}

fn count(call: &mut Call<'_>, _: Args<'_>) -> Result<(), Refusal> {
    call.reply.count(call.commands().len());
    Ok(())
}

fn info(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    if args.len() == 2 {
        return all(call, args);
    }
    call.reply.array(args.len() - 2);
    for name in args.from(2) {
        match call.row_named(name) {
            Some(number) => tell(call, number),
            None => call.reply.null_array(),
        }
    }
    Ok(())
}

fn tell_docs(call: &mut Call<'_>, number: usize) {
    let (row, subcommands) = (&call.table.rows[number], call.subcommands(number));
    let (spec, has_subcommands) = (row.spec, !subcommands.is_empty());
    let reply = &mut *call.reply;
    reply.bulk(&row.full_name);
    reply.map(4 + usize::from(has_subcommands));
    for (field, text) in
        [("summary", spec.summary), ("since", spec.since), ("group", spec.group), ("complexity", spec.complexity)]
    {
        reply.bulk(field);
        reply.bulk(text);
    }
    if has_subcommands {
        reply.bulk("subcommands");
        reply.map(subcommands.len());
        subcommands.into_iter().for_each(|sub| tell_docs(call, sub));
    }
}

fn docs(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    let numbers: Vec<usize> = match args.len() {
        2 => call.commands(),
        _ => args.from(2).filter_map(|name| call.row_named(name)).collect(),
    };
    call.reply.map(numbers.len());
    numbers.into_iter().for_each(|number| tell_docs(call, number));
    Ok(())
}

fn list(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    let filter = match (args.len(), args.at(2), args.at(3), args.at(4)) {
        (2, ..) => None,
        (5, filterby, kind, value) if is(filterby, "FILTERBY") => Some((kind, value)),
        _ => return Err(Refusal::SYNTAX),
    };
    let is_listed = |row: &Row| match filter {
        None => Ok(true),
        Some((kind, value)) if is(kind, "PATTERN") => Ok(glob::matches(value, row.full_name.as_bytes())),
        Some((kind, value)) if is(kind, "ACLCAT") => {
            Ok(categories(row.spec).iter().any(|name| name.as_bytes()[1..].eq_ignore_ascii_case(value)))
        }
        Some((kind, _)) if is(kind, "MODULE") => Ok(false),
        Some(_) => Err(Refusal::SYNTAX),
    };
    let mut names = Vec::new();
    for (number, row) in call.table.rows.iter().enumerate() {
        if (filter.is_some() || !row.is_subcommand) && !call.is_disabled(number) && is_listed(row)? {
            names.push(&row.full_name);
        }
    }
    call.reply.array(names.len());
    names.into_iter().for_each(|name| call.reply.bulk(name));
    Ok(())
}

fn getkeys(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    let (bytes, spans): (Box<[u8]>, Box<[Span]>) = args.to_owned();
    let command = Args::new(&bytes, &spans[2..]);
    let row = call.row_of(command).map_err(|_| Refusal::BAD_COMMAND)?;
    let spec = call.table.rows[row].spec;
    if !spec.has_keys() {
        return Err(Refusal::NO_KEY_WORDS);
    }
    if !spec.takes(command.len()) {
        return Err(Refusal::BAD_WORD_COUNT);
    }
    let numbers: Vec<usize> = spec.key_numbers(command.len()).collect();
    call.reply.array(numbers.len());
    numbers.into_iter().for_each(|number| call.reply.bulk(command.at(number)));
    Ok(())
}

/// The subcommands of a command, as redis-cli shows them.
fn help(call: &mut Call<'_>, args: Args<'_>) -> Result<(), Refusal> {
    let Some(command) = call.table.find(args.at(0)) else { return Err(Refusal::BAD_COMMAND) };
    let rows = &call.table.rows;
    let name = rows[command].spec.name.to_ascii_uppercase();
    let subcommands = call.subcommands(command);
    call.reply.array(1 + 2 * subcommands.len());
    call.reply.simple(&format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for sub in subcommands {
        let Spec { name, summary, .. } = rows[sub].spec;
        call.reply.simple(&name.to_ascii_uppercase());
        call.reply.simple(&format!("    {summary}"));
    }
    Ok(())
}
