//! Single requests: every way in which the org answers one.

use domain::mode::Op;
use domain::outcome::{Effect, Outcome, WriteError};
use domain::value::{Type, Value as Cell};
use doubles::salesforce::{Fail, SalesforceDouble, Signed};
use ring::signature::KeyPair as _;
use serde_json::{Value, json};

use crate::key::PLANTED_KEY;
use crate::rig::{Batch, open, start};

const FIELDS: [(&str, Type, bool); 2] = [("Ext__c", Type::Text, true), ("LastName", Type::Text, false)];

fn contacts(ids: &[&str]) -> Batch {
    Batch::new(&FIELDS, &ids.iter().map(|id| vec![Cell::Text(id), Cell::Text(id)]).collect::<Vec<_>>())
}

/// One contact with an external id and one more field.
fn contact(field: &str, kind: Type, value: Cell<'_>) -> Batch {
    Batch::new(&[FIELDS[0], FIELDS[1], (field, kind, false)], &[vec![Cell::Text("1"), Cell::Text("a"), value]])
}

fn code(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Accepted { effect: Effect::Created, .. } => "created",
        Outcome::Accepted { effect: Effect::Updated, .. } => "updated",
        Outcome::Accepted { .. } => "deleted",
        Outcome::Rejected { code, .. } | Outcome::Retry { code, .. } => code,
        Outcome::Skipped { reason } => reason,
    }
}

fn codes(outcomes: &[Outcome]) -> Vec<&str> {
    outcomes.iter().map(code).collect()
}

