//! Plain words. This test reads every text that a person reads: documents, comments, and strings of the code.
//!
//! | rule | limit |
//! |---|---|
//! | a line of prose is not too wide (code, tables and the targets of links do not count) | 120 columns |
//! | a sentence is not too long | 40 words |
//! | a sentence is not a chain of semicolons | 1 semicolon |
//! | no phrase of the list `BANNED` | |
//!
//! Each finding is one line: `file:line: what`. Words that no machine can judge are left to the reader.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::path::Path;

const MAX_COLUMNS: usize = 120;
const MAX_WORDS: usize = 40;

/// Phrases that have to be read twice, each with a plain one. They are compared in lower case, as complete words.
const BANNED: &[(&[&str], &str)] = &[
    (&["that which", "those which", "what of", "of what", "what there is"], "name the thing: the bytes that …"),
    (&["what is there", "what is left", "what is whole", "what is not", "what is no"], "name the thing: the rest, …"),
    (&["what it is for", "what it is of", "what they are for", "none of which"], "name the thing; one more sentence"),
    (&["whoever", "whatever", "whichever"], "any, every, the … that"),
    (&["such", "the like"], "like this, of this kind; for example"),
    (&["mend", "mends", "mended", "mending"], "repair, fix"),
    (&["stand", "stands", "stood", "standing", "as it stands"], "is, comes, is written"),
    (&["closed in order", "close in order", "closes in order", "closing in order", "ended in order"], "closed cleanly"),
    (&["ends in order", "shut down in order", "left in order", "leaves in order"], "shut down cleanly"),
    (&["orderly"], "clean, cleanly"),
    (&["nor"], "and not; or"),
    (&["lest"], "so that … not"),
    (&["whence", "hence", "thereby", "hereby", "wherein", "therein"], "so; by this; in which"),
    (&["be it", "to be had", "must needs", "in want of", "does without"], "say it directly: exists, needs, has no"),
    (&["heed", "heeds", "heeded"], "follow, obey"),
    (&["save that", "save for"], "except"),
    (&["so old", "is so it", "so long is", "so long are", "so long as", "so many as"], "this old; as long as"),
    (&["so many is", "so many are", "so much is", "so much as", "so few are", "so few as"], "this many; as many as"),
    (&["in turns"], "one after the other"),
    (&["not a word", "without a word"], "silently"),
];

/// Files whose strings are not checked, and why.
const STRINGS_EXEMPT: [(&str, &str); 4] = [
    ("tests/words.rs", "it lists the phrases, and its samples are bad on purpose"),
    ("crates/kv_server/src/refusal.rs", "its errors are those of Redis, word for word"),
    ("crates/kv_server/tests/strings.rs", "it compares errors with those of Redis"),
    ("crates/kv_server/tests/connections.rs", "it compares errors with those of Redis"),
];

/// A text that a person reads, in one paragraph.
#[derive(Debug, PartialEq)]
struct Paragraph {
    /// Each line of it, with its number.
    lines: Vec<(usize, String)>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// All rules hold.
    Prose,
    /// A row of a table, or a string in the code: only its words are checked.
    Words,
}

/// Puts lines together to paragraphs.
#[derive(Default)]
struct Paragraphs {
    done: Vec<Paragraph>,
    in_code: bool,
}

impl Paragraphs {
    fn words(&mut self, number: usize, text: &str) {
        self.done.push(Paragraph { lines: vec![(number, text.to_string())], kind: Kind::Words });
    }

