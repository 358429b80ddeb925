//! A connection as written in `connections.yaml`, and a sync together with the two connections it uses.

use serde::{Deserialize, Serialize};

use crate::alert_settings::Alerts;
use crate::fault::{Code, Fault};
use crate::finding::nearest;
use crate::sync::Sync;

/// A connection as written: secrets in it are references, never values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Connection {
    /// Which kind: the name in a registry.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its settings, without `type`.
    pub config: serde_json::Value,
}

/// Everything a run needs to know of a sync, as it was when it was applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// The sync.
    pub sync: Sync,
    /// The connection of its model.
    pub warehouse: Connection,
    /// The connection of its destination.
    pub destination: Connection,
    /// Who is told of its problems: its own `alerts` over those of connections.yaml.
    #[serde(default, skip_serializing_if = "Alerts::is_default")]
    pub alerts: Alerts,
}

/// The type of connections that are files of the machine a process runs on.
const FILE: &str = "sqlite";

impl Connection {
    /// Refuses what the functions cannot reach: a file of somebody's machine.
    pub fn must_be_reachable(&self, name: &str) -> Result<(), Fault> {
        if self.kind == FILE { Err(out_of_reach(name)) } else { Ok(()) }
    }
}

fn out_of_reach(name: &str) -> Fault {
    let what =
        format!("Connection `{name}` is an SQLite file on somebody's machine, which functions on AWS cannot reach.");
    Fault::new(Code::ConnectionInvalid, what)
        .with_next("use a database that they can reach, or run the sync on that machine: `sluice run`")
}

/// The fault of a connection whose type nothing in `known` has. `what` is `warehouse` or `destination`.
pub fn unknown_kind(name: &str, kind: &str, what: &str, known: &[&str]) -> Fault {
    if kind == FILE && !known.contains(&FILE) {
        return out_of_reach(name);
    }
    let next = match nearest(kind, known.iter().copied()) {
        Some(near) => format!("did you mean `type: {near}`?"),
        None => format!("use one of {}", known.join(", ")),
    };
    Fault::new(Code::ConnectionInvalid, format!("Connection `{name}` has type `{kind}`, which is no {what}."))
        .with_next(next)
}
