//! When an invocation ends, as the runtime tells it.

use std::time::Duration;

use domain::clock::Millis;

/// The longest time an invocation can have.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// The end of an invocation whose deadline is told as `told`, in milliseconds since 1970. A runtime for local use may
/// tell a time long past, which says nothing: then it is the longest that Lambda allows.
pub fn deadline_of(told: u64, now: Millis) -> Millis {
    let told = Millis(i64::try_from(told).unwrap_or(i64::MAX));
    if told > now { told } else { now.plus(LONGEST) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_that_is_past_says_nothing() {
        let now = Millis(1_767_323_045_678);
        assert_eq!(deadline_of(1_767_323_045_679, now), Millis(1_767_323_045_679));
        assert_eq!(deadline_of(600_000, now), Millis(now.0 + 900_000));
    }
}
