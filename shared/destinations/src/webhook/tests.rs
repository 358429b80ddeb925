//! What opening and preflight say of settings, without a server.

use std::path::Path;

use async_trait::async_trait;
use domain::batch::WriteBatch;
use domain::config::Reference;
use domain::config::SecretSource;
use domain::fault::{Code, Fault};
use domain::mode::{Mode, Op};
use domain::outcome::WriteError;
use domain::ports::{Destination as _, OpenArgs, PreflightRequest, SystemClock};
use domain::sync::Target;
use serde_json::{Value, json};

use super::WebhookDestination;
use super::fixture::Fixture;

struct Secrets;

#[async_trait]
impl SecretSource for Secrets {
    async fn get(&self, reference: &Reference) -> Result<String, Fault> {
        match reference {
            Reference::Env(name) if name == "BAD" => Ok("planted-secret".into()),
            Reference::Env(name) if name == "LINE" => Ok("planted-secret\n".into()),
            Reference::Env(name) if name == "HOST" => Ok("https://1.1.1.1/{{id}}".into()),
            other => Err(Fault::new(Code::SecretMissing, format!("{other} is not there."))),
        }
    }
}

async fn open(config: Value, object: &str, options: Value) -> Result<WebhookDestination, Fault> {
    let target =
        Target { connection: "hook".into(), object: object.into(), options: options.as_object().unwrap().clone() };
    WebhookDestination::open(
        OpenArgs {
            name: "hook",
            config: &config,
            folder: Path::new("."),
            secrets: &Secrets,
            clock: &SystemClock::shared(),
        },
        &target,
    )
    .await
}

