//! Which queue belongs to a connection: named by the stack's prefix and the connection's name, looked up once.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_sdk_sqs::Client;
use domain::fault::Fault;

use super::errors;
use crate::Clients;
use crate::failure::AwsFailure;

/// URLs of queues by connection.
pub struct QueueUrls {
    client: Client,
    prefix: String,
    known: Mutex<HashMap<String, String>>,
}

impl QueueUrls {
    /// Queues whose names begin with this.
    pub fn new(clients: &Clients, prefix: &str) -> Self {
        Self { client: clients.sqs(), prefix: prefix.to_owned(), known: Mutex::default() }
    }

    /// The URL of a connection's queue. Fault `QueueUnusable`: it does not exist, or may not be looked up.
    pub async fn url(&self, connection: &str) -> Result<String, Fault> {
        if let Some(url) = self.known().get(connection) {
            return Ok(url.clone());
        }
        let name = format!("{}{connection}", self.prefix);
        let answer = self.client.get_queue_url().queue_name(&name).send().await;
        let answer = answer.map_err(|e| errors::queue(&name, "looked up", "sqs:GetQueueUrl", &AwsFailure::of(&e)))?;
        let url = answer.queue_url.unwrap_or_default();
        self.known().insert(connection.to_owned(), url.clone());
        Ok(url)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, String>> {
        // Nothing between lock and release can panic half-way through a change.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
