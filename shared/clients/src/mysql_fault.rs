//! What the errors of MySQL and MariaDB mean: out of reach, refused, too slow, or the statement is wrong.
//! <https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html>

use std::time::Duration;

use domain::clock::Span;
use domain::fault::Fault;
use mysql_async::Error;

use crate::{DatabasePlace, SentSql};

/// What an error means to a person.
pub fn fault(
    place: &DatabasePlace,
    address: &str,
    statement_timeout: Duration,
    error: &Error,
    sent: Option<SentSql<'_>>,
) -> Fault {
    let server = match error {
        Error::Server(server) => server,
        Error::Io(io) => {
            let what = io.to_string();
            if what.contains("TLS") || what.contains("certificate") {
                return place
                    .unreachable(format!("no encrypted connection to {address}: {what}."))
                    .with_next("if the server's certificate comes from a private authority, give its PEM file as `ca_file`; `host` must be the name in the certificate; for a server on this machine set `tls: disable`");
            }
            return place.unreachable(format!("{address} does not answer, or the connection broke: {what}."));
        }
        other => return place.unreachable(format!("the connection to {address} broke: {other}.")),
    };
    let said = server.message.split_whitespace().collect::<Vec<_>>().join(" ");
    let said = said.trim_end_matches('.');
    match server.code {
        // Execution was interrupted, maximum statement execution time exceeded.
        3024 | 1969 => {
            place.timeout(format!("a statement took longer than {} (statement_timeout).", Span(statement_timeout)))
        }
        1317 => place.timeout(format!("the statement was cancelled: {said}.")),
        1045 | 1044 | 1049 | 1698 | 1130 | 1251 | 1820 => place.denied(format!("{address} refuses the login: {said}.")),
        1142 | 1143 | 1227 | 1370 => place
            .denied(format!("access refused: {said}."))
            .with_next("GRANT SELECT ON `DATABASE`.`TABLE` TO 'USER'@'HOST' (to write: INSERT, UPDATE, DELETE, too)"),
        // Too many connections, shutting down, the server is gone.
        1040 | 1203 | 1053 | 1077 | 1079 | 1152 | 2006 | 2013 => {
            place.unreachable(format!("{address} does not serve us: {said}."))
        }
        1792 | 1290 => place.failed(format!("a model can only read: {said}.")),
        code => {
            let position = sent.map(|sent| line(said, sent)).unwrap_or_default();
            place.failed(format!("{said}{position} ({code})."))
        }
    }
}

/// ` (line 2 of the model)`: the server tells the line of what it was sent.
fn line(said: &str, sent: SentSql<'_>) -> String {
    let Some(line) = said.rsplit_once("at line ").and_then(|(_, line)| line.parse::<usize>().ok()) else {
        return String::new();
    };
    // What goes before a model is one line.
    match line.checked_sub(usize::from(sent.before > 0)) {
        Some(line) if line > 0 && sent.before > 0 => format!(" (line {line} of the model)"),
        _ => String::new(),
    }
}
