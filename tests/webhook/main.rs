//! The webhook destination against a server that behaves as real ones do.

#![allow(clippy::unwrap_used, reason = "all of this is test code, helpers outside of test functions included")]

mod answers;
mod rig;
mod sending;
