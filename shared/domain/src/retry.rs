//! When to try again: backoff with jitter, and the several meanings of `Retry-After`.

use std::time::Duration;

use crate::clock::Millis;

/// Real attempts for a batch; waiting for a throttled destination is not one.
pub const MAX_ATTEMPTS: u32 = 5;
/// The pause before the second attempt; doubles from there …
pub const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// … up to this.
pub const MAX_PAUSE: Duration = Duration::from_secs(60);
/// The longest time a destination may ask us to wait and be obeyed within a run.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(15 * 60);

/// The pause after the `attempt`th failure (from 1): exponential, with full jitter over its upper half.
/// `random` is any number in 0..1.
pub fn backoff(attempt: u32, first: Duration, random: f64) -> Duration {
    let full = first.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(MAX_PAUSE);
    full.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
}

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

/// Reads a "reset" header that holds a point in time as seconds since 1970, or as milliseconds.
pub fn reset_at_epoch(header: &str, now: Millis) -> Option<Duration> {
    let number: f64 = header.trim().parse().ok()?;
    let millis = if number < EPOCH_MILLIS { number * 1000.0 } else { number };
    (number.is_finite() && number >= 0.0).then(|| Millis(millis as i64).since(now).min(MAX_NAMED_PAUSE))
}

/// Reads a "reset" header that holds seconds from now; a point in time, too, where that is plain.
pub fn reset_in_seconds(header: &str, now: Millis) -> Option<Duration> {
    from_number(header.trim().parse().ok()?, now)
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
    fn backoff_grows_and_jitters() {
        let second = Duration::from_secs(1);
        assert_eq!(backoff(1, second, 1.0), second);
        assert_eq!(backoff(1, second, 0.0), second / 2);
        assert_eq!(backoff(3, second, 1.0), second * 4);
        assert_eq!(backoff(99, second, 1.0), MAX_PAUSE);
    }

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
    fn reset_means_what_the_connector_says() {
        let now = Millis(1_000_000_000_000);
        assert_eq!(reset_at_epoch("1000000041", now), Some(Duration::from_secs(41)));
        assert_eq!(reset_at_epoch("1000000041000", now), Some(Duration::from_secs(41)));
        assert_eq!(reset_in_seconds("41", now), Some(Duration::from_secs(41)));
        assert_eq!(reset_in_seconds("1000000041", now), Some(Duration::from_secs(41)));
        for wrong in ["-1", "NaN", "inf", "", "x"] {
            assert_eq!((reset_in_seconds(wrong, now), reset_at_epoch(wrong, now)), (None, None), "{wrong}");
        }
        // Whatever a peer sends, it can be reckoned with.
        for absurd in ["1e30", "1e300", "9223372036854775807", "340282366920938463463374607431768211455"] {
            assert!(
                reset_in_seconds(absurd, now).is_some()
                    && reset_at_epoch(absurd, now).is_some()
                    && retry_after(absurd, now).is_some(),
                "{absurd}"
            );
        }
    }
}
