//! Patterns as Redis writes them: `*`, `?`, `[abc]`, `[a-z]`, `[^a]`, and `\` before a byte that means itself.

/// Whether all of `text` fits. The time is at most the product of the two lengths.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // The last `*`: the pattern behind it, and the text that it does not take yet.
    let mut star: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            star = Some((p, t));
            continue;
        }
        match text.get(t) {
            None if p == pattern.len() => return true,
            None => return false,
            Some(&byte) => {
                if let Some(next) = one(pattern, p, byte) {
                    (p, t) = (next, t + 1);
                    continue;
                }
            }
        }
        let Some((behind, taken)) = star else { return false };
        star = Some((behind, taken + 1));
        (p, t) = (behind, taken + 1);
    }
}

/// Where the pattern goes on if its part at `p` takes `byte`.
fn one(pattern: &[u8], p: usize, byte: u8) -> Option<usize> {
    match *pattern.get(p)? {
        b'?' => Some(p + 1),
        b'[' => class(pattern, p + 1, byte),
        b'\\' if p + 1 < pattern.len() => (pattern[p + 1] == byte).then_some(p + 2),
        other => (other == byte).then_some(p + 1),
    }
}

/// A class ends with `]`, or with the pattern.
fn class(pattern: &[u8], mut p: usize, byte: u8) -> Option<usize> {
    let negated = pattern.get(p) == Some(&b'^');
    p += usize::from(negated);
    let mut found = false;
    loop {
        match pattern.get(p..).unwrap_or_default() {
            [b'\\', escaped, ..] => {
                found |= *escaped == byte;
                p += 2;
            }
            [] => break,
            [b']', ..] => {
                p += 1;
                break;
            }
            [low, b'-', high, ..] => {
                found |= (*low.min(high)..=*low.max(high)).contains(&byte);
                p += 3;
            }
            [one, ..] => {
                found |= *one == byte;
                p += 1;
            }
        }
    }
    (found != negated).then_some(p)
}

/// The bytes with which every match begins.
pub(crate) fn prefix(pattern: &[u8]) -> &[u8] {
    let end = pattern.iter().position(|byte| b"*?[\\".contains(byte)).unwrap_or(pattern.len());
    &pattern[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_redis() {
        for (pattern, fits, fits_not) in [
            ("*", vec!["", "a", "ab"], vec![]),
            ("h?llo", vec!["hello", "h*llo"], vec!["hllo", "heello"]),
            ("h*llo", vec!["hllo", "heeeello"], vec!["hell"]),
            ("h[ae]llo", vec!["hello", "hallo"], vec!["hillo"]),
            ("h[^e]llo", vec!["hallo"], vec!["hello"]),
            ("h[a-b]llo", vec!["hallo", "hbllo"], vec!["hcllo"]),
            ("h[b-a]llo", vec!["hallo"], vec!["h-llo"]),
            (r"h\*llo", vec!["h*llo"], vec!["hello"]),
            (r"[\]]", vec!["]"], vec!["\\"]),
            ("[a", vec!["a"], vec!["b"]),
            ("a*b*c", vec!["abc", "aXbXbXc"], vec!["aXbX", "acb"]),
            ("**a", vec!["a", "ba"], vec!["ab"]),
            ("", vec![""], vec!["a"]),
            ("a\\", vec!["a\\"], vec!["a"]),
        ] {
            fits.iter().for_each(|text| assert!(matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}"));
            fits_not.iter().for_each(|text| assert!(!matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}"));
        }
        let long = "a".repeat(20_000);
        assert!(!matches(b"*a*a*a*a*a*a*a*b", long.as_bytes()));
        assert_eq!((prefix(b"user:*"), prefix(b"a[b"), prefix(b"key")), (&b"user:"[..], &b"a"[..], &b"key"[..]));
    }
}