async fn findings(config: Value, options: Value, mode: Mode) -> String {
    let webhook = open(config, "", options).await.unwrap();
    let fields = [("id".to_owned(), true), ("email".to_owned(), false)];
    let schema = webhook.preflight(PreflightRequest { mode, fields: &fields }).await.unwrap();
    assert!(schema.fields.is_none());
    schema.findings.iter().map(|f| format!("{:?} {f}", f.severity)).collect::<Vec<_>>().join("; ")
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_when_opened() {
    let url = "https://1.1.1.1/";
    for (config, options, part) in [
        (json!({}), json!({}), "missing field `url`"),
        (json!({"url": "nonsense"}), json!({}), "not valid"),
        (json!({"url": "https://{{id}}.test/"}), json!({}), "behind the host"),
        (json!({"url": "https://u:pa55@h.test/"}), json!({}), "holds a password"),
        (json!({"url": "${env:MISSING}"}), json!({}), "${env:MISSING}"),
        (json!({"url": url, "batch_size": 0}), json!({}), "`batch_size` must be more than 0"),
        (json!({"url": url, "rate": {"requests": 0, "per": "1s"}}), json!({}), "`rate`"),
        (json!({"url": url, "headers": {"Authorization": "Bearer plain"}}), json!({}), "carries credentials"),
        (json!({"url": url, "headers": {"X-Api-Key": "plain"}}), json!({}), "carries credentials"),
        (json!({"url": url, "headers": {"webhook-id": "x"}}), json!({}), "set by Sluicegate"),
        (json!({"url": url, "headers": {"a b": "x"}}), json!({}), "not a header's"),
        (json!({"url": url, "headers": {"x-token": "${env:LINE}"}}), json!({}), "line break"),
        (json!({"url": url, "sign": {"secrets": ["${env:BAD}"]}}), json!({}), "whsec_"),
        (json!({"url": url}), json!({"body": {"a": 1}}), "no record would be sent"),
        (json!({"url": url}), json!({"what": 1}), "unknown field `what`"),
    ] {
        let fault = open(config.clone(), "", options.clone()).await.unwrap_err();
        let text = format!("{fault} {fault:?}");
        assert!(text.contains(part), "{config} {options}: `{part}` is not in: {text}");
        assert!(!text.contains("planted-secret") && !text.contains("pa55") && !text.contains("plain\""), "{text}");
    }
}

#[tokio::test]
async fn preflight_says_what_would_go_wrong() {
    let base = json!({"url": "https://1.1.1.1/"});
    for (config, options, mode, expected) in [
        (base.clone(), json!({}), Mode::Upsert, ""),
        (base.clone(), json!({}), Mode::Mirror, ""),
        (json!({"url": "https://1.1.1.1/{{emial}}"}), json!({}), Mode::Upsert, "did you mean `email`?"),
        (json!({"url": "https://1.1.1.1/{{sync}}"}), json!({}), Mode::Upsert, "did you mean `{{$sync}}`?"),
        (
            json!({"url": "https://1.1.1.1/", "headers": {"x": "{{zzzzzz}}"}}),
            json!({}),
            Mode::Upsert,
            "a header names `{{zzzzzz}}`",
        ),
        (json!({"url": "https://1.1.1.1/{{email}}"}), json!({}), Mode::Mirror, "a delete does not carry"),
        (
            json!({"url": "https://1.1.1.1/"}),
            json!({"delete": {"path": "{{email}}"}}),
            Mode::Mirror,
            "a delete does not carry",
        ),
        (json!({"url": "https://1.1.1.1/{{id}}", "batch_size": 10}), json!({}), Mode::Upsert, "`batch_size` is 10"),
        (base.clone(), json!({"body": "array"}), Mode::Mirror, "nothing in the request would tell them"),
        (base.clone(), json!({"body": "array", "delete": {"method": "DELETE"}}), Mode::Mirror, ""),
        (json!({"url": "https://1.1.1.1/?op={{$operation}}"}), json!({"body": "array"}), Mode::Mirror, ""),
        (base.clone(), json!({"body": "lines", "results": {"id": "/id"}}), Mode::Upsert, "`lines` does not carry"),
        (
            json!({"url": "http://1.1.1.1/"}),
            json!({}),
            Mode::Upsert,
            "Warning connection hook: records would travel to 1.1.1.1 unencrypted",
        ),
        (json!({"url": "https://127.1/"}), json!({}), Mode::Upsert, "127.0.0.1"),
        (json!({"url": "https://[::ffff:10.0.0.1]/"}), json!({}), Mode::Upsert, "`allow_private: true`"),
        (json!({"url": "https://localhost/"}), json!({}), Mode::Upsert, "loopback address"),
        (json!({"url": "http://localhost/", "allow_private": true}), json!({}), Mode::Upsert, ""),
    ] {
        let found = findings(config.clone(), options.clone(), mode).await;
        assert!(
            if expected.is_empty() { found.is_empty() } else { found.contains(expected) },
            "{config} {options}: `{expected}` is not: {found}"
        );
    }
}

#[tokio::test]
async fn a_place_for_one_record_makes_requests_of_one() {
    for (config, object, options, records) in [
        (json!({"url": "https://1.1.1.1/"}), "", json!({}), 100),
        (json!({"url": "https://1.1.1.1/", "batch_size": 7}), "", json!({}), 7),
        (json!({"url": "https://1.1.1.1/{{id}}"}), "", json!({}), 1),
        (json!({"url": "https://1.1.1.1/"}), "c/{{id}}", json!({}), 1),
        (json!({"url": "https://1.1.1.1/"}), "", json!({"delete": {"path": "{{id}}"}}), 1),
        (json!({"url": "https://1.1.1.1/", "headers": {"x": "{{id}}"}}), "", json!({}), 1),
        (json!({"url": "https://1.1.1.1/", "headers": {"x": "{{$sync}}"}}), "", json!({}), 100),
        (json!({"url": "https://1.1.1.1/"}), "", json!({"body": "object"}), 1),
        (json!({"url": "https://1.1.1.1/"}), "", json!({"body": {"d": "$fields"}}), 1),
        (json!({"url": "${env:HOST}"}), "", json!({}), 100),
    ] {
        let limits = open(config.clone(), object, options.clone()).await.unwrap().limits();
        assert_eq!(limits.batch_records, records, "{config} {object} {options}");
    }
    let webhook = open(json!({"url": "https://1.1.1.1/{{id}}"}), "", json!({})).await.unwrap();
    let fixture = Fixture::new(2);
    let records = fixture.records();
    let error = webhook
        .write(&WriteBatch { sync: "crm", op: Op::Upsert, layout: &fixture.layout, records: &records })
        .await
        .unwrap_err();
    assert!(matches!(error, WriteError::Refused { .. }), "nothing was sent: {error}");
}

#[test]
fn update_is_refused_with_its_reason() {
    assert!(super::modes(Mode::Update).unwrap_err().contains("mode upsert"));
    assert!([Mode::Upsert, Mode::Append, Mode::Mirror].iter().all(|m| super::modes(*m).is_ok()));
}
