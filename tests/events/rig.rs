//! Both functions in this process, with a table, a bucket and queues of their own on the emulator.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws::Clients;
use aws::definitions::Definitions;
use aws::settings::{CommonSettings, ExtractorSettings, WriterSettings};
use domain::batch::Message;
use domain::clock::Millis;
use domain::connection::{Connection, Definition};
use domain::ports::SystemClock;
use domain::ports::{BatchQueue, Clock, StateStore};
use domain::run::Run;
use domain::sync::Sync;
use lambda_runtime::{Context, LambdaEvent};
use serde_json::{Value, json};
use support::double::Double;

/// The sync of the events.
pub const SYNC: &str = "crm-contacts";
/// The destination of the events.
const CONNECTION: &str = "webhook";

/// The folder of the events.
pub fn events() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("events")
}

/// One of the events.
pub fn event(path: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(events().join(path)).unwrap()).unwrap()
}

/// Both functions and both ends.
pub struct Rig {
    pub clients: Clients,
    pub double: Double,
    pub extractor: extractor::services::ExtractorServices,
    pub writer: writer::services::WriterServices,
    pub definition: Definition,
    pub queue: String,
    pub dlq: String,
    folder: tempfile::TempDir,
}

impl Rig {
    /// `rows` contacts that were never synced. `message` is the most bytes of a message.
    pub async fn new(rows: u32, message: usize) -> Self {
        let clients = support::aws::clients().await;
        let (table, bucket, prefix) =
            (support::aws::name("t"), support::aws::bucket().await, format!("{}-", support::aws::name("p")));
        aws::state::create_table(&clients, &table).await.unwrap();
        let create =
            async |name: String| clients.sqs().create_queue().queue_name(name).send().await.unwrap().queue_url.unwrap();
        let (queue, dlq) =
            (create(format!("{prefix}{CONNECTION}")).await, create(format!("{prefix}{CONNECTION}-dlq")).await);
        let (folder, double) = (tempfile::tempdir().unwrap(), Double::start());
        support::project::execute(
            &folder.path().join("w.db"),
            "create table contacts (id integer primary key, email text)",
        );
        let common = CommonSettings {
            stack: "sluicegate".into(),
            table: table.clone(),
            bucket,
            max_message_bytes: message,
            stall: Duration::from_secs(1800),
            claim: Duration::from_secs(150),
            spool_memory: 1 << 20,
            alert_topic: None,
            log: "error".into(),
            function: "nobody".into(),
        };
        let definition = definition(folder.path(), &double);
        Definitions::new(&clients, &table).put(&definition, SystemClock.now()).await.unwrap();
        let settings = WriterSettings {
            common: common.clone(),
            queue_url: queue.clone(),
            dlq_url: dlq.clone(),
            destination: CONNECTION.into(),
            rate: None,
        };
        let rig = Self {
            extractor: extractor::services::ExtractorServices::new(
                ExtractorSettings { common, queue_prefix: prefix, requests_per_message: 1, lateness: None },
                clients.clone(),
            ),
            writer: writer::services::WriterServices::new(settings, &clients),
            clients,
            double,
            definition,
            queue,
            dlq,
            folder,
        };
        rig.sql(&format!(
            "with recursive n(i) as (select 1 union all select i + 1 from n where i < {rows}) insert into contacts select i, 'c' || i || '@example.com' from n"
        ));
        rig
    }

    pub fn sql(&self, sql: &str) {
        support::project::execute(&self.folder.path().join("w.db"), sql);
    }

    /// Hands an event to the extractor; its answer as JSON. The `invocation` is the same when Lambda tries again.
    pub async fn extract(&self, event: Value, invocation: &str) -> Result<Value, domain::fault::Fault> {
        self.extract_by(&self.extractor, event, invocation).await
    }

    /// The same by another process.
    pub async fn extract_by(
        &self,
        extractor: &extractor::services::ExtractorServices,
        event: Value,
        invocation: &str,
    ) -> Result<Value, domain::fault::Fault> {
        let answer = extractor::handler::handle(extractor, lambda(event, invocation, Duration::from_secs(600))).await?;
        Ok(serde_json::to_value(answer).unwrap())
    }

