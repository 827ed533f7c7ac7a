//! BENCH: it does and counts the requested work, in text and JSON. Its page needs no other file and is readable on a
//! light and on a dark ground. Its picture fits on a terminal. No test depends on a measured time.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{Store, eventually, is_ignored, signal, skipped};
use predicates::prelude::*;
use rustix::process::Signal;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// The `name=value` words of a line.
fn fields(line: &str) -> BTreeMap<&str, &str> {
    line.split(' ').filter_map(|word| word.split_once('=')).collect()
}

fn bench(store: &Store, words: &str) -> String {
    let mut cli = store.cli();
    let done = cli.arg("-q").args(words.split(' ')).assert().success().stderr("");
    String::from_utf8(done.get_output().stdout.clone()).unwrap()
}

fn number(fields: &BTreeMap<&str, &str>, name: &str) -> u64 {
    fields.get(name).unwrap_or_else(|| panic!("no {name} in {fields:?}")).parse().unwrap()
}

#[test]
fn the_requested_work_is_counted() {
    let store = Store::new();
    let one = |words: &str| bench(&store, words).trim_end().to_string();

    let line = one("BENCH 103 5 --warm-up 7");
    let puts = fields(&line);
    assert_eq!((puts["N"], puts["syncs"], puts["sync"], puts["warm_up"]), ("103", "21", "fdatasync", "7"), "{line}");
    assert!(!puts.contains_key("ops") && !puts.contains_key("threads"), "defaults are not named: {line}");

    let line = one("bench 500 10 --ops gets --keys 50 --key-bytes 10 --value-bytes 0");
    let gets = fields(&line);
    assert_eq!((gets["N"], gets["syncs"], gets["sync"], gets["ops"]), ("500", "0", "none", "gets"), "{line}");
    assert_eq!((gets["keys"], gets["key_bytes"], gets["value_bytes"]), ("50", "10", "0"), "{line}");

    let line = one("BENCH 1001 10 --ops mixed:30 --keys 100 --dist=zipfian");
    let mixed = fields(&line);
    let (puts, gets) = (number(&mixed, "puts"), number(&mixed, "gets"));
    assert_eq!(puts + gets, 1001, "{line}");
    assert!((200..400).contains(&gets), "30 in 100 are GETs: {line}");
    assert_eq!(number(&mixed, "syncs"), puts.div_ceil(10), "{line}");
    assert_eq!((mixed["ops"], mixed["dist"]), ("mixed:30", "zipfian"), "{line}");

    // Threads share the number of operations, also if it cannot be shared evenly. They also share syncs.
    let line = one("BENCH 50 1 --threads 7");
    let shared = fields(&line);
    assert_eq!((shared["N"], shared["threads"]), ("50", "7"), "{line}");
    assert!((1..=50).contains(&number(&shared, "syncs")), "{line}");

    let line = one("BENCH 60ms 100 --warm-up 0s");
    let timed = fields(&line);
    assert!(number(&timed, "N") > 0 && timed["total_ms"].parse::<f64>().unwrap() >= 60.0, "{line}");
    assert_eq!(timed["warm_up"], "0");
}

#[test]
fn json_has_every_figure_of_the_text_and_every_option() {
    let store = Store::new();
    for words in ["BENCH 40 1,4 --json", "--json BENCH 40 1,4"] {
        let text = bench(&store, words);
        let lines: Vec<Json> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 3, "{text}");
        for (line, (batch, syncs)) in lines.iter().zip([(1, 40), (4, 10)]) {
            assert_eq!((&line["cmd"], &line["ok"], &line["stopped"]), (&"BENCH".into(), &true.into(), &false.into()));
            assert_eq!(
                (line["N"].as_u64(), line["batch"].as_u64(), line["syncs"].as_u64()),
                (Some(40), Some(batch), Some(syncs))
            );
            assert_eq!((line["ops"].as_str(), line["dist"].as_str()), (Some("puts"), Some("uniform")));
            for name in ["total_ms", "ops_per_sec", "p50_us", "p99_us", "p999_us", "max_us", "sync_us", "threads", "key_bytes"] {
                assert!(line[name].is_number(), "{name} in {line}");
            }
        }
        assert!(lines[2]["best"] == true && lines[2]["speedup"].is_number());
    }
}

