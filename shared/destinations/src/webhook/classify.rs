//! What a response with a good status means: for each record where `results` says how to read it, else for all of them.
//! What a bad status means is decided in [`clients::http::status`].
//!
//! A good status is not always a yes. `207 Multi-Status` says that the answer is in the body (RFC 4918 §13); a page of
//! HTML where JSON was sent to is somebody else's (a sign-in page, a proxy, a firewall); `{"success": false}` is a no.

use std::collections::HashMap;

use domain::mode::Op;
use domain::outcome::{Effect, Outcome, WriteError};
use serde_json::Value;

use super::config::Results;
use clients::http::HttpReply;
use clients::http::detail::{self, Redactor};

/// Words of a status that mean no.
const NO: [&str; 5] = ["error", "errors", "fail", "failed", "failure"];

/// The outcomes of the records with these stable ids, out of a response with a good status. `meant`: the settings say
/// that this status accepts, whatever else the response says.
pub(super) fn outcomes(
    reply: &HttpReply,
    ids: &[String],
    op: Op,
    results: Option<&Results>,
    meant: bool,
    redactor: &Redactor,
) -> Result<Vec<Outcome>, WriteError> {
    let Some(results) = results else {
        return match refusal(reply, redactor).filter(|_| !meant) {
            Some(error) => Err(error),
            None => Ok(vec![Outcome::accepted(default_effect(op)); ids.len()]),
        };
    };
    let json = serde_json::from_slice::<Value>(&reply.body).ok();
    let list = match json.as_ref().and_then(|json| json.pointer(&results.pointer)) {
        Some(Value::Array(list)) => list.clone(),
        // One record to a request: its result needs no list around it.
        Some(one @ Value::Object(_)) if ids.len() == 1 => vec![one.clone()],
        _ => {
            return Ok(vec![
                Outcome::retry_because(
                    "unreadable_response",
                    unreadable(reply, json.as_ref(), results, redactor)
                );
                ids.len()
            ]);
        }
    };
    Ok(match (&results.index, &results.id) {
        (Some(pointer), _) => by_index(&list, ids.len(), op, results, pointer, redactor),
        (None, Some(pointer)) => by_id(&list, ids, op, results, pointer, redactor),
        // A list of another length says nothing: which of the records it leaves out is anybody's guess.
        (None, None) if list.len() != ids.len() => {
            let detail = format!("the answer has {} results for {} records", list.len(), ids.len());
            vec![Outcome::retry_because(domain::bucket::UNKNOWN_OUTCOME, detail); ids.len()]
        }
        (None, None) => list.iter().map(|entry| outcome(entry, op, results, redactor)).collect(),
    })
}

/// Why a response with a good status, of which the settings say nothing, is not a yes.
fn refusal(reply: &HttpReply, redactor: &Redactor) -> Option<WriteError> {
    let status = reply.status;
    if status == 207 {
        let detail = "it answers 207, which says that each record has a result of its own; tell where in `destination.options.results`, or name 207 in `statuses.success` if it is a yes";
        return Some(WriteError::Misconfigured { detail: detail.into() });
    }
    if is_page(&reply.body) {
        let page = detail::detail(&reply.body, redactor);
        let detail = format!(
            "it answers {status} with a page ({page}); if that is its yes, name {status} in the connection's `statuses.success`"
        );
        return Some(WriteError::Misconfigured { detail });
    }
    let json: Value = serde_json::from_slice(&reply.body).ok()?;
    let fields = json.as_object()?;
    let is_no = ["success", "ok"].iter().any(|name| fields.get(*name) == Some(&Value::Bool(false)))
        || fields
            .get("status")
            .and_then(Value::as_str)
            .is_some_and(|status| NO.iter().any(|no| status.eq_ignore_ascii_case(no)))
        || fields
            .get("error")
            .is_some_and(|error| error.is_string() && error != "" || error.is_object() || *error == Value::Bool(true))
        || fields.get("errors").is_some_and(|errors| {
            errors.as_array().is_some_and(|all| !all.is_empty())
                || errors.as_object().is_some_and(|all| !all.is_empty())
        });
    let code = || detail::code(&json).map_or("refused".to_owned(), |code| short(&redactor.hide(&code)));
    is_no.then(|| WriteError::Refused {
        code: code(),
        detail: format!("it answers {status}: {}", detail::detail(&reply.body, redactor)),
    })
}

/// True for a page that is meant for people. The media type says little: many a hook answers `ok` as `text/html`.
fn is_page(body: &[u8]) -> bool {
    let start = body.trim_ascii_start();
    ["<!doctype html", "<html", "<head", "<body"]
        .iter()
        .any(|tag| start.get(..tag.len()).is_some_and(|s| s.eq_ignore_ascii_case(tag.as_bytes())))
}

