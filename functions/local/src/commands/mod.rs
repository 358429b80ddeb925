//! The commands, one file each: open what they need, call the engine, print. With `--stack` the extractor is asked
//! instead of the engine, and the stack's state is read instead of this machine's.

mod apply;
mod check;
mod dbt;
mod dead_letters;
mod delete;
mod explain;
mod init;
mod limits;
mod pause;
mod plan;
mod run;
mod runs;
mod schema;
mod stack;
mod state;
mod trigger;

use std::process::ExitCode;

use clap::CommandFactory;
use clap::error::ErrorKind;
use domain::fault::Fault;

use crate::cli::{Cli, Command};
use crate::output::Out;
use crate::project::Project;
use crate::remote::Remote;

pub use init::write_example;

/// Runs the command of the command line.
pub async fn run(cli: &Cli, out: &Out) -> Result<ExitCode, Fault> {
    match (&cli.command, &cli.stack) {
        (Command::Init | Command::Schema { .. } | Command::Demo { .. } | Command::Dbt(_), Some(_)) => {
            usage("this command knows no stack: leave --stack out")
        }
        (Command::Run { sync, .. }, Some(stack)) => {
            usage(&format!("`run` runs on this machine; on AWS: sluice trigger {sync} --stack {stack}"))
        }
        (_, Some(stack)) => stack::run(cli, &Remote::open(stack).await?, out).await,
        (_, None) => here(cli, out).await,
    }
}

async fn here(cli: &Cli, out: &Out) -> Result<ExitCode, Fault> {
    let project = || Project::load(&cli.project);
    match &cli.command {
        Command::Init => init::run(&cli.project, out),
        Command::Check { sync } => check::run(&project()?, sync.as_deref(), out).await,
        Command::Plan { sync, full } => plan::run(&project()?, sync, *full, out).await,
        Command::Run { sync, approve, full } => run::run(&project()?, sync, approve.clone(), *full, out).await,
        Command::Runs { sync, limit } => runs::run(&project()?, sync, *limit, out).await,
        Command::Explain { sync, key } => explain::run(&project()?, sync, key, out).await,
        Command::DeadLetters(what) => dead_letters::run(&project()?, what, out).await,
        Command::State(what) => state::run(&project()?, what, out).await,
        Command::Limits(what) => limits::run(&project()?, what, out).await,
        Command::Dbt(what) => dbt::run(&project()?, what, out),
        Command::Schema { connections, models } => schema::run(*connections, *models),
        Command::Demo { keep, destination, warehouse } => {
            crate::demo::run(keep.as_deref(), *destination, *warehouse, out).await
        }
        Command::Apply { .. }
        | Command::Pause { .. }
        | Command::Resume { .. }
        | Command::Trigger { .. }
        | Command::Delete { .. } => {
            usage("this command is about a stack on AWS: add --stack NAME (on this machine it is `sluice run`)")
        }
    }
}

/// Ends the process as clap does for words it does not know.
fn usage(what: &str) -> ! {
    Cli::command().error(ErrorKind::ArgumentConflict, what).exit()
}
