//! The extractor's parts: `trigger` (what an event asks for), `handler` (the invocation), `response` (what it answers),
//! `services` (what every invocation uses), `open` (a sync's engine), `monitor` (a look at every sync).

pub mod handler;
pub mod monitor;
pub mod open;
pub mod response;
pub mod services;
pub mod trigger;
