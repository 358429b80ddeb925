//! The `sluice` command: the two halves of a run, driven on one machine with embedded state.
//!
//! A command opens the project folder, opens a sync's connections, calls the engine, and prints.
//! Everything that decides is in the engine and the domain.

pub mod cli;
pub mod commands;
pub mod confirm;
pub mod dbt;
pub mod demo;
pub mod drive;
pub mod exit;
pub mod models;
pub mod open;
pub mod output;
pub mod progress;
pub mod project;
pub mod remote;
pub mod session;
pub mod settings;
pub mod signal;
pub mod sync_file;
mod yaml;

use std::process::ExitCode;

use clap::Parser;
use domain::fault::{Code, Fault};

use crate::cli::Cli;
use crate::output::Out;

/// Parses the arguments, runs the command, and says how it went by the exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    settings::start_logging(cli.verbose);
    let out = Out::new(cli.json);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return exit::failed(&out, &Fault::new(Code::Internal, format!("The runtime could not start: {e}."))),
    };
    let code = match runtime.block_on(commands::run(&cli, &out)) {
        Ok(code) => code,
        Err(fault) => exit::failed(&out, &fault),
    };
    // A blocking read that nobody waits for any more must not hold the process back.
    runtime.shutdown_background();
    code
}
