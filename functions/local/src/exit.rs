//! Exit codes: 0 all accepted, 1 any other failure, 2 wrong usage, 3 delivered with rejected, held or invalid
//! records, 4 blocked by a guard.

use std::process::ExitCode;

use domain::fault::{Code, Fault};
use domain::run::{Run, Status};

use crate::output::Out;

pub const OK: u8 = 0;
/// Any failure that has no code of its own.
pub const FAILED: u8 = 1;
/// The command was not used as it should be.
pub const USAGE: u8 = 2;
/// Delivered, with records rejected, exhausted, held or invalid.
pub const PARTIAL: u8 = 3;
/// Stopped by a guard.
pub const BLOCKED: u8 = 4;

/// The code of a closed run.
pub fn of_run(run: &Run) -> ExitCode {
    ExitCode::from(match run.status {
        Status::Complete => OK,
        Status::Partial => PARTIAL,
        Status::Blocked => BLOCKED,
        Status::Running | Status::Incomplete | Status::Failed | Status::Skipped => FAILED,
    })
}

/// Prints a fault and gives its code.
pub fn failed(out: &Out, fault: &Fault) -> ExitCode {
    out.fault(fault);
    ExitCode::from(if matches!(fault.code, Code::GuardTripped | Code::PlanChanged) { BLOCKED } else { FAILED })
}
