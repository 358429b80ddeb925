//! The settings of a Snowflake connection.

use std::path::PathBuf;

use domain::clock::Span;
use domain::config::{Secret, Setting};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A connection to Snowflake. It logs in by one of: `private_key` or `private_key_file` (with `user`), `token`, `oauth`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The account's identifier, as in its URL: `ORGANISATION-ACCOUNT`, or a locator with its region
    /// (`xy12345.eu-central-1`).
    pub account: Setting,
    /// With a key: the user whose public key it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Setting>,
    /// By reference: the user's RSA key in PEM (PKCS#8, encrypted or not; or PKCS#1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key: Option<Secret>,
    /// The file of the key. Relative to the folder of `connections.yaml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key_file: Option<PathBuf>,
    /// By reference: the passphrase of an encrypted key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key_passphrase: Option<Secret>,
    /// By reference: a programmatic access token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// Access tokens of an OAuth integration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth: Option<SnowflakeOAuth>,
    /// The role to read as. Default: the user's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Setting>,
    /// The virtual warehouse that computes. Default: the user's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warehouse: Option<Setting>,
    /// The database that unqualified names are of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Setting>,
    /// The schema that unqualified names are of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Setting>,
    /// How long one statement may take. Default 10 minutes.
    #[serde(default = "statement_timeout_default")]
    pub statement_timeout: Span,
    /// The longest time without a byte of an answer. Default 60 seconds.
    #[serde(default = "timeout_default")]
    pub timeout: Span,
    /// Partitions of a result that are fetched at once. Default 4.
    #[serde(default = "partitions_default")]
    pub partitions: usize,
    /// Where the account is. Default `https://ACCOUNT.snowflakecomputing.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<Setting>,
    /// Allow addresses that are not public (AWS PrivateLink). Default false.
    #[serde(default)]
    pub allow_private: bool,
    /// Certificates in PEM that are trusted besides the system's. May be a reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<Setting>,
    /// The pause before a request is sent again, growing. Default 1 second.
    #[serde(default = "retry_pause_default")]
    pub retry_pause: Span,
}

/// Where access tokens come from: one that is given, or minted ones.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SnowflakeOAuth {
    /// By reference: an access token, where something else renews it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token: Option<Secret>,
    /// Where tokens are minted. Default: Snowflake's own, `/oauth/token-request` on the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_url: Option<Setting>,
    /// The client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<Setting>,
    /// By reference: its secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<Secret>,
    /// By reference: a refresh token (grant `refresh_token`). Without one the grant is `client_credentials`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<Secret>,
    /// The scope to ask for, such as `session:role:READER`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Setting>,
}

fn statement_timeout_default() -> Span {
    Span::seconds(600)
}

fn timeout_default() -> Span {
    Span::seconds(60)
}

fn partitions_default() -> usize {
    4
}

fn retry_pause_default() -> Span {
    Span::seconds(1)
}
