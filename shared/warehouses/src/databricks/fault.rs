//! What the errors of Databricks mean to a person.

use clients::DatabasePlace;
use domain::clock::Span;
use domain::fault::Fault;

use super::wire::DatabricksError;
use crate::sql::Statement;

/// What a fault's sentence names besides the error.
pub(super) struct DatabricksFaultContext<'a> {
    pub(super) place: &'a DatabasePlace,
    pub(super) host: &'a str,
    pub(super) warehouse: &'a str,
    pub(super) sent: Option<&'a Statement>,
}

impl DatabricksError {
    /// True for what is worth asking again.
    pub(super) fn passes(&self) -> bool {
        let passing = [
            "TEMPORARILY_UNAVAILABLE",
            "WORKSPACE_TEMPORARILY_UNAVAILABLE",
            "SERVICE_UNDER_MAINTENANCE",
            "REQUEST_LIMIT_EXCEEDED",
            "RESOURCE_EXHAUSTED",
            "DEADLINE_EXCEEDED",
        ];
        matches!(self.status, 429 | 500..=599) || passing.contains(&self.error_code.as_str())
    }
}

/// The fault of an error that Databricks told.
pub(super) fn fault(context: &DatabricksFaultContext<'_>, error: &DatabricksError) -> Fault {
    let DatabricksFaultContext { place, host, warehouse, .. } = *context;
    let said: String = error.message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let said = without_position(&said);
    let told = |part: &str| said.to_uppercase().contains(part);
    let code = error.error_code.as_str();
    let grants = "check the name, and what the principal may read: GRANT USE CATALOG ON CATALOG … TO `…`; GRANT USE SCHEMA ON SCHEMA … TO `…`; GRANT SELECT ON TABLE … TO `…`";
    if error.status == 401 || code == "UNAUTHENTICATED" {
        return place
            .denied(format!("{host} refuses the login: {said}."))
            .with_next("renew the token, or check the service principal's client id and secret and that it belongs to the workspace");
    }
    if told("INSUFFICIENT_PERMISSIONS") || told("PERMISSION_DENIED") && told("TABLE") {
        return place.denied(format!("access refused: {said}.")).with_next(grants);
    }
    if error.status == 403 || code == "PERMISSION_DENIED" {
        return place
            .denied(format!("{host} refuses access to the SQL warehouse {warehouse}: {said}."))
            .with_next("give the principal CAN USE on the SQL warehouse (SQL Warehouses → Permissions), and the workspace's Databricks SQL access entitlement");
    }
    if told("WAREHOUSE")
        && (code == "NOT_FOUND" || error.status == 404 || told("DOES NOT EXIST") || told("IS NOT A VALID ENDPOINT ID"))
    {
        return place
            .invalid(format!("there is no SQL warehouse {warehouse} at {host}: {said}."))
            .with_next("copy `warehouse` from SQL Warehouses → Connection details → HTTP path");
    }
    if told("WAREHOUSE") && (told("STOPPED") || told("DELETED") || told("CANNOT BE STARTED")) {
        return place
            .unreachable(format!("the SQL warehouse does not compute: {said}."))
            .with_next("start it (SQL Warehouses → Start), or let it start by itself");
    }
    if code == "CANCELLED" {
        return place.timeout(format!("the statement was cancelled at Databricks: {said}."));
    }
    if error.status == 404 {
        return place.unreachable(format!("the result is gone: {said}. Databricks keeps one for an hour."));
    }
    if error.passes() {
        return place.unreachable(format!(
            "{host} answers {}: {said}.",
            if code.is_empty() { error.status.to_string() } else { code.to_owned() }
        ));
    }
    let position = context.sent.map(|sent| position(&error.message, sent)).unwrap_or_default();
    let fault = place.failed(format!("the model's SQL fails{position}: {said}."));
    if told("TABLE_OR_VIEW_NOT_FOUND") || told("SCHEMA_NOT_FOUND") || told("CATALOG_NOT_FOUND") {
        fault.with_next(grants)
    } else {
        fault
    }
}

