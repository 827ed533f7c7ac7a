//! Random commands with odd words, for both servers.

use super::Random;

pub type Words = Vec<Vec<u8>>;

pub fn words(line: &str) -> Words {
    line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

/// What the random streams are made of.
pub struct Source(pub Random);

impl Source {
    pub fn below(&mut self, limit: u64) -> usize {
        usize::try_from(self.0.below(limit)).unwrap()
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.0.below(n) == 0
    }

    pub fn of(&mut self, choices: &[&[u8]]) -> Vec<u8> {
        choices[self.below(choices.len() as u64)].to_vec()
    }

    pub fn text(&mut self, choices: &[&str]) -> Vec<u8> {
        choices[self.below(choices.len() as u64)].as_bytes().to_vec()
    }

    pub fn key(&mut self) -> Vec<u8> {
        match self.below(40) {
            0 => vec![b'k'; 300],
            1 => vec![b'K'; 65_536],
            _ => self.of(&[b"a", b"b", b"c", b"d", b"n", b"user:1", b"user:2", b"\r\n\0\xff", b"*[a]?\\", b"{a}b"]),
        }
    }

    /// A key that holds only numbers that both servers add exactly.
    pub fn float_key(&mut self) -> Vec<u8> {
        self.of(&[b"f:1", b"f:2"])
    }

    pub fn value(&mut self) -> Vec<u8> {
        match self.below(30) {
            0 => vec![b'v'; 1000],
            1 => (0..=255).collect(),
            2 => vec![b'w'; 70_000],
            3..=12 => self.integer(),
            _ => self.of(&[
                b"",
                b"x",
                b"hello world",
                b"3.5",
                b"-0",
                b"+1",
                b"01",
                b" 1",
                b"1 ",
                b"1e3",
                b"nan",
                b"\r\n",
                b"\"",
                b"-",
            ]),
        }
    }

    /// An integer, or not quite.
    pub fn integer(&mut self) -> Vec<u8> {
        match self.below(8) {
            0..=3 => (self.0.below(41) as i64 - 20).to_string().into_bytes(),
            _ => self.text(&[
                "0",
                "1",
                "-1",
                "2",
                "5",
                "100",
                "9223372036854775807",
                "-9223372036854775808",
                "9223372036854775808",
                "-9223372036854775809",
                "4611686018427387904",
                "99999999999999999999",
                "",
                "x",
                "1.5",
                "+1",
                "-0",
                "007",
                "1 ",
                "0x10",
                "--1",
                "-",
            ]),
        }
    }

    /// A multiple of an eighth, in some spelling: an increment that is exact in any arithmetic.
    pub fn eighths(&mut self) -> Vec<u8> {
        let number = (self.0.below(4001) as f64 - 2000.0) / 8.0;
        match self.below(10) {
            0 => format!("{}e2", number).into_bytes(),
            1 => format!("{number:.6}").into_bytes(),
            2 => format!("+{}", number.abs()).into_bytes(),
            3 => self.text(&[".5", "1.", "-.25", "1e0", "0", "-0", "1E2", "0.0", "00.5"]),
            4 => self.text(&[
                "", "x", "1x", " 1", "1 ", "nan", "inf", "-inf", "infinity", "--1", "+-1", "1e", ".", "e1", "1..2", "-nan",
            ]),
            _ => number.to_string().into_bytes(),
        }
    }

    /// The name in upper, lower or mixed case.
    pub fn cased(&mut self, name: &str) -> Vec<u8> {
        match self.below(4) {
            0 => name.to_ascii_lowercase().into_bytes(),
            1 => name.bytes().enumerate().map(|(n, byte)| if n % 2 == 0 { byte.to_ascii_lowercase() } else { byte }).collect(),
            _ => name.as_bytes().to_vec(),
        }
    }

    pub fn keys(&mut self, most: u64) -> Vec<Vec<u8>> {
        (0..=self.below(most)).map(|_| self.key()).collect()
    }

    pub fn pairs(&mut self, most: u64) -> Vec<Vec<u8>> {
        (0..=self.below(most)).flat_map(|_| [self.key(), self.value()]).collect()
    }

    /// One command on strings, keys or the connection.
    pub fn command(&mut self) -> Words {
        let (name, mut rest): (&str, Vec<Vec<u8>>) = match self.below(64) {
            0..=5 => ("GET", vec![self.key()]),
            6..=10 => ("SET", vec![self.key(), self.value()]),
            11..=13 => {
                let mut rest = vec![self.key(), self.value()];
                for _ in 0..=self.below(2) {
                    rest.push(self.text(&["NX", "XX", "GET", "KEEPTTL", "nx", "Xx", "get", "FOO", ""]));
                }
                ("SET", rest)
            }
            14 => ("SETNX", vec![self.key(), self.value()]),
            15 => ("GETSET", vec![self.key(), self.value()]),
            16 => ("GETDEL", vec![self.key()]),
            17 if self.one_in(3) => ("GETEX", vec![self.key(), self.text(&["PERSIST", "persist", "FOO", ""])]),
            17 => ("GETEX", vec![self.key()]),
            18..=19 => ("MGET", self.keys(5)),
            20..=21 => ("MSET", self.pairs(4)),
            22 => ("MSETNX", self.pairs(3)),
            23 => ("STRLEN", vec![self.key()]),
            24..=26 => (["INCR", "DECR"][self.below(2)], vec![self.key()]),
            27..=28 => (["INCRBY", "DECRBY"][self.below(2)], vec![self.key(), self.integer()]),
            29..=30 => ("INCRBYFLOAT", vec![self.float_key(), self.eighths()]),
            31..=32 => ("APPEND", vec![self.key(), self.value()]),
            33..=34 => (["GETRANGE", "SUBSTR"][self.below(2)], vec![self.key(), self.integer(), self.integer()]),
            35..=36 => {
                let offset = if self.one_in(4) { self.integer() } else { self.below(50).to_string().into_bytes() };
                // Between the two limits of a value the servers differ, and a long one takes memory.
                let offset = if offset == b"4611686018427387904" { b"600000000".to_vec() } else { offset };
                ("SETRANGE", vec![self.key(), offset, self.value()])
            }
            37..=39 => (["DEL", "UNLINK"][self.below(2)], self.keys(3)),
            40 => (["EXISTS", "TOUCH"][self.below(2)], self.keys(4)),
            41 => ("TYPE", vec![self.key()]),
            42 => ("KEYS", vec![self.pattern()]),
            43 => ("DBSIZE", vec![]),
            44 if self.one_in(3) => (["FLUSHALL", "FLUSHDB"][self.below(2)], vec![self.text(&["ASYNC", "SYNC", "sync", "NOW"])]),
            44 => ("FLUSHALL", vec![]),
            45 => (["TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME", "PERSIST"][self.below(5)], vec![self.key()]),
            46..=47 => (["RENAME", "RENAMENX"][self.below(2)], vec![self.key(), self.key()]),
            48..=49 => {
                let mut rest = vec![self.key(), self.key()];
                for _ in 0..self.below(3) {
                    match self.below(5) {
                        0 => rest.extend([b"DB".to_vec(), self.text(&["0", "1", "x", "-1", ""])]),
                        1 => rest.push(self.text(&["FOO", "DB", ""])),
                        _ => rest.push(b"REPLACE".to_vec()),
                    }
                }
                ("COPY", rest)
            }
            50 => {
                let mut rest = vec![b"0".to_vec(), b"COUNT".to_vec(), b"100000".to_vec()];
                match self.below(4) {
                    0 => rest.extend([b"MATCH".to_vec(), self.pattern()]),
                    1 => rest.extend([b"TYPE".to_vec(), self.text(&["string", "String", "list"])]),
                    2 if self.one_in(4) => rest = self.bad_scan(),
                    _ => {}
                }
                ("SCAN", rest)
            }
            51 => ("PING", (0..self.below(3)).map(|_| self.value()).collect()),
            52 => ("ECHO", vec![self.value()]),
            53 => ("SELECT", vec![self.text(&["0", "1", "-1", "x", ""])]),
            54 => ("OBJECT", vec![self.text(&["FREQ", "freq", "NOSUCH"]), self.key()]),
            55 => ("CLIENT", vec![b"SETNAME".to_vec(), self.text(&["", "me", "a b", "x:y_z"])]),
            56 => ("CLIENT", vec![self.text(&["GETNAME", "getname", "NOSUCH"])]),
            57 => ("CLIENT", vec![b"NO-EVICT".to_vec(), self.text(&["on", "OFF", "maybe"])]),
            58 => ("AUTH", (0..=self.below(3)).map(|_| self.text(&["default", "x", "secret"])).collect()),
            59 => ("WAIT", vec![self.text(&["0", "-1", "x"]), self.text(&["0", "1", "x", "-1"])]),
            60 => (["ROLE", "UNWATCH"][self.below(2)], vec![]),
            61 => (
                "COMMAND",
                vec![
                    b"GETKEYS".to_vec(),
                    self.text(&["GET", "MSET", "PING", "nosuch", "DEL", "COPY"]),
                    self.key(),
                    b"1".to_vec(),
                ],
            ),
            62 => (["SCRIPT", "FUNCTION"][self.below(2)], vec![b"FLUSH".to_vec(), self.text(&["ASYNC", "sync", "NOW"])]),
            _ => {
                let name = self.text(&["NOSUCH", "get x", "", "LATENCY", "XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX"]);
                let rest = (0..self.below(3)).map(|_| self.text(&["a", "LATEST", "c d", ""]));
                return std::iter::once(name).chain(rest.collect::<Vec<_>>()).collect();
            }
        };
        // A word too few or too many.
        let can_vary = !["SCAN", "GETEX", "SET", "EXISTS", "FLUSHALL", "COPY"].contains(&name);
        if can_vary && self.one_in(25) {
            if self.one_in(2) { drop(rest.pop()) } else { rest.push(self.text(&["x", "1"])) }
        }
        std::iter::once(self.cased(name)).chain(rest).collect()
    }

    pub fn pattern(&mut self) -> Vec<u8> {
        self.text(&[
            "*",
            "a",
            "?",
            "user:*",
            "user:?",
            "[ab]",
            "[^a]",
            "[a-c]",
            "[c-a]",
            "*1",
            "nothing*",
            "",
            "\\*\\[a\\]*",
            "[a",
            "[",
            "a\\",
            "[]a]",
            "[^]",
            "*[a]",
            "[\\]]*",
            "**",
            "*?*",
            "[a-",
            "?[",
            "f:*",
            "{a}?",
        ])
    }

    pub fn bad_scan(&mut self) -> Vec<Vec<u8>> {
        let bad = self.text(&["x", "0 COUNT 0", "0 COUNT x", "0 MATCH", "0 FOO 1", "0 COUNT", "0 TYPE", "0x", "1.5"]);
        words(std::str::from_utf8(&bad).unwrap())
    }
}
