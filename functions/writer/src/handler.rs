//! One invocation of the writer: some messages, each handled apart, and the answer that keeps those that failed.

use std::time::Duration;

use aws::deadline::deadline_of;
use domain::fault::Fault;
use lambda_runtime::LambdaEvent;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::deliver::{Disposition, deliver};
use crate::receive::read;
use crate::response::SqsBatchResponse;
use crate::services::WriterServices;

/// The time kept back at the end of an invocation, to answer.
const TO_ANSWER: Duration = Duration::from_secs(2);

/// Handles one event. Messages are handled at once, and apart: one that fails, or never comes back, takes no other
/// along.
pub async fn handle(services: &WriterServices, event: LambdaEvent<Value>) -> Result<SqsBatchResponse, Fault> {
    let received =
        read(event.payload).inspect_err(|fault| tracing::error!(code = fault.code.as_str(), "{}", fault.what))?;
    let deadline = deadline_of(event.context.deadline, services.clock.now());
    let time = deadline.since(services.clock.now()).saturating_sub(TO_ANSWER);
    let mut kept: Vec<String> = received.iter().map(|message| message.id.clone()).collect();
    let mut handling = JoinSet::new();
    for message in received {
        let services = services.clone();
        handling.spawn(async move { (deliver(&services, &message, time / 2).await, message.id) });
    }
    let handled = async {
        while let Some(handled) = handling.join_next().await {
            match handled {
                Ok((Disposition::Delete, id)) => kept.retain(|other| *other != id),
                Ok((Disposition::Retry, _)) => {}
                Err(e) => tracing::error!("handling a message ended: {e}; it stays in the queue"),
            }
        }
    };
    if tokio::time::timeout(time, handled).await.is_err() {
        tracing::error!(
            messages = kept.len(),
            "timed out; messages returned to the queue. Give the writer a longer timeout"
        );
    }
    Ok(SqsBatchResponse::keep(kept))
}
