//! The settings of a Salesforce connection, and of a sync that writes to it.

use domain::clock::Span;
use domain::config::{RateLimit, Secret, Setting};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A connection to a Salesforce org.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The org's My Domain address, such as `https://acme.my.salesforce.com`. Tokens are asked for there; everything
    /// else goes to the address that comes with the token.
    pub domain: Setting,
    /// How to get a token.
    pub auth: Auth,
    /// The version of the API, such as `v67.0`.
    #[serde(default = "api_version_default")]
    pub api_version: String,
    /// The longest time for a request. Default 2 minutes.
    #[serde(default = "timeout_default")]
    pub timeout: Span,
    /// Allow addresses that are not public. Default false.
    #[serde(default)]
    pub allow_private: bool,
    /// Certificates in PEM that are trusted besides the system's: those of an authority of your own. May be a
    /// reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<Setting>,
    /// By reference, in PEM one after the other: a certificate to show, those between it and its authority, its private
    /// key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<Secret>,
    /// Requests in a time, over all writers. Default: as fast as it answers; the day's limit is Salesforce's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<RateLimit>,
    /// Requests at once. Default 4: an org for developers allows 5 that take long.
    #[serde(default = "concurrency_default")]
    pub concurrency: usize,
    /// Most records in a request, 1 to 200. Default 200.
    #[serde(default = "batch_size_default")]
    #[schemars(range(min = 1, max = 200))]
    pub batch_size: usize,
    /// A plan of more records than this goes by Bulk API 2.0 jobs. Default 2,000.
    #[serde(default = "jobs_above_default")]
    pub jobs_above: u64,
    /// Most records in a job. Default 5,000.
    #[serde(default = "job_records_default")]
    #[schemars(range(min = 1, max = 100_000))]
    pub job_records: usize,
    /// How often to ask for a job. Default 5 seconds.
    #[serde(default = "job_poll_default")]
    pub job_poll: Span,
    /// Requests of the day that are left to others: a plan that would not leave them is not started, and a run that
    /// finds fewer left stops. Default 0.
    #[serde(default)]
    pub keep_requests: u64,
    /// How long nobody sends once the day's requests are used up; they come back over 24 hours. Default 1 hour.
    #[serde(default = "limit_pause_default")]
    pub limit_pause: Span,
    /// The pause before the second attempt. Default 1 second.
    #[serde(default = "retry_pause_default")]
    pub retry_pause: Span,
}

fn api_version_default() -> String {
    "v67.0".to_owned()
}

fn timeout_default() -> Span {
    Span::seconds(120)
}

fn concurrency_default() -> usize {
    4
}

fn batch_size_default() -> usize {
    200
}

fn jobs_above_default() -> u64 {
    2_000
}

fn job_records_default() -> usize {
    5_000
}

fn job_poll_default() -> Span {
    Span::seconds(5)
}

fn limit_pause_default() -> Span {
    Span::seconds(3_600)
}

fn retry_pause_default() -> Span {
    Span(domain::retry::FIRST_PAUSE)
}

/// How to get a token.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Auth {
    /// OAuth client credentials of an external client app with a user to run as.
    ClientCredentials {
        /// The consumer key.
        client_id: Setting,
        /// The consumer secret.
        client_secret: Secret,
    },
    /// OAuth JWT bearer: an assertion signed with the app's private key.
    JwtBearer {
        /// The consumer key.
        client_id: Setting,
        /// The user to work as.
        username: Setting,
        /// The RSA private key as PEM; line breaks may be written as `\n`.
        private_key: Secret,
        /// Whom the assertion is for. Default `https://login.salesforce.com`; `https://test.salesforce.com` for a
        /// sandbox.
        #[serde(default = "audience_default")]
        audience: String,
    },
}

fn audience_default() -> String {
    "https://login.salesforce.com".to_owned()
}

/// What a sync may say (`destination.options`). Its `destination.object` is the API name of an sObject.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Save records although a duplicate rule alerts (`DUPLICATES_DETECTED`). Default false. Not for jobs.
    pub allow_duplicates: bool,
    /// Let assignment rules of leads and cases fire. Default false. Not for jobs.
    pub assignment_rules: bool,
    /// The field by which records of a job are sorted, so that those with one parent do not lock each other out.
    /// Default: the first lookup of the mapping.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sort_by: Option<String>,
}
