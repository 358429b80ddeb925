//! Bad input: each mistake is named with what to do about it, harms nothing else, and is made good by the next run
//! after it was corrected.

mod files;
mod model;
mod places;
mod records;
mod state;
mod streams;
mod values;
