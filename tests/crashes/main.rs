//! What is left after a crash: runs that end at every step there is, and what the next run makes of it.
//!
//! `exhaustive` ends a run in this process after each single call of a port, `kills` ends the real command at random
//! moments and `steps` at named ones; `variants` does with syncs and destinations of other kinds what `exhaustive` does
//! with the plainest, and `overtaken` holds a run at each call while another overtakes it. What must hold afterwards is
//! one function, in `promise`.

#![allow(clippy::expect_used, reason = "a rig that cannot be set up is a test that cannot run")]

mod exhaustive;
mod kills;
mod ledger;
mod model;
mod overtaken;
mod points;
mod process_rig;
mod promise;
mod rig;
mod steps;
mod variants;
