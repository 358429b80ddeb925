//! The settings of Slack: of the connection, and of a sync that writes to it.

use domain::clock::Span;
use domain::config::{RateLimit, Secret, Setting};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A connection to Slack: either `token` or `webhook_url`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The token of a bot (`chat.postMessage`); the sync's `destination.object` is then the channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// The address of an incoming webhook; it knows its channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_url: Option<Secret>,
    /// Where the API is. Default `https://slack.com/api`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_url: Option<Setting>,
    /// The longest time for a request. Default 30 seconds.
    #[serde(default = "timeout_default")]
    pub timeout: Span,
    /// Messages in a time, over all writers. Default one a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<RateLimit>,
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
}

fn timeout_default() -> Span {
    Span::seconds(30)
}

/// What a sync says about its messages (`destination.options`).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The message, with `{{field}}` of the record, `{{$sync}}` and `{{$id}}`. With `blocks` it is what notifications
    /// show.
    pub text: String,
    /// Blocks as Slack documents them; every text in them may hold the same templates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks: Option<Vec<Value>>,
    /// Show previews of links. Default: as Slack does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfurl_links: Option<bool>,
    /// What to do when nobody knows whether a message arrived. Default hold.
    #[serde(default)]
    pub when_unsure: WhenUnsure,
}

/// What to do when nobody knows whether a message arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenUnsure {
    /// Reject it as `unknown_outcome` and hold it until a person lets it go: at most once.
    #[default]
    Hold,
    /// Send it again: at least once.
    SendAgain,
}
