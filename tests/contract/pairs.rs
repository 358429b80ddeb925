//! Every type of every database, random values of it, into every kind of column of every other: a value arrives as it
//! is, or its record is refused. None is rounded, cut, folded or spelt anew in silence.
//!
//! Both ends are read by the warehouses of the same kind, and compared as what they mean: `1`, `1.0` and the text `1` are
//! one number, a date is midnight of its day, and a document is what it holds.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "all of this is test code, helpers outside of test functions included"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use domain::connection::Connection;
use domain::fault::Code;
use domain::ports::{Query, SystemClock, Warehouse};
use domain::run::{Run, Status};
use domain::value::{Value as Cell, canonical_decimal};
use fastrand::Rng;
use futures_util::StreamExt as _;
use local::drive;
use serde_json::{Value, json};
use support::mysql::MysqlDatabase;
use support::postgres::TestDatabase;
use support::project::{Project, request};

/// Random values of each type beside the edges.
const RANDOM: usize = 4;

/// A database that is read from and written to.
enum Engine {
    Sqlite,
    Postgres(Box<TestDatabase>),
    Mysql(Box<MysqlDatabase>),
}

impl Engine {
    async fn all() -> Vec<Engine> {
        vec![
            Engine::Sqlite,
            Engine::Postgres(Box::new(support::postgres::database().await)),
            Engine::Mysql(Box::new(support::mysql::database().await)),
        ]
    }

    fn name(&self) -> &'static str {
        match self {
            Engine::Sqlite => "sqlite",
            Engine::Postgres(_) => "postgres",
            Engine::Mysql(_) => "mysql",
        }
    }

    /// Its settings, without `type`.
    fn config(&self) -> Value {
        match self {
            Engine::Sqlite => json!({ "path": "all.db" }),
            Engine::Postgres(db) => db.connection_config(),
            Engine::Mysql(db) => db.connection_config(),
        }
    }

    /// As `connections.yaml` has it.
    fn connection(&self) -> Value {
        let mut connection = self.config();
        connection["type"] = self.name().into();
        connection
    }

    async fn execute(&self, project: &Project, sql: &str) {
        match self {
            Engine::Sqlite => support::project::execute(&project.path("all.db"), sql),
            Engine::Postgres(db) => db.client.batch_execute(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}")),
            Engine::Mysql(db) => db.execute(&[sql]).await,
        }
    }

    /// Types to read, each with the kind of values it has.
    fn sources(&self) -> Vec<(&'static str, Kind)> {
        use Kind::*;
        match self {
            Engine::Sqlite => {
                vec![("integer", Whole), ("real", Float), ("text", Text), ("blob", Bytes), ("numeric", Decimal)]
            }
            Engine::Postgres(_) => vec![
                ("int8", Whole),
                ("numeric", Decimal),
                ("float8", Float),
                ("text", Text),
                ("bool", Bool),
                ("date", Date),
                ("timestamp", DateTime),
                ("timestamptz", DateTime),
                ("time", Time),
                ("bytea", Bytes),
                ("uuid", Uuid),
                ("jsonb", Json),
            ],
            Engine::Mysql(_) => vec![
                ("bigint", Whole),
                ("decimal(38,10)", Decimal),
                ("double", Float),
                ("text character set utf8mb4", Text),
                ("tinyint(1)", Bool),
                ("date", Date),
                ("datetime(6)", DateTime),
                ("timestamp(6) null", DateTime),
                ("time(6)", Time),
                ("blob", Bytes),
                ("json", Json),
            ],
        }
    }

    /// Types of columns to write into.
    fn columns(&self) -> &'static [&'static str] {
        match self {
            Engine::Sqlite => &["integer", "real", "text", "blob", "numeric", "varchar(5)"],
            Engine::Postgres(_) => &[
                "int2",
                "int8",
                "numeric",
                "numeric(8,2)",
                "float8",
                "real",
                "text",
                "varchar(5)",
                "char(6)",
                "bool",
                "date",
                "timestamp",
                "timestamptz",
                "timestamp(0)",
                "time",
                "bytea",
                "uuid",
                "jsonb",
                "json",
                "text[]",
            ],
            Engine::Mysql(_) => &[
                "tinyint",
                "bigint",
                "bigint unsigned",
                "decimal(8,2)",
                "double",
                "float",
                "text",
                "varchar(5)",
                "char(6)",
                "tinyint(1)",
                "date",
                "datetime",
                "datetime(6)",
                "timestamp(6) null",
                "time",
                "blob",
                "varbinary(4)",
                "binary(4)",
                "json",
                "year",
                "enum('a','1')",
                "set('a','b')",
                "bit(8)",
            ],
        }
    }

    /// A value as this database writes it.
    fn literal(&self, kind: Kind, text: &str) -> String {
        let quoted = text.replace('\'', "''");
        match (self, kind) {
            (Engine::Postgres(_), Kind::Bytes) => format!("'\\x{text}'"),
            (_, Kind::Bytes) => format!("x'{text}'"),
            (Engine::Mysql(_), _) => format!("'{}'", quoted.replace('\\', "\\\\")),
            (Engine::Sqlite, Kind::Whole | Kind::Float | Kind::Decimal) => text.to_owned(),
            _ => format!("'{quoted}'"),
        }
    }
}

