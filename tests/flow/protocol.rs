//! What must always hold, one file for each promise.

mod accepted_only;
mod balance;
mod digests;
mod fence;
mod in_doubt;
mod nothing_blocks;
mod once;
mod out_of_time;
mod plan_first;
