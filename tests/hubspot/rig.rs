//! A connector that is open on a double, records to write, and projects whose destination is a double.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use domain::batch::{BatchRecord, WriteBatch};
use domain::cells::{self, Cells};
use domain::config::Reference;
use domain::config::SecretSource;
use domain::fault::{Code, Fault};
use domain::key::KeyHash;
use domain::layout::{Field, Layout};
use domain::mode::Op;
use domain::outcome::{Effect, Outcome, WriteError};
use domain::ports::{Destination, OpenArgs, SystemClock};
use domain::sync::Target;
use domain::value::{Type, Value as Cell};
use doubles::hubspot::HubSpotDouble;
use doubles::hubspot::gate::{REFRESH_TOKEN, TOKEN};
use doubles::hubspot::property::{PropertyDefinition, PropertyType};
use serde_json::{Value, json};

pub struct Secrets;

#[async_trait]
impl SecretSource for Secrets {
    async fn get(&self, reference: &Reference) -> Result<String, Fault> {
        match reference {
            Reference::Env(name) if name == "TOKEN" => Ok(TOKEN.into()),
            Reference::Env(name) if name == "OLD" => Ok("planted-old-token".into()),
            Reference::Env(name) if name == "SECRET" => Ok("planted-client-secret".into()),
            Reference::Env(name) if name == "REFRESH" => Ok(REFRESH_TOKEN.into()),
            other => Err(Fault::new(Code::SecretMissing, format!("{other} is not there."))),
        }
    }
}

/// A double whose contacts have a unique `crm_id`, a number `score` of at most 1,000, and more.
pub fn double() -> HubSpotDouble {
    let double = HubSpotDouble::start().unwrap();
    {
        let mut portal = double.portal();
        let interests = [("a", "Alpha"), ("b", "Beta"), ("c", "Gamma")];
        for property in [
            PropertyDefinition::new("crm_id", PropertyType::Text).unique(),
            PropertyDefinition::new("score", PropertyType::Number).at_most(1000.0),
            PropertyDefinition::new("birthday", PropertyType::Date),
            PropertyDefinition::new("seen_at", PropertyType::DateTime),
            PropertyDefinition::new("vip", PropertyType::Bool),
            PropertyDefinition::new("interests", PropertyType::Checkboxes).options(&interests),
        ] {
            portal.define("contacts", property);
        }
        portal.define("companies", PropertyDefinition::new("crm_id", PropertyType::Text).unique());
    }
    double
}

/// The settings of a connection to a double.
pub fn config(double: &HubSpotDouble) -> Value {
    json!({ "url": double.url(), "allow_private": true, "token": "${env:TOKEN}", "timeout": "10s", "retry_pause": "1ms" })
}

/// Opens `object` with settings beside the usual ones.
pub async fn open_with(double: &HubSpotDouble, more: Value, object: &str, options: Value) -> Arc<dyn Destination> {
    let mut config = config(double);
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    let target =
        Target { connection: "crm".into(), object: object.into(), options: options.as_object().unwrap().clone() };
    let entry = destinations::find("hubspot").unwrap();
    (entry.open)(
        OpenArgs {
            name: "crm",
            config: &config,
            folder: Path::new("."),
            secrets: &Secrets,
            clock: &SystemClock::shared(),
        },
        &target,
    )
    .await
    .unwrap()
}

pub async fn open(double: &HubSpotDouble) -> Arc<dyn Destination> {
    open_with(double, json!({}), "contacts", json!({})).await
}

/// Records of some fields, the first of which is the identifier.
pub struct Records {
    pub layout: Layout,
    cells: Vec<Vec<u8>>,
    ids: Vec<Option<String>>,
}

impl Records {
    pub fn new(fields: &[(&str, Type)], rows: &[Vec<Cell<'_>>]) -> Self {
        let field = |(at, (name, kind)): (usize, &(&str, Type))| Field {
            name: (*name).into(),
            kind: *kind,
            identifier: at == 0,
        };
        let layout = Layout::new(fields.iter().enumerate().map(field).collect());
        let of = |row: &Vec<Cell<'_>>| {
            let mut out = Vec::new();
            for field in layout.fields() {
                cells::push(&mut out, row[fields.iter().position(|(name, _)| *name == field.name).unwrap()]);
            }
            out
        };
        Self { cells: rows.iter().map(of).collect(), ids: vec![None; rows.len()], layout }
    }

