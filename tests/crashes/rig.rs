//! A sync that runs in this process: rows from memory, the real engine and driver, the real state in a file, a
//! destination that remembers. One writer, so that little depends on who is faster.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::cells;
use domain::clock::Millis;
use domain::fault::Fault;
use domain::mode::Mode;
use domain::ports::{
    BatchQueue, Clock, Limits, ModelSchema, Query, RowFilter, RowStream, RunStore, StateStore, Warehouse,
};
use domain::row::{Column, RowBatch};
use domain::run::{Run, Status, Trigger};
use domain::sync::Sync;
use domain::value::{Type, Value};
use embedded::{MemoryQueue, SqliteState, SystemClock};
use engine::deliver::rate_limiter::RateLimiter;
use engine::started::RunRequest;
use engine::{CancelToken, Context, Engine, RunProgress, Settings};
use futures_util::StreamExt as _;
use serde_json::json;

use crate::ledger::{Begin, Ledger, Manners};
use crate::model::{LONGEST, Model};
use crate::points::{CountedPort, End, JOB_BATCH, Point, Points, Recording};
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

/// What is not as in the plainest sync.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ways {
    /// Keys are texts that every write may spell anew; the destination compares them without regard to case.
    pub text_keys: bool,
    /// The model is read by a cursor.
    pub cursor: bool,
    /// What the destination does besides.
    pub manners: Manners,
    /// Other processes may be at work: a run is taken over only when it has stalled.
    pub beside: bool,
}

/// A run gets nowhere for so long, and is taken over by the next.
const STALL: Duration = Duration::from_secs(10 * 60);

