//! The faces that other rooms implement: where rows come from, where records go, where state and batches are kept. The
//! engine knows these and nothing behind them.
//!
//! - [`warehouse`] and [`destination`]: both ends of a sync, and how a connection of a kind is opened ([`registry`]).
//! - [`state`]: what is known of a sync's records and runs. [`queue`]: batches on their way, and plans that wait for
//!   time.
//! - [`clock`] and [`notifier`]: the time, and who is alerted.

pub mod clock;
pub mod destination;
pub mod notifier;
pub mod queue;
pub mod registry;
pub mod state;
pub mod warehouse;

pub use self::clock::{Clock, SystemClock};
pub use self::destination::{Destination, Limits, PreflightRequest, Renew};
pub use self::notifier::Notifier;
pub use self::queue::{BatchQueue, Delivery, PlanStore, Receipt};
pub use self::registry::{DestinationEntry, OpenArgs, OpenFuture, WarehouseEntry};
pub use self::state::{
    BatchRef, BucketStore, Claim, DeadLetterStore, HeadStore, LimiterStore, Progress, RunStore, StateStore,
};
pub use self::warehouse::{MAX_KEYS, ModelSchema, Query, QueryLabel, RowFilter, RowStream, Warehouse};
