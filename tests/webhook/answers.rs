//! Every kind of answer, and what it comes to.

use std::time::Duration;

use domain::mode::{Mode, Op};
use domain::outcome::{Effect, Outcome, WriteError};
use domain::ports::Need;
use serde_json::json;
use support::double::{Behaviour, Double, RetryAfter};

use crate::rig::{PLANTED, Records, open};

/// The error that two records come to when the double answers like this, `url` and settings as usual.
async fn error(behaviour: Behaviour) -> WriteError {
    let double = Double::start();
    double.answer(behaviour);
    let hook = open(&double.url(), json!({}), "", json!({})).await;
    Records::new(&["a", "b"]).write(hook.as_ref(), Op::Upsert).await.unwrap_err()
}

/// The outcomes of three records when results are read, by position or by id.
async fn outcomes(behaviour: Behaviour, results: serde_json::Value) -> Vec<Outcome> {
    let double = Double::start();
    double.answer(behaviour);
    let hook = open(&double.url(), json!({}), "", json!({ "results": results })).await;
    Records::new(&["a", "b", "c"]).write(hook.as_ref(), Op::Upsert).await.unwrap()
}

#[tokio::test]
async fn a_good_status_accepts_all() {
    let double = Double::start();
    let hook = open(&double.url(), json!({}), "", json!({})).await;
    let records = Records::new(&["a", "b"]);
    assert_eq!(records.write(hook.as_ref(), Op::Upsert).await, Ok(vec![Outcome::accepted(Effect::Unknown); 2]));
    assert_eq!(double.records()["\"a\""], json!({"email": "a@h.test", "id": "a"}));
    assert_eq!(records.delete(hook.as_ref()).await, Ok(vec![Outcome::accepted(Effect::Deleted); 2]));
    assert!(double.records().is_empty());
    for code in [201, 202, 204] {
        double.answer(Behaviour::status(code));
        assert!(records.write(hook.as_ref(), Op::Append).await.is_ok(), "{code}");
    }
}

#[tokio::test]
async fn a_refused_batch_is_refused_with_what_was_said() {
    for code in [400, 409, 413, 414, 415, 422] {
        let error = error(Behaviour::message(code, "that will not do")).await;
        let expected = WriteError::Refused { code: format!("http_{code}"), detail: format!("it answers {code}: that will not do") };
        assert_eq!(error, expected);
    }
    let coded = error(Behaviour::Status(400, vec![], json!({"error": {"code": "E_MAIL", "message": "no"}}).to_string())).await;
    assert!(matches!(coded, WriteError::Refused { code, .. } if code == "E_MAIL"));
}