    /// Contacts with `crm_id` and `firstname`.
    pub fn contacts(rows: &[(&str, &str)]) -> Self {
        let rows: Vec<Vec<Cell<'_>>> = rows.iter().map(|(id, name)| vec![Cell::Text(id), Cell::Text(name)]).collect();
        Self::new(&[("crm_id", Type::Text), ("firstname", Type::Text)], &rows)
    }

    /// The same with record ids that were kept from an upsert.
    pub fn with_ids(mut self, ids: &[Option<&str>]) -> Self {
        self.ids = ids.iter().map(|id| id.map(str::to_owned)).collect();
        self
    }

    pub async fn write(&self, to: &dyn Destination, op: Op) -> Result<Vec<Outcome>, WriteError> {
        let layout = if op == Op::Delete { self.layout.identifier_layout() } else { self.layout.clone() };
        let carried: Vec<Vec<u8>> = match op {
            Op::Delete => self.cells.iter().map(|c| self.layout.identifier_cells(Cells(c))).collect(),
            _ => self.cells.clone(),
        };
        let records: Vec<BatchRecord<'_>> = carried
            .iter()
            .zip(&self.ids)
            .map(|(cells, id)| BatchRecord {
                hash: KeyHash::of(cells),
                checksum: 1,
                revision: 1,
                had_failure: false,
                record_id: id.as_deref(),
                key: Cells(cells),
                fields: Cells(cells),
            })
            .collect();
        let batch = WriteBatch { sync: "crm", op, layout: &layout, records: &records };
        let most = to.requests(&batch);
        let outcomes = to.write(&batch).await?;
        assert_eq!(outcomes.len(), records.len(), "exactly one outcome for every record");
        assert!(most >= 1);
        Ok(outcomes)
    }

    /// How many requests the destination says that it needs.
    pub fn requests(&self, to: &dyn Destination, op: Op) -> u32 {
        let records: Vec<BatchRecord<'_>> = self
            .cells
            .iter()
            .zip(&self.ids)
            .map(|(cells, id)| BatchRecord {
                hash: KeyHash::of(cells),
                checksum: 1,
                revision: 1,
                had_failure: false,
                record_id: id.as_deref(),
                key: Cells(cells),
                fields: Cells(cells),
            })
            .collect();
        to.requests(&WriteBatch { sync: "crm", op, layout: &self.layout, records: &records })
    }

    /// The records as the destination has them, as texts in the layout's order.
    pub async fn read(&self, from: &dyn Destination) -> Vec<Option<Vec<String>>> {
        let identifiers: Vec<Vec<u8>> = self.cells.iter().map(|c| self.layout.identifier_cells(Cells(c))).collect();
        let read = from.read(&self.layout, &identifiers).await.unwrap().unwrap();
        read.into_iter()
            .map(|record| record.map(|cells| Cells(&cells).values().map(|v| v.to_text().into_owned()).collect()))
            .collect()
    }

    /// The records as the destination would have them.
    pub fn as_stored(&self, by: &dyn Destination) -> Vec<Option<Vec<String>>> {
        let stored = |cells: &Vec<u8>| by.as_stored(&self.layout, Cells(cells));
        self.cells
            .iter()
            .map(|c| Some(Cells(&stored(c)).values().map(|v| v.to_text().into_owned()).collect()))
            .collect()
    }
}

/// A letter for each outcome: C created, U updated, D deleted, A accepted, R rejected, S skipped, T to be tried again.
pub fn letters(outcomes: &[Outcome]) -> String {
    let letter = |outcome: &Outcome| match outcome {
        Outcome::Accepted { effect: Effect::Created, .. } => 'C',
        Outcome::Accepted { effect: Effect::Updated, .. } => 'U',
        Outcome::Accepted { effect: Effect::Deleted, .. } => 'D',
        Outcome::Accepted { effect: Effect::Unknown, .. } => 'A',
        Outcome::Rejected { .. } => 'R',
        Outcome::Skipped { .. } => 'S',
        Outcome::Retry { .. } => 'T',
    };
    outcomes.iter().map(letter).collect()
}

/// Code and detail of a rejection.
pub fn rejection(outcome: &Outcome) -> (&str, &str) {
    match outcome {
        Outcome::Rejected { code, detail } => (code, detail),
        other => panic!("not a rejection: {other:?}"),
    }
}
