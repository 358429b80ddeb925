//! What a run used of the warehouse: in its report, whatever became of it, and told of when it is far more than usual.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use domain::alert_settings::Problem;
use domain::fault::{Code, Fault};
use domain::monitoring::cost;
use domain::ports::{ModelSchema, Query, RowStream, Warehouse};
use domain::run::{Run, Status};
use domain::usage::WarehouseUsage;
use futures_util::{StreamExt as _, stream};
use local::drive;
use support::project::{Project, request};

/// A warehouse that says what it scanned.
struct Metered {
    inner: Arc<dyn Warehouse>,
    bytes: Arc<AtomicU64>,
    breaks: bool,
}

#[async_trait]
impl Warehouse for Metered {
    async fn describe(&self, query: &Query) -> Result<ModelSchema, Fault> {
        self.inner.describe(query).await
    }

    async fn rows(&self, query: &Query) -> Result<RowStream, Fault> {
        query.usage.note(WarehouseUsage::bytes(self.bytes.load(Ordering::Relaxed)));
        if self.breaks {
            return Ok(stream::once(async { Err(Fault::new(Code::ModelFailed, "The model broke.")) }).boxed());
        }
        self.inner.rows(query).await
    }
}

async fn run(project: &Project, bytes: u64, breaks: bool) -> Run {
    let mut engine = project.engine().await.unwrap();
    let (inner, bytes) = (Arc::clone(&engine.warehouse), Arc::new(AtomicU64::new(bytes)));
    engine.warehouse = Arc::new(Metered { inner, bytes, breaks });
    drive::run(&engine, &request()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_run_used_is_reported_whatever_became_of_it() {
    let project = Project::webhook(20);
    let done = run(&project, 40_000_000, false).await;
    assert_eq!((done.status, done.usage), (Status::Complete, WarehouseUsage::bytes(40_000_000)));
    let failed = run(&project, 50_000_000, true).await;
    assert_eq!((failed.status, failed.usage.scanned_bytes), (Status::Failed, Some(50_000_000)));
    let stored = project.store().await.runs("crm", 5).await.unwrap();
    let used: Vec<_> = stored.iter().map(|run| run.usage.scanned_bytes).collect();
    assert_eq!(used, [Some(50_000_000), Some(40_000_000)]);
    run(&project, 60_000_000, false).await;
    let much = run(&project, 900_000_000, false).await;
    let usual = cost::usual(&much, &project.store().await.runs("crm", 11).await.unwrap());
    assert_eq!(usual, WarehouseUsage::bytes(50_000_000));
    assert!(cost::costly(&much.usage, &usual, 5.0).is_some_and(|why| why.contains("900.0 MB scanned")));
    assert_eq!(Problem::Costly.name(), "costly");
}
