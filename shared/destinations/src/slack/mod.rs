//! Slack: one message for each added record.
//!
//! - *What it writes*: a message to one channel for every record: text, and blocks if you like, with the record's
//!   fields in them. Values are escaped (`&`, `<`, `>`), so that no value can mention anybody or be a link. It does not
//!   edit or delete messages, answer in threads, upload files, or write to a channel that a field of the record names;
//!   the marks of Slack's own format (`*`, `_`, `~`) in a value are left as they are.
//! - *Auth*: the token of a bot with the scope `chat:write` (and `channels:read`, `groups:read` for preflight to look
//!   at the channel), or the address of an incoming webhook; both by reference.
//! - *Modes*: append. A message that was sent stays as it is, whatever becomes of the record.
//! - *Limits*: one message to a request, one request a second over all writers of the connection (Slack allows about
//!   one a second to a channel), text to 40,000 characters, 50 blocks; `Retry-After` is kept to.
//! - *Per-record errors*: `ok: false` is a failure, whatever the status. What is wrong with the message rejects the
//!   record; what is wrong with the token or the channel stops the run.
//! - *Idempotency*: none: Slack takes a message twice. So when nobody knows whether a message arrived (no answer in
//!   time, a broken connection, `internal_error`, `fatal_error`, an answer that cannot be read) it is not sent again:
//!   the record is rejected as `unknown_outcome` and held until a person lets it go with `sluice dead-letters retry`,
//!   or sent again if `when_unsure: send_again` says so. Without a connection nothing was sent, and it is tried again.
//!   The worst duplicate is the one message that Slack took while our own process was killed.
//! - *API version and sources*: Web API `chat.postMessage`, `auth.test`, `conversations.info`, and incoming webhooks,
//!   as documented on api.slack.com in 2026-11; the API has no versions.

mod classify;
pub mod client;
pub mod config;
mod encode;
mod preflight;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::batch::WriteBatch;
use domain::clock::Span;
use domain::config::{self as settings, RateLimit};
use domain::destination_schema::DestinationSchema;
use domain::fault::{Code, Fault};
use domain::mode::Mode;
use domain::outcome::{Outcome, WriteError};
use domain::ports::{Destination, DestinationEntry, Limits, OpenArgs, OpenFuture, PreflightRequest};
use domain::sync::Target;
use serde::Deserialize as _;
use serde_json::Value;

use self::client::{Client, SlackSettings};
use self::config::{Config, Options};
use self::encode::SlackMessage;
use crate::template::RecordFacts;

pub const ENTRY: DestinationEntry = DestinationEntry {
    name: "slack",
    about: "a message to a channel for each added record",
    modes,
    open,
    schema: || schemars::schema_for!(Config),
    options_schema: || schemars::schema_for!(Options),
};

/// About what Slack allows to a channel.
const RATE: RateLimit = RateLimit { requests: 1, per: Span::seconds(1) };
/// Most bytes of a record; a message is much shorter.
const RECORD_BYTES: usize = 256 * 1024;

fn modes(mode: Mode) -> Result<(), &'static str> {
    match mode {
        Mode::Append => Ok(()),
        Mode::Upsert | Mode::Update | Mode::Mirror => {
            Err("a message is sent once and not changed afterwards; use mode append")
        }
    }
}

fn open<'a>(opening: OpenArgs<'a>, target: &'a Target) -> OpenFuture<'a, dyn Destination> {
    Box::pin(async move {
        let slack: Arc<dyn Destination> = Arc::new(SlackDestination::open(opening, target).await?);
        Ok(slack)
    })
}

/// An open connection for one sync.
#[derive(Debug)]
struct SlackDestination {
    /// `connection NAME`.
    about: String,
    client: Client,
    message: SlackMessage,
    rate: RateLimit,
    send_again: bool,
}

impl SlackDestination {
    async fn open(opening: OpenArgs<'_>, target: &Target) -> Result<Self, Fault> {
        let about = format!("connection {}", opening.name);
        let config: Config = settings::read(&about, opening.config)?;
        let sync_invalid = |what: String| Fault::new(Code::SyncInvalid, format!("destination.options: {what}."));
        let options =
            Options::deserialize(Value::Object(target.options.clone())).map_err(|e| sync_invalid(e.to_string()))?;
        let message = SlackMessage::new(&options).map_err(sync_invalid)?;
        if config.rate.is_some_and(|r| r.requests == 0 || r.per.0.is_zero()) {
            return Err(Fault::new(Code::ConnectionInvalid, format!("{about}: `rate` must be more than 0.")));
        }
        let channel = Some(target.object.as_str()).filter(|object| !object.is_empty());
        match (&config.token, channel) {
            (Some(_), None) => {
                let what = format!("{about} has a bot's token, so the sync must name the channel.");
                return Err(Fault::new(Code::SyncInvalid, what)
                    .with_next("set `destination.object` to the channel, as `C0123456789` or `#name`"));
            }
            (None, Some(_)) => {
                let what = format!(
                    "{about} is an incoming webhook, which knows its channel, so `destination.object` has no meaning."
                );
                return Err(Fault::new(Code::SyncInvalid, what)
                    .with_next("leave `destination.object` out, or use a bot's token"));
            }
            _ => {}
        }
        let settings = SlackSettings {
            token: config.token.as_ref(),
            webhook_url: config.webhook_url.as_ref(),
            channel,
            api_url: config.api_url.as_ref(),
            timeout: config.timeout.0,
            allow_private: config.allow_private,
            ca: config.ca.as_ref(),
            client_certificate: config.client_certificate.as_ref(),
            clock: Arc::clone(opening.clock),
        };
        let client = Client::open(&about, settings, opening.secrets).await?;
        Ok(Self {
            about,
            client,
            message,
            rate: config.rate.unwrap_or(RATE),
            send_again: options.when_unsure == config::WhenUnsure::SendAgain,
        })
    }
}

#[async_trait]
impl Destination for SlackDestination {
    fn limits(&self) -> Limits {
        Limits {
            batch_records: 1,
            batch_bytes: RECORD_BYTES,
            concurrency: 1,
            rate: Some(self.rate),
            first_pause: Duration::from_secs(1),
        }
    }

    async fn place(&self) -> Result<String, Fault> {
        Ok(self.client.place().await)
    }

    async fn preflight(&self, need: PreflightRequest<'_>) -> Result<DestinationSchema, Fault> {
        let mut findings = self.message.findings(need, &self.about);
        findings.extend(preflight::look(&self.client, &self.about).await?);
        Ok(DestinationSchema { fields: None, findings })
    }

    async fn write(&self, batch: &WriteBatch<'_>) -> Result<Vec<Outcome>, WriteError> {
        let [record] = batch.records else {
            return Err(WriteError::Refused {
                code: "one_record_per_request".into(),
                detail: "a request carries one message".into(),
            });
        };
        let id = record.stable_id(batch.sync);
        let facts =
            RecordFacts { sync: batch.sync, operation: batch.op, id: &id, record: Some((batch.layout, record.fields)) };
        let body = match self.message.render(&facts) {
            Ok(body) => body,
            Err((code, detail)) => return Ok(vec![Outcome::rejected(code, detail)]),
        };
        match self.client.post(body).await {
            Ok(posted) => classify::outcome(posted, self.send_again).map(|outcome| vec![outcome]),
            Err(error) => classify::unsent(error, self.send_again).map(|outcome| vec![outcome]),
        }
    }
}
