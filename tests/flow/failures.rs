//! Bad days of a destination: each ends in the right numbers, tells a person what to do, and the next run after it
//! makes good what is missing.

mod answers;
mod poison;
mod refusals;
mod stops;
mod transient;
