//! Tells an alert to a topic of SNS: the text for people, and the facts that a subscription may filter by.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_sns::types::MessageAttributeValue;
use domain::fault::{Code, Fault};
use domain::monitoring::alert::Alert;
use domain::ports::Notifier;

use crate::clients::Clients;
use crate::failure::{AwsFailure, AwsFailureKind};

/// The longest subject that SNS takes, in characters.
const SUBJECT: usize = 100;
/// The longest message that is sent, in bytes; SNS takes 256 KiB.
const MESSAGE: usize = 32 * 1024;

pub struct SnsNotifier {
    client: aws_sdk_sns::Client,
    topic: String,
    name: String,
}

impl SnsNotifier {
    /// The topic of this ARN; `name` is the notifier's, see [`Notifier::name`].
    pub fn new(clients: &Clients, topic: &str, name: &str) -> Self {
        Self { client: clients.sns(), topic: topic.to_owned(), name: name.to_owned() }
    }

    fn fault(&self, failure: &AwsFailure) -> Fault {
        // SNS says so of an ARN that names no topic, or one of another region.
        let misnamed = failure.code.contains("InvalidParameter");
        let (code, next) = match failure.kind {
            AwsFailureKind::Denied => (
                Code::DestinationUnauthorized,
                "allow the function sns:Publish on this topic, in its role and in the topic's policy",
            ),
            AwsFailureKind::Key => (
                Code::DestinationUnauthorized,
                "allow the function kms:GenerateDataKey and kms:Decrypt with the key of this topic",
            ),
            AwsFailureKind::Missing => (
                Code::DestinationMisconfigured,
                "create the topic, or name another one in `alerts`; then apply the sync again",
            ),
            _ if misnamed => (
                Code::DestinationMisconfigured,
                "write the whole ARN of a topic in the stack's region into `alerts`; then apply the sync again",
            ),
            _ => (Code::DestinationUnreachable, "nothing to do if it passes: it is told after the next run"),
        };
        Fault::new(code, format!("The topic {} takes no message: {failure}.", self.topic)).with_next(next)
    }
}

#[async_trait]
impl Notifier for SnsNotifier {
    fn name(&self) -> &str {
        &self.name
    }

    async fn notify(&self, alert: &Alert) -> Result<(), Fault> {
        let mut request = self
            .client
            .publish()
            .topic_arn(&self.topic)
            .subject(subject(&alert.title))
            .message(cut(&alert.text(), MESSAGE));
        for (name, value) in attributes(alert) {
            let value = MessageAttributeValue::builder().data_type("String").string_value(value).build();
            let value = value.map_err(|_| Fault::new(Code::Internal, "An attribute of an alert has no type."))?;
            request = request.message_attributes(name, value);
        }
        request.send().await.map(drop).map_err(|error| self.fault(&AwsFailure::of(&error)))
    }
}

/// Makes a notifier of every topic that settings name; one without an ARN is `own`, the stack's, where it has one.
pub fn topics(
    clients: &Clients,
    own: Option<String>,
) -> impl Fn(Option<&str>, String) -> Option<Arc<dyn Notifier>> + Sync + use<> {
    let client = clients.sns();
    move |topic, name| {
        let topic = topic.map(str::to_owned).or_else(|| own.clone())?;
        Some(Arc::new(SnsNotifier { client: client.clone(), topic, name }))
    }
}

/// What a subscription may filter by.
fn attributes(alert: &Alert) -> [(&'static str, String); 4] {
    // A word each, as JSON has it.
    let word = |value: serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let json = alert.json();
    [
        ("sync", alert.sync.clone()),
        ("kind", word(json["kind"].clone())),
        ("severity", word(json["severity"].clone())),
        ("status", word(json["status"].clone())),
    ]
}

/// A subject: ASCII on one line, beginning with a letter, digit or punctuation.
fn subject(title: &str) -> String {
    let plain: String = title.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect();
    cut(plain.trim(), SUBJECT).to_owned()
}

/// At most so many bytes, cut between characters.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_short_plain_text_on_one_line() {
        assert_eq!(subject("Sync crm: failed (warehouse_unreachable)"), "Sync crm: failed (warehouse_unreachable)");
        assert_eq!(subject(" a\nb é "), "a?b ?");
        assert_eq!(subject(&"x".repeat(300)).len(), SUBJECT);
        assert_eq!(cut("aé", 2), "a");
    }
}