    /// Adds one line of Markdown. `follows` is false if it cannot continue the line before it.
    fn markdown(&mut self, number: usize, line: &str, follows: bool) {
        let text = line.trim();
        if text.starts_with("```") {
            self.in_code = !self.in_code;
            return;
        }
        if self.in_code || text.is_empty() || text.contains(['│', '├', '└', '─']) {
            return;
        }
        // Text that is indented, but is not in a list, was laid out by hand, like the options in the head of a script.
        let in_list = |last: &Paragraph| last.kind == Kind::Prose && is_item(&last.lines[0].1);
        if text.starts_with('|') || line.starts_with("   ") && !self.done.last().is_some_and(in_list) {
            return self.words(number, text);
        }
        let continues = |last: &&mut Paragraph| {
            let (before, _) = last.lines[last.lines.len() - 1];
            last.kind == Kind::Prose && before + 1 == number
        };
        match self.done.last_mut().filter(continues) {
            Some(last) if follows && !begins_paragraph(text) => last.lines.push((number, text.to_string())),
            _ => self.done.push(Paragraph { lines: vec![(number, text.to_string())], kind: Kind::Prose }),
        }
    }
}

fn is_item(text: &str) -> bool {
    let after_number = text.trim_start_matches(|c: char| c.is_ascii_digit());
    after_number.len() < text.len() && after_number.starts_with(". ") || text.starts_with("- ") || text.starts_with("* ")
}

/// An item of a list, a heading, a quotation, or how to call a script.
fn begins_paragraph(text: &str) -> bool {
    is_item(text) || ["#", "> ", "Usage: "].iter().any(|mark| text.starts_with(mark))
}

fn of_markdown(text: &str) -> Vec<Paragraph> {
    let mut found = Paragraphs::default();
    for (number, line) in (1..).zip(text.lines()) {
        found.markdown(number, line, true);
    }
    found.done
}

/// The comments of a script of the shell.
fn of_script(text: &str) -> Vec<Paragraph> {
    let mut found = Paragraphs::default();
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(comment) = line.trim_start().strip_prefix('#').filter(|rest| !rest.starts_with('!')) {
            found.markdown(number, comment, true);
        }
    }
    found.done
}

