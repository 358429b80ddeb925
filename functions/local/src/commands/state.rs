//! `sluice state show|resend|same-place|forget|rename SYNC`: what is known of a sync's records, and changing that.

use std::process::ExitCode;

use domain::fault::{Code, Fault};
use domain::key::KeyHash;
use domain::ports::StateStore;
use domain::sync::is_name;
use embedded::SyncLock;
use engine::CancelToken;
use engine::explain::explain;
use engine::state::{self, StateReport};
use serde_json::json;

use crate::cli::StateCommand;
use crate::confirm::{Confirmation, confirm};
use crate::output::{Out, thousands, when};
use crate::project::Project;
use crate::{exit, open};

/// Runs the command on this machine.
pub async fn run(project: &Project, what: &StateCommand, out: &Out) -> Result<ExitCode, Fault> {
    if let StateCommand::Show { sync } = what {
        let name = &project.sync(sync)?.name;
        let (store, _temporary) = open::state_to_read(project).await?;
        return show(&state::show(store.as_ref(), name).await?, out);
    }
    let (StateCommand::Show { sync }
    | StateCommand::Resend { sync, .. }
    | StateCommand::SamePlace { sync }
    | StateCommand::Forget { sync, .. }
    | StateCommand::Rename { sync, .. }) = what;
    // A sync that goes by another name now has no file under the old one.
    let name = match what {
        StateCommand::Rename { sync, name } => {
            project.sync(name)?;
            plain(sync)?
        }
        _ => project.sync(sync)?.name.as_str(),
    };
    let _lock = SyncLock::acquire(&project.state_folder().join("locks"), name)?;
    let store = open::state(project).await?;
    let mut hashes = Vec::new();
    if let StateCommand::Resend { keys, .. } = what {
        for key in keys {
            let engine = open::engine(project, project.sync(sync)?, store.clone(), CancelToken::default()).await?;
            hashes.push(explain(&engine, key).await?.hash.ok_or_else(|| no_row(sync, key))?);
        }
    }
    on(store.as_ref(), what, &hashes, &format!("sluice run {name}"), out).await
}

/// The command on this state. `hashes` are those of the keys of the command; `command` is what would make the next run.
pub async fn on(
    store: &dyn StateStore,
    what: &StateCommand,
    hashes: &[KeyHash],
    command: &str,
    out: &Out,
) -> Result<ExitCode, Fault> {
    let ok = Ok(ExitCode::from(exit::OK));
    match what {
        StateCommand::Show { sync } => show(&state::show(store, sync).await?, out),
        StateCommand::Resend { sync, keys, yes } => {
            let all = format!("This has every record of `{sync}` sent once more by the next run.");
            if keys.is_empty() && !yes && !agreed(&all, sync, out) {
                return Ok(ExitCode::from(exit::USAGE));
            }
            let count = state::resend(store, sync, (!keys.is_empty()).then_some(hashes)).await?;
            out.value(&json!({ "sync": sync, "resent": count }));
            out.line(format!("{} record(s) will be sent by the next run: {command}", thousands(count)));
            ok
        }
        StateCommand::SamePlace { sync } => {
            state::same_place(store, sync).await?;
            out.value(&json!({ "sync": sync, "same_place": true }));
            out.line(format!(
                "What is known of `{sync}` is taken to be of the place that its next run finds: {command}"
            ));
            ok
        }
        StateCommand::Forget { sync, yes } => {
            let question = format!(
                "This forgets every record that `{sync}` has delivered: the next run sends all of them, and deletes none that was sent before."
            );
            if !yes && !agreed(&question, sync, out) {
                return Ok(ExitCode::from(exit::USAGE));
            }
            let count = state::forget(store, sync).await?;
            out.value(&json!({ "sync": sync, "forgotten": count }));
            out.line(format!("{} record(s) are forgotten. The destination was not touched.", thousands(count)));
            ok
        }
        StateCommand::Rename { sync, name } => {
            let count = state::rename(store, sync, name).await?;
            out.value(&json!({ "sync": name, "was": sync, "records": count }));
            out.line(format!("`{name}` goes on with the {} record(s) of `{sync}`.", thousands(count)));
            ok
        }
    }
}

/// No row of the model has a key that was named.
pub fn no_row(sync: &str, key: &str) -> Fault {
    let what = format!("The model of `{sync}` has no row with the key `{key}`, so there is nothing to send.");
    Fault::new(Code::NotFound, what).with_next("give the key as `sluice plan` and `sluice dead-letters list` show it")
}

fn plain(sync: &str) -> Result<&str, Fault> {
    if is_name(sync) {
        Ok(sync)
    } else {
        Err(Fault::new(Code::NotFound, format!("`{sync}` is not the name of a sync.")))
    }
}

fn agreed(question: &str, sync: &str, out: &Out) -> bool {
    match confirm(question, sync, out) {
        Confirmation::Yes => true,
        Confirmation::No => {
            out.line("Nothing was changed.");
            false
        }
        Confirmation::Nobody => {
            out.hint("Nothing was changed: there is no terminal to ask on. Add --yes to do it.");
            false
        }
    }
}

fn show(report: &StateReport, out: &Out) -> Result<ExitCode, Fault> {
    out.value(report);
    let words = |at: Option<domain::clock::Millis>| at.map_or_else(|| "never".to_owned(), when);
    let mut rows = vec![("accepted", thousands(report.accepted)), ("refused", thousands(report.failing))];
    if report.unknown > 0 {
        rows.push(("of a version that nobody knows", thousands(report.unknown)));
    }
    if let Some(meaning) = &report.meaning {
        let key =
            meaning.key.iter().map(|column| format!("{} {}", column.name, column.kind)).collect::<Vec<_>>().join(", ");
        rows.push(("place", if meaning.place.is_empty() { "not known".into() } else { meaning.place.clone() }));
        rows.push(("mode", meaning.mode.to_string()));
        rows.push(("key", key));
        rows.push(("found by", meaning.identifiers.join(", ")));
    }
    rows.push(("up to date since", words(report.delivered)));
    rows.push(("read in full", words(report.last_full)));
    if report.in_doubt > 0 {
        rows.push(("cut off", format!("{} batch(es): the next run sends what they had", report.in_doubt)));
    }
    if let Some(run) = &report.active {
        rows.push(("active", run.clone()));
    }
    out.table(&[&report.sync, "state"], rows.into_iter().map(|(a, b)| vec![a.to_owned(), b]).collect());
    Ok(ExitCode::from(exit::OK))
}
