//! Every kind of answer, and what it comes to.

use std::time::Duration;

use base64::Engine as _;
use domain::mode::{Mode, Op};
use domain::outcome::{Effect, Outcome, WriteError};
use domain::ports::PreflightRequest;
use serde_json::json;
use support::double::{Behaviour, Double, RetryAfter};

use crate::rig::{PLANTED, Records, open, refused};

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
        let expected = WriteError::Refused {
            code: format!("http_{code}"),
            detail: format!("it answers {code}: that will not do"),
        };
        assert_eq!(error, expected);
    }
    let coded =
        error(Behaviour::Status(400, vec![], json!({"error": {"code": "E_MAIL", "message": "no"}}).to_string())).await;
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
        assert!(
            matches!(error(Behaviour::status(code)).await, WriteError::Misconfigured { detail } if detail == format!("it answers {code}")),
            "{code}"
        );
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Double::start();
    for code in [301, 302, 303, 307, 308] {
        let to = format!("{}secret/path", elsewhere.url());
        let error = error(Behaviour::Status(code, vec![("location".into(), to)], String::new())).await;
        assert!(
            matches!(&error, WriteError::Misconfigured { detail } if detail.contains("127.0.0.1") && detail.contains("not followed")),
            "{error}"
        );
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
    for (behaviour, part) in
        [(Behaviour::Reset, "broke"), (Behaviour::ResetAfter, "may have taken"), (Behaviour::HalfBody, "broke")]
    {
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
    assert!(
        matches!(&error, WriteError::Unavailable { detail, .. } if detail.contains("no connection to 127.0.0.1")),
        "{error}"
    );
}

#[tokio::test]
async fn failures_inside_a_good_answer_are_found() {
    let accepted = Outcome::accepted(Effect::Unknown);
    let bad = Outcome::rejected("invalid", "the record is invalid");
    for results in [json!({}), json!({"id": "/id"})] {
        let list = outcomes(Behaviour::fail_keys(["\"b\""], "invalid"), results.clone()).await;
        assert_eq!(list, [accepted.clone(), bad.clone(), accepted.clone()]);
        let list = outcomes(Behaviour::fail_keys(["\"c\""], "retry"), results).await;
        assert_eq!(list, [accepted.clone(), accepted.clone(), Outcome::retry_because("retry", "the record is retry")]);
    }
}

#[tokio::test]
async fn a_record_without_a_result_is_unknown() {
    let (accepted, unknown) = (Outcome::accepted(Effect::Unknown), Outcome::unmentioned());
    let by_id = json!({"id": "/id"});
    assert_eq!(
        outcomes(Behaviour::TooFewResults, by_id.clone()).await,
        [accepted.clone(), accepted.clone(), unknown.clone()]
    );
    assert_eq!(outcomes(Behaviour::TooManyResults, by_id).await, vec![accepted; 3]);
    // By position, a list of another length says nothing of any record.
    for (behaviour, count) in
        [(Behaviour::TooFewResults, 2), (Behaviour::TooManyResults, 4), (Behaviour::Results(vec![]), 0)]
    {
        let unknown =
            Outcome::retry_because("unknown_outcome", format!("the answer has {count} results for 3 records"));
        assert_eq!(outcomes(behaviour, json!({})).await, vec![unknown; 3]);
    }
}

#[tokio::test]
async fn an_answer_nobody_can_read_accepts_nothing() {
    for (behaviour, said) in [
        (Behaviour::Html(200), "HTML instead of JSON"),
        (Behaviour::status(204), "answers 204 with nothing"),
        (Behaviour::Status(200, vec![], "[1,2".into()), "4 bytes that are no JSON"),
    ] {
        for outcome in outcomes(behaviour, json!({})).await {
            assert!(
                matches!(&outcome, Outcome::Retry { code, detail, .. } if code == "unreadable_response" && detail.contains(said)),
                "{outcome:?}"
            );
        }
    }
}

/// A server that answers every request with these bytes.
fn answering(answer: Vec<u8>) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        while let Ok((mut socket, _)) = listener.accept() {
            let _ = std::io::Read::read(&mut socket, &mut [0; 16 * 1024]);
            let _ = std::io::Write::write_all(&mut socket, &answer);
        }
    });
    url
}

