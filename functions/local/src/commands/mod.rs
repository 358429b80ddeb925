//! The commands, one file each: open what they need, call the engine, print.

mod check;
mod dead_letters;
mod explain;
mod init;
mod plan;
mod run;
mod runs;
mod schema;

use std::process::ExitCode;

use domain::fault::Fault;

use crate::cli::{Cli, Command};
use crate::output::Out;
use crate::project::Project;

pub use init::write_example;
pub use run::{run_sync, stop_on_signal};

/// Runs the command of the command line.
pub async fn run(cli: &Cli, out: &Out) -> Result<ExitCode, Fault> {
    let project = || Project::load(&cli.project);
    match &cli.command {
        Command::Init => init::run(&cli.project, out),
        Command::Check { sync } => check::run(&project()?, sync.as_deref(), out).await,
        Command::Plan { sync, full } => plan::run(&project()?, sync, *full, out).await,
        Command::Run { sync, approve, full } => run::run(&project()?, sync, approve.clone(), *full, out).await,
        Command::Runs { sync, most } => runs::run(&project()?, sync, *most, out).await,
        Command::Explain { sync, key } => explain::run(&project()?, sync, key, out).await,
        Command::DeadLetters(what) => dead_letters::run(&project()?, what, out).await,
        Command::Schema { connections } => schema::run(*connections),
        Command::Demo { keep, destination } => crate::demo::run(keep.as_deref(), *destination, out).await,
    }
}
