//! Who is alerted of a sync's problems.

use async_trait::async_trait;

use crate::fault::Fault;
use crate::monitoring::alert::Alert;

/// Tells people. Whoever asks for that goes on whatever becomes of it.
#[async_trait]
pub trait Notifier: Send + Sync {
    /// The same for as long as its settings are: what was told before is kept under it.
    fn name(&self) -> &str;

    /// Tells it, once. The fault says why it could not; it is then told after the next run.
    async fn notify(&self, alert: &Alert) -> Result<(), Fault>;
}
