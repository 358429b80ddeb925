//! What every invocation of the extractor uses, made once at cold start.

use std::sync::Arc;

use aws::Clients;
use aws::definitions::Definitions;
use aws::invoke::Functions;
use aws::plan_store::S3PlanStore;
use aws::queue::QueueUrls;
use aws::secrets::AwsSecrets;
use aws::settings::ExtractorSettings;
use aws::state::DynamoState;
use aws::telemetry::{Metrics, start_logging};
use domain::fault::Fault;
use domain::ports::{Clock, PlanStore, StateStore, SystemClock};

/// What every invocation uses, made once at cold start.
pub struct ExtractorServices {
    pub settings: ExtractorSettings,
    pub clients: Clients,
    pub definitions: Definitions,
    pub store: Arc<dyn StateStore>,
    pub secrets: AwsSecrets,
    pub plan_store: Arc<dyn PlanStore>,
    /// The queues of the destinations.
    pub queues: QueueUrls,
    pub functions: Functions,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
}

impl ExtractorServices {
    /// Reads the settings and makes the clients. Calls nobody.
    pub async fn open() -> Result<Self, Fault> {
        let settings = ExtractorSettings::from_env()?;
        start_logging(&settings.common.log);
        Ok(Self::new(settings, Clients::new().await))
    }

    /// With these settings and clients.
    pub fn new(settings: ExtractorSettings, clients: Clients) -> Self {
        let common = &settings.common;
        Self {
            definitions: Definitions::new(&clients, &common.table),
            store: Arc::new(DynamoState::new(&clients, &common.table)),
            secrets: AwsSecrets::new(&clients),
            plan_store: Arc::new(S3PlanStore::new(&clients, &common.bucket)),
            queues: QueueUrls::new(&clients, &settings.queue_prefix),
            functions: Functions::new(&clients),
            clock: Arc::new(SystemClock),
            metrics: Metrics::new(&common.stack),
            clients,
            settings,
        }
    }
}