#[tokio::test]
async fn credentials_and_addresses_that_are_wrong_stop_the_run() {
    for code in [401, 403] {
        assert!(
            matches!(error(Behaviour::message(code, "who are you")).await, WriteError::Unauthorized { detail } if detail.contains("who are you")),
            "{code}"
        );
    }
    for code in [404, 405, 410] {
        assert!(matches!(error(Behaviour::status(code)).await, WriteError::Misconfigured { detail } if detail == format!("it answers {code}")), "{code}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Double::start();
    for code in [301, 302, 303, 307, 308] {
        let to = format!("{}secret/path", elsewhere.url());
        let error = error(Behaviour::Status(code, vec![("location".into(), to)], String::new())).await;
        assert!(matches!(&error, WriteError::Misconfigured { detail } if detail.contains("127.0.0.1") && detail.contains("not followed")), "{error}");
        assert!(!error.to_string().contains("secret/path"));
    }
    assert_eq!(elsewhere.count(), 0);
}

#[tokio::test]
async fn retry_after_is_read_in_every_form() {
    let of = async |code, after| match error(Behaviour::retry_after(code, after)).await {
        WriteError::Throttled { after } if code == 429 => after,
        WriteError::Unavailable { after, .. } if code != 429 => after,
        other => panic!("{code}: {other}"),
    };
    for code in [429, 502, 503, 504] {
        assert_eq!(of(code, RetryAfter::None).await, None);
        assert_eq!(of(code, RetryAfter::Garbage).await, None);
        assert_eq!(of(code, RetryAfter::Seconds(7.0)).await, Some(Duration::from_secs(7)));
        assert_eq!(of(code, RetryAfter::Seconds(0.25)).await, Some(Duration::from_millis(250)));
        // An HTTP date has whole seconds, and some time passes until it is read.
        let until = of(code, RetryAfter::Date(Duration::from_secs(3600))).await.unwrap();
        assert!(until <= Duration::from_secs(3600) && until > Duration::from_secs(3000), "{until:?}");
    }
}

#[tokio::test]
async fn errors_that_pass_are_told_as_such() {
    for code in [408, 425, 500, 502, 503, 504] {
        assert!(
            matches!(error(Behaviour::message(code, "later")).await, WriteError::Unavailable { after: None, detail } if detail.contains("later")),
            "{code}"
        );
    }
    assert!(
        matches!(error(Behaviour::Html(502)).await, WriteError::Unavailable { detail, .. } if detail.contains("HTML instead of JSON: Sign in Please sign in"))
    );
}

#[tokio::test]
async fn a_lost_answer_is_unknown_and_not_a_rejection() {
    for (behaviour, part) in [(Behaviour::Reset, "broke"), (Behaviour::ResetAfter, "may have taken"), (Behaviour::HalfBody, "broke")] {
        let error = error(behaviour).await;
        assert!(matches!(&error, WriteError::Unavailable { after: None, detail } if detail.contains(part)), "{error}");
    }
    let double = Double::start();
    double.answer(Behaviour::Hang(Duration::from_secs(60)));
    let hook = open(&double.url(), json!({"timeout": "200ms"}), "", json!({})).await;
    let error = Records::new(&["a"]).write(hook.as_ref(), Op::Upsert).await.unwrap_err();
    assert!(matches!(&error, WriteError::Unavailable { detail, .. } if detail.contains("within 200ms")), "{error}");
    double.shutdown();
    let error = Records::new(&["a"]).write(hook.as_ref(), Op::Upsert).await.unwrap_err();
    assert!(matches!(&error, WriteError::Unavailable { detail, .. } if detail.contains("no connection to 127.0.0.1")), "{error}");
}

#[tokio::test]
async fn failures_inside_a_good_answer_are_found() {
    let accepted = Outcome::accepted(Effect::Unknown);
    let bad = Outcome::rejected("invalid", "the record is invalid");
    for results in [json!({}), json!({"id": "/id"})] {
        let list = outcomes(Behaviour::fail_keys(["\"b\""], "invalid"), results.clone()).await;
        assert_eq!(list, [accepted.clone(), bad.clone(), accepted.clone()]);
        let list = outcomes(Behaviour::fail_keys(["\"c\""], "retry"), results).await;
        assert_eq!(list, [accepted.clone(), accepted.clone(), Outcome::retry("retry")]);
    }
}

#[tokio::test]
async fn a_record_without_a_result_is_unknown() {
    let (accepted, unknown) = (Outcome::accepted(Effect::Unknown), Outcome::unmentioned());
    let by_id = json!({"id": "/id"});
    assert_eq!(outcomes(Behaviour::TooFewResults, by_id.clone()).await, [accepted.clone(), accepted.clone(), unknown.clone()]);
    assert_eq!(outcomes(Behaviour::TooManyResults, by_id).await, vec![accepted; 3]);
    // By position, a list of another length says nothing of any record.
    assert_eq!(outcomes(Behaviour::TooFewResults, json!({})).await, vec![unknown.clone(); 3]);
    assert_eq!(outcomes(Behaviour::TooManyResults, json!({})).await, vec![unknown.clone(); 3]);
    assert_eq!(outcomes(Behaviour::Results(vec![]), json!({})).await, vec![unknown; 3]);
}

#[tokio::test]
async fn an_answer_nobody_can_read_accepts_nothing() {
    let unreadable = vec![Outcome::retry("unreadable_response"); 3];
    assert_eq!(outcomes(Behaviour::Html(200), json!({})).await, unreadable);
    assert_eq!(outcomes(Behaviour::status(204), json!({})).await, unreadable);
    assert_eq!(outcomes(Behaviour::Status(200, vec![], "[1,2".into()), json!({})).await, unreadable);
}

#[tokio::test]
async fn statuses_can_mean_something_else() {
    let double = Double::start();
    let hook = open(&double.url(), json!({"statuses": {"success": [409], "retry": [404], "permanent": [500]}}), "", json!({})).await;
    let records = Records::new(&["a"]);
    let write = async |code| {
        double.answer(Behaviour::status(code));
        records.write(hook.as_ref(), Op::Upsert).await
    };
    assert!(write(409).await.is_ok());
    assert!(matches!(write(404).await, Err(WriteError::Unavailable { .. })));
    assert!(matches!(write(500).await, Err(WriteError::Refused { .. })));
}

#[tokio::test]
async fn an_address_that_is_not_public_is_refused_before_anything_is_sent() {
    let double = Double::start();
    for host in ["127.0.0.1", "127.1", "localhost", "2130706433", "[::ffff:127.0.0.1]"] {
        let hook = open(&format!("http://{host}:{}/", double.port()), json!({"allow_private": false}), "", json!({})).await;
        let found = hook.preflight(Need { mode: Mode::Upsert, fields: &[] }).await.unwrap().findings;
        assert!(found[0].is_error() && found[0].to_string().contains("loopback") && found[0].to_string().contains("allow_private: true"), "{host}");
        let error = Records::new(&["a"]).write(hook.as_ref(), Op::Upsert).await.unwrap_err();
        assert!(matches!(&error, WriteError::Misconfigured { detail } if detail.contains("loopback")), "{host}: {error}");
    }
    assert_eq!(double.count(), 0);
    let hook = open(&format!("http://localhost:{}/", double.port()), json!({}), "", json!({})).await;
    assert!(hook.preflight(Need { mode: Mode::Upsert, fields: &[] }).await.unwrap().findings.is_empty());
    assert!(Records::new(&["a"]).write(hook.as_ref(), Op::Upsert).await.is_ok());
    assert_eq!(double.count(), 1);
}

#[tokio::test]
async fn a_planted_secret_shows_in_no_text() {
    let double = Double::start();
    let encoded = "planted%2Fsecret%2Bvalue";
    let echo = |text: &str| json!({"code": text, "message": format!("token {text} / {encoded} is not valid")}).to_string();
    let config = json!({"url": format!("{}${{env:TOKEN}}?k=${{env:TOKEN}}", double.url()), "timeout": "200ms"});
    let location = vec![("location".to_owned(), format!("https://h.test/{PLANTED}"))];
    let entries = vec![json!({"status": PLANTED, "error": {"code": PLANTED, "message": format!("no {PLANTED}")}})];
    let mut texts = Vec::new();
    for options in [json!({}), json!({"results": {}})] {
        let hook = open(&double.url(), config.clone(), "", options).await;
        for behaviour in [
            Behaviour::Status(400, vec![], echo(PLANTED)),
            Behaviour::Status(401, vec![], echo(PLANTED)),
            Behaviour::Status(404, vec![], format!("<html>{PLANTED}</html>")),
            Behaviour::Status(500, vec![], format!("{}{PLANTED}", "x".repeat(290))),
            Behaviour::Status(301, location.clone(), String::new()),
            Behaviour::Results(entries.clone()),
            Behaviour::Reset,
            Behaviour::HalfBody,
            Behaviour::Hang(Duration::from_secs(60)),
        ] {
            double.answer(behaviour);
            let result = Records::new(&["a"]).write(hook.as_ref(), Op::Upsert).await;
            texts.push(format!("{result:?} {}", result.as_ref().err().map(ToString::to_string).unwrap_or_default()));
        }
    }
    assert_eq!(double.count(), 18, "all were sent");
    assert!(double.requests().iter().all(|r| r.header("authorization") == Some(&format!("Bearer {PLANTED}"))));
    for text in texts {
        assert!(!text.contains("planted") && !text.contains(encoded), "{text}");
    }
}
