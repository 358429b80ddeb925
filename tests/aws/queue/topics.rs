//! Alerts to a topic of SNS: told by the product's own channel, read from a queue that is subscribed to the topic.

use std::sync::Arc;

use async_trait::async_trait;
use domain::alert_settings::Alerts;
use domain::config::Reference;
use domain::config::SecretSource;
use domain::fault::{Code, Fault};
use domain::ports::Notifier;
use domain::ports::SystemClock;
use domain::run::Run;
use engine::notify::{Alerting, alert};
use serde_json::{Value, json};
use support::aws::{clients, name, queue};
use support::double::Behaviour;
use support::project::Project;
use support::proxy::{Harm, Proxy};

use super::*;

struct NoSecrets;

#[async_trait]
impl SecretSource for NoSecrets {
    async fn get(&self, reference: &Reference) -> Result<String, Fault> {
        Err(Fault::new(Code::SecretMissing, reference.to_string()))
    }
}

/// A fresh topic; its ARN.
async fn topic() -> String {
    clients().await.sns().create_topic().name(name("t")).send().await.unwrap().topic_arn.unwrap()
}

/// A queue that gets what the topic is told.
async fn subscribed(topic: &str) -> String {
    let (clients, url) = (clients().await, queue(LONG).await);
    let told =
        clients.sqs().get_queue_attributes().queue_url(&url).attribute_names("QueueArn".into()).send().await.unwrap();
    let arn = told.attributes.unwrap().remove(&"QueueArn".into()).unwrap();
    clients.sns().subscribe().topic_arn(topic).protocol("sqs").endpoint(arn).send().await.unwrap();
    url
}

/// The next envelope of the queue, waited for.
async fn envelope(url: &str) -> Value {
    let received = clients().await.sqs().receive_message().queue_url(url).wait_time_seconds(10).send().await.unwrap();
    let message = &received.messages()[0];
    clients()
        .await
        .sqs()
        .delete_message()
        .queue_url(url)
        .receipt_handle(message.receipt_handle().unwrap())
        .send()
        .await
        .unwrap();
    serde_json::from_str(message.body().unwrap()).unwrap()
}

/// The channels of these settings, as the functions open them.
async fn channels(settings: &Alerts, clients: &Clients, own: Option<String>) -> Vec<Arc<dyn Notifier>> {
    let (channels, faults) = destinations::alerts::open(settings, &NoSecrets, &aws::alerts::topics(clients, own)).await;
    assert!(faults.is_empty(), "{faults:?}");
    channels
}

fn settings(to: Value) -> Alerts {
    serde_json::from_value(json!({ "to": [to] })).unwrap()
}

/// A run whose destination refuses the credentials.
async fn refused(project: &Project) -> Run {
    project.double.answer(Behaviour::status(401));
    let run = project.run().await;
    project.double.recover();
    run
}

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn an_alert_carries_what_subscriptions_filter_by() {
    let topic = topic().await;
    let inbox = subscribed(&topic).await;
    // The stack's own topic, and one that is named.
    for (to, own) in [(json!({ "sns": {} }), Some(topic.clone())), (json!({ "sns": { "topic": topic } }), None)] {
        let (project, settings) = (Project::webhook(3), settings(to));
        let notifiers = channels(&settings, &clients().await, own).await;
        let alerting = Alerting {
            store: project.store().await,
            clock: Arc::new(SystemClock),
            settings,
            notifiers,
            stack: Some("prod".into()),
        };
        alert(&alerting, &refused(&project).await).await;
        let told = envelope(&inbox).await;
        assert_eq!(
            (&told["TopicArn"], &told["Subject"]),
            (&json!(topic), &json!("Sync crm: failed (destination_unauthorized)"))
        );
        let text = told["Message"].as_str().unwrap();
        assert!(text.contains("refuses the credentials") && text.contains("sluice runs crm --stack prod"), "{text}");
        let attribute = |told: &Value, name: &str| told["MessageAttributes"][name]["Value"].as_str().map(str::to_owned);
        let of = |told: &Value| ["sync", "kind", "severity", "status"].map(|name| attribute(told, name).unwrap());
        assert_eq!(of(&told), ["crm", "problem", "error", "failed"]);
        alert(&alerting, &project.run().await).await;
        let told = envelope(&inbox).await;
        assert_eq!(told["Subject"], "Sync crm: no longer failed");
        assert_eq!(of(&told), ["crm", "recovery", "resolved", "complete"]);
    }
}

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn a_topic_that_is_gone_or_denied_says_what_to_do() {
    let topic = topic().await;
    clients().await.sns().delete_topic().topic_arn(&topic).send().await.unwrap();
    let project = Project::webhook(1);
    let run = refused(&project).await;
    let settings = settings(json!({ "sns": { "topic": topic } }));
    let facts = domain::monitoring::alert::AlertInput {
        run: &run,
        delivered: None,
        seen: None,
        records: 0,
        usual: Default::default(),
        before: &[],
        settings: &settings,
        stack: None,
        now: run.started,
    };
    let alert = domain::monitoring::decide::decide(&facts).alert.unwrap();
    let told = async |clients: &Clients| channels(&settings, clients, None).await[0].notify(&alert).await.unwrap_err();

    let gone = told(&clients().await).await;
    assert_eq!(gone.code, Code::DestinationMisconfigured, "{gone}");
    assert!(gone.what.contains(&topic) && gone.next_step().contains("create the topic"), "{gone}");

    let proxy = Proxy::start(endpoint()).await;
    let behind = Clients::emulator(&proxy.url).await;
    let words = "User: u is not authorized to perform: SNS:Publish on resource: t";
    for (code, expected, next) in [
        ("AuthorizationError", Code::DestinationUnauthorized, "allow the function sns:Publish"),
        ("KMSAccessDenied", Code::DestinationUnauthorized, "kms:GenerateDataKey"),
        ("InvalidParameter", Code::DestinationMisconfigured, "whole ARN"),
    ] {
        proxy.plan("Publish", Harm::Refuse(403, code, words), 1);
        let fault = told(&behind).await;
        assert_eq!(fault.code, expected, "{fault}");
        assert!(
            fault.what.contains(code) && fault.what.contains(&topic) && fault.next_step().contains(next),
            "{fault}"
        );
        assert_eq!(
            fault.what.contains("not authorized to perform: SNS:Publish"),
            code != "InvalidParameter",
            "words that may repeat what was sent are left out: {fault}"
        );
    }
    assert!(proxy.all_done());
}
