//! The same commands to this server and to redis-server 7.0: the replies must be equal, byte for byte.
//!
//! The streams are random: commands on strings, keys, transactions and connections, with odd words, on two connections
//! that disturb each other, in pieces of several commands, as arrays and as lines, in RESP2 and RESP3. A failure prints
//! the seed, the commands and both replies.
//!
//! These differences are intended, and the streams leave them out:
//!
//! | what | Redis | this server |
//! |---|---|---|
//! | expiry (`EXPIRE`, `SET … EX`, `GETEX … EX`, `SETEX`) | done | refused |
//! | the order of `KEYS`, `SCAN` and `RANDOMKEY` | that of a hash table | that of the keys |
//! | the empty key, keys over 64 KiB, values over 256 MiB, more than 1,048,576 words | taken | refused |
//! | a cursor that is negative, empty or was never given | taken | refused |
//! | other databases | 16 | one; here Redis runs with one |
//! | `HELLO`, `AUTH` and `CLIENT REPLY` in a transaction | queued | refused |
//! | `OBJECT ENCODING` of a text | depends on how the value was made | depends on its length |
//! | `INCRBYFLOAT` | adds long doubles, and shows their noise | exact up to 17 digits behind the point |
//! | numbers in hexadecimal, or beyond those of a double, for `INCRBYFLOAT` | taken | refused |
//! | `READONLY`, `READWRITE`, `ASKING` | refused without a cluster | OK, for clients that send them anyway |
//! | a length or a bulk string without CRLF behind it | not noticed | a protocol error |
//! | a null byte in a plain line | ends it | a protocol error |
//! | bytes that are not UTF-8, and control bytes, in the text of an error | repeated | replaced |
//! | what describes the server (`INFO`, `CONFIG`, `COMMAND`, `CLIENT LIST`, `MEMORY`, `OBJECT REFCOUNT`) | itself | itself |
//! | lists, sets, hashes, streams, scripts, pub/sub | there | refused by name |
//!
//! Without redis-server 7 these tests are skipped, and say so.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs)]

mod support;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::odd_commands::{Source, Words, words};
use support::{Random, Raw, Reply, Running, command, start_in_memory};

/// A redis-server with an empty store, reached by a socket in its directory.
struct Redis {
    child: Child,
    dir: tempfile::TempDir,
}