/// What came, where results were to be.
fn unreadable(reply: &HttpReply, json: Option<&Value>, results: &Results, redactor: &Redactor) -> String {
    let HttpReply { status, body, .. } = reply;
    if body.iter().all(u8::is_ascii_whitespace) {
        return format!(
            "it answers {status} with nothing, and `results` says that it tells of each record; leave `results` out if it does not"
        );
    }
    let kind = reply.header("content-type").unwrap_or("no media type");
    match json {
        Some(_) => format!(
            "it answers {status}, and at `results.pointer: {}` is no list: {}",
            results.pointer,
            detail::detail(body, redactor)
        ),
        None => format!(
            "it answers {status} with {} bytes that are no JSON ({}): {}",
            body.len(),
            redactor.shorten(kind),
            detail::detail(body, redactor)
        ),
    }
}

/// Results that name records by their place in the request, from 0. Such a list holds those that failed: whoever it
/// does not name is accepted.
fn by_index(
    list: &[Value],
    count: usize,
    op: Op,
    results: &Results,
    pointer: &str,
    redactor: &Redactor,
) -> Vec<Outcome> {
    let mut out = vec![Outcome::accepted(default_effect(op)); count];
    for entry in list {
        let at = entry.pointer(pointer).and_then(|at| at.as_u64().or_else(|| at.as_str()?.parse().ok()));
        let Some(outcome) = at.and_then(|at| out.get_mut(usize::try_from(at).ok()?)) else {
            // One that cannot be placed may be about any of them.
            return vec![
                Outcome::retry_because(
                    "unreadable_response",
                    format!("a result has no place of a record at `{pointer}`")
                );
                count
            ];
        };
        *outcome = match self::outcome(entry, op, results, redactor) {
            // An entry that says nothing of a status is there because something is wrong.
            Outcome::Retry { code, .. } if code == domain::bucket::UNKNOWN_OUTCOME => {
                Outcome::rejected("rejected", redactor.shorten(&entry.to_string()))
            }
            told => told,
        };
    }
    out
}

/// Results matched by the id that was sent. Results for ids that were not sent are ignored; an id with two
/// different results has none.
fn by_id(
    list: &[Value],
    ids: &[String],
    op: Op,
    results: &Results,
    pointer: &str,
    redactor: &Redactor,
) -> Vec<Outcome> {
    let mut found: HashMap<&str, Outcome> = HashMap::new();
    for entry in list {
        let Some(id) = entry.pointer(pointer).and_then(Value::as_str) else { continue };
        let new = outcome(entry, op, results, redactor);
        match found.get_mut(id) {
            Some(known) if *known != new => *known = Outcome::unmentioned(),
            Some(_) => {}
            None => drop(found.insert(id, new)),
        }
    }
    ids.iter().map(|id| found.get(id.as_str()).cloned().unwrap_or_else(Outcome::unmentioned)).collect()
}

/// The outcome of one result. A result with neither a status nor an error says nothing.
fn outcome(entry: &Value, op: Op, results: &Results, redactor: &Redactor) -> Outcome {
    let status = entry.pointer(&results.status).and_then(as_text);
    let error = entry.pointer(&results.error).filter(|e| !e.is_null() && **e != Value::Bool(false));
    let said = || {
        error
            .map(|e| detail::message(e).unwrap_or_else(|| e.to_string()))
            .or_else(|| detail::message(entry))
            .unwrap_or_default()
    };
    match (&status, error) {
        (Some(status), _) if results.ok.contains(status) => Outcome::accepted(effect(status, op)),
        (Some(status), _) if results.retry.contains(status) => {
            Outcome::retry_because(short(status), redactor.shorten(&said()))
        }
        (None, None) => Outcome::unmentioned(),
        _ => {
            let code = error.and_then(detail::code).or_else(|| entry.get("code").and_then(as_text)).or(status);
            Outcome::rejected(
                code.map_or("rejected".to_owned(), |c| short(&redactor.hide(&c))),
                redactor.shorten(&said()),
            )
        }
    }
}

fn short(code: &str) -> String {
    if detail::is_code(code) { code.to_owned() } else { "rejected".to_owned() }
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        _ => None,
    }
}

fn default_effect(op: Op) -> Effect {
    if op == Op::Delete { Effect::Deleted } else { Effect::Unknown }
}

