//! The command against a stack: the real binary, a stack of CloudFormation in an emulator of AWS, and between the two
//! a gate that counts what is written and can shut in the middle.

#![allow(clippy::unwrap_used, reason = "in a test, whatever does not work out fails it")]

mod apply;
mod ask;
mod gate;
mod interrupted;
mod pause;
mod rig;
