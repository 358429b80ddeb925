//! What Snowflake's errors mean to a person: refused, out of reach, too slow, or the model is wrong.

use clients::DatabasePlace;
use domain::clock::{Millis, Span};
use domain::fault::Fault;
use serde::Deserialize;

use crate::sql::Statement;

/// What the service said, as its answers carry it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct SnowflakeError {
    /// Six digits.
    pub(super) code: String,
    pub(super) message: String,
    #[serde(rename = "statementHandle")]
    pub(super) handle: String,
    #[serde(skip)]
    pub(super) status: u16,
    /// The service's clock, where it told it.
    #[serde(skip)]
    pub(super) clock: Option<Millis>,
}

/// What a fault's sentence names besides the error.
pub(super) struct SnowflakeFaultContext<'a> {
    pub(super) place: &'a DatabasePlace,
    pub(super) host: &'a str,
    pub(super) role: Option<&'a str>,
    pub(super) warehouse: Option<&'a str>,
    pub(super) statement_timeout: Span,
    pub(super) now: Millis,
    /// The statement that was sent, where the error is about one.
    pub(super) sent: Option<&'a Statement>,
}

/// Our clock may be off by so much before it is named as the reason.
const MAX_CLOCK_DIFFERENCE_MILLIS: i64 = 60_000;

/// The fault of an error that the service told.
pub(super) fn fault(context: &SnowflakeFaultContext<'_>, error: &SnowflakeError) -> Fault {
    let SnowflakeFaultContext { place, host, .. } = *context;
    let said = without_handle(&error.message);
    let told = |part: &str| said.to_lowercase().contains(part);
    let code = error.code.as_str();
    let role = context.role.unwrap_or("ROLE");
    match code {
        "390144" => return jwt(context, error, &said),
        "390422" | "390432" => {
            return place
                .denied(format!("{host} lets this address not in: {said} ({code})."))
                .with_next("add the address that requests leave from (on AWS that of the NAT gateway) to the network policy of the account or the user");
        }
        "390303" | "390318" | "390195" => {
            return place
                .denied(format!("{host} refuses the access token: {said} ({code})."))
                .with_next("renew the token; with `oauth` a client and a refresh token are renewed by themselves");
        }
        "391908" => {
            return place
                .failed(format!("the result is too large for Snowflake's SQL API: {said} ({code})."))
                .with_next("select less columns or rows in the model, or give the sync a `cursor`");
        }
        _ => {}
    }
    if told("role") && (code == "390189" || told("specified in the connect string") || told("requested role")) {
        return place
            .denied(format!("the role cannot be used: {said} ({code})."))
            .with_next(format!("check `role`, or grant it: GRANT ROLE {role} TO USER …"));
    }
    if told("no active warehouse") {
        return place
            .invalid(format!("no virtual warehouse computes for this user: {said} ({code})."))
            .with_next("set `warehouse` on the connection, or ALTER USER … SET DEFAULT_WAREHOUSE = …");
    }
    if told("warehouse") && (told("does not exist") || told("not authorized")) && !told("object") {
        let warehouse = context.warehouse.unwrap_or("WAREHOUSE");
        return place
            .denied(format!("the virtual warehouse cannot be used: {said} ({code})."))
            .with_next(format!("check `warehouse`, or grant it: GRANT USAGE ON WAREHOUSE {warehouse} TO ROLE {role}"));
    }
    if told("warehouse") && (told("resource monitor") || told("suspended") || told("cannot be resumed")) {
        return place.unreachable(format!("the virtual warehouse does not compute: {said} ({code}).")).with_next(
            "ALTER WAREHOUSE … RESUME, or AUTO_RESUME = TRUE; where a resource monitor stopped it, raise its quota",
        );
    }
    if told("does not have a current database") || told("does not have a current schema") {
        return place
            .failed(format!("{said} ({code})."))
            .with_next("set `database` and `schema` on the connection, or write DATABASE.SCHEMA.TABLE in the model");
    }
    if error.status == 408 || code == "000630" || told("statement reached its statement or warehouse timeout") {
        let limit = context.statement_timeout;
        return place
            .timeout(format!("a statement took longer than {limit} (statement_timeout): {said} ({code})."))
            .with_next("raise `statement_timeout`, use a larger warehouse, or read less with a `cursor`");
    }
    if code == "000604" || told("sql execution canceled") {
        return place.timeout(format!("the statement was cancelled at Snowflake: {said} ({code})."));
    }
    if code == "003001" || told("insufficient privileges") {
        return place.denied(format!("access refused: {said} ({code}).")).with_next(grants(role));
    }
    if error.status == 401 || error.status == 403 || code.starts_with("3901") {
        return place.denied(format!("{host} refuses the login: {said} ({}).", named(code, error.status)));
    }
    let position = context.sent.map(|sent| position(&error.message, sent)).unwrap_or_default();
    if code == "002003" || told("does not exist or not authorized") {
        return place.failed(format!("the model's SQL fails{position}: {said} ({code}).")).with_next(grants(role));
    }
    if error.status == 422 || error.status == 400 || error.status == 200 {
        return place.failed(format!("the model's SQL fails{position}: {said} ({}).", named(code, error.status)));
    }
    place.unreachable(format!("{host} answers {}: {said}.", error.status))
}

