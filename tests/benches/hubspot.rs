//! A first run to HubSpot's double, which answers at once and keeps the vendor's quota: how much of it is used, whether
//! anything is refused, and how many requests are too many. Prints its figures and fails when a goal is missed.
//!
//! `cargo bench -p house --bench hubspot -- [--rows N] [--quota N]`: N requests in 10 seconds, 190 by default.

#![allow(clippy::expect_used, clippy::print_stdout, missing_docs, reason = "a bench that cannot measure ends, and prints its figures")]

use std::time::Duration;

use domain::run::Status;
use doubles::hubspot::HubSpot;
use doubles::hubspot::gate::{Quota, TOKEN};
use doubles::hubspot::property::{Kind, Property};
use serde_json::json;
use support::project::Project;

const INTERVAL: Duration = Duration::from_secs(10);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str, default: u32| {
        let value = arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1));
        value.map_or(default, |n| n.parse().expect("a number"))
    };
    let (rows, quota) = (number("--rows", 60_000), number("--quota", 190));
    let double = HubSpot::start().expect("a free port");
    {
        let mut portal = double.portal();
        portal.gate.quota = Quota::new(quota as usize, INTERVAL);
        portal.define("contacts", Property::new("crm_id", Kind::Text).unique());
        portal.define("contacts", Property::new("score", Kind::Number));
    }
    let mut project = Project::webhook(rows);
    project.connections["there"] = json!({ "type": "hubspot", "token": "${env:HUBSPOT_TOKEN}", "url": double.url(), "allow_private": true });
    project.secrets.insert("HUBSPOT_TOKEN".into(), TOKEN.into());
    project.sync()["destination"] = json!({ "connection": "there", "object": "contacts" });
    let line = |from: &str, to: &str| json!({ "from": from, "to": to });
    project.sync()["mapping"] =
        json!([{ "from": "id", "to": "crm_id", "identifier": true }, line("email", "email"), line("name", "firstname"), line("n", "score")]);
    let run = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime").block_on(project.run());
    assert_eq!((run.status, run.tally.accepted()), (Status::Complete, u64::from(rows)), "{run:?}");

    let portal = double.portal();
    let sent: Vec<_> = portal.requests.iter().filter(|r| r.operation == "upsert").collect();
    let (first, last) = (sent.first().expect("a request").at, sent.last().expect("a request").at);
    let seconds = last.duration_since(first).as_secs_f64();
    let done = sent.iter().filter(|r| r.status < 300).count();
    let allowed = f64::from(quota) / INTERVAL.as_secs_f64();
    let used = (done as f64 - 1.0) / seconds / allowed;
    let late = sent.iter().filter(|r| r.status == 429 && r.at.duration_since(first) > Duration::from_secs(1)).count();
    let needed = rows.div_ceil(100) as usize;
    let more = portal.requests.len() as f64 / needed as f64 - 1.0;
    println!("| what | figure | goal |\n|---|---:|---|");
    println!("| contacts | {rows} in {seconds:.1} s: {:.0}/s | |", f64::from(rows) / seconds);
    println!("| quota used ({quota} requests in 10 s, 100 contacts each) | {:.1} % | at least 95 % |", used * 100.0);
    println!("| refused (429) after the first second | {late} | 0 |");
    println!("| requests beyond contacts / 100 ({} for {needed}) | {:.1} % | at most 2 % |", portal.requests.len(), more * 100.0);
    assert!(used >= 0.95 && late == 0 && more <= 0.02, "a goal is missed");
}
