//! The writer: delivers batches to one destination. Cold start only; `handler.rs` is what happens.

use domain::fault::Fault;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::Value;
use writer::handler::handle;
use writer::services::WriterServices;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let services = WriterServices::open().await?;
    let run = lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| {
        let services = services.clone();
        async move { handle(&services, event).await.map_err(failed) }
    }));
    run.await.map_err(|e| anyhow::anyhow!("the runtime ended: {e}"))
}

fn failed(fault: Fault) -> Diagnostic {
    Diagnostic { error_type: fault.code.as_str().into(), error_message: fault.to_string() }
}
