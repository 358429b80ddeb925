//! One fixture for each destination of the registry: an object with the fields `id` (identifier), `email`
//! and `n`, and a way to look at what it holds.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use domain::config::Reference;
use domain::config::SecretSource;
use domain::fault::{Code, Fault};
use domain::mode::{Mode, Op};
use domain::ports::{Destination, OpenArgs, SystemClock};
use domain::sync::Target;
use doubles::hubspot::HubSpotDouble;
use doubles::hubspot::property::{PropertyDefinition as HubSpotProperty, PropertyType};
use doubles::salesforce::{ObjectField, Org, SObject, SObjectRecord, SalesforceDouble};
use mysql_async::prelude::Queryable as _;
use serde_json::{Value, json};
use support::double::{Behaviour, Double};
use support::mysql::MysqlDatabase;
use support::postgres::TestDatabase;
use support::slack::SlackDouble;

/// A record as the object holds it: id, email, n.
pub type Held = (i64, Option<String>, Option<i64>);

/// A destination, opened for an empty object.
pub struct Fixture {
    pub destination: Arc<dyn Destination>,
    /// A value of `n` that the object refuses.
    pub bad_n: i64,
    /// What the object calls `id`, `email` and `n`.
    pub names: [&'static str; 3],
    /// A text as the object keeps it.
    pub stores: fn(&str) -> Option<String>,
    /// `Destination::read` is implemented.
    pub can_be_read: bool,
    /// Empty text clears a field, as null does.
    pub empty_clears: bool,
    pub keep: Keep,
    modes: fn(Mode) -> Result<(), &'static str>,
}

/// What the destination writes to.
pub enum Keep {
    Sqlite(tempfile::TempDir),
    Postgres(Box<TestDatabase>),
    Mysql(MysqlDatabase),
    Webhook(Double),
    HubSpot(HubSpotDouble),
    Salesforce(SalesforceDouble),
    Slack(SlackDouble),
}

const TABLE: &str = "create table t (id bigint primary key, email text, n bigint check (n <> 13000))";

/// The fixture of this destination. A new one: an arm here, a `Keep` with its arm in `held`.
pub async fn open(name: &str) -> Fixture {
    match name {
        "hubspot" => hubspot().await,
        "mysql" => mysql(&[TABLE], json!({})).await,
        "postgres" => postgres(TABLE, json!({})).await,
        "salesforce" => salesforce().await,
        "slack" => slack().await,
        "sqlite" => sqlite(TABLE, json!({})).await,
        "webhook" => webhook().await,
        other => panic!("no fixture for {other}"),
    }
}

/// PostgreSQL after `sql`, opened for the table `public.t`.
pub async fn postgres(sql: &str, options: Value) -> Fixture {
    let database = support::postgres::database().await;
    database.client.batch_execute(sql).await.unwrap();
    let destination = opened("postgres", Path::new("."), &database.connection_config(), "public.t", options).await;
    fixture("postgres", destination, Keep::Postgres(Box::new(database)))
}

/// MariaDB after these statements, opened for the table `t`.
pub async fn mysql(statements: &[&str], options: Value) -> Fixture {
    let database = support::mysql::database().await;
    database.execute(statements).await;
    let destination = opened("mysql", Path::new("."), &database.connection_config(), "t", options).await;
    fixture("mysql", destination, Keep::Mysql(database))
}

/// SQLite after `sql`, opened for the table `t`.
pub async fn sqlite(sql: &str, options: Value) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    rusqlite::Connection::open(folder.path().join("app.db")).unwrap().execute_batch(sql).unwrap();
    let destination =
        opened("sqlite", folder.path(), &json!({ "path": "app.db", "busy_timeout": "50ms" }), "t", options).await;
    fixture("sqlite", destination, Keep::Sqlite(folder))
}

/// An object in an org.
async fn salesforce() -> Fixture {
    let fields = vec![
        ObjectField::number("id__c", 18, 0).external(),
        ObjectField::text("email__c", 80),
        ObjectField::number("n__c", 18, 0),
    ];
    let double = SalesforceDouble::start(Org::new(vec![SObject::new("Thing__c", "a00", fields).with_rule(
        "n__c",
        json!(13_000),
        "n is refused",
    )]))
    .unwrap();
    let auth = json!({ "client_credentials": { "client_id": "client", "client_secret": "${env:PLANTED}" } });
    let config = json!({ "domain": double.url(), "auth": auth, "allow_private": true });
    let destination = opened("salesforce", Path::new("."), &config, "Thing__c", json!({})).await;
    let stores = |text: &str| Some(text.trim().to_owned()).filter(|t| !t.is_empty());
    Fixture {
        names: ["id__c", "email__c", "n__c"],
        stores,
        ..fixture("salesforce", destination, Keep::Salesforce(double))
    }
}