fn named(code: &str, status: u16) -> String {
    if code.is_empty() { status.to_string() } else { code.to_owned() }
}

fn grants(role: &str) -> String {
    format!(
        "check the name, and what the role may read: GRANT USAGE ON DATABASE … TO ROLE {role}; GRANT USAGE ON SCHEMA … TO ROLE {role}; GRANT SELECT ON … TO ROLE {role}"
    )
}

/// A token that was signed with the key is refused.
fn jwt(context: &SnowflakeFaultContext<'_>, error: &SnowflakeError, said: &str) -> Fault {
    let SnowflakeFaultContext { place, host, .. } = *context;
    if let Some(theirs) = error.clock
        && (theirs.0 - context.now.0).abs() > MAX_CLOCK_DIFFERENCE_MILLIS
    {
        let seconds = (context.now.0 - theirs.0) / 1000;
        let which = if seconds > 0 { "ahead of" } else { "behind" };
        return place
            .denied(format!(
                "{host} refuses the signed token: {said}. The clock of this machine is {} seconds {which} Snowflake's.",
                seconds.abs()
            ))
            .with_next("set the clock right (NTP)");
    }
    place.denied(format!("{host} refuses the signed token: {said} ({}).", error.code)).with_next(
        "check `account` and `user`, and that the user has the public half of this key: DESC USER … shows RSA_PUBLIC_KEY_FP; an administrator sees the reason with SELECT SYSTEM$GET_LOGIN_FAILURE_DETAILS('…')",
    )
}

/// The message without the line breaks, and without the position that stands in our own sentence.
fn without_handle(message: &str) -> String {
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = line.trim_start_matches("SQL compilation error: ").trim_end_matches('.');
    match place_in(line) {
        Some((_, _, 0, to)) => line[to..].trim_start_matches([' ', ':']).to_owned(),
        _ => line.to_owned(),
    }
}

/// ` at line 2, column 3`, of the person's own text.
fn position(message: &str, sent: &Statement) -> String {
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let Some((line, column, ..)) = place_in(&line) else { return String::new() };
    let before = sent.text[..sent.before].matches('\n').count();
    match line.checked_sub(before) {
        Some(line) if line > 0 => format!(" at line {line}, column {}", column + 1),
        _ => String::new(),
    }
}