#[test]
fn a_signal_gives_the_result_so_far_and_its_page() {
    if is_ignored(Signal::INT) {
        return;
    }
    let store = Store::new();
    let mut child = store.piped(&["--batch", "1"]);
    child
        .stdin
        .as_mut()
        .unwrap()
        .write_all(b"BENCH 30 1\nBENCH 100000000 1,5 --threads 2 --json --report so-far.html\n")
        .unwrap();
    // The log is longer than the log of the first BENCH.
    let scratch_log = || {
        let names = fs::read_dir(store.dir.path()).unwrap().map(|entry| entry.unwrap().path());
        names.filter(|path| path.to_string_lossy().contains("kv.wal.bench-")).map(|path| path.join("log")).next()
    };
    eventually("the second bench runs", || {
        scratch_log().is_some_and(|path| fs::metadata(path).is_ok_and(|log| log.len() > 300_000))
    });
    signal(&child, Signal::INT);
    let output = child.wait_with_output().unwrap();
    let (text, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(130), "{err}");
    let lines: Vec<&str> = text.lines().collect();
    let so_far: Json = serde_json::from_str(lines[1]).unwrap();
    assert!((1..100_000_000).contains(&so_far["N"].as_u64().unwrap()), "{text}");
    assert_eq!((&so_far["batch"], &so_far["stopped"]), (&1.into(), &true.into()), "{text}");
    assert_eq!(lines.len(), 4, "the fastest, the page, and not the second size: {text}");
    assert!(err.contains("stopped after") && err.contains("of 200000000 writes"), "{err}");
    assert!(fs::read_to_string(store.path("so-far.html")).unwrap().contains("The run was stopped before its end."));
    assert!(
        !fs::read_dir(store.dir.path()).unwrap().any(|entry| entry.unwrap().file_name().to_string_lossy().contains(".bench"))
    );
}

/// Runs BENCH and returns its text and its page.
fn page(store: &Store, name: &str) -> (String, String) {
    // More sizes than there are colours.
    page_of(store, "BENCH 300 1,2,3,5,8,50,100,200", name)
}

fn page_of(store: &Store, words: &str, name: &str) -> (String, String) {
    let text = bench(store, &format!("{words} --report {name}"));
    (text, fs::read_to_string(store.path(name)).unwrap())
}

#[test]
fn the_page_needs_no_other_file_and_has_the_figures_of_the_lines() {
    let store = Store::new();
    for name in ["page.html", "page.svg"] {
        let (text, page) = page(&store, name);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 10, "{text}");
        assert_eq!(lines[9], format!("BENCH report={name}"));

        // It has nothing that a browser would fetch or run.
        let links = page.replace("http://www.w3.org/2000/svg", "");
        for fetched in ["http:", "https:", "src=", "href=", "url(", "@import", "<script", "<link", "<img"] {
            assert!(!links.contains(fetched), "{fetched} in {name}");
        }
        // It has no name of a directory, because people send it on.
        assert!(!page.contains(store.dir.path().to_str().unwrap()), "{name}");

        assert!(
            page.contains("kv_cli BENCH 300 1,2,3,5,8,50,100,200<") || page.contains("kv_cli BENCH 300 1,2,3,5,8,50,100,200\n")
        );
        let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
        for text in [
            "The sync floor is how fast this disk",
            "Latency percentiles",
            "Latency histogram",
            "of floor",
            "fdatasync: 300, 150, 100, 60, 38, 6, 3, 2 times",
            &kernel,
        ] {
            assert!(page.contains(text), "no {text} in {name}");
        }
        let version = store.cli().arg("--version").output().unwrap().stdout;
        assert!(page.contains(str::from_utf8(&version).unwrap().trim_end()));
        assert!(page.contains("prefers-color-scheme: dark"));
        if name.ends_with("html") {
            // It has the lines for programs too.
            assert!(lines[..8].iter().all(|line| page.contains(line)), "{text}");
        }
        for line in &lines[..8] {
            let floor = fields(line);
            assert!(floor["floor_sync_us"].parse::<f64>().unwrap() > 0.0 && number(&floor, "floor_ops_per_sec") > 0, "{line}");
        }
    }
}

