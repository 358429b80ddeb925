//! A sync that runs in this process: rows from memory, the real engine and driver, the real state in a file, a
//! destination that remembers. One writer, so that little depends on who is faster.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::fault::Fault;
use domain::mode::Mode;
use domain::ports::{BatchQueue, Described, Limits, Query, RowStream, StateStore, Warehouse};
use domain::row::{Column, RowBatch};
use domain::run::{Run, Trigger};
use domain::sync::Sync;
use domain::value::{Type, Value};
use embedded::{MemoryQueue, SqliteState, SystemClock};
use engine::run::Request;
use engine::slots::Slots;
use engine::{Context, Engine, Meter, Settings, Stop};
use futures_util::StreamExt as _;
use serde_json::json;

use crate::ledger::{Begin, Ledger};
use crate::model::{LONGEST, Rows};
use crate::points::{Counted, End, JOB_BATCH, Point, Points, Recording};
use crate::promise::View;

/// Most records in a batch.
pub const BATCH: usize = 10;
/// A run that goes on to its end.
pub const NOWHERE: Point = Point { call: 0, end: End::After };

/// What a run came to.
pub struct Attempt {
    /// `None`: it died.
    pub run: Option<Result<Run, Fault>>,
    /// The calls it made.
    pub calls: Vec<&'static str>,
    /// True when it got to where it was to end.
    pub reached: bool,
}

/// A sync with its state and its destination.
pub struct Rig {
    pub mode: Mode,
    /// The destination takes larger batches as jobs, which begin then.
    pub begin: Option<Begin>,
    /// Requests whose records a message holds.
    pub requests: usize,
    pub ledger: Arc<Ledger>,
    folder: tempfile::TempDir,
}

impl Rig {
    /// One that never ran.
    pub fn new(mode: Mode) -> Self {
        Self { mode, begin: None, requests: 1, ledger: Arc::new(Ledger::new(Ledger::foreign())), folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// One whose destination takes jobs.
    pub fn with_jobs(mode: Mode, begin: Begin) -> Self {
        Self { begin: Some(begin), ..Self::new(mode) }
    }

    /// One whose messages hold the records of several requests.
    pub fn with_messages_of(requests: usize, mode: Mode) -> Self {
        Self { requests, ..Self::new(mode) }
    }

    /// Most records in a batch.
    pub fn batch(&self) -> usize {
        if self.begin.is_some() { JOB_BATCH } else { BATCH * self.requests }
    }

    /// The same state and the same destination once more, apart from this one.
    pub fn again(&self) -> Self {
        let twin = Self { begin: self.begin, requests: self.requests, ledger: Arc::new(Ledger::new(self.ledger.view())), ..Self::new(self.mode) };
        if self.file().exists() {
            std::fs::copy(self.file(), twin.file()).expect("a copy of the state");
        }
        twin
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("state.db")
    }

    /// What the destination has and got.
    pub fn view(&self) -> View {
        self.ledger.view()
    }

    /// Runs the sync on these rows, to the end or to this point. Everything of the run is gone afterwards.
    pub fn run(&self, rows: &Rows, point: Point) -> Attempt {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let points = Points::new(point);
        let run = runtime.block_on(async {
            let engine = self.engine(rows, &points).await;
            let request = Request { trigger: Trigger::Manual, approve: None, full: false };
            tokio::select! {
                run = local::drive::run(&engine, &request) => Some(run),
                () = points.died() => None,
            }
        });
        Attempt { run, calls: points.calls(), reached: points.reached() }
    }

    async fn engine(&self, rows: &Rows, points: &Arc<Points>) -> Engine {
        let limits = Limits { batch_records: BATCH, batch_bytes: 1 << 20, concurrency: 1, rate: None, first_pause: Duration::from_millis(1) };
        let state: Arc<dyn StateStore> = Arc::new(SqliteState::open(self.file()).await.expect("the state opens"));
        let store: Arc<dyn StateStore> = Arc::new(Counted { points: points.clone(), port: state });
        let queue: Arc<dyn BatchQueue> = Arc::new(MemoryQueue::new(Duration::from_secs(3600)));
        let clock = Arc::new(SystemClock);
        let context = Context {
            sync: Arc::new(sync(self.mode)),
            destination: Arc::new(Recording { points: points.clone(), ledger: self.ledger.clone(), limits, begin: self.begin }),
            slots: Arc::new(Slots::new("d", None, store.clone(), clock.clone())),
            store,
            queue: Arc::new(Counted { points: points.clone(), port: queue }),
            shelf: None,
            renew: None,
            clock,
            meter: Arc::new(Meter::default()),
            stop: Stop::default(),
            settings: Settings {
                stall: Duration::ZERO,
                requests_per_message: self.requests,
                spool_folder: self.folder.path().to_owned(),
                ..Settings::default()
            },
        };
        Engine { context, warehouse: Arc::new(Memory(rows.clone())) }
    }

    /// Runs the sync to its end.
    pub fn run_well(&self, rows: &Rows) -> Result<Run, String> {
        match self.run(rows, NOWHERE).run {
            Some(Ok(run)) => Ok(run),
            Some(Err(fault)) => Err(format!("an undisturbed run failed: {fault}")),
            None => Err("an undisturbed run died".into()),
        }
    }

    /// All runs, newest first.
    pub fn history(&self) -> Vec<Run> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async { SqliteState::open(self.file()).await.expect("the state").runs("crm", 1000).await.expect("the runs") })
    }
}

fn sync(mode: Mode) -> Sync {
    let whole = json!({
        "name": "crm", "mode": mode,
        "model": { "warehouse": "w", "sql": "select id, name from rows", "key": ["id"] },
        "destination": { "connection": "d", "object": "rows" },
        "mapping": [{ "from": "id", "to": "id", "identifier": true }, { "from": "name", "to": "name" }],
        "validate": [{ "field": "name", "max_length": LONGEST }],
        "guards": { "min_rows": null, "max_delete_percent": null, "max_change_percent": null },
    });
    serde_json::from_value(whole).expect("a valid sync")
}

/// Rows from memory.
struct Memory(Rows);

#[async_trait]
impl Warehouse for Memory {
    async fn describe(&self, _: &Query) -> Result<Described, Fault> {
        let column = |name: &str, kind| Column { name: name.into(), kind };
        Ok(Described { columns: vec![column("id", Type::Int), column("name", Type::Text)], findings: Vec::new(), unreadable: Vec::new() })
    }

    async fn rows(&self, _: &Query) -> Result<RowStream, Fault> {
        let mut batch = RowBatch::new(2);
        for (id, name) in &self.0 {
            batch.push(Value::Int(*id));
            batch.push(Value::Text(name));
        }
        Ok(futures_util::stream::iter([Ok(batch)]).boxed())
    }
}
