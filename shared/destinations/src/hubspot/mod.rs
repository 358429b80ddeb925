//! HubSpot: contacts, companies, deals and custom objects, by the batch APIs.
//!
//! - *What it writes*: properties of records, 100 records to a request, and links to records of other objects
//!   (`options.associations`, see [`config::Options`]). Not: lists, engagements, files, merging, properties
//!   themselves, or the removal of links.
//! - *Auth*: a service key or a private app's token, or an OAuth app's refresh token; an access token is kept until it
//!   ends, and minted anew once when HubSpot answers 401.
//! - *Modes*: upsert and mirror by a property with unique values or, for contacts, `email`; update by those or by
//!   `hs_object_id`; append creates. Mirror deletes by archiving (90 days in the recycle bin), by the record id that
//!   the upsert gave, else by looking it up. An update of a record that is not there is skipped.
//! - *Limits*: 98 % of the account's requests per interval, as HubSpot's headers tell it, shared by all writers of the
//!   connection; the daily limit ends the run, until midnight in `timezone`. A text has at most 65,536 characters.
//!   Private addresses are refused unless `allow_private`.
//! - *Per-record errors*: every input carries an `objectWriteTraceId`, results and errors are matched by it, else by
//!   the identifier; a record that neither mentions is sent again. A request that is refused whole is halved until
//!   the record to blame is found, unless it is a property that is gone: that ends the run. Validation errors are
//!   taken apart into property, code and what HubSpot says of the value. `email` as identifier has no partial results.
//! - *Idempotency*: upsert, update, delete and links can be repeated. Append cannot: when an answer is lost the
//!   record is created again, unless a unique property is mapped, whose second value HubSpot refuses.
//! - *API version and sources*: `version`, `v3` or by date (`2026-09`); 200 and 207 are read alike in each.
//!   developers.hubspot.com: API reference (CRM objects, properties, schemas, associations, OAuth), usage guidelines,
//!   changelog; issue trackers of its clients for what the reference leaves out.

mod api;
mod associate;
mod auth;
mod classify;
pub mod config;
mod encode;
mod ledger;
mod object;
mod open;
mod preflight;
mod properties;
mod quota;
mod write;

use async_trait::async_trait;
use domain::batch::WriteBatch;
use domain::cells::Cells;
use domain::destination_schema::DestinationSchema;
use domain::fault::Fault;
use domain::layout::Layout;
use domain::mode::Mode;
use domain::outcome::{Outcome, WriteError};
use domain::ports::{Destination, DestinationEntry, Limits, PreflightRequest};
use serde_json::Value;

use self::api::Api;
use self::config::{Config, Options};
use self::object::KnownObject;
use self::properties::Properties;

pub const ENTRY: DestinationEntry = DestinationEntry {
    name: "hubspot",
    about: "HubSpot CRM: contacts, companies, deals, custom objects",
    modes: |mode| match mode {
        Mode::Upsert | Mode::Update | Mode::Append | Mode::Mirror => Ok(()),
    },
    open: open::open,
    schema: || schemars::schema_for!(Config),
    options_schema: || schemars::schema_for!(Options),
};

/// Most bytes of records in a request: far less than HubSpot refuses, and more than 100 usual records have.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// An open connection for one sync.
#[derive(Debug)]
struct HubSpotDestination {
    /// `connection NAME`.
    about: String,
    object: String,
    options: Options,
    config: Config,
    api: Api,
    known: KnownObject,
}

impl HubSpotDestination {
    /// True for a mapped field that is no property but the key of a link.
    fn is_link(&self, name: &str) -> bool {
        self.options.associations.iter().any(|link| link.field == name)
    }
}

#[async_trait]
impl Destination for HubSpotDestination {
    fn limits(&self) -> Limits {
        Limits {
            batch_records: self.config.batch_size,
            batch_bytes: BATCH_BYTES,
            concurrency: self.config.concurrency,
            rate: Some(self.api.quota.rate()),
            first_pause: self.config.retry_pause.0,
        }
    }

    fn requests(&self, batch: &WriteBatch<'_>) -> u32 {
        self.requests_of(batch)
    }

    async fn place(&self) -> Result<String, Fault> {
        // Every token may ask (the scope `oauth`); one that may not, or an address that does not know, leaves the place
        // unknown.
        let answer = match self.api.get(&self.api.account()).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::debug!("{}: which account this is cannot be asked: {error}", self.about);
                return Ok(String::new());
            }
        };
        let portal = answer.body.get("portalId").and_then(Value::as_u64);
        Ok(portal.map_or_else(String::new, |portal| format!("{} of the HubSpot account {portal}", self.object)))
    }

    async fn preflight(&self, need: PreflightRequest<'_>) -> Result<DestinationSchema, Fault> {
        self.look(need).await
    }

    async fn write(&self, batch: &WriteBatch<'_>) -> Result<Vec<Outcome>, WriteError> {
        self.write_batch(batch).await
    }

    fn reads_back(&self) -> bool {
        true
    }

    async fn read(&self, layout: &Layout, identifiers: &[Vec<u8>]) -> Result<Option<Vec<Option<Vec<u8>>>>, Fault> {
        let known = self.known.properties(&self.api, &self.object).await.map_err(|e| self.api.fault(e))?;
        let Some((_, identifier)) = layout.identifiers().next() else { return Ok(Some(vec![None; identifiers.len()])) };
        let name = identifier.name.as_str();
        let value = |cells: &Vec<u8>| {
            encode::wire(Cells(cells).get(0).unwrap_or(domain::value::Value::Null), known.get(name)).unwrap_or_default()
        };
        let values: Vec<String> = identifiers.iter().map(value).collect();
        let mut wanted: Vec<&str> =
            layout.fields().iter().map(|f| f.name.as_str()).filter(|name| !self.is_link(name)).collect();
        wanted.push("hs_additional_emails");
        let asked: Vec<String> = values.iter().filter(|v| !v.is_empty()).cloned().collect();
        let found = self.read_batch(&self.object, name, &wanted, &asked).await.map_err(|e| self.api.fault(e))?;
        let of = |value: &String| {
            let (_, record) = found.iter().find(|(of, _)| encode::folded(name, of) == encode::folded(name, value))?;
            Some(self.cells(layout, record.as_ref()?, &known))
        };
        Ok(Some(values.iter().map(of).collect()))
    }

    fn as_stored(&self, layout: &Layout, record: Cells<'_>) -> Vec<u8> {
        match self.known.known() {
            Some(known) => encode::stored(layout, record, &known, |name| self.is_link(name)),
            None => record.bytes().to_vec(),
        }
    }
}

impl HubSpotDestination {
    /// A record that was read, as cells of the layout.
    fn cells(&self, layout: &Layout, record: &Value, known: &Properties) -> Vec<u8> {
        let mut out = Vec::new();
        for field in layout.fields() {
            let text = match field.name.as_str() {
                properties::RECORD_ID => record.get("id"),
                name => record.get("properties").and_then(|p| p.get(name)),
            };
            encode::push_read(&mut out, text.and_then(Value::as_str), field.kind, known.get(&field.name));
        }
        out
    }
}

#[cfg(test)]
mod tests;
