//! Writes the first inputs of each corpus, which are valid files and lines. For a new corpus: afterwards,
//! `scripts/dev/fuzz --keep` keeps the useful inputs.
//! Usage, in proof/fuzz/: `cargo run --no-default-features --example seeds`

use kv_cli::command::COMMANDS;
use kv_engine::Batch;
use kv_engine::disk::sim::{Image, SimDisk};
use kv_engine_fuzz::{layout, store};
use std::fs;
use std::path::Path;

/// The first byte that makes the forge take the rest of the input as the file.
const AS_IT_IS: u8 = 0;
const MENDED: u8 = 1;
const SCRIPT: u8 = 3;

/// The files of a store after each step. Its snapshots have an index, or not.
fn images(indexed: bool) -> Vec<Image> {
    let disk = SimDisk::new(&Image::new(), 1);
    let mut images = Vec::new();
    for batch_size in [1, 3] {
        let options = store::options(&disk).batch_size(batch_size);
        let options = if indexed { options.values_in_snapshot(1 << 16) } else { options };
        let engine = options.open().expect("no error on a healthy disk");
        for n in 0..6_u8 {
            match n {
                2 => {
                    engine.delete([b'k', 0]).expect("no error on a healthy disk");
                }
                3 => {
                    let mut batch = Batch::new();
                    batch.put("group", "of").put("three", [n; 30]).delete("group");
                    engine.write(batch).expect("no error on a healthy disk");
                }
                // So long that two of them fill a block of an index.
                4 | 5 if indexed => {
                    engine.put(vec![b'l' + n; 2200], "").expect("no error on a healthy disk");
                }
                _ => {
                    engine.put([b'k', n], vec![n; usize::from(n) * 9]).expect("no error on a healthy disk");
                }
            }
            images.push(store::files(&disk));
        }
        engine.snapshot().expect("no error on a healthy disk");
        engine.put("after", "the snapshot").expect("no error on a healthy disk");
        images.push(store::files(&disk));
        engine.close().expect("no error on a healthy disk");
        images.push(store::files(&disk));
    }
    images
}

fn part(way: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len() + 1).expect("small files").to_le_bytes();
    [&length, &[way][..], bytes].concat()
}