fn encoded(status: &str, encoding: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-encoding: {encoding}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// `{"results":[{"status":"ok"}]}`, compressed.
const GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xab\x56\x2a\x4a\x2d\x2e\xcd\x29\x29\x56\xb2\x8a\xae\x56\x2a\x2e\x49\x2c\x29\x05\x32\x95\xf2\xb3\x95\x6a\x63\x6b\x01\x11\x63\xea\x70\x1d\x00\x00\x00";
const DEFLATE: &[u8] =
    b"\x78\x9c\xab\x56\x2a\x4a\x2d\x2e\xcd\x29\x29\x56\xb2\x8a\xae\x56\x2a\x2e\x49\x2c\x29\x05\x32\x95\xf2\xb3\x95\x6a\x63\x6b\x01\x9f\xcf\x0a\x79";
/// `{"message":"bad email"}`, compressed.
const GZIP_ERROR: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xab\x56\xca\x4d\x2d\x2e\x4e\x4c\x4f\x55\xb2\x52\x4a\x4a\x4c\x51\x48\xcd\x4d\xcc\xcc\x51\xaa\x05\x00\xe7\x4c\x3d\xbe\x17\x00\x00\x00";

#[tokio::test]
async fn compressed_answers_are_read() {
    let records = Records::new(&["a"]);
    let write = async |answer| {
        let hook = open(&answering(answer), json!({}), "", json!({"results": {}})).await;
        records.write(hook.as_ref(), Op::Upsert).await
    };
    for (encoding, body) in [("gzip", GZIP), ("deflate", DEFLATE)] {
        assert_eq!(
            write(encoded("200 OK", encoding, body)).await.unwrap(),
            [Outcome::accepted(Effect::Unknown)],
            "{encoding}"
        );
    }
    let error = write(encoded("422 No", "gzip", GZIP_ERROR)).await.unwrap_err();
    assert!(matches!(&error, WriteError::Refused { detail, .. } if detail.contains("bad email")), "{error}");
    let error = write(encoded("200 OK", "gzip", &GZIP[..20])).await.unwrap_err();
    assert!(matches!(&error, WriteError::Unavailable { .. }), "{error}");
    let error = write(encoded("200 OK", "br", b"x")).await.unwrap_err();
    assert!(matches!(&error, WriteError::Unavailable { detail, .. } if detail.contains("encoding `br`")), "{error}");
}

#[tokio::test]
async fn a_good_status_is_not_always_a_yes() {
    let double = Double::start();
    let write = async |config, behaviour| {
        double.answer(behaviour);
        let hook = open(&double.url(), config, "", json!({})).await;
        Records::new(&["a", "b"]).write(hook.as_ref(), Op::Upsert).await
    };
    let body = |text: &str| Behaviour::Status(200, vec![], text.into());
    assert!(matches!(write(json!({}), Behaviour::Html(200)).await, Err(WriteError::Misconfigured { .. })));
    assert!(matches!(write(json!({}), Behaviour::status(207)).await, Err(WriteError::Misconfigured { .. })));
    let refused = write(json!({}), body(r#"{"success":false,"error":"no such list"}"#)).await.unwrap_err();
    assert!(matches!(&refused, WriteError::Refused { detail, .. } if detail.contains("no such list")), "{refused}");
    let accepted = vec![Outcome::accepted(Effect::Unknown); 2];
    assert_eq!(write(json!({}), body(r#"{"success":true}"#)).await.unwrap(), accepted);
    for behaviour in [Behaviour::Html(200), body(r#"{"success":false}"#)] {
        assert_eq!(
            write(json!({"statuses": {"success": [200]}}), behaviour).await.unwrap(),
            accepted,
            "where the settings say so"
        );
    }
}

/// Where the URL names the record, nothing at that address is about the record.
#[tokio::test]
async fn an_address_of_one_record_is_about_that_record() {
    let double = Double::start();
    for status in [404, 410] {
        double.answer(Behaviour::message(status, "no such customer"));
        let of = async |url: String| {
            let hook = open(&url, json!({}), "", json!({})).await;
            Records::new(&["a"]).write(hook.as_ref(), Op::Upsert).await.unwrap_err()
        };
        let one = of(format!("{}/{{{{id}}}}", double.url().trim_end_matches('/'))).await;
        assert!(
            matches!(&one, WriteError::Refused { detail, .. } if detail.contains("no such customer")),
            "{status} {one}"
        );
        assert!(
            matches!(of(double.url()).await, WriteError::Misconfigured { .. }),
            "{status}: of an address for all it is about all"
        );
    }
}

/// User and password of the URL are sent as every other client sends them.
#[tokio::test]
async fn user_and_password_of_the_url_are_sent() {
    let double = Double::start();
    let at = |user: &str| double.url().replacen("://", &format!("://{user}@"), 1);
    // The planted secret has `/` and `+` in it.
    for (user, expected) in [
        ("user:${env:TOKEN}", format!("user:{PLANTED}")),
        ("a%40b", "a@b:".to_owned()),
        ("${env:TOKEN}:", format!("{PLANTED}:")),
    ] {
        let hook = open(&at(user), json!({"headers": {}}), "", json!({})).await;
        Records::new(&["a"]).write(hook.as_ref(), Op::Upsert).await.unwrap();
        let sent = double.requests().pop().unwrap();
        let encoded = base64::engine::general_purpose::STANDARD.encode(expected);
        assert_eq!(sent.header("authorization"), Some(format!("Basic {encoded}").as_str()), "{user}");
        // And hidden, should it come back.
        double.answer(Behaviour::message(422, &format!("who is {encoded}, {PLANTED}?")));
        let error = Records::new(&["a"]).write(hook.as_ref(), Op::Upsert).await.unwrap_err().to_string();
        let hidden = !error.contains(PLANTED) && !error.contains(&encoded);
        assert!(hidden || !user.contains("TOKEN"), "{error}");
        double.recover();
    }
    for (user, what) in [("user:plain", "write it as a reference"), ("user:${env:TOKEN}", "only one of them")] {
        let headers = if user.contains("plain") { json!({}) } else { json!({"authorization": "Bearer ${env:TOKEN}"}) };
        let said = refused(json!({"url": at(user), "headers": headers})).await;
        assert!(said.contains(what), "{said}");
    }
}

#[tokio::test]
async fn statuses_can_mean_something_else() {
    let double = Double::start();
    let hook =
        open(&double.url(), json!({"statuses": {"success": [409], "retry": [404], "permanent": [500]}}), "", json!({}))
            .await;
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
        let hook =
            open(&format!("http://{host}:{}/", double.port()), json!({"allow_private": false}), "", json!({})).await;
        let found = hook.preflight(PreflightRequest { mode: Mode::Upsert, fields: &[] }).await.unwrap().findings;
        assert!(
            found[0].is_error()
                && found[0].to_string().contains("loopback")
                && found[0].to_string().contains("allow_private: true"),
            "{host}"
        );
        let error = Records::new(&["a"]).write(hook.as_ref(), Op::Upsert).await.unwrap_err();
        assert!(
            matches!(&error, WriteError::Misconfigured { detail } if detail.contains("loopback")),
            "{host}: {error}"
        );
    }
    assert_eq!(double.count(), 0);
    let hook = open(&format!("http://localhost:{}/", double.port()), json!({}), "", json!({})).await;
    assert!(hook.preflight(PreflightRequest { mode: Mode::Upsert, fields: &[] }).await.unwrap().findings.is_empty());
    assert!(Records::new(&["a"]).write(hook.as_ref(), Op::Upsert).await.is_ok());
    assert_eq!(double.count(), 1);
}

#[tokio::test]
async fn a_planted_secret_shows_in_no_text() {
    let double = Double::start();
    let encoded = "planted%2Fsecret%2Bvalue";
    let echo =
        |text: &str| json!({"code": text, "message": format!("token {text} / {encoded} is not valid")}).to_string();
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