/// What kind of values a type has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Whole,
    Decimal,
    Float,
    Text,
    Bool,
    Date,
    DateTime,
    Time,
    Bytes,
    Uuid,
    Json,
}

impl Kind {
    /// Values at the edges and random ones, as text.
    fn values(self, random: &mut Rng) -> Vec<String> {
        let edges: &[&str] = match self {
            Kind::Whole => {
                &["0", "1", "-1", "7", "255", "256", "2026", "32768", "9007199254740993", "-9223372036854775807"]
            }
            Kind::Decimal => &["0", "1", "1.5", "0.005", "99999.995", "-123456.78", "16777217", "0.1"],
            Kind::Float => &["0.1", "1", "-2.5", "16777217", "1e20", "0.30000000000000004"],
            Kind::Text => &[
                "",
                " ",
                "a",
                "A",
                "1",
                "01",
                "1.0",
                "1e3",
                " 1",
                "true",
                "t",
                "2026-01-02",
                "2026-01-02T03:04:05Z",
                "2026-01-02 03:04:05",
                "12:34:56",
                "abcde",
                "abcde ",
                "abcdef",
                "Zoë",
                "é",
                "{\"a\":1}",
                "null",
                "[]",
                "{}",
                "0",
                "0x1F",
                "2026",
                "a,b",
                "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            ],
            Kind::Bool => &["1", "0"],
            Kind::Date => &["2024-02-29", "1970-01-01", "1001-01-01", "9999-12-31"],
            Kind::DateTime => {
                &["2024-02-29 12:34:56.789012", "2026-01-02 00:00:00", "2037-12-31 23:59:59.5", "1971-01-01 00:00:01"]
            }
            Kind::Time => &["00:00:00", "12:34:56", "23:59:59.999999"],
            Kind::Bytes => &["", "00", "61", "6162", "00ff00ff", "0000000000", "c3a9"],
            Kind::Uuid => &["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
            Kind::Json => &["{\"a\": [1, 2.5]}", "1", "\"x\"", "[]", "true"],
        };
        let mut out: Vec<String> = edges.iter().map(|text| (*text).to_owned()).collect();
        for _ in 0..RANDOM {
            out.push(self.random(random));
        }
        out
    }

    fn random(self, r: &mut Rng) -> String {
        match self {
            Kind::Whole => (r.i64(..) >> r.u32(0..62)).to_string(),
            Kind::Decimal => format!("{}.{}", r.i64(..) >> r.u32(8..62), r.u32(..) >> r.u32(0..28)),
            Kind::Float => {
                let value = f64::from_bits(r.u64(..));
                if value.is_finite() && (1e-290..1e290).contains(&value.abs()) {
                    format!("{value:e}")
                } else {
                    "0.25".into()
                }
            }
            Kind::Text => {
                let letters = ['a', 'B', '0', '9', ' ', '.', '-', ':', 'é', '€', '🌊', '\'', '"', '\\', '\n', '%'];
                (0..r.usize(1..8)).map(|_| letters[r.usize(..letters.len())]).collect()
            }
            Kind::Bool => u8::from(r.bool()).to_string(),
            Kind::Date => format!("{:04}-{:02}-{:02}", r.u16(1001..9999), r.u8(1..13), r.u8(1..29)),
            Kind::DateTime => {
                let day = format!("{}-{:02}-{:02}", r.u16(1972..2037), r.u8(1..13), r.u8(1..29));
                format!("{day} {:02}:{:02}:{:02}.{:06}", r.u8(..24), r.u8(..60), r.u8(..60), r.u32(..1_000_000))
            }
            Kind::Time => format!("{:02}:{:02}:{:02}.{:06}", r.u8(..24), r.u8(..60), r.u8(..60), r.u32(..1_000_000)),
            Kind::Bytes => (0..r.usize(1..6)).fold(String::new(), |mut text, _| {
                let _ = write!(text, "{:02x}", r.u8(..));
                text
            }),
            Kind::Uuid => domain::value::render::uuid(r.u128(..).to_be_bytes()),
            Kind::Json => format!("{{\"k{}\": [{}, \"{}\"]}}", r.u8(..), r.i32(..), r.alphanumeric()),
        }
    }
}

/// What a cell means, for comparing both ends.
#[derive(Debug, Clone, PartialEq)]
enum Meaning {
    Null,
    Number(String),
    Text(String),
    Bytes(Vec<u8>),
    /// Microseconds.
    At(i64),
    Time(i64),
    Json(Value),
    Unreadable,
}

fn meaning(cell: Cell<'_>) -> Meaning {
    match cell {
        Cell::Missing | Cell::Null => Meaning::Null,
        Cell::Bool(v) => Meaning::Number(u8::from(v).to_string()),
        Cell::Int(v) => Meaning::Number(v.to_string()),
        Cell::Float(v) => Meaning::Number(number(&format!("{v}")).expect("digits")),
        Cell::Decimal(v) => Meaning::Number(v.to_owned()),
        Cell::Text(v) => Meaning::Text(v.to_owned()),
        Cell::Bytes(v) => Meaning::Bytes(v.to_vec()),
        Cell::Date(v) => Meaning::At(i64::from(v) * 86_400_000_000),
        Cell::DateTime(v) | Cell::Timestamp(v) => Meaning::At(v),
        Cell::Time(v) => Meaning::Time(v),
        Cell::Json(v) => Meaning::Json(serde_json::from_str(v).expect("a document")),
        Cell::Uuid(v) => Meaning::Text(domain::value::render::uuid(v)),
        Cell::Unreadable(_) => Meaning::Unreadable,
    }
}

fn number(text: &str) -> Option<String> {
    canonical_decimal(text).map(|digits| digits.into_owned())
}

/// True when `there` says what was sent: `sent` in the words of `sent_text`, `there` in those of `there_text`.
fn is_same(column: &str, sent: &Meaning, sent_text: &str, there: &Meaning, there_text: &str) -> bool {
    use Meaning::{Json, Number, Text, Unreadable};
    // Fixed width: the spaces at the end are the column's.
    let there_text = if column.starts_with("char(") { there_text.trim_end_matches(' ') } else { there_text };
    match (sent, there) {
        _ if sent == there || sent_text == there_text => true,
        _ if column.starts_with("char(") && sent_text.trim_end_matches(' ') == there_text => true,
        // A text in a column of another type is read as that type writes its values.
        (Text(_), Json(Value::Array(_))) if column.ends_with("[]") => sent_text.starts_with('{'),
        (Text(_), Json(Value::Number(_))) => digits(sent_text) == digits(there_text),
        (Unreadable, _) | (_, Unreadable) => false,
        (Json(sent), Text(there)) => parsed(there).as_ref() == Some(sent),
        // A document is a text that is read as one, or a number by its digits.
        (Text(sent), Json(there)) => parsed(sent).as_ref() == Some(there) || there.as_str() == Some(sent),
        (_, Json(Value::String(there))) => there == sent_text,
        (Number(sent), Json(Value::Number(_))) => digits(there_text).as_ref() == Some(sent),
        (Json(Value::Number(_)), Number(there)) => digits(sent_text).as_ref() == Some(there),
        (Number(sent), Json(Value::Bool(there))) | (Json(Value::Bool(there)), Number(sent)) => {
            *sent == u8::from(*there).to_string()
        }
        (Text(_), Number(there)) => digits(sent_text).as_ref() == Some(there) || is_bool(sent_text, there),
        (Text(_), _) | (_, Text(_)) => time_text(sent_text) == time_text(there_text),
        _ => false,
    }
}

fn parsed(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

/// The plain digits of a number that may have an exponent.
fn digits(text: &str) -> Option<String> {
    let plain = number(text.trim());
    plain.or_else(|| number(&format!("{}", text.parse::<f64>().ok()?)))
}

fn is_bool(text: &str, number: &str) -> bool {
    matches!((text, number), ("true" | "t", "1") | ("false" | "f", "0"))
}

fn time_text(text: &str) -> String {
    let text = text.replace(' ', "T");
    let text = text.strip_suffix('Z').unwrap_or(&text);
    let text = text.strip_suffix("T00:00:00").unwrap_or(text);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text.to_owned() }
}

/// The cells of a table by id, each of the column that its record is about.
async fn cells(engine: &Engine, project: &Project, table: &str) -> BTreeMap<i64, (Meaning, String)> {
    let connection = Connection { kind: engine.name().into(), config: engine.config() };
    let warehouse: Arc<dyn Warehouse> =
        warehouses::open("end", &connection, project.folder(), &crate::warehouses::NoSecrets, &SystemClock::shared())
            .await
            .unwrap();
    let query = Query { sql: format!("select * from {table}"), ..Query::default() };
    let mut rows = warehouse.rows(&query).await.unwrap();
    let mut out = BTreeMap::new();
    while let Some(batch) = rows.next().await {
        for row in batch.unwrap().rows() {
            let Cell::Int(id) = row.value(0) else { panic!("{:?}", row.value(0)) };
            let value = row.value(1 + column_of(id));
            out.insert(id, (meaning(value), value.to_text().into_owned()));
        }
    }
    out
}

/// Records have one value each, for one column of the table that they go to.
fn column_of(id: i64) -> usize {
    usize::try_from(id % 100).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and MariaDB: ./tests/run"]
async fn random_values_arrive_or_are_refused_between_all_databases() {
    let seed = 20_261_129;
    let mut random = Rng::with_seed(seed);
    let mut wrong = Vec::new();
    let (mut arrived, mut refused, mut unfit) = (0, 0, 0);
    for from in Engine::all().await {
        for to in Engine::all().await {
            let mut project = Project::table(0);
            project.connections = json!({ "here": from.connection(), "there": to.connection() });
            for (at, (kind, values)) in from.sources().into_iter().enumerate() {
                let pair = format!("{} {kind} → {}", from.name(), to.name());
                let (src, dst) = (format!("src_{at}"), format!("dst_{at}"));
                fill(&from, &project, &src, kind, values, &values.values(&mut random), to.columns().len()).await;
                create(&to, &project, &dst, to.columns()).await;
                let (run, mapped) = copy(&mut project, &src, &dst, to.columns().len()).await;
                unfit += to.columns().len() - mapped.len();
                if !matches!(run.status, Status::Complete | Status::Partial) {
                    wrong.push(format!("{pair}: the run is {:?}: {:?}", run.status, run.fault));
                    continue;
                }
                let sent = cells(&from, &project, &src).await;
                let there = cells(&to, &project, &dst).await;
                let about = |id: &i64| mapped.contains(&column_of(*id));
                if run.tally.accepted() != there.len() as u64 {
                    wrong.push(format!("{pair}: {} accepted, {} there", run.tally.accepted(), there.len()));
                }
                if run.tally.read_back.landed != run.tally.read_back.checked {
                    wrong.push(format!("{pair}: not landed: {:?}", run.tally.read_back.differing));
                }
                arrived += there.keys().filter(|id| about(id)).count();
                refused += sent.keys().filter(|id| about(id) && !there.contains_key(id)).count();
                for (id, (meant, text)) in there.iter().filter(|(id, _)| about(id)) {
                    let ((sent, sent_text), column) = (&sent[id], to.columns()[column_of(*id)]);
                    if !is_same(column, sent, sent_text, meant, text) {
                        wrong.push(format!("{pair} {column}: {sent:?} arrived as {meant:?} ({text:?})"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "seed {seed}, {} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(arrived > 4_000 && refused > 4_000 && unfit > 200, "{arrived} arrived, {refused} refused, {unfit} unfit");
}

async fn create(engine: &Engine, project: &Project, table: &str, columns: &[&str]) {
    let listed: Vec<String> = columns.iter().enumerate().map(|(at, kind)| format!("c{at} {kind}")).collect();
    engine.execute(project, &format!("drop table if exists {table}")).await;
    engine.execute(project, &format!("create table {table} (id bigint primary key, {})", listed.join(", "))).await;
}

/// Makes a table with as many columns of one type, and for each of them a row with each value.
async fn fill(
    engine: &Engine,
    project: &Project,
    table: &str,
    kind: &str,
    values: Kind,
    texts: &[String],
    columns: usize,
) {
    create(engine, project, table, &vec![kind; columns]).await;
    for column in 0..columns {
        let row = |(text, at): (&String, usize)| format!("({}, {})", at * 100 + column, engine.literal(values, text));
        let rows: Vec<String> = texts.iter().zip(1..).map(row).collect();
        engine.execute(project, &format!("insert into {table} (id, c{column}) values {}", rows.join(", "))).await;
    }
}

/// Runs a sync from one table to the other, of those columns that go together at all.
async fn copy(project: &mut Project, src: &str, dst: &str, columns: usize) -> (Run, Vec<usize>) {
    let mut mapped: Vec<usize> = (0..columns).collect();
    loop {
        let name = format!("copy-{}-{}", src.replace('_', "-"), mapped.len());
        let mut mapping = vec![json!({ "from": "id", "to": "id", "identifier": true })];
        mapping.extend(mapped.iter().map(|at| json!({ "from": format!("c{at}"), "to": format!("c{at}") })));
        project.syncs = vec![json!({
            "name": name, "mode": "upsert", "model": { "warehouse": "here", "sql": format!("select * from {src}"), "key": ["id"] },
            "destination": { "connection": "there", "object": dst }, "readback": { "sample": 1000 }, "mapping": mapping,
        })];
        let engine = project.engine_of(&name).await.unwrap();
        let run = drive::run(&engine, &request()).await.unwrap();
        let Some(fault) = run.fault.as_ref().filter(|fault| fault.code == Code::PreflightFailed) else {
            return (run, mapped);
        };
        let before = mapped.len();
        let named = |at: &usize| {
            let name = format!("c{at}");
            fault.what.split(|c: char| !c.is_alphanumeric()).any(|word| word == name)
        };
        mapped.retain(|at| !named(at));
        assert!(mapped.len() < before && !mapped.is_empty(), "{fault}");
    }
}
