//! The extractor: plans a run and enqueues its batches. Cold start only; `handler.rs` is what happens.

use domain::fault::Fault;
use extractor::handler::handle;
use extractor::services::ExtractorServices;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::Value;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let services = ExtractorServices::open().await?;
    let services = &services;
    let run = lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| async move {
        handle(services, event).await.map_err(failed)
    }));
    run.await.map_err(|e| anyhow::anyhow!("the runtime ended: {e}"))
}

fn failed(fault: Fault) -> Diagnostic {
    Diagnostic { error_type: fault.code.as_str().into(), error_message: fault.to_string() }
}