/// A sync with its state and its destination.
pub struct Rig {
    pub mode: Mode,
    pub ways: Ways,
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
        Self::with_ways(Ways::default(), mode)
    }

    /// One that is not the plainest.
    pub fn with_ways(ways: Ways, mode: Mode) -> Self {
        let ledger = Arc::new(Ledger::new(Ledger::foreign(), ways.manners));
        Self { mode, ways, begin: None, requests: 1, ledger, folder: tempfile::tempdir().expect("a temporary folder") }
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
        let ledger = Arc::new(Ledger::new(self.ledger.view(), self.ways.manners));
        let twin = Self { begin: self.begin, requests: self.requests, ledger, ..Self::with_ways(self.ways, self.mode) };
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

    /// Runs the sync on this model, to the end or to this point. Everything of the run is gone afterwards.
    pub fn run(&self, model: &Model, point: Point) -> Attempt {
        self.run_as(model, point, None, Duration::ZERO)
    }

    /// The same with this plan approved, by a clock that is ahead by so much.
    fn run_as(&self, model: &Model, point: Point, approve: Option<String>, ahead: Duration) -> Attempt {
        let points = Points::new(point);
        let run = runtime().block_on(async {
            let engine = self.engine(model, &points, ahead).await;
            let asked = request(approve);
            tokio::select! {
                run = local::drive::run(&engine, &asked) => Some(run),
                () = points.died() => None,
            }
        });
        Attempt { run, calls: points.calls(), reached: points.reached() }
    }

    /// Runs the sync and approves what guards ask about, as a person would who means it; to the end or to this point of
    /// the run that was approved.
    pub fn run_approved(&self, model: &Model, point: Point) -> Attempt {
        let first = self.again().run(model, NOWHERE);
        match first.run {
            Some(Ok(Run { status: Status::Blocked, plan_hash, .. })) => {
                self.run(model, NOWHERE);
                self.run_as(model, point, plan_hash, Duration::ZERO)
            }
            _ => self.run(model, point),
        }
    }

    /// Runs the sync on this model and holds the run at this point, while another process, whose clock is ahead by so
    /// much, finds the model as it is `now`, takes over and runs to its end. Then the first one goes on. Returns what
    /// the second came to; `None`: the first was over before the point.
    pub fn run_beside(&self, model: &Model, point: Point, now: &Model, ahead: Duration) -> Option<Result<Run, Fault>> {
        let points = Points::new(point);
        runtime().block_on(async {
            let (first, second) = (
                self.engine(model, &points, Duration::ZERO).await,
                self.engine(now, &Points::new(NOWHERE), ahead).await,
            );
            let asked = request(None);
            let held = local::drive::run(&first, &asked);
            tokio::pin!(held);
            tokio::select! {
                _ = &mut held => return None,
                () = points.held() => {}
            }
            let run = local::drive::run(&second, &asked).await;
            points.let_go();
            tokio::select! {
                _ = &mut held => {}
                () = points.died() => {}
            }
            Some(run)
        })
    }

    async fn engine(&self, model: &Model, points: &Arc<Points>, ahead: Duration) -> Engine {
        let limits = Limits {
            batch_records: BATCH,
            batch_bytes: 1 << 20,
            concurrency: 1,
            rate: None,
            first_pause: Duration::from_millis(1),
        };
        let state: Arc<dyn StateStore> = Arc::new(SqliteState::open(self.file()).await.expect("the state opens"));
        let store: Arc<dyn StateStore> = Arc::new(CountedPort { points: points.clone(), port: state });
        let queue: Arc<dyn BatchQueue> = Arc::new(MemoryQueue::new(Duration::from_secs(3600)));
        let clock = Arc::new(Ahead(ahead));
        let recording = Recording {
            points: points.clone(),
            ledger: self.ledger.clone(),
            limits,
            begin: self.begin,
            folds: self.ways.text_keys,
        };
        let context = Context {
            sync: Arc::new(sync(self.mode, self.ways)),
            destination: Arc::new(recording),
            slots: Arc::new(RateLimiter::new("d", None, store.clone(), clock.clone())),
            store,
            queue: Arc::new(CountedPort { points: points.clone(), port: queue }),
            plan_store: None,
            renew: None,
            clock,
            meter: Arc::new(RunProgress::default()),
            stop: CancelToken::default(),
            settings: Settings {
                stall: if self.ways.beside { STALL } else { Duration::ZERO },
                requests_per_message: self.requests,
                spool_folder: self.folder.path().to_owned(),
                ..Settings::default()
            },
        };
        Engine { context, warehouse: Arc::new(Memory { model: model.clone(), ways: self.ways }) }
    }

    /// Runs the sync to its end.
    pub fn run_well(&self, model: &Model) -> Result<Run, String> {
        self.run_well_at(model, Duration::ZERO)
    }

    /// Runs the sync to its end, by a clock that is ahead by so much.
    pub fn run_well_at(&self, model: &Model, ahead: Duration) -> Result<Run, String> {
        match self.run_as(model, NOWHERE, None, ahead).run {
            Some(Ok(Run { status: Status::Blocked, plan_hash, .. })) => {
                match self.run_as(model, NOWHERE, plan_hash, ahead).run {
                    Some(Ok(run)) => Ok(run),
                    _ => Err("an approved run failed".into()),
                }
            }
            Some(Ok(run)) => Ok(run),
            Some(Err(fault)) => Err(format!("an undisturbed run failed: {fault}")),
            None => Err("an undisturbed run died".into()),
        }
    }

    /// All runs, newest first.
    pub fn history(&self) -> Vec<Run> {
        runtime().block_on(async {
            SqliteState::open(self.file()).await.expect("the state").runs("crm", 1000).await.expect("the runs")
        })
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn request(approve: Option<String>) -> RunRequest {
    RunRequest { trigger: Trigger::Manual, approve, full: false }
}

/// A clock that is ahead by this.
struct Ahead(Duration);

impl Clock for Ahead {
    fn now(&self) -> Millis {
        SystemClock.now().plus(self.0)
    }
}

fn sync(mode: Mode, ways: Ways) -> Sync {
    let mut whole = json!({
        "name": "crm", "mode": mode,
        "model": { "warehouse": "w", "sql": "select id, name, updated from rows", "key": ["id"] },
        "destination": { "connection": "d", "object": "rows" },
        "mapping": [{ "from": "id", "to": "id", "identifier": true }, { "from": "name", "to": "name" }],
        "validate": [{ "field": "name", "max_length": LONGEST }],
        "guards": { "min_rows": null, "max_delete_percent": null, "max_change_percent": null, "max_added": null, "max_added_percent": null },
    });
    if ways.cursor {
        whole["model"]["cursor"] = json!("updated");
    }
    serde_json::from_value(whole).expect("a valid sync")
}

struct Memory {
    model: Model,
    ways: Ways,
}

#[async_trait]
impl Warehouse for Memory {
    async fn describe(&self, _: &Query) -> Result<ModelSchema, Fault> {
        let column = |name: &str, kind| Column { name: name.into(), kind };
        let key = if self.ways.text_keys { Type::Text } else { Type::Int };
        let columns = vec![column("id", key), column("name", Type::Text), column("updated", Type::Int)];
        Ok(ModelSchema { columns, ..ModelSchema::default() })
    }

    async fn rows(&self, query: &Query) -> Result<RowStream, Fault> {
        let from = match &query.only {
            Some(RowFilter::From { cell, .. }) => match cells::value(cell) {
                Value::Int(from) => from,
                other => panic!("a cursor that is {other:?}"),
            },
            _ => 0,
        };
        let mut batch = RowBatch::new(3);
        for (id, name) in &self.model.rows {
            let updated = self.model.updated[id];
            if updated < from {
                continue;
            }
            let spelling = self.model.spelling(*id);
            batch.push(if self.ways.text_keys { Value::Text(&spelling) } else { Value::Int(*id) });
            batch.push(Value::Text(name));
            batch.push(Value::Int(updated));
        }
        Ok(futures_util::stream::iter([Ok(batch)]).boxed())
    }
}
