//! The time. Everything that asks what time it is asks a [`Clock`], so that tests can turn it.

use std::sync::Arc;

use crate::clock::Millis;

/// The time, so that tests can turn the clock.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Millis;
}

impl std::fmt::Debug for dyn Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

/// The machine's clock.
pub struct SystemClock;

impl SystemClock {
    /// It, for those who hold a clock.
    pub fn shared() -> Arc<dyn Clock> {
        Arc::new(SystemClock)
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}
