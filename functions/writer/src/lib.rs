//! The writer's parts: `receive` (the shape of an SQS event), `response` (which messages failed), `handler` (the
//! invocation), `services` (what every invocation uses), `deliver` (one message), `open` (a sync's destination),
//! `cache` (those that are open), `renew` (credentials that were replaced).

pub mod cache;
pub mod deliver;
pub mod handler;
pub mod open;
pub mod receive;
pub mod renew;
pub mod response;
pub mod services;