    /// An extractor as another process has it.
    pub fn another_extractor(&self) -> extractor::services::ExtractorServices {
        extractor::services::ExtractorServices::new(self.extractor.settings.clone(), self.clients.clone())
    }

    /// Hands an event to the writer; the ids of the messages that stay.
    pub async fn write(&self, event: Value) -> Vec<String> {
        let answer = writer::handler::handle(&self.writer, lambda(event, "w", Duration::from_secs(60))).await.unwrap();
        answer.failures.into_iter().map(|failure| failure.id).collect()
    }

    /// The texts of the messages that wait in a queue, taken off it.
    pub async fn take(&self, url: &str) -> Vec<String> {
        let mut texts = Vec::new();
        loop {
            let receive = self.clients.sqs().receive_message().queue_url(url).max_number_of_messages(10);
            let received = receive.send().await.unwrap().messages.unwrap_or_default();
            if received.is_empty() {
                return texts;
            }
            for message in received {
                self.clients
                    .sqs()
                    .delete_message()
                    .queue_url(url)
                    .receipt_handle(message.receipt_handle().unwrap())
                    .send()
                    .await
                    .unwrap();
                texts.push(message.body().unwrap().to_owned());
            }
        }
    }

    /// Delivers everything that waits, as the event source mapping would.
    pub async fn deliver(&self) {
        for text in self.take(&self.queue).await {
            assert_eq!(self.write(with_bodies("writer/one.json", &[&text])).await, Vec::<String>::new());
        }
    }

    pub async fn run(&self) -> Run {
        self.runs().await.into_iter().next().expect("a run")
    }

    /// All runs, newest first.
    pub async fn runs(&self) -> Vec<Run> {
        self.store().runs(SYNC, 100).await.unwrap()
    }

    pub fn store(&self) -> &Arc<dyn StateStore> {
        &self.extractor.store
    }

    /// Sends a message as the extractor does, and takes its text.
    pub async fn text_of(&self, message: Message) -> String {
        self.writer.queue.send(message).await.unwrap();
        self.take(&self.queue).await.remove(0)
    }
}

/// An event of the writer with these texts in place of its own.
pub fn with_bodies(path: &str, texts: &[&str]) -> Value {
    let mut event = event(path);
    let records = event["Records"].as_array_mut().unwrap();
    assert_eq!(records.len(), texts.len(), "{path}");
    for (record, text) in records.iter_mut().zip(texts) {
        record["body"] = (*text).into();
    }
    event
}

/// The ids of the messages of an event.
pub fn ids(event: &Value) -> Vec<String> {
    event["Records"].as_array().unwrap().iter().map(|r| r["messageId"].as_str().unwrap().to_owned()).collect()
}

fn lambda(event: Value, invocation: &str, time: Duration) -> LambdaEvent<Value> {
    let mut context = Context::default();
    context.request_id = invocation.to_owned();
    context.deadline = SystemClock.now().plus(time).0 as u64;
    LambdaEvent::new(event, context)
}

fn definition(folder: &Path, double: &Double) -> Definition {
    let sync: Sync = serde_json::from_value(json!({
        "name": SYNC,
        "model": { "warehouse": "analytics", "sql": "select id, email from contacts", "key": ["id"] },
        "destination": { "connection": CONNECTION, "options": { "results": { "id": "/id" } } },
        "mode": "upsert",
        "schedule": { "on": { "source": "dbt", "detail_type": "dbt run finished", "detail": { "status": "success" } } },
        "mapping": [{ "from": "id", "to": "id", "identifier": true }, { "from": "email", "to": "email" }],
        "guards": { "max_change_percent": 50 },
    }))
    .unwrap();
    Definition {
        sync,
        alerts: Default::default(),
        warehouse: Connection { kind: "sqlite".into(), config: json!({ "path": folder.join("w.db") }) },
        destination: Connection {
            kind: "webhook".into(),
            config: json!({ "url": double.url(), "allow_private": true, "batch_size": 5, "retry_pause": "1ms" }),
        },
    }
}

pub fn now() -> Millis {
    SystemClock.now()
}
