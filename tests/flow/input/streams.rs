//! A warehouse that breaks off in the middle of the model: what was not read is not taken for deleted.

use std::sync::Arc;

use async_trait::async_trait;
use domain::fault::{Code, Fault};
use domain::ports::{ModelSchema, Query, RowStream, Warehouse};
use domain::run::Status;
use futures_util::{StreamExt as _, stream};
use local::drive;
use serde_json::json;
use support::project::{Project, request};

/// A warehouse whose stream ends so after some rows.
struct Broken {
    inner: Arc<dyn Warehouse>,
    end: fn() -> Result<domain::row::RowBatch, Fault>,
}

#[async_trait]
impl Warehouse for Broken {
    async fn describe(&self, query: &Query) -> Result<ModelSchema, Fault> {
        self.inner.describe(query).await
    }

    async fn rows(&self, query: &Query) -> Result<RowStream, Fault> {
        let some = Query { sql: format!("select * from ({}) where id < 15", query.sql), ..query.clone() };
        let end = self.end;
        Ok(self.inner.rows(&some).await?.chain(stream::once(async move { end() })).boxed())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_were_not_read_are_not_deleted() {
    let panics: fn() -> _ = || panic!("a decoder that meets what it does not know");
    let fails: fn() -> _ = || Err(Fault::new(Code::WarehouseUnreachable, "The connection was lost."));
    for (end, code, words) in
        [(panics, Code::Internal, "broke off after 14 rows"), (fails, Code::WarehouseUnreachable, "was lost")]
    {
        let mut project = Project::webhook(20);
        project.sync()["mode"] = json!("mirror");
        project.run().await;
        let sent = project.double.count();
        let mut engine = project.engine().await.unwrap();
        engine.warehouse = Arc::new(Broken { inner: Arc::clone(&engine.warehouse), end });
        let run = drive::run(&engine, &request()).await.unwrap();
        let fault = run.fault.unwrap();
        assert_eq!((run.status, fault.code), (Status::Failed, code), "{fault}");
        assert!(fault.what.contains(words), "{fault}");
        assert_eq!(project.double.count(), sent, "nothing was sent");
        drop(engine);
        let run = project.run().await;
        assert_eq!((run.status, run.tally.requests), (Status::Complete, 0), "and the next run finds all as it was");
    }
}
