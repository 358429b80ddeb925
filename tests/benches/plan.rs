//! Map, checksum and diff of records that are in memory already: 12 columns, about 430 bytes. No database, no
//! network, so what is timed is our own work: criterion prints records a second of wall-clock time, and two
//! threads share it (one hands over rows, one maps and compares).

#![allow(clippy::expect_used, missing_docs, reason = "a bench that cannot measure ends")]

use std::sync::Arc;

use async_trait::async_trait;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use domain::batch::WriteBatch;
use domain::destination_schema::DestinationSchema;
use domain::fault::Fault;
use domain::outcome::{Outcome, WriteError};
use domain::ports::{Destination, Limits, ModelSchema, PreflightRequest, Query, RowStream, StateStore, Warehouse};
use domain::row::{Column, RowBatch};
use domain::usage::UsageMeter;
use domain::value::{Type, Value};
use embedded::{MemoryQueue, SqliteState, SystemClock};
use engine::{CancelToken, Context, Engine, RunProgress, Settings};
use futures_util::StreamExt;

const ROWS: u64 = 200_000;
const COLUMNS: [(&str, Type); 12] = [
    ("id", Type::Int),
    ("email", Type::Text),
    ("first_name", Type::Text),
    ("last_name", Type::Text),
    ("company", Type::Text),
    ("address", Type::Text),
    ("notes", Type::Text),
    ("lifetime_value", Type::Decimal),
    ("score", Type::Float),
    ("active", Type::Bool),
    ("born", Type::Date),
    ("updated_at", Type::Timestamp),
];

struct Memory(Arc<Vec<RowBatch>>);

fn rows() -> Vec<RowBatch> {
    let mut batches = Vec::new();
    let mut batch = RowBatch::new(COLUMNS.len());
    for id in 0..ROWS as i64 {
        batch.push(Value::Int(id));
        batch.push(Value::Text(&format!("someone.with.a.name.{id:08}@example.com")));
        batch.push(Value::Text("Maximiliana"));
        batch.push(Value::Text("Featherstonehaugh"));
        batch.push(Value::Text("Example Trading and Shipping Company Limited"));
        batch.push(Value::Text("1 Main Street, Kirkby Lonsdale, Cumbria, United Kingdom"));
        batch.push(Value::Text(
            "Asked for a call back next week about the renewal; prefers the morning. Has two open invoices and one ticket about the export.",
        ));
        batch.push(Value::Decimal("12345.67"));
        batch.push(Value::Float(0.75));
        batch.push(Value::Bool(true));
        batch.push(Value::Date(10_000));
        batch.push(Value::Timestamp(1_767_323_045_678_901));
        if batch.is_full() {
            batches.push(std::mem::replace(&mut batch, RowBatch::new(COLUMNS.len())));
        }
    }
    batches.push(batch);
    batches
}

#[async_trait]
impl Warehouse for Memory {
    async fn describe(&self, _: &Query) -> Result<ModelSchema, Fault> {
        Ok(ModelSchema {
            columns: COLUMNS.iter().map(|(name, kind)| Column { name: (*name).into(), kind: *kind }).collect(),
            ..ModelSchema::default()
        })
    }

    async fn rows(&self, _: &Query) -> Result<RowStream, Fault> {
        let batches = Arc::clone(&self.0);
        Ok(futures_util::stream::iter(0..batches.len()).map(move |i| Ok(batches[i].clone())).boxed())
    }
}

/// Takes anything and is never asked to.
struct Nowhere;

#[async_trait]
impl Destination for Nowhere {
    fn limits(&self) -> Limits {
        Limits {
            batch_records: 100,
            batch_bytes: 1 << 20,
            concurrency: 1,
            rate: None,
            first_pause: std::time::Duration::ZERO,
        }
    }

    async fn preflight(&self, _: PreflightRequest<'_>) -> Result<DestinationSchema, Fault> {
        Ok(DestinationSchema::default())
    }

    async fn write(&self, batch: &WriteBatch<'_>) -> Result<Vec<Outcome>, WriteError> {
        Ok(batch.records.iter().map(|_| Outcome::unmentioned()).collect())
    }
}

fn bench(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let store: Arc<dyn StateStore> =
        Arc::new(runtime.block_on(SqliteState::open(folder.path().join("state.db"))).expect("a state"));
    let mapping: Vec<_> = COLUMNS
        .iter()
        .map(|(name, _)| match *name {
            "id" => serde_json::json!({ "from": name, "to": name, "identifier": true }),
            "email" => serde_json::json!({ "from": name, "to": name, "transform": ["trim", "lowercase"] }),
            _ => serde_json::json!({ "from": name, "to": name }),
        })
        .collect();
    let sync = serde_json::from_value(serde_json::json!({
        "name": "bench", "mode": "upsert", "mapping": mapping,
        "model": { "warehouse": "w", "sql": "select 1", "key": ["id"] }, "destination": { "connection": "d" },
    }))
    .expect("a sync");
    let clock = Arc::new(SystemClock);
    let context = Context {
        sync: Arc::new(sync),
        destination: Arc::new(Nowhere),
        queue: Arc::new(MemoryQueue::new(std::time::Duration::from_secs(60))),
        plan_store: None,
        renew: None,
        slots: Arc::new(engine::deliver::rate_limiter::RateLimiter::new("d", None, Arc::clone(&store), clock.clone())),
        store: Arc::clone(&store),
        clock,
        meter: Arc::new(RunProgress::default()),
        stop: CancelToken::default(),
        settings: Settings { spool_folder: folder.path().into(), ..Settings::default() },
    };
    let engine = Engine { context, warehouse: Arc::new(Memory(Arc::new(rows()))) };
    let mut group = criterion.benchmark_group("plan");
    group.throughput(Throughput::Elements(ROWS)).sample_size(10);
    group.bench_function("map, checksum and diff against an empty state", |b| {
        b.iter(|| {
            runtime.block_on(async {
                let head = store.head("bench").await.expect("a head");
                let plan = engine::plan::plan(&engine, &head, "", false, &UsageMeter::default()).await.expect("a plan");
                assert_eq!(plan.difference.counts.added, ROWS);
            });
        });
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
