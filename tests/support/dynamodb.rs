//! State in a table of the AWS emulator that `tests/run` starts: a fresh table for every store.
#![allow(clippy::expect_used, reason = "a test that cannot be set up fails")]

use std::sync::atomic::{AtomicU32, Ordering};

use aws::Clients;
use aws::state::{DynamoState, create_table};

/// The emulator's address, which `tests/run` puts into the environment.
pub fn endpoint() -> String {
    std::env::var("SLUICEGATE_TEST_AWS")
        .expect("SLUICEGATE_TEST_AWS is not set: start these tests with ./tests/run, which starts an AWS emulator")
}

/// A fresh table's name. The table goes with the emulator.
pub async fn table() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("the clock is past 1970");
    let name = format!("t-{}-{}-{}", std::process::id(), since.as_millis(), COUNT.fetch_add(1, Ordering::Relaxed));
    create_table(&Clients::emulator(&endpoint()).await, &name).await.unwrap_or_else(|fault| panic!("{fault}"));
    name
}

/// State in a fresh table.
pub async fn state() -> DynamoState {
    state_in(&table().await).await
}

/// State in this table, as another process has it.
pub async fn state_in(table: &str) -> DynamoState {
    DynamoState::new(&Clients::emulator(&endpoint()).await, table)
}