/// The comments and the strings of a file of Rust.
fn of_rust(text: &str) -> Vec<Paragraph> {
    let mut found = Paragraphs::default();
    let (mut number, mut own_line, mut rest) = (1, true, text);
    while !rest.is_empty() {
        let (token, length) = first_token(rest);
        match token {
            Token::Comment(comment) => found.markdown(number, comment, own_line),
            Token::Text(text) if text.contains(' ') => {
                (number..).zip(text.lines()).for_each(|(number, line)| found.words(number, line.trim()));
            }
            _ => {}
        }
        own_line = rest.starts_with('\n') || own_line && rest.starts_with(' ');
        // A block of code in a comment ends with the comment.
        found.in_code &= own_line || matches!(token, Token::Comment(_));
        number += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    found.done
}

enum Token<'a> {
    /// A comment, without the slashes at its beginning.
    Comment(&'a str),
    /// The text of a string, without its quotes.
    Text(&'a str),
    /// One character of anything else, or a literal like `'"'`.
    Other,
}

/// The first token, and its length.
fn first_token(text: &str) -> (Token<'_>, usize) {
    if text.starts_with("//") {
        let line = text.lines().next().unwrap();
        return (Token::Comment(line.trim_start_matches('/').trim_start_matches('!')), line.len());
    }
    if let Some((open, close)) = raw_string(text) {
        let end = open + text[open..].find(&close).unwrap();
        return (Token::Text(&text[open..end]), end + close.len());
    }
    if let Some(inside) = text.strip_prefix('"') {
        let end = end_of_string(inside);
        return (Token::Text(&inside[..end]), end + 2);
    }
    let one = text.chars().next().map_or(0, char::len_utf8);
    (Token::Other, literal_char(text).unwrap_or(one))
}

/// Where the string that begins here ends.
fn end_of_string(inside: &str) -> usize {
    let mut escaped = false;
    let end = |c: char| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    };
    inside.find(end).unwrap()
}

/// How a raw string begins and ends, if one begins here.
fn raw_string(text: &str) -> Option<(usize, String)> {
    let hashes = text.strip_prefix('r')?;
    let count = hashes.len() - hashes.trim_start_matches('#').len();
    hashes[count..].starts_with('"').then(|| (count + 2, format!("\"{}", "#".repeat(count))))
}

/// The length of a literal like `'"'`, if one begins here; `'a` may also be a lifetime.
fn literal_char(text: &str) -> Option<usize> {
    let inside = text.strip_prefix('\'')?;
    let first = inside.chars().next()?;
    let length = if first == '\\' { 1 + inside[1..].chars().next()?.len_utf8() } else { first.len_utf8() };
    let is_char = inside[length..].starts_with('\'') || first == '\\';
    is_char.then(|| 1 + inside[length..].find('\'').map_or(length, |at| at + length + 1))
}

/// The text without code, the targets of links and emphasis. Code becomes one word.
fn plain(text: &str) -> String {
    let mut out = String::new();
    for (n, piece) in text.split('`').enumerate() {
        out += if n % 2 == 0 { piece } else { "X" };
    }
    while let Some((before, link)) = out.split_once("](") {
        let after = link.split_once(')').map_or("", |(_, after)| after);
        out = format!("{before}{after}");
    }
    out.replace(['[', ']', '*'], "")
}

/// A line as wide as it is shown; targets of links do not count.
fn columns(line: &str) -> usize {
    let mut count = 0;
    let mut rest = line;
    while let Some((before, link)) = rest.split_once("](") {
        count += before.chars().count();
        rest = link.split_once(')').map_or("", |(_, after)| after);
    }
    let words = rest.split(' ').map(|word| if word.contains("://") { 0 } else { word.chars().count() });
    count + words.sum::<usize>() + rest.matches(' ').count()
}

/// A sentence ends with a mark before a blank and a capital letter.
fn sentences(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut from = 0;
    for (at, _) in text.match_indices(['.', '!', '?', ':']) {
        let after = &text[at + 1..];
        if after.starts_with(' ') && after[1..].starts_with(|c: char| c.is_uppercase() || c == '(') {
            found.push(&text[from..=at]);
            from = at + 2;
        }
    }
    found.push(&text[from..]);
    found
}

/// Whether the text has the phrase, as complete words.
fn has(text: &str, phrase: &str) -> bool {
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(phrase).any(|(at, _)| !text[..at].ends_with(in_word) && !text[at + phrase.len()..].starts_with(in_word))
}

/// All that is wrong with a paragraph, each with its line.
fn findings(paragraph: &Paragraph) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let first = paragraph.lines[0].0;
    let text = paragraph.lines.iter().map(|(_, line)| line.as_str()).collect::<Vec<_>>().join(" ");
    let text = plain(&text);
    let lower = text.to_lowercase();
    for (phrases, better) in BANNED {
        for phrase in phrases.iter().filter(|phrase| has(&lower, phrase)) {
            let line = paragraph.lines.iter().find(|(_, line)| has(&plain(line).to_lowercase(), phrase));
            found.push((line.map_or(first, |line| line.0), format!("'{phrase}'; better: {better}")));
        }
    }
    if paragraph.kind == Kind::Prose {
        for sentence in sentences(&text) {
            let begin: String = sentence.chars().take(60).collect();
            let (words, semicolons) = (sentence.split_whitespace().count(), sentence.matches(';').count());
            if words > MAX_WORDS {
                found.push((first, format!("a sentence of {words} words: {begin}…")));
            }
            if semicolons > 1 {
                found.push((first, format!("a sentence with {semicolons} semicolons: {begin}…")));
            }
        }
    }
    found
}

/// The findings of one file.
fn check(name: &str, text: &str) -> Vec<String> {
    let is_exempt = STRINGS_EXEMPT.iter().any(|(exempt, _)| *exempt == name);
    let paragraphs = match Path::new(name).extension().and_then(|ext| ext.to_str()) {
        Some("md") => of_markdown(text),
        Some("rs") => of_rust(text),
        _ => of_script(text),
    };
    let mut found: Vec<(usize, String)> = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    for paragraph in &paragraphs {
        if paragraph.kind == Kind::Prose {
            // The formatter decides how wide a line of code with a comment is.
            let wide = paragraph.lines.iter().map(|(number, _)| (*number, lines[number - 1])).filter(|(_, line)| {
                let is_whole = !name.ends_with(".rs") || line.trim_start().starts_with("//");
                is_whole && columns(line) > MAX_COLUMNS
            });
            found.extend(wide.map(|(number, line)| (number, format!("{} columns", columns(line)))));
        }
        if paragraph.kind == Kind::Prose || !is_exempt {
            found.extend(findings(paragraph));
        }
    }
    found.sort();
    found.iter().map(|(line, what)| format!("{name}:{line}: {what}")).collect()
}

