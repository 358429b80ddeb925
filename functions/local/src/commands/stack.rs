//! The commands with `--stack`: which of them asks the extractor, and which reads the table.

use std::process::ExitCode;

use domain::fault::{Code, Fault};
use engine::explain::ExplainReport;
use engine::report::{CheckReport, PlanReport};
use serde_json::json;

use super::{apply, check, dead_letters, delete, explain, limits, pause, plan, runs, state as commands_state, trigger};
use crate::cli::{Cli, Command, StateCommand};
use crate::output::Out;
use crate::project::Project;
use crate::remote::{Remote, state};

/// Runs a command on a stack.
pub async fn run(cli: &Cli, remote: &Remote, out: &Out) -> Result<ExitCode, Fault> {
    let trigger = |sync: &str| format!("sluice trigger {sync} --stack {}", remote.stack.name);
    match &cli.command {
        Command::Apply { syncs, yes, prune } => {
            apply::run(&Project::load(&cli.project)?, remote, syncs, *prune, *yes, out).await
        }
        Command::Pause { sync } => pause::run(remote, sync, true, out).await,
        Command::Resume { sync } => pause::run(remote, sync, false, out).await,
        Command::Trigger { sync, approve, full, wait } => {
            trigger::run(remote, sync, approve.as_deref(), *full, *wait, out).await
        }
        Command::Delete { sync, state, yes } => delete::run(remote, sync, *state, *yes, out).await,
        Command::Check { sync } => check_all(remote, sync.as_deref(), out).await,
        Command::Plan { sync, full } => {
            remote.active(sync).await?;
            let report: PlanReport =
                remote.ask(&json!({ "sync": sync, "dry_run": true, "full": full }), "plan").await?;
            Ok(plan::show(&report, &trigger(sync), out))
        }
        Command::Explain { sync, key } => {
            remote.active(sync).await?;
            let report: ExplainReport = remote.ask(&json!({ "sync": sync, "explain": key }), "explain").await?;
            Ok(explain::show(&report, out))
        }
        Command::Runs { sync, limit } => {
            known(remote, sync).await?;
            runs::show(state(remote).await?.as_ref(), sync, *limit, &trigger(sync), out).await
        }
        Command::DeadLetters(what) => {
            known(remote, what.sync()).await?;
            dead_letters::on(state(remote).await?.as_ref(), what, &trigger(what.sync()), out).await
        }
        Command::State(what) => {
            let (StateCommand::Show { sync }
            | StateCommand::Resend { sync, .. }
            | StateCommand::SamePlace { sync }
            | StateCommand::Forget { sync, .. }
            | StateCommand::Rename { sync, .. }) = what;
            known(remote, sync).await?;
            let mut hashes = Vec::new();
            if let StateCommand::Resend { keys, .. } = what {
                for key in keys {
                    let report: ExplainReport = remote.ask(&json!({ "sync": sync, "explain": key }), "explain").await?;
                    hashes.push(report.hash.ok_or_else(|| commands_state::no_row(sync, key))?);
                }
            }
            commands_state::on(state(remote).await?.as_ref(), what, &hashes, &trigger(sync), out).await
        }
        Command::Limits(what) => limits::on(state(remote).await?.as_ref(), what, out).await,
        Command::Init | Command::Dbt(_) | Command::Run { .. } | Command::Schema { .. } | Command::Demo { .. } => {
            Err(Fault::new(Code::Internal, "A command of this machine was taken for one of a stack."))
        }
    }
}

/// A sync that was deleted still has runs and letters to look at; one that never was has not.
async fn known(remote: &Remote, sync: &str) -> Result<(), Fault> {
    if remote.definitions.list().await?.iter().any(|l| l.sync == sync)
        || !state(remote).await?.runs(sync, 1).await?.is_empty()
    {
        return Ok(());
    }
    Err(remote.unknown(sync).await?)
}

async fn check_all(remote: &Remote, only: Option<&str>, out: &Out) -> Result<ExitCode, Fault> {
    let names = match only {
        Some(name) => {
            remote.active(name).await?;
            vec![name.to_owned()]
        }
        None => remote.definitions.list().await?.into_iter().map(|l| l.sync).collect(),
    };
    let mut all = Vec::new();
    for name in names {
        let asked = remote.ask(&json!({ "sync": name, "check": true }), "check").await;
        let report: CheckReport = asked.unwrap_or_else(|fault| CheckReport::refused(&name, &fault));
        check::show(&report, &format!("on the stack {}", remote.stack.name), out);
        all.push(report);
    }
    if all.is_empty() {
        out.line(format!("No sync is applied to the stack yet: sluice apply --stack {}", remote.stack.name));
    }
    Ok(check::end(&all, out))
}
