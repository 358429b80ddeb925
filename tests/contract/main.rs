//! The contract suites: every implementation of a port passes the same cases.

mod batch_queue;
mod destinations;
mod pairs;
mod state_store;
mod values;
mod warehouses;
