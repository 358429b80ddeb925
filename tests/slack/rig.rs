//! Slack as a destination, connected to the double.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use domain::batch::{BatchRecord, WriteBatch};
use domain::cells::{self, Cells};
use domain::config::Reference;
use domain::config::SecretSource;
use domain::fault::{Code, Fault};
use domain::key::{KeyHash, checksum};
use domain::layout::{Field, Layout};
use domain::mode::Op;
use domain::outcome::{Outcome, WriteError};
use domain::ports::{Destination, OpenArgs, SystemClock};
use domain::sync::Target;
use domain::value::{Type, Value as Cell};
use serde_json::{Value, json};
use support::slack::{SlackDouble, TOKEN};

/// Knows the bot's token and the webhook's address.
pub struct Secrets(pub String);

#[async_trait]
impl SecretSource for Secrets {
    async fn get(&self, reference: &Reference) -> Result<String, Fault> {
        match reference {
            Reference::Env(name) if name == "TOKEN" => Ok(TOKEN.into()),
            Reference::Env(name) if name == "WRONG" => Ok("planted-wrong-token".into()),
            Reference::Env(name) if name == "HOOK" => Ok(self.0.clone()),
            other => Err(Fault::new(Code::SecretMissing, format!("{other} is not there."))),
        }
    }
}

async fn open(slack: &SlackDouble, config: Value, channel: &str, options: Value) -> Arc<dyn Destination> {
    let mut whole = json!({ "allow_private": true, "timeout": "5s" });
    whole.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
    let target =
        Target { connection: "team".into(), object: channel.into(), options: options.as_object().unwrap().clone() };
    let entry = destinations::find("slack").unwrap();
    let secrets = Secrets(slack.hook());
    (entry.open)(
        OpenArgs {
            name: "team",
            config: &whole,
            folder: Path::new("."),
            secrets: &secrets,
            clock: &SystemClock::shared(),
        },
        &target,
    )
    .await
    .unwrap()
}

/// A bot that posts the record's id to a channel.
pub async fn bot(slack: &SlackDouble, channel: &str, options: Value) -> Arc<dyn Destination> {
    bot_with(slack, channel, options, "TOKEN", "5s").await
}

/// The same with another token and another time limit.
pub async fn bot_with(
    slack: &SlackDouble,
    channel: &str,
    options: Value,
    token: &str,
    timeout: &str,
) -> Arc<dyn Destination> {
    let mut all = json!({ "text": "new: {{id}}" });
    all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    open(
        slack,
        json!({ "token": format!("${{env:{token}}}"), "api_url": slack.api(), "timeout": timeout }),
        channel,
        all,
    )
    .await
}

pub async fn hook(slack: &SlackDouble) -> Arc<dyn Destination> {
    open(slack, json!({ "webhook_url": "${env:HOOK}" }), "", json!({ "text": "new: {{id}}" })).await
}

/// Posts one record with this id.
pub async fn post(to: &dyn Destination, id: &str) -> Result<Outcome, WriteError> {
    let layout = Layout::new(vec![Field { name: "id".into(), kind: Type::Any, identifier: true }]);
    let mut fields = Vec::new();
    cells::push(&mut fields, Cell::Text(id));
    let (hash, checksum) = (KeyHash::of(&fields), checksum(&fields, layout.seed()));
    let record = BatchRecord {
        hash,
        checksum,
        revision: 0,
        had_failure: false,
        record_id: None,
        key: Cells(&fields),
        fields: Cells(&fields),
    };
    let outcomes =
        to.write(&WriteBatch { sync: "signups", op: Op::Append, layout: &layout, records: &[record] }).await?;
    assert_eq!(outcomes.len(), 1, "exactly one outcome for every record");
    Ok(outcomes.into_iter().next().unwrap())
}
