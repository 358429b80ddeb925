//! When to try again: backoff with jitter, and the several meanings of `Retry-After`.

use std::time::Duration;

use crate::clock::Millis;

/// Real attempts for a batch; waiting for a throttled destination is not one.
pub const MAX_ATTEMPTS: u32 = 5;
/// The pause before the second attempt; doubles from there …
pub const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// … up to this.
pub const MOST_PAUSE: Duration = Duration::from_secs(60);
/// The longest time a destination may ask us to wait and be obeyed within a run.
pub const MOST_OBEYED: Duration = Duration::from_secs(15 * 60);

/// The pause after the `attempt`th failure (from 1): exponential, with full jitter over its upper half.
/// `random` is any number in 0..1.
pub fn backoff(attempt: u32, first: Duration, random: f64) -> Duration {
    let full = first.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(MOST_PAUSE);
    full.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
}

/// Reads a `Retry-After` header (RFC 9110 §10.2.3): seconds, whole or not, or an HTTP date. `None` when it
/// is neither; a date in the past is zero.
pub fn retry_after(header: &str, now: Millis) -> Option<Duration> {
    let header = header.trim();
    if let Ok(seconds) = header.parse::<f64>() {
        return (seconds.is_finite() && seconds >= 0.0).then(|| Duration::from_secs_f64(seconds.min(MOST_OBEYED.as_secs_f64() * 100.0)));
    }
    let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(header).ok()?;
    Some(Millis(at.as_millisecond()).since(now))
}

/// Reads a "reset" header that holds a point in time as seconds since 1970.
pub fn reset_at_epoch(header: &str, now: Millis) -> Option<Duration> {
    let seconds: f64 = header.trim().parse().ok()?;
    Some(Millis((seconds * 1000.0) as i64).since(now))
}

/// Reads a "reset" header that holds seconds from now.
pub fn reset_in_seconds(header: &str) -> Option<Duration> {
    let seconds: f64 = header.trim().parse().ok()?;
    (seconds.is_finite() && seconds >= 0.0).then(|| Duration::from_secs_f64(seconds))
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
        assert_eq!(backoff(99, second, 1.0), MOST_PAUSE);
    }

    #[test]
    fn retry_after_has_two_forms() {
        let now = Millis(1_445_412_480_000); // Wed, 21 Oct 2015 07:28:00 GMT
        assert_eq!(retry_after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after(" 0.5 ", now), Some(Duration::from_millis(500)));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:30 GMT", now), Some(Duration::from_secs(30)));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:27:00 GMT", now), Some(Duration::ZERO));
        for wrong in ["soon", "", "-5", "NaN", "inf"] {
            assert_eq!(retry_after(wrong, now), None, "{wrong}");
        }
    }

    #[test]
    fn reset_means_what_the_connector_says() {
        let now = Millis(1_000_000_000_000);
        assert_eq!(reset_at_epoch("1000000041", now), Some(Duration::from_secs(41)));
        assert_eq!(reset_in_seconds("41"), Some(Duration::from_secs(41)));
    }
}
