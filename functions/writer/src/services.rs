//! What every invocation of the writer uses, made once at cold start.

use std::sync::Arc;

use aws::Clients;
use aws::definitions::Definitions;
use aws::queue::SqsQueue;
use aws::secrets::AwsSecrets;
use aws::settings::WriterSettings;
use aws::state::DynamoState;
use aws::telemetry::{Metrics, start_logging};
use domain::fault::Fault;
use domain::ports::{Clock, StateStore, SystemClock};

use crate::cache::DestinationCache;

/// What every invocation uses, made once at cold start.
#[derive(Clone)]
pub struct WriterServices {
    pub settings: Arc<WriterSettings>,
    pub clients: Clients,
    pub definitions: Arc<Definitions>,
    /// Versions that are open.
    pub destinations: DestinationCache,
    pub store: Arc<dyn StateStore>,
    pub secrets: Arc<AwsSecrets>,
    /// The queue of this writer.
    pub queue: Arc<SqsQueue>,
    pub clock: Arc<dyn Clock>,
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
