//! A process that the system ends at a set time is never cut off: what does not fit goes on elsewhere, or is a clear
//! fault before anything was sent.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use domain::batch::Message;
use domain::clock::Millis;
use domain::fault::{Code, Fault};
use domain::ports::SystemClock;
use domain::ports::{BatchQueue, Clock, Delivery, PlanStore, Receipt};
use domain::run::{Run, Status};
use embedded::MemoryQueue;
use engine::continuation::resume;
use engine::deliver::{MessageResult, handle};
use engine::run::start;
use engine::started::Started;
use engine::{Deadline, Engine};
use futures_util::StreamExt as _;
use support::project::{Project, assert_balances, request};

/// So long a process lives.
const LIFE: Duration = Duration::from_secs(600);

/// A clock that stands at a point and is turned by what happens.
struct Hand(AtomicI64);

impl Clock for Hand {
    fn now(&self) -> Millis {
        Millis(self.0.load(Ordering::SeqCst))
    }
}

impl Hand {
    fn turn(&self, time: Duration) {
        self.0.fetch_add(time.as_millis() as i64, Ordering::SeqCst);
    }
}

/// A queue where sending takes a quarter of a minute.
struct Slow {
    queue: MemoryQueue,
    hand: Arc<Hand>,
}

#[async_trait]
impl BatchQueue for Slow {
    fn max_body_bytes(&self) -> usize {
        self.queue.max_body_bytes()
    }

    async fn send(&self, message: Message) -> Result<(), Fault> {
        self.hand.turn(Duration::from_secs(15));
        self.queue.send(message).await
    }

    async fn receive(&self, most: usize, wait: Duration) -> Result<Vec<Delivery>, Fault> {
        self.queue.receive(most, wait).await
    }

    async fn delay(&self, receipt: &Receipt, delay: Duration) -> Result<(), Fault> {
        self.queue.delay(receipt, delay).await
    }

    async fn done(&self, receipt: &Receipt) -> Result<(), Fault> {
        self.queue.done(receipt).await
    }
}

#[derive(Default)]
struct Memory(Mutex<HashMap<(String, u32), Bytes>>);

#[async_trait]
impl PlanStore for Memory {
    async fn put(&self, run: &str, part: u32, bytes: Bytes) -> Result<(), Fault> {
        self.0.lock().unwrap().insert((run.to_owned(), part), bytes);
        Ok(())
    }

    async fn get(&self, run: &str, part: u32) -> Result<Option<Bytes>, Fault> {
        Ok(self.0.lock().unwrap().get(&(run.to_owned(), part)).cloned())
    }
}

struct Rig {
    project: Project,
    engine: Engine,
    hand: Arc<Hand>,
    plan_store: Arc<Memory>,
}

/// A sync of `rows` records whose process has just begun.
async fn rig(rows: u32) -> Rig {
    let project = Project::webhook(rows);
    let mut engine = project.engine().await.unwrap();
    let hand = Arc::new(Hand(AtomicI64::new(SystemClock.now().0)));
    let plan_store = Arc::new(Memory::default());
    engine.context.clock = hand.clone();
    engine.context.plan_store = Some(plan_store.clone());
    engine.context.queue = Arc::new(Slow { queue: MemoryQueue::new(LIFE), hand: hand.clone() });
    let mut rig = Rig { project, engine, hand, plan_store };
    rig.new_life();
    rig
}

impl Rig {
    /// Another process goes on.
    fn new_life(&mut self) {
        let began = self.hand.now();
        self.engine.context.settings.deadline = Some(Deadline { began, ends: began.plus(LIFE) });
    }

