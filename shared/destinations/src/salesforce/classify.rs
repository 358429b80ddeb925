//! What answers mean: of a request, of a record. Pure.
//!
//! Source: the list of status codes in the SOAP and REST API guides (developer.salesforce.com).

use std::time::Duration;

use domain::mode::Op;
use domain::outcome::{Effect, Outcome, WriteError};
use serde_json::Value;

use clients::http::HttpReply;
use clients::http::detail::{self, Redactor, is_code};
use clients::http::status::{Statuses, classify_status};

/// One error of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RecordError {
    pub(super) code: String,
    pub(super) message: String,
    pub(super) fields: Vec<String>,
}

/// The org has no room for more records: nothing can be saved until somebody makes some.
pub(super) const STORAGE: &str = "STORAGE_LIMIT_EXCEEDED";

/// The errors of a record that pass.
fn passes(code: &str) -> bool {
    matches!(
        code,
        "UNABLE_TO_LOCK_ROW"
            | "SERVER_UNAVAILABLE"
            | "REQUEST_RUNNING_TOO_LONG"
            | "QUERY_TIMEOUT"
            | "REQUEST_LIMIT_EXCEEDED"
            | STORAGE
    )
}

/// DeliveryFailure that passes may come in the words of a trigger or a flow that met it.
fn passes_within(error: &RecordError) -> bool {
    passes(&error.code)
        || ["UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access"].iter().any(|words| error.message.contains(words))
}

/// The outcome of a record with these errors.
pub(super) fn record(op: Op, errors: &[RecordError], redactor: &Redactor) -> Outcome {
    let Some(first) = errors.first() else { return Outcome::unmentioned() };
    if is_gone(op, first) {
        return match op {
            Op::Delete => Outcome::accepted(Effect::Deleted),
            _ => Outcome::Skipped { reason: NOT_FOUND.into() },
        };
    }
    let tell = |e: &RecordError| match e.fields.is_empty() {
        true => e.message.clone(),
        false => format!("{}: {}", e.fields.join(", "), e.message),
    };
    if let Some(passing) = errors.iter().find(|e| passes_within(e)) {
        let code = if passes(&passing.code) { &passing.code } else { "UNABLE_TO_LOCK_ROW" };
        return Outcome::retry_because(code, redactor.shorten(&tell(passing)));
    }
    let detail = errors.iter().map(tell).collect::<Vec<_>>().join("; ");
    Outcome::rejected(if is_code(&first.code) { first.code.as_str() } else { "rejected" }, redactor.shorten(&detail))
}

/// The reason of a skip: no such record there.
pub(super) const NOT_FOUND: &str = "not_found";

/// True when the error says that the record itself, and none that it refers to, is not there.
fn is_gone(op: Op, error: &RecordError) -> bool {
    let about_itself = error.fields.iter().all(|f| f.eq_ignore_ascii_case("id"));
    match error.code.as_str() {
        "ENTITY_IS_DELETED" => matches!(op, Op::Delete | Op::Update),
        "INVALID_CROSS_REFERENCE_KEY" | "NOT_FOUND" => matches!(op, Op::Delete | Op::Update) && about_itself,
        _ => false,
    }
}

/// The errors in one result of a collection.
pub(super) fn errors_of(result: &Value) -> Vec<RecordError> {
    let text = |json: &Value, name: &str| json.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let of = |error: &Value| RecordError {
        code: text(error, "statusCode"),
        message: text(error, "message"),
        fields: error
            .get("fields")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|f| f.as_str().map(str::to_owned))
            .collect(),
    };
    result.get("errors").and_then(Value::as_array).map(|all| all.iter().map(of).collect()).unwrap_or_default()
}

/// The error in `sf__Error` of a job's results: `CODE:message:FIELD,FIELD --`.
pub(super) fn error_of_row(text: &str) -> RecordError {
    let (code, rest) = text.split_once(':').unwrap_or((text, ""));
    let rest = rest.trim_end().trim_end_matches("--").trim_end();
    let (message, fields) = match rest.rsplit_once(':') {
        Some((message, fields)) if fields.is_empty() || fields.split(',').all(|f| super::name::is_name(f.trim())) => {
            (message, fields)
        }
        _ => (rest, ""),
    };
    let fields = fields.split(',').map(str::trim).filter(|f| !f.is_empty()).map(str::to_owned).collect();
    RecordError { code: code.to_owned(), message: message.to_owned(), fields }
}

