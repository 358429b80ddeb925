//! The settings of a BigQuery connection.

use std::collections::BTreeMap;

use domain::clock::Span;
use domain::config::{Secret, Setting};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A connection to BigQuery. It logs in by one of `service_account`, `workload_identity` and `access_token`; an emulator at
/// `url` needs none.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The project that runs the queries, and pays for them.
    pub project: Setting,
    /// The dataset that unqualified names are of: `DATASET`, or `PROJECT.DATASET`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<Setting>,
    /// Where queries run, such as `EU` or `europe-west4`. Default: where the tables are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Setting>,
    /// By reference: the key of a service account, the JSON file as Google gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<Secret>,
    /// No key to keep: Google trusts the AWS role that the process runs as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_identity: Option<WorkloadIdentity>,
    /// By reference: an access token that something else renews.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token: Option<Secret>,
    /// A query that would be billed for more bytes is refused, and costs nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum_bytes_billed: Option<u64>,
    /// Labels of every job, beyond `app`, `sync` and `run`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// How results are read: by the Storage Read API (Arrow, several streams) or page by page. Default `auto`.
    #[serde(default)]
    pub read_api: ReadApi,
    /// Rows of a page where a result is read page by page. Default 20,000.
    #[serde(default = "page_default")]
    pub page_rows: u64,
    /// Pages, or streams of the Storage Read API, that are read at once. Default 4.
    #[serde(default = "pages_default")]
    pub pages: usize,
    /// How long one query may take. Default 10 minutes.
    #[serde(default = "statement_timeout_default")]
    pub statement_timeout: Span,
    /// The longest time for an answer. Default 60 seconds.
    #[serde(default = "timeout_default")]
    pub timeout: Span,
    /// Where the API is. Default `https://bigquery.googleapis.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<Setting>,
    /// Where the Storage Read API is. Default `https://bigquerystorage.googleapis.com`; none where `url` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_url: Option<Setting>,
    /// Allow addresses that are not public. Default false.
    #[serde(default)]
    pub allow_private: bool,
    /// Certificates in PEM that are trusted besides the system's. May be a reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<Setting>,
    /// The pause before a request is sent again, growing. Default 1 second.
    #[serde(default = "retry_pause_default")]
    pub retry_pause: Span,
}

/// Which API gives out the rows of a result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReadApi {
    /// The Storage Read API for results of more than 50,000 rows, where the identity may use it; else the REST API.
    #[default]
    Auto,
    /// The Storage Read API for every result; a missing permission is a fault.
    Storage,
    /// The REST API, page by page.
    Rest,
}

/// Workload identity federation with AWS.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkloadIdentity {
    /// The provider: `//iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER`.
    pub audience: Setting,
    /// The service account to act as, by its address. Default: the identity itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<Setting>,
    /// Where tokens are exchanged. Default `https://sts.googleapis.com/v1/token`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_url: Option<Setting>,
    /// Where the service account's tokens are made. Default `https://iamcredentials.googleapis.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_url: Option<Setting>,
}

fn page_default() -> u64 {
    20_000
}

fn pages_default() -> usize {
    4
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
