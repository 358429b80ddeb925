//! The double itself: what HubSpot is known to do, asked for with a plain client.

use doubles::hubspot::HubSpotDouble;
use doubles::hubspot::gate::{InjectedFault, TOKEN};
use serde_json::{Value, json};

use crate::rig::double;

/// Posts JSON with the double's token.
async fn post(double: &HubSpotDouble, path: &str, body: Value) -> (u16, Value) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let request = reqwest::Client::new().post(double.url() + path).bearer_auth(TOKEN).body(body.to_string());
    let reply = request.send().await.unwrap();
    (reply.status().as_u16(), serde_json::from_str(&reply.text().await.unwrap()).unwrap_or_default())
}

fn input(id: &str, properties: Value, trace: Option<&str>) -> Value {
    let mut input = json!({ "id": id, "idProperty": "crm_id", "properties": properties });
    if let Some(trace) = trace {
        input["objectWriteTraceId"] = json!(trace);
    }
    input
}

const UPSERT: &str = "/crm/v3/objects/contacts/batch/upsert";

#[tokio::test]
async fn trace_ids_make_partial_results() {
    let double = double();
    let inputs = |traced: bool| {
        let trace = |id: &'static str| traced.then_some(id);
        json!({ "inputs": [input("1", json!({ "score": "5" }), trace("x")), input("2", json!({ "score": "many" }), trace("y"))] })
    };
    let (status, body) = post(&double, UPSERT, inputs(true)).await;
    assert_eq!(
        (status, body["results"].as_array().unwrap().len(), &body["errors"][0]["context"]),
        (207, 1, &json!({ "objectWriteTraceId": ["y"] }))
    );
    assert!(body["errors"][0]["message"].as_str().unwrap().starts_with("Property values were not valid: [{"), "{body}");
    assert_eq!(body["results"][0]["new"], true);
    let before = double.portal().objects["contacts"].records.len();
    let (status, body) = post(&double, UPSERT, inputs(false)).await;
    assert_eq!(
        (status, &body["category"], double.portal().objects["contacts"].records.len()),
        (400, &json!("VALIDATION_ERROR"), before)
    );
    // The version of 2026-09 lists no 207, and says the same.
    let (status, body) = post(&double, "/crm/objects/2026-09/0-1/batch/upsert", inputs(true)).await;
    assert_eq!((status, body["numErrors"].as_u64()), (200, Some(1)));
    let (status, _) = post(&double, "/crm/objects/2026-03/contacts/batch/upsert", inputs(true)).await;
    assert_eq!(status, 207);
}

#[tokio::test]
async fn some_requests_are_refused_whole() {
    let double = double();
    let good = |n: usize| (0..n).map(|i| input(&i.to_string(), json!({}), Some(&i.to_string()))).collect::<Vec<_>>();
    let mut unknown = good(2);
    unknown[1]["properties"] = json!({ "nope": "1" });
    let mut twice = good(2);
    twice[1]["id"] = json!("0");
    let mut null = good(1);
    null[0]["properties"] = json!({ "firstname": null });
    let by = |name: &str| vec![json!({ "id": "1", "idProperty": name, "properties": {}, "objectWriteTraceId": "0" })];
    for (inputs, part) in [
        (good(101), "maximum batch size"),
        (unknown, "PROPERTY_DOESNT_EXIST"),
        (twice, "Duplicate IDs"),
        (null, "a string"),
        (by("hs_object_id"), "by non-unique 0-1 property hs_object_id"),
        (by("firstname"), "by non-unique 0-1 property firstname"),
    ] {
        let (status, body) = post(&double, UPSERT, json!({ "inputs": inputs })).await;
        assert!(status == 400 && body["message"].as_str().unwrap().contains(part), "{part}: {status} {body}");
    }
    let (status, _) = post(
        &double,
        "/crm/v3/objects/contacts/batch/update",
        json!({ "inputs": [{ "id": "a@h.test", "idProperty": "email", "properties": {} }] }),
    )
    .await;
    assert_eq!(status, 400, "no record is updated by email");
    let mail = |id: &str, score: &str, trace: &str| json!({ "id": id, "idProperty": "email", "properties": { "score": score }, "objectWriteTraceId": trace });
    let (status, _) =
        post(&double, UPSERT, json!({ "inputs": [mail("a@h.test", "1", "0"), mail("b@h.test", "?", "1")] })).await;
    assert_eq!(
        (status, double.portal().objects["contacts"].records.len()),
        (400, 0),
        "by email there are no partial results"
    );
}

