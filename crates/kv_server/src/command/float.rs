//! Decimal numbers for INCRBYFLOAT.
//!
//! Redis adds them as long doubles and shows 17 digits behind the point, so 0.1 + 0.2 is 0.3 there. Here a number with
//! at most 17 digits behind the point, and smaller than 10^20, is added exactly. Others are added as doubles.

/// Digits behind the point.
const DIGITS: u32 = 17;
/// Exact numbers are smaller.
const MOST: i128 = 10_i128.pow(20 + DIGITS);

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Number {
    double: f64,
    /// So many units of 10^-17.
    exact: Option<i128>,
}

impl Number {
    pub(crate) const ZERO: Number = Number { double: 0.0, exact: Some(0) };
}

/// The number, if all of `text` is one. Infinity is one if it is written so, and not by too many digits.
pub(crate) fn parse(text: &[u8]) -> Option<Number> {
    let text = std::str::from_utf8(text).ok()?;
    let double: f64 = text.parse().ok()?;
    if double.is_nan() || double.is_infinite() && text.contains(|digit: char| digit.is_ascii_digit()) {
        return None;
    }
    Some(Number { double, exact: exact(text) })
}

/// Only for texts that are numbers.
fn exact(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, exponent) = digits.split_once(['e', 'E']).unwrap_or((digits, "0"));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut number: i128 = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        let digit = i128::from(digit.checked_sub(b'0').filter(|digit| *digit <= 9)?);
        number = number.checked_mul(10)?.checked_add(digit)?;
    }
    let fraction = i64::try_from(fraction.len()).ok()?;
    let power = i64::from(DIGITS).checked_add(exponent.parse::<i64>().ok()?)?.checked_sub(fraction)?;
    let units = number.checked_mul(10_i128.checked_pow(u32::try_from(power).ok()?)?).filter(|units| *units < MOST)?;
    Some(if negative { -units } else { units })
}

/// The sum as Redis writes it: no exponent, no zeros at the end. `None`: it is not finite.
pub(crate) fn sum(a: Number, b: Number) -> Option<String> {
    if let (Some(a), Some(b)) = (a.exact, b.exact) {
        return Some(shown(a + b));
    }
    let sum = a.double + b.double;
    sum.is_finite().then(|| format!("{sum}"))
}

fn shown(units: i128) -> String {
    let one = 10_u128.pow(DIGITS);
    let (sign, units) = (if units < 0 { "-" } else { "" }, units.unsigned_abs());
    let text = format!("{sign}{}.{:017}", units / one, units % one);
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

const _: () = assert!(MOST < i128::MAX / 4);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_what_people_expect() {
        for (a, b, wanted) in [
            ("0.1", "0.2", "0.3"),
            ("10.50", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("-0.5", "0.5", "0"),
            ("-0", "-0", "0"),
            ("13295.0", "1E2", "13395"),
            ("1.25e-2", "-1e+1", "-9.9875"),
            ("0.1", "1e-18", "0.1"),
            ("3", "-5", "-2"),
            ("1e300", "1", &format!("1{}", "0".repeat(300))),
            ("0.00000000000000001", "0", "0.00000000000000001"),
            ("99999999999999999999", "99999999999999999999", "199999999999999999998"),
        ] {
            let found = sum(parse(a.as_bytes()).unwrap(), parse(b.as_bytes()).unwrap());
            assert_eq!(found.as_deref(), Some(wanted), "{a} + {b}");
        }
        assert_eq!(sum(parse(b"1.7e308").unwrap(), parse(b"1.7e308").unwrap()), None);
        assert_eq!(sum(parse(b"inf").unwrap(), parse(b"1").unwrap()), None);
        assert_eq!(sum(parse(b"1").unwrap(), parse(b"-Infinity").unwrap()), None);
        for text in ["", "a", "1 ", " 1", "nan", "-nan", "1e999", "+-1", "++1", "1..2", "0x10"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