/// A webhook to a double that says of each record whether it took it.
async fn webhook() -> Fixture {
    let double = Double::start();
    double.answer(Behaviour::ResultsOf(Arc::new(|records| {
        let result = |bad: bool| {
            if bad { json!({ "status": "failed", "error": "n is refused" }) } else { json!({ "status": "ok" }) }
        };
        records.iter().map(|r| result(r.fields["n"] == 13_000)).collect()
    })));
    let config = json!({ "url": double.url(), "allow_private": true });
    let options = json!({ "results": { "pointer": "/results", "status": "/status", "ok": ["ok"], "error": "/error" } });
    let destination = opened("webhook", Path::new("."), &config, "", options).await;
    Fixture { can_be_read: false, ..fixture("webhook", destination, Keep::Webhook(double)) }
}

/// HubSpot with a custom object whose numbers may not be greater than 12,999.
async fn hubspot() -> Fixture {
    let double = HubSpotDouble::start().unwrap();
    let properties = vec![
        HubSpotProperty::new("id", PropertyType::Text).unique(),
        HubSpotProperty::new("email", PropertyType::Text),
        HubSpotProperty::new("n", PropertyType::Number).at_most(12_999.0),
    ];
    double.portal().define_object("p1_things", &[], properties);
    let config = json!({ "url": double.url(), "allow_private": true, "token": "${env:TOKEN}" });
    let destination = opened("hubspot", Path::new("."), &config, "p1_things", json!({})).await;
    Fixture { empty_clears: true, ..fixture("hubspot", destination, Keep::HubSpot(double)) }
}

/// A channel of Slack, each record a message; one that tells of 13000 is refused.
async fn slack() -> Fixture {
    let slack = SlackDouble::start();
    slack.refuse_text("|13000", "invalid_blocks");
    let config = json!({ "webhook_url": "${env:SLACK}", "allow_private": true });
    let target = Target {
        connection: "team".into(),
        object: String::new(),
        options: json!({ "text": TEXT }).as_object().unwrap().clone(),
    };
    let entry = destinations::find("slack").unwrap();
    let secrets = OneSecret(slack.hook());
    let destination = (entry.open)(
        OpenArgs {
            name: "team",
            config: &config,
            folder: Path::new("."),
            secrets: &secrets,
            clock: &SystemClock::shared(),
        },
        &target,
    )
    .await
    .unwrap();
    Fixture { can_be_read: false, ..fixture("slack", destination, Keep::Slack(slack)) }
}

/// A record as a message.
const TEXT: &str = "{{id}}|{{email}}|{{n}}";

struct OneSecret(String);

#[async_trait::async_trait]
impl SecretSource for OneSecret {
    async fn get(&self, _: &Reference) -> Result<String, Fault> {
        Ok(self.0.clone())
    }
}

/// The records that a channel's messages tell of. A message cannot tell nothing from an empty text.
fn told(slack: &SlackDouble) -> Vec<Held> {
    let plain = |text: &str| text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    let of = |text: &str| {
        let (id, rest) = text.split_once('|').unwrap();
        let (email, n) = rest.rsplit_once('|').unwrap();
        (id.parse().unwrap(), (!email.is_empty()).then(|| plain(email)), n.parse().ok())
    };
    let mut held: Vec<Held> = slack.messages().iter().map(|m| of(&m.text)).collect();
    held.sort();
    held
}

/// What a receiver holds that keeps the fields a delivery leaves out.
fn merged(double: &Double) -> Vec<Held> {
    let mut held: BTreeMap<i64, (Option<String>, Option<i64>)> = BTreeMap::new();
    for delivered in double.deliveries() {
        let id = delivered.fields["id"].as_i64().unwrap();
        if delivered.operation == "delete" {
            held.remove(&id);
            continue;
        }
        let record = held.entry(id).or_default();
        if let Some(email) = delivered.fields.get("email") {
            record.0 = email.as_str().map(str::to_owned);
        }
        if let Some(n) = delivered.fields.get("n") {
            record.1 = n.as_i64();
        }
    }
    held.into_iter().map(|(id, (email, n))| (id, email, n)).collect()
}

