//! A Redshift workgroup that serves the Data API: tables, statements, results in pages. Requests must be signed.
//!
//! It answers as <https://docs.aws.amazon.com/redshift-data/latest/APIReference/Welcome.html> has it. Left out: parameters,
//! sessions, batches, everything that writes.

mod statements;
mod unload;
mod workgroup;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use self::workgroup::{RedshiftFailure, RedshiftStep, RedshiftWorkgroup};
use crate::exchange::{DoubleReply, DoubleRequest};
use crate::server::{DoubleService, Server};

/// A running workgroup. Everything stops when it is dropped.
pub struct RedshiftDouble {
    server: Server,
    workgroup: Arc<Mutex<RedshiftWorkgroup>>,
}

impl RedshiftDouble {
    /// Starts on a free port of 127.0.0.1.
    pub fn start(workgroup: RedshiftWorkgroup) -> io::Result<Self> {
        let workgroup = Arc::new(Mutex::new(workgroup));
        let server = Server::start(Arc::new(ServingWorkgroup(Arc::clone(&workgroup))))?;
        Ok(Self { server, workgroup })
    }

    /// Where the Data API is.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The workgroup, to look at and to change. Nothing is answered meanwhile.
    pub fn workgroup(&self) -> MutexGuard<'_, RedshiftWorkgroup> {
        lock(&self.workgroup)
    }
}

struct ServingWorkgroup(Arc<Mutex<RedshiftWorkgroup>>);

impl DoubleService for ServingWorkgroup {
    fn name(&self) -> &'static str {
        "redshift-data"
    }

    fn answer(&self, request: &DoubleRequest) -> DoubleReply {
        lock(&self.0).answer(request)
    }
}

fn lock(workgroup: &Mutex<RedshiftWorkgroup>) -> MutexGuard<'_, RedshiftWorkgroup> {
    workgroup.lock().unwrap_or_else(PoisonError::into_inner)
}
