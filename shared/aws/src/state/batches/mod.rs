//! Batches of a run: claims, what they have come to, and when the run is through.
//!
//! Everything about a batch is one cell (see `packed.rs`) of a page (`pages.rs`): a batch costs two write units, one to
//! claim it and one to settle it. The note of a claim is written before the head is read: a run that takes over after
//! that sees the note. A page that is full is noted once in the run's progress (`f`, of those with doubts also in `k`;
//! `t` is how many batches there are), which is done again by whoever comes by, so a process that ends in between hangs
//! nothing.
//!
//! ```text
//!                  the run's list          a page of 64 cells                       the run's progress
//!                  (in_doubt.rs)             (pages.rs, packed.rs)
//!  claim     1 put the run on it ─► 2 cell := token, until, note    (over what was seen)
//!                                     3 read the head, strongly: another run or generation? ─► put the cell back, Stale
//!  settle                           4 cell := outcome, until 0      (over what was seen; a done cell stays)
//!                                     5 the answer has the whole page: is it full?        ─► 6 add it to `f`, with doubts to `k`
//!                                                                                            7 all full, none in `k` ─┐
//!            8 take the run off it ◄────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Steps 5 to 8 are idempotent and follow from the page alone: any later writer repeats them, so a crash between two of
//! them cannot stall the run. A run that takes over reads the list after it has the head, so it sees every claim that 3
//! let through.

mod claim;
pub(super) mod in_doubt;
mod packed;
mod pages;
mod progress;
mod reasons;
mod settle;
mod varint;
