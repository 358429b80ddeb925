//! PostgreSQL behind a door that knows only what Redshift knows (PostgreSQL 8.0.2, and its own): the rest it refuses and
//! remembers. What comes back has the numbers and texts of Redshift's types.
//!
//! Refused: parameters that Redshift does not have, isolation levels, several statements at once, snapshots handed on, JSONB,
//! catalogues that came later, COPY, VALUES as a table, values in binary, and messages of later versions.
//! <https://docs.aws.amazon.com/redshift/latest/dg/c_unsupported-postgresql-features.html>,
//! <https://docs.aws.amazon.com/redshift/latest/dg/cm_chap_ConfigurationRef.html>

use std::io::{Error, Result};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;

/// The parameters that SHOW ALL of Redshift lists.
const PARAMETERS: [&str; 8] = [
    "analyze_threshold_percent",
    "datestyle",
    "extra_float_digits",
    "query_group",
    "search_path",
    "statement_timeout",
    "timezone",
    "wlm_query_slot_count",
];
const UNKNOWN: [&str; 8] = [
    "pg_export_snapshot",
    "isolation level",
    "jsonb",
    "pg_enum",
    "pg_range",
    "values",
    "set transaction snapshot",
    "copy ",
];
/// Types of PostgreSQL that stand for those of Redshift: JSON for SUPER, BYTEA for VARBYTE.
const TYPES: [(u32, u32); 2] = [(114, 4000), (17, 6551)];
const VARBYTE: u32 = 6551;

#[derive(Debug, Default)]
pub struct DoorLog {
    /// Every statement, in order.
    pub statements: Vec<String>,
    /// What Redshift would not have known, with why.
    pub refused: Vec<String>,
    /// Requests to stop a statement.
    pub cancelled: usize,
}

/// The door; it ends with the test's runtime.
pub struct RedshiftDoor {
    pub port: u16,
    log: Arc<Mutex<DoorLog>>,
}

impl RedshiftDoor {
    pub async fn before(host: &str, port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door = Self { port: listener.local_addr().unwrap().port(), log: Arc::default() };
        let (log, upstream) = (Arc::clone(&door.log), (host.to_owned(), port));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (log, upstream) = (Arc::clone(&log), upstream.clone());
                // A connection that breaks is one that either side closed.
                tokio::spawn(async move { serve(client, upstream, log).await });
            }
        });
        door
    }

    pub fn log(&self) -> std::sync::MutexGuard<'_, DoorLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn serve(mut client: TcpStream, upstream: (String, u16), log: Arc<Mutex<DoorLog>>) -> Result<()> {
    let mut server = TcpStream::connect(upstream).await?;
    let mut first = body(&mut client).await?;
    if number(&first, 0) == SSL_REQUEST {
        client.write_all(b"N").await?;
        first = body(&mut client).await?;
    }
    if number(&first, 0) == CANCEL_REQUEST {
        log.lock().unwrap().cancelled += 1;
    } else {
        let names = first[4..].split(|b| *b == 0).step_by(2).filter(|name| !name.is_empty());
        for name in names {
            if !matches!(name, b"user" | b"database" | b"client_encoding" | b"application_name") {
                log.lock().unwrap().refused.push(format!("at login: {}", String::from_utf8_lossy(name)));
            }
        }
    }
    server.write_u32(first.len() as u32 + 4).await?;
    server.write_all(&first).await?;
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::select! {
        ended = requests(from_client, to_server, log) => ended,
        ended = answers(from_server, to_client) => ended,
    }
}

