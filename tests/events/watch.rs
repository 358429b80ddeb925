//! The watch: what it sees of syncs of all kinds, and whom it tells.

use std::time::Duration;

use aws::telemetry::Metrics;
use domain::clock::{Millis, Span};
use domain::head::{ActiveRun, Head};
use domain::run::Run;
use serde_json::{Value, json};
use support::double::Double;
use support::page::Page;

use crate::rig::{Rig, SYNC, event, now};

const HOUR: Duration = Duration::from_secs(3600);

fn hours_ago(hours: u32) -> Millis {
    Millis(now().0 - i64::try_from((HOUR * hours).as_millis()).unwrap())
}

/// A sync like that of the events, applied four hours ago.
async fn apply(rig: &Rig, name: &str, schedule: Value, alerts: Value) {
    let mut definition = rig.definition.clone();
    definition.sync.name = name.to_owned();
    definition.sync.schedule = serde_json::from_value(schedule).unwrap();
    definition.alerts = serde_json::from_value(alerts).unwrap();
    rig.extractor.definitions.put(&definition, hours_ago(4)).await.unwrap();
}

/// Two syncs that cannot be read: one whose item is damaged, and one whose definition is not there.
async fn damage(rig: &Rig) {
    let (client, table) = (rig.clients.dynamodb(), &rig.extractor.settings.common.table);
    for name in ["broken", "gone"] {
        apply(rig, name, json!("manual"), json!({})).await;
    }
    let items = client.scan().table_name(table).projection_expression("pk, sk").send().await.unwrap().items.unwrap();
    for key in items {
        match (key["pk"].as_s().unwrap().as_str(), key["sk"].as_s().unwrap().as_str()) {
            ("definitions", "broken") => drop(
                client
                    .update_item()
                    .table_name(table)
                    .set_key(Some(key))
                    .update_expression("REMOVE version")
                    .send()
                    .await
                    .unwrap(),
            ),
            ("definition#gone", _) => {
                drop(client.delete_item().table_name(table).set_key(Some(key)).send().await.unwrap())
            }
            _ => {}
        }
    }
}

