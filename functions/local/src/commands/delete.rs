//! `sluice delete SYNC --stack NAME`: takes a sync out of a stack. What is known of its records stays, unless asked
//! otherwise: a sync that comes back goes on where it ended.

use std::process::ExitCode;

use domain::fault::Fault;
use domain::head::Head;
use domain::ports::{Clock, StateStore};
use embedded::SystemClock;

use crate::confirm::{Confirmation, confirm};
use crate::exit;
use crate::output::Out;
use crate::remote::{Remote, state};

pub async fn run(remote: &Remote, sync: &str, with_state: bool, yes: bool, out: &Out) -> Result<ExitCode, Fault> {
    let stack = &remote.stack.name;
    let listed = remote.definitions.list().await?.iter().any(|l| l.sync == sync);
    // The state of a sync that was deleted before may go later; then there is nothing else to look for.
    if !listed && !with_state && remote.schedules.get(sync).await?.is_none() {
        return Err(remote.unknown(sync).await?);
    }
    if with_state && !yes {
        let question = format!(
            "This forgets every record that `{sync}` has delivered from the stack `{stack}`; if it is applied again, it sends all of them again."
        );
        match confirm(&question, sync, out) {
            Confirmation::Yes => {}
            Confirmation::No => {
                out.line("Nothing was deleted.");
                return Ok(ExitCode::from(exit::FAILED));
            }
            Confirmation::Nobody => {
                out.hint("Nothing was deleted: there is no terminal to ask on. Add --yes to delete the state too.");
                return Ok(ExitCode::from(exit::USAGE));
            }
        }
    }
    // The schedule first: a tick without a definition would be a fault.
    remote.schedules.remove(sync).await?;
    remote.definitions.remove(sync, SystemClock.now()).await?;
    let mut removed = 0;
    if with_state {
        fence(state(remote).await?.as_ref(), sync).await?;
        removed = aws::control::forget::records(&remote.clients, &remote.stack.table, sync).await?;
    }
    out.value(&serde_json::json!({ "sync": sync, "deleted": true, "state": with_state, "items": removed }));
    out.line(match with_state {
        true => format!("`{sync}` and its state are gone from the stack `{stack}` ({removed} items). Its destination was not touched."),
        false => format!("`{sync}` is gone from the stack `{stack}`. What it has delivered is still known: if it is applied again, it goes on from there."),
    });
    Ok(ExitCode::from(exit::OK))
}

/// Ends the run that is going on, if there is one, and forgets how far the sync was. The generation goes on, so that a
/// message that is still in a queue stays without effect.
async fn fence(store: &dyn StateStore, sync: &str) -> Result<(), Fault> {
    loop {
        let head = store.head(sync).await?;
        let fresh = Head {
            version: head.version,
            generation: head.generation + 1,
            bucket_bits: head.bucket_bits,
            ..Head::default()
        };
        if store.put_head(sync, &fresh).await? {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::ports::HeadStore as _;

    use super::*;

    #[tokio::test]
    async fn a_fenced_sync_begins_anew_in_a_higher_generation() {
        let folder = tempfile::tempdir().unwrap();
        let store = embedded::SqliteState::open(folder.path().join("state.db")).await.unwrap();
        let head =
            Head { generation: 7, records: 100, cursor: Some("c".into()), sync_version: "v".into(), ..Head::default() };
        assert!(store.put_head("crm", &head).await.unwrap());
        fence(&store, "crm").await.unwrap();
        let head = store.head("crm").await.unwrap();
        assert_eq!((head.generation, head.records, head.cursor, head.active), (8, 0, None, None));
    }
}
