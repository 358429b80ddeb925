//! The system's clock.

use std::time::{SystemTime, UNIX_EPOCH};

use domain::clock::Millis;
use domain::ports::Clock;

/// Reads the time of the system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        // A clock set before 1970 reads as 1970: nothing here can go on sensibly, and nothing must break.
        Millis::default().plus(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_the_systems() {
        let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
        let now = SystemClock.now().0;
        let after = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
        assert!((before..=after).contains(&now));
    }
}