fn effect(status: &str, op: Op) -> Effect {
    match status {
        "created" => Effect::Created,
        "updated" => Effect::Updated,
        "deleted" => Effect::Deleted,
        _ => default_effect(op),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ids() -> Vec<String> {
        ["a", "b", "c"].map(String::from).to_vec()
    }

    fn reply(status: u16, body: &[u8]) -> HttpReply {
        HttpReply {
            at: domain::clock::Millis(0),
            url: clients::http::Url::parse("https://h.test/").unwrap(),
            status,
            headers: clients::http::HeaderMap::new(),
            body: body.to_vec(),
        }
    }

    /// A letter for each outcome: A accepted, R rejected, U unmentioned, X unreadable, T retry.
    fn letters(body: &[u8], results: Option<&Results>) -> String {
        let letter = |o: &Outcome| match o {
            Outcome::Accepted { .. } => 'A',
            Outcome::Rejected { .. } => 'R',
            Outcome::Retry { code, .. } if code == "unknown_outcome" => 'U',
            Outcome::Retry { code, .. } if code == "unreadable_response" => 'X',
            Outcome::Retry { .. } => 'T',
            Outcome::Skipped { .. } => 'S',
        };
        outcomes(&reply(200, body), &ids(), Op::Upsert, results, false, &Redactor::default())
            .unwrap()
            .iter()
            .map(letter)
            .collect()
    }

    #[test]
    fn without_results_a_good_status_accepts_all() {
        for yes in [
            "",
            "ok",
            "{}",
            "[]",
            r#"{"success":true}"#,
            r#"{"ok":true,"error":null,"errors":[]}"#,
            r#"{"status":"accepted"}"#,
            r#"{"error":""}"#,
            "no JSON",
            "<ack/>",
        ] {
            assert_eq!(letters(yes.as_bytes(), None), "AAA", "{yes}");
        }
        let deleted = outcomes(&reply(204, b""), &ids(), Op::Delete, None, false, &Redactor::default()).unwrap();
        assert!(deleted.iter().all(|o| *o == Outcome::accepted(Effect::Deleted)));
    }

    #[test]
    fn a_good_status_is_not_always_a_yes() {
        let of = |status, body: &str, meant| {
            outcomes(&reply(status, body.as_bytes()), &ids(), Op::Upsert, None, meant, &Redactor::default())
        };
        for no in [
            r#"{"success":false,"error":"nope"}"#,
            r#"{"ok":false}"#,
            r#"{"status":"error","message":"m"}"#,
            r#"{"status":"FAILED"}"#,
            r#"{"error":"nope"}"#,
            r#"{"error":{"code":"bad"}}"#,
            r#"{"data":null,"errors":[{"message":"m"}]}"#,
            r#"{"errors":{"email":["is taken"]}}"#,
        ] {
            assert!(matches!(of(200, no, false), Err(WriteError::Refused { .. })), "{no}");
            assert!(of(200, no, true).is_ok(), "{no}");
        }
        let page = "<!doctype html><title>Sign in</title>";
        for (status, body, said) in [
            (200, page, "Sign in"),
            (202, page, "`statuses.success`"),
            (207, "[]", "`destination.options.results`"),
            (207, "", "207"),
        ] {
            assert!(
                matches!(of(status, body, false), Err(WriteError::Misconfigured { detail }) if detail.contains(said)),
                "{status} {body}"
            );
            assert!(of(status, body, true).is_ok(), "{status} {body}");
        }
    }

    #[test]
    fn results_may_be_one_object_or_named_by_place() {
        let one = |body: &str, results: &Results| {
            outcomes(&reply(200, body.as_bytes()), &ids()[..1], Op::Upsert, Some(results), false, &Redactor::default())
                .unwrap()
        };
        let whole: Results = serde_json::from_value(json!({"pointer": "", "status": "/success"})).unwrap();
        assert_eq!(one(r#"{"success":true}"#, &whole), [Outcome::accepted(Effect::Unknown)]);
        assert_eq!(one(r#"{"success":false,"error":"nope"}"#, &whole), [Outcome::rejected("false", "nope")]);
        assert_eq!(letters(br#"{"success":true}"#, Some(&whole)), "XXX", "of several records it says nothing");

        let errors: Results = serde_json::from_value(json!({"pointer": "/errors", "index": "/index"})).unwrap();
        for (body, expected) in [
            (r#"{"errors":[]}"#, "AAA"),
            (r#"{"errors":[{"index":1,"error":"m"}]}"#, "ARA"),
            (r#"{"errors":[{"index":"2"},{"index":0,"status":"retry"}]}"#, "TAR"),
            (r#"{"errors":[{"index":3,"error":"m"}]}"#, "XXX"),
            (r#"{"errors":[{"error":"m"}]}"#, "XXX"),
            ("{}", "XXX"),
        ] {
            assert_eq!(letters(body.as_bytes(), Some(&errors)), expected, "{body}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let of = |body: &str| match &outcomes(
            &reply(200, body.as_bytes()),
            &ids(),
            Op::Upsert,
            Some(&Results::default()),
            false,
            &Redactor::default(),
        )
        .unwrap()[0]
        {
            Outcome::Retry { detail, .. } => detail.clone(),
            other => panic!("{other:?}"),
        };
        for (body, part) in [
            ("", "with nothing"),
            (" \n", "with nothing"),
            ("<html><title>Sign in</title>", "HTML instead of JSON: Sign in"),
            (r#"{"result":[]}"#, r#"`results.pointer: /results` is no list: {"result":[]}"#),
            ("plain words", "11 bytes that are no JSON (no media type): plain words"),
            (r#"{"results":[{"status":"ok"}]}"#, "1 results for 3 records"),
        ] {
            assert!(of(body).contains(part), "`{part}` is not in: {}", of(body));
        }
    }

    #[test]
    fn results_by_position_need_the_right_length() {
        let results = Results::default();
        for (body, expected) in [
            (r#"{"results":[{"status":"ok"},{"status":"created"},{"status":"accepted"}]}"#, "AAA"),
            (r#"{"results":[{"status":"ok"},{"status":"failed","error":"bad"},{"status":"retry"}]}"#, "ART"),
            (r#"{"results":[{"status":true},{"status":"ok"},{"error":{"message":"no"}}]}"#, "AAR"),
            (r#"{"results":[{"status":"ok"},{},{"status":null,"error":null}]}"#, "AUU"),
            (r#"{"results":[{"status":"ok"},{"status":"ok"}]}"#, "UUU"),
            (r#"{"results":[{"status":"ok"},{"status":"ok"},{"status":"ok"},{"status":"ok"}]}"#, "UUU"),
            (r#"{"results":[]}"#, "UUU"),
            (r#"{"results":{"a":"ok"}}"#, "XXX"),
            (r#"{"other":[]}"#, "XXX"),
            ("<html>ok</html>", "XXX"),
            ("", "XXX"),
            (r#"{"results":[{"status":"ok"}"#, "XXX"),
        ] {
            assert_eq!(letters(body.as_bytes(), Some(&results)), expected, "{body}");
        }
    }

    #[test]
    fn results_by_id_match_what_was_sent() {
        let results = Results { id: Some("/id".into()), ..Results::default() };
        for (body, expected) in [
            (r#"{"results":[{"id":"c","status":"ok"},{"id":"a","status":"ok"},{"id":"b","status":"bad"}]}"#, "ARA"),
            (r#"{"results":[{"id":"b","status":"ok"}]}"#, "UAU"),
            (
                r#"{"results":[{"id":"a","status":"ok"},{"id":"x","status":"ok"},{"id":"b","status":"ok"},{"id":"c","status":"ok"}]}"#,
                "AAA",
            ),
            (
                r#"{"results":[{"id":"a","status":"ok"},{"id":"a","status":"bad"},{"id":"b","status":"ok"},{"id":"b","status":"ok"}]}"#,
                "UAU",
            ),
            (r#"{"results":[{"status":"ok"},{"status":"ok"},{"status":"ok"}]}"#, "UUU"),
        ] {
            assert_eq!(letters(body.as_bytes(), Some(&results)), expected, "{body}");
        }
    }

    #[test]
    fn pointers_and_words_are_the_syncs_own() {
        let results: Results = serde_json::from_value(
            json!({"pointer": "/d/r", "status": "/s/code", "ok": ["200"], "retry": ["429"], "error": "/s/text"}),
        )
        .unwrap();
        let body = br#"{"d":{"r":[{"s":{"code":200}},{"s":{"code":429}},{"s":{"code":422,"text":"no"}}]}}"#;
        assert_eq!(letters(body, Some(&results)), "ATR");
    }

    #[test]
    fn a_rejection_says_what_was_said_without_secrets() {
        let body = br#"{"results":[{"status":"bad words here","error":"token hush-hush is wrong"},{"status":"invalid","code":"E42"},{"status":"x","error":{"code":"C","message":"m"}}]}"#;
        let all = outcomes(
            &reply(200, body),
            &ids(),
            Op::Upsert,
            Some(&Results::default()),
            false,
            &Redactor::new(["hush-hush"]),
        )
        .unwrap();
        let expected = [
            Outcome::rejected("rejected", "token [secret] is wrong"),
            Outcome::rejected("E42", ""),
            Outcome::rejected("C", "m"),
        ];
        assert_eq!(all, expected);
    }
}
