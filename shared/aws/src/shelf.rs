//! Parts of stored plans, in the stack's bucket: what a run that has no time left goes on from.
//! The bucket's lifecycle rule removes what nobody took.

use async_trait::async_trait;
use bytes::Bytes;
use domain::fault::Fault;
use domain::ports::Shelf;

use crate::Clients;
use crate::objects::Objects;

/// A shelf in a bucket: part 3 of run R is the object `plans/R/000003`.
pub struct S3Shelf {
    objects: Objects,
}

impl S3Shelf {
    /// A shelf in this bucket.
    pub fn new(clients: &Clients, bucket: &str) -> Self {
        Self { objects: Objects::new(clients, bucket) }
    }
}

fn key(run: &str, part: u32) -> String {
    format!("plans/{run}/{part:06}")
}

#[async_trait]
impl Shelf for S3Shelf {
    async fn put(&self, run: &str, part: u32, bytes: Bytes) -> Result<(), Fault> {
        self.objects.put(&key(run, part), bytes).await
    }

    async fn get(&self, run: &str, part: u32) -> Result<Option<Bytes>, Fault> {
        self.objects.get(&key(run, part)).await
    }
}