#[test]
fn a_page_without_writes_has_no_floor() {
    let store = Store::new();
    bench(&store, "BENCH 100 5 --ops gets --keys 10 --report gets.html");
    let page = fs::read_to_string(store.path("gets.html")).unwrap();
    assert!(page.contains("Nothing was written, so nothing was synced.") && !page.contains("sync floor"));
}

#[test]
fn a_page_replaces_a_page_and_nothing_else() {
    let store = Store::new();
    let refused = |name: &str, why: &str| {
        let mut cli = store.cli();
        // It is refused before the work, so no result is printed.
        cli.args(["-q", "BENCH", "100000000", "--report", name])
            .assert()
            .code(1)
            .stdout("")
            .stderr(predicate::str::contains(why));
    };
    fs::write(store.path("notes.html"), "<p>a page of the user").unwrap();
    refused("notes.html", "not written by BENCH");
    assert_eq!(fs::read_to_string(store.path("notes.html")).unwrap(), "<p>a page of the user");
    refused("no/such/directory.html", "directory.html");
    fs::create_dir(store.path("directory.svg")).unwrap();
    refused("directory.svg", "directory.svg");

    bench(&store, "BENCH 10 1 --report mine.html");
    bench(&store, "BENCH 11 1 --report mine.html");
    assert!(fs::read_to_string(store.path("mine.html")).unwrap().contains("kv_cli BENCH 11 1<"));
    let names: Vec<_> = fs::read_dir(store.dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.iter().all(|name| !name.ends_with(".tmp") && !name.contains(".bench")), "{names:?}");
}

/// Checks a page in the browser: texts outside of it, texts over other texts, and texts with low contrast.
const PROBE: &str = r#"<pre id="probe"></pre><script>
const luminance = rgb => rgb.match(/[\d.]+/g).slice(0, 3).map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4).reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const contrast = (a, b) => { const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y); return (high + 0.05) / (low + 0.05); };
const box = node => node.getBoundingClientRect();
const found = { outside: [], overlapping: [], faint: [], small: [], unnamed: 0, texts: 0, width: document.documentElement.clientWidth, grounds: [], loads: performance.getEntriesByType('resource').length,
    wide: document.documentElement.scrollWidth - document.documentElement.clientWidth };
const small = (text, pixels) => { if (pixels < 11) found.small.push(pixels.toFixed(1) + ' px: ' + text.trim()); };
for (const svg of document.querySelectorAll('svg')) {
    if (!box(svg).width) continue; // it is for another width of the screen
    const scale = box(svg).width / svg.viewBox.baseVal.width, label = document.getElementById(svg.getAttribute('aria-labelledby'));
    if (svg.getAttribute('role') !== 'img' || label?.tagName !== 'title' || !label.textContent) found.unnamed++;
    const frame = box(svg), texts = [...svg.querySelectorAll('text')].filter(t => t.textContent.trim());
    const ground = getComputedStyle(svg.querySelector('rect')).fill;
    found.grounds.push(luminance(ground));
    found.texts += texts.length;
    texts.forEach((text, at) => {
        const b = box(text), name = text.textContent.trim();
        small(name, parseFloat(getComputedStyle(text).fontSize) * scale);
        if (b.left < frame.left || b.right > frame.right || b.top < frame.top || b.bottom > frame.bottom) found.outside.push(name);
        if (contrast(getComputedStyle(text).fill, ground) < 4.5) found.faint.push(name);
        for (const other of texts.slice(at + 1)) {
            const o = box(other), w = Math.min(b.right, o.right) - Math.max(b.left, o.left), h = Math.min(b.bottom, o.bottom) - Math.max(b.top, o.top);
            if (w > 1 && h > 4) found.overlapping.push(name + ' | ' + other.textContent.trim());
        }
    });
}
for (const node of document.body.querySelectorAll('h1, h2, p, td, th, dt, dd, summary, pre')) {
    if (node.id !== 'probe') small(node.textContent, parseFloat(getComputedStyle(node).fontSize));
}
const body = getComputedStyle(document.body);
found.body = luminance(body.backgroundColor);
document.getElementById('probe').textContent = 'PROBE' + JSON.stringify(found) + 'END';
</script>"#;