#[tokio::test]
async fn odd_answers_are_those_of_the_real_one() {
    let double = double();
    let (status, body) = post(&double, UPSERT, json!({})).await;
    assert_eq!((status, &body["status"], &body["results"]), (200, &json!("COMPLETE"), &json!([])));
    let (status, body) =
        post(&double, "/crm/v3/objects/contacts/batch/archive", json!({ "inputs": [{ "id": "999" }] })).await;
    assert_eq!((status, body), (204, Value::Null), "also for what is not there");
    let id = double.portal().add("contacts", &[("crm_id", "a"), ("firstname", "Ada")]).to_string();
    let read = json!({ "idProperty": "crm_id", "properties": ["firstname", "lastname"], "inputs": [{ "id": "a" }, { "id": "b" }] });
    let (status, body) = post(&double, "/crm/v3/objects/contacts/batch/read", read).await;
    assert_eq!(
        (status, &body["results"][0]["id"], &body["results"][0]["properties"]["lastname"]),
        (207, &json!(id), &Value::Null)
    );
    assert_eq!(
        (&body["errors"][0]["category"], &body["errors"][0]["context"]["ids"]),
        (&json!("OBJECT_NOT_FOUND"), &json!(["b"]))
    );
    post(&double, UPSERT, json!({ "inputs": [input("a", json!({ "firstname": "" }), Some("0"))] })).await;
    assert!(!double.portal().objects["contacts"].by("crm_id")["a"].contains_key("firstname"), "empty text clears");
    let (status, body) = post(&double, "/crm/v3/objects/nothings/batch/read", json!({})).await;
    assert!(status == 400 && body["message"].as_str().unwrap().contains("infer object type"), "{body}");
}

#[tokio::test]
async fn quota_and_faults_are_told_as_documented() {
    let double = double();
    {
        let mut portal = double.portal();
        portal.gate.quota.max = 2;
        portal.gate.fail_next(1, InjectedFault::RetryAfter(477, 60));
    }
    let send = async || {
        let _ = rustls::crypto::ring::default_provider().install_default();
        reqwest::Client::new().post(double.url() + UPSERT).bearer_auth(TOKEN).body("{}").send().await.unwrap()
    };
    let reply = send().await;
    assert_eq!((reply.status().as_u16(), &reply.headers()["retry-after"]), (477, &"60".parse().unwrap()));
    let reply = send().await;
    let header = |name: &str| reply.headers()[name].to_str().unwrap().to_owned();
    assert_eq!((header("x-hubspot-ratelimit-max"), header("x-hubspot-ratelimit-remaining")), ("2".into(), "0".into()));
    assert_eq!(
        (header("x-hubspot-ratelimit-interval-milliseconds"), header("x-hubspot-ratelimit-daily-remaining")),
        ("10000".into(), "249998".into())
    );
    let reply = send().await;
    assert_eq!((reply.status().as_u16(), reply.headers().get("retry-after")), (429, None));
    assert_eq!(reply.headers()["x-hubspot-ratelimit-interval-milliseconds"], "10000", "all that says how long");
    let body: Value = serde_json::from_str(&reply.text().await.unwrap()).unwrap();
    assert_eq!((&body["errorType"], &body["policyName"]), (&json!("RATE_LIMIT"), &json!("TEN_SECONDLY_ROLLING")));
    double.portal().gate.quota.daily = Some((10, 0));
    let body: Value = serde_json::from_str(&send().await.text().await.unwrap()).unwrap();
    assert_eq!(body["policyName"], "DAILY");
    assert_eq!(double.portal().refused(), 2);
}
