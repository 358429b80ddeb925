//! The settings of a Databricks connection.

use domain::clock::Span;
use domain::config::{Secret, Setting};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A connection to a SQL warehouse of Databricks. It logs in by `oauth` (a service principal) or `token`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The workspace: `dbc-a1b2c3d4-e5f6.cloud.databricks.com`.
    pub host: Setting,
    /// The SQL warehouse, by its id or its HTTP path (`/sql/1.0/warehouses/ID`).
    pub warehouse: Setting,
    /// The catalog that unqualified names are of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog: Option<Setting>,
    /// The schema that unqualified names are of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Setting>,
    /// By reference: a personal access token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// A service principal with an OAuth secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth: Option<ServicePrincipal>,
    /// How long one statement may take, the warehouse's start included. Default 15 minutes.
    #[serde(default = "statement_timeout_default")]
    pub statement_timeout: Span,
    /// The longest time without a byte of an answer. Default 60 seconds.
    #[serde(default = "timeout_default")]
    pub timeout: Span,
    /// Chunks of a result that are fetched at once. Default 4.
    #[serde(default = "chunks_default")]
    pub chunks: usize,
    /// Allow addresses that are not public (Private Link). Default false.
    #[serde(default)]
    pub allow_private: bool,
    /// Certificates in PEM that are trusted besides the system's. May be a reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<Setting>,
    /// The pause before a request is sent again, growing. Default 1 second.
    #[serde(default = "retry_pause_default")]
    pub retry_pause: Span,
}

/// A service principal (OAuth machine to machine).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServicePrincipal {
    /// Its client id (the application id).
    pub client_id: Setting,
    /// By reference: an OAuth secret of it.
    pub client_secret: Secret,
}

fn statement_timeout_default() -> Span {
    Span::seconds(900)
}

fn timeout_default() -> Span {
    Span::seconds(60)
}

fn chunks_default() -> usize {
    4
}

fn retry_pause_default() -> Span {
    Span::seconds(1)
}
