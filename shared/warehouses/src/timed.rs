//! Times a statement that a warehouse is billed by time for.

use domain::usage::{UsageMeter, WarehouseUsage};
use tokio::time::Instant;

/// Waits for a statement and notes how long that took, whatever came of it.
pub(crate) async fn timed<T>(usage: &UsageMeter, statement: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let out = statement.await;
    usage.note(WarehouseUsage::millis(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)));
    out
}
