//! What is sent: names that stay the same, signatures, templates, shapes.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::mode::Op;
use domain::outcome::{Effect, Outcome};
use domain::ports::Destination;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use support::double::{Behaviour, Double, Recorded};

use crate::rig::{Records, SIGNING, open};

async fn hook(double: &Double, config: Value, object: &str, options: Value) -> Arc<dyn Destination> {
    open(&double.url(), config, object, options).await
}

fn name(request: &Recorded) -> String {
    let id = request.header("webhook-id").unwrap().to_owned();
    assert_eq!(request.header("idempotency-key"), Some(id.as_str()));
    id
}

#[tokio::test]
async fn names_are_the_same_on_every_attempt() {
    let double = Double::start();
    double.answer_next(1, Behaviour::status(503));
    double.answer_next(1, Behaviour::ResetAfter);
    let hook = hook(&double, json!({}), "", json!({})).await;
    let records = Records::new(&["a", "b"]);
    assert!(records.write(hook.as_ref(), Op::Upsert).await.is_err());
    assert!(records.write(hook.as_ref(), Op::Upsert).await.is_err());
    assert!(records.write(hook.as_ref(), Op::Upsert).await.is_ok());
    assert!(Records::new(&["a"]).write(hook.as_ref(), Op::Upsert).await.is_ok());
    let requests = double.requests();
    let names: Vec<_> = requests.iter().map(name).collect();
    assert!(names[0] == names[1] && names[1] == names[2], "{names:?}");
    assert_ne!(names[2], names[3]);
    assert_eq!(requests[0].body, requests[2].body, "the records carry the same ids, too");
    assert_eq!(requests[3].json()["records"][0]["id"], json!(names[3]), "one record's name is the request's");
    assert_eq!(requests[3].json()["records"][0]["id"], requests[0].json()["records"][0]["id"]);
    assert_eq!(double.duplicates(), 3, "a and b, taken again, and a");
}

#[tokio::test]
async fn the_usual_headers_are_there() {
    let double = Double::start();
    let json_hook = hook(&double, json!({"headers": {"x-source": "{{$sync}}/{{$operation}}"}}), "", json!({})).await;
    Records::new(&["a"]).write(json_hook.as_ref(), Op::Upsert).await.unwrap();
    let lines = hook(&double, json!({}), "", json!({"body": "lines"})).await;
    Records::new(&["a", "b"]).write(lines.as_ref(), Op::Append).await.unwrap();
    let requests = double.requests();
    assert_eq!(requests[0].header("content-type"), Some("application/json"));
    assert_eq!(requests[0].header("x-source"), Some("crm/upsert"));
    assert!(requests[0].header("user-agent").unwrap().starts_with("sluicegate/"));
    assert_eq!(requests[0].header("webhook-signature"), None, "nothing is signed without a secret");
    assert_eq!(requests[1].header("content-type"), Some("application/x-ndjson"));
    assert_eq!(std::str::from_utf8(&requests[1].body).unwrap().lines().count(), 2);
}

#[tokio::test]
async fn signatures_are_those_of_standard_webhooks() {
    let double = Double::start();
    let hook =
        hook(&double, json!({"sign": {"secrets": ["${env:SIGNING}", "${env:OLD_SIGNING}"]}}), "", json!({})).await;
    Records::new(&["a", "b"]).write(hook.as_ref(), Op::Upsert).await.unwrap();
    let request = &double.requests()[0];
    let timestamp: i64 = request.header("webhook-timestamp").unwrap().parse().unwrap();
    assert!(timestamp > 1_700_000_000, "seconds since 1970");
    let mut mac =
        Hmac::<Sha256>::new_from_slice(&STANDARD.decode(SIGNING.trim_start_matches("whsec_")).unwrap()).unwrap();
    mac.update(name(request).as_bytes());
    mac.update(format!(".{timestamp}.").as_bytes());
    mac.update(&request.body);
    let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    let signatures: Vec<_> = request.header("webhook-signature").unwrap().split(' ').collect();
    assert_eq!(signatures.len(), 2);
    assert_eq!(signatures[0], expected);
    assert!(signatures[1].starts_with("v1,") && signatures[1] != expected);
}

#[tokio::test]
async fn one_record_to_a_request_fills_templates() {
    let double = Double::start();
    let options = json!({"method": "PUT", "body": "object", "delete": {"method": "DELETE", "path": "contacts/{{id}}"}});
    let hook = hook(&double, json!({"headers": {"x-id": "{{id}}"}}), "contacts/{{id}}?from={{email}}", options).await;
    assert_eq!(hook.limits().batch_records, 1);
    let odd = Records::new(&["a/../b?c"]);
    assert_eq!(odd.write(hook.as_ref(), Op::Upsert).await.unwrap(), [Outcome::accepted(Effect::Unknown)]);
    assert_eq!(odd.delete(hook.as_ref()).await.unwrap(), [Outcome::accepted(Effect::Deleted)]);
    let requests = double.requests();
    assert_eq!(
        (requests[0].method.as_str(), requests[0].path.as_str()),
        ("PUT", "/contacts/a%2F..%2Fb%3Fc?from=a%2F..%2Fb%3Fc%40h.test")
    );
    assert_eq!(requests[0].header("x-id"), Some("a/../b?c"));
    assert_eq!(requests[0].json(), json!({"email": "a/../b?c@h.test", "id": "a/../b?c"}));
    assert_eq!(
        (requests[1].method.as_str(), requests[1].path.as_str(), requests[1].body.len()),
        ("DELETE", "/contacts/a%2F..%2Fb%3Fc", 0)
    );

    double.answer(Behaviour::status(404));
    assert_eq!(
        odd.delete(hook.as_ref()).await.unwrap(),
        [Outcome::accepted(Effect::Deleted)],
        "what is gone is deleted"
    );
    let sent = double.count();
    for (id, code) in [("..", "invalid_in_url"), ("", "empty_in_url"), ("a\nb", "invalid_in_header")] {
        let outcomes = Records::new(&[id]).write(hook.as_ref(), Op::Upsert).await.unwrap();
        assert!(
            matches!(&outcomes[0], Outcome::Rejected { code: c, detail } if c == code && !detail.contains("h.test")),
            "{outcomes:?}"
        );
    }
    assert_eq!(double.count(), sent, "a record that does not fit is not sent");
}

#[tokio::test]
async fn a_body_of_ones_own_is_filled() {
    let double = Double::start();
    let hook = hook(
        &double,
        json!({}),
        "",
        json!({"body": {"event": "$operation", "source": "$sync", "ref": "$id", "data": "$records"}}),
    )
    .await;
    Records::new(&["a", "b"]).write(hook.as_ref(), Op::Append).await.unwrap();
    let request = &double.requests()[0];
    let body = request.json();
    assert_eq!(
        (body["event"].as_str(), body["source"].as_str(), body["ref"].as_str()),
        (Some("append"), Some("crm"), Some(name(request).as_str()))
    );
    assert_eq!(body["data"][1]["fields"], json!({"email": "b@h.test", "id": "b"}));
}
