//! The state in DynamoDB when DynamoDB does not do what it should, and the engine on it. Needs the emulator.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod faults;
mod layouts;
mod runs;
