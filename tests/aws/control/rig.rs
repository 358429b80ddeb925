//! A stack in the emulator, a project folder, and the binary between them.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws::Clients;
use aws::control::schedules::Kept;
use aws::control::{Schedules, Stack};
use aws::definitions::{Definitions, Listed};
use serde_json::{Value, json};
use support::binary::{self, Said};

use crate::gate::Gate;

/// An extractor that looks at nothing: it tells what it was called with as a fault, and gives a report where the test
/// put one into its environment.
const EXTRACTOR: &str = "\
import json
import os

REPORTS = json.loads(os.environ['REPORTS'])

def handler(event, context):
    for asked, part in (('dry_run', 'plan'), ('check', 'check'), ('explain', 'explain')):
        if event.get(asked) and part in REPORTS:
            return {part: REPORTS[part]}
    return {'fault': {'code': 'model_failed', 'what': 'called with ' + json.dumps(event, sort_keys=True)}}
";

/// A stack and a project; the stack is left to the emulator, which forgets everything when it ends.
pub struct Rig {
    pub name: String,
    /// What stands before the emulator.
    pub gate: Gate,
    pub definitions: Definitions,
    pub schedules: Schedules,
    folder: tempfile::TempDir,
}

impl Rig {
    /// A stack with queues for `hook` and `crm`, and an empty project with the connections `warehouse`, `hook` and
    /// `other`.
    pub async fn start() -> Self {
        Self::with_reports(json!({})).await
    }

