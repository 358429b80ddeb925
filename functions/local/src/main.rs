//! `sluice`: Sluicegate on one machine. Cold start only.

use std::process::ExitCode;

fn main() -> ExitCode {
    local::main()
}