fn held(double: &SalesforceDouble, ext: &str) -> doubles::salesforce::SObjectRecord {
    double.org().object("Contact").records_by("Ext__c")[ext].clone()
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_again_when_it_is_refused() {
    let double = start().await;
    let to = open(&double, "Contact", json!({}), json!({})).await;
    let before = double.org().minted;
    for round in 1..=3 {
        contacts(&["1", "2"]).write(&*to, Op::Upsert).await.unwrap();
        assert_eq!(double.org().minted - before, round, "one for each session");
        contacts(&["1", "2"]).write(&*to, Op::Upsert).await.unwrap();
        double.org().revoke_tokens();
    }
    // Four writers find out at once, and one asks.
    let batches = [contacts(&["3"]), contacts(&["4"]), contacts(&["5"]), contacts(&["6"])];
    futures_util::future::join_all(batches.iter().map(|b| b.write(&*to, Op::Upsert)))
        .await
        .into_iter()
        .for_each(|r| drop(r.unwrap()));
    assert_eq!(double.org().minted - before, 4);
}

#[tokio::test]
async fn wrong_credentials_stop_the_run_without_showing() {
    let double = start().await;
    double.org().client_secret = "another".into();
    let to = open(&double, "Contact", json!({}), json!({})).await;
    let error = contacts(&["1"]).write(&*to, Op::Upsert).await.unwrap_err();
    assert!(
        matches!(&error, WriteError::Unauthorized { detail } if detail.contains("invalid client credentials")),
        "{error:?}"
    );
    assert!(!format!("{error:?} {error}").contains("planted-secret"));
}

#[tokio::test]
async fn an_assertion_is_signed_with_the_key() {
    use base64::Engine as _;
    let double = start().await;
    let der = base64::engine::general_purpose::STANDARD.decode(PLANTED_KEY).unwrap();
    let public_key = ring::signature::RsaKeyPair::from_der(&der).unwrap().public_key().as_ref().to_vec();
    double.org().signed =
        Some(Signed { username: "sync@org.test".into(), audience: "https://test.salesforce.com".into(), public_key });
    let auth = |username: &str| {
        let bearer = json!({ "client_id": "client", "username": username, "private_key": "${env:KEY}", "audience": "https://test.salesforce.com" });
        json!({ "auth": { "jwt_bearer": bearer } })
    };
    let to = open(&double, "Contact", auth("sync@org.test"), json!({})).await;
    assert_eq!(codes(&contacts(&["1"]).write(&*to, Op::Upsert).await.unwrap()), ["created"]);
    let to = open(&double, "Contact", auth("other@org.test"), json!({})).await;
    assert!(matches!(contacts(&["1"]).write(&*to, Op::Upsert).await, Err(WriteError::Unauthorized { .. })));
}

#[tokio::test]
async fn of_a_collection_only_the_locked_row_is_sent_again() {
    let double = start().await;
    let to = open(&double, "Contact", json!({}), json!({})).await;
    let rows = double.org().rows;
    double.org().locks_every = Some(rows + 2);
    let batch = contacts(&["1", "2", "forbidden"]);
    assert_eq!(
        codes(&batch.write(&*to, Op::Upsert).await.unwrap()),
        ["created", "UNABLE_TO_LOCK_ROW", "FIELD_CUSTOM_VALIDATION_EXCEPTION"]
    );
    assert_eq!(
        codes(&batch.write(&*to, Op::Upsert).await.unwrap()),
        ["updated", "created", "FIELD_CUSTOM_VALIDATION_EXCEPTION"]
    );
}

#[tokio::test]
async fn one_external_id_twice() {
    let double = start().await;
    let to = open(&double, "Contact", json!({}), json!({})).await;
    let outcomes = contacts(&["1", "x", "X", "1", "3"]).write(&*to, Op::Upsert).await.unwrap();
    assert_eq!(
        codes(&outcomes),
        ["duplicate_identifier", "DUPLICATE_VALUE", "DUPLICATE_VALUE", "duplicate_identifier", "created"]
    );
}

#[tokio::test]
async fn every_rule_of_the_org_is_a_rejection_with_its_code() {
    let double = start().await;
    let to = open(&double, "Contact", json!({}), json!({})).await;
    let long = "x".repeat(81);
    for (field, kind, value, expected) in [
        ("Tier__c", Type::Text, Cell::Text("bronze"), "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"),
        ("Email", Type::Text, Cell::Text("nobody"), "INVALID_EMAIL_ADDRESS"),
        ("Email", Type::Text, Cell::Text(&long), "STRING_TOO_LONG"),
        ("Score__c", Type::Int, Cell::Int(10_000_000), "NUMBER_OUTSIDE_VALID_RANGE"),
        ("AccountId", Type::Text, Cell::Text("001"), "MALFORMED_ID"),
        ("AccountId", Type::Text, Cell::Text("001000000000999AAA"), "INVALID_CROSS_REFERENCE_KEY"),
        ("Formula__c", Type::Text, Cell::Text("x"), "INVALID_FIELD_FOR_INSERT_UPDATE"),
        ("Account.Code__c", Type::Text, Cell::Text("nobody"), "INVALID_FIELD"),
        ("Unheard__c", Type::Text, Cell::Text("x"), "INVALID_FIELD"),
    ] {
        assert_eq!(codes(&contact(field, kind, value).write(&*to, Op::Upsert).await.unwrap()), [expected], "{field}");
    }
    let nameless = Batch::new(&FIELDS[..1], &[vec![Cell::Text("1")]]);
    assert_eq!(codes(&nameless.write(&*to, Op::Upsert).await.unwrap()), ["REQUIRED_FIELD_MISSING"]);
    // Should the org refuse the whole request for a column, that is the settings' fault.
    double.org().unknown_field_refuses_all = true;
    let error = contact("Unheard__c", Type::Text, Cell::Text("x")).write(&*to, Op::Upsert).await.unwrap_err();
    assert!(
        matches!(&error, WriteError::Misconfigured { detail } if detail.contains("No such column 'Unheard__c'")),
        "{error:?}"
    );
}

#[tokio::test]
async fn values_arrive_as_they_are() {
    let double = start().await;
    let to = open(&double, "Contact", json!({}), json!({})).await;
    for (field, kind, value, expected) in [
        ("Score__c", Type::Decimal, Cell::Decimal("12.5"), json!(12.5)),
        ("Active__c", Type::Bool, Cell::Bool(true), json!(true)),
        ("Born__c", Type::Date, Cell::Date(20_455), json!("2026-01-02")),
        ("Seen__c", Type::Timestamp, Cell::Timestamp(1_767_323_045_678_901), json!("2026-01-02T03:04:05.678Z")),
        ("Tier__c", Type::Text, Cell::Text("gold"), json!("gold")),
    ] {
        contact(field, kind, value).write(&*to, Op::Upsert).await.unwrap();
        assert_eq!(held(&double, "1")[field], expected);
    }
    for (field, kind) in [("Score__c", Type::Decimal), ("Born__c", Type::Date), ("Tier__c", Type::Text)] {
        contact(field, kind, Cell::Null).write(&*to, Op::Upsert).await.unwrap();
        assert_eq!(held(&double, "1").get(field), None, "null clears");
    }
    assert!(held(&double, "1").contains_key("Seen__c"), "what is left out stays");
    contact("Account.Code__c", Type::Text, Cell::Text("B")).write(&*to, Op::Upsert).await.unwrap();
    assert!(held(&double, "1").contains_key("AccountId"));
    contact("Account.Code__c", Type::Text, Cell::Null).write(&*to, Op::Upsert).await.unwrap();
    assert_eq!(held(&double, "1").get("AccountId"), None, "no parent any more");
    contact("Account:What.Code__c", Type::Text, Cell::Text("C")).write(&*to, Op::Upsert).await.unwrap();
    assert!(held(&double, "1").contains_key("WhatId"), "a parent of several types");
}

#[tokio::test]
async fn a_duplicate_rule_rejects_unless_it_is_passed_over() {
    let double = start().await;
    let fields = [FIELDS[0], FIELDS[1], ("Email", Type::Text, false)];
    let with = |id| Batch::new(&fields, &[vec![Cell::Text(id), Cell::Text(id), Cell::Text("a@h.test")]]);
    let strict = open(&double, "Contact", json!({}), json!({})).await;
    assert_eq!(codes(&with("1").write(&*strict, Op::Upsert).await.unwrap()), ["created"]);
    assert_eq!(codes(&with("2").write(&*strict, Op::Upsert).await.unwrap()), ["DUPLICATES_DETECTED"]);
    let lax = open(&double, "Contact", json!({}), json!({ "allow_duplicates": true })).await;
    assert_eq!(codes(&with("2").write(&*lax, Op::Upsert).await.unwrap()), ["created"]);
}

#[tokio::test]
async fn every_error_of_a_request_is_a_decision() {
    let double = start().await;
    let to = open(&double, "Contact", json!({}), json!({})).await;
    let fail = async |fail| {
        double.org().fails.push_back(fail);
        contacts(&["1"]).write(&*to, Op::Upsert).await
    };
    assert!(matches!(fail(Fail::With(503, "SERVER_UNAVAILABLE")).await, Err(WriteError::Unavailable { .. })));
    assert!(matches!(fail(Fail::With(500, "UNKNOWN_EXCEPTION")).await, Err(WriteError::Unavailable { .. })));
    assert!(matches!(fail(Fail::With(400, "QUERY_TIMEOUT")).await, Err(WriteError::Unavailable { .. })));
    assert!(matches!(fail(Fail::With(400, "REQUEST_RUNNING_TOO_LONG")).await, Err(WriteError::Unavailable { .. })));
    assert!(matches!(fail(Fail::With(400, "JSON_PARSER_ERROR")).await, Err(WriteError::Refused { .. })));
    assert!(matches!(fail(Fail::With(403, "API_DISABLED_FOR_ORG")).await, Err(WriteError::Unauthorized { .. })));
    assert!(matches!(fail(Fail::Before).await, Err(WriteError::Unavailable { .. })));
    let hour = std::time::Duration::from_secs(3600);
    let limit = |message| Fail::Says(403, "REQUEST_LIMIT_EXCEEDED", message);
    assert_eq!(fail(limit("TotalRequests Limit exceeded.")).await, Err(WriteError::Throttled { after: Some(hour) }));
    for at_once in
        ["ConcurrentPerOrgLongTxn Limit exceeded.", "ConcurrentRequests (Concurrent API Requests) Limit exceeded."]
    {
        assert_eq!(fail(limit(at_once)).await, Err(WriteError::Throttled { after: None }), "{at_once}");
    }
    // A token that was minted a moment ago is as secret as what it was minted with.
    let error =
        fail(Fail::Says(400, "JSON_PARSER_ERROR", "authorization=Bearer {token}")).await.unwrap_err().to_string();
    assert!(error.contains("authorization=Bearer [secret]"), "{error}");
    assert!(matches!(fail(Fail::After).await, Err(WriteError::Unavailable { .. })));
    assert_eq!(
        codes(&contacts(&["1"]).write(&*to, Op::Upsert).await.unwrap()),
        ["updated"],
        "the request whose answer was lost had been done"
    );
}

#[tokio::test]
async fn updates_and_deletes_find_their_records() {
    let double = start().await;
    let to = open(&double, "Contact", json!({}), json!({})).await;
    contacts(&["1", "2", "3"]).write(&*to, Op::Upsert).await.unwrap();
    let id = |ext| held(&double, ext)["Id"].as_str().unwrap().to_owned();
    let (one, two) = (id("1"), id("2"));
    let (gone, account) =
        ("003000000000999AAA", double.org().object("Account").records().keys().next().unwrap().clone());

    // By ids that are remembered, that lead nowhere, and by none.
    let batch = contacts(&["1", "2", "9"]).with_ids(&[Some(&one), Some(gone), None]);
    assert_eq!(codes(&batch.write(&*to, Op::Update).await.unwrap()), ["updated", "updated", "not_found"]);
    // By the id itself, also in its short form.
    let by_id = Batch::new(
        &[("Id", Type::Text, true), FIELDS[1]].map(|(n, k, i)| (n, k, i)),
        &[one[..15].to_owned(), gone.into()].iter().map(|i| vec![Cell::Text(i), Cell::Text("New")]).collect::<Vec<_>>(),
    );
    assert_eq!(codes(&by_id.write(&*to, Op::Update).await.unwrap()), ["updated", "not_found"]);
    assert_eq!(held(&double, "1")["LastName"], "New");

    // An id of another object is none of ours; what is gone is done, whoever deleted it.
    double.org().object("Contact").remove(&two);
    let batch = Batch::new(&FIELDS[..1], &["1", "2", "3", "9"].map(|e| vec![Cell::Text(e)])).with_ids(&[
        Some(&account),
        Some(&two),
        None,
        None,
    ]);
    assert_eq!(codes(&batch.write(&*to, Op::Delete).await.unwrap()), ["deleted"; 4]);
    assert!(double.org().object("Contact").records().is_empty());
    assert_eq!(double.org().object("Account").records().len(), 3);
}

#[tokio::test]
async fn many_records_are_read_back_page_by_page() {
    let double = start().await;
    let to = open(&double, "Contact", json!({}), json!({})).await;
    let names: Vec<String> = (0..200).map(|n| format!("it's {n} \\ ü")).collect();
    contacts(&names.iter().map(String::as_str).collect::<Vec<_>>()).write(&*to, Op::Upsert).await.unwrap();
    double.org().records_of_a_page = 30;
    let batch = contacts(&["x"]);
    let identifiers: Vec<Vec<u8>> = names.iter().map(|n| cell(n)).collect();
    let read = to.read(&batch.layout, &identifiers).await.unwrap().unwrap();
    for (name, record) in names.iter().zip(read) {
        let record = record.unwrap();
        assert_eq!(domain::cells::Cells(&record).values().collect::<Vec<_>>(), [Cell::Text(name), Cell::Text(name)]);
    }
}

fn cell(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    domain::cells::push(&mut out, Cell::Text(text));
    out
}

#[test]
fn the_settings_say_what_is_wrong() {
    let entry = destinations::find("salesforce").unwrap();
    let schema = serde_json::to_value((entry.schema)()).unwrap();
    assert_eq!(schema.pointer("/properties/api_version/default"), Some(&Value::from("v67.0")));
}