/// `error line 2 at position 7`: the line, the position from 0, and where the words begin and end.
fn place_in(text: &str) -> Option<(usize, usize, usize, usize)> {
    let at = text.find("line ")?;
    let digits = |from: usize| {
        let length = text[from..].bytes().take_while(u8::is_ascii_digit).count();
        Some((text[from..from + length].parse::<usize>().ok()?, from + length))
    };
    let (line, after) = digits(at + "line ".len())?;
    let rest = text[after..].strip_prefix(" at position ")?;
    let (column, end) = digits(text.len() - rest.len())?;
    let begin = text[..at].trim_end_matches("error ").trim_end_matches("syntax ").len();
    Some((line, column, begin, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::fault::Code;

    fn of(status: u16, code: &str, message: &str) -> Fault {
        let place = DatabasePlace::warehouse("snow");
        let sent = Statement { text: "select * from (\nselect 1 as a,\n  nope\n) as model limit 0".into(), before: 16 };
        let context = SnowflakeFaultContext {
            place: &place,
            host: "a.test",
            role: Some("READER"),
            warehouse: Some("WH"),
            statement_timeout: Span::seconds(600),
            now: Millis(1_000_000),
            sent: Some(&sent),
        };
        let error = SnowflakeError {
            code: code.into(),
            message: message.into(),
            status,
            clock: Some(Millis(1_000_000 - 300_000)).filter(|_| message.contains("off")),
            ..SnowflakeError::default()
        };
        fault(&context, &error)
    }

    #[test]
    fn every_error_has_its_words() {
        for (status, code, message, expected, parts) in [
            (
                422,
                "000904",
                "SQL compilation error: error line 3 at position 2\ninvalid identifier 'NOPE'",
                Code::ModelFailed,
                &["at line 2, column 3", "invalid identifier 'NOPE'"][..],
            ),
            (
                422,
                "001003",
                "SQL compilation error:\nsyntax error line 2 at position 9 unexpected '<EOF>'.",
                Code::ModelFailed,
                &["at line 1, column 10", "unexpected"],
            ),
            (
                422,
                "002003",
                "SQL compilation error:\nObject 'T' does not exist or not authorized.",
                Code::ModelFailed,
                &["Object 'T'", "GRANT SELECT", "ROLE READER"],
            ),
            (
                422,
                "003001",
                "SQL access control error:\nInsufficient privileges to operate on table 'T'",
                Code::WarehouseDenied,
                &["GRANT SELECT"],
            ),
            (401, "390144", "JWT token is invalid. [0ce9]", Code::WarehouseDenied, &["RSA_PUBLIC_KEY_FP", "0ce9"]),
            (401, "390144", "JWT token is invalid, off", Code::WarehouseDenied, &["300 seconds ahead of", "NTP"]),
            (401, "390303", "Invalid OAuth access token.", Code::WarehouseDenied, &["renew the token"]),
            (403, "390432", "Network policy is required.", Code::WarehouseDenied, &["network policy"]),
            (
                403,
                "390189",
                "Role 'X' specified in the connect string does not exist or not authorized.",
                Code::WarehouseDenied,
                &["GRANT ROLE READER"],
            ),
            (
                422,
                "390201",
                "The requested warehouse does not exist or not authorized.",
                Code::WarehouseDenied,
                &["GRANT USAGE ON WAREHOUSE WH TO ROLE READER"],
            ),
            (
                422,
                "000606",
                "No active warehouse selected in the current session.  Select an active warehouse with the 'use warehouse' command.",
                Code::ConnectionInvalid,
                &["set `warehouse`"],
            ),
            (
                422,
                "090073",
                "Warehouse 'WH' cannot be resumed because resource monitor 'M' has exceeded its quota.",
                Code::WarehouseUnreachable,
                &["RESUME"],
            ),
            (
                422,
                "090105",
                "Cannot perform SELECT. This session does not have a current database. Call 'USE DATABASE', or use a qualified name.",
                Code::ModelFailed,
                &["set `database`"],
            ),
            (
                408,
                "000630",
                "Statement reached its statement or warehouse timeout of 600 second(s) and was canceled.",
                Code::ModelTimeout,
                &["600 s", "statement_timeout"],
            ),
            (422, "000604", "SQL execution canceled", Code::ModelTimeout, &["cancelled at Snowflake"]),
            (200, "391908", "Result set too large", Code::ModelFailed, &["too large", "cursor"]),
            (422, "100051", "Division by zero", Code::ModelFailed, &["Division by zero (100051)"]),
            (500, "", "oops", Code::WarehouseUnreachable, &["answers 500"]),
        ] {
            let fault = of(status, code, message);
            assert_eq!(fault.code, expected, "{code}: {fault}");
            let text = fault.to_string();
            assert!(parts.iter().all(|part| text.contains(part)), "{code}: {text}");
        }
    }
}
