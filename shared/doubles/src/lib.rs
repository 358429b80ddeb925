//! Doubles of services that cannot be started on a laptop: they hold records, enforce types, limits and quotas, and
//! fail as the real ones do. The tests use them, and `sluice demo` shows a sync against one.
//!
//! Each is written from what its vendor documents, not from what the connector sends, and shares no code with it.
//! Nothing here talks to a real service, and no sync of a user ever comes here.

pub mod athena;
pub mod bigquery;
mod columns;
pub mod databricks;
mod exchange;
pub mod hubspot;
pub mod parquet;
mod recording;
pub mod redshift;
pub mod s3;
pub mod salesforce;
pub mod server;
mod settings;
mod signature;
pub mod snowflake;
pub mod sql;
