//! The ports on AWS: state in DynamoDB, batches in SQS, what is too large for either in S3, secrets, metrics.
//! The only crate that uses the AWS SDK.
//!
//! What only the command needs (a stack's outputs, schedules) is behind the feature `control`.

pub mod alerts;
pub mod clients;
#[cfg(feature = "control")]
pub mod control;
pub mod deadline;
pub mod definitions;
pub mod failure;
pub mod invoke;
pub mod keys;
mod objects;
pub mod plan_store;
pub mod queue;
pub mod report;
pub mod secrets;
pub mod settings;
pub mod state;
pub mod telemetry;

pub use clients::Clients;
