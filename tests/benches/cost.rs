//! What the state in DynamoDB costs: capacity units of whole runs, and money at list prices.
//!
//! `SLUICEGATE_TEST_AWS=http://… cargo bench -p house --bench cost -- [--rows N[,N …]] [--batch N] [--changes N]`. The
//! engine plans and delivers rows that are made up as they are read, to a destination that accepts at once; its state is
//! a table of the emulator. Write units are those the emulator reports, which counts the item's size before and after as
//! AWS does; read units are the larger of what it reports and what the items read come to by AWS's rules (4 KB a unit,
//! all reads strongly consistent), because it reports one unit for a read of any size.
//!
//! Ends with 1 when a budget is exceeded.

#![allow(clippy::expect_used, clippy::print_stdout, missing_docs, reason = "a bench that cannot measure ends, and prints its figures")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use aws::state::{Consumed, DynamoState};
use domain::batch::WriteBatch;
use domain::fault::Fault;
use domain::outcome::{Effect, Outcome, WriteError};
use domain::ports::{Described, Destination, DestinationSchema, Limits, Need, Query, RowStream, StateStore, Warehouse};
use domain::row::{Column, RowBatch};
use domain::run::{Run, Status, Trigger};
use domain::value::{Type, Value};
use embedded::{MemoryQueue, SystemClock};
use engine::run::Request;
use engine::slots::Slots;
use engine::{Context, Engine, Meter, Settings, Stop};
use futures_util::StreamExt;
use support::dynamodb;

/// List prices in US dollars, us-east-1, on demand, as of 2025-06: to be checked against the price list before use.
mod price {
    /// A million write request units of DynamoDB.
    pub const WRITES: f64 = 0.625;
    /// A million read request units of DynamoDB.
    pub const READS: f64 = 0.125;
    /// A million requests of SQS (standard queue).
    pub const SQS: f64 = 0.40;
    /// A million invocations of Lambda.
    pub const INVOCATIONS: f64 = 0.20;
    /// A gigabyte-second of Lambda on arm64.
    pub const GB_SECOND: f64 = 0.000_013_333_4;
}

/// Assumed, not measured: a writer's memory in gigabytes, and the seconds it takes for a batch.
const WRITER: (f64, f64) = (0.25, 0.5);
/// Assumed: the extractor's memory in gigabytes. Its seconds are those of this run, on this machine.
const EXTRACTOR: f64 = 1.0;

/// Units a run of up to five million records may use.
struct Budget {
    reads: Option<f64>,
    writes: f64,
}

const FIRST: Budget = Budget { reads: None, writes: 250_000.0 };
const IDLE: Budget = Budget { reads: Some(200.0), writes: 20.0 };
const CHANGES: Budget = Budget { reads: Some(1_000.0), writes: 1_500.0 };

/// Rows made up as they are read: the version of every `step`th is `version`.
struct MadeUp {
    rows: u64,
    step: u64,
    version: i64,
}

const COLUMNS: [(&str, Type); 5] = [("id", Type::Int), ("email", Type::Text), ("name", Type::Text), ("tier", Type::Text), ("version", Type::Int)];

#[async_trait]
impl Warehouse for MadeUp {
    async fn describe(&self, _: &Query) -> Result<Described, Fault> {
        Ok(Described { columns: COLUMNS.iter().map(|(name, kind)| Column { name: (*name).into(), kind: *kind }).collect(), findings: vec![] })
    }

    async fn rows(&self, _: &Query) -> Result<RowStream, Fault> {
        let (rows, step, version) = (self.rows as i64, self.step as i64, self.version);
        let batches = futures_util::stream::unfold(0i64, move |mut id| async move {
            let mut batch = RowBatch::new(COLUMNS.len());
            while id < rows && !batch.is_full() {
                batch.push(Value::Int(id));
                batch.push(Value::Text(&format!("someone.{id:08}@example.com")));
                batch.push(Value::Text("Maximiliana Featherstonehaugh"));
                batch.push(Value::Text(if id % 3 == 0 { "pro" } else { "free" }));
                batch.push(Value::Int(if id % step == 0 { version } else { 0 }));
                id += 1;
            }
            (!batch.is_empty()).then_some((Ok(batch), id))
        });
        Ok(batches.boxed())
    }
}

/// Accepts everything at once.
struct Takes {
    batch: usize,
}

#[async_trait]
impl Destination for Takes {
    fn limits(&self) -> Limits {
        Limits { batch_records: self.batch, batch_bytes: 1 << 20, concurrency: 8, rate: None, first_pause: Duration::ZERO }
    }

    async fn preflight(&self, _: Need<'_>) -> Result<DestinationSchema, Fault> {
        Ok(DestinationSchema::default())
    }

    async fn write(&self, batch: &WriteBatch<'_>) -> Result<Vec<Outcome>, WriteError> {
        Ok(batch.records.iter().map(|_| Outcome::Accepted { effect: Effect::Created, record_id: None }).collect())
    }
}

