//! What an answer of HubSpot means. 200 and 207 go through one parser, whatever the version lists; what neither a
//! result nor an error mentions is unknown. Pure.

use std::collections::HashMap;
use std::time::Duration;

use domain::mode::Op;
use domain::outcome::{Effect, Outcome, WriteError};
use serde_json::Value;

use clients::http::HttpReply;
use clients::http::detail::is_code;
use clients::http::status::{StatusMeaning, Statuses, classify_status};

/// The category of a record that is not there.
pub(super) const NOT_FOUND: &str = "OBJECT_NOT_FOUND";
/// A lock is gone after this much time.
const LOCKED: Duration = Duration::from_secs(2);
/// Reasons that lie in the definitions, not in a record: a batch refused for one of them is refused in every part.
const ABOUT_THE_OBJECT: [&str; 1] = ["PROPERTY_DOESNT_EXIST"];
/// Categories of errors that pass.
const PASSING: [&str; 5] = ["RATE_LIMITS", "RATE_LIMIT", "INTERNAL_ERROR", "LOCKED", "TIMEOUT"];
/// How many of a record's errors are told.
const TOLD: usize = 3;

/// A validation error, unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InvalidProperty {
    pub(super) field: String,
    /// HubSpot's code: `INVALID_EMAIL`.
    pub(super) code: String,
    /// What it says, which as a rule repeats the value.
    pub(super) says: String,
}

/// The validation errors of an error object. They come as JSON within its message, or as a list beside it.
pub(super) fn unpack(error: &Value) -> Vec<InvalidProperty> {
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let message = text(error, "message");
    let inner = message
        .find("[{")
        .and_then(|at| serde_json::Deserializer::from_str(&message[at..]).into_iter::<Vec<Value>>().next()?.ok());
    let mut found: Vec<InvalidProperty> = inner
        .into_iter()
        .flatten()
        .filter(|one| one.get("isValid").and_then(Value::as_bool) != Some(true))
        .map(|one| InvalidProperty {
            field: text(&one, "name"),
            code: text(&one, "error"),
            says: text(&one, "message"),
        })
        .collect();
    if found.is_empty() {
        let listed = error.get("errors").and_then(Value::as_array).into_iter().flatten();
        found.extend(listed.map(|one| {
            let field = one
                .pointer("/context/propertyName/0")
                .or_else(|| one.get("in"))
                .and_then(Value::as_str)
                .unwrap_or_default();
            InvalidProperty { field: field.to_owned(), code: text(one, "code"), says: text(one, "message") }
        }));
    }
    found
}

/// Code and detail of an error object.
pub(super) fn told(error: &Value, shorten: &impl Fn(&str) -> String) -> (String, String) {
    let text = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
    let invalid = unpack(error);
    let code = invalid.iter().map(|one| one.code.as_str()).find(|code| is_code(code));
    let code =
        code.or_else(|| [text("subCategory"), text("category"), text("errorType")].into_iter().find(|c| is_code(c)));
    let code = shorten(code.unwrap_or("rejected"));
    let mut sentences: Vec<String> = invalid
        .iter()
        .take(TOLD)
        .map(|one| match one.field.as_str() {
            "" => format!("{} [{}]", one.says, one.code),
            field => format!("`{field}`: {} [{}]", one.says, one.code),
        })
        .collect();
    if sentences.is_empty() {
        sentences.push(text("message").to_owned());
    }
    if invalid.len() > TOLD {
        sentences.push(format!("and {} more", invalid.len() - TOLD));
    }
    (code, shorten(&sentences.join("; ")))
}

/// How the records of a request are known in its answer.
#[derive(Debug, Default)]
pub(super) struct SentInputs {
    /// How many inputs there were; their trace ids are `0`, `1` …
    pub(super) inputs: usize,
    /// The property that their ids are values of; `None` for record ids.
    pub(super) id_property: Option<String>,
    /// From an id as HubSpot compares it to the input.
    pub(super) by_id: HashMap<String, usize>,
}

impl SentInputs {
    fn by_id(&self, id: &str) -> Option<usize> {
        let folded = super::encode::folded(self.id_property.as_deref().unwrap_or_default(), id);
        self.by_id.get(&folded).copied()
    }

    /// The inputs that an error is about.
    fn of_error(&self, error: &Value) -> Vec<usize> {
        let context = error.get("context").unwrap_or(&Value::Null);
        let traced: Vec<usize> = texts(context.get("objectWriteTraceId"))
            .filter_map(|t| t.parse().ok())
            .filter(|i| *i < self.inputs)
            .collect();
        if !traced.is_empty() {
            return traced;
        }
        let named: Vec<usize> =
            ["ids", "id"].iter().flat_map(|name| texts(context.get(*name))).filter_map(|id| self.by_id(id)).collect();
        // An error that names nothing is about the only record there is.
        if named.is_empty() && self.inputs == 1 { vec![0] } else { named }
    }

