//! Numbers as decimal digits: rounding and comparing without going through binary floating point.

/// A number written in decimal, taken apart: `-12.5e3`.
struct Parts<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    exponent: i64,
}

impl<'a> Parts<'a> {
    /// `None` when `text` is not a number in full: digits, at most one point, at most one exponent.
    fn read(text: &'a str) -> Option<Self> {
        let (mantissa, exponent) = match text.find(['e', 'E']) {
            // An exponent of more digits is no number that anything holds.
            Some(at) if text.len() - at < 8 => (&text[..at], text[at + 1..].parse().ok()?),
            Some(_) => return None,
            None => (text, 0),
        };
        let (negative, digits) = match mantissa.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let plain = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        let any = !whole.is_empty() || !fraction.is_empty();
        (any && plain(whole) && plain(fraction)).then_some(Self { negative, whole, fraction, exponent })
    }

    /// The digits from the first that is not zero.
    fn digits(&self) -> impl Iterator<Item = u8> {
        self.whole.bytes().chain(self.fraction.bytes()).skip_while(|b| *b == b'0')
    }

    /// The power of ten of the first digit that is not zero.
    fn magnitude(&self) -> i64 {
        let zeros = self.whole.bytes().chain(self.fraction.bytes()).take_while(|b| *b == b'0').count();
        self.whole.len() as i64 - 1 - zeros as i64 + self.exponent
    }

    fn is_zero(&self) -> bool {
        self.digits().next().is_none()
    }
}

/// True when both texts are numbers and the same number.
pub fn same(a: &str, b: &str) -> bool {
    let (Some(a), Some(b)) = (Parts::read(a), Parts::read(b)) else { return false };
    if a.is_zero() || b.is_zero() {
        return a.is_zero() && b.is_zero();
    }
    let padded = |p: &Parts<'_>, len: usize| p.digits().chain(std::iter::repeat(b'0')).take(len).collect::<Vec<_>>();
    let len = a.digits().count().max(b.digits().count());
    a.negative == b.negative && a.magnitude() == b.magnitude() && padded(&a, len) == padded(&b, len)
}

/// The float that `text` stands for, if it is one whose shortest form is the same number again.
pub fn exact_float(text: &str, buffer: &mut String) -> Option<f64> {
    use std::fmt::Write as _;
    Parts::read(text)?;
    let float: f64 = text.parse().ok()?;
    buffer.clear();
    let _ = write!(buffer, "{float:e}");
    (float.is_finite() && same(text, buffer)).then_some(float)
}

/// Digits before and after the point of a plain decimal, needless zeros not counted.
pub fn digits(decimal: &str) -> (usize, usize) {
    let (whole, fraction) = decimal.split_once('.').unwrap_or((decimal, ""));
    (whole.trim_start_matches('-').trim_start_matches('0').len(), fraction.trim_end_matches('0').len())
}

/// Writes a plain decimal (`-?digits[.digits]`) with exactly so many decimals, rounded half away from zero.
pub fn round(decimal: &str, decimals: usize, out: &mut String) {
    out.clear();
    let (negative, digits) = decimal.strip_prefix('-').map_or((false, decimal), |rest| (true, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let kept = &fraction[..fraction.len().min(decimals)];
    let up = fraction.as_bytes().get(decimals).is_some_and(|d| *d >= b'5');
    let padding = decimals - kept.len();
    let is_zero = !up && whole.bytes().chain(kept.bytes()).all(|d| d == b'0');
    if negative && !is_zero {
        out.push('-');
    }
    let point = if decimals > 0 { "." } else { "" };
    if !up {
        out.push_str(if whole.is_empty() { "0" } else { whole });
        out.push_str(point);
        out.push_str(kept);
        out.extend(std::iter::repeat_n('0', padding));
        return;
    }
    // One is added to the last digit kept: the nines at the end become zeros, the digit before them grows.
    let all = whole.bytes().chain(kept.bytes());
    let count = whole.len() + kept.len();
    let nines = whole.bytes().rev().take_while(|d| *d == b'9').count();
    let nines = if kept.bytes().all(|d| d == b'9') {
        kept.len() + nines
    } else {
        kept.bytes().rev().take_while(|d| *d == b'9').count()
    };
    if nines == count {
        out.push('1');
        if whole.is_empty() {
            out.push_str(point);
        }
    }
    for (at, digit) in all.enumerate() {
        if at == whole.len() && !whole.is_empty() {
            out.push_str(point);
        }
        out.push(match (at + nines + 1).cmp(&count) {
            std::cmp::Ordering::Less => digit as char,
            std::cmp::Ordering::Equal => (digit + 1) as char,
            std::cmp::Ordering::Greater => '0',
        });
    }
    // When up, the fraction was longer than what is kept, so nothing is padded.
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_half_away_from_zero_on_the_digits() {
        for (given, decimals, expected) in [
            ("1", 2, "1.00"),
            ("1.005", 2, "1.01"),
            ("2.675", 2, "2.68"),
            ("-2.675", 2, "-2.68"),
            ("0.5", 0, "1"),
            ("-0.5", 0, "-1"),
            ("0.4", 0, "0"),
            ("-0.4", 0, "0"),
            ("-0.004", 2, "0.00"),
            ("0.49", 0, "0"),
            ("9.99", 1, "10.0"),
            ("99.5", 0, "100"),
            ("0.95", 1, "1.0"),
            ("0.995", 2, "1.00"),
            ("1.995", 2, "2.00"),
            ("19.96", 1, "20.0"),
            ("12345678901234567890.125", 2, "12345678901234567890.13"),
            ("7", 0, "7"),
            ("0", 3, "0.000"),
        ] {
            let mut out = String::from("old");
            round(given, decimals, &mut out);
            assert_eq!(out, expected, "{given} to {decimals}");
        }
    }

    #[test]
    fn numbers_are_compared_by_their_digits() {
        for (a, b) in
            [("1.50", "1.5"), ("100", "1e2"), ("-0", "0"), ("2.5e-7", "0.00000025"), ("+7", "7."), (".5", "5E-1")]
        {
            assert!(same(a, b), "{a} {b}");
        }
        for (a, b) in [("1.5", "1.51"), ("1", "-1"), ("1", "10"), ("x", "x"), ("", ""), ("1e", "1"), ("0", "0.1")] {
            assert!(!same(a, b), "{a} {b}");
        }
    }

    #[test]
    fn a_float_is_exact_when_it_prints_back() {
        let mut buffer = String::new();
        for (text, expected) in [
            ("0.1", Some(0.1)),
            ("-12.50", Some(-12.5)),
            ("1e21", Some(1e21)),
            ("0", Some(0.0)),
            ("9007199254740993", None),
        ] {
            assert_eq!(exact_float(text, &mut buffer), expected, "{text}");
        }
        for text in ["0.12345678901234567890", "1e400", "inf", "NaN", "", "1 "] {
            assert_eq!(exact_float(text, &mut buffer), None, "{text}");
        }
    }

    #[test]
    fn digits_are_counted_without_needless_zeros() {
        assert_eq!(digits("-0012.340"), (2, 2));
        assert_eq!(digits("0.001"), (0, 3));
        assert_eq!(digits("100"), (3, 0));
    }
}
