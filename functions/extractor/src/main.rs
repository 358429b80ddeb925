//! The extractor: plans a run and enqueues its batches. Cold start only; `handler.rs` is what happens.

use extractor::handler::{House, handle};
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::Value;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let house = House::open().await?;
    let house = &house;
    let run = lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| async move { handle(house, event).await }));
    run.await.map_err(|e| anyhow::anyhow!("the runtime ended: {e}"))
}
