//! `Retry-After` in all its meanings.

use std::time::Duration;

use crate::clock::Millis;

/// No number of seconds to wait is as large as this: it is a point in time, as seconds since 1970 …
const EPOCH: f64 = 1e9;
/// … or, from here on, as milliseconds.
const EPOCH_MILLIS: f64 = 1e12;
/// Longer than anybody means, and short enough that the end of it is a date.
const MAX_NAMED_PAUSE: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

/// Reads a `Retry-After` header (RFC 9110 §10.2.3): seconds, whole or not, or an HTTP date; and what some send instead,
/// a point in time in seconds or milliseconds since 1970. `None` when it is none of these; a point in the past is zero.
/// `now` is best the time that the very answer tells (its `Date`): clocks differ.
pub fn retry_after(header: &str, now: Millis) -> Option<Duration> {
    let header = header.trim();
    if let Ok(number) = header.parse::<f64>() {
        return from_number(number, now);
    }
    Some(http_date(header)?.since(now).min(MAX_NAMED_PAUSE))
}

/// Reads an HTTP date.
pub fn http_date(text: &str) -> Option<Millis> {
    let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok()?;
    Some(Millis(at.as_millisecond()))
}

fn from_number(number: f64, now: Millis) -> Option<Duration> {
    let time = match number {
        n if !n.is_finite() || n < 0.0 => return None,
        n if n < EPOCH => Duration::from_secs_f64(n),
        n if n < EPOCH_MILLIS => Millis((n * 1000.0) as i64).since(now),
        n => Millis(n as i64).since(now),
    };
    Some(time.min(MAX_NAMED_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_has_two_forms() {
        let now = Millis(1_445_412_480_000); // Wed, 21 Oct 2015 07:28:00 GMT
        assert_eq!(retry_after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after(" 0.5 ", now), Some(Duration::from_millis(500)));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:30 GMT", now), Some(Duration::from_secs(30)));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:27:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("1445412490", now), Some(Duration::from_secs(10)), "seconds since 1970");
        assert_eq!(retry_after("1445412490500", now), Some(Duration::from_millis(10_500)), "milliseconds since 1970");
        assert_eq!(retry_after("1445412400", now), Some(Duration::ZERO), "and a point that is past");
        for wrong in ["soon", "", "-5", "NaN", "inf"] {
            assert_eq!(retry_after(wrong, now), None, "{wrong}");
        }
    }

    #[test]
    fn whatever_is_sent_can_be_reckoned_with() {
        let now = Millis(1_000_000_000_000);
        for absurd in ["1e30", "1e300", "9223372036854775807", "340282366920938463463374607431768211455"] {
            assert!(retry_after(absurd, now).is_some_and(|pause| pause <= MAX_NAMED_PAUSE), "{absurd}");
        }
    }
}
