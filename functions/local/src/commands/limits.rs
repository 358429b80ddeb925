//! `sluice limits show|lift CONNECTION`: when a connection may be asked again, and letting it be asked now.

use std::process::ExitCode;

use domain::clock::Millis;
use domain::fault::Fault;
use domain::ports::SystemClock;
use domain::ports::{Clock as _, StateStore};
use serde_json::json;

use crate::cli::LimitsCommand;
use crate::output::Out;
use crate::project::Project;
use crate::{exit, open};

/// Runs the command on this machine.
pub async fn run(project: &Project, what: &LimitsCommand, out: &Out) -> Result<ExitCode, Fault> {
    match what {
        LimitsCommand::Show { connection } => {
            project.connection(connection, "the command")?;
            let (store, _temporary) = open::state_to_read(project).await?;
            on(store.as_ref(), what, out).await
        }
        LimitsCommand::Lift { connection } => {
            project.connection(connection, "the command")?;
            on(open::state(project).await?.as_ref(), what, out).await
        }
    }
}

/// The command on this state.
pub async fn on(store: &dyn StateStore, what: &LimitsCommand, out: &Out) -> Result<ExitCode, Fault> {
    let (connection, lifts) = match what {
        LimitsCommand::Show { connection } => (connection, false),
        LimitsCommand::Lift { connection } => (connection, true),
    };
    let until = Millis(store.limiter(connection).await?.next_slot_micros / 1000);
    let waits = until > SystemClock.now();
    if lifts {
        store.lift(connection).await?;
    }
    let text = until.to_string();
    out.value(&json!({ "connection": connection, "paused_until": waits.then_some(&text), "lifted": lifts && waits }));
    out.line(match (waits, lifts) {
        (false, _) => format!("Connection `{connection}` is not paused."),
        (true, false) => format!(
            "Connection `{connection}` sends nothing before {text}. To send now: sluice limits lift {connection}"
        ),
        (true, true) => format!("Connection `{connection}` was paused until {text}; the next run sends at once."),
    });
    Ok(ExitCode::from(exit::OK))
}
