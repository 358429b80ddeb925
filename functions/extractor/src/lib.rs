//! The extractor's parts: `trigger` (what an event asks for), `handler` (the invocation), `open` (a sync's engine).

pub mod handler;
pub mod open;
pub mod trigger;
