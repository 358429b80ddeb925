//! Answers that are not what was hoped for.

use std::time::Duration;

use domain::mode::Op;
use domain::outcome::{Outcome, WriteError};
use domain::value::{Type, Value as Cell};
use doubles::hubspot::HubSpotDouble;
use doubles::hubspot::gate::InjectedFault;
use serde_json::json;

use crate::rig::{Records, double, letters, open, open_with};

fn three() -> Records {
    Records::contacts(&[("a", "Ada"), ("b", "Bob"), ("c", "Cleo")])
}

async fn error(double: &HubSpotDouble, fault: InjectedFault) -> WriteError {
    double.portal().gate.fail_next(1, fault);
    three().write(&*open(double).await, Op::Upsert).await.unwrap_err()
}

#[tokio::test]
async fn what_is_not_mentioned_is_unknown() {
    let double = double();
    let hub = open(&double).await;
    double.portal().gate.fail_next(1, InjectedFault::EmptyResults);
    assert_eq!(
        three().write(&*hub, Op::Upsert).await.unwrap(),
        vec![Outcome::unmentioned(); 3],
        "200, and nothing was done"
    );
    assert!(double.portal().objects["contacts"].records.is_empty());
    double.portal().gate.fail_next(1, InjectedFault::LastResultMissing);
    let outcomes = three().write(&*hub, Op::Upsert).await.unwrap();
    assert_eq!(letters(&outcomes).matches('T').count(), 1, "{outcomes:?}");
    // Looking up may come to nothing as well: nobody is taken for gone because of that.
    for op in [Op::Delete, Op::Update] {
        double.portal().gate.fail_next(1, InjectedFault::EmptyResults);
        let by_email = Records::new(&[("email", Type::Text)], &[vec![Cell::Text("ada@h.test")]]);
        assert_eq!(by_email.write(&*hub, op).await.unwrap(), vec![Outcome::unmentioned()], "{op}");
    }
}

#[tokio::test]
async fn errors_that_pass_are_told_from_those_that_do_not() {
    let double = double();
    for status in [500, 502, 503, 504, 521, 522, 523, 524] {
        assert!(
            matches!(error(&double, InjectedFault::Status(status)).await, WriteError::Unavailable { after: None, .. }),
            "{status}"
        );
    }
    assert!(
        matches!(error(&double, InjectedFault::Html).await, WriteError::Unavailable { detail, .. } if detail.contains("HTML"))
    );
    assert!(
        matches!(error(&double, InjectedFault::Status(423)).await, WriteError::Unavailable { after: Some(a), .. } if a >= Duration::from_secs(2))
    );
    assert!(
        matches!(error(&double, InjectedFault::RetryAfter(503, 7)).await, WriteError::Unavailable { after: Some(a), .. } if a.as_secs() == 7)
    );
    let moved = error(&double, InjectedFault::RetryAfter(477, 7200)).await;
    assert_eq!(moved, WriteError::Throttled { after: Some(Duration::from_secs(7200)) }, "the account is being moved");
    for status in [400, 409, 414] {
        assert!(matches!(error(&double, InjectedFault::Status(status)).await, WriteError::Refused { .. }), "{status}");
    }
    for fault in [InjectedFault::Cut, InjectedFault::CutAfter] {
        assert!(
            matches!(error(&double, fault).await, WriteError::Unavailable { detail, .. } if detail.contains("may have taken"))
        );
    }
    double.portal().gate.scope_missing = true;
    let hub = open(&double).await;
    assert!(
        matches!(three().write(&*hub, Op::Upsert).await.unwrap_err(), WriteError::Unauthorized { detail } if detail.contains("scopes"))
    );
}

#[tokio::test]
async fn a_batch_that_is_refused_whole_is_refused_and_not_judged() {
    let double = double();
    let hub = open(&double).await;
    let rows = [vec![Cell::Text("ada@h.test"), Cell::Text("1")], vec![Cell::Text("bob@h.test"), Cell::Text("many")]];
    let by_email = Records::new(&[("email", Type::Text), ("score", Type::Text)], &rows);
    assert!(
        matches!(by_email.write(&*hub, Op::Upsert).await.unwrap_err(), WriteError::Refused { code, .. } if code == "INVALID_FLOAT")
    );
    let alone = Records::new(&[("email", Type::Text), ("score", Type::Text)], &rows[1..]);
    assert_eq!(letters(&alone.write(&*hub, Op::Upsert).await.unwrap()), "R");
}

#[tokio::test]
async fn a_property_that_is_gone_ends_the_run() {
    let double = double();
    let hub = open(&double).await;
    assert_eq!(letters(&three().write(&*hub, Op::Upsert).await.unwrap()), "CCC");
    double.portal().objects.get_mut("contacts").unwrap().properties.remove("firstname");
    let error = three().write(&*hub, Op::Upsert).await.unwrap_err();
    assert!(
        matches!(&error, WriteError::Misconfigured { detail } if detail.contains("`firstname`") && detail.contains("does not exist")),
        "{error}"
    );
}

#[tokio::test]
async fn tokens_are_minted_kept_and_renewed_once() {
    let oauth = json!({ "token": null, "oauth": { "client_id": "app", "client_secret": "${env:SECRET}", "refresh_token": "${env:REFRESH}" } });
    for version in ["v3", "2026-03"] {
        let double = double();
        let mut config = oauth.clone();
        config["version"] = json!(version);
        let hub = open_with(&double, config, "contacts", json!({})).await;
        for _ in 0..3 {
            three().write(&*hub, Op::Upsert).await.unwrap();
        }
        assert_eq!(double.portal().gate.minted, 1, "it is kept");
        double.portal().gate.tokens.clear();
        assert_eq!(
            letters(&three().write(&*hub, Op::Upsert).await.unwrap()),
            "UUU",
            "it ended early, and another is minted"
        );
        assert_eq!(double.portal().gate.minted, 2);
        double.portal().gate.token_life = 1;
        double.portal().gate.tokens.clear();
        three().write(&*hub, Op::Upsert).await.unwrap();
        three().write(&*hub, Op::Upsert).await.unwrap();
        assert_eq!(double.portal().gate.minted, 4, "one that is about to end is not used");
    }
    let double = double();
    let mut wrong = oauth.clone();
    wrong["oauth"]["refresh_token"] = json!("${env:OLD}");
    let hub = open_with(&double, wrong, "contacts", json!({})).await;
    let error = three().write(&*hub, Op::Upsert).await.unwrap_err();
    assert!(matches!(&error, WriteError::Unauthorized { detail } if detail.contains("refresh token")), "{error}");
    let fixed = open_with(&double, json!({ "token": "${env:OLD}" }), "contacts", json!({})).await;
    let error = three().write(&*fixed, Op::Upsert).await.unwrap_err();
    assert!(matches!(&error, WriteError::Unauthorized { .. }), "{error}");
    assert!(!format!("{error:?} {fixed:?}", fixed = fixed.limits()).contains("planted"));
    assert_eq!(
        double.portal().requests.iter().filter(|r| r.status == 401).count(),
        1,
        "a fixed token is not tried twice"
    );
}
