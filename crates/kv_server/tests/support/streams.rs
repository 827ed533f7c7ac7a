//! Streams of commands, changed in a few places: what a broken or hostile client may send. `below(n)` gives a random
//! number below `n`. The rung `bad-clients` uses this file too.

/// The bytes of one command, as an array or as a line.
fn one(below: &mut impl FnMut(u64) -> u64) -> Vec<u8> {
    let key = ["a", "b", "c", "key:1", "key:22"][below(5) as usize];
    let number = below(1 << 20).to_string();
    let text = "x".repeat(below(60) as usize);
    let words: Vec<&str> = match below(16) {
        0..3 => vec!["ECHO", &number],
        3..5 => vec!["GET", key],
        5..7 => vec!["SET", key, &text],
        7 => vec!["SET", key, &number, "NX"],
        8 => vec!["INCR", key],
        9 => vec!["DEL", key, "b"],
        10 => vec!["MSET", key, &text, "c", &number],
        11 => vec!["MGET", "a", "b", key],
        12 => vec!["MULTI"],
        13 => vec!["EXEC"],
        14 => vec!["WATCH", key],
        _ => vec!["PING"],
    };
    if below(4) == 0 && words.iter().all(|word| !word.is_empty()) {
        return (words.join(" ") + "\r\n").into_bytes();
    }
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n{word}\r\n", word.len()).bytes());
    }
    bytes
}

/// Up to eight commands, with up to four changes.
pub fn mutated(below: &mut impl FnMut(u64) -> u64) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..=below(8)).flat_map(|_| one(below)).collect();
    for _ in 0..below(5) {
        let at = below(bytes.len() as u64 + 1) as usize;
        let end = (at + 1 + below(12) as usize).min(bytes.len());
        match below(9) {
            0 if at < bytes.len() => bytes[at] ^= 1 << below(8),
            1 if at < bytes.len() => bytes[at] = below(256) as u8,
            2 => bytes.insert(at, below(256) as u8),
            3 => drop(bytes.drain(at..end)),
            4 => bytes.splice(at..at, b"\r\n*$:-\"'\\ 0123456789"[below(20) as usize..][..1].iter().copied()).for_each(drop),
            5 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            6 => bytes.truncate(at),
            7 => {
                let number = ["0", "-1", "1048577", "268435457", "9223372036854775807", "4294967296", "99999999999999999999"];
                let number = number[below(7) as usize].bytes();
                bytes.splice(at..at, number);
            }
            _ => {
                let other = one(below);
                let from = below(other.len() as u64) as usize;
                bytes.splice(at..at, other[from..].iter().copied());
            }
        }
    }
    bytes
}