    fn of_result(&self, result: &Value) -> Option<usize> {
        let traced = texts(result.get("objectWriteTraceId")).filter_map(|t| t.parse().ok()).find(|i| *i < self.inputs);
        let property = self.id_property.as_deref().and_then(|name| result.get("properties")?.get(name)?.as_str());
        let record_id = || result.get("id").and_then(Value::as_str).filter(|_| self.id_property.is_none());
        traced.or_else(|| self.by_id(property.or_else(record_id)?))
    }
}

/// A text, or the texts of a list.
fn texts(value: Option<&Value>) -> impl Iterator<Item = &str> {
    let one = value.and_then(Value::as_str);
    let list = value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    one.into_iter().chain(list)
}

/// The outcomes of the inputs of a batch request, out of the body of an answer with a good status. `None`: neither a
/// result nor an error mentions it, or both do.
pub(super) fn outcomes(
    body: &Value,
    sent: &SentInputs,
    op: Op,
    shorten: impl Fn(&str) -> String,
) -> Vec<Option<Outcome>> {
    let list = |name: &str| body.get(name).and_then(Value::as_array).map(Vec::as_slice);
    let mut out: Vec<Option<Outcome>> = vec![None; sent.inputs];
    let mut contradicted = vec![false; sent.inputs];
    let mut note = |at: usize, outcome: Outcome| match out.get_mut(at) {
        Some(slot @ None) => *slot = Some(outcome),
        Some(Some(known)) if *known != outcome => contradicted[at] = true,
        _ => {}
    };
    for result in list("results").unwrap_or_default() {
        let Some(at) = sent.of_result(result) else { continue };
        let effect = match (op, result.get("new").and_then(Value::as_bool)) {
            (Op::Append, _) | (_, Some(true)) => Effect::Created,
            (Op::Update, _) | (_, Some(false)) => Effect::Updated,
            _ => Effect::Unknown,
        };
        let record_id = result.get("id").and_then(Value::as_str).map(str::to_owned);
        note(at, Outcome::Accepted { effect, record_id });
    }
    for error in list("errors").unwrap_or_default() {
        let category = error.get("category").and_then(Value::as_str).unwrap_or_default();
        let outcome = match category {
            NOT_FOUND if op == Op::Update => Outcome::Skipped { reason: "not_found".into() },
            passing if PASSING.contains(&passing) => Outcome::retry_because(shorten(passing), told(error, &shorten).1),
            _ => {
                let (code, detail) = told(error, &shorten);
                Outcome::Rejected { code, detail }
            }
        };
        sent.of_error(error).into_iter().for_each(|at| note(at, outcome.clone()));
    }
    out.into_iter().zip(contradicted).map(|(outcome, contradicted)| outcome.filter(|_| !contradicted)).collect()
}

/// True when an error in an answer is one that passes.
pub(super) fn is_passing(error: &Value) -> bool {
    error.get("category").and_then(Value::as_str).is_some_and(|category| PASSING.contains(&category))
}

/// The ids that an error in an answer is about.
pub(super) fn named(error: &Value) -> impl Iterator<Item = &str> {
    let context = error.get("context").unwrap_or(&Value::Null);
    ["ids", "id", "fromObjectId", "toObjectId"].into_iter().flat_map(|name| texts(context.get(name)))
}

/// The ids that a `batch/read` says are not there.
pub(super) fn not_found(body: &Value) -> Vec<&str> {
    let errors = body.get("errors").and_then(Value::as_array).into_iter().flatten();
    let about = errors.filter(|error| error.get("category").and_then(Value::as_str) == Some(NOT_FOUND));
    about.flat_map(|error| texts(error.pointer("/context/ids")).chain(texts(error.pointer("/context/id")))).collect()
}