impl Redis {
    /// `None`: there is no redis-server 7.
    fn start() -> Option<Redis> {
        let version = Command::new("redis-server").arg("--version").output().ok();
        let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        if !version.as_ref().is_some_and(|version| version.contains("v=7.")) {
            let found = version.unwrap_or_else(|| "it is not installed".into());
            eprintln!("skipped: redis-server 7 is needed: {}", found.trim());
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--databases", "1", "--unixsocket", "socket", "--dir"])
            .arg(dir.path())
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let redis = Redis { child, dir };
        let began = Instant::now();
        while Raw::unix(&redis.socket()).is_err() {
            assert!(began.elapsed() < Duration::from_secs(60), "redis-server does not answer");
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(redis)
    }

    fn socket(&self) -> std::path::PathBuf {
        self.dir.path().join("socket")
    }

    fn connect(&self) -> Raw {
        Raw::unix(&self.socket()).unwrap()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn shown(words: &[Vec<u8>]) -> String {
    let shown = words.iter().map(|word| match word.len() {
        0..=60 => format!("{:?}", word.escape_ascii().to_string()),
        len => format!("({len} bytes)"),
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// One connection to each of the servers.
struct Pair {
    redis: Raw,
    ours: Raw,
    in_multi: bool,
    /// Whether the command with this place in the transaction may answer in another order.
    queued: Vec<bool>,
}

struct Both<'a> {
    redis: &'a Redis,
    ours: &'a Running,
    seed: u64,
    compared: usize,
}

/// Whether the reply lists keys, in the order that each server has.
fn is_listing(command: &[Vec<u8>]) -> bool {
    ["KEYS", "SCAN"].iter().any(|name| command[0].eq_ignore_ascii_case(name.as_bytes()))
}

/// Where two replies begin to differ.
fn difference(redis: &Option<Reply>, ours: &Option<Reply>) -> String {
    let bytes = |reply: &Option<Reply>| reply.as_ref().map(Reply::bytes).unwrap_or_default();
    let (redis, ours) = (bytes(redis), bytes(ours));
    let same = redis.iter().zip(&ours).take_while(|(a, b)| a == b).count();
    let around = |bytes: &[u8]| bytes[same.saturating_sub(60)..bytes.len().min(same + 100)].escape_ascii().to_string();
    format!("at byte {same}\nRedis: {}\n ours: {}", around(&redis), around(&ours))
}

/// The reply, with keys in order.
fn sorted(mut reply: Reply) -> Reply {
    for item in &mut reply.items {
        item.items.sort();
    }
    // Of a SCAN the first item is the cursor.
    if reply.items.iter().all(|item| item.items.is_empty() && !item.head.starts_with(b"*")) {
        reply.items.sort();
    }
    reply
}

impl Both<'_> {
    fn connect(&self) -> Pair {
        Pair { redis: self.redis.connect(), ours: Raw::tcp(self.ours.address), in_multi: false, queued: Vec::new() }
    }

    /// Sends the commands in one piece to both, and compares the replies. `as_lines`: in the form without lengths.
    fn compare(&mut self, pair: &mut Pair, commands: &[Words], as_lines: bool) {
        let bytes: Vec<u8> = match as_lines {
            false => commands.iter().flat_map(|words| command(words)).collect(),
            true => commands.iter().flat_map(|words| [words.join(&b' '), b"\r\n".to_vec()].concat()).collect(),
        };
        pair.redis.send(&bytes);
        pair.ours.send(&bytes);
        for (number, command) in commands.iter().enumerate() {
            let (redis, ours) = (pair.redis.reply(), pair.ours.reply());
            let is_listing = is_listing(command);
            let (mut wanted, mut found) = (redis.clone(), ours.clone());
            if is_listing {
                (wanted, found) = (wanted.map(sorted), found.map(sorted));
            }
            if command[0].eq_ignore_ascii_case(b"EXEC") {
                for reply in [&mut wanted, &mut found].into_iter().flatten() {
                    for (item, _) in reply.items.iter_mut().zip(&pair.queued).filter(|(_, is_listing)| **is_listing) {
                        *item = sorted(item.clone());
                    }
                }
            }
            if redis.as_ref().is_some_and(|reply| reply.head == b"+QUEUED\r\n") {
                pair.queued.push(is_listing);
            } else if ["EXEC", "DISCARD", "RESET"].iter().any(|name| command[0].eq_ignore_ascii_case(name.as_bytes())) {
                pair.queued.clear();
            }
            assert!(
                wanted == found,
                "seed {}, command {}: {}\n{}\nall {} commands of the piece:\n{}",
                self.seed,
                number + 1,
                shown(command),
                difference(&wanted, &found),
                commands.len(),
                commands.iter().map(|words| shown(words)).collect::<Vec<_>>().join("\n"),
            );
            self.compared += 1;
        }
    }

    /// Compares all keys and values.
    fn compare_contents(&mut self) {
        let mut pair = self.connect();
        self.compare(&mut pair, &[words("KEYS *"), words("DBSIZE")], false);
        pair.ours.send(&command(&["KEYS", "*"]));
        let keys = pair.ours.reply().unwrap().items;
        for key in keys {
            self.compare(&mut pair, &[vec![b"GET".to_vec(), key.bulk[..key.bulk.len() - 2].to_vec()]], false);
        }
    }
}

/// Runs `test` on both servers, each with an empty store.
fn on_both(seed: u64, test: impl FnOnce(&mut Both<'_>)) {
    let Some(redis) = Redis::start() else { return };
    let ours = start_in_memory();
    let mut both = Both { redis: &redis, ours: &ours, seed, compared: 0 };
    test(&mut both);
}

/// What the stream does with a connection beside plain commands.
fn around(source: &mut Source, in_multi: &mut bool) -> Words {
    match source.below(12) {
        0..=2 => {
            *in_multi = true;
            words("MULTI")
        }
        3..=6 => {
            *in_multi = false;
            words("EXEC")
        }
        7 => {
            *in_multi = false;
            words("DISCARD")
        }
        8..=10 => std::iter::once(b"WATCH".to_vec()).chain(source.keys(3)).collect(),
        _ if source.one_in(4) => {
            *in_multi = false;
            words("RESET")
        }
        _ => words("UNWATCH"),
    }
}

fn stream(seed: u64, pieces: usize) {
    on_both(seed, |both| {
        let mut source = Source(Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1));
        let mut pairs = [both.connect(), both.connect()];
        for _ in 0..pieces {
            let pair = &mut pairs[source.below(2)];
            if !pair.in_multi && source.one_in(20) {
                // The reply describes the server; only its protocol is compared.
                let version = source.text(&["2", "3", "3"]);
                for raw in [&mut pair.redis, &mut pair.ours] {
                    raw.send(&command(&[b"HELLO".to_vec(), version.clone()]));
                    let map = raw.reply().unwrap();
                    assert_eq!(map.head, if version == b"3" { b"%7\r\n".to_vec() } else { b"*14\r\n".to_vec() });
                }
            }
            if !pair.in_multi && source.one_in(30) {
                both.compare(pair, &[words("HELLO 4"), words("HELLO x"), words("HELLO 2 FOO")], false);
            }
            let count = if source.one_in(3) { 1 + source.below(30) } else { 1 + source.below(3) };
            let mut in_multi = pair.in_multi;
            let commands: Vec<Words> = (0..count)
                .map(|_| {
                    if source.one_in(6) {
                        return around(&mut source, &mut in_multi);
                    }
                    let words = source.command();
                    if in_multi && words[0].eq_ignore_ascii_case(b"AUTH") { vec![b"PING".to_vec()] } else { words }
                })
                .collect();
            pair.in_multi = in_multi;
            let is_plain = |word: &Vec<u8>| {
                !word.is_empty() && word.iter().all(|byte| byte.is_ascii_alphanumeric() || b":*-".contains(byte))
            };
            let as_lines =
                commands.iter().flatten().all(is_plain) && commands.iter().flatten().map(Vec::len).sum::<usize>() < 60_000;
            both.compare(pair, &commands, as_lines && source.one_in(2));
            if source.one_in(100) {
                both.compare_contents();
            }
        }
        both.compare_contents();
        eprintln!("seed {seed}: {} replies are equal", both.compared);
    });
}

#[test]
fn random_streams_are_answered_as_by_redis() {
    // More with, for example, LIKE_REDIS_SEEDS=1000..1100.
    let seeds = std::env::var("LIKE_REDIS_SEEDS").unwrap_or_else(|_| "1..5".into());
    let (first, end) = seeds.split_once("..").unwrap();
    for seed in first.parse::<u64>().unwrap()..end.parse().unwrap() {
        stream(seed, 600);
    }
}

/// Redis shows the noise of its arithmetic; the sums must be close, and are then made equal.
#[test]
fn decimal_numbers_are_added_as_by_redis() {
    on_both(7, |both| {
        let mut pair = both.connect();
        let mut source = Source(Random(7));
        for _ in 0..400 {
            let key = source.float_key();
            let digits = source.below(12);
            let size = [1.0, 1e3, 1e9, 1e-5][source.below(4)];
            let number = (source.0.below(2_000_001) as f64 - 1e6) / 1e6 * size;
            let increment = match source.below(5) {
                0 => format!("{number:e}"),
                _ => format!("{number:.digits$}"),
            };
            let bytes = command(&[b"INCRBYFLOAT".to_vec(), key.clone(), increment.clone().into_bytes()]);
            let [redis, ours] = [&mut pair.redis, &mut pair.ours].map(|raw| {
                raw.send(&bytes);
                String::from_utf8(raw.reply().unwrap().bulk).unwrap().trim_end().to_string()
            });
            let [a, b] = [&redis, &ours].map(|sum| sum.parse::<f64>().unwrap());
            assert!((a - b).abs() <= 1e-15 * size.max(a.abs()) + 1e-16, "+ {increment}: Redis {redis}, ours {ours}");
            both.compare(&mut pair, &[vec![b"SET".to_vec(), key, ours.into_bytes()]], false);
        }
    });
}

/// Bytes that are no commands, each on a connection of its own: the replies and the end are the same.
#[test]
fn bad_requests_are_answered_as_by_redis() {
    let long = |first: &str, byte: u8, len: usize| [first.as_bytes(), &vec![byte; len]].concat();
    let cases: Vec<Vec<u8>> = [
        "*x\r\n",
        "*\r\n",
        "*1.5\r\n",
        "*+1\r\n",
        "*99999999999999999999\r\n",
        "*3000000000\r\n",
        "*1\r\nGET\r\n",
        "*1\r\n$-1\r\n",
        "*1\r\n$\r\n",
        "*1\r\n$x\r\n",
        "*1\r\n$+4\r\nPING\r\n",
        "*1\r\n$536870913\r\n",
        "*1\r\n:1\r\n",
        "*2\r\n$4\r\nECHO\r\n*1\r\n",
        "GET 'a\r\n",
        "GET \"a\"b\r\n",
        "GET \"a\r\n",
        "GET 'a'b\r\n",
        "GET \"\\\r\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into_iter()
    .chain([long("", b'a', (64 << 10) + 1), long("*", b'1', 64 << 10), long("*1\r\n$", b'1', 64 << 10)])
    .collect();
    on_both(0, |both| {
        for case in cases {
            let mut pair = both.connect();
            let bytes = [b"SET a 1\r\n*0\r\n\r\n*-7\r\nGET a\r\n", &case[..]].concat();
            let [redis, ours] = [&mut pair.redis, &mut pair.ours].map(|raw| {
                raw.send(&bytes);
                std::iter::from_fn(|| raw.reply()).map(|reply| reply.bytes().escape_ascii().to_string()).collect::<Vec<_>>()
            });
            assert_eq!(redis, ours, "{}", case[..case.len().min(60)].escape_ascii());
            assert_eq!(ours.len(), 3, "{ours:?}");
        }
    });
}

/// Lines with blanks, quotes and escapes of all kinds, each on a connection of its own.
#[test]
fn plain_lines_are_split_as_by_redis() {
    on_both(5, |both| {
        let mut source = Source(Random(5));
        for _ in 0..400 {
            // The reply shows the words.
            let mut line = b"COMMAND GETKEYS MGET first ".to_vec();
            for _ in 0..source.below(14) {
                line.extend(
                    source.of(&[b"a", b"b", b"x41", b"\"", b"\"", b"'", b"\\", b" ", b"\t", b"\r", b"\x0b", b"\x0c", b"\xff"]),
                );
            }
            line.extend(b"\r\nECHO end\r\nQUIT\r\n");
            let mut pair = both.connect();
            let [redis, ours] = [&mut pair.redis, &mut pair.ours].map(|raw| {
                raw.send(&line);
                std::iter::from_fn(|| raw.reply()).map(|reply| reply.bytes().escape_ascii().to_string()).collect::<Vec<_>>()
            });
            assert_eq!(redis, ours, "{}", line.escape_ascii());
        }
    });
}

/// Replies that the client does not want are left out at the same places.
#[test]
fn unwanted_replies_are_left_out_as_by_redis() {
    on_both(3, |both| {
        let mut source = Source(Random(3));
        let mut pair = both.connect();
        for round in 0..200 {
            let mut commands = Vec::new();
            for _ in 0..source.below(8) {
                commands.push(match source.below(5) {
                    0 => words("CLIENT REPLY OFF"),
                    1 => words("CLIENT REPLY SKIP"),
                    2 => words("CLIENT REPLY ON"),
                    _ => match source.command() {
                        command if is_listing(&command) => words("GET a"),
                        command => command,
                    },
                });
            }
            commands.push(words("CLIENT REPLY ON"));
            let end = format!("end of {round}");
            commands.push(vec![b"ECHO".to_vec(), end.clone().into_bytes()]);
            let bytes: Vec<u8> = commands.iter().flat_map(|words| command(words)).collect();
            let [redis, ours] = [&mut pair.redis, &mut pair.ours].map(|raw| {
                raw.send(&bytes);
                let end = format!("{end}\r\n").into_bytes();
                let mut replies = Vec::new();
                while replies.last().is_none_or(|reply: &Reply| reply.bulk != end) {
                    replies.push(raw.reply().unwrap());
                }
                replies.iter().map(|reply| reply.bytes().escape_ascii().to_string()).collect::<Vec<_>>()
            });
            let commands: Vec<String> = commands.iter().map(|words| shown(words)).collect();
            assert_eq!(redis, ours, "{}", commands.join("\n"));
        }
    });
}