fn browser() -> Option<Command> {
    let works = |name: &&str| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success());
    let name = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(works)?;
    let mut command = Command::new(name);
    command
        .args("--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking".split(' '));
    command.args(["--disable-component-update", "--disable-sync", "--hide-scrollbars", "--dump-dom"]);
    Some(command)
}

fn dom(page: &Path, profile: &Path, dark: bool, width: u32) -> String {
    let mut browser = browser().unwrap();
    browser.arg(format!("--user-data-dir={}", profile.display())).arg(format!("--window-size={width},2000"));
    browser.arg(format!("--blink-settings=preferredColorScheme={}", if dark { 0 } else { 1 }));
    let output = browser.arg(format!("file://{}", page.display())).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A page with this page in a frame, from which it takes the result of the probe.
fn framed(page: &str, width: u32) -> String {
    let page = serde_json::to_string(page).unwrap().replace("</", "<\\/");
    format!(
        "<!DOCTYPE html><iframe id='frame' style='width:{width}px;height:3000px;border:0'></iframe><pre id='found'></pre><script>
         const frame = document.getElementById('frame');
         frame.onload = () => {{
             document.getElementById('found').textContent = frame.contentDocument.getElementById('probe').textContent;
         }};
         frame.srcdoc = {page};
         </script>"
    )
}

/// What the probe finds in a page.
fn probed(store: &Store, page: &str, is_html: bool, dark: bool, width: u32, place: &str) -> Json {
    let probed =
        if is_html { page.replace("</body>", &format!("{PROBE}</body>")) } else { format!("<!DOCTYPE html><body>{page}{PROBE}") };
    // The browser has no window that is so narrow, but a frame in one.
    let probed = if width < 500 { framed(&probed, width) } else { probed };
    fs::write(store.path("probed.html"), probed).unwrap();
    let dom = dom(&store.path("probed.html"), &store.path("profile"), dark, width);
    let json = dom.split_once(">PROBE{").and_then(|(_, rest)| rest.split_once("}END")).map(|(json, _)| format!("{{{json}}}"));
    let json = json.unwrap_or_else(|| panic!("{place}: no probe in {dom}")).replace("&gt;", ">").replace("&amp;", "&");
    let found: Json = serde_json::from_str(&json).unwrap();
    assert_eq!(found["width"], width, "{place}");
    for problem in ["outside", "overlapping", "faint"] {
        assert_eq!(found[problem].as_array().unwrap(), &Vec::<Json>::new(), "{problem} in {place}");
    }
    assert_eq!((&found["loads"], &found["unnamed"]), (&0.into(), &0.into()), "{place}");
    if is_html {
        assert_eq!(found["small"].as_array().unwrap(), &Vec::<Json>::new(), "letters under 11 px in {place}");
        assert_eq!(found["wide"], 0, "{place} scrolls sideways: {found}");
    }
    found
}

#[test]
fn a_browser_shows_the_whole_page_in_light_and_dark() {
    if browser().is_none() {
        return skipped("no browser: chromium is not installed");
    }
    let store = Store::new();
    for name in ["page.html", "page.svg"] {
        let (_, page) = page(&store, name);
        let is_html = name.ends_with("html");
        if !is_html {
            let drawn = dom(&store.path(name), &store.path("profile"), false, 1000);
            assert!(drawn.contains("</svg>") && !drawn.contains("parsererror"), "{drawn}");
        }
        for (dark, width) in [(false, 1000), (true, 1000), (false, 600)] {
            let place = format!("{name}, dark: {dark}, {width} wide");
            let found = probed(&store, &page, is_html, dark, width, &place);
            let texts = found["texts"].as_u64().unwrap();
            assert!(texts > if width == 600 { 55 } else { 65 }, "{place}: {found}");
            let lights = found["grounds"].as_array().unwrap().iter().chain(is_html.then_some(&found["body"]));
            assert!(
                lights.clone().count() >= 1 && lights.map(|light| light.as_f64().unwrap()).all(|light| (light < 0.1) == dark),
                "{place}: {found}"
            );
        }
    }
}

/// On a phone every letter of the page has 11 pixels or more, nothing is outside or on top of another text, and the
/// page does not scroll sideways.
#[test]
fn case_51_the_page_is_readable_on_a_phone() {
    if browser().is_none() {
        return skipped("no browser: chromium is not installed");
    }
    let store = Store::new();
    for words in ["BENCH 300 1,2,3,5,8,50,100,200", "BENCH 300 1,5,1000000 --ops mixed:60", "BENCH 50 5"] {
        let (_, page) = page_of(&store, words, "page.html");
        for width in [360, 400, 890] {
            let found = probed(&store, &page, true, false, width, &format!("{words}, {width} wide"));
            assert!(found["texts"].as_u64().unwrap() > 20, "{found}");
        }
    }
}

#[test]
fn case_51_puts_and_gets_are_apart_in_a_mixed_load() {
    let store = Store::new();
    let (text, page) = page_of(&store, "BENCH 400 1,10 --ops mixed:50 --keys 100", "page.html");
    for line in text.lines().take(2) {
        let found = fields(line);
        assert_eq!(number(&found, "puts") + number(&found, "gets"), 400, "{line}");
        for kind in ["put", "get"] {
            for figure in ["p50", "p99", "p999", "max"] {
                assert!(found.contains_key(format!("{kind}_{figure}_us").as_str()), "{kind}, {figure}: {line}");
            }
        }
    }
    for part in ["Latency percentiles", "Latency histogram"] {
        for kind in ["PUTs", "GETs"] {
            assert!(page.contains(&format!("{part} of {kind}")), "{part}, {kind}");
        }
    }
    assert_eq!((page.matches("<td>PUTs</td>").count(), page.matches("<td>GETs</td>").count()), (2, 2));
    let json: Json = serde_json::from_str(&bench(&store, "--json BENCH 400 10 --ops mixed:50 --keys 100")).unwrap();
    for kind in ["put", "get"] {
        let rows = json[format!("{kind}_histogram")].as_array().unwrap();
        let all: u64 = rows.iter().map(|row| row[1].as_u64().unwrap()).sum();
        assert_eq!(Some(all), json[format!("{kind}s")].as_u64(), "{json}");
    }
    let pure: Json = serde_json::from_str(&bench(&store, "--json BENCH 40 10")).unwrap();
    assert!(pure["put_histogram"].is_array() && pure["get_histogram"].is_null() && pure["put_p50_us"].is_null(), "{pure}");
}

/// The output on a terminal of 80 columns.
fn on_a_terminal(store: &Store, words: &[&str], environment: &[(&str, &str)]) -> String {
    let mut command = store.program("sh");
    // stderr may have a progress bar, if the disk is slow.
    command.args(["-c", "exec \"$0\" -q \"$@\" 2>/dev/null", env!("CARGO_BIN_EXE_kv_cli")]).args(words);
    command.env("LC_ALL", "C.UTF-8").env("TERM", "xterm-256color").envs(environment.iter().copied());
    let mut session = rexpect::session::spawn_command(command, Some(60_000)).unwrap();
    // The library reads each byte as a character.
    let bytes = session.exp_eof().unwrap().chars().filter(|&c| c != '\r').map(|c| u8::try_from(c).unwrap()).collect();
    String::from_utf8(bytes).unwrap()
}

fn without_colour(text: &str) -> String {
    let mut pieces = text.split("\x1b[");
    let first = pieces.next().unwrap().to_string();
    pieces.fold(first, |shown, piece| shown + piece.split_once('m').unwrap().1)
}

#[test]
fn a_terminal_gets_a_picture_that_fits() {
    let store = Store::new();
    for words in [&["BENCH", "400", "1,5,1000000"][..], &["BENCH", "400", "5"], &["BENCH", "300", "1,5", "--ops", "mixed"]] {
        let colour = on_a_terminal(&store, words, &[]);
        assert!(colour.contains("\x1b[36m█") || colour.contains("\x1b[33m"), "{colour}");
        let plain = on_a_terminal(&store, words, &[("NO_COLOR", "1")]);
        assert!(!plain.contains('\x1b') && plain.contains('█'), "{plain}");
        let dumb = on_a_terminal(&store, words, &[("TERM", "dumb")]);
        assert!(dumb.is_ascii() && !dumb.contains('\x1b') && dumb.contains('#'), "{dumb}");
        let latin = on_a_terminal(&store, words, &[("LC_ALL", "C"), ("NO_COLOR", "1")]);
        assert!(latin.is_ascii(), "{latin}");
        for picture in [without_colour(&colour), plain, dumb] {
            assert!(picture.lines().all(|line| line.chars().count() <= 80), "{picture}");
            let several = words[2].contains(',');
            assert_eq!(picture.contains("BENCH N="), !several, "{picture}");
            assert_eq!(picture.contains("BENCH best batch="), several, "{picture}");
            if several {
                let rows: Vec<&str> = picture.lines().skip_while(|line| !line.contains("throughput")).collect();
                let ends = rows[..3].iter().map(|row| row.chars().count()).collect::<Vec<_>>();
                assert!(ends.iter().all(|&end| end == ends[0]), "the last column is aligned: {picture}");
            }
            assert!(picture.contains("fdatasync: "), "{picture}");
        }
    }
}

/// A script that needs a missing tool says so and succeeds.
#[test]
fn the_profiling_scripts_count_or_name_the_missing_tool() {
    let store = Store::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = |name: &str, words: &[&str]| {
        let mut command = store.program(root.join("scripts").join(name));
        command.args(words).arg(store.dir.path()).env("KV_CLI", env!("CARGO_BIN_EXE_kv_cli"));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let table = script("profile-strace", &["101", "1,5"]);
    if table.starts_with("skipped: strace") {
        skipped(table.trim_end().trim_start_matches("skipped: "));
    } else {
        let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows.len(), 3, "{table}");
        // One sync and one write call for each group, and a few more writes when the log reserves space.
        for (row, group) in [(&rows[1], 1.0), (&rows[2], 0.2)] {
            let (writes, syncs): (f64, f64) = (row[3].parse().unwrap(), row[4].parse().unwrap());
            assert!(syncs == group && (group..group + 0.1).contains(&writes), "{table}");
        }
    }
    let svg = store.path("flame.svg");
    let functions = script("profile-perf", &["20000", "1000", svg.to_str().unwrap()]);
    match functions.strip_prefix("skipped: ") {
        Some(why) => skipped(why.trim_end()),
        None => {
            assert!(functions.starts_with("BENCH N=20000 ") && functions.contains("function"), "{functions}");
            assert_eq!(functions.contains("\nflame graph: "), svg.exists(), "{functions}");
        }
    }
}
