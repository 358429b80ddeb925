//! What a good response means for each record. What a bad status means is decided in [`crate::http::status`].

use std::collections::HashMap;

use domain::mode::Op;
use domain::outcome::{Effect, Outcome};
use serde_json::Value;

use super::config::Results;
use crate::http::detail::{self, Redactor};

/// The outcomes of the records with these stable ids, out of the body of a response with a good status.
pub(super) fn outcomes(body: &[u8], ids: &[String], op: Op, results: Option<&Results>, redactor: &Redactor) -> Vec<Outcome> {
    let Some(results) = results else {
        return vec![Outcome::accepted(default_effect(op)); ids.len()];
    };
    let list = serde_json::from_slice::<Value>(body).ok().and_then(|json| match json.pointer(&results.pointer) {
        Some(Value::Array(list)) => Some(list.clone()),
        _ => None,
    });
    let Some(list) = list else {
        return vec![Outcome::retry("unreadable_response"); ids.len()];
    };
    match &results.id {
        Some(pointer) => by_id(&list, ids, op, results, pointer, redactor),
        // A list of another length says nothing: which of the records it leaves out is anybody's guess.
        None if list.len() != ids.len() => vec![Outcome::unmentioned(); ids.len()],
        None => list.iter().map(|entry| outcome(entry, op, results, redactor)).collect(),
    }
}

/// Results matched by the id that was sent. Results for ids that were not sent are ignored; an id with two
/// different results has none.
fn by_id(list: &[Value], ids: &[String], op: Op, results: &Results, pointer: &str, redactor: &Redactor) -> Vec<Outcome> {
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
    match (&status, error) {
        (Some(status), _) if results.ok.contains(status) => Outcome::accepted(effect(status, op)),
        (Some(status), _) if results.retry.contains(status) => Outcome::retry(short(status)),
        (None, None) => Outcome::unmentioned(),
        _ => {
            let said = error.map(|e| detail::message(e).unwrap_or_else(|| e.to_string())).or_else(|| detail::message(entry)).unwrap_or_default();
            let code = error.and_then(detail::code).or_else(|| entry.get("code").and_then(as_text)).or(status);
            Outcome::rejected(code.map_or("rejected".to_owned(), |c| short(&redactor.hide(&c))), redactor.shorten(&said))
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
        outcomes(body, &ids(), Op::Upsert, results, &Redactor::default()).iter().map(letter).collect()
    }

    #[test]
    fn without_results_a_good_status_accepts_all() {
        assert_eq!(letters(b"<html>", None), "AAA");
        let deleted = outcomes(b"", &ids(), Op::Delete, None, &Redactor::default());
        assert!(deleted.iter().all(|o| *o == Outcome::accepted(Effect::Deleted)));
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
            (r#"{"results":[{"id":"a","status":"ok"},{"id":"x","status":"ok"},{"id":"b","status":"ok"},{"id":"c","status":"ok"}]}"#, "AAA"),
            (r#"{"results":[{"id":"a","status":"ok"},{"id":"a","status":"bad"},{"id":"b","status":"ok"},{"id":"b","status":"ok"}]}"#, "UAU"),
            (r#"{"results":[{"status":"ok"},{"status":"ok"},{"status":"ok"}]}"#, "UUU"),
        ] {
            assert_eq!(letters(body.as_bytes(), Some(&results)), expected, "{body}");
        }
    }

    #[test]
    fn pointers_and_words_are_the_syncs_own() {
        let results: Results =
            serde_json::from_value(json!({"pointer": "/d/r", "status": "/s/code", "ok": ["200"], "retry": ["429"], "error": "/s/text"})).unwrap();
        let body = br#"{"d":{"r":[{"s":{"code":200}},{"s":{"code":429}},{"s":{"code":422,"text":"no"}}]}}"#;
        assert_eq!(letters(body, Some(&results)), "ATR");
    }

    #[test]
    fn a_rejection_says_what_was_said_without_secrets() {
        let body = br#"{"results":[{"status":"bad words here","error":"token hush-hush is wrong"},{"status":"invalid","code":"E42"},{"status":"x","error":{"code":"C","message":"m"}}]}"#;
        let all = outcomes(body, &ids(), Op::Upsert, Some(&Results::default()), &Redactor::new(["hush-hush"]));
        let expected = [Outcome::rejected("rejected", "token [secret] is wrong"), Outcome::rejected("E42", ""), Outcome::rejected("C", "m")];
        assert_eq!(all, expected);
    }
}
