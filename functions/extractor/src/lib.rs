//! The extractor's parts: `trigger` (what an event asks for), `handler` (the invocation), `open` (a sync's engine),
//! `watch` (a look at every sync).

pub mod handler;
pub mod monitor;
pub mod open;
pub mod trigger;
