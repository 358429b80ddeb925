//! Parts of stored plans, in the stack's bucket: what a run that has no time left goes on from.
//! The bucket's lifecycle rule removes what nobody took.

use async_trait::async_trait;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use bytes::Bytes;
use domain::fault::{Code, Fault};
use domain::ports::PlanStore;

use crate::Clients;
use crate::failure::AwsFailure;
use crate::objects::Objects;

/// Plans in a bucket: part 3 of run R is the object `plans/R/000003`.
pub struct S3PlanStore {
    objects: Objects,
}

impl S3PlanStore {
    /// Plans in this bucket.
    pub fn new(clients: &Clients, bucket: &str) -> Self {
        Self { objects: Objects::new(clients, bucket) }
    }
}

fn key(run: &str, part: u32) -> String {
    format!("plans/{run}/{part:06}")
}

#[async_trait]
impl PlanStore for S3PlanStore {
    async fn put(&self, run: &str, part: u32, bytes: Bytes) -> Result<(), Fault> {
        self.objects.put(&key(run, part), bytes).await
    }

    async fn get(&self, run: &str, part: u32) -> Result<Option<Bytes>, Fault> {
        self.objects.get(&key(run, part)).await
    }
}

/// Creates a bucket in the region of these clients; for emulators and tests, the stack makes its own. Fault:
/// `QueueUnusable`.
pub async fn create_bucket(clients: &Clients, name: &str) -> Result<(), Fault> {
    let region = clients.config().region().map_or("us-east-1", |region| region.as_ref());
    let place =
        CreateBucketConfiguration::builder().location_constraint(BucketLocationConstraint::from(region)).build();
    let create = clients.s3().create_bucket().bucket(name).create_bucket_configuration(place).send().await;
    create.map(drop).map_err(|e| {
        Fault::new(Code::QueueUnusable, format!("The bucket `{name}` cannot be created ({}).", AwsFailure::of(&e)))
    })
}
