//! Values and decisions of Sluicegate, and nothing that waits.
//!
//! Every type that two rooms share is defined here, and so is every rule that can be decided from
//! values alone: what a record is, when it counts as changed, when a run must not go on, what a
//! response means for each record. No I/O: the one async thing is the set of traits in [`ports`],
//! which other rooms implement.

#![warn(missing_docs)]

pub mod alert_settings;
pub mod batch;
pub mod bucket;
pub mod cells;
pub mod change;
pub mod clock;
pub mod config;
pub mod connection;
pub mod dead_letter;
pub mod destination_schema;
pub mod equality;
pub mod fault;
pub mod finding;
pub mod guard;
pub mod head;
pub mod in_doubt;
pub mod job;
pub mod key;
pub mod layout;
pub mod limiter;
pub mod manifest;
pub mod mapping;
pub mod meaning;
pub mod mode;
pub mod monitoring;
pub mod outcome;
pub mod ports;
pub mod readback;
pub mod retry;
pub mod retry_after;
pub mod row;
pub mod run;
pub mod schedule;
pub mod sync;
pub mod usage;
pub mod value;
