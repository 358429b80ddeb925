//! An Athena workgroup: tables, queries and what they write into S3: results, manifests, files of Parquet. Requests must be
//! signed.
//!
//! It answers as <https://docs.aws.amazon.com/athena/latest/APIReference/Welcome.html> has it. Left out: prepared statements,
//! catalogs, everything that makes tables.

mod queries;
mod unload;
mod workgroup;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use self::workgroup::{AthenaFailure, AthenaStep, AthenaWorkgroup};
use crate::exchange::{DoubleReply, DoubleRequest};
use crate::server::{DoubleService, Server};

/// A running workgroup. Everything stops when it is dropped.
pub struct AthenaDouble {
    server: Server,
    workgroup: Arc<Mutex<AthenaWorkgroup>>,
}

impl AthenaDouble {
    /// Starts on a free port of 127.0.0.1.
    pub fn start(workgroup: AthenaWorkgroup) -> io::Result<Self> {
        let workgroup = Arc::new(Mutex::new(workgroup));
        let server = Server::start(Arc::new(ServingQueries(Arc::clone(&workgroup))))?;
        Ok(Self { server, workgroup })
    }

    /// Where Athena is.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The workgroup, to look at and to change. Nothing is answered meanwhile.
    pub fn workgroup(&self) -> MutexGuard<'_, AthenaWorkgroup> {
        lock(&self.workgroup)
    }
}

struct ServingQueries(Arc<Mutex<AthenaWorkgroup>>);

impl DoubleService for ServingQueries {
    fn name(&self) -> &'static str {
        "athena"
    }

    fn answer(&self, request: &DoubleRequest) -> DoubleReply {
        lock(&self.0).answer(request)
    }
}

fn lock(workgroup: &Mutex<AthenaWorkgroup>) -> MutexGuard<'_, AthenaWorkgroup> {
    workgroup.lock().unwrap_or_else(PoisonError::into_inner)
}