/// A reply with a bad status.
pub(super) fn request(reply: &HttpReply, redactor: &Redactor, limit_pause: Duration) -> WriteError {
    let json: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let code =
        json.pointer("/0/errorCode").and_then(Value::as_str).filter(|c| is_code(c)).unwrap_or_default().to_owned();
    let said = detail::detail(&reply.body, redactor);
    let detail = format!(
        "it answers {}{}{said}",
        reply.status,
        if code.is_empty() { ": ".to_owned() } else { format!(" {code}: ") }
    );
    match code.as_str() {
        "REQUEST_LIMIT_EXCEEDED" => WriteError::Throttled { after: is_of_the_day(&said, reply).then_some(limit_pause) },
        "SERVER_UNAVAILABLE" | "REQUEST_RUNNING_TOO_LONG" | "QUERY_TIMEOUT" | "UNABLE_TO_LOCK_ROW" => {
            WriteError::Unavailable { after: None, detail }
        }
        "INVALID_SESSION_ID" | "INVALID_LOGIN" | "API_DISABLED_FOR_ORG" | "API_CURRENTLY_DISABLED" => {
            WriteError::Unauthorized { detail }
        }
        // Every record of a sync has the same fields of the same object.
        STORAGE | "INVALID_FIELD" | "INVALID_TYPE" | "NOT_FOUND" | "UNSUPPORTED_API_VERSION" => {
            WriteError::Misconfigured { detail }
        }
        _ => {
            let verdict =
                classify_status(reply.status, reply.header("retry-after"), reply.clock(), &Statuses::default());
            let code = if code.is_empty() { format!("http_{}", reply.status) } else { code };
            verdict.error(reply, code, said).unwrap_or(WriteError::Unavailable { after: None, detail })
        }
    }
}

/// One code, several limits: the requests of the day, or too many at once, which passes in seconds. What it says
/// decides; where that is neither, the usage that came with it does.
fn is_of_the_day(said: &str, reply: &HttpReply) -> bool {
    let used_up = || usage(reply).is_some_and(|(used, most)| used >= most);
    said.contains("TotalRequests") || !said.contains("Concurrent") && used_up()
}

/// Requests of the day that a reply tells of: used, and in all.
pub(super) fn usage(reply: &HttpReply) -> Option<(u64, u64)> {
    let (used, most) = reply
        .header("sforce-limit-info")?
        .split("api-usage=")
        .nth(1)?
        .split([';', ',', ' '])
        .next()?
        .split_once('/')?;
    Some((used.parse().ok()?, most.parse().ok()?))
}

/// That a request for a token came to nothing: who answered what.
pub(super) fn no_token(reply: &HttpReply, what: &str) -> String {
    format!("no token from {}, which answers {}: {what}", reply.url.host_str().unwrap_or_default(), reply.status)
}

