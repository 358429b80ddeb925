//! Deliveries as SQS makes them, handled by the engine with real state: twice, in another order, after the batch was
//! done, while another writer still works on it.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use domain::batch::WriteBatch;
use domain::clock::Millis;
use domain::destination_schema::DestinationSchema;
use domain::fault::Fault;
use domain::head::{ActiveRun, Head};
use domain::outcome::{Effect, Outcome, WriteError};
use domain::ports::{BatchQueue, Clock, Destination, Limits, PreflightRequest, StateStore};
use embedded::{SqliteState, SystemClock};
use engine::deliver::rate_limiter::RateLimiter;
use engine::deliver::{MessageResult, handle};
use engine::{CancelToken, Context, RunProgress, Settings};
use serde_json::json;
use tokio::sync::Semaphore;

use super::*;

/// A destination that remembers what it was given, and lets a request through for every permit.
struct Recorder {
    taken: Mutex<Vec<String>>,
    begun: Semaphore,
    permits: Semaphore,
}

#[async_trait]
impl Destination for Recorder {
    fn limits(&self) -> Limits {
        Limits {
            batch_records: 10,
            batch_bytes: 1 << 20,
            concurrency: 4,
            rate: None,
            first_pause: Duration::from_millis(1),
        }
    }

    async fn preflight(&self, _: PreflightRequest<'_>) -> Result<DestinationSchema, Fault> {
        Ok(DestinationSchema::default())
    }

    async fn write(&self, batch: &WriteBatch<'_>) -> Result<Vec<Outcome>, WriteError> {
        self.begun.add_permits(1);
        self.permits.acquire().await.unwrap().forget();
        let text =
            |cells: Cells<'_>| cells.values().last().map(|value| value.to_text().into_owned()).unwrap_or_default();
        self.taken.lock().unwrap().extend(batch.records.iter().map(|record| text(record.fields)));
        Ok(batch.records.iter().map(|_| Outcome::accepted(Effect::Created)).collect())
    }
}

pub struct Rig {
    pub context: Context,
    pub queue: Arc<SqsQueue>,
    destination: Arc<Recorder>,
    _folder: tempfile::TempDir,
}

impl Rig {
    /// A writer of the current generation; its destination answers at once when `open`.
    pub async fn new(visibility: Duration, open: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn StateStore> = Arc::new(SqliteState::open(folder.path().join("state.db")).await.unwrap());
        let active = Some(ActiveRun { run: "r1".into(), since: Millis(0) });
        assert!(store.put_head("crm", &Head { generation: 3, active, ..Head::default() }).await.unwrap());
        let queue = Arc::new(SqsQueue::new(
            &support::aws::clients().await,
            &support::aws::queue(visibility).await,
            &bucket().await,
            MESSAGE_BYTES,
        ));
        let permits = Semaphore::new(if open { 1_000 } else { 0 });
        let destination = Arc::new(Recorder { taken: Mutex::default(), begun: Semaphore::new(0), permits });
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let sync = json!({
            "name": "crm", "mode": "upsert", "model": { "warehouse": "w", "sql": "select 1", "key": ["id"] },
            "destination": { "connection": "d", "object": "rows" },
            "mapping": [{ "from": "id", "to": "id", "identifier": true }, { "from": "name", "to": "name" }],
        });
        let context = Context {
            sync: Arc::new(serde_json::from_value(sync).unwrap()),
            destination: destination.clone(),
            renew: None,
            slots: Arc::new(RateLimiter::new("d", None, store.clone(), clock.clone())),
            store,
            queue: queue.clone(),
            plan_store: None,
            clock,
            meter: Arc::new(RunProgress::default()),
            stop: CancelToken::default(),
            settings: Settings { spool_folder: folder.path().to_owned(), ..Settings::default() },
        };
        Self { context, queue, destination, _folder: folder }
    }

    fn taken(&self) -> Vec<String> {
        let mut taken = self.destination.taken.lock().unwrap().clone();
        taken.sort();
        taken
    }