/// The error of a request that came to nothing. `said` is what a body that is no JSON says; `shorten` hides secrets and
/// cuts.
pub(super) fn refusal(reply: &HttpReply, body: &Value, said: &str, shorten: impl Fn(&str) -> String) -> WriteError {
    let category = body.get("category").and_then(Value::as_str).unwrap_or_default();
    let (code, says) =
        if body.is_object() { told(body, &shorten) } else { (format!("http_{}", reply.status), shorten(said)) };
    let detail = if says.is_empty() {
        format!("it answers {}", reply.status)
    } else {
        format!("it answers {}: {says}", reply.status)
    };
    let after = reply.header("retry-after").and_then(|header| domain::retry_after::retry_after(header, reply.clock()));
    match reply.status {
        423 => WriteError::Unavailable { after: Some(after.unwrap_or(LOCKED).max(LOCKED)), detail },
        // The account is being moved to another region; this can take a day.
        477 => WriteError::Throttled { after },
        525 | 526 => WriteError::Misconfigured { detail },
        404 if category == NOT_FOUND => WriteError::Refused { code: NOT_FOUND.into(), detail },
        400 if ABOUT_THE_OBJECT.contains(&code.as_str()) || says.contains("by non-unique") => {
            WriteError::Misconfigured { detail }
        }
        status => {
            let verdict = classify_status(status, reply.header("retry-after"), reply.clock(), &Statuses::default());
            match verdict {
                StatusMeaning::Refused => WriteError::Refused { code, detail },
                other => other.error(reply, code, says).unwrap_or(WriteError::Unavailable { after: None, detail }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clients::http::{HeaderMap, HeaderValue, Url};
    use serde_json::json;

    fn sent(id_property: Option<&str>, ids: &[&str]) -> SentInputs {
        let by_id = ids.iter().enumerate().map(|(at, id)| ((*id).to_owned(), at)).collect();
        SentInputs { inputs: ids.len(), id_property: id_property.map(str::to_owned), by_id }
    }

    /// A letter for each outcome: C created, U updated, A accepted, R rejected, S skipped, T retry, ? not mentioned.
    fn letters(body: &Value, sent: &SentInputs, op: Op) -> String {
        let letter = |o: &Option<Outcome>| match o {
            None => '?',
            Some(Outcome::Accepted { effect: Effect::Created, .. }) => 'C',
            Some(Outcome::Accepted { effect: Effect::Updated, .. }) => 'U',
            Some(Outcome::Accepted { .. }) => 'A',
            Some(Outcome::Rejected { .. }) => 'R',
            Some(Outcome::Skipped { .. }) => 'S',
            Some(Outcome::Retry { .. }) => 'T',
        };
        outcomes(body, sent, op, str::to_owned).iter().map(letter).collect()
    }

    #[test]
    fn every_input_is_matched_or_unknown() {
        let three = sent(Some("crm_id"), &["a", "b", "c"]);
        let done = |trace: &str, id: &str| json!({ "id": id, "new": true, "objectWriteTraceId": trace });
        let error = |trace: Value| json!({ "category": "VALIDATION_ERROR", "message": "no", "context": { "objectWriteTraceId": trace } });
        for (body, expected) in [
            (json!({ "results": [done("0", "1"), done("2", "3")], "errors": [error(json!(["1"]))] }), "CRC"),
            (json!({ "results": [done("2", "3"), done("0", "1"), done("1", "2")] }), "CCC"),
            (json!({ "results": [{ "id": "9", "new": false, "properties": { "crm_id": "b" } }] }), "?U?"),
            (
                json!({ "results": [{ "id": "9", "properties": { "crm_id": "c" } }], "errors": [error(json!(["0", "1"]))] }),
                "RRA",
            ),
            (json!({ "results": [done("0", "1")], "errors": [error(json!("0"))] }), "???"),
            (json!({ "results": [done("0", "1"), done("0", "2")] }), "???"),
            (json!({ "results": [done("0", "1"), done("0", "1")] }), "C??"),
            (json!({ "results": [done("7", "1")], "errors": [error(json!(["x"]))] }), "???"),
            (
                json!({ "results": [], "errors": [{ "category": "OBJECT_NOT_FOUND", "message": "no", "context": { "ids": ["b"] } }] }),
                "?R?",
            ),
            (
                json!({ "results": [], "errors": [{ "category": "INTERNAL_ERROR", "context": { "objectWriteTraceId": ["1"] } }] }),
                "?T?",
            ),
            (json!({ "status": "COMPLETE", "results": [], "errors": [] }), "???"),
            (json!({ "results": "?" }), "???"),
            (Value::Null, "???"),
        ] {
            assert_eq!(letters(&body, &three, Op::Upsert), expected, "{body}");
        }
        let one = sent(None, &["101"]);
        assert_eq!(letters(&json!({ "results": [{ "id": "101" }] }), &one, Op::Update), "U");
        assert_eq!(
            letters(&json!({ "errors": [{ "category": "OBJECT_NOT_FOUND" }] }), &one, Op::Update),
            "S",
            "an error about the only record"
        );
        assert_eq!(letters(&json!({ "results": [{ "id": "7", "objectWriteTraceId": "0" }] }), &one, Op::Append), "C");
        let mail = sent(Some("email"), &["ada@h.test"]);
        assert_eq!(
            letters(
                &json!({ "results": [{ "id": "7", "new": false, "properties": { "email": "Ada@H.test" } }] }),
                &mail,
                Op::Upsert
            ),
            "U"
        );
    }

    #[test]
    fn validation_errors_are_unpacked() {
        let message = r#"Property values were not valid: [{"isValid":false,"message":"Email address x@ is invalid","error":"INVALID_EMAIL","name":"email"},{"isValid":true,"name":"ok"},{"isValid":false,"message":"y was not one of the allowed options","error":"INVALID_OPTION","name":"tier"}] (more)"#;
        let packed = json!({ "category": "VALIDATION_ERROR", "message": message });
        let invalid = unpack(&packed);
        assert_eq!(
            invalid.iter().map(|i| (i.field.as_str(), i.code.as_str())).collect::<Vec<_>>(),
            [("email", "INVALID_EMAIL"), ("tier", "INVALID_OPTION")]
        );
        let (code, detail) = told(&packed, &str::to_owned);
        assert_eq!(code, "INVALID_EMAIL");
        assert_eq!(
            detail,
            "`email`: Email address x@ is invalid [INVALID_EMAIL]; `tier`: y was not one of the allowed options [INVALID_OPTION]"
        );
        let listed = json!({ "message": "no", "errors": [{ "message": "must be set", "code": "REQUIRED", "context": { "propertyName": ["dealname"] } }] });
        assert_eq!(told(&listed, &str::to_owned), ("REQUIRED".into(), "`dealname`: must be set [REQUIRED]".into()));
        let plain = json!({ "category": "CONFLICT", "message": "Contact already exists. Existing ID: 7" });
        assert_eq!(told(&plain, &str::to_owned), ("CONFLICT".into(), "Contact already exists. Existing ID: 7".into()));
        assert_eq!(told(&json!({}), &str::to_owned), ("rejected".into(), String::new()));
    }

    #[test]
    fn every_status_has_its_error() {
        let of = |status: u16, after: Option<&'static str>, body: Value| {
            let headers: HeaderMap =
                after.iter().map(|a| ("retry-after".parse().unwrap(), HeaderValue::from_static(a))).collect();
            let reply = HttpReply {
                at: domain::clock::Millis(0),
                url: Url::parse("https://h.test").unwrap(),
                status,
                headers,
                body: body.to_string().into_bytes(),
            };
            refusal(&reply, &body, "", str::to_owned)
        };
        let invalid = |code: &str| json!({ "category": "VALIDATION_ERROR", "message": format!("not valid: [{{\"isValid\":false,\"error\":\"{code}\",\"name\":\"p\"}}]") });
        assert!(
            matches!(of(400, None, invalid("INVALID_DATE")), WriteError::Refused { code, .. } if code == "INVALID_DATE")
        );
        assert!(
            matches!(of(400, None, invalid("PROPERTY_DOESNT_EXIST")), WriteError::Misconfigured { detail } if detail.contains("`p`"))
        );
        let message = "Unable to perform update/upsert by non-unique 0-2 property x in portal ID 1";
        assert!(matches!(
            of(400, None, json!({ "category": "VALIDATION_ERROR", "message": message })),
            WriteError::Misconfigured { .. }
        ));
        for status in [409, 413, 414, 415] {
            assert!(matches!(of(status, None, json!({})), WriteError::Refused { .. }), "{status}");
        }
        assert!(
            matches!(of(404, None, json!({ "category": NOT_FOUND, "message": "m" })), WriteError::Refused { code, .. } if code == NOT_FOUND)
        );
        assert!(matches!(of(404, None, Value::Null), WriteError::Misconfigured { .. }));
        assert!(
            matches!(of(403, None, json!({ "category": "MISSING_SCOPES", "message": "scopes" })), WriteError::Unauthorized { detail } if detail.contains("scopes"))
        );
        assert!(matches!(of(401, None, Value::Null), WriteError::Unauthorized { .. }));
        for status in [500, 502, 503, 504, 521, 522, 523, 524] {
            assert!(
                matches!(of(status, Some("7"), Value::Null), WriteError::Unavailable { after: Some(a), .. } if a.as_secs() == 7),
                "{status}"
            );
        }
        assert!(matches!(of(423, None, Value::Null), WriteError::Unavailable { after: Some(LOCKED), .. }));
        assert!(
            matches!(of(423, Some("9"), Value::Null), WriteError::Unavailable { after: Some(a), .. } if a.as_secs() == 9)
        );
        assert!(
            matches!(of(477, Some("86400"), Value::Null), WriteError::Throttled { after: Some(a) } if a.as_secs() == 86_400)
        );
        for status in [525, 526] {
            assert!(matches!(of(status, None, Value::Null), WriteError::Misconfigured { .. }), "{status}");
        }
    }

    #[test]
    fn a_read_names_what_is_not_there() {
        let body = json!({ "errors": [{ "category": NOT_FOUND, "context": { "ids": ["a", "b"] } }, { "category": "OTHER", "context": { "ids": ["c"] } }] });
        assert_eq!(not_found(&body), ["a", "b"]);
    }
}
