//! `sluice apply` and `sluice delete`: what the stack has afterwards, and what a person reads.

use serde_json::json;

use crate::rig::Rig;

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn a_stack_gets_what_the_project_has() {
    let rig = Rig::start().await;
    rig.sync("crm", json!({ "schedule": { "every": "15 minutes" } }));
    rig.sync(
        "nightly",
        json!({ "schedule": { "cron": "30 6 * * 1-5", "timezone": "Europe/London", "flexible": "10 minutes" } }),
    );
    rig.sync("by-hand", json!({}));
    rig.sync("after-dbt", json!({ "schedule": { "on": { "source": "dbt", "detail_type": "run finished" } } }));
    rig.sluice(&["apply", "--yes"])
        .said(0, &["create", "created crm", "created nightly", "every 15m", "on an event of dbt"]);

    let applied = rig.applied().await;
    assert_eq!(
        applied.iter().map(|(l, _)| l.sync.as_str()).collect::<Vec<_>>(),
        ["after-dbt", "by-hand", "crm", "nightly"]
    );
    let kept = |name: &str| applied.iter().find(|(l, _)| l.sync == name).unwrap().1.clone();
    assert!(kept("by-hand").is_none() && kept("after-dbt").is_none());
    let crm = kept("crm").unwrap();
    assert_eq!(
        (crm.timed.expression.as_str(), crm.timed.window_minutes, crm.enabled),
        ("rate(15 minutes)", None, true)
    );
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&crm.target.input).unwrap(),
        json!({ "sync": "crm", "tick": "<aws.scheduler.execution-id>" })
    );
    assert!(
        crm.target.function.contains(":function:")
            && crm.target.role.contains(":role/")
            && crm.target.dead_letters.contains(":sqs:")
    );
    let nightly = kept("nightly").unwrap().timed;
    assert_eq!(
        (nightly.expression.as_str(), nightly.timezone.as_str(), nightly.window_minutes),
        ("cron(30 6 ? * 2-6 *)", "Europe/London", Some(10))
    );

    // What a function starts with is what the project says, secrets still as references.
    let active = rig.definitions.active("crm").await.unwrap().unwrap();
    assert_eq!((active.definition.sync.name.as_str(), active.paused), ("crm", false));
    assert_eq!(active.definition.warehouse.config["password"], "${secret:warehouse#password}");
    assert!(rig.definitions.active("nobody").await.unwrap().is_none());
}

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn a_second_apply_writes_nothing() {
    let rig = Rig::start().await;
    rig.sync("crm", json!({ "schedule": { "every": "1 hour" } }));
    rig.sync("by-hand", json!({}));
    rig.sluice(&["apply", "--yes"]).said(0, &["created crm"]);
    assert!(rig.gate.writes() > 0);
    let before = rig.applied().await;
    rig.sluice(&["apply"]).said(0, &["unchanged", "Nothing to do"]);
    let said = rig.sluice(&["apply", "--yes", "--json"]).json();
    assert_eq!(said["applied"], false);
    assert_eq!(said["changes"].as_array().unwrap().iter().filter(|c| c["action"] == "unchanged").count(), 2, "{said}");
    assert_eq!(rig.gate.writes(), 0);
    assert_eq!(rig.applied().await, before);
}

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn every_part_that_changes_is_named_and_the_old_version_is_kept() {
    let rig = Rig::start().await;
    rig.sync("crm", json!({ "schedule": { "every": "1 hour" } }));
    rig.sync("other", json!({ "schedule": { "every": "1 hour" } }));
    rig.sluice(&["apply", "--yes"]).said(0, &[]);
    let old = rig.applied().await[0].0.version.clone();

    rig.sync("crm", json!({ "schedule": { "every": "2 hours" }, "mode": "append", "rollout": { "percent": 10.0 } }));
    let asked = rig.sluice(&["apply"]);
    asked.said(2, &["mode, schedule, rollout", "every 2h", "unchanged"]).failed(2, &["Add --yes"]);
    assert_eq!(
        rig.schedule("crm").await,
        Some(("rate(1 hour)".into(), true)),
        "nothing is applied before someone says so"
    );
    let applied = rig.sluice(&["apply", "--yes", "--json"]).json();
    assert_eq!(applied["changes"][0]["parts"], json!(["mode", "schedule", "rollout"]));
    assert_eq!((&applied["applied"], &applied["changes"][1]["action"]), (&json!(true), &json!("unchanged")));
    assert_eq!(rig.schedule("crm").await, Some(("rate(2 hours)".into(), true)));

    // A run that began before goes on with the version it began with.
    let new = rig.applied().await[0].0.version.clone();
    assert_ne!(new, old);
    assert_eq!(rig.definitions.get("crm", &old).await.unwrap().unwrap().sync.mode.to_string(), "upsert");

    // Connections are not part of the version, and nevertheless arrive.
    rig.connections("db2.example.com");
    rig.sluice(&["apply", "--yes", "crm"]).said(0, &["warehouse connection", "changed crm"]);
    let active = rig.definitions.active("crm").await.unwrap().unwrap().definition;
    assert_eq!((active.warehouse.config["host"].as_str(), active.sync.version()), (Some("db2.example.com"), new));
    let other = rig.definitions.active("other").await.unwrap().unwrap().definition;
    assert_eq!(other.warehouse.config["host"], "db.example.com", "only the sync that was named is applied");

    // Back to what it was: the version that was about to go stays.
    rig.sync("crm", json!({ "schedule": { "every": "1 hour" } }));
    rig.sluice(&["apply", "--yes"]).said(0, &["changed crm"]);
    assert_eq!(rig.applied().await[0].0.version, old);

    // To no schedule at all.
    rig.sync("crm", json!({}));
    rig.sluice(&["apply", "--yes"]).said(0, &["schedule", "manual"]);
    assert_eq!(rig.schedule("crm").await, None);
}

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn what_the_project_no_longer_has_goes_only_when_asked() {
    let rig = Rig::start().await;
    rig.sync("crm", json!({ "schedule": { "every": "1 hour" } }));
    rig.sync("gone", json!({ "schedule": { "every": "1 hour" } }));
    rig.sluice(&["apply", "--yes"]).said(0, &[]);
    rig.no_sync("gone");
    rig.gate.writes();
    rig.sluice(&["apply", "--yes"]).said(0, &["not in the project (--prune removes it)", "Nothing to do"]);
    assert_eq!(rig.gate.writes(), 0);
    rig.sluice(&["apply", "--yes", "--prune"]).said(0, &["removed gone"]);
    assert_eq!(rig.applied().await.len(), 1);
    assert_eq!(rig.schedule("gone").await, None);
}

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn one_file_that_is_not_valid_stops_the_whole_apply() {
    let rig = Rig::start().await;
    rig.sync("good", json!({ "schedule": { "every": "1 hour" } }));
    for (more, parts) in [
        (json!({ "mapping": [] }), vec!["`bad` is not valid", "no field is mapped"]),
        (json!({ "schedule": { "every": "30 seconds" } }), vec!["`bad`", "whole minutes", "5 minutes"]),
        (json!({ "schedule": { "cron": "0 9 1 * 1" } }), vec!["`bad`", "cron means either", "leave one of the two"]),
        (json!({ "schedule": { "cron": "0 9 * * *", "timezone": "Mars/Base" } }), vec!["is not a time zone"]),
        (json!({ "destination": { "connection": "hok" } }), vec!["names the connection `hok`", "did you mean `hook`?"]),
        (
            json!({ "destination": { "connection": "other" } }),
            vec!["has no queue and no writer", "add `other` to the destinations"],
        ),
        (
            json!({ "destination": { "connection": "file", "object": "customers" } }),
            vec!["`file` is an SQLite file", "cannot reach", "sluice run"],
        ),
        (
            json!({ "destination": { "connection": "crm", "object": "contacts", "options": { "asociations": [] } } }),
            vec!["destination.options", "asociations"],
        ),
        (json!({ "mode": "upsrt" }), vec!["bad.yaml", "did you mean `upsert`?"]),
        (
            json!({ "mapping": [{ "from": "id", "to": "id", "identifier": true }], "mode": "update" }),
            vec!["`bad` has mode update"],
        ),
    ] {
        rig.sync("bad", more);
        rig.sluice(&["apply", "--yes"]).failed(1, &parts);
    }
    rig.no_sync("bad");
    assert_eq!((rig.gate.writes(), rig.applied().await.len()), (0, 0));
    rig.sluice(&["apply", "--yes", "god"]).failed(1, &["There is no sync `god`", "did you mean `good`?"]);
    rig.sluice(&["apply", "--yes", "good"]).said(0, &["created good"]);
}

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn a_deleted_sync_leaves_its_versions_to_runs_that_are_going_on() {
    let rig = Rig::start().await;
    rig.sync("crm", json!({ "schedule": { "every": "1 hour" } }));
    rig.sluice(&["apply", "--yes"]).said(0, &[]);
    let version = rig.applied().await[0].0.version.clone();
    rig.sluice(&["delete", "crm"]).said(0, &["is gone from the stack", "goes on from there"]);
    assert_eq!((rig.applied().await.len(), rig.schedule("crm").await), (0, None));
    assert!(rig.definitions.get("crm", &version).await.unwrap().is_some());
    rig.sluice(&["delete", "crm"]).failed(1, &["No sync `crm` is applied"]);
    rig.sluice(&["delete", "crm", "--state"]).failed(2, &["Add --yes"]);
}