/// A token request that was refused.
pub(super) fn token(reply: &HttpReply, redactor: &Redactor) -> WriteError {
    let json: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let text = |name: &str| json.get(name).and_then(Value::as_str).unwrap_or_default();
    let said = match text("error") {
        "" => detail::detail(&reply.body, redactor),
        error => redactor.shorten(&format!("{error} {}", text("error_description"))),
    };
    let detail = no_token(reply, &said);
    match reply.status {
        408 | 429 | 500..=599 => WriteError::Unavailable { after: None, detail },
        // An answer without an error of OAuth's is none of an authorization server.
        _ if text("error").is_empty() => {
            WriteError::Misconfigured { detail: format!("{detail}. Is `domain` the org's My Domain?") }
        }
        _ => WriteError::Unauthorized { detail },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: &str, fields: &[&str]) -> RecordError {
        RecordError { code: code.into(), message: "m".into(), fields: fields.iter().map(|f| (*f).to_owned()).collect() }
    }

    fn in_words(code: &str, message: &str) -> RecordError {
        RecordError { message: message.into(), ..error(code, &[]) }
    }

    /// A letter for each outcome: D deleted, S skipped, T to be sent again, R rejected, U unknown.
    fn letter(op: Op, errors: &[RecordError]) -> char {
        match record(op, errors, &Redactor::default()) {
            Outcome::Accepted { .. } => 'D',
            Outcome::Skipped { .. } => 'S',
            Outcome::Retry { code, .. } if code == "unknown_outcome" => 'U',
            Outcome::Retry { .. } => 'T',
            Outcome::Rejected { .. } => 'R',
        }
    }

    #[test]
    fn every_error_of_a_record_has_its_outcome() {
        let ops = [Op::Upsert, Op::Update, Op::Append, Op::Delete];
        for (errors, letters) in [
            (vec![error("UNABLE_TO_LOCK_ROW", &[])], "TTTT"),
            (vec![error("STORAGE_LIMIT_EXCEEDED", &[])], "TTTT"),
            (vec![error("FIELD_CUSTOM_VALIDATION_EXCEPTION", &[]), error("UNABLE_TO_LOCK_ROW", &[])], "TTTT"),
            (
                vec![in_words(
                    "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
                    "t: execution of BeforeUpdate caused by: UNABLE_TO_LOCK_ROW, unable to …",
                )],
                "TTTT",
            ),
            (
                vec![in_words(
                    "CANNOT_EXECUTE_FLOW_TRIGGER",
                    "UNABLE_TO_LOCK_ROW: unable to obtain exclusive access to this record",
                )],
                "TTTT",
            ),
            (vec![in_words("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "t: System.NullPointerException")], "RRRR"),
            (vec![error("ENTITY_IS_DELETED", &[])], "RSRD"),
            (vec![error("INVALID_CROSS_REFERENCE_KEY", &["Id"])], "RSRD"),
            (vec![error("INVALID_CROSS_REFERENCE_KEY", &["AccountId"])], "RRRR"),
            (vec![error("DUPLICATE_VALUE", &["Ext__c"])], "RRRR"),
            (vec![error("DUPLICATES_DETECTED", &[])], "RRRR"),
            (vec![error("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", &["Tier__c"])], "RRRR"),
            (vec![], "UUUU"),
        ] {
            assert_eq!(ops.map(|op| letter(op, &errors)).into_iter().collect::<String>(), letters, "{errors:?}");
        }
    }

    #[test]
    fn errors_of_rows_come_apart() {
        assert_eq!(error_of_row("DUPLICATE_VALUE:m:Ext__c --"), error("DUPLICATE_VALUE", &["Ext__c"]));
        assert_eq!(error_of_row("REQUIRED_FIELD_MISSING:m:LastName, Ext__c --").fields, ["LastName", "Ext__c"]);
        assert_eq!(
            error_of_row("FIELD_CUSTOM_VALIDATION_EXCEPTION:m:--"),
            error("FIELD_CUSTOM_VALIDATION_EXCEPTION", &[])
        );
        let colons = error_of_row("X:Value does not exist: or does not match: y z:Field__c --");
        assert_eq!(
            (colons.message.as_str(), colons.fields),
            ("Value does not exist: or does not match: y z", vec!["Field__c".to_owned()])
        );
        assert_eq!(error_of_row("odd").code, "odd");
    }

    #[test]
    fn every_error_of_a_request_is_a_decision() {
        let of = |status: u16, body: &str| {
            let url = clients::http::Url::parse("https://x.test/").unwrap();
            let reply = HttpReply {
                at: domain::clock::Millis(0),
                url,
                status,
                headers: clients::http::HeaderMap::new(),
                body: body.as_bytes().to_vec(),
            };
            request(&reply, &Redactor::default(), Duration::from_secs(3600))
        };
        let json = |code: &str| format!(r#"[{{"errorCode":"{code}","message":"m"}}]"#);
        let limit =
            |message: &str| of(403, &json("REQUEST_LIMIT_EXCEEDED").replace("\"m\"", &format!("\"{message}\"")));
        assert_eq!(
            limit("TotalRequests Limit exceeded."),
            WriteError::Throttled { after: Some(Duration::from_secs(3600)) }
        );
        for at_once in [
            "ConcurrentPerOrgLongTxn Limit exceeded.",
            "ConcurrentRequests (Concurrent API Requests) Limit exceeded.",
            "m",
        ] {
            assert_eq!(limit(at_once), WriteError::Throttled { after: None }, "{at_once}");
        }
        assert!(matches!(of(401, &json("INVALID_SESSION_ID")), WriteError::Unauthorized { .. }));
        assert!(matches!(of(403, &json("API_DISABLED_FOR_ORG")), WriteError::Unauthorized { .. }));
        assert!(matches!(of(400, &json("INVALID_FIELD")), WriteError::Misconfigured { .. }));
        assert!(matches!(of(503, &json("SERVER_UNAVAILABLE")), WriteError::Unavailable { .. }));
        assert!(
            matches!(of(400, &json("JSON_PARSER_ERROR")), WriteError::Refused { code, .. } if code == "JSON_PARSER_ERROR")
        );
        assert!(matches!(of(502, "<html>"), WriteError::Unavailable { .. }));
    }
}
