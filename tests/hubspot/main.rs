//! HubSpot: the double against its facts, the connector against the double, and whole syncs with faults on.

#![allow(clippy::unwrap_used, reason = "all of this is test code, helpers outside of test functions included")]

mod answers;
mod double;
mod links;
mod modes;
mod preflight;
mod quota;
mod rig;
mod syncs;
