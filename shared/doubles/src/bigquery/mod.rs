//! A BigQuery project that serves queries by JSON and their results by the Storage Read API too, and the token endpoints of
//! Google that let one in: tables, jobs whose results come in pages or in streams, service accounts, workload identities.
//!
//! It answers as <https://cloud.google.com/bigquery/docs/reference/rest/v2/jobs/query> and
//! <https://cloud.google.com/bigquery/docs/reference/storage/rpc> have it. Left out: nested types, everything that writes, of the
//! Storage Read API what chooses columns and rows, Avro, and splitting streams.

mod arrow;
mod login;
mod project;
mod queries;
mod storage;
mod storage_messages;
mod wire;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use self::project::{BigQueryFailure, BigQueryProject, BigQueryStep};
use crate::exchange::{DoubleReply, DoubleRequest};
use crate::server::{DoubleService, Server};

/// A running project. Everything stops when it is dropped.
pub struct BigQueryDouble {
    server: Server,
    project: Arc<Mutex<BigQueryProject>>,
}

impl BigQueryDouble {
    /// Starts on a free port of 127.0.0.1.
    pub fn start(project: BigQueryProject) -> io::Result<Self> {
        let project = Arc::new(Mutex::new(project));
        let server = Server::start(Arc::new(ServingProject(Arc::clone(&project))))?;
        Ok(Self { server, project })
    }

    /// Where both APIs are, and below it `/token`, `/sts` and the service accounts' tokens.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The project, to look at and to change. Nothing is answered meanwhile.
    pub fn project(&self) -> MutexGuard<'_, BigQueryProject> {
        lock(&self.project)
    }
}

struct ServingProject(Arc<Mutex<BigQueryProject>>);

impl DoubleService for ServingProject {
    fn name(&self) -> &'static str {
        "bigquery"
    }

    fn answer(&self, request: &DoubleRequest) -> DoubleReply {
        lock(&self.0).answer(request)
    }
}

fn lock(project: &Mutex<BigQueryProject>) -> MutexGuard<'_, BigQueryProject> {
    project.lock().unwrap_or_else(PoisonError::into_inner)
}