async fn watch(rig: &Rig) -> Vec<Value> {
    let answer = rig.extract(event("extractor/watch.json"), "i1").await.unwrap();
    answer["watched"].as_array().unwrap_or_else(|| panic!("{answer}")).clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn every_sync_is_looked_at_and_none_hides_another() {
    let (mut rig, page) = (Rig::new(1, 262_144).await, Page::default());
    rig.extractor.metrics = Metrics::with_writer("sluicegate", page.clone());
    rig.extractor.settings.lateness = Some(HOUR);
    damage(&rig).await;
    apply(&rig, "hourly", json!({ "every": "1 hour" }), json!({})).await;
    apply(&rig, "late", json!("manual"), json!({ "freshness": "1 hour" })).await;
    apply(&rig, "paused", json!({ "every": "1 hour" }), json!({})).await;
    rig.extractor.definitions.set_paused("paused", true, now()).await.unwrap();
    apply(&rig, "resumed", json!({ "every": "1 hour" }), json!({})).await;
    for paused in [true, false] {
        rig.extractor.definitions.set_paused("resumed", paused, now()).await.unwrap();
    }
    apply(&rig, "stuck", json!("manual"), json!({})).await;
    let active = Some(ActiveRun { run: "r1".into(), since: hours_ago(2) });
    for (sync, head) in [
        ("late", Head { delivered: Some(hours_ago(2)), ..Head::default() }),
        ("stuck", Head { active, ..Head::default() }),
    ] {
        assert!(rig.store().put_head(sync, &head).await.unwrap());
    }

    let watched = watch(&rig).await;
    let names: Vec<&str> = watched.iter().map(|w| w["sync"].as_str().unwrap()).collect();
    assert_eq!(names, ["broken", SYNC, "gone", "hourly", "late", "paused", "resumed", "stuck"]);
    let of = |sync: &str| watched.iter().find(|w| w["sync"] == sync).unwrap();
    for sync in ["broken", "gone"] {
        assert!(of(sync)["seen"].is_null() && of(sync)["fault"]["code"] == "state_unusable", "{}", of(sync));
    }
    assert_eq!(
        of("hourly")["seen"]["overdue"],
        json!({ "since": null, "due": of("hourly")["seen"]["overdue"]["due"] }),
        "{}",
        of("hourly")
    );
    assert_eq!((&of("paused")["paused"], &of("paused")["seen"]["overdue"]), (&json!(true), &Value::Null));
    assert_eq!(of("stuck")["seen"]["stalled"]["run"], "r1");

    let lines = page.lines();
    let counted = |sync: &str| {
        let line = lines.iter().find(|line| line["Sync"] == sync).unwrap();
        assert_eq!(line["Destination"], "webhook");
        [&line["RunsOverdue"], &line["FreshnessMissed"], &line["RunsStalled"]].map(|flag| flag.as_f64().unwrap() > 0.0)
    };
    let expected = [
        (SYNC, [false, false, false]),
        ("hourly", [true, true, false]),
        ("late", [false, true, false]),
        ("paused", [false, false, false]),
        ("resumed", [false, false, false]),
        ("stuck", [false, false, true]),
    ];
    for (sync, flags) in expected {
        assert_eq!(counted(sync), flags, "{sync}");
    }
    let age = lines.iter().find(|line| line["Sync"] == "late").unwrap()["Freshness"].as_f64().unwrap();
    assert!((7_200.0..7_800.0).contains(&age), "{age} seconds");
    let stack = lines.last().unwrap();
    assert_eq!((&stack["Watched"], &stack["WatchFaults"], lines.len()), (&json!(6.0), &json!(2.0), 7));
    assert!(rig.runs().await.is_empty(), "it starts no run");
}

/// The newest run of a sync, as if it had been three hours ago.
async fn age(rig: &Rig, sync: &str) {
    let run = rig.store().runs(sync, 1).await.unwrap().remove(0);
    let (started, ended) = (hours_ago(3), Some(hours_ago(3)));
    rig.store().put_run(&Run { started, ended, progress: started, ..run }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn people_are_told_once_that_nothing_runs_and_once_that_it_does() {
    let (rig, people) = (Rig::new(3, 262_144).await, Double::start());
    let told = || people.requests().iter().map(|r| r.json()["title"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let to = json!([
        { "webhook": { "url": "${secret:sluicegate/none#url}" } },
        { "webhook": { "url": people.url(), "allow_private": true } },
    ]);
    let alerts = json!({ "to": to, "freshness": Span::seconds(2 * 3600) });
    apply(&rig, "hourly", json!({ "every": "1 hour" }), alerts).await;
    let run = json!({ "sync": "hourly" });
    rig.extract(run.clone(), "i1").await.unwrap();
    rig.deliver().await;
    watch(&rig).await;
    assert_eq!(told(), Vec::<String>::new(), "all is well");

    age(&rig, "hourly").await;
    let head = rig.store().head("hourly").await.unwrap();
    assert!(rig.store().put_head("hourly", &Head { delivered: Some(hours_ago(3)), ..head }).await.unwrap());
    for _ in 0..2 {
        let watched = watch(&rig).await;
        assert!(
            watched.iter().any(|w| w["sync"] == "hourly"
                && w["seen"]["overdue"].is_object()
                && w["seen"]["freshness_missed"] == true),
            "{watched:?}"
        );
        assert_eq!(told(), ["Sync hourly: stale, overdue"], "told once, although another channel has no secret");
    }
    let alert = people.requests()[0].json();
    assert_eq!((&alert["stack"], &alert["severity"]), (&json!(rig.extractor.settings.common.stack), &json!("error")));
    assert!(alert["text"].as_str().unwrap().contains("No run has started since"), "{alert}");

    rig.extract(run, "i2").await.unwrap();
    rig.deliver().await;
    watch(&rig).await;
    assert_eq!(told(), ["Sync hourly: stale, overdue", "Sync hourly: no longer stale, overdue"]);
}
