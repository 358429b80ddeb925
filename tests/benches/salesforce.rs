//! A first run into a Salesforce org in memory: how many requests it takes, and whether one was refused.
//!
//! `tests/run --bench salesforce [--rows N]`. Salesforce has no requests a second; what it has is a day, so what counts
//! is that no request is wasted: at most 2 percent more than records divided by batch size, and for a job the seven
//! that the Bulk API asks for (create, upload, a look and the start, two more looks, the rows that went well).

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a bench that cannot measure ends, and prints its figures"
)]

use std::time::Instant;

use doubles::salesforce::{ObjectField, Org, SObject, SalesforceDouble};
use serde_json::json;
use support::project::Project;

/// The variable that holds the secret of the org in memory.
const SECRET: &str = "SLUICEGATE_BENCH_SECRET";

/// Requests of a job that the double is done with at the third look.
const OF_A_JOB: u64 = 7;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let rows = arguments
        .iter()
        .position(|a| a == "--rows")
        .and_then(|at| arguments.get(at + 1))
        .map_or(20_000, |n| n.parse().expect("--rows takes a number"));
    println!("| what | records | seconds | records/s | data requests | least possible | refused |");
    println!("|---|---:|---:|---:|---:|---:|---:|");
    // Built before anything is timed.
    support::binary::sluice();
    measure("collections", rows, 10 * u64::from(rows), "upsert", u64::from(rows.div_ceil(200)));
    measure("jobs", rows, 2_000, "job", u64::from(rows.div_ceil(5_000)) * OF_A_JOB);
}

fn measure(what: &str, rows: u32, jobs_above: u64, kind: &str, least: u64) {
    let fields = vec![
        ObjectField::number("Ext__c", 18, 0).external(),
        ObjectField::text("LastName", 80).required(),
        ObjectField::email("Email"),
    ];
    let mut org = Org::new(vec![SObject::new("Contact", "003", fields)]);
    org.most_requests = 1_000_000;
    let double = SalesforceDouble::start(org).expect("a free port");
    let mut project = Project::webhook(rows);
    let auth =
        json!({ "client_credentials": { "client_id": "client", "client_secret": format!("${{env:{SECRET}}}") } });
    project.connections["there"] = json!({ "type": "salesforce", "domain": double.url(), "allow_private": true, "auth": auth, "jobs_above": jobs_above, "job_poll": "10ms" });
    project.sync()["destination"] = json!({ "connection": "there", "object": "Contact" });
    project.sync()["mapping"] = json!([{ "from": "id", "to": "Ext__c", "identifier": true }, { "from": "name", "to": "LastName" }, { "from": "email", "to": "Email" }]);
    let begun = Instant::now();
    let run = project
        .command(&["run", support::project::SYNC])
        .env(SECRET, "planted-secret")
        .output()
        .expect("the command runs");
    let seconds = begun.elapsed().as_secs_f64();
    assert!(run.status.success(), "{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    let org = double.org();
    let sent = org.count(kind);
    println!(
        "| {what} | {rows} | {seconds:.2} | {:.0} | {sent} | {least} | {} |",
        f64::from(rows) / seconds,
        org.refused_requests
    );
    assert_eq!(org.refused_requests, 0);
    assert!(sent * 100 <= least * 102, "{sent} requests, at least {least} are needed");
}
