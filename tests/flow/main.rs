//! Whole runs, from a project folder to a destination: what a person sees when something is wrong, that the next run
//! makes good what is missing, and what must hold whatever happens.

mod days;
mod features;
mod first;
mod input;
mod protocol;