    /// Delivers what is in the queue. Returns the run that this closed.
    async fn deliver(&self) -> Option<Run> {
        let mut closed = None;
        loop {
            let deliveries = self.engine.queue.receive(10, Duration::from_millis(1)).await.unwrap();
            if deliveries.is_empty() {
                return closed;
            }
            for delivery in deliveries {
                match handle(&self.engine.context, &delivery.message).await.unwrap() {
                    MessageResult::RunClosed(run) => closed = run.map(|run| *run),
                    MessageResult::Done | MessageResult::Stale => {}
                    MessageResult::RetryAfter(_) => panic!("the destination takes everything"),
                }
                self.engine.queue.done(&delivery.receipt).await.unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_too_long_for_one_process_is_enqueued_by_several() {
    let mut rig = rig(1200).await;
    let Started::Deferred(run, mut rest) = start(&rig.engine, &request()).await.unwrap() else {
        panic!("thirty minutes do not fit into ten")
    };
    assert!(rig.hand.now() < rig.engine.settings.deadline.unwrap().ends, "it was not cut off");
    assert_eq!((run.status, rest.batches, rest.part), (Status::Running, 120, 0));
    let mut processes = 1;
    loop {
        assert_eq!(rig.deliver().await, None, "a run is not closed before all of it is enqueued");
        rig.new_life();
        let began = rest.clone();
        let started = resume(&rig.engine.context, &rest).await.unwrap();
        assert!(rig.hand.now() < rig.engine.settings.deadline.unwrap().ends, "it was not cut off");
        processes += 1;
        match started {
            Started::Deferred(_, next) => {
                assert!((next.part, next.skip) > (began.part, began.skip), "every process gets somewhere");
                rest = next;
            }
            Started::Running(run) => {
                assert_eq!(run.batches, Some(120));
                break;
            }
            Started::Closed(run) => panic!("nothing was delivered of the last part: {run:?}"),
        }
    }
    assert!(processes >= 3, "{processes}");
    let closed = rig.deliver().await.expect("the last batch closes the run");
    assert_eq!((closed.status, closed.tally.accepted()), (Status::Complete, 1200));
    assert_balances(&closed);
    rig.project.assert_arrived();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rest_of_a_plan_enqueued_twice_is_delivered_once() {
    let mut rig = rig(480).await;
    let Started::Deferred(_, rest) = start(&rig.engine, &request()).await.unwrap() else {
        panic!("twelve minutes do not fit into ten")
    };
    for _ in 0..2 {
        rig.new_life();
        assert!(matches!(resume(&rig.engine.context, &rest).await.unwrap(), Started::Running(_)));
    }
    let closed = rig.deliver().await.expect("the run is closed");
    assert_eq!((closed.status, closed.tally.accepted(), closed.tally.requests), (Status::Complete, 480, 48));
    rig.project.assert_arrived();
    assert_eq!(rig.project.double.count(), 48);
    // And once more after all is over, as a retry would.
    rig.new_life();
    assert!(
        matches!(resume(&rig.engine.context, &rest).await.unwrap(), Started::Running(run) if run.status == Status::Complete)
    );
    assert!(rig.deliver().await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_stored_plan_fails_the_run_and_the_next_delivers() {
    let mut rig = rig(480).await;
    let Started::Deferred(_, rest) = start(&rig.engine, &request()).await.unwrap() else {
        panic!("twelve minutes do not fit into ten")
    };
    rig.plan_store.0.lock().unwrap().clear();
    rig.new_life();
    let Started::Closed(run) = resume(&rig.engine.context, &rest).await.unwrap() else { panic!("it cannot go on") };
    let fault = run.fault.unwrap();
    assert!(
        run.status == Status::Failed && fault.code == Code::QueueUnusable && fault.what.contains("is gone"),
        "{fault}"
    );
    assert_eq!(rig.deliver().await, None, "its messages are stale");
    rig.engine.context.settings.deadline = None;
    assert!(matches!(start(&rig.engine, &request()).await.unwrap(), Started::Running(_)));
    assert_eq!(rig.deliver().await.map(|run| run.status), Some(Status::Complete));
    rig.project.assert_arrived();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_too_long_for_one_process_tells_its_rate() {
    let mut rig = rig(50).await;
    // The first batch comes at once, the second never.
    let columns = rig.engine.warehouse.describe(&query()).await.unwrap().columns.len();
    rig.engine.warehouse = Arc::new(Stuck { inner: Arc::clone(&rig.engine.warehouse), columns });
    let now = rig.hand.now();
    rig.engine.context.settings.deadline = Some(Deadline { began: now, ends: now.plus(Duration::from_millis(400)) });
    let Started::Closed(run) = start(&rig.engine, &request()).await.unwrap() else { panic!("it cannot be read") };
    let fault = run.fault.unwrap();
    assert!(run.status == Status::Failed && fault.code == Code::OutOfTime, "{fault}");
    assert!(fault.what.contains("50 rows at ") && fault.next_step().contains("cursor"), "{fault}");
    assert_eq!(rig.project.double.count(), 0, "nothing was sent");
    assert!(rig.engine.store.head("crm").await.unwrap().active.is_none(), "and the sync is free");
}

fn query() -> domain::ports::Query {
    domain::ports::Query { sql: "select id, email, name, n from customers".into(), ..Default::default() }
}

/// A warehouse whose statement never ends.
struct Stuck {
    inner: Arc<dyn domain::ports::Warehouse>,
    columns: usize,
}

#[async_trait]
impl domain::ports::Warehouse for Stuck {
    async fn describe(&self, query: &domain::ports::Query) -> Result<domain::ports::ModelSchema, Fault> {
        let described = self.inner.describe(query).await?;
        assert_eq!(described.columns.len(), self.columns);
        Ok(described)
    }

    async fn rows(&self, query: &domain::ports::Query) -> Result<domain::ports::RowStream, Fault> {
        Ok(self.inner.rows(query).await?.chain(futures_util::stream::pending()).boxed())
    }
}
