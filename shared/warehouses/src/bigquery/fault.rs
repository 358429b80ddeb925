//! What BigQuery's errors mean to a person.

use clients::DatabasePlace;
use domain::clock::Span;
use domain::fault::Fault;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::sql::Statement;

/// One error, as answers and jobs carry it.
#[derive(Debug, Clone, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub(super) struct BigQueryError {
    pub(super) reason: String,
    pub(super) message: String,
    #[serde(skip)]
    pub(super) status: u16,
}

/// Reasons that pass.
/// <https://cloud.google.com/bigquery/docs/error-messages>
const PASSES: [&str; 7] = [
    "backendError",
    "rateLimitExceeded",
    "jobBackendError",
    "jobInternalError",
    "jobRateLimitExceeded",
    "internalError",
    "tableUnavailable",
];

impl BigQueryError {
    /// The error of an answer: `{"error": {"code", "message", "errors": [{"reason"}], "status"}}`.
    pub(super) fn of(status: u16, body: &Json, words: &str) -> Self {
        let error = &body["error"];
        let first = error["errors"].as_array().and_then(|list| list.first()).unwrap_or(&Json::Null);
        let text = |json: &Json| json.as_str().unwrap_or_default().to_owned();
        let mut message = text(&error["message"]);
        if message.is_empty() {
            words.clone_into(&mut message);
        }
        Self { reason: text(&first["reason"]), message, status }
    }

    /// The error of a body whose status was good.
    pub(super) fn within(body: &Json) -> Option<Self> {
        let job = body.pointer("/status/errorResult");
        let list = || body.get("errors").and_then(Json::as_array).and_then(|list| list.first());
        serde_json::from_value(job.or_else(list)?.clone()).ok()
    }

    /// True for what is worth asking again.
    pub(super) fn passes(&self) -> bool {
        matches!(self.status, 429 | 500..=599) || PASSES.contains(&self.reason.as_str())
    }
}

/// What a fault's sentence names besides the error.
pub(super) struct BigQueryFaultContext<'a> {
    pub(super) place: &'a DatabasePlace,
    pub(super) project: &'a str,
    pub(super) statement_timeout: Span,
    pub(super) sent: Option<&'a Statement>,
}

/// The fault of an error that BigQuery told.
pub(super) fn fault(context: &BigQueryFaultContext<'_>, error: &BigQueryError) -> Fault {
    let BigQueryFaultContext { place, project, .. } = *context;
    let said: String = error.message.chars().filter(|c| !c.is_control() || c.is_whitespace()).collect();
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let said = said.trim_end_matches('.');
    let grants = format!(
        "grant the identity roles/bigquery.jobUser on the project {project}, roles/bigquery.readSessionUser there for large results, and roles/bigquery.dataViewer on the dataset"
    );
    match (error.reason.as_str(), error.status) {
        ("accessDenied", _) | (_, 403)
            if !error.passes() && !error.reason.contains("quota") && !error.reason.contains("billing") =>
        {
            place.denied(format!("access refused: {said}.")).with_next(grants)
        }
        ("quotaExceeded", _) => place
            .unreachable(format!("a quota of the project is used up: {said}."))
            .with_next("wait, or raise the quota under IAM & Admin → Quotas"),
        ("billingNotEnabled" | "billingTierLimitExceeded", _) => {
            place.denied(format!("{said}.")).with_next(format!("enable billing for the project {project}"))
        }
        ("bytesBilledLimitExceeded", _) => place
            .failed(format!("the query would be billed for more than `maximum_bytes_billed` allows: {said}."))
            .with_next("raise `maximum_bytes_billed`, select less columns, or filter by the partition column"),
        ("responseTooLarge", _) => place
            .failed(format!("the result is too large: {said}."))
            .with_next("select less columns or rows, or give the sync a `cursor`"),
        ("stopped" | "timeout", _) => place
            .timeout(format!("the query was stopped ({} is statement_timeout): {said}.", context.statement_timeout)),
        (_, 401) => place.denied(format!("Google refuses the login: {said}.")).with_next(
            "check the service account's key (it may be disabled or deleted), or the workload identity's audience",
        ),
        ("notFound", _) | (_, 404) => place.failed(format!("the model's SQL fails: {said}.")).with_next(
            "check the name, `project`, `dataset` and `location`; a table that may not be seen is not found either",
        ),
        _ if error.status == 400 || error.status == 200 || error.status == 0 => {
            let position = context.sent.map(|sent| position(&error.message, sent)).unwrap_or_default();
            place.failed(format!("the model's SQL fails{position}: {}.", without_position(said)))
        }
        _ => place.unreachable(format!("BigQuery answers {}: {said}.", error.status)),
    }
}

