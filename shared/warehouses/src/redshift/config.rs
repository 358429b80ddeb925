//! The settings of a Redshift connection.

use std::path::PathBuf;

use clients::DatabasePlace;
use clients::postgres::Tls;
use domain::clock::Span;
use domain::config::{Secret, Setting};
use domain::fault::Fault;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::aws_login::AwsKeys;

/// What only the Data API needs.
const OF_DATA_API: [&str; 12] = [
    "workgroup",
    "cluster",
    "db_user",
    "secret_arn",
    "credentials",
    "region",
    "unload",
    "timeout",
    "url",
    "s3_url",
    "allow_private",
    "retry_pause",
];
/// What only the protocol of PostgreSQL needs.
const OF_WIRE: [&str; 7] = ["host", "port", "user", "password", "tls", "ca_file", "connect_timeout"];

/// How Redshift is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RedshiftVia {
    /// Its Data API, as an AWS role.
    #[default]
    DataApi,
    /// The protocol of PostgreSQL, with a user and a password, from within its network.
    Wire,
}

/// A connection to Amazon Redshift. By its Data API: as the AWS role that the process runs as, without a network path to the
/// cluster; it names `workgroup` (serverless) or `cluster` (provisioned). With `via: wire`: `host`, `user` and `password`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How Redshift is spoken to. Default `data-api`.
    #[serde(default)]
    pub via: RedshiftVia,
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
    /// With `via: wire`: the host name of the endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Setting>,
    /// With `via: wire`: the port. Default 5439.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// With `via: wire`: the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Setting>,
    /// With `via: wire`: the password, as a reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// With `via: wire`: how the connection is encrypted. Default `verify-full`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// With `via: wire`: a PEM file with the certificates to trust in place of the system's. Relative to the folder of
    /// `connections.yaml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// With `via: wire`: how long connecting may take. Default 10 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_timeout: Option<Span>,
    /// The region. Default: `AWS_REGION`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Setting>,
    /// Reads all of a model by UNLOAD into S3 and from there, without a limit of size. Default: by pages of the Data API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unload: Option<UnloadSettings>,
    /// How long one statement may take. Default 10 minutes.
    #[serde(default = "statement_timeout_default")]
    pub statement_timeout: Span,
    /// The longest time for an answer of the Data API. Default 60 seconds.
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

impl RedshiftVia {
    /// Refuses settings of the other way.
    pub(super) fn check(self, place: &DatabasePlace, given: &serde_json::Value) -> Result<(), Fault> {
        let found = |of: &[&'static str]| of.iter().copied().find(|name| given.get(name).is_some());
        match (self, found(&OF_DATA_API), found(&OF_WIRE)) {
            (Self::Wire, Some(name), _) => Err(place.invalid(format!(
                "`{name}` is for the Data API; with `via: wire` leave it out, and give `host`, `user`, `password` and `database`."
            ))),
            (Self::DataApi, _, Some(name)) => Err(place.invalid(format!(
                "`{name}` is for the protocol of PostgreSQL; set `via: wire`, or leave it out and give `workgroup` or `cluster`."
            ))),
            _ => Ok(()),
        }
    }
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
