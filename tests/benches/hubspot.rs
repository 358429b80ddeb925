//! A first run to HubSpot's double, which answers at once and keeps the vendor's quota: how much of it is used, whether
//! anything is refused, and how many requests are too many. Prints its figures and fails when a goal is missed.
//!
//! `tests/run --bench hubspot [--rows N] [--quota N] [--writers N]`: N requests in 10 seconds, 190 by default. Without
//! `--writers` as `sluice run` delivers; with it by so many writers as functions do: one message at a time each, and
//! nothing in common but the state and the queue.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a bench that cannot measure ends, and prints its figures"
)]

use std::sync::Arc;
use std::time::Duration;

use domain::run::{Run, Status};
use doubles::hubspot::HubSpotDouble;
use doubles::hubspot::gate::{QuotaWindow, TOKEN};
use doubles::hubspot::property::{PropertyDefinition, PropertyType};
use engine::Context;
use engine::deliver::{MessageResult, handle};
use serde_json::json;
use support::project::{Project, request};
use tokio::task::JoinSet;

const INTERVAL: Duration = Duration::from_secs(10);
/// How long a function waits for a request slot before it gives the message back.
const PATIENCE: Duration = Duration::from_secs(20);
/// Accepted records that are read back, each with a request at most.
const READ_BACK: usize = 10;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str, default: u32| {
        let value = arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1));
        value.map_or(default, |n| n.parse().expect("a number"))
    };
    let (rows, quota, writers) = (number("--rows", 60_000), number("--quota", 190), number("--writers", 0));
    let double = HubSpotDouble::start().expect("a free port");
    {
        let mut portal = double.portal();
        portal.gate.quota = QuotaWindow::new(quota as usize, INTERVAL);
        portal.define("contacts", PropertyDefinition::new("crm_id", PropertyType::Text).unique());
        portal.define("contacts", PropertyDefinition::new("score", PropertyType::Number));
    }
    let mut project = Project::webhook(rows);
    project.connections["there"] =
        json!({ "type": "hubspot", "token": "${env:HUBSPOT_TOKEN}", "url": double.url(), "allow_private": true });
    project.secrets.insert("HUBSPOT_TOKEN".into(), TOKEN.into());
    project.sync()["destination"] = json!({ "connection": "there", "object": "contacts" });
    let line = |from: &str, to: &str| json!({ "from": from, "to": to });
    project.sync()["mapping"] = json!([{ "from": "id", "to": "crm_id", "identifier": true }, line("email", "email"), line("name", "firstname"), line("n", "score")]);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let run =
        runtime.block_on(async { if writers == 0 { project.run().await } else { deliver(&project, writers).await } });
    assert_eq!((run.status, run.tally.accepted()), (Status::Complete, u64::from(rows)), "{run:?}");

    let portal = double.portal();
    let sent: Vec<_> = portal.requests.iter().filter(|r| r.operation == "upsert").collect();
    let (first, last) = (sent.first().expect("a request").at, sent.last().expect("a request").at);
    let seconds = last.duration_since(first).as_secs_f64();
    let done = sent.iter().filter(|r| r.status < 300).count();
    let allowed = f64::from(quota) / INTERVAL.as_secs_f64();
    let used = (done as f64 - 1.0) / seconds / allowed;
    let late = portal.requests.iter().filter(|r| r.status == 429 && r.at > first + Duration::from_secs(1)).count();
    let needed = rows.div_ceil(100) as usize;
    let definitions = portal.count("properties");
    let more = portal.requests.len() as f64 / needed as f64 - 1.0;
    println!("| what | figure | goal |\n|---|---:|---|");
    println!("| contacts | {rows} in {seconds:.1} s: {:.0}/s | |", f64::from(rows) / seconds);
    println!("| quota used ({quota} requests in 10 s, 100 contacts each) | {:.1} % | at least 95 % |", used * 100.0);
    println!("| refused (429) after the first second | {late} | 0 |");
    println!(
        "| requests beyond contacts / 100 ({} for {needed}) | {:.1} % | at most 2 % |",
        portal.requests.len(),
        more * 100.0
    );
    println!("| of them for definitions, for reading back | {definitions}, {} | |", portal.count("read"));
    assert!(portal.requests.len() <= sent.len() + definitions + READ_BACK, "requests that are for nothing");
    assert!(used >= 0.95 && late == 0 && more <= 0.02, "a goal is missed");
}

/// Runs the sync as functions do: one plans, the others deliver.
async fn deliver(project: &Project, writers: u32) -> Run {
    let planner = project.engine().await.expect("the sync opens");
    let mut delivering = JoinSet::new();
    for _ in 0..writers {
        let mut context = project.engine().await.expect("the sync opens").context;
        (context.queue, context.settings.patience) = (Arc::clone(&planner.queue), PATIENCE);
        delivering.spawn(write(context));
    }
    engine::run::start(&planner, &request()).await.expect("a plan");
    delivering.join_next().await.expect("a writer").expect("a writer that ends")
}

/// One writer, until it closes the run.
async fn write(context: Context) -> Run {
    loop {
        for delivery in context.queue.receive(1, PATIENCE).await.expect("the queue") {
            match handle(&context, &delivery.message).await.expect("a batch") {
                MessageResult::RetryAfter(pause) => {
                    context.queue.delay(&delivery.receipt, pause).await.expect("the queue")
                }
                MessageResult::RunClosed(Some(run)) => return *run,
                MessageResult::Done | MessageResult::Stale | MessageResult::RunClosed(None) => {
                    context.queue.done(&delivery.receipt).await.expect("the queue")
                }
            }
        }
    }
}