/// The fault of a statement that took too long.
pub(super) fn too_long(place: &DatabasePlace, limit: Span) -> Fault {
    place
        .timeout(format!("a statement took longer than {limit} (statement_timeout)."))
        .with_next("raise `statement_timeout` (the start of a stopped SQL warehouse takes minutes), use a larger one, or read less with a `cursor`")
}

/// ` at line 2, column 3`, of the person's own text.
fn position(message: &str, sent: &Statement) -> String {
    let Some((line, column)) = place_in(message) else { return String::new() };
    let before = sent.text[..sent.before].matches('\n').count();
    match line.checked_sub(before) {
        Some(line) if line > 0 => format!(" at line {line}, column {}", column + 1),
        _ => String::new(),
    }
}

/// The words without the statement that is repeated after them, and without the position, which our own sentence has.
fn without_position(said: &str) -> &str {
    let said = said.split("== SQL").next().unwrap_or(said).trim_end();
    let said = match (place_in(said), said.rfind("line ")) {
        (Some(_), Some(at)) => said[..at].trim_end_matches([' ', ';', '(']),
        _ => said,
    };
    said.trim_end_matches('.')
}

/// `line 2, pos 7` or `line 2 pos 7`: the line from 1, the position from 0.
fn place_in(message: &str) -> Option<(usize, usize)> {
    let (_, rest) = message.rsplit_once("line ")?;
    let digits = |text: &str| {
        let length = text.bytes().take_while(u8::is_ascii_digit).count();
        Some((text[..length].parse::<usize>().ok()?, length))
    };
    let (line, length) = digits(rest)?;
    let rest = rest[length..].trim_start_matches(',').trim_start().strip_prefix("pos ")?;
    Some((line, digits(rest)?.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::fault::Code;

    #[test]
    fn every_error_has_its_words() {
        let place = DatabasePlace::warehouse("lake");
        let sent = Statement { text: "select * from (\nselect 1 as a,\n  nope\n) as model limit 0".into(), before: 16 };
        let context = DatabricksFaultContext { place: &place, host: "a.test", warehouse: "abc", sent: Some(&sent) };
        for (status, code, message, expected, part) in [
            (
                200,
                "BAD_REQUEST",
                "[UNRESOLVED_COLUMN.WITHOUT_SUGGESTION] A column with name `nope` cannot be resolved. SQLSTATE: 42703; line 3 pos 2",
                Code::ModelFailed,
                "at line 2, column 3",
            ),
            (
                200,
                "BAD_REQUEST",
                "[PARSE_SYNTAX_ERROR] Syntax error at or near 'where'. (line 2, pos 9)",
                Code::ModelFailed,
                "at line 1, column 10",
            ),
            (
                200,
                "BAD_REQUEST",
                "[TABLE_OR_VIEW_NOT_FOUND] The table or view `t` cannot be found.",
                Code::ModelFailed,
                "GRANT SELECT",
            ),
            (
                200,
                "BAD_REQUEST",
                "[INSUFFICIENT_PERMISSIONS] User does not have SELECT on table `t`.",
                Code::WarehouseDenied,
                "GRANT SELECT",
            ),
            (
                401,
                "",
                "Credential was not sent or was of an unsupported type",
                Code::WarehouseDenied,
                "service principal",
            ),
            (
                403,
                "PERMISSION_DENIED",
                "You do not have permission to use the endpoint.",
                Code::WarehouseDenied,
                "CAN USE",
            ),
            (404, "NOT_FOUND", "SQL warehouse abc does not exist", Code::ConnectionInvalid, "HTTP path"),
            (400, "BAD_REQUEST", "Warehouse abc was stopped.", Code::WarehouseUnreachable, "start it"),
            (404, "NOT_FOUND", "The statement 01 was not found.", Code::WarehouseUnreachable, "an hour"),
            (503, "TEMPORARILY_UNAVAILABLE", "try later", Code::WarehouseUnreachable, "TEMPORARILY_UNAVAILABLE"),
            (200, "CANCELLED", "cancelled by user", Code::ModelTimeout, "cancelled at Databricks"),
        ] {
            let error = DatabricksError { error_code: code.into(), message: message.into(), status };
            let fault = fault(&context, &error);
            assert_eq!(fault.code, expected, "{message}: {fault}");
            assert!(fault.to_string().contains(part), "{message}: {fault}");
        }
    }
}
