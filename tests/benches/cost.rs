//! What runs cost on AWS: capacity units of DynamoDB, requests of SQS, invocations of Lambda, and money at list prices.
//!
//! `./tests/run --bench cost [--rows N[,N …]] [--batch N] [--changes N]`: rows that are made up as they are read,
//! `--batch` to a request of a destination that accepts at once. State and queue are a table and a queue of the
//! emulator.
//!
//! - Write units are those the emulator reports, which counts the item's size before and after as AWS does; read units
//!   are the larger of what it reports and what the items read come to by AWS's rules (4 KB a unit, all reads strongly
//!   consistent), because it reports one unit for a read of any size.
//! - SQS is counted by a proxy before it, each 64 KB as a request. Messages are received and removed as the event
//!   source mapping of a stack does it: so many at once, one invocation of the writer for each receive that brought
//!   any.
//! - Seconds of Lambda are the extractor's on this machine, and assumed for the writer.
//!
//! Ends with 1 when a budget is exceeded.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a bench that cannot measure ends, and prints its figures"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use aws::Clients;
use aws::queue::SqsQueue;
use aws::state::{Consumed, DynamoState};
use domain::batch::WriteBatch;
use domain::destination_schema::DestinationSchema;
use domain::fault::Fault;
use domain::outcome::{Effect, Outcome, WriteError};
use domain::ports::{Destination, Limits, ModelSchema, PreflightRequest, Query, RowStream, StateStore, Warehouse};
use domain::row::{Column, RowBatch};
use domain::run::{Run, Status, Trigger};
use domain::value::{Type, Value};
use embedded::SystemClock;
use engine::deliver::rate_limiter::RateLimiter;
use engine::deliver::{MessageResult, handle};
use engine::run::start;
use engine::started::{RunRequest, Started};
use engine::{CancelToken, Context, Engine, RunProgress, Settings};
use futures_util::StreamExt;
use support::proxy::Proxy;
use support::{aws as emulator, dynamodb};
use tokio::task::JoinSet;

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

/// What the functions of a stack have, in gigabytes: extractor and writer (`ExtractorMemory`, `memory`).
const MEMORY: (f64, f64) = (1769.0 / 1024.0, 0.25);
/// Assumed: seconds that a destination takes for a request. A writer waits for it, and does little else.
const REQUEST_SECONDS: f64 = 0.25;
/// Messages handed to a writer at once, as a stack has it (`batch`), and requests to a message.
const TOGETHER: usize = 5;
const REQUESTS: usize = 5;
/// Runs in a month, one every 15 minutes.
const MONTH: f64 = 2_920.0;

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

const COLUMNS: [(&str, Type); 5] =
    [("id", Type::Int), ("email", Type::Text), ("name", Type::Text), ("tier", Type::Text), ("version", Type::Int)];

#[async_trait]
impl Warehouse for MadeUp {
    async fn describe(&self, _: &Query) -> Result<ModelSchema, Fault> {
        Ok(ModelSchema {
            columns: COLUMNS.iter().map(|(name, kind)| Column { name: (*name).into(), kind: *kind }).collect(),
            ..ModelSchema::default()
        })
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
        Limits {
            batch_records: self.batch,
            batch_bytes: 1 << 20,
            concurrency: 8,
            rate: None,
            first_pause: Duration::ZERO,
        }
    }

