//! A webhook connected to a double, and records to send.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use domain::batch::{BatchRecord, WriteBatch};
use domain::cells::{self, Cells};
use domain::config::Reference;
use domain::config::SecretSource;
use domain::fault::{Code, Fault};
use domain::key::{KeyHash, checksum};
use domain::layout::{Field, Layout};
use domain::mode::Op;
use domain::outcome::{Outcome, WriteError};
use domain::ports::{Destination, OpenArgs, SystemClock};
use domain::sync::Target;
use domain::value::{Type, Value as Cell};
use serde_json::{Value, json};

/// What must show in no text that leaves the connector.
pub const PLANTED: &str = "planted/secret+value";
/// A signing secret: 24 bytes.
pub const SIGNING: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

pub struct Secrets(HashMap<&'static str, &'static str>);

impl Secrets {
    pub fn new() -> Self {
        Self(
            [
                ("TOKEN", PLANTED),
                ("SIGNING", SIGNING),
                ("OLD_SIGNING", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
            ]
            .into(),
        )
    }
}

#[async_trait]
impl SecretSource for Secrets {
    async fn get(&self, reference: &Reference) -> Result<String, Fault> {
        match reference {
            Reference::Env(name) if self.0.contains_key(name.as_str()) => Ok(self.0[name.as_str()].to_owned()),
            other => Err(Fault::new(Code::SecretMissing, format!("{other} is not there."))),
        }
    }
}

/// Opens a webhook; `config` is added to a URL and a planted secret in a header.
pub async fn open(url: &str, config: Value, object: &str, options: Value) -> Arc<dyn Destination> {
    try_open(url, config, object, options).await.unwrap()
}

/// Why settings are refused.
pub async fn refused(config: Value) -> String {
    match try_open("http://127.0.0.1:1/", config, "", json!({})).await {
        Ok(_) => panic!("it opens"),
        Err(fault) => fault.to_string(),
    }
}

async fn try_open(url: &str, config: Value, object: &str, options: Value) -> Result<Arc<dyn Destination>, Fault> {
    let mut whole = json!({ "url": url, "allow_private": true, "timeout": "5s", "headers": { "authorization": "Bearer ${env:TOKEN}" } });
    whole.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
    let target =
        Target { connection: "hook".into(), object: object.into(), options: options.as_object().unwrap().clone() };
    let entry = destinations::find("webhook").unwrap();
    let secrets = Secrets::new();
    (entry.open)(
        OpenArgs {
            name: "hook",
            config: &whole,
            folder: Path::new("."),
            secrets: &secrets,
            clock: &SystemClock::shared(),
        },
        &target,
    )
    .await
}

/// Records with the fields email and id.
pub struct Records {
    layout: Layout,
    cells: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Records {
    pub fn new(ids: &[&str]) -> Self {
        let field = |name: &str, identifier| Field { name: name.into(), kind: Type::Any, identifier };
        let of = |id: &&str| {
            let (mut key, mut fields) = (Vec::new(), Vec::new());
            cells::push(&mut key, Cell::Text(id));
            cells::push(&mut fields, Cell::Text(&format!("{id}@h.test")));
            cells::push(&mut fields, Cell::Text(id));
            (key, fields)
        };
        Self {
            layout: Layout::new(vec![field("id", true), field("email", false)]),
            cells: ids.iter().map(of).collect(),
        }
    }

    pub fn list(&self) -> Vec<BatchRecord<'_>> {
        let of = |(key, fields): &'_ (Vec<u8>, Vec<u8>)| (KeyHash::of(key), checksum(fields, self.layout.seed()));
        let record = |cells| -> BatchRecord<'_> {
            let (hash, checksum) = of(cells);
            BatchRecord {
                hash,
                checksum,
                revision: 0,
                had_failure: false,
                record_id: None,
                key: Cells(&cells.0),
                fields: Cells(&cells.1),
            }
        };
        self.cells.iter().map(record).collect()
    }

    pub async fn write(&self, to: &dyn Destination, op: Op) -> Result<Vec<Outcome>, WriteError> {
        let list = self.list();
        let result = to.write(&WriteBatch { sync: "crm", op, layout: &self.layout, records: &list }).await;
        if let Ok(outcomes) = &result {
            assert_eq!(outcomes.len(), list.len(), "exactly one outcome for every record");
        }
        result
    }

    /// The fields of a delete: the identifiers.
    pub async fn delete(&self, to: &dyn Destination) -> Result<Vec<Outcome>, WriteError> {
        let layout = self.layout.identifier_layout();
        let mut list = self.list();
        list.iter_mut().for_each(|r| r.fields = r.key);
        to.write(&WriteBatch { sync: "crm", op: Op::Delete, layout: &layout, records: &list }).await
    }
}
