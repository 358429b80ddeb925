//! A wish to stop, seen by everyone who holds it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use domain::fault::{Code, Fault};
use tokio::sync::Notify;

/// Cheap to clone; once stopped it stays so.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<CancelState>);

#[derive(Debug, Default)]
struct CancelState {
    stopped: AtomicBool,
    notify: Notify,
}

impl CancelToken {
    /// Asks everyone to stop.
    pub fn cancel(&self) {
        self.0.stopped.store(true, Ordering::Release);
        self.0.notify.notify_waiters();
    }

    /// True once someone asked.
    pub fn is_cancelled(&self) -> bool {
        self.0.stopped.load(Ordering::Acquire)
    }

    /// Waits until someone asks.
    pub async fn cancelled(&self) {
        let waiting = self.0.notify.notified();
        tokio::pin!(waiting);
        // Registered before the flag is read, so that a stop in between is not missed.
        waiting.as_mut().enable();
        if !self.is_cancelled() {
            waiting.await;
        }
    }

    /// A fault once someone asked; for loops that check now and then.
    pub fn check(&self) -> Result<(), Fault> {
        if self.is_cancelled() {
            Err(Fault::new(Code::Interrupted, "The run was stopped before it was done."))
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stop_before_and_during_the_wait_is_seen() {
        let stop = CancelToken::default();
        assert!(stop.check().is_ok());
        let waiter = tokio::spawn({
            let stop = stop.clone();
            async move { stop.cancelled().await }
        });
        tokio::task::yield_now().await;
        stop.cancel();
        waiter.await.unwrap();
        stop.cancelled().await;
        assert_eq!(stop.check().unwrap_err().code, Code::Interrupted);
    }
}