fn main() {
    let seed = |target: &str, number: usize, bytes: &[u8]| {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
        fs::create_dir_all(&dir)
            .and_then(|()| fs::write(dir.join(format!("seed-{number}")), bytes))
            .expect("the directory of the corpora can be written");
    };
    for (number, image) in images(true).iter().enumerate() {
        let (log, snapshot) = (store::file(image, store::LOG), store::file(image, store::SNAPSHOT));
        let log = log.expect("an open store has a log");
        for way in [AS_IT_IS, MENDED] {
            let number = 2 * number + usize::from(way);
            if let Some(snapshot) = snapshot {
                seed("indexed", number, &[&[number as u8, way], snapshot].concat());
                for choice in [0x08, 0x38] {
                    let name = usize::from(choice) * 100 + number;
                    seed("tools", name, &[vec![choice], part(way, log), part(way, snapshot), log.to_vec()].concat());
                }
            }
        }
    }
    for (number, image) in images(false).iter().enumerate() {
        let way = if number % 2 == 0 { AS_IT_IS } else { MENDED };
        let (log, snapshot) = (store::file(image, store::LOG), store::file(image, store::SNAPSHOT));
        let log = log.expect("an open store has a log");
        seed("frame", number, &[&[way], log].concat());
        seed("records", number, &[&[0x20, way], log].concat());
        seed("log", number, &[part(way, log), snapshot.map_or(Vec::new(), |bytes| [&[way], bytes].concat())].concat());
        let mut directory = [vec![0x00], part(way, log)].concat();
        if let Some(snapshot) = snapshot {
            seed("snapshot", number, &[&[way], snapshot].concat());
            directory.extend([vec![0x61], part(way, snapshot)].concat());
        }
        let plain = snapshot.map_or(Vec::new(), |snapshot| part(way, snapshot));
        let choice = if snapshot.is_some() { 0x04 } else { 0x00 };
        seed("tools", number, &[vec![choice], part(way, log), plain, log[log.len() / 2..].to_vec()].concat());
        directory.extend([vec![0xf2], part(0, b"left over"), vec![0xa4], part(0, b""), vec![0xc8], part(0, b"")].concat());
        seed("directory", number, &directory);
    }
    // Steps for the forge: each kind once.
    for choice in 0..=u8::MAX {
        let story: Vec<u8> =
            [SCRIPT, 0, 0x21, 1, 1, 5, 0x12, 2, 3, 4].into_iter().chain([choice; 12]).chain([0x01, 4, 4]).collect();
        seed("frame", 1000 + usize::from(choice), &story);
        seed("records", 1000 + usize::from(choice), &[&[choice], &*story].concat());
        seed("snapshot", 1000 + usize::from(choice), &story);
        seed("indexed", 1000 + usize::from(choice), &[&[choice], &*story].concat());
        let file = part(SCRIPT, &story[1..]);
        seed("tools", 1000 + usize::from(choice), &[vec![choice], file.clone(), file].concat());
        seed(
            "operations",
            1000 + usize::from(choice),
            &[0, 1, 0x13, 9, 0x25, 2, 9, 7, choice, choice, 3, 0x0d, 1, 0xe4, choice, 0x33, 7],
        );
    }
    let log = layout::log_header([7; 16], 1, u64::MAX);
    seed("log", 1000, &part(MENDED, &log));
    for (number, spec) in COMMANDS.iter().enumerate() {
        seed("line", number, spec.example.as_bytes());
        seed("reply", number, spec.example.as_bytes());
        seed("line", 100 + number, spec.usage().as_bytes());
    }
    let requests: [&[u8]; 24] = [
        b"*1\r\n$4\r\nPING\r\n",
        b"*2\r\n$3\r\nGET\r\n$1\r\nx\r\n*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$5\r\nvalue\r\n",
        b"*1\r\n$0\r\n\r\n",
        b"*0\r\n*-1\r\n\r\nPING\r\n",
        b"*2\r\n$2\r\n\r\n\r\n$1\r\n\0\r\n",
        b"*5\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n$1\r\ne\r\n",
        b"*9\r\n$1\r\na\r\n",
        b"*1\r\n$13\r\n0123456789abc\r\n",
        b"*1\r\n$60\r\n",
        b"*3\r\n$12\r\n0123456789ab\r\n$12\r\n0123456789ab\r\n$12\r\n",
        b"*1\r\n$-1\r\n",
        b"*1\r\n$+1\r\nx\r\n",
        b"*01\r\n$1\r\nx\r\n",
        b"*1\r\n$1\r\nxy\r\n",
        b"*1\rx$1\r\nx\r\n",
        b"*99999999999999999999\r\n",
        b"*1\r\n:1\r\n",
        b"set a 1\r\nget a\n",
        b"set \"a b\" 'c\\'d'\r\n",
        b"echo \"\\x41\\n\\r\\t\\b\\a\\\\\\\"\\q\\x4\"\r\n",
        b"echo 'a\r\n",
        b"echo \"a\"b\r\n",
        b"  \t echo \0 a  \r\n",
        b"a b c d e f g h i j k l\r\n",
    ];
    for (number, request) in requests.iter().enumerate() {
        for (way, head) in [[0, 3, 7, 11], [0xff, 1, 2, 200]].iter().enumerate() {
            seed("resp", 2 * number + way, &[head, *request].concat());
        }
    }
    for (number, line) in
        [r#"PUT "two words" 'x "y" z' # c"#, r#"kv> set k "\x00\n\t\"\\é""#, "GET \"\\q\"", "PUT 'a'b c", "KEYS user: LIMIT 10"]
            .iter()
            .enumerate()
    {
        seed("line", 200 + number, line.as_bytes());
    }
}
