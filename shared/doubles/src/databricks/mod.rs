//! A Databricks workspace that serves the Statement Execution API: tables, one SQL warehouse, statements whose results lie
//! in chunks of Arrow behind links that end.
//!
//! It answers as <https://docs.databricks.com/api/workspace/statementexecution> has it. Left out: parameters, results within
//! the answer, everything that writes.

mod statements;
mod wire;
mod workspace;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use self::workspace::{DatabricksFailure, DatabricksStep, DatabricksWorkspace};
use crate::exchange::{DoubleReply, DoubleRequest};
use crate::server::{DoubleService, Server};

/// A running workspace. Everything stops when it is dropped.
pub struct DatabricksDouble {
    server: Server,
    workspace: Arc<Mutex<DatabricksWorkspace>>,
}

impl DatabricksDouble {
    /// Starts on a free port of 127.0.0.1.
    pub fn start(workspace: DatabricksWorkspace) -> io::Result<Self> {
        let workspace = Arc::new(Mutex::new(workspace));
        let server = Server::start(Arc::new(ServingWorkspace(Arc::clone(&workspace))))?;
        Ok(Self { server, workspace })
    }

    /// Where the workspace is.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The workspace, to look at and to change. Nothing is answered meanwhile.
    pub fn workspace(&self) -> MutexGuard<'_, DatabricksWorkspace> {
        lock(&self.workspace)
    }
}

struct ServingWorkspace(Arc<Mutex<DatabricksWorkspace>>);

impl DoubleService for ServingWorkspace {
    fn name(&self) -> &'static str {
        "databricks"
    }

    fn answer(&self, request: &DoubleRequest) -> DoubleReply {
        lock(&self.0).answer(request)
    }
}

fn lock(workspace: &Mutex<DatabricksWorkspace>) -> MutexGuard<'_, DatabricksWorkspace> {
    workspace.lock().unwrap_or_else(PoisonError::into_inner)
}
