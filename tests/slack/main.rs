//! Slack against a server that behaves as Slack does: every answer, whole runs, and alerts.

#![allow(clippy::unwrap_used, reason = "all of this is test code, helpers outside of test functions included")]

mod alerts;
mod answers;
mod rig;
mod runs;
