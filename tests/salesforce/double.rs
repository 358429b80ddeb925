//! The double itself: what Salesforce is known to do, asked for with a plain client.

use doubles::salesforce::{Fail, SalesforceDouble};
use serde_json::{Value, json};

use crate::rig::start;

/// A client that has a token.
struct Plain {
    url: String,
    token: String,
}

impl Plain {
    async fn new(double: &SalesforceDouble) -> Self {
        let mut plain = Self { url: double.url(), token: String::new() };
        let form = "grant_type=client_credentials&client_id=client&client_secret=planted-secret";
        let (_, minted, _) =
            plain.send("POST", "/services/oauth2/token", form, "application/x-www-form-urlencoded").await;
        plain.token = serde_json::from_str::<Value>(&minted).unwrap()["access_token"].as_str().unwrap().to_owned();
        plain
    }

    async fn send(&self, method: &str, path: &str, body: &str, media_type: &str) -> (u16, String, bool) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let request = reqwest::Client::new()
            .request(method.parse().unwrap(), format!("{}{path}", self.url))
            .bearer_auth(&self.token);
        let reply = request.header("content-type", media_type).body(body.to_owned()).send().await.unwrap();
        let (status, waits) = (reply.status().as_u16(), reply.headers().contains_key("retry-after"));
        (status, reply.text().await.unwrap(), waits)
    }

    /// A request with JSON, below the version.
    async fn json(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let (status, text, _) =
            self.send(method, &format!("/services/data/v67.0{path}"), &body.to_string(), "application/json").await;
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    async fn upsert(&self, names: &[(&str, &str)]) -> (u16, Value) {
        let record = |(ext, name): &(&str, &str)| json!({ "attributes": { "type": "Contact" }, "Ext__c": ext, "LastName": name });
        let body = json!({ "allOrNone": false, "records": names.iter().map(record).collect::<Vec<_>>() });
        self.json("PATCH", "/composite/sobjects/Contact/Ext__c", body).await
    }
}

fn codes(results: &Value) -> Vec<&str> {
    results.as_array().unwrap().iter().map(|r| r["errors"][0]["statusCode"].as_str().unwrap_or("ok")).collect()
}

#[tokio::test]
async fn results_are_positional_and_both_rows_of_an_external_id_fail() {
    let double = start().await;
    let plain = Plain::new(&double).await;
    let (status, results) = plain.upsert(&[("1", "a"), ("x", "b"), ("2", "forbidden"), ("X", "c"), ("3", "d")]).await;
    assert_eq!(
        (status, codes(&results)),
        (200, vec!["ok", "DUPLICATE_VALUE", "FIELD_CUSTOM_VALIDATION_EXCEPTION", "DUPLICATE_VALUE", "ok"])
    );
    assert_eq!(
        (&results[0]["success"], &results[0]["created"], &results[2]["success"]),
        (&json!(true), &json!(true), &json!(false))
    );
    assert_eq!(double.org().object("Contact").records().len(), 2);
}

#[tokio::test]
async fn a_locked_row_is_free_the_next_time() {
    let double = start().await;
    let plain = Plain::new(&double).await;
    let rows = double.org().rows;
    double.org().locks_every = Some(rows + 2);
    assert_eq!(codes(&plain.upsert(&[("1", "a"), ("2", "b"), ("3", "c")]).await.1), ["ok", "UNABLE_TO_LOCK_ROW", "ok"]);
    assert_eq!(codes(&plain.upsert(&[("2", "b")]).await.1), ["ok"]);
}

