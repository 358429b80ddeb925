//! The webhook destination against a server that behaves as real ones do.

mod answers;
mod rig;
mod sending;
