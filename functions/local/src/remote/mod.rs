//! A deployed stack as the command sees it: what is applied there, its schedules, its state, and the extractor to ask.

pub mod apply;
pub mod changes;

use std::sync::Arc;

use aws::Clients;
use aws::control::{Schedules, Stack};
use aws::definitions::{ActiveDefinition, Definitions};
use aws::invoke::Functions;
use aws::state::DynamoState;
use domain::fault::{Code, Fault};
use domain::finding::nearest;
use domain::ports::StateStore;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A stack, ready to be asked.
pub struct Remote {
    /// Clients of its account and region.
    pub clients: Clients,
    /// What is in it.
    pub stack: Stack,
    pub definitions: Definitions,
    pub schedules: Schedules,
    functions: Functions,
}

impl Remote {
    /// Looks a stack up.
    pub async fn open(name: &str) -> Result<Self, Fault> {
        let clients = Clients::new().await;
        let stack = Stack::read(&clients, name).await?;
        let definitions = Definitions::new(&clients, &stack.table);
        Ok(Self {
            definitions,
            schedules: Schedules::new(&clients, &stack),
            functions: Functions::new(&clients),
            clients,
            stack,
        })
    }

    /// The active definition of a sync that is applied.
    pub async fn active(&self, sync: &str) -> Result<ActiveDefinition, Fault> {
        match self.definitions.active(sync).await? {
            Some(active) => Ok(active),
            None => Err(self.unknown(sync).await?),
        }
    }

    /// The fault that no sync of this name is applied, with the nearest that is.
    pub async fn unknown(&self, sync: &str) -> Result<Fault, Fault> {
        let listed = self.definitions.list().await?;
        let names: Vec<&str> = listed.iter().map(|l| l.sync.as_str()).collect();
        let next = match nearest(sync, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if names.is_empty() => format!("apply the project first: sluice apply --stack {}", self.stack.name),
            None => format!(
                "the stack has {}; `sluice apply --stack {}` adds what the project has",
                names.join(", "),
                self.stack.name
            ),
        };
        Ok(Fault::new(Code::NotFound, format!("No sync `{sync}` is applied to the stack `{}`.", self.stack.name))
            .with_next(next))
    }

    /// Asks the extractor and waits for `part` of its answer.
    pub async fn ask<T: DeserializeOwned>(&self, event: &Value, part: &str) -> Result<T, Fault> {
        read_answer(&self.stack.extractor, self.functions.call(&self.stack.extractor, event).await?, part)
    }

    /// Starts the extractor and does not wait for it.
    pub async fn tell(&self, event: &Value) -> Result<(), Fault> {
        self.functions.start(&self.stack.extractor, event).await
    }
}

/// The state of a stack.
pub async fn state(remote: &Remote) -> Result<Arc<dyn StateStore>, Fault> {
    Ok(Arc::new(DynamoState::new(&remote.clients, &remote.stack.table)))
}

/// One part of an answer, or the fault it holds.
fn read_answer<T: DeserializeOwned>(function: &str, mut answer: Value, part: &str) -> Result<T, Fault> {
    let other = || {
        let what =
            format!("The function {function} answered without `{part}`: it is of another release than this command.");
        Fault::new(Code::Internal, what)
            .with_next("deploy the stack again from this release, or use the command of the release that is deployed")
    };
    let mut take = |name: &str| answer.get_mut(name).map(Value::take).filter(|value| !value.is_null());
    if let Some(fault) = take("fault").or_else(|| take("skipped")) {
        return Err(serde_json::from_value(fault).unwrap_or_else(|_| other()));
    }
    serde_json::from_value(take(part).ok_or_else(other)?).map_err(|_| other())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_report_or_a_fault() {
        let read = |answer: Value| read_answer::<Vec<u32>>("f", answer, "plan");
        assert_eq!(read(serde_json::json!({ "plan": [1, 2], "fault": null })).unwrap(), [1, 2]);
        let fault = Fault::new(Code::ModelFailed, "It fails.").with_next("mend it");
        assert_eq!(read(serde_json::json!({ "fault": fault })).unwrap_err(), fault);
        for answer in [
            serde_json::json!({ "check": [] }),
            serde_json::json!({ "plan": "x" }),
            serde_json::json!({ "fault": 7 }),
            serde_json::json!(null),
        ] {
            assert!(read(answer).unwrap_err().next_step().contains("deploy the stack again"));
        }
    }
}
