//! Options that several commands share.

use crate::refusal::Refusal;
use crate::resp::integer;

/// Whether `word` is this name, in any case.
pub(crate) fn is(word: &[u8], name: &str) -> bool {
    word.eq_ignore_ascii_case(name.as_bytes())
}

/// # Errors
/// It is no integer.
pub(crate) fn number(word: &[u8]) -> Result<i64, Refusal> {
    integer(word).ok_or(Refusal::NOT_AN_INTEGER)
}

/// # Errors
/// It is no number of a database, or not 0, the only one.
pub(crate) fn check_database(word: &[u8]) -> Result<(), Refusal> {
    let number = i32::try_from(number(word)?).map_err(|_| Refusal::NOT_AN_INTEGER)?;
    if number == 0 { Ok(()) } else { Err(Refusal::DB_INDEX) }
}

/// Whether the option asks for an expiry.
pub(crate) fn is_expiry(word: &[u8]) -> bool {
    ["EX", "PX", "EXAT", "PXAT"].iter().any(|name| is(word, name))
}

/// A range of `len` bytes from `start` to `end`, both included and from the end if negative, as GETRANGE means it.
pub(crate) fn range(start: i64, end: i64, len: usize) -> std::ops::Range<usize> {
    let length = i64::try_from(len).unwrap_or(i64::MAX);
    let from_begin = |at: i64| if at < 0 { at.saturating_add(length).max(0) } else { at };
    if start < 0 && end < 0 && start > end {
        return 0..0;
    }
    let (start, end) = (from_begin(start), from_begin(end).min(length - 1));
    if start > end {
        return 0..0;
    }
    let place = |at: i64| usize::try_from(at).unwrap_or(0);
    place(start)..place(end) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_redis() {
        let cases = [
            ((0, 3, 10), 0..4),
            ((-3, -1, 10), 7..10),
            ((0, -1, 10), 0..10),
            ((5, 100, 10), 5..10),
            ((3, 2, 10), 0..0),
            ((-1, -5, 10), 0..0),
            ((-100, 1, 10), 0..2),
            ((-100, -50, 10), 0..1),
            ((0, 0, 0), 0..0),
            ((10, 20, 10), 0..0),
            ((i64::MIN, i64::MAX, 3), 0..3),
        ];
        for ((start, end, len), wanted) in cases {
            assert_eq!(range(start, end, len), wanted, "{start} {end} of {len}");
        }
    }
}
