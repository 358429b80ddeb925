//! The writer: delivers batches to one destination. Cold start only; `handler.rs` is what happens.

use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::Value;
use writer::handler::{House, handle};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let house = House::open().await?;
    let run = lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| {
        let house = house.clone();
        async move { handle(&house, event).await }
    }));
    run.await.map_err(|e| anyhow::anyhow!("the runtime ended: {e}"))
}
