//! What must always hold, one file for each promise.

mod accepted_only;
mod balance;
mod digests;
mod doubts;
mod fence;
mod nothing_blocks;
mod once;
mod out_of_time;
mod plan_first;
