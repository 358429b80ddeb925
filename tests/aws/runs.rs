//! Whole runs on the state in DynamoDB: first, idle, changes, deletes, and one that is cut off.

use std::sync::Arc;

use aws::state::DynamoState;
use domain::in_doubt::ClaimNotes;
use domain::ports::{HeadStore, RunStore, StateStore};
use domain::run::{Run, Status};
use local::drive;
use serde_json::json;
use support::dynamodb;
use support::project::{Project, SYNC, assert_balances, request};
use support::watched::{Log, WatchedStore};

const ROWS: u32 = 2_000;

fn project(mode: &str) -> Project {
    let mut project = Project::webhook(ROWS);
    project.connections["there"]["batch_size"] = json!(50);
    project.connections["there"]["concurrency"] = json!(4);
    project.sync()["mode"] = json!(mode);
    project.sync()["guards"] = json!({ "max_delete_percent": null, "max_change_percent": null });
    project
}

async fn run(project: &Project, store: Arc<dyn StateStore>) -> Run {
    let engine = project.engine_on(SYNC, store).await.unwrap();
    let run = drive::run(&engine, &request()).await.unwrap();
    assert_balances(&run);
    run
}

/// A run to its end, in a process of its own.
async fn complete(project: &Project, table: &str) -> Run {
    let run = run(project, Arc::new(dynamodb::state_in(table).await)).await;
    assert_eq!(run.status, Status::Complete, "{:?}", run.fault);
    project.assert_arrived();
    run
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn a_mirror_follows_its_model() {
    let (project, table) = (project("mirror"), dynamodb::table().await);
    assert_eq!(complete(&project, &table).await.tally.accepted(), u64::from(ROWS));
    assert_eq!(complete(&project, &table).await.tally.requests, 0, "this run only notes digests");
    let idle = complete(&project, &table).await;
    assert_eq!((idle.tally.requests, idle.counts.unchanged), (0, u64::from(ROWS)));
    project.warehouse("update customers set name = 'New' where id % 20 = 0; delete from customers where id % 25 = 3");
    project.add_rows(ROWS + 1, ROWS + 10);
    let changed = complete(&project, &table).await;
    assert_eq!((changed.counts.changed, changed.counts.removed, changed.counts.added), (100, 80, 10));
    let idle = complete(&project, &table).await;
    assert_eq!(idle.counts.to_send(), 0);
    let history = dynamodb::state_in(&table).await.runs(SYNC, 99).await.unwrap();
    assert_eq!(history.len(), 5);
    assert!(history.is_sorted_by(|a, b| a.id > b.id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn what_arrived_before_a_writer_died_is_made_good() {
    for mode in ["upsert", "mirror"] {
        let (project, table) = (project(mode), dynamodb::table().await);
        complete(&project, &table).await;
        complete(&project, &table).await;
        project.warehouse("update customers set name = 'New' where id in (3, 700, 1999)");
        project.add_rows(ROWS + 1, ROWS + 2);
        let dying = WatchedStore::new(Arc::new(dynamodb::state_in(&table).await), Log::default());
        dying.fail("commit");
        assert_eq!(run(&project, dying).await.status, Status::Incomplete);
        assert_eq!(project.there()["700"]["name"], "New", "it did arrive");
        project.warehouse("update customers set name = 'Customer ' || id");
        if mode == "mirror" {
            // They arrived unseen and left the model: nobody but the note of the claim remembers them.
            project.warehouse(&format!("delete from customers where id > {ROWS}"));
        }
        complete(&project, &table).await;
        complete(&project, &table).await;
        assert_eq!(complete(&project, &table).await.tally.requests, 0, "the doubt is over");
        assert_eq!(dynamodb::state_in(&table).await.in_doubt(SYNC).await.unwrap(), ClaimNotes::default());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn a_sync_that_outgrows_its_layout_goes_on() {
    let (project, table) = (project("upsert"), dynamodb::table().await);
    complete(&project, &table).await;
    let bits = async |table: &str| dynamodb::state_in(table).await.head(SYNC).await.unwrap().bucket_bits;
    assert_eq!(bits(&table).await, 5);
    project.add_rows(ROWS + 1, 9_000);
    assert_eq!(complete(&project, &table).await.counts.added, 7_000);
    assert_eq!(bits(&table).await, 7);
    assert_eq!(
        complete(&project, &table).await.counts.to_send(),
        0,
        "what was accepted in the old layout is known in the new"
    );
}

/// What a run that has nothing to do and one that changes little cost, in units.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn units_follow_change() {
    let (project, table) = (project("upsert"), dynamodb::table().await);
    let store = Arc::new(dynamodb::state_in(&table).await);
    let used = async |store: &Arc<DynamoState>| {
        let before = store.consumed();
        run(&project, Arc::clone(store) as Arc<dyn StateStore>).await;
        store.consumed() - before
    };
    let first = used(&store).await;
    // 40 batches: two units each, and their buckets; not one for each record.
    assert!(first.write_units < 300.0, "{first:?}");
    used(&store).await;
    let idle = used(&store).await;
    assert!(idle.read_units < 20.0 && idle.write_units < 20.0, "{idle:?}");
    project.warehouse("update customers set name = 'New' where id % 200 = 0");
    let changes = used(&store).await;
    assert!(changes.read_units < 60.0 && changes.write_units < 60.0, "{changes:?}");
}

/// What the watch reads of the state of a sync with many runs, in units.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn a_look_reads_little_and_writes_nothing() {
    let (project, table) = (project("upsert"), dynamodb::table().await);
    let store = Arc::new(dynamodb::state_in(&table).await);
    for id in 1..=12 {
        project.warehouse(&format!("update customers set name = 'New {id}' where id = {id}"));
        run(&project, Arc::clone(&store) as Arc<dyn StateStore>).await;
    }
    let before = store.consumed();
    store.head(SYNC).await.unwrap();
    let most = engine::notify::LOOK_BACK;
    assert_eq!(store.runs(SYNC, most).await.unwrap().len(), most);
    let look = store.consumed() - before;
    println!("a look at a sync: {look:?}");
    assert!(look.read_units <= 10.0 && look.write_units == 0.0, "{look:?}");
}
