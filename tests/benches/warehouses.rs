//! What reading a warehouse costs: CPU a row up to cells (map and checksum not counted), peak memory, and an idle run
//! beside only fetching and inflating the very same answers.
//!
//! `./tests/run --bench warehouses [--rows N] [--only snowflake|databricks|bigquery|mysql]`. The doubles answer out of this
//! process; every measured thing runs in a process of its own, so that CPU seconds and peak memory are its own. Wall-clock
//! time is the double's and says nothing. MySQL is a real server, read beside a bare `mysql_async` stream.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a bench that cannot measure ends, and prints its figures"
)]

#[path = "warehouses/child.rs"]
mod child;
mod usage;

use std::path::Path;
use std::process::Command;

use doubles::bigquery::{BigQueryDouble, BigQueryProject};
use doubles::databricks::{DatabricksDouble, DatabricksWorkspace};
use doubles::snowflake::{SnowflakeAccount, SnowflakeDouble};
use doubles::sql::{Database, SqlValue};
use serde_json::{Value, json};
use support::double::Double;

use crate::usage::Measured;

/// What `${env:…}` of the connections leads to.
const TOKEN: &str = "a-token-of-the-bench";
/// Rows of a partition, chunk or page.
const PART_ROWS: usize = 20_000;
const NOTES: &str = "Asked for a call back next week about the renewal, prefers the morning. Has two open invoices and one ticket \
about the export to spreadsheets, which the second line looks at. Works with the regional team on most days.";

/// The columns, each with its type in Snowflake, Databricks and BigQuery.
const COLUMNS: [(&str, [&str; 3]); 12] = [
    ("id", ["NUMBER(18,0)", "bigint", "int64"]),
    ("email", ["VARCHAR", "string", "string"]),
    ("first_name", ["VARCHAR", "string", "string"]),
    ("last_name", ["VARCHAR", "string", "string"]),
    ("company", ["VARCHAR", "string", "string"]),
    ("city", ["VARCHAR", "string", "string"]),
    ("country", ["VARCHAR", "string", "string"]),
    ("tier", ["VARCHAR", "string", "string"]),
    ("ltv", ["NUMBER(14,3)", "decimal(14,3)", "numeric(14,3)"]),
    ("orders", ["NUMBER(18,0)", "bigint", "int64"]),
    ("updated_at", ["TIMESTAMP_LTZ", "timestamp", "timestamptz"]),
    ("notes", ["VARCHAR", "string", "string"]),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(at) = arguments.iter().position(|a| a == "--child") {
        let measured = child::run(&arguments[at + 1..]);
        println!("{}", serde_json::to_string(&measured).expect("numbers serialise"));
        return;
    }
    let value = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1));
    let rows: usize = value("--rows").map_or(1_000_000, |n| n.parse().expect("--rows takes a number"));
    let only = value("--only").map(String::as_str);
    println!("{rows} rows of 12 columns; CPU of the reading process\n");
    println!("| what | CPU s | µs a row | peak MB | ratio |\n|---|---:|---:|---:|---:|");
    for (at, kind) in ["snowflake", "databricks", "bigquery"].into_iter().enumerate() {
        if only.is_none_or(|only| only == kind) {
            double(kind, at, rows);
        }
    }
    match std::env::var("SLUICEGATE_TEST_MYSQL") {
        _ if only.is_some_and(|only| only != "mysql") => {}
        Ok(url) => mysql(&url, rows),
        Err(_) => println!(
            "\nMySQL was left out: SLUICEGATE_TEST_MYSQL is not set (`./tests/run --bench warehouses` starts one)."
        ),
    }
}

/// Measures one kind of warehouse on its double.
fn double(kind: &str, at: usize, rows: usize) {
    let table = |database: &Database| {
        let columns: Vec<(&str, &str)> = COLUMNS.iter().map(|(name, kinds)| (*name, kinds[at])).collect();
        database.table("customers", &columns, data(rows)).expect("a table");
    };
    match kind {
        "snowflake" => {
            let mut account = SnowflakeAccount::new("acme-main").expect("an account");
            account.tokens.insert(TOKEN.into());
            (account.partition_rows, account.polls) = (PART_ROWS, 0);
            table(&account.database);
            let double = SnowflakeDouble::start(account).expect("a free port");
            compare(
                kind,
                rows,
                &json!({ "type": kind, "account": "acme-main", "url": double.url(), "token": "${env:BENCH_TOKEN}", "warehouse": "WH" }),
            );
        }
        "databricks" => {
            let mut workspace = DatabricksWorkspace::new("abc123").expect("a workspace");
            workspace.tokens.insert(TOKEN.into());
            (workspace.chunk_rows, workspace.polls) = (PART_ROWS, 0);
            table(&workspace.database);
            let double = DatabricksDouble::start(workspace).expect("a free port");
            compare(
                kind,
                rows,
                &json!({ "type": kind, "host": double.url(), "warehouse": "/sql/1.0/warehouses/abc123", "token": "${env:BENCH_TOKEN}" }),
            );
        }
        _ => {
            let mut project = BigQueryProject::new("acme").expect("a project");
            (project.page_rows, project.polls) = (PART_ROWS, 0);
            table(&project.database);
            let double = BigQueryDouble::start(project).expect("a free port");
            compare(
                kind,
                rows,
                &json!({ "type": kind, "project": "acme", "url": double.url(), "page_rows": PART_ROWS }),
            );
        }
    }
}

