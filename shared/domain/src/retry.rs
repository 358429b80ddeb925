//! When to try again: attempts, and pauses that grow, with jitter.

use std::time::Duration;

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
}
