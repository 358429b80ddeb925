//! Destinations that are open, by the version of their sync: a token or a connection serves many messages.

use std::collections::HashMap;
use std::sync::Arc;

use domain::clock::Millis;
use domain::connection::Definition;
use domain::ports::Destination;
use domain::sync::Sync;
use engine::deliver::rate_limiter::RateLimiter;
use tokio::sync::{Mutex, MutexGuard};

/// The versions of syncs that this process has seen.
#[derive(Clone, Default)]
pub struct DestinationCache(Arc<Mutex<HashMap<String, OpenedDestination>>>);

/// A version of a sync with its destination.
#[derive(Clone)]
pub(crate) struct OpenedDestination {
    pub(crate) definition: Arc<Definition>,
    pub(crate) destination: Arc<dyn Destination>,
    pub(crate) slots: Arc<RateLimiter>,
    /// When the definition was last looked at.
    pub(crate) looked: Millis,
}

impl DestinationCache {
    /// All of them, by version, while nobody else opens one.
    pub(crate) async fn lock(&self) -> MutexGuard<'_, HashMap<String, OpenedDestination>> {
        self.0.lock().await
    }

    /// Replaces the destination of this version.
    pub async fn keep(&self, sync: &Sync, destination: Arc<dyn Destination>) {
        if let Some(opened) = self.0.lock().await.get_mut(&sync.version()) {
            opened.destination = destination;
        }
    }
}
