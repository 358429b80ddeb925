//! Tells an alert to a channel of Slack.

use std::sync::Arc;

use async_trait::async_trait;
use domain::alert_settings::SlackChannel;
use domain::config::SecretSource;
use domain::fault::{Code, Fault};
use domain::monitoring::alert::Alert;
use domain::ports::{Notifier, SystemClock};
use serde_json::{Map, json};

use super::TIMEOUT;
use crate::slack::client::{Client, SlackReply, SlackSettings, escape};

/// Slack recommends that a message be no longer.
const MAX_TEXT_CHARACTERS: usize = 4_000;

struct SlackNotifier {
    client: Client,
    name: String,
}

pub(super) async fn open(
    settings: &SlackChannel,
    name: String,
    secrets: &dyn SecretSource,
) -> Result<Arc<dyn Notifier>, Fault> {
    let settings = SlackSettings {
        token: settings.token.as_ref(),
        webhook_url: settings.webhook_url.as_ref(),
        channel: settings.channel.as_deref(),
        api_url: settings.api_url.as_ref(),
        timeout: TIMEOUT,
        allow_private: settings.allow_private,
        ca: None,
        client_certificate: None,
        clock: SystemClock::shared(),
    };
    let client = Client::open(&format!("alerts, {name}"), settings, secrets).await?;
    Ok(Arc::new(SlackNotifier { client, name }))
}

#[async_trait]
impl Notifier for SlackNotifier {
    fn name(&self) -> &str {
        &self.name
    }

    async fn notify(&self, alert: &Alert) -> Result<(), Fault> {
        let text = alert.text();
        let (title, rest) = text.split_once('\n').unwrap_or((&text, ""));
        let text: String = format!("*{title}*\n{rest}").chars().take(MAX_TEXT_CHARACTERS).collect();
        let body =
            Map::from_iter([("text".to_owned(), json!(escape(&text))), ("unfurl_links".to_owned(), json!(false))]);
        let posted = self.client.post(body).await?;
        match posted.said {
            SlackReply::Ok(_) => Ok(()),
            SlackReply::Failed(code, _) => Err(Fault::new(
                Code::DestinationMisconfigured,
                format!("Slack does not take the alert: {code} ({}).", posted.reply.status),
            )),
            SlackReply::Unreadable => Err(Fault::new(
                Code::DestinationUnreachable,
                format!("Slack gave an answer that cannot be read ({}).", posted.reply.status),
            )),
        }
    }
}