    async fn preflight(&self, _: PreflightRequest<'_>) -> Result<DestinationSchema, Fault> {
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

/// What a run used.
struct Used {
    run: Run,
    dynamodb: Consumed,
    /// Requests of SQS as they are billed.
    sqs: usize,
    /// Invocations of the writer.
    writers: usize,
    /// How long the extractor took, on this machine.
    extractor: Duration,
}

impl Used {
    fn dynamodb_dollars(&self) -> f64 {
        (self.dynamodb.write_units * price::WRITES + self.dynamodb.read_units * price::READS) / 1e6
    }

    fn dollars(&self) -> f64 {
        // The messages of an invocation are handled at the same time, the requests of a message one after the other.
        let writing = self.run.tally.requests as f64 * REQUEST_SECONDS / TOGETHER.min(self.writers.max(1)) as f64;
        let requests = (self.sqs as f64 * price::SQS + (1 + self.writers) as f64 * price::INVOCATIONS) / 1e6;
        self.dynamodb_dollars()
            + requests
            + (MEMORY.0 * self.extractor.as_secs_f64() + MEMORY.1 * writing) * price::GB_SECOND
    }
}

impl Bench {
    async fn run(&self, version: i64) -> Used {
        let mapping: Vec<_> = COLUMNS
            .iter()
            .map(|(name, _)| serde_json::json!({ "from": name, "to": name, "identifier": *name == "id" }))
            .collect();
        let sync = serde_json::json!({
            "name": "crm-contacts", "mode": "upsert", "mapping": mapping,
            "model": { "warehouse": "w", "sql": "select 1", "key": ["id"] }, "destination": { "connection": "d" },
        });
        let clock = Arc::new(SystemClock);
        let store: Arc<dyn StateStore> = self.store.clone();
        let proxy = Proxy::start(dynamodb::endpoint()).await;
        let clients = Clients::emulator(&proxy.url).await;
        let url = emulator::queue(Duration::from_secs(3600)).await;
        let context = Context {
            sync: Arc::new(serde_json::from_value(sync).expect("a sync")),
            destination: Arc::new(Takes { batch: self.batch }),
            renew: None,
            queue: Arc::new(SqsQueue::new(&clients, &url, "none", emulator::MESSAGE_BYTES)),
            plan_store: None,
            slots: Arc::new(RateLimiter::new("d", None, Arc::clone(&store), clock.clone())),
            store,
            clock,
            meter: Arc::new(RunProgress::default()),
            stop: CancelToken::default(),
            settings: Settings {
                spool_folder: self.folder.path().into(),
                requests_per_message: REQUESTS,
                ..Settings::default()
            },
        };
        let warehouse = Arc::new(MadeUp { rows: self.rows, step: (self.rows / self.changes).max(1), version });
        let engine = Engine { context, warehouse };
        let before = self.store.consumed();
        let begun = Instant::now();
        let extracting = engine.clone();
        let extractor = tokio::spawn(async move {
            let request = RunRequest { trigger: Trigger::Manual, approve: None, full: false };
            (start(&extracting, &request).await.expect("a run"), begun.elapsed())
        });
        let over = CancelToken::default();
        let mut writers: JoinSet<usize> = (0..WRITERS).map(|_| deliver(engine.context.clone(), over.clone())).collect();
        let (started, extractor) = extractor.await.expect("the extractor ends");
        if matches!(started, Started::Closed(_)) {
            over.cancel();
        }
        let mut invocations = 0;
        while let Some(received) = writers.join_next().await {
            invocations += received.expect("a writer ends");
        }
        let run = engine.store.run("crm-contacts", &started.run().id).await.expect("the state").expect("the run");
        assert!(run.status == Status::Complete && run.tally.balances(), "{run:?}");
        // Receives that brought nothing are not this run's: the mapping waits whether there are runs or not. And it
        // removes the messages of an invocation with one request.
        let more = |action| proxy.requests(action) - invocations;
        let sqs = proxy.billed() - more("ReceiveMessage") - more("DeleteMessage");
        let _ = clients.sqs().delete_queue().queue_url(url).send().await;
        Used { run, dynamodb: self.store.consumed() - before, sqs, writers: invocations, extractor }
    }
}

const WRITERS: usize = 4;

/// A writer: receives as an event source mapping does, until the run is over. How many receives brought something.
async fn deliver(context: Context, over: CancelToken) -> usize {
    let mut invocations = 0;
    while !over.is_cancelled() {
        let received = tokio::select! {
            received = context.queue.receive(TOGETHER, Duration::from_secs(20)) => received.expect("the queue answers"),
            () = over.cancelled() => break,
        };
        invocations += usize::from(!received.is_empty());
        let handled = received.iter().map(|delivery| handle(&context, &delivery.message));
        for handled in futures_util::future::try_join_all(handled).await.expect("no fault") {
            match handled {
                MessageResult::Done | MessageResult::Stale => {}
                MessageResult::RunClosed(_) => over.cancel(),
                MessageResult::RetryAfter(_) => unreachable!("the destination takes everything at once"),
            }
        }
        for delivery in &received {
            context.queue.done(&delivery.receipt).await.expect("the queue answers");
        }
    }
    invocations
}

/// Prints a line; true when the run is within its budget.
fn line(what: &str, rows: u64, used: &Used, budget: Option<&Budget>) -> bool {
    let units = &used.dynamodb;
    let within =
        budget.is_none_or(|b| units.write_units <= b.writes && b.reads.is_none_or(|reads| units.read_units <= reads));
    let said = match budget {
        None => String::new(),
        Some(b) => {
            let reads = b.reads.map_or_else(String::new, |reads| format!("{reads:.0} / "));
            format!("{reads}{:.0}{}", b.writes, if within { "" } else { " EXCEEDED" })
        }
    };
    println!(
        "| {what} | {rows} | {} | {} | {:.0} | {:.0} | {said} | {} | {} | {:.5} | {:.5} | {:.0} |",
        used.run.counts.to_send(),
        used.run.batches.unwrap_or_default(),
        units.read_units,
        units.write_units,
        used.sqs,
        1 + used.writers,
        used.dynamodb_dollars(),
        used.dollars(),
        used.extractor.as_secs_f64()
    );
    within
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1));
    let number = |name: &str, default: u64| value(name).map_or(default, |n| n.parse().expect("a number"));
    let sizes: Vec<u64> = value("--rows")
        .map_or("100000", String::as_str)
        .split(',')
        .map(|n| n.parse().expect("--rows takes numbers"))
        .collect();
    let (batch, changes) = (number("--batch", 100), number("--changes", 200));
    println!(
        "{batch} records to a request, {REQUESTS} requests to a message, {TOGETHER} messages to an invocation; budget = read / write units;"
    );
    println!(
        "dollars at the list prices of us-east-1 as of 2025-06, to be checked; a request of the destination taken to last {REQUEST_SECONDS} s\n"
    );
    println!(
        "| run | rows | sent | messages | read units | write units | budget | SQS requests | invocations | DynamoDB $ | all $ | extractor s |"
    );
    println!("|---|---:|---:|---:|---:|---:|---|---:|---:|---:|---:|---:|");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let (mut within, mut months) = (true, Vec::new());
    for rows in sizes {
        runtime.block_on(async {
            let store = Arc::new(dynamodb::state().await);
            let bench =
                Bench { rows, batch: batch as usize, changes, store, folder: tempfile::tempdir().expect("a folder") };
            let first = bench.run(0).await;
            within &= line("first", rows, &first, Some(&FIRST));
            line("notes digests", rows, &bench.run(0).await, None);
            let idle = bench.run(0).await;
            assert_eq!(idle.run.counts.to_send(), 0);
            within &= line("idle", rows, &idle, Some(&IDLE));
            let changed = bench.run(1).await;
            assert!(changed.run.counts.changed >= changes, "{:?}", changed.run.counts);
            within &= line(&format!("{} changes", changed.run.counts.changed), rows, &changed, Some(&CHANGES));
            let noted = bench.run(1).await;
            line("notes digests", rows, &noted, None);
            // A run also notes digests of what the one before it changed.
            months.push((rows, first.dollars(), idle.dollars() * MONTH, (changed.dollars() + noted.dollars()) * MONTH));
        });
    }
    println!(
        "\n| rows | first run, once | a month of idle runs, one every 15 minutes | a month of runs with {changes} changes each |\n|---:|---:|---:|---:|"
    );
    for (rows, first, idle, changed) in months {
        println!("| {rows} | ${first:.4} | ${idle:.2} | ${changed:.2} |");
    }
    if !within {
        println!("\nA budget was exceeded.");
        std::process::exit(1);
    }
}
