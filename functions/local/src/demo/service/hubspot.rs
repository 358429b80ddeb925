//! HubSpot: customers become contacts, found by a property of their own with unique values.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::fault::{Code, Fault};
use doubles::hubspot::HubSpotDouble;
use doubles::hubspot::gate::{QuotaWindow, TOKEN};
use doubles::hubspot::property::{PropertyDefinition, PropertyType};
use serde_json::Value;

use super::super::compare::SeenRecords;
use super::{DemoRecords, DemoService};

/// The property that holds the model's key.
const KEY: &str = "customer_id";
/// From the model's columns to the properties.
const FIELDS: [(&str, &str); 6] = [
    ("id", KEY),
    ("email", "email"),
    ("first_name", "firstname"),
    ("plan", "plan"),
    ("lifetime_value", "lifetime_value"),
    ("signed_up", "signed_up"),
];

const SYNC: &str = "\
# Customers as contacts of HubSpot: created, updated, and archived when they leave the model.
name: crm-contacts
model:
  warehouse: warehouse
  sql: select id, email, first_name, plan, lifetime_value, signed_up from customers
  key: [id]
destination:
  connection: crm
  object: contacts
mode: mirror
mapping:
  - { from: id, to: customer_id, identifier: true }      # a property that requires unique values
  - { from: email, to: email, transform: [trim, lowercase] }
  - { from: first_name, to: firstname, nulls: ignore }
  - { from: plan, to: plan }                             # options by label or by internal value
  - { from: lifetime_value, to: lifetime_value, nulls: clear, transform: [{ number: { decimals: 2 } }] }
  - { from: signed_up, to: signed_up }
validate:
  - { field: email, format: email }
schedule: { every: 15 minutes }
";

pub(super) fn start() -> Result<Box<dyn DemoService>, Fault> {
    let failed = |e: std::io::Error| {
        Fault::new(Code::Internal, format!("The demo's double of HubSpot cannot listen on 127.0.0.1: {e}."))
    };
    let double = HubSpotDouble::start().map_err(failed)?;
    {
        let mut portal = double.portal();
        // An account with the capacity pack, so that the demo does not take longer than it must.
        portal.gate.quota = QuotaWindow::new(250, Duration::from_secs(10));
        let plans = [("free", "Free"), ("pro", "Pro"), ("team", "Team")];
        for property in [
            PropertyDefinition::new(KEY, PropertyType::Text).unique(),
            PropertyDefinition::new("plan", PropertyType::Select).options(&plans),
            PropertyDefinition::new("lifetime_value", PropertyType::Number),
            PropertyDefinition::new("signed_up", PropertyType::Date),
        ] {
            portal.define("contacts", property);
        }
    }
    Ok(Box::new(HubSpotContacts(double)))
}

struct HubSpotContacts(HubSpotDouble);

impl DemoService for HubSpotContacts {
    fn title(&self) -> &'static str {
        "HubSpot"
    }

    fn records_are(&self) -> &'static str {
        "contacts"
    }

    fn connection(&self) -> String {
        format!(
            "crm:\n  type: hubspot\n  token: ${{env:HUBSPOT_TOKEN}}     # a service key\n  \
             url: {}      # the demo's double; leave it out for HubSpot itself\n  allow_private: true\n",
            self.0.url()
        )
    }

    fn sync(&self) -> &'static str {
        SYNC
    }

    fn secret(&self) -> (&'static str, String) {
        ("HUBSPOT_TOKEN", TOKEN.to_owned())
    }

    fn yours(&self) -> &'static str {
        "the connection has no `url` and no `allow_private`"
    }

    fn held(&self) -> DemoRecords {
        let records = self.0.portal().objects.get("contacts").map(|object| object.by(KEY)).unwrap_or_default();
        records.into_iter().filter_map(|(key, fields)| Some((key.parse().ok()?, fields))).collect()
    }

    fn wanted(&self, model: &SeenRecords) -> DemoRecords {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let fields = |row: &Value| {
            FIELDS
                .iter()
                .filter_map(|(from, to)| Some(((*to).to_owned(), text(row.get(*from)?))))
                .collect::<BTreeMap<_, _>>()
        };
        model.iter().map(|(key, row)| (*key, fields(row))).collect()
    }

    fn shown(&self) -> &'static [&'static str] {
        &[KEY, "email", "firstname", "plan", "lifetime_value", "signed_up"]
    }

    fn requests(&self) -> u64 {
        self.0.portal().requests.len() as u64
    }

    fn how(&self) -> String {
        let portal = self.0.portal();
        let sent = portal.requests.iter().filter(|r| r.operation == "upsert").count();
        format!("{sent} of them carried up to 100 contacts each, {} were refused for being too fast.", portal.refused())
    }
}
