//! The settings of an Athena connection.

use domain::clock::Span;
use domain::config::Setting;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::aws_login::AwsKeys;

/// A connection to Amazon Athena: as the AWS role that the process runs as. Results are written to S3 and read from there.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The workgroup, which sets limits and is charged. Default `primary`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workgroup: Option<Setting>,
    /// Database of names without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Setting>,
    /// Catalog of names without one. Default `AwsDataCatalog`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog: Option<Setting>,
    /// Where results are written: `s3://BUCKET/PREFIX/`. They are deleted after each read.
    pub output: Setting,
    /// AWS credentials to ask with. Default: those of the environment, or of the function's role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<AwsKeys>,
    /// The region. Default: `AWS_REGION`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Setting>,
    /// How long one statement may take, waiting in the queue included. Default 15 minutes.
    #[serde(default = "statement_timeout_default")]
    pub statement_timeout: Span,
    /// The longest time for an answer. Default 60 seconds.
    #[serde(default = "timeout_default")]
    pub timeout: Span,
    /// Where Athena is. Default `https://athena.REGION.amazonaws.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<Setting>,
    /// Where S3 is, with buckets as the first part of a path. Default: AWS's own addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3_url: Option<Setting>,
    /// Allow addresses that are not public (VPC endpoints). Default false.
    #[serde(default)]
    pub allow_private: bool,
    /// The pause before a request is sent again, growing. Default 1 second.
    #[serde(default = "retry_pause_default")]
    pub retry_pause: Span,
}

fn statement_timeout_default() -> Span {
    Span::seconds(900)
}

fn timeout_default() -> Span {
    Span::seconds(60)
}

fn retry_pause_default() -> Span {
    Span::seconds(1)
}
