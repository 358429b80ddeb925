//! The ports of the domain on one machine: state in one SQLite file, batches in a queue in memory.
//!
//! What runs against these runs unchanged against their counterparts in the cloud: both pass one
//! contract suite. Nothing here decides; the rules are in `domain`.

pub mod lock;
pub mod queue;
pub mod state;

pub use domain::ports::SystemClock;
pub use lock::SyncLock;
pub use queue::MemoryQueue;
pub use state::SqliteState;