#[tokio::test]
async fn a_session_that_ended_and_a_day_that_is_used_up() {
    let double = start().await;
    let plain = Plain::new(&double).await;
    double.org().revoke_tokens();
    let (status, error) = plain.upsert(&[("1", "a")]).await;
    assert_eq!((status, &error[0]["errorCode"]), (401, &json!("INVALID_SESSION_ID")));
    let plain = Plain::new(&double).await;
    assert_eq!(plain.upsert(&[("1", "a")]).await.0, 200);
    let used = double.org().used_requests;
    double.org().most_requests = used;
    let (status, text, waits) = plain.send("GET", "/services/data/v67.0/limits", "", "application/json").await;
    assert!(
        status == 403 && text.contains("REQUEST_LIMIT_EXCEEDED") && !waits,
        "it does not say how long to wait: {status} {text}"
    );
}

#[tokio::test]
async fn a_job_shuffles_its_results_and_one_that_is_aborted_stays_so() {
    let double = start().await;
    let plain = Plain::new(&double).await;
    double.org().rows_before_abort = 3;
    let open = json!({ "object": "Contact", "operation": "upsert", "externalIdFieldName": "Ext__c", "contentType": "CSV", "lineEnding": "LF" });
    let submit = async || {
        let (_, job) = plain.json("POST", "/jobs/ingest", open.clone()).await;
        let path = format!("/jobs/ingest/{}", job["id"].as_str().unwrap());
        let csv: String =
            std::iter::once("Ext__c,LastName\n".to_owned()).chain((0..50).map(|n| format!("E{n:02},Name\n"))).collect();
        assert_eq!(plain.send("PUT", &format!("/services/data/v67.0{path}/batches"), &csv, "text/csv").await.0, 201);
        assert_eq!(plain.json("PATCH", &path, json!({ "state": "UploadComplete" })).await.1["state"], "UploadComplete");
        path
    };
    let path = submit().await;
    for state in ["InProgress", "JobComplete"] {
        let (status, job) = plain.json("GET", &path, Value::Null).await;
        assert_eq!((status, &job["state"]), (200, &json!(state)), "{job}");
    }
    let (_, text, _) =
        plain.send("GET", &format!("/services/data/v67.0{path}/successfulResults/"), "", "text/csv").await;
    let mut rows: Vec<&str> = text.lines().skip(1).map(|line| line.split(',').nth(2).unwrap()).collect();
    assert!(
        text.starts_with("\"sf__Id\",\"sf__Created\",\"Ext__c\"") && rows.len() == 50 && !rows.is_sorted(),
        "{text}"
    );
    rows.sort_unstable();
    rows.dedup();
    assert_eq!(rows.len(), 50, "each of them once");

    let path = submit().await;
    let rows = double.org().rows;
    assert_eq!(plain.json("PATCH", &path, json!({ "state": "Aborted" })).await.1["state"], "Aborted");
    assert_eq!(double.org().rows - rows, 3, "what was worked through by then stays");
    let (status, error) = plain.json("PATCH", &path, json!({ "state": "UploadComplete" })).await;
    assert_eq!((status, &error[0]["errorCode"]), (400, &json!("INVALIDJOBSTATE")));
    double.org().finish_jobs();
    let org = double.org();
    assert_eq!((org.jobs(), org.rows - rows), (vec!["JobComplete", "Aborted"], 3));
}

#[tokio::test]
async fn a_lost_answer_is_lost_before_or_after_it_was_done() {
    let double = start().await;
    let plain = Plain::new(&double).await;
    for (fail, contacts) in [(Fail::Before, 0), (Fail::After, 1)] {
        double.org().fails.push_back(fail);
        let request = reqwest::Client::new()
            .patch(format!("{}/services/data/v67.0/composite/sobjects/Contact/Ext__c", plain.url));
        let record = json!({ "attributes": { "type": "Contact" }, "Ext__c": "1", "LastName": "a" });
        let sent = request
            .bearer_auth(&plain.token)
            .body(json!({ "allOrNone": false, "records": [record] }).to_string())
            .send()
            .await;
        assert!(sent.is_err(), "{sent:?}");
        assert_eq!(double.org().object("Contact").records().len(), contacts, "{fail:?}");
    }
}
