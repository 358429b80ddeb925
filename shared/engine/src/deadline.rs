//! The end of this process's time, as the system sets it (a Lambda function's timeout), and what of it is kept back.
//!
//! Reading must leave time to compare and to enqueue; enqueueing must leave time to lay down what does not fit.

use std::time::Duration;

use domain::clock::Millis;

/// The share of the whole time, and the most, that reading leaves for what comes after it.
const AFTER_READING: (u32, Duration) = (5, Duration::from_secs(180));
/// The share of the whole time, and the most, that enqueueing leaves besides the time to lay down the rest.
const AFTER_ENQUEUEING: (u32, Duration) = (10, Duration::from_secs(20));
/// Bytes a second that can surely be written to the plan store.
const SHELVED_A_SECOND: u64 = 8 * 1024 * 1024;

/// From when to when this process may work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// When it began.
    pub began: Millis,
    /// When it is ended.
    pub ends: Millis,
}

impl Deadline {
    /// When reading must be over.
    pub fn of_reading(&self) -> Millis {
        self.less(self.kept(AFTER_READING))
    }

    /// When enqueueing must stop and `left` bytes of batches be laid down.
    pub fn of_enqueueing(&self, left: u64) -> Millis {
        self.less(self.kept(AFTER_ENQUEUEING) + Duration::from_secs(left / SHELVED_A_SECOND))
    }

    fn kept(&self, (share, most): (u32, Duration)) -> Duration {
        (self.ends.since(self.began) / share).min(most)
    }

    fn less(&self, kept: Duration) -> Millis {
        Millis(self.ends.0.saturating_sub(i64::try_from(kept.as_millis()).unwrap_or(i64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_kept_back_for_what_comes_after() {
        let long = Deadline { began: Millis(0), ends: Millis(900_000) };
        assert_eq!(long.of_reading(), Millis(720_000));
        assert_eq!(long.of_enqueueing(0), Millis(880_000));
        assert_eq!(long.of_enqueueing(800 * 1024 * 1024), Millis(780_000));
        let short = Deadline { began: Millis(1_000), ends: Millis(11_000) };
        assert_eq!((short.of_reading(), short.of_enqueueing(0)), (Millis(9_000), Millis(10_000)));
    }
}
