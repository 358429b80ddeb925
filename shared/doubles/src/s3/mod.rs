//! S3 with a few buckets: objects whole and by ranges, lists in pages, deletes. Requests must be signed. Doubles of services
//! that write results into S3 write into it.
//!
//! It answers as <https://docs.aws.amazon.com/AmazonS3/latest/API/Welcome.html> has it, with the bucket in the path. Left out:
//! writing over HTTP, versions, access lists.

mod buckets;
mod objects;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use self::buckets::{S3Buckets, S3Failure, S3Step};
use crate::exchange::{DoubleReply, DoubleRequest};
use crate::server::{DoubleService, Server};

/// Buckets that a double serves and others write into.
#[derive(Clone)]
pub struct SharedBuckets(Arc<Mutex<S3Buckets>>);

impl SharedBuckets {
    pub fn new(buckets: S3Buckets) -> Self {
        Self(Arc::new(Mutex::new(buckets)))
    }

    /// The buckets, to look at and to change. Nothing is answered meanwhile.
    pub fn lock(&self) -> MutexGuard<'_, S3Buckets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running S3. Everything stops when it is dropped.
pub struct S3Double {
    server: Server,
    buckets: SharedBuckets,
}

impl S3Double {
    /// Starts on a free port of 127.0.0.1.
    pub fn start(buckets: S3Buckets) -> io::Result<Self> {
        let buckets = SharedBuckets::new(buckets);
        let server = Server::start(Arc::new(ServingBuckets(buckets.clone())))?;
        Ok(Self { server, buckets })
    }

    /// Where it is.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Its buckets.
    pub fn buckets(&self) -> &SharedBuckets {
        &self.buckets
    }
}

struct ServingBuckets(SharedBuckets);

impl DoubleService for ServingBuckets {
    fn name(&self) -> &'static str {
        "s3"
    }

    fn answer(&self, request: &DoubleRequest) -> DoubleReply {
        self.0.lock().answer(request)
    }
}
