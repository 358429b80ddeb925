//! Salesforce: customers become contacts, found by an external id. The first plan is large enough for jobs, the second
//! is not.

use std::collections::BTreeMap;

use domain::fault::{Code, Fault};
use doubles::salesforce::{ObjectField, Org, SObject, SalesforceDouble};
use serde_json::Value;

use super::super::compare::SeenRecords;
use super::{DemoRecords, DemoService};

const OBJECT: &str = "Contact";
/// The external id that holds the model's key.
const KEY: &str = "Customer_Id__c";
/// From the model's columns to the fields.
const FIELDS: [(&str, &str); 6] = [
    ("id", KEY),
    ("email", "Email"),
    ("first_name", "FirstName"),
    ("plan", "Plan__c"),
    ("lifetime_value", "Lifetime_Value__c"),
    ("signed_up", "Signed_Up__c"),
];

const SYNC: &str = "\
# Customers as contacts of Salesforce: created, updated, and put into the recycle bin when they leave the model.
name: crm-contacts
model:
  warehouse: warehouse
  # A contact must have a last name, and these customers have none.
  sql: select id, email, first_name, 'Customer ' || id as last_name, plan, lifetime_value, signed_up from customers
  key: [id]
destination:
  connection: crm
  object: Contact
mode: mirror
mapping:
  - { from: id, to: Customer_Id__c, identifier: true }   # an external id
  - { from: email, to: Email, transform: [trim, lowercase] }
  - { from: first_name, to: FirstName, nulls: ignore }
  - { from: last_name, to: LastName }
  - { from: plan, to: Plan__c, values: { Free: free, Pro: pro, Team: team } }     # a restricted picklist
  - { from: lifetime_value, to: Lifetime_Value__c, nulls: clear, transform: [{ number: { decimals: 2 } }] }
  - { from: signed_up, to: Signed_Up__c }
validate:
  - { field: Email, format: email }
schedule: { every: 15 minutes }
";

pub(super) fn start() -> Result<Box<dyn DemoService>, Fault> {
    let fields = vec![
        ObjectField::number(KEY, 18, 0).external(),
        ObjectField::email("Email"),
        ObjectField::text("FirstName", 40),
        ObjectField::text("LastName", 80).required(),
        ObjectField::picklist("Plan__c", &["free", "pro", "team"]),
        ObjectField::number("Lifetime_Value__c", 18, 2),
        ObjectField::date("Signed_Up__c"),
    ];
    let failed = |e: std::io::Error| {
        Fault::new(Code::Internal, format!("The demo's double of Salesforce cannot listen on 127.0.0.1: {e}."))
    };
    Ok(Box::new(SalesforceContacts(
        SalesforceDouble::start(Org::new(vec![SObject::new(OBJECT, "003", fields)])).map_err(failed)?,
    )))
}

struct SalesforceContacts(SalesforceDouble);

impl DemoService for SalesforceContacts {
    fn title(&self) -> &'static str {
        "Salesforce"
    }

    fn records_are(&self) -> &'static str {
        "contacts"
    }

    fn connection(&self) -> String {
        let org = self.0.org();
        format!(
            "crm:\n  type: salesforce\n  domain: {}      # the demo's double; for an org of your own its My Domain address\n  auth:\n    \
             client_credentials: {{ client_id: {}, client_secret: \"${{env:SALESFORCE_SECRET}}\" }}\n  allow_private: true\n  \
             job_poll: 100ms     # the double works through a job at once; leave it out for Salesforce itself\n",
            self.0.url(),
            org.client_id,
        )
    }

    fn sync(&self) -> &'static str {
        SYNC
    }

    fn secret(&self) -> (&'static str, String) {
        ("SALESFORCE_SECRET", self.0.org().client_secret.clone())
    }

    fn yours(&self) -> &'static str {
        "the connection has your org's My Domain address and your app's `client_id`,\n\
         no `allow_private` and no `job_poll`"
    }

    fn held(&self) -> DemoRecords {
        let records = self.0.org().object(OBJECT).records_by(KEY);
        let texts = |record: BTreeMap<String, Value>| {
            record.into_iter().filter(|(name, _)| name != "Id").map(|(name, value)| (name, text(&value))).collect()
        };
        records.into_iter().filter_map(|(key, record)| Some((key.parse().ok()?, texts(record)))).collect()
    }

    fn wanted(&self, model: &SeenRecords) -> DemoRecords {
        let fields = |(key, row): (&i64, &Value)| {
            let mapped = FIELDS.iter().filter_map(|(from, to)| Some(((*to).to_owned(), text(row.get(*from)?))));
            (*key, mapped.chain([("LastName".to_owned(), format!("Customer {key}"))]).collect())
        };
        model.iter().map(fields).collect()
    }

    fn shown(&self) -> &'static [&'static str] {
        &[KEY, "Email", "FirstName", "LastName", "Plan__c", "Lifetime_Value__c", "Signed_Up__c"]
    }

    fn requests(&self) -> u64 {
        let org = self.0.org();
        org.minted + org.calls.values().sum::<u64>()
    }

    fn how(&self) -> String {
        let org = self.0.org();
        let most = crate::output::thousands(org.most_requests);
        format!(
            "{} Bulk API jobs carried them; fewer changes go by requests of up to 200. A day has {most} requests, {} were refused.",
            org.jobs().len(),
            org.refused_requests
        )
    }
}

/// A value as text; a number without a fraction has no point.
fn text(value: &Value) -> String {
    match (value.as_str(), value.as_f64()) {
        (Some(text), _) => text.to_owned(),
        (None, Some(number)) => number.to_string(),
        (None, None) => value.to_string(),
    }
}
