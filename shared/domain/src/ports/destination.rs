//! Where records go.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::batch::WriteBatch;
use crate::cells::Cells;
use crate::config::RateLimit;
use crate::destination_schema::DestinationSchema;
use crate::fault::Fault;
use crate::finding::Finding;
use crate::job::{Jobs, PlannedLoad};
use crate::layout::Layout;
use crate::mode::Mode;
use crate::outcome::{Outcome, WriteError};

/// What a destination can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most records in one `write`.
    pub batch_records: usize,
    /// Most bytes of record bodies in one `write`.
    pub batch_bytes: usize,
    /// `write` calls at once, over all writers of this process.
    pub concurrency: usize,
    /// Requests in a time, shared by all writers of the connection. `None`: as fast as it answers.
    pub rate: Option<RateLimit>,
    /// The pause before the second attempt where the destination names none.
    pub first_pause: Duration,
}

/// What a sync needs of its destination.
#[derive(Debug, Clone, Copy)]
pub struct PreflightRequest<'a> {
    /// The mode.
    pub mode: Mode,
    /// The names of the mapped fields, each with whether it identifies the record.
    pub fields: &'a [(String, bool)],
}

/// A place records go to.
#[async_trait]
pub trait Destination: Send + Sync {
    /// What it can take. May change while the connection is open: a destination that tells its quota with its answers
    /// is asked again before every write, and its new rate holds from then on.
    fn limits(&self) -> Limits;

    /// How many requests `write` will make for this batch, at most: one, unless something has to be looked up
    /// before or linked after. The engine takes as many slots of the connection's rate before it calls `write`.
    fn requests(&self, batch: &WriteBatch<'_>) -> u32 {
        let _ = batch;
        1
    }

    /// What the batches of a plan of this size are cut by. Larger batches than [`Destination::limits`] allows are
    /// for [`Destination::jobs`].
    fn limits_for(&self, load: PlannedLoad) -> Limits {
        let _ = load;
        self.limits()
    }

    /// Looks whether the destination will take so much today. A finding that is an error keeps a run from sending
    /// anything; a warning is shown with the plan. Not asked when there is nothing to send.
    /// Faults: as of [`Destination::preflight`].
    async fn check_quota(&self, load: PlannedLoad) -> Result<Option<Finding>, Fault> {
        let _ = load;
        Ok(None)
    }

    /// The face of a destination that also takes batches as jobs.
    fn jobs(&self) -> Option<&dyn Jobs> {
        None
    }

    /// Looks at the destination's schema without writing. Findings are about the destination's own side;
    /// field types are compared by the mapping.
    /// Faults: `DestinationUnreachable`, `DestinationUnauthorized`, `DestinationMisconfigured`.
    async fn preflight(&self, need: PreflightRequest<'_>) -> Result<DestinationSchema, Fault>;

    /// Which place this is, as the destination itself identifies it: host, database and table; portal and object; org
    /// and object; a URL without its secrets. The same place has the same text however the connection is named or
    /// reached, and two places never share one. Shown to people; never a secret. Asked once a run, after
    /// [`Destination::preflight`]. Faults: as of [`Destination::preflight`].
    async fn place(&self) -> Result<String, Fault> {
        Ok(String::new())
    }

    /// Of identifiers (cells in the layout's order) that may be one record there, which are: equal numbers mean one
    /// record. Asked only where a field's equality is [`crate::equality::Equality::Destination`], and only about
    /// identifiers whose folded forms are the same. Faults: as of [`Destination::preflight`].
    async fn same_identity(&self, layout: &Layout, identifiers: &[Vec<u8>]) -> Result<Vec<u32>, Fault> {
        let _ = (layout, identifiers);
        Ok(vec![0; identifiers.len()])
    }

    /// Writes a batch: exactly one outcome for every record, in order, or one error for the whole batch.
    async fn write(&self, batch: &WriteBatch<'_>) -> Result<Vec<Outcome>, WriteError>;

    /// True when [`Destination::read`] can read records; asked before anything is spent on reading.
    fn reads_back(&self) -> bool {
        false
    }

    /// For each record (cells of the layout) and each of its fields whether what is there is the same in the
    /// destination's own terms; asked about records that [`Destination::read`] gives otherwise spelt. `Ok(None)`: it
    /// cannot tell.
    async fn agrees(&self, layout: &Layout, records: &[Vec<u8>]) -> Result<Option<Vec<Vec<bool>>>, Fault> {
        let _ = (layout, records);
        Ok(None)
    }

    /// Reads records back by their identifier cells: for each, its fields in the layout's order as
    /// canonical cells, or `None` when there is none. `Ok(None)`: this destination cannot be read.
    async fn read(&self, layout: &Layout, identifiers: &[Vec<u8>]) -> Result<Option<Vec<Option<Vec<u8>>>>, Fault> {
        let _ = (layout, identifiers);
        Ok(None)
    }

    /// A record of `layout` as the destination holds it after it has accepted it, to be compared with what
    /// [`Destination::read`] gives: other spellings, less precision, an option's value for its label. Asked after
    /// `read`.
    fn as_stored(&self, layout: &Layout, record: Cells<'_>) -> Vec<u8> {
        let _ = layout;
        record.bytes().to_vec()
    }
}

/// Opens a destination anew when its credentials are refused: they may have been replaced meanwhile.
#[async_trait]
pub trait Renew: Send + Sync {
    /// The destination with its secrets read anew; `None` when they are as they were.
    async fn renew(&self) -> Result<Option<Arc<dyn Destination>>, Fault>;
}