fn fixture(name: &str, destination: Arc<dyn Destination>, keep: Keep) -> Fixture {
    Fixture {
        destination,
        bad_n: 13_000,
        names: ["id", "email", "n"],
        stores: |text| Some(text.to_owned()),
        can_be_read: true,
        empty_clears: false,
        keep,
        modes: destinations::find(name).unwrap().modes,
    }
}

/// A destination of this kind for `object`.
pub async fn opened(name: &str, folder: &Path, config: &Value, object: &str, options: Value) -> Arc<dyn Destination> {
    let target =
        Target { connection: "product".into(), object: object.into(), options: options.as_object().unwrap().clone() };
    let entry = destinations::find(name).unwrap();
    (entry.open)(
        OpenArgs { name: "product", config, folder, secrets: &Planted, clock: &SystemClock::shared() },
        &target,
    )
    .await
    .unwrap()
}

/// Knows what doubles take, and nothing else.
struct Planted;

#[async_trait::async_trait]
impl SecretSource for Planted {
    async fn get(&self, reference: &Reference) -> Result<String, Fault> {
        match reference {
            Reference::Env(name) if name == "TOKEN" => Ok(doubles::hubspot::gate::TOKEN.into()),
            Reference::Env(name) if name == "PLANTED" => Ok("planted-secret".into()),
            other => Err(Fault::new(Code::SecretMissing, other.to_string())),
        }
    }
}

impl Fixture {
    /// The destination honours this mode.
    pub fn honours(&self, mode: Mode) -> bool {
        (self.modes)(mode).is_ok()
    }

    /// What writes a record here that is not there yet.
    pub fn write_op(&self) -> Op {
        if self.honours(Mode::Upsert) { Op::Upsert } else { Op::Append }
    }

    /// What the object holds now, by id.
    pub async fn held(&self) -> Vec<Held> {
        const ALL: &str = "select id, email, n from t order by id";
        match &self.keep {
            Keep::Postgres(database) => database
                .client
                .query(ALL, &[])
                .await
                .unwrap()
                .iter()
                .map(|row| (row.get(0), row.get(1), row.get(2)))
                .collect(),
            Keep::Mysql(database) => database.connect().await.query(ALL).await.unwrap(),
            Keep::Sqlite(_) => {
                let connection = self.sqlite();
                let mut statement = connection.prepare(ALL).unwrap();
                statement
                    .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                    .unwrap()
                    .map(Result::unwrap)
                    .collect()
            }
            Keep::Webhook(double) => merged(double),
            Keep::HubSpot(double) => {
                let by_id = double.portal().objects["p1_things"].by("id");
                let held = |(id, fields): (String, BTreeMap<String, String>)| {
                    (id.parse().unwrap(), fields.get("email").cloned(), fields.get("n").map(|n| n.parse().unwrap()))
                };
                let mut all: Vec<Held> = by_id.into_iter().map(held).collect();
                all.sort_unstable();
                all
            }
            Keep::Salesforce(double) => {
                let mut org = double.org();
                let held = |r: &SObjectRecord| {
                    (
                        r["id__c"].as_i64().unwrap(),
                        r.get("email__c").map(|e| e.as_str().unwrap().to_owned()),
                        r.get("n__c").and_then(Value::as_i64),
                    )
                };
                let mut all: Vec<Held> = org.object("Thing__c").records().values().map(held).collect();
                all.sort_by_key(|(id, ..)| *id);
                all
            }
            Keep::Slack(slack) => told(slack),
        }
    }

    /// A connection of the test's own to the SQLite database.
    pub fn sqlite(&self) -> rusqlite::Connection {
        match &self.keep {
            Keep::Sqlite(folder) => rusqlite::Connection::open(folder.path().join("app.db")).unwrap(),
            _ => panic!("not SQLite"),
        }
    }

    /// The database behind MySQL.
    pub fn mysql(&self) -> &MysqlDatabase {
        match &self.keep {
            Keep::Mysql(database) => database,
            _ => panic!("not MySQL"),
        }
    }

    /// The database behind PostgreSQL.
    pub fn database(&self) -> &TestDatabase {
        match &self.keep {
            Keep::Postgres(database) => database,
            _ => panic!("not PostgreSQL"),
        }
    }
}