    /// The entries that the state holds as accepted.
    async fn accepted(&self) -> usize {
        let buckets = self.context.store.buckets("crm", 0, &[0]).await.unwrap();
        buckets.iter().flat_map(|bucket| &bucket.entries).filter(|(_, entry)| entry.accepted.is_some()).count()
    }
}

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn duplicates_in_any_order_are_delivered_once() {
    let rig = Rig::new(Duration::from_secs(60), true).await;
    // Twice each, as a sender does that never heard of its first success; then handled from the last to the first.
    for number in [0, 1, 2, 1, 0, 2] {
        rig.queue.send(message(number, &[&format!("a{number}"), &format!("b{number}")])).await.unwrap();
    }
    let mut deliveries = Vec::new();
    while deliveries.len() < 6 {
        deliveries.extend(rig.queue.receive(10, LONG).await.unwrap());
    }
    deliveries.sort_by_key(|delivery| std::cmp::Reverse(delivery.message.header.number));
    for delivery in deliveries {
        assert_eq!(handle(&rig.context, &delivery.message).await, Ok(MessageResult::Done));
        rig.queue.done(&delivery.receipt).await.unwrap();
    }
    assert_eq!(rig.taken(), ["a0", "a1", "a2", "b0", "b1", "b2"]);
    assert_eq!(rig.accepted().await, 6);
    let tally = rig.context.store.tally("r1").await.unwrap();
    assert_eq!((tally.sent, tally.accepted()), (6, 6));
    assert!(tally.balances());
}

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn a_message_that_comes_after_its_batch_was_done_changes_nothing() {
    let rig = Rig::new(Duration::from_secs(1), true).await;
    rig.queue.send(message(0, &["a"])).await.unwrap();
    assert_eq!(handle(&rig.context, &one(&rig.queue).await.message).await, Ok(MessageResult::Done));
    // The writer died before it could remove the message.
    let again = one(&rig.queue).await;
    assert_eq!(again.receives, 2);
    assert_eq!(handle(&rig.context, &again.message).await, Ok(MessageResult::Done));
    assert_eq!((rig.taken(), rig.accepted().await), (vec!["a".to_owned()], 1));
}

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn a_message_of_an_older_generation_is_dropped() {
    let rig = Rig::new(Duration::from_secs(60), true).await;
    rig.queue.send(message(0, &["a"])).await.unwrap();
    let delivery = one(&rig.queue).await;
    let head = rig.context.store.head("crm").await.unwrap();
    assert!(rig.context.store.put_head("crm", &Head { generation: 4, ..head }).await.unwrap());
    assert_eq!(handle(&rig.context, &delivery.message).await, Ok(MessageResult::Stale));
    assert_eq!((rig.taken(), rig.accepted().await), (Vec::new(), 0));
}

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn a_message_that_comes_again_while_it_is_worked_on_waits() {
    let rig = Rig::new(Duration::from_secs(1), false).await;
    rig.queue.send(message(0, &["a"])).await.unwrap();
    let first = one(&rig.queue).await;
    let working = tokio::spawn({
        let (context, message) = (rig.context.clone(), first.message.clone());
        async move { handle(&context, &message).await }
    });
    rig.destination.begun.acquire().await.unwrap().forget();
    // The visibility time passes while the destination thinks.
    let second = one(&rig.queue).await;
    assert_eq!(second.receives, 2);
    let Ok(MessageResult::RetryAfter(wait)) = handle(&rig.context, &second.message).await else {
        panic!("the claim of the first writer holds")
    };
    assert!(wait > Duration::ZERO && wait <= rig.context.settings.claim);
    // A second before it comes again, not the whole claim.
    rig.queue.delay(&second.receipt, wait.min(Duration::from_secs(1))).await.unwrap();
    rig.destination.permits.add_permits(1);
    assert_eq!(working.await.unwrap(), Ok(MessageResult::Done));
    rig.queue.done(&first.receipt).await.unwrap();
    assert_eq!((rig.taken(), rig.accepted().await), (vec!["a".to_owned()], 1));
    assert!(rig.context.clock.now() > Millis(0));
}
