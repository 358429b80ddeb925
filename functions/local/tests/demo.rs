//! The demo, as a person runs it: by the binary, and then with commands on the project it kept.

#![allow(clippy::unwrap_used, reason = "all of this is test code, helpers outside of test functions included")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

fn sluice(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sluice")).args(arguments).output().unwrap()
}

fn on(project: &Path, arguments: &[&str]) -> Output {
    sluice(&[&["--json", "--project", project.to_str().unwrap()], arguments].concat())
}

fn lines(output: &Output) -> Vec<Value> {
    String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The numbers of a run that the table shows.
fn numbers(run: &Value) -> Value {
    let (counts, tally) = (&run["counts"], &run["tally"]);
    let accepted: u64 =
        ["created", "updated", "deleted", "accepted_unknown"].iter().map(|name| tally[name].as_u64().unwrap()).sum();
    json!({
        "sync": run["sync"], "status": run["status"], "added": counts["added"], "changed": counts["changed"], "removed": counts["removed"],
        "unchanged": counts["unchanged"], "held": counts["held"], "invalid": counts["invalid"], "accepted": accepted, "rejected": tally["rejected"],
    })
}

fn row(sync: &str, status: &str, n: [u64; 8]) -> Value {
    json!({
        "sync": sync, "status": status, "added": n[0], "changed": n[1], "removed": n[2], "unchanged": n[3], "held": n[4], "invalid": n[5],
        "accepted": n[6], "rejected": n[7],
    })
}

#[test]
fn the_demo_shows_what_it_says_and_its_project_can_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("kept");
    let demo = sluice(&["demo", "--json", "--keep", project.to_str().unwrap()]);
    assert!(
        demo.status.success(),
        "{}{}",
        String::from_utf8_lossy(&demo.stdout),
        String::from_utf8_lossy(&demo.stderr)
    );
    let steps = lines(&demo);
    let names: Vec<_> = steps.iter().map(|s| s["step"].as_str().unwrap()).collect();
    assert_eq!(names, ["project", "first_run", "second_run", "guard", "next"]);
    assert_eq!(steps[0]["rows"], 10_000);

    let (crm, product) = ("crm-contacts", "product-customers");
    for (step, crm_row, product_row, endpoint_records, product_rows) in [
        (
            1,
            row(crm, "partial", [9_991, 0, 0, 0, 0, 9, 9_984, 7]),
            row(product, "partial", [9_991, 0, 0, 0, 0, 9, 9_991, 0]),
            9_984,
            9_991,
        ),
        (
            2,
            row(crm, "partial", [0, 200, 0, 9_764, 7, 8, 200, 0]),
            row(product, "partial", [0, 200, 20, 9_771, 0, 8, 220, 0]),
            9_984,
            9_971,
        ),
        (3, row(crm, "blocked", [0; 8]), row(product, "blocked", [0, 0, 9_971, 0, 0, 0, 0, 0]), 9_984, 9_971),
    ] {
        let step = &steps[step];
        assert_eq!(numbers(&step["runs"][0]), crm_row, "{}", step["step"]);
        assert_eq!(numbers(&step["runs"][1]), product_row, "{}", step["step"]);
        assert_eq!(
            (&step["endpoint_records"], &step["product_rows"]),
            (&json!(endpoint_records), &json!(product_rows)),
            "{}",
            step["step"]
        );
    }
    // A request carries 100 records, and what changed fits into a few of them.
    assert_eq!(steps[1]["runs"][0]["tally"]["requests"], 100);
    assert!(steps[2]["runs"][0]["tally"]["requests"].as_u64().unwrap() < 5);
    let guards: Vec<_> =
        steps[3]["runs"][1]["tripped"].as_array().unwrap().iter().map(|t| t["guard"].as_str().unwrap()).collect();
    assert_eq!(guards, ["min_rows", "max_delete_percent"]);

    let again = on(&project, &["run", product]);
    assert_eq!(again.status.code(), Some(4), "{}", String::from_utf8_lossy(&again.stdout));
    let letters = lines(&on(&project, &["dead-letters", "list", crm]));
    let mut keys: Vec<u64> =
        letters[0].as_array().unwrap().iter().map(|l| l["key"].as_str().unwrap().parse().unwrap()).collect();
    keys.sort_unstable();
    assert_eq!(keys, [613, 1_024, 2_718, 3_142, 5_772, 7_777, 9_241]);
    assert!(letters[0].as_array().unwrap().iter().all(|l| l["code"] == "blocked_domain"));

    let refused = sluice(&["demo", "--keep", project.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is not empty"));
}

#[test]
fn what_the_demo_says_to_try_works() {
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("kept here");
    let demo = sluice(&["demo", "--json", "--keep", project.to_str().unwrap()]);
    let steps = lines(&demo);
    let commands: Vec<&str> =
        steps.last().unwrap()["commands"].as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect();
    assert!(commands.iter().all(|c| c.contains(&format!("'{}", project.display()))), "{commands:?}");

    assert_eq!(lines(&on(&project, &["runs", "crm-contacts"]))[0].as_array().unwrap().len(), 3);
    let planned = on(&project, &["plan", "product-customers"]);
    assert_eq!(planned.status.code(), Some(4));
    let hash = lines(&planned)[0]["plan_hash"].as_str().unwrap().to_owned();
    assert!(commands.iter().any(|c| c.ends_with(&format!("run product-customers --approve {hash}"))), "{commands:?}");
    let deleted = on(&project, &["run", "product-customers", "--approve", &hash]);
    assert_eq!(lines(&deleted)[0]["tally"]["deleted"], 9_971, "{}", String::from_utf8_lossy(&deleted.stdout));

    let warehouse = rusqlite::Connection::open(project.join("warehouse.db")).unwrap();
    let restore = "insert into customers select * from customers_before";
    assert!(commands.iter().any(|c| c.ends_with(&format!("'{restore}'"))), "{commands:?}");
    warehouse.execute(restore, []).unwrap();
    let restored = lines(&on(&project, &["run", "product-customers"]));
    assert_eq!(restored[0]["tally"]["created"], 9_971);
    let explained = lines(&on(&project, &["explain", "crm-contacts", "613"]));
    assert_eq!(explained[0]["failure"]["code"], "blocked_domain");
    assert!(explained[0]["verdict"].as_str().unwrap().contains("held until"), "{explained:?}");
}

/// The demo of a service, with what each step and the connection say.
fn demo_of(service: &str) -> (Vec<Value>, String) {
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("kept");
    let demo = sluice(&["demo", "--json", "--destination", service, "--keep", project.to_str().unwrap()]);
    assert!(
        demo.status.success(),
        "{}{}",
        String::from_utf8_lossy(&demo.stdout),
        String::from_utf8_lossy(&demo.stderr)
    );
    let steps = lines(&demo);
    assert_eq!(
        steps.iter().map(|s| s["step"].as_str().unwrap()).collect::<Vec<_>>(),
        ["project", "first_run", "second_run", "next"]
    );
    let crm = "crm-contacts";
    for (step, wanted, records) in [
        (1, row(crm, "partial", [9_991, 0, 0, 0, 0, 9, 9_991, 0]), 9_991),
        (2, row(crm, "partial", [0, 200, 20, 9_771, 0, 8, 220, 0]), 9_971),
    ] {
        assert_eq!((numbers(&steps[step]["runs"][0]), &steps[step]["records"]), (wanted, &json!(records)));
        let read_back = &steps[step]["runs"][0]["tally"]["read_back"];
        assert!(
            read_back["checked"].as_u64().unwrap() > 0 && read_back["checked"] == read_back["landed"],
            "{read_back}"
        );
    }
    (steps, std::fs::read_to_string(project.join("connections.yaml")).unwrap())
}

#[test]
fn the_demo_of_hubspot_shows_what_its_double_holds() {
    let (steps, connections) = demo_of("hubspot");
    // 100 contacts to a request, the definitions of the properties, and at most ten that are read back.
    assert!(steps[1]["requests"].as_u64().unwrap() <= 112, "{}", steps[1]["requests"]);
    assert!(connections.contains("${env:HUBSPOT_TOKEN}") && !connections.contains("planted"), "{connections}");
}

#[test]
fn the_demo_of_salesforce_shows_what_its_double_holds() {
    let (steps, connections) = demo_of("salesforce");
    // Two jobs, of 5,000 contacts and of the rest, each asked for until it is done; then changes by collections.
    assert!(steps[1]["requests"].as_u64().unwrap() <= 40, "{}", steps[1]["requests"]);
    assert!(
        steps[2]["requests"].as_u64().unwrap() - steps[1]["requests"].as_u64().unwrap() <= 20,
        "{}",
        steps[2]["requests"]
    );
    assert!(connections.contains("${env:SALESFORCE_SECRET}") && !connections.contains("planted"), "{connections}");
}

/// Whatever warehouse the customers are read from, the same of them arrive.
#[test]
fn the_demo_reads_from_every_warehouse_that_it_plays() {
    for warehouse in ["snowflake", "bigquery", "databricks", "redshift", "athena"] {
        let demo = sluice(&["demo", "--json", "--warehouse", warehouse]);
        assert!(demo.status.success(), "{warehouse}: {}", String::from_utf8_lossy(&demo.stderr));
        let steps = lines(&demo);
        for (step, counts) in [(1, [9_991, 0, 0, 0, 0, 9, 9_991, 0]), (2, [0, 200, 20, 9_771, 0, 8, 220, 0])] {
            assert_eq!(numbers(&steps[step]["runs"][0]), row("crm-contacts", "partial", counts), "{warehouse}");
        }
    }
}
