//! Credentials that were replaced while this process lived: read anew when the destination refuses the old ones.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use aws::secrets::AwsSecrets;
use aws::settings::WRITABLE_FOLDER;
use domain::connection::Definition;
use domain::fault::Fault;
use domain::ports::{Clock, Destination, Renew};

use crate::cache::DestinationCache;

/// Opens a destination with its secrets read anew.
pub struct Renewing {
    pub definition: Arc<Definition>,
    pub secrets: Arc<AwsSecrets>,
    pub clock: Arc<dyn Clock>,
    /// Where the new destination is kept for the messages to come.
    pub destinations: DestinationCache,
}

#[async_trait]
impl Renew for Renewing {
    async fn renew(&self) -> Result<Option<Arc<dyn Destination>>, Fault> {
        self.secrets.forget();
        tracing::warn!(sync = self.definition.sync.name, "the destination refuses the credentials: they are read anew");
        let sync = &self.definition.sync;
        let destination = destinations::open(
            sync,
            &self.definition.destination,
            Path::new(WRITABLE_FOLDER),
            self.secrets.as_ref(),
            &self.clock,
        )
        .await?;
        self.destinations.keep(sync, Arc::clone(&destination)).await;
        Ok(Some(destination))
    }
}