/// From the client to the server.
async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, log: Arc<Mutex<DoorLog>>) -> Result<()> {
    loop {
        let tag = from.read_u8().await?;
        let mut message = body(&mut from).await?;
        let statement = match tag {
            b'Q' => Some(0),
            b'P' => Some(1 + message.iter().position(|b| *b == 0).unwrap_or_default()),
            _ => None,
        };
        if let Some(at) = statement {
            let end = at + message[at..].iter().position(|b| *b == 0).unwrap_or_default();
            let sql = String::from_utf8_lossy(&message[at..end]).into_owned();
            let passes = judge(&sql, tag == b'Q', &mut log.lock().unwrap());
            message.splice(at..end, passes.into_bytes());
        }
        // A bound statement without a name, formats and parameters: everything in text.
        let known =
            matches!(tag, b'Q' | b'P' | b'D' | b'E' | b'S' | b'X' | b'p' | b'd') || (tag == b'B' && message == [0; 8]);
        if !known {
            log.lock().unwrap().refused.push(format!("message {}: {message:?}", char::from(tag)));
        }
        to.write_all(&framed(tag, &message)).await?;
    }
}

/// The statement for the server: as it came, or one that fails there.
fn judge(sql: &str, simple: bool, log: &mut DoorLog) -> String {
    log.statements.push(sql.to_owned());
    if let Some(why) = unknown(sql, simple) {
        log.refused.push(format!("{why}: {sql}"));
        return format!("unknown to Redshift: {why}");
    }
    match sql.strip_prefix("SET query_group") {
        // A parameter that PostgreSQL lets have any name.
        Some(rest) => format!("SET redshift.query_group{rest}"),
        None => sql.to_owned(),
    }
}

fn unknown(sql: &str, simple: bool) -> Option<String> {
    let lower = sql.to_lowercase();
    if simple && lower.contains(';') {
        return Some("several statements".into());
    }
    if let Some(set) = lower.strip_prefix("set ") {
        let (name, value) = set.split_once([' ', '=']).unwrap_or((set, ""));
        let most = value.rsplit(' ').next().and_then(|digits| digits.parse::<i32>().ok());
        let known = PARAMETERS.contains(&name) && (name != "extra_float_digits" || most.is_some_and(|most| most <= 2));
        return (!known).then(|| format!("SET {name} {value}"));
    }
    UNKNOWN.iter().find(|word| lower.contains(*word)).map(|word| (*word).to_owned())
}

/// From the server to the client.
async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> Result<()> {
    let mut columns = Vec::new();
    loop {
        let tag = from.read_u8().await?;
        let mut message = body(&mut from).await?;
        match tag {
            b'T' => columns = retyped(&mut message),
            b'D' => message = rewritten(&message, &columns),
            _ => {}
        }
        to.write_all(&framed(tag, &message)).await?;
    }
}

/// Puts the numbers of Redshift's types into a description of columns; these numbers.
fn retyped(message: &mut [u8]) -> Vec<u32> {
    let mut at = 2;
    let mut columns = Vec::new();
    while at < message.len() {
        // After the name: table, column, type, size, modifier, format.
        at += 1 + message[at..].iter().position(|b| *b == 0).unwrap_or_default() + 6;
        let oid = number(message, at);
        let own = TYPES.iter().find(|(theirs, _)| *theirs == oid).map_or(oid, |(_, own)| *own);
        message[at..at + 4].copy_from_slice(&own.to_be_bytes());
        columns.push(own);
        at += 12;
    }
    columns
}

/// A row with its bytes as Redshift writes them: digits and nothing before them.
fn rewritten(message: &[u8], columns: &[u32]) -> Vec<u8> {
    let (mut row, mut at) = (message[..2].to_vec(), 2);
    for column in columns {
        let length = number(message, at);
        at += 4;
        let cell = if length == u32::MAX { None } else { Some(&message[at..at + length as usize]) };
        at += cell.map_or(0, <[u8]>::len);
        let cell = match cell {
            Some(cell) if *column == VARBYTE => Some(cell.strip_prefix(b"\\x").unwrap_or(cell)),
            cell => cell,
        };
        row.extend(cell.map_or(u32::MAX, |cell| cell.len() as u32).to_be_bytes());
        row.extend(cell.unwrap_or_default());
    }
    row
}

async fn body(from: &mut (impl tokio::io::AsyncRead + Unpin)) -> Result<Vec<u8>> {
    let length = from.read_u32().await?.checked_sub(4).ok_or_else(|| Error::other("a message without its length"))?;
    let mut body = vec![0; length as usize];
    from.read_exact(&mut body).await?;
    Ok(body)
}

fn framed(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}