fn data(rows: usize) -> Vec<Vec<SqlValue>> {
    let at: jiff::Timestamp = "2026-01-02T03:04:05.678901Z".parse().expect("a time");
    let text = |text: &str| SqlValue::text(text);
    (0..rows as i64)
        .map(|id| {
            vec![
                SqlValue::Int(id),
                SqlValue::text(format!("someone.with.a.name.{id:08}@example.com")),
                text("Maximiliana"),
                text("Featherstonehaugh"),
                text("Example Trading and Shipping Company Limited"),
                text("Kirkby Lonsdale"),
                text("United Kingdom"),
                text(if id % 3 == 0 { "pro" } else { "free" }),
                SqlValue::Decimal(format!("{}.{:03}", id / 8, id % 8 * 125)),
                SqlValue::Int(id % 50),
                SqlValue::Timestamp(at),
                text(NOTES),
            ]
        })
        .collect()
}

/// Reading to cells, an idle run, and only fetching what an idle run fetches.
fn compare(kind: &str, rows: usize, warehouse: &Value) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let hook = Double::count_only();
    project(folder.path(), warehouse, &hook.url());
    // The first run delivers, the second notes the digests: from the third on nothing is left to do.
    measure(folder.path(), "run", kind);
    measure(folder.path(), "run", kind);
    let best = |what: &str| {
        let runs = (0..3).map(|_| measure(folder.path(), what, kind));
        runs.min_by(|a, b| a.cpu_seconds.total_cmp(&b.cpu_seconds)).expect("three runs")
    };
    let (fetched, read, idle) = (best("fetch"), best("read"), best("run"));
    assert_eq!((read.requests, idle.requests), (rows as u64, 0), "all rows are read, and an idle run sends nothing");
    print(&format!("{kind}: only fetching and inflating"), rows, &fetched, None);
    print(&format!("{kind}: read to cells"), rows, &read, Some(&fetched));
    print(&format!("{kind}: idle run"), rows, &idle, Some(&fetched));
}

/// Reading to cells beside a bare stream of the driver.
fn mysql(server: &str, rows: usize) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = url::Url::parse(server).expect("an address");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(child::mysql_table(server, rows, NOTES));
    let warehouse = json!({ "type": "mysql", "host": url.host_str(), "port": url.port(), "user": url.username(), "database": "sluicegate_bench", "tls": "disable" });
    project(folder.path(), &warehouse, "http://127.0.0.1:9/");
    let best = |what: &str| {
        let runs = (0..3).map(|_| measure(folder.path(), what, "mysql"));
        runs.min_by(|a, b| a.cpu_seconds.total_cmp(&b.cpu_seconds)).expect("three runs")
    };
    let (bare, read) = (best("fetch"), best("read"));
    assert_eq!((bare.requests, read.requests), (rows as u64, rows as u64), "both read all of it");
    print("mysql: a bare mysql_async stream", rows, &bare, None);
    print("mysql: read to cells", rows, &read, Some(&bare));
}

fn project(folder: &Path, warehouse: &Value, hook: &str) {
    let mut warehouse = warehouse.clone();
    if warehouse["type"] != "mysql" {
        warehouse["allow_private"] = true.into();
    }
    let connections = json!({
        "warehouse": warehouse,
        "hook": { "type": "webhook", "url": hook, "allow_private": true, "batch_size": 1000, "concurrency": 8 },
    });
    let line = |(name, _): &(&str, [&str; 3])| match *name {
        "id" => json!({ "from": "id", "to": "id", "identifier": true }),
        name => json!({ "from": name, "to": name }),
    };
    let sync = json!({
        "name": "bench", "mode": "upsert", "mapping": COLUMNS.iter().map(line).collect::<Vec<_>>(),
        "model": { "warehouse": "warehouse", "sql": "select * from customers", "key": ["id"], "probe": false },
        "destination": { "connection": "hook" },
    });
    std::fs::create_dir_all(folder.join("syncs")).expect("a folder");
    // JSON is YAML.
    std::fs::write(folder.join("connections.yaml"), connections.to_string()).expect("a file");
    std::fs::write(folder.join("syncs/bench.yaml"), sync.to_string()).expect("a file");
}

/// Runs one thing in a process of its own.
fn measure(folder: &Path, what: &str, kind: &str) -> Measured {
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--child", what])
        .arg(folder)
        .arg(kind)
        .env("BENCH_TOKEN", TOKEN)
        .stderr(std::process::Stdio::inherit())
        .output()
        .expect("the child runs");
    assert!(output.status.success(), "{kind} {what} failed: {}", String::from_utf8_lossy(&output.stdout));
    serde_json::from_slice(&output.stdout).expect("the child prints its numbers")
}

fn print(what: &str, rows: usize, m: &Measured, bare: Option<&Measured>) {
    let ratio = bare.map_or_else(String::new, |bare| format!("{:.2}", m.cpu_seconds / bare.cpu_seconds));
    let micros = m.cpu_seconds * 1e6 / rows as f64;
    println!("| {what} | {:.2} | {micros:.2} | {} | {ratio} |", m.cpu_seconds, m.peak_mb);
}
