//! Whole runs, from a project folder to a destination: what a person sees when something is wrong, that the next run
//! makes good what is missing, and what must hold whatever happens.

#![allow(clippy::unwrap_used, reason = "in a test, whatever does not work out fails it")]

mod dbt;
mod failures;
mod features;
mod first;
mod guides;
mod input;
mod protocol;
