//! What PostgreSQL's errors mean: out of reach, refused, too slow, or the statement is wrong.

use std::error::Error as _;
use std::time::Duration;

use domain::clock::Span;
use domain::fault::Fault;
use tokio_postgres::error::ErrorPosition;

use crate::{DatabasePlace, SentSql};

/// Where an error came from.
#[derive(Debug, Clone, Copy)]
pub struct StatementContext<'a> {
    /// The connection as people know it.
    pub place: &'a DatabasePlace,
    /// `host:port`.
    pub address: &'a str,
    /// What the statement's timeout was.
    pub statement_timeout: Duration,
    /// The person's own SQL, where the statement was that.
    pub sent: Option<SentSql<'a>>,
}

/// What the server said, taken apart.
pub(crate) struct ServerError<'a> {
    pub(crate) state: &'a str,
    pub(crate) message: &'a str,
    pub(crate) hint: Option<&'a str>,
    /// Character of the statement, from 0.
    pub(crate) position: Option<usize>,
}

/// What an error means to a person.
pub fn fault(context: &StatementContext<'_>, error: &tokio_postgres::Error) -> Fault {
    if let Some(db) = error.as_db_error() {
        let position = match db.position() {
            Some(ErrorPosition::Original(at)) => Some((*at as usize).saturating_sub(1)),
            _ => None,
        };
        return said(
            context,
            &ServerError { state: db.code().code(), message: db.message(), hint: db.hint(), position },
        );
    }
    let mut what = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        // Many errors repeat their cause in their own text.
        if !what.contains(&inner.to_string()) {
            what = format!("{what}: {inner}");
        }
        cause = inner.source();
    }
    local(context, &what)
}

/// An error that the server said nothing about: it did not come that far. The client's error has no kind
/// to ask for, only its text.
pub(crate) fn local(context: &StatementContext<'_>, what: &str) -> Fault {
    let StatementContext { place, address, .. } = *context;
    if what.contains("TLS") || what.contains("certificate") {
        let next = if what.contains("does not support TLS") {
            "Switch TLS on at the server, or set `tls: disable` for a server on this machine or in a trusted network."
        } else {
            "If the server's certificate comes from a private authority, give its PEM file as `ca_file`; `host` must be the name in the certificate."
        };
        return place.unreachable(format!("no encrypted connection to {address}: {what}.")).with_next(next);
    }
    if what.starts_with("invalid configuration") || what.starts_with("authentication error") {
        return place.denied(format!("logging in to {address} failed: {what}."));
    }
    if what.starts_with("error connecting") || what.starts_with("timeout") {
        return place.unreachable(format!("{address} does not answer: {what}."));
    }
    place.unreachable(format!("the connection to {address} broke: {what}."))
}

pub(crate) fn said(context: &StatementContext<'_>, said: &ServerError<'_>) -> Fault {
    let StatementContext { place, address, .. } = *context;
    let message = without_values(said.state, said.message);
    let message = message.trim_end_matches('.');
    let hint = said.hint.map(|hint| format!(" {hint}")).unwrap_or_default();
    match said.state {
        "57014" if message.contains("timeout") => place
            .timeout(format!("a statement took longer than {} (statement_timeout).", Span(context.statement_timeout))),
        "57014" => place.timeout(format!("the statement was cancelled: {message}.")),
        "42501" => place.denied(format!("access refused: {message}.")),
        state if state.starts_with("28") || state == "3D000" => {
            place.denied(format!("{address} refuses the login: {message}.{hint}"))
        }
        // Connection exceptions, too many connections, shutting down or starting up.
        state if state.starts_with("08") || state.starts_with("53") || state.starts_with("57P") => {
            place.unreachable(format!("{address} does not serve us: {message}.{hint}"))
        }
        "25006" => place.failed(format!("a model can only read: {message}.")),
        state => {
            let position = match (&context.sent, said.position) {
                (Some(sent), Some(at)) => sent.position(at),
                _ => String::new(),
            };
            let subject = if context.sent.is_some() { "the SQL fails" } else { "a statement fails" };
            place.failed(format!("{subject}{position}: {message}.{hint} (SQLSTATE {state})"))
        }
    }
}

/// The message without the value it quotes: errors about data (class 22) end in `: "the value"`.
fn without_values<'a>(state: &str, message: &'a str) -> std::borrow::Cow<'a, str> {
    match message.find(": \"") {
        Some(at) if state.starts_with("22") => format!("{}: \"…\"", &message[..at]).into(),
        _ => message.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::fault::Code;

    fn of(state: &str, message: &str, position: Option<usize>) -> Fault {
        let place = DatabasePlace::warehouse("w");
        let sent = Some(SentSql { sql: "select\nnope", before: 5 });
        let context =
            StatementContext { place: &place, address: "db:5432", statement_timeout: Duration::from_secs(600), sent };
        said(&context, &ServerError { state, message, hint: None, position })
    }

    #[test]
    fn states_are_told_apart() {
        for (state, message, code, part) in [
            ("28P01", "password authentication failed for user \"u\"", Code::WarehouseDenied, "db:5432"),
            ("3D000", "database \"x\" does not exist", Code::WarehouseDenied, "\"x\""),
            ("42501", "permission denied for table t", Code::WarehouseDenied, "table t"),
            ("57014", "canceling statement due to statement timeout", Code::ModelTimeout, "10m"),
            ("57P03", "the database system is starting up", Code::WarehouseUnreachable, "starting up"),
            ("53300", "too many connections", Code::WarehouseUnreachable, "too many"),
            ("42703", "column \"nope\" does not exist", Code::ModelFailed, "line 2, column 1: column \"nope\""),
            ("22012", "division by zero", Code::ModelFailed, "division by zero"),
            ("25006", "cannot execute DELETE in a read-only transaction", Code::ModelFailed, "only read"),
        ] {
            let fault = of(state, message, Some(5 + 7));
            assert_eq!(fault.code, code, "{state}");
            assert!(fault.what.contains(part), "{state}: {}", fault.what);
        }
    }

    #[test]
    fn a_value_in_the_message_is_not_repeated() {
        let fault = of("22P02", "invalid input syntax for type integer: \"ada@example.com\"", None);
        assert!(fault.what.contains("type integer: \"…\"") && !fault.what.contains("ada"), "{}", fault.what);
    }

    #[test]
    fn errors_before_the_server_answers_are_told_apart() {
        let place = DatabasePlace::destination("d");
        let context =
            StatementContext { place: &place, address: "db:5432", statement_timeout: Duration::ZERO, sent: None };
        for (what, code, part) in [
            (
                "error connecting to server: Connection refused (os error 111)",
                Code::DestinationUnreachable,
                "does not answer",
            ),
            (
                "error performing TLS handshake: server does not support TLS",
                Code::DestinationUnreachable,
                "no encrypted connection",
            ),
            ("invalid configuration: password missing", Code::DestinationUnauthorized, "logging in"),
            ("connection closed", Code::DestinationUnreachable, "broke"),
        ] {
            let fault = local(&context, what);
            assert_eq!(fault.code, code, "{what}");
            assert!(fault.what.contains(part) && fault.what.contains("db:5432"), "{}", fault.what);
        }
    }
}
