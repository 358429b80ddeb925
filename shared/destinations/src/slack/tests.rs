//! What opening says of settings, and how messages are made, without a server. Answers are in `tests/slack`.

use std::path::Path;

use async_trait::async_trait;
use domain::cells::{self, Cells};
use domain::config::Reference;
use domain::config::SecretSource;
use domain::layout::{Field, Layout};
use domain::mode::Op;
use domain::ports::SystemClock;
use domain::value::{Type, Value as Cell};
use serde_json::json;

use super::*;

struct Secrets;

#[async_trait]
impl SecretSource for Secrets {
    async fn get(&self, reference: &Reference) -> Result<String, Fault> {
        match reference {
            Reference::Env(name) if name == "HOOK" => Ok("https://hooks.slack.test/planted-secret".into()),
            Reference::Env(name) if name == "TOKEN" => Ok("planted-secret".into()),
            Reference::Env(name) if name == "LINE" => Ok("planted-secret\n".into()),
            other => Err(Fault::new(Code::SecretMissing, format!("{other} is not there."))),
        }
    }
}

async fn open(config: Value, object: &str, options: Value) -> Result<SlackDestination, Fault> {
    let target =
        Target { connection: "team".into(), object: object.into(), options: options.as_object().unwrap().clone() };
    SlackDestination::open(
        OpenArgs {
            name: "team",
            config: &config,
            folder: Path::new("."),
            secrets: &Secrets,
            clock: &SystemClock::shared(),
        },
        &target,
    )
    .await
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_when_opened() {
    let (bot, hook, text) =
        (json!({"token": "${env:TOKEN}"}), json!({"webhook_url": "${env:HOOK}"}), json!({"text": "x"}));
    for (config, object, options, part) in [
        (json!({}), "", text.clone(), "either `token` or `webhook_url`"),
        (
            json!({"token": "${env:TOKEN}", "webhook_url": "${env:HOOK}"}),
            "C1",
            text.clone(),
            "either `token` or `webhook_url`",
        ),
        (json!({"token": "planted-secret"}), "C1", text.clone(), "must be a reference"),
        (json!({"token": "${env:LINE}"}), "C1", text.clone(), "line break"),
        (json!({"webhook_url": "${env:TOKEN}"}), "", text.clone(), "is not an address"),
        (json!({"token": "${env:TOKEN}", "rate": {"requests": 0, "per": "1s"}}), "C1", text.clone(), "`rate`"),
        (bot.clone(), "", text.clone(), "must name the channel"),
        (hook.clone(), "C1", text.clone(), "has no meaning"),
        (hook.clone(), "", json!({}), "missing field `text`"),
        (hook.clone(), "", json!({"text": " "}), "`text` is empty"),
        (hook.clone(), "", json!({"text": "{{a"}), "no closing"),
        (hook.clone(), "", json!({"text": "a", "blocks": vec![json!({}); 51]}), "51 blocks"),
        (hook, "", json!({"text": "a", "thread": 1}), "unknown field `thread`"),
    ] {
        let fault = open(config.clone(), object, options.clone()).await.unwrap_err();
        let said = format!("{fault} {fault:?}");
        assert!(said.contains(part), "{config} {options}: `{part}` is not in: {said}");
        assert!(!said.contains("planted"), "{said}");
    }
    let slack = open(bot, "C1", text).await.unwrap();
    assert_eq!((slack.limits().batch_records, slack.limits().rate), (1, Some(RATE)));
    assert!(!format!("{slack:?}").contains("planted"));
}

fn rendered(options: Value, name: &str) -> Result<Value, &'static str> {
    let message = SlackMessage::new(&serde_json::from_value(options).unwrap()).unwrap();
    let layout = Layout::new(vec![Field { name: "name".into(), kind: Type::Text, identifier: true }]);
    let mut record = Vec::new();
    cells::push(&mut record, Cell::Text(name));
    let facts =
        RecordFacts { sync: "signups", operation: Op::Append, id: "x", record: Some((&layout, Cells(&record))) };
    message.render(&facts).map(Value::Object).map_err(|(code, _)| code)
}

#[test]
fn values_are_escaped_and_the_templates_own_text_is_not() {
    let odd = "<!channel> & <https://h.test|x> {{name}}";
    let escaped = "&lt;!channel&gt; &amp; &lt;https://h.test|x&gt; {{name}}";
    let body = rendered(json!({"text": "<!here> *{{name}}* of {{$sync}}"}), odd).unwrap();
    assert_eq!(body, json!({"text": format!("<!here> *{escaped}* of signups")}));
    let blocks = json!([{"type": "section", "text": {"type": "mrkdwn", "text": "{{name}}"}, "accessory": {"url": "https://h.test/{{name}}", "n": 1}}]);
    let body = rendered(json!({"text": "t", "blocks": blocks, "unfurl_links": false}), "a/b <").unwrap();
    assert_eq!(body["blocks"][0]["text"]["text"], "a/b &lt;");
    assert_eq!(body["blocks"][0]["accessory"], json!({"url": "https://h.test/a%2Fb%20%3C", "n": 1}));
    assert_eq!(body["unfurl_links"], false);
}

#[test]
fn a_message_that_slack_would_refuse_is_not_sent() {
    assert_eq!(rendered(json!({"text": "{{name}}"}), " "), Err("no_text"));
    assert_eq!(rendered(json!({"text": "{{name}}"}), &"é".repeat(40_001)), Err("msg_too_long"));
    assert!(rendered(json!({"text": "{{name}}"}), &"é".repeat(40_000)).is_ok());
}

#[test]
fn a_field_that_the_mapping_does_not_have_is_found() {
    let options = json!({"text": "{{emial}}", "blocks": [{"text": "{{email}} {{plan}}"}]});
    let message = SlackMessage::new(&serde_json::from_value(options).unwrap()).unwrap();
    let found =
        message.findings(PreflightRequest { mode: Mode::Append, fields: &[("email".into(), true)] }, "connection team");
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(
        found.len() == 2 && found[0].contains("did you mean `email`?") && found[1].contains("a block names `{{plan}}`"),
        "{found:?}"
    );
}

#[test]
fn only_append_is_honoured() {
    assert!(modes(Mode::Append).is_ok());
    assert!([Mode::Upsert, Mode::Update, Mode::Mirror].iter().all(|m| modes(*m).unwrap_err().contains("mode append")));
}