/// ` at line 2, column 3`, of the person's own text.
fn position(message: &str, sent: &Statement) -> String {
    let Some((line, column)) = place_in(message) else { return String::new() };
    let before = sent.text[..sent.before].matches('\n').count();
    match line.checked_sub(before) {
        Some(line) if line > 0 => format!(" at line {line}, column {column}"),
        _ => String::new(),
    }
}

/// `… at [2:3]`, both from 1.
fn place_in(message: &str) -> Option<(usize, usize)> {
    let (_, rest) = message.rsplit_once("at [")?;
    let (line, column) = rest.split_once(']')?.0.split_once(':')?;
    Some((line.parse().ok()?, column.parse().ok()?))
}

fn without_position(said: &str) -> &str {
    said.rsplit_once(" at [").map_or(said, |(words, _)| words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::fault::Code;
    use serde_json::json;

    #[test]
    fn every_error_has_its_words() {
        let place = DatabasePlace::warehouse("bq");
        let sent = Statement { text: "select * from (\nselect 1 as a,\n  nope\n) as model".into(), before: 16 };
        let context = BigQueryFaultContext {
            place: &place,
            project: "acme",
            statement_timeout: Span::seconds(600),
            sent: Some(&sent),
        };
        for (status, reason, message, code, part) in [
            (
                400,
                "invalidQuery",
                "Unrecognized name: nope at [3:3]",
                Code::ModelFailed,
                "at line 2, column 3: Unrecognized name: nope.",
            ),
            (
                404,
                "notFound",
                "Not found: Table acme:d.t was not found in location US",
                Code::ModelFailed,
                "`location`",
            ),
            (
                403,
                "accessDenied",
                "Access Denied: Table acme:d.t: User does not have permission",
                Code::WarehouseDenied,
                "roles/bigquery.dataViewer",
            ),
            (403, "quotaExceeded", "Quota exceeded", Code::WarehouseUnreachable, "Quotas"),
            (
                400,
                "bytesBilledLimitExceeded",
                "Query exceeded limit for bytes billed: 1000",
                Code::ModelFailed,
                "maximum_bytes_billed",
            ),
            (
                401,
                "authError",
                "Request had invalid authentication credentials.",
                Code::WarehouseDenied,
                "service account",
            ),
            (200, "stopped", "Job execution was cancelled", Code::ModelTimeout, "10m is statement_timeout"),
            (503, "backendError", "Error encountered during execution.", Code::WarehouseUnreachable, "503"),
        ] {
            let body = json!({ "error": { "code": status, "message": message, "errors": [{ "reason": reason }] } });
            let fault = fault(&context, &BigQueryError::of(status, &body, ""));
            assert_eq!(fault.code, code, "{reason}: {fault}");
            assert!(fault.to_string().contains(part), "{reason}: {fault}");
        }
        assert!(BigQueryError::of(429, &json!({}), "").passes());
        let job =
            json!({ "status": { "state": "DONE", "errorResult": { "reason": "jobBackendError", "message": "m" } } });
        assert!(BigQueryError::within(&job).unwrap().passes());
    }
}