/// The files below `place` that have these texts, by their names from the root of the repository.
fn files(place: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut open = vec![root.join(place)];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            if !["corpus", "target"].iter().any(|name| path.ends_with(name)) {
                open.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            }
        } else if matches!(path.extension().and_then(|ext| ext.to_str()), Some("md" | "rs") | None) {
            found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_string());
        }
    }
    found
}

#[test]
fn texts_are_in_plain_words() {
    let places = ["README.md", "CHANGELOG.md", "docs", "src", "build.rs", "crates", "tests", "proof", "scripts"];
    let mut names: Vec<String> = places.iter().flat_map(|place| files(place)).collect();
    names.sort();
    assert!(names.len() > 150);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found: Vec<String> = names.iter().flat_map(|name| check(name, &fs::read_to_string(root.join(name)).unwrap())).collect();
    assert!(found.is_empty(), "{} findings:\n{}", found.len(), found.join("\n"));
}

#[test]
fn a_bad_sentence_is_found_with_its_line() {
    let bad = "# Title\n\nA good one.\nThe log\nstands here; a; b.\n";
    let wanted =
        ["a.md:3: a sentence with 2 semicolons: The log stands here; a; b.…", "a.md:5: 'stands'; better: is, comes, is written"];
    assert_eq!(check("a.md", bad), wanted);
    let long = format!("Word {}end.", "and ".repeat(MAX_WORDS));
    assert_eq!(check("a.md", &long).len(), 2, "too wide, and too long");
    assert_eq!(check("a.md", &format!("{long}\n{long}").replace("end. ", "end. A")).len(), 4);
    assert_eq!(check("a.md", "What\nof it?"), ["a.md:1: 'what of'; better: name the thing: the bytes that …"]);
}

#[test]
fn code_tables_and_links_have_their_own_rules() {
    let wide = "x".repeat(200);
    for fine in [
        format!("```text\nsuch {wide}\n```\n"),
        format!("`such` is [a link]({wide}) to https://{wide}"),
        format!("| {wide} |"),
        "A standard. It understands.".to_string(),
        "- one; two\n- three; four\n".to_string(),
    ] {
        assert_eq!(check("a.md", &fine), [""; 0], "{fine}");
    }
    assert_eq!(check("a.md", "| such |").len(), 1);
}

#[test]
fn comments_and_strings_of_rust_are_read() {
    let code =
        "//! Such a head.\nfn f<'a>() -> &'a str {\n    let quote = '\"'; // such a comment\n    \"one such \\\" string\"\n}\n";
    let found = check("a.rs", code);
    let lines: Vec<&str> = found.iter().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(lines, ["a.rs:1", "a.rs:3", "a.rs:4"]);
    assert_eq!(check("a.rs", "let such = r#\"mended \"such\" text\"#; let c = '\\'';").len(), 2);
    assert_eq!(check("a.rs", "/// ```\n/// such();\n/// ```\nfn such() {}\n").len(), 0);
    let indented = format!("{}// {}\n", " ".repeat(20), "word ".repeat(21).trim());
    assert_eq!(check("a.rs", &indented), ["a.rs:1: 127 columns"]);
}

#[test]
fn comments_of_scripts_are_read() {
    let script = "#!/bin/sh\n# Such a script.\necho such # code\n";
    assert_eq!(check("scripts/a", script).len(), 1);
    let option = "#   --option   a; b\n".repeat(9);
    assert_eq!(check("scripts/a", &format!("# Usage: scripts/a; such\n{option}")).len(), 1);
}
