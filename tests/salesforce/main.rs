//! The Salesforce connector against an org in memory: the org itself in `double`, single requests in `direct`, whole
//! syncs in `flow`, `jobs` and `old_jobs`.

#![allow(clippy::unwrap_used, reason = "in a test, whatever does not work out fails it")]

mod direct;
mod double;
mod flow;
mod jobs;
mod key;
mod old_jobs;
mod preflight;
mod rig;
