//! A warehouse that says that a table has not changed: then nothing is read, and nothing is missed by it.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use domain::fault::{Code, Fault};
use domain::ports::{ModelSchema, Query, RowStream, Warehouse};
use domain::run::{Run, Status};
use engine::started::RunRequest;
use local::drive;
use serde_json::json;
use support::double::Behaviour;
use support::project::{Project, request};

/// A warehouse with versions of its table; `None`: it cannot say.
#[derive(Default)]
struct Versions {
    version: Mutex<Option<&'static str>>,
    described: AtomicU32,
    read: AtomicU32,
}

struct Versioned(Arc<dyn Warehouse>, Arc<Versions>);

#[async_trait]
impl Warehouse for Versioned {
    async fn describe(&self, query: &Query) -> Result<ModelSchema, Fault> {
        self.1.described.fetch_add(1, Ordering::Relaxed);
        self.0.describe(query).await
    }

    async fn rows(&self, query: &Query) -> Result<RowStream, Fault> {
        self.1.read.fetch_add(1, Ordering::Relaxed);
        self.0.rows(query).await
    }

    async fn version(&self, _: &Query) -> Result<Option<String>, Fault> {
        match *self.1.version.lock().unwrap() {
            Some("unreachable") => Err(Fault::new(Code::WarehouseUnreachable, "No answer.")),
            version => Ok(version.map(str::to_owned)),
        }
    }
}

struct Rig {
    project: Project,
    versions: Arc<Versions>,
}

impl Rig {
    fn new() -> Self {
        let rig = Self { project: Project::webhook(20), versions: Arc::default() };
        rig.set("v1");
        rig
    }

    fn set(&self, version: &'static str) {
        *self.versions.version.lock().unwrap() = Some(version);
    }

    async fn run_as(&self, request: &RunRequest) -> Run {
        let mut engine = self.project.engine().await.unwrap();
        engine.warehouse = Arc::new(Versioned(Arc::clone(&engine.warehouse), Arc::clone(&self.versions)));
        drive::run(&engine, request).await.unwrap()
    }

    /// Runs; the run, and whether it read the model.
    async fn run(&self) -> (Run, bool) {
        let before = self.versions.read.load(Ordering::Relaxed);
        let run = self.run_as(&request()).await;
        (run, self.versions.read.load(Ordering::Relaxed) > before)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unchanged_table_is_not_read_and_a_changed_one_is() {
    let rig = Rig::new();
    assert!(rig.run().await.1, "the first run reads");
    let described = rig.versions.described.load(Ordering::Relaxed);
    for _ in 0..2 {
        let (idle, read) = rig.run().await;
        assert_eq!((idle.status, idle.counts.unchanged, read), (Status::Complete, 20, false));
        assert!(idle.notes[0].contains("nothing was read"), "{:?}", idle.notes);
    }
    assert_eq!(rig.versions.described.load(Ordering::Relaxed), described, "not even its columns were asked");
    let head = rig.project.store().await.head("crm").await.unwrap();
    assert_eq!((head.records, head.active), (20, None));

    rig.project.warehouse("update customers set name = 'New' where id = 3; delete from customers where id = 4");
    rig.set("v2");
    let (changed, read) = rig.run().await;
    assert_eq!((changed.counts.changed, changed.tally.accepted(), read), (1, 1, true));
    assert!(!rig.run().await.1);
    // An answer that does not come is no answer.
    for unsure in ["unreachable", "v3"] {
        rig.set(unsure);
        let (run, read) = rig.run().await;
        assert_eq!((run.status, read), (Status::Complete, true), "{unsure}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_to_do_is_done_although_nothing_changed() {
    let mut rig = Rig::new();
    rig.project.double.answer(Behaviour::fail_keys([7], "invalid"));
    assert_eq!(rig.run().await.0.status, Status::Partial);
    let (held, read) = rig.run().await;
    assert_eq!((held.status, held.counts.held, read), (Status::Partial, 1, true), "green would be a lie");
    rig.project.double.recover();
    rig.project.later(Duration::from_secs(3 * 3600));
    assert_eq!(rig.run().await.0.status, Status::Complete);
    assert!(!rig.run().await.1);

    // A person asks for all of it.
    let all = RunRequest { full: true, ..request() };
    let before = rig.versions.read.load(Ordering::Relaxed);
    rig.run_as(&all).await;
    assert_eq!(rig.versions.read.load(Ordering::Relaxed), before + 1);
    assert!(!rig.run().await.1);

    // Another sync file, records to be sent again, another address: what is known is not of these.
    rig.project.sync()["validate"] = json!([{ "field": "n", "min": 0 }]);
    assert!(rig.run().await.1);
    assert!(!rig.run().await.1);
    assert_eq!(rig.project.sluice(&["state", "resend", "crm", "5"]).code, 0);
    let (resent, read) = rig.run().await;
    assert_eq!((resent.tally.accepted(), read), (1, true));
    assert!(!rig.run().await.1);
    let elsewhere = format!("{}/elsewhere", rig.project.double.url());
    rig.project.connections["there"]["url"] = json!(elsewhere);
    let (moved, read) = rig.run().await;
    assert_eq!((moved.status, read), (Status::Blocked, true), "another place has nothing of it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_check_reads_and_a_sync_may_want_every_read() {
    let mut rig = Rig::new();
    rig.run().await;
    assert!(!rig.run().await.1);
    rig.project.later(Duration::from_secs(25 * 3600));
    assert!(rig.run().await.1, "once a day whatever the warehouse says");
    assert!(!rig.run().await.1);
    rig.project.sync()["model"]["probe"] = json!(false);
    assert!(rig.run().await.1);
    assert!(rig.run().await.1);
}
