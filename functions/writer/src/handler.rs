//! One invocation of the writer: some messages, each handled apart, and the answer that keeps those that failed.

use std::sync::Arc;
use std::time::Duration;

use aws::Clients;
use aws::deadline::deadline_of;
use aws::definitions::Definitions;
use aws::queue::SqsQueue;
use aws::secrets::AwsSecrets;
use aws::settings::WriterSettings;
use aws::state::DynamoState;
use aws::telemetry::{Metrics, start_logging};
use domain::fault::Fault;
use domain::ports::SystemClock;
use domain::ports::{Clock, StateStore};
use lambda_runtime::LambdaEvent;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::deliver::{Disposition, deliver};
use crate::open::DestinationCache;
use crate::receive::{SqsBatchResponse, read};

/// What every invocation uses, made once at cold start.
#[derive(Clone)]
pub struct WriterServices {
    /// The function's settings.
    pub settings: Arc<WriterSettings>,
    /// The SDK's clients.
    pub clients: Clients,
    /// What was applied.
    pub definitions: Arc<Definitions>,
    /// Versions that are open.
    pub destinations: DestinationCache,
    /// The state.
    pub store: Arc<dyn StateStore>,
    /// Secrets by reference.
    pub secrets: Arc<AwsSecrets>,
    /// The queue of this writer.
    pub queue: Arc<SqsQueue>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

impl WriterServices {
    /// Reads the settings and makes the clients. Calls nobody.
    pub async fn open() -> Result<Self, Fault> {
        let settings = WriterSettings::from_env()?;
        start_logging(&settings.common.log);
        Ok(Self::new(settings, &Clients::new().await))
    }

    /// With these settings and clients.
    pub fn new(settings: WriterSettings, clients: &Clients) -> Self {
        let common = &settings.common;
        Self {
            definitions: Arc::new(Definitions::new(clients, &common.table)),
            destinations: DestinationCache::default(),
            store: Arc::new(DynamoState::new(clients, &common.table)),
            secrets: Arc::new(AwsSecrets::new(clients)),
            queue: Arc::new(SqsQueue::new(clients, &settings.queue_url, &common.bucket, common.max_message_bytes)),
            clock: Arc::new(SystemClock),
            metrics: Arc::new(Metrics::new(&common.stack)),
            clients: clients.clone(),
            settings: Arc::new(settings),
        }
    }
}

/// The time kept back at the end of an invocation, to answer.
const TO_ANSWER: Duration = Duration::from_secs(2);

/// Handles one event. Messages are handled at once, and apart: one that fails, or never comes back, takes no other along.
pub async fn handle(services: &WriterServices, event: LambdaEvent<Value>) -> Result<SqsBatchResponse, Fault> {
    let received = read(event.payload).inspect_err(|fault| tracing::error!(code = fault.code.as_str(), "{}", fault.what))?;
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
        tracing::error!(messages = kept.len(), "the function's time is over; these messages stay in the queue. Give the writer a longer timeout");
    }
    Ok(SqsBatchResponse::keep(kept))
}
