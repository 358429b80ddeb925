//! What a sync can do, seen from outside.

mod cursor;
mod freshness;
mod guards;
mod held;
mod identity;
mod json;
mod layout;
mod mapping;
mod meaning;
mod messages;
mod modes;
mod probe;
mod rate;
mod readback;
mod stopping;
mod usage;
