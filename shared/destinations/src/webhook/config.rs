//! The settings of a webhook: of the connection, and of a sync that writes to it.

use std::collections::BTreeMap;

use domain::clock::Span;
use domain::config::{RateLimit, Secret, Setting};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use clients::http::status::Statuses;

/// A connection to a webhook.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where to send records. May hold references and, after the host, templates: `{{field}}` of the record
    /// (then every request carries one record), `{{$sync}}`, `{{$operation}}`, `{{$id}}` (the webhook-id).
    pub url: Setting,
    /// Default POST.
    #[serde(default)]
    pub method: Verb,
    /// Headers of every request; values may hold references and the same templates as `url`. A header that
    /// carries credentials (`authorization`, `x-api-key` …) must be a reference.
    #[serde(default)]
    pub headers: BTreeMap<String, Setting>,
    /// Sign requests as Standard Webhooks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign: Option<Sign>,
    /// The longest time for a request. Default 30 seconds.
    #[serde(default = "timeout_default")]
    pub timeout: Span,
    /// Allow addresses that are not public (loopback, private, link-local …). Default false.
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
    /// Requests in a time, over all writers. Default: as fast as it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<RateLimit>,
    /// Requests at once. Default 8.
    #[serde(default = "concurrency_default")]
    pub concurrency: usize,
    /// Most records in a request. Default 100, or 1 where the request can only carry one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<usize>,
    /// Most bytes of records in a request. Default 1 MiB.
    #[serde(default = "batch_bytes_default")]
    pub batch_bytes: usize,
    /// Statuses that mean something else here than usual.
    #[serde(default)]
    pub statuses: Statuses,
    /// The pause before the second attempt, where the destination names none. Default 1 second.
    #[serde(default = "retry_pause_default")]
    pub retry_pause: Span,
}

fn timeout_default() -> Span {
    Span::seconds(30)
}

fn concurrency_default() -> usize {
    8
}

fn batch_bytes_default() -> usize {
    1024 * 1024
}

fn retry_pause_default() -> Span {
    Span(domain::retry::FIRST_PAUSE)
}

/// How to sign.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sign {
    /// Secrets of the form `whsec_` + base64 of 24 to 64 bytes. Several while one is being replaced: each signs.
    pub secrets: Vec<Secret>,
}

/// A request method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verb {
    /// POST
    #[default]
    Post,
    /// PUT
    Put,
    /// PATCH
    Patch,
    /// DELETE
    Delete,
}

impl From<Verb> for clients::http::Method {
    fn from(verb: Verb) -> Self {
        match verb {
            Verb::Post => Self::POST,
            Verb::Put => Self::PUT,
            Verb::Patch => Self::PATCH,
            Verb::Delete => Self::DELETE,
        }
    }
}

/// What a sync may say about its webhook (`destination.options`). The sync's `destination.object`, if any, is
/// a path appended to the connection's `url`; it may hold the same templates.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Instead of the connection's method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<Verb>,
    /// How deletes are sent, where they differ (mode mirror).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delete: Option<DeleteOptions>,
    /// What a request's body looks like.
    pub body: BodyTemplate,
    /// Where the response tells what became of each record. Without it a good status accepts all, unless the response
    /// says no: 207, a page of HTML, `"success": false`, an `error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub results: Option<Results>,
}

/// How deletes are sent. A request with method DELETE that carries one record has no body.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeleteOptions {
    /// Instead of the method of other records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<Verb>,
    /// A path appended to the connection's `url`, instead of `destination.object`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// What a request's body looks like.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "a body is `records`, `array`, `lines`, `object`, or a JSON object with placeholders such as `\"$records\"`"
)]
pub enum BodyTemplate {
    /// One of the usual shapes.
    Shape(BodyShape),
    /// A JSON object in which the texts `$records`, `$fields` (one record per request), `$id` (the webhook-id),
    /// `$operation` and `$sync` are replaced.
    Custom(Map<String, Value>),
}

impl Default for BodyTemplate {
    fn default() -> Self {
        BodyTemplate::Shape(BodyShape::Records)
    }
}

/// The usual shapes of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BodyShape {
    /// `{"sync": …, "operation": "upsert", "records": [{"id": …, "key": …, "fields": {…}}]}`
    #[default]
    Records,
    /// `[{fields}, …]`
    Array,
    /// One `{fields}` to a line.
    Lines,
    /// `{fields}`, one record per request.
    Object,
}

/// Where the response tells what became of each record. Pointers are JSON pointers (RFC 6901).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Results {
    /// To the array of results; with one record to a request also to its one result. Default `/results`.
    pub pointer: String,
    /// Within a result, to its status. Default `/status`.
    pub status: String,
    /// Statuses that accept the record, compared as text. Default ok, accepted, success, created, updated, deleted,
    /// true.
    pub ok: Vec<String>,
    /// Statuses that ask to send the record again. Default retry.
    pub retry: Vec<String>,
    /// Within a result, to what is wrong: a text, or an object with a message. Default `/error`.
    pub error: String,
    /// Within a result, to the `id` that the record was sent with. Without it the order of the results is the
    /// order of the records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Within a result, to the place of its record in the request, from 0. Then the array holds what failed: a record
    /// that it does not name is accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
}

impl Default for Results {
    fn default() -> Self {
        let words = |all: &[&str]| all.iter().map(|w| (*w).to_owned()).collect();
        Self {
            pointer: "/results".into(),
            status: "/status".into(),
            ok: words(&["ok", "accepted", "success", "created", "updated", "deleted", "true"]),
            retry: words(&["retry"]),
            error: "/error".into(),
            id: None,
            index: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let config: Config = serde_json::from_value(json!({"url": "https://h.test/"})).unwrap();
        assert_eq!(
            (config.timeout, config.concurrency, config.batch_size, config.batch_bytes),
            (Span::seconds(30), 8, None, 1_048_576)
        );
        assert_eq!((config.method, config.allow_private, config.retry_pause), (Verb::Post, false, Span::seconds(1)));
        let options: Options = serde_json::from_value(json!({})).unwrap();
        assert!(matches!(options.body, BodyTemplate::Shape(BodyShape::Records)) && options.results.is_none());
    }

    #[test]
    fn a_mistake_is_named() {
        for (options, part) in [
            (json!({"body": "xml"}), "`records`, `array`, `lines`, `object`"),
            (json!({"boddy": "records"}), "unknown field `boddy`"),
            (json!({"method": "GET"}), "unknown variant `GET`"),
            (json!({"results": {"ids": "/id"}}), "unknown field `ids`"),
        ] {
            let error = serde_json::from_value::<Options>(options).unwrap_err().to_string();
            assert!(error.contains(part), "`{part}` is not in: {error}");
        }
        let error =
            serde_json::from_value::<Config>(json!({"url": "https://h.test/", "sign": {"secrets": ["whsec_x"]}}))
                .unwrap_err()
                .to_string();
        assert!(error.contains("must be a reference") && !error.contains("whsec_x"), "{error}");
    }
}