    /// The same, with reports for the extractor to give.
    pub async fn with_reports(reports: Value) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let endpoint = support::aws::endpoint();
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
        let name = format!("control-{}-{since}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let clients = Clients::emulator(&endpoint).await;
        create_stack(&clients, &name, &reports).await;
        let stack = Stack::read(&clients, &name).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("syncs")).unwrap();
        let rig = Self {
            gate: Gate::before(&endpoint),
            definitions: Definitions::new(&clients, &stack.table),
            schedules: Schedules::new(&clients, &stack),
            name,
            folder,
        };
        rig.connections("db.example.com");
        rig
    }

    /// Writes connections.yaml, with the warehouse on this host.
    pub fn connections(&self, host: &str) {
        let warehouse = json!({ "type": "postgres", "host": host, "database": "analytics", "user": "sluice", "password": "${secret:warehouse#password}" });
        let hook = |address: &str| json!({ "type": "webhook", "url": address, "headers": { "authorization": "Bearer ${secret:hook}" } });
        let all = json!({
            "warehouse": warehouse, "hook": hook("https://hooks.example.com/customers"), "other": hook("https://other.example.com"),
            "crm": { "type": "hubspot", "token": "${secret:crm}" }, "file": { "type": "sqlite", "path": "product.db" },
        });
        self.write("connections.yaml", &all.to_string());
    }

    /// A sync file. JSON is YAML.
    pub fn sync(&self, name: &str, more: Value) {
        let mut sync = json!({
            "name": name,
            "model": { "warehouse": "warehouse", "sql": "select id, email from customers", "key": ["id"] },
            "destination": { "connection": "hook" },
            "mode": "upsert",
            "mapping": [{ "from": "id", "to": "id", "identifier": true }, { "from": "email", "to": "email" }],
        });
        sync.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.write(&format!("syncs/{name}.yaml"), &sync.to_string());
    }

    /// Takes a sync file away.
    pub fn no_sync(&self, name: &str) {
        std::fs::remove_file(self.folder.path().join(format!("syncs/{name}.yaml"))).unwrap();
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// Runs the binary against this stack, through the gate.
    pub fn sluice(&self, arguments: &[&str]) -> Said {
        self.sluice_on(Some(&self.name), arguments)
    }

    /// The same with another `--stack`, or none.
    pub fn sluice_on(&self, stack: Option<&str>, arguments: &[&str]) -> Said {
        let mut command = Command::new(binary::sluice());
        command.arg("--project").arg(self.folder.path()).args(arguments);
        command.args(stack.into_iter().flat_map(|stack| ["--stack", stack]));
        command
            .env_remove("RUST_LOG")
            .env_remove("AWS_PROFILE")
            .env("AWS_ENDPOINT_URL", &self.gate.url)
            .env("AWS_REGION", "eu-west-1");
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
        Said::of(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// What is applied, with the schedule each sync has.
    pub async fn applied(&self) -> Vec<(Listed, Option<Kept>)> {
        let mut out = Vec::new();
        for listed in self.definitions.list().await.unwrap() {
            let kept = self.schedules.get(&listed.sync).await.unwrap();
            out.push((listed, kept));
        }
        out
    }

    /// The expression and the state of a sync's schedule.
    pub async fn schedule(&self, sync: &str) -> Option<(String, bool)> {
        self.schedules.get(sync).await.unwrap().map(|kept| (kept.timed.expression, kept.enabled))
    }
}

async fn create_stack(clients: &Clients, name: &str, reports: &Value) {
    let cloudformation = clients.cloudformation();
    cloudformation.create_stack().stack_name(name).template_body(template(reports).to_string()).send().await.unwrap();
    loop {
        let described = cloudformation.describe_stacks().stack_name(name).send().await.unwrap();
        match described.stacks()[0].stack_status().map(|s| s.as_str()) {
            Some("CREATE_COMPLETE") => return,
            Some("CREATE_IN_PROGRESS") => tokio::time::sleep(Duration::from_millis(50)).await,
            other => panic!("the stack is {other:?}: {:?}", described.stacks()[0].stack_status_reason()),
        }
    }
}

/// What a stack must have for the command: fewer things than a real one, with the same outputs.
fn template(reports: &Value) -> Value {
    let attribute = |of: &str, name: &str| json!({ "Fn::GetAtt": [of, name] });
    let key = |name: &str, kind: &str| json!({ "AttributeName": name, "KeyType": kind });
    let text = |name: &str| json!({ "AttributeName": name, "AttributeType": "S" });
    let services = json!(["lambda.amazonaws.com", "scheduler.amazonaws.com"]);
    let trust = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Principal": { "Service": services }, "Action": "sts:AssumeRole" }] });
    let outputs = [
        ("Table", json!({ "Ref": "Table" })),
        ("Bucket", json!({ "Ref": "Bucket" })),
        ("QueuePrefix", json!({ "Fn::Sub": "${AWS::StackName}-" })),
        ("Extractor", json!({ "Ref": "Extractor" })),
        ("ExtractorArn", attribute("Extractor", "Arn")),
        ("SchedulerRole", attribute("Role", "Arn")),
        ("ScheduleGroup", json!({ "Ref": "AWS::StackName" })),
        ("ScheduleDlq", attribute("Dlq", "Arn")),
        ("Destinations", json!("hook,crm")),
    ];
    let outputs: serde_json::Map<String, Value> =
        outputs.into_iter().map(|(name, value)| (name.to_owned(), json!({ "Value": value }))).collect();
    json!({
        "Resources": {
            "Table": { "Type": "AWS::DynamoDB::Table", "Properties": {
                "BillingMode": "PAY_PER_REQUEST",
                "AttributeDefinitions": [text("pk"), text("sk")],
                "KeySchema": [key("pk", "HASH"), key("sk", "RANGE")],
                "TimeToLiveSpecification": { "AttributeName": "ttl", "Enabled": true },
            } },
            "Bucket": { "Type": "AWS::S3::Bucket" },
            "Dlq": { "Type": "AWS::SQS::Queue" },
            "Role": { "Type": "AWS::IAM::Role", "Properties": { "AssumeRolePolicyDocument": trust } },
            "Group": { "Type": "AWS::Scheduler::ScheduleGroup", "Properties": { "Name": { "Ref": "AWS::StackName" } } },
            "Extractor": { "Type": "AWS::Lambda::Function", "Properties": {
                "FunctionName": { "Fn::Sub": "${AWS::StackName}-extractor" },
                "Runtime": "python3.13", "Handler": "index.handler", "Role": attribute("Role", "Arn"),
                "Code": { "ZipFile": EXTRACTOR },
                "Environment": { "Variables": { "REPORTS": reports.to_string() } },
            } },
        },
        "Outputs": outputs,
    })
}