struct Bench {
    rows: u64,
    batch: usize,
    changes: u64,
    store: Arc<DynamoState>,
    folder: tempfile::TempDir,
}

impl Bench {
    async fn run(&self, version: i64) -> (Run, Consumed, Duration) {
        let mapping: Vec<_> = COLUMNS.iter().map(|(name, _)| serde_json::json!({ "from": name, "to": name, "identifier": *name == "id" })).collect();
        let sync = serde_json::json!({
            "name": "crm-contacts", "mode": "upsert", "mapping": mapping,
            "model": { "warehouse": "w", "sql": "select 1", "key": ["id"] }, "destination": { "connection": "d" },
        });
        let clock = Arc::new(SystemClock);
        let store: Arc<dyn StateStore> = self.store.clone();
        let context = Context {
            sync: Arc::new(serde_json::from_value(sync).expect("a sync")),
            destination: Arc::new(Takes { batch: self.batch }),
            renew: None,
            queue: Arc::new(MemoryQueue::new(Duration::from_secs(3600))),
            shelf: None,
            slots: Arc::new(Slots::new("d", None, Arc::clone(&store), clock.clone())),
            store,
            clock,
            meter: Arc::new(Meter::default()),
            stop: Stop::default(),
            settings: Settings { spool_folder: self.folder.path().into(), ..Settings::default() },
        };
        let warehouse = Arc::new(MadeUp { rows: self.rows, step: (self.rows / self.changes).max(1), version });
        let request = Request { trigger: Trigger::Manual, approve: None, full: false };
        let (before, begun) = (self.store.consumed(), Instant::now());
        let run = local::drive::run(&Engine { context, warehouse }, &request).await.expect("a run");
        assert!(run.status == Status::Complete && run.tally.balances(), "{run:?}");
        (run, self.store.consumed() - before, begun.elapsed())
    }
}

/// Prints a line; true when the run is within its budget.
fn line(what: &str, rows: u64, (run, used, took): &(Run, Consumed, Duration), budget: Option<&Budget>) -> bool {
    // Every batch was accepted by its first request.
    let batches = run.tally.requests as f64;
    let dynamodb = (used.write_units * price::WRITES + used.read_units * price::READS) / 1e6;
    // A message is sent, received and removed.
    let others = (3.0 * batches * price::SQS + (1.0 + batches) * price::INVOCATIONS) / 1e6
        + (batches * WRITER.0 * WRITER.1 + EXTRACTOR * took.as_secs_f64()) * price::GB_SECOND;
    let within = budget.is_none_or(|b| used.write_units <= b.writes && b.reads.is_none_or(|reads| used.read_units <= reads));
    let said = match budget {
        None => String::new(),
        Some(b) => {
            let reads = b.reads.map_or_else(String::new, |reads| format!("{reads:.0} / "));
            format!("{reads}{:.0}{}", b.writes, if within { "" } else { " EXCEEDED" })
        }
    };
    println!(
        "| {what} | {rows} | {} | {batches:.0} | {} | {:.0} | {:.0} | {said} | {dynamodb:.4} | {others:.4} | {:.0} |",
        run.counts.to_send(),
        used.requests,
        used.read_units,
        used.write_units,
        took.as_secs_f64()
    );
    within
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1));
    let number = |name: &str, default: u64| value(name).map_or(default, |n| n.parse().expect("a number"));
    let sizes: Vec<u64> = value("--rows").map_or("100000", String::as_str).split(',').map(|n| n.parse().expect("--rows takes numbers")).collect();
    let (batch, changes) = (number("--batch", 200), number("--changes", 200));
    println!("{batch} records to a batch; budget = read / write units; dollars at the list prices of us-east-1 as of 2025-06, to be checked;");
    println!("others = SQS and Lambda, a writer of {} GB taken to be busy for {} s with a batch\n", WRITER.0, WRITER.1);
    println!("| run | rows | sent | batches | requests | read units | write units | budget | DynamoDB $ | others $ | seconds here |");
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let mut within = true;
    for rows in sizes {
        runtime.block_on(async {
            let store = Arc::new(dynamodb::state().await);
            let bench = Bench { rows, batch: batch as usize, changes, store, folder: tempfile::tempdir().expect("a folder") };
            within &= line("first", rows, &bench.run(0).await, Some(&FIRST));
            line("notes digests", rows, &bench.run(0).await, None);
            let idle = bench.run(0).await;
            assert_eq!(idle.0.counts.to_send(), 0);
            within &= line("idle", rows, &idle, Some(&IDLE));
            let changed = bench.run(1).await;
            assert!(changed.0.counts.changed >= changes, "{:?}", changed.0.counts);
            within &= line(&format!("{} changes", changed.0.counts.changed), rows, &changed, Some(&CHANGES));
            line("notes digests", rows, &bench.run(1).await, None);
        });
    }
    if !within {
        println!("\nA budget was exceeded.");
        std::process::exit(1);
    }
}
