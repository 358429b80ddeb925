//! What is delivered twice happens once: a trigger, a word that a run is closed. And what is replaced while a writer
//! lives (credentials) is found out without failing a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use domain::batch::WriteBatch;
use domain::config::RateLimit;
use domain::destination_schema::DestinationSchema;
use domain::fault::{Code, Fault};
use domain::outcome::{Outcome, WriteError};
use domain::ports::{Destination, Limits, PreflightRequest, Renew};
use domain::run::{Status, Trigger};
use engine::deliver::rate_limiter::RateLimiter;
use engine::deliver::{MessageResult, handle};
use engine::plan::acquire::failed;
use engine::run::start;
use engine::started::{RunRequest, Started};
use local::drive;
use support::project::{Project, request};
use support::watched::{Log, WatchedStore};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tick_delivered_twice_makes_one_run() {
    let project = Project::webhook(10);
    let engine = project.engine().await.unwrap();
    let tick = |name: &str| RunRequest { trigger: Trigger::Schedule { tick: name.into() }, ..request() };
    let first = drive::run(&engine, &tick("t1")).await.unwrap();
    let fault = drive::run(&engine, &tick("t1")).await.unwrap_err();
    assert!(fault.code == Code::AlreadyRun && fault.what.contains(&first.id), "{fault}");
    assert_eq!(drive::run(&engine, &tick("t2")).await.unwrap().status, Status::Complete);
    assert_eq!(engine.store.runs("crm", 10).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_never_began_is_in_the_history() {
    let project = Project::webhook(10);
    let engine = project.engine().await.unwrap();
    let (store, clock, trigger) =
        (engine.store.as_ref(), engine.clock.as_ref(), Trigger::Schedule { tick: "t1".into() });
    let fault = Fault::new(Code::SecretMissing, "The secret is gone.");
    let run = failed(store, clock, &engine.sync, &trigger, fault.clone()).await.unwrap();
    assert_eq!((run.status, run.fault), (Status::Failed, Some(fault.clone())));
    assert_eq!(failed(store, clock, &engine.sync, &trigger, fault).await.unwrap_err().code, Code::AlreadyRun);
    assert_eq!(drive::run(&engine, &request()).await.unwrap().status, Status::Complete);
    assert_eq!(engine.store.runs("crm", 10).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_message_that_closed_a_run_tells_of_it() {
    let project = Project::webhook(20);
    let engine = project.engine().await.unwrap();
    assert!(matches!(start(&engine, &request()).await.unwrap(), Started::Running(_)));
    let deliveries = engine.queue.receive(10, Duration::from_secs(5)).await.unwrap();
    assert_eq!(deliveries.len(), 2);
    assert_eq!(handle(&engine.context, &deliveries[0].message).await.unwrap(), MessageResult::Done);
    assert!(
        matches!(handle(&engine.context, &deliveries[1].message).await.unwrap(), MessageResult::RunClosed(Some(run)) if run.status == Status::Complete)
    );
    assert_eq!(handle(&engine.context, &deliveries[1].message).await.unwrap(), MessageResult::Stale);
    // A run with nothing to send is closed by the extractor.
    assert!(
        matches!(start(&engine, &request()).await.unwrap(), Started::Closed(run) if run.status == Status::Complete)
    );
}

/// The writer of the last batch ends when everything is settled, and its message comes again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_last_writer_died_is_closed_by_redelivery() {
    for dies_at in ["tally", "put_head"] {
        let project = Project::webhook(20);
        let engine = project.engine().await.unwrap();
        assert!(matches!(start(&engine, &request()).await.unwrap(), Started::Running(_)));
        let deliveries = engine.queue.receive(10, Duration::from_secs(5)).await.unwrap();
        let dying = WatchedStore::new(Arc::clone(&engine.store), Log::default());
        dying.fail(dies_at);
        let mut other = engine.clone();
        other.context.store = dying;
        assert_eq!(handle(&engine.context, &deliveries[0].message).await.unwrap(), MessageResult::Done, "{dies_at}");
        handle(&other.context, &deliveries[1].message).await.unwrap_err();
        assert!(engine.store.head("crm").await.unwrap().active.is_some(), "{dies_at}");
        let again = handle(&engine.context, &deliveries[1].message).await.unwrap();
        assert!(
            matches!(&again, MessageResult::RunClosed(Some(run)) if (run.status, run.tally.accepted()) == (Status::Complete, 20)),
            "{dies_at}: {again:?}"
        );
        assert!(engine.store.head("crm").await.unwrap().active.is_none(), "{dies_at}");
        assert_eq!(
            handle(&engine.context, &deliveries[1].message).await.unwrap(),
            MessageResult::Stale,
            "{dies_at}: told once"
        );
        assert_eq!(project.double.count(), 2, "{dies_at}: nothing is sent again");
    }
}

/// The state does not answer when the head is to be taken, and the same tick comes again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tick_whose_run_never_began_is_not_lost() {
    let project = Project::webhook(20);
    let engine = project.engine().await.unwrap();
    let tick = RunRequest { trigger: Trigger::Schedule { tick: "t1".into() }, approve: None, full: false };
    let failing = WatchedStore::new(Arc::clone(&engine.store), Log::default());
    failing.fail("put_head");
    let mut first = engine.clone();
    first.context.store = failing;
    assert_eq!(start(&first, &tick).await.unwrap_err().code, Code::StateUnusable);
    let run = drive::run(&engine, &tick).await.unwrap();
    assert_eq!((run.status, run.tally.accepted()), (Status::Complete, 20));
    // Both may have begun in one millisecond: then either is the newer one.
    let mut runs: Vec<String> =
        engine.store.runs("crm", 10).await.unwrap().iter().map(|run| format!("{:?}", run.status)).collect();
    runs.sort();
    assert_eq!(runs, ["Complete", "Skipped"]);
    assert_eq!(drive::run(&engine, &tick).await.unwrap_err().code, Code::AlreadyRun);
}

/// A destination that refuses the credentials it was opened with.
struct Locked(Arc<dyn Destination>);

#[async_trait]
impl Destination for Locked {
    fn limits(&self) -> Limits {
        self.0.limits()
    }

    async fn preflight(&self, need: PreflightRequest<'_>) -> Result<DestinationSchema, Fault> {
        self.0.preflight(need).await
    }

    async fn write(&self, _: &WriteBatch<'_>) -> Result<Vec<Outcome>, WriteError> {
        Err(WriteError::Unauthorized { detail: "expired".into() })
    }
}

struct Renewing {
    with: Option<Arc<dyn Destination>>,
    times: AtomicUsize,
}

#[async_trait]
impl Renew for Renewing {
    async fn renew(&self) -> Result<Option<Arc<dyn Destination>>, Fault> {
        self.times.fetch_add(1, Ordering::SeqCst);
        Ok(self.with.clone())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_that_were_replaced_are_read_anew_once() {
    for mended in [true, false] {
        let project = Project::webhook(10);
        let mut engine = project.engine().await.unwrap();
        let good = Arc::clone(&engine.destination);
        let bad: Arc<dyn Destination> = Arc::new(Locked(Arc::clone(&good)));
        let renew =
            Arc::new(Renewing { with: Some(if mended { good } else { Arc::clone(&bad) }), times: AtomicUsize::new(0) });
        engine.context.destination = bad;
        engine.context.renew = Some(renew.clone());
        let run = drive::run(&engine, &request()).await.unwrap();
        assert_eq!(renew.times.load(Ordering::SeqCst), 1);
        if mended {
            assert_eq!(run.status, Status::Complete);
            project.assert_arrived();
        } else {
            assert_eq!((run.status, run.fault.unwrap().code), (Status::Failed, Code::DestinationUnauthorized));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_whose_slot_is_far_away_uses_no_attempt() {
    let project = Project::webhook(20);
    let mut engine = project.engine().await.unwrap();
    let rate = RateLimit { requests: 1, per: domain::clock::Span::seconds(300) };
    engine.context.slots =
        Arc::new(RateLimiter::new("there", Some(rate), Arc::clone(&engine.store), Arc::clone(&engine.clock)));
    engine.context.settings.rate = Some(rate);
    engine.context.settings.patience = Duration::from_secs(1);
    start(&engine, &request()).await.unwrap();
    let deliveries = engine.queue.receive(10, Duration::from_secs(5)).await.unwrap();
    assert_eq!(handle(&engine.context, &deliveries[0].message).await.unwrap(), MessageResult::Done);
    for _ in 0..8 {
        let MessageResult::RetryAfter(pause) = handle(&engine.context, &deliveries[1].message).await.unwrap() else {
            panic!("its slot is minutes away")
        };
        assert!((200..=300).contains(&pause.as_secs()), "{pause:?}");
    }
    assert_eq!(project.double.count(), 1);
    project.later(Duration::from_secs(301));
    assert!(
        matches!(handle(&engine.context, &deliveries[1].message).await.unwrap(), MessageResult::RunClosed(Some(run)) if run.status == Status::Complete)
    );
    project.assert_arrived();
}
