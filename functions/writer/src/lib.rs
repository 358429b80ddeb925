//! The writer's parts: `receive` (the shape of an SQS event), `handler` (the invocation), `deliver` (one message),
//! `open` (a sync's destination), `renew` (credentials that were replaced).

pub mod deliver;
pub mod handler;
pub mod open;
pub mod receive;
pub mod renew;
