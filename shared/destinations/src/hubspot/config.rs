//! The settings of a HubSpot connection, and of a sync that writes to it.

use domain::clock::Span;
use domain::config::{RateLimit, Secret, Setting};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most records in a request of the batch APIs.
pub(super) const MAX_INPUTS: usize = 100;

/// A connection to a HubSpot account. It has either `token` or `oauth`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// A service key, or the access token of a private app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// An OAuth app: access tokens are minted from its refresh token and renewed when they end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth: Option<OAuth>,
    /// The API's version: `v3`, or a date such as `2026-09`. Default `2026-09`.
    #[serde(default = "version_default")]
    pub version: String,
    /// Where the API is. Default `https://api.hubapi.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<Setting>,
    /// Requests in a time, over all writers. Default: 98 % of what HubSpot says with its answers, and of 100 in 10
    /// seconds (the lowest tier) until the first of them. Where both are known, the lower holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<RateLimit>,
    /// The account's time zone (an IANA name): the daily limit ends at its midnight. Default UTC.
    #[serde(default = "timezone_default")]
    pub timezone: String,
    /// The longest time for a request. Default 30 seconds.
    #[serde(default = "timeout_default")]
    pub timeout: Span,
    /// Requests at once. Default 10.
    #[serde(default = "concurrency_default")]
    pub concurrency: usize,
    /// Most records in a request, at most 100. Default 100.
    #[serde(default = "batch_size_default")]
    pub batch_size: usize,
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
    /// The pause before the second attempt, where HubSpot names none. Default 1 second.
    #[serde(default = "retry_pause_default")]
    pub retry_pause: Span,
}

/// An OAuth app that the account has installed.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OAuth {
    /// The app's client id.
    pub client_id: Setting,
    /// The app's client secret.
    pub client_secret: Secret,
    /// The refresh token of the installation.
    pub refresh_token: Secret,
    /// Where tokens are minted, on `url`. Default `/oauth/VERSION/token`, and `/oauth/v1/token` with version `v3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_path: Option<String>,
}

fn version_default() -> String {
    "2026-09".into()
}

/// What the default of `url` is.
pub(super) const URL: &str = "https://api.hubapi.com";

fn timezone_default() -> String {
    "UTC".into()
}

fn timeout_default() -> Span {
    Span::seconds(30)
}

fn concurrency_default() -> usize {
    10
}

fn batch_size_default() -> usize {
    MAX_INPUTS
}

fn retry_pause_default() -> Span {
    Span(domain::retry::FIRST_PAUSE)
}

/// What a sync may say about HubSpot (`destination.options`). The sync's `destination.object` is the object type:
/// `contacts`, `companies`, `deals`, or a custom object by its fully qualified name (`p123_cars`) or id (`2-456`).
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Links to records of other objects, made after the record itself was accepted. They are added, never removed.
    pub associations: Vec<Association>,
}

/// A link to a record of another object, found by a key.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Association {
    /// The mapped field that holds the other record's key: the mapping's `to`, a name that is no property of the
    /// object. A record in which it is null or left out gets no link.
    pub field: String,
    /// The other object's type: `companies`.
    pub to: String,
    /// The other object's unique property that the key is a value of: `domain` will not do, it is not unique;
    /// `hs_object_id` stands for its record id.
    pub by: String,
    /// The association's type id. Default: the one without a label, which HubSpot is asked for once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub type_id: Option<u64>,
    /// Whose type that is. Default `HUBSPOT_DEFINED`; a label of your own is `USER_DEFINED`.
    #[serde(default)]
    pub category: Category,
    /// What to do with a record whose other record is not there. Default `reject`.
    #[serde(default)]
    pub missing: Missing,
}

/// Who defined an association type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Category {
    /// HubSpot.
    #[default]
    HubspotDefined,
    /// A user of the account.
    UserDefined,
    /// An app.
    IntegratorDefined,
}

/// What to do with a record whose other record is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// It is rejected and not written, and tried again later as every rejected record is.
    #[default]
    Reject,
    /// It is written without the link.
    Ignore,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let config: Config = serde_json::from_value(json!({ "token": "${env:HUBSPOT}" })).unwrap();
        assert_eq!((config.version.as_str(), config.url, config.timezone.as_str()), ("2026-09", None, "UTC"));
        assert_eq!(
            (config.timeout, config.concurrency, config.batch_size, config.allow_private),
            (Span::seconds(30), 10, 100, false)
        );
        let one: Association =
            serde_json::from_value(json!({ "field": "company", "to": "companies", "by": "crm_id" })).unwrap();
        assert_eq!((one.category, one.missing, one.type_id), (Category::HubspotDefined, Missing::Reject, None));
        assert_eq!(serde_json::to_value(one.category).unwrap(), "HUBSPOT_DEFINED");
    }

    #[test]
    fn a_token_in_the_file_is_refused() {
        let error = serde_json::from_value::<Config>(json!({ "token": "planted-secret" })).unwrap_err().to_string();
        assert!(error.contains("must be a reference") && !error.contains("planted"), "{error}");
    }
}
