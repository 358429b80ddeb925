//! The settings of a Redshift connection.

use domain::clock::Span;
use domain::config::Setting;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::aws_login::AwsKeys;

/// A connection to Amazon Redshift by its Data API: as the AWS role that the process runs as, without a network path to the
/// cluster. It names `workgroup` (serverless) or `cluster` (provisioned).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// A serverless workgroup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workgroup: Option<Setting>,
    /// A provisioned cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Setting>,
    /// With `cluster`: the database user to be. Default: the one of the IAM identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub db_user: Option<Setting>,
    /// The ARN of a secret in Secrets Manager with the user and password, in place of IAM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_arn: Option<Setting>,
    /// AWS credentials to ask with. Default: those of the environment, or of the function's role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<AwsKeys>,
    /// Database.
    pub database: Setting,
    /// The region. Default: `AWS_REGION`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Setting>,
    /// Reads all of a model by UNLOAD into S3 and from there, without a limit of size. Default: by pages of the Data API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unload: Option<UnloadSettings>,
    /// How long one statement may take. Default 10 minutes.
    #[serde(default = "statement_timeout_default")]
    pub statement_timeout: Span,
    /// The longest time for an answer. Default 60 seconds.
    #[serde(default = "timeout_default")]
    pub timeout: Span,
    /// Where the Data API is. Default `https://redshift-data.REGION.amazonaws.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<Setting>,
    /// With `unload`: where S3 is, with buckets as the first part of a path. Default: AWS's own addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3_url: Option<Setting>,
    /// Allow addresses that are not public (VPC endpoints). Default false.
    #[serde(default)]
    pub allow_private: bool,
    /// The pause before a request is sent again, growing. Default 1 second.
    #[serde(default = "retry_pause_default")]
    pub retry_pause: Span,
}

/// How results are unloaded.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UnloadSettings {
    /// Where results are written: `s3://BUCKET/PREFIX/`, in the region of the connection. They are deleted after each read.
    pub to: Setting,
    /// The ARN of the role that Redshift writes there as, or `default`: the default role of the cluster or namespace.
    pub role: Setting,
}

fn statement_timeout_default() -> Span {
    Span::seconds(600)
}

fn timeout_default() -> Span {
    Span::seconds(60)
}

fn retry_pause_default() -> Span {
    Span::seconds(1)
}
