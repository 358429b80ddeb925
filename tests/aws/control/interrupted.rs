//! An apply that ends at any of its writes: what is there works, and the next apply ends what it began.

use serde_json::json;

use crate::rig::Rig;

/// Whatever has a schedule has a definition for its ticks.
async fn assert_every_tick_finds_its_sync(rig: &Rig) {
    for name in rig.schedules.names().await.unwrap() {
        assert!(rig.definitions.active(&name).await.unwrap().is_some(), "`{name}` has a schedule and no definition");
    }
}

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn an_interrupted_apply_is_ended_by_the_next() {
    let rig = Rig::start().await;
    let first = |rig: &Rig| {
        rig.sync("crm", json!({ "schedule": { "every": "1 hour" } }));
        rig.sync("gone", json!({ "schedule": { "every": "1 hour" } }));
    };
    let second = |rig: &Rig| {
        rig.sync("crm", json!({ "schedule": { "every": "2 hours" }, "mode": "append" }));
        rig.no_sync("gone");
        rig.sync("new", json!({ "schedule": { "cron": "0 9 * * *" } }));
    };
    let mut cuts = 0;
    loop {
        first(&rig);
        rig.sluice(&["apply", "--yes"]).said(0, &[]);
        second(&rig);
        rig.gate.allow(cuts);
        let cut = rig.sluice(&["apply", "--yes", "--prune"]);
        rig.gate.open();
        assert_every_tick_finds_its_sync(&rig).await;
        if cut.code == 0 {
            break;
        }
        cut.failed(1, &["AccessDenied", "next"]);
        rig.sluice(&["apply", "--yes", "--prune"]).said(0, &[]);
        assert_arrived(&rig).await;
        // Back to the beginning, for a cut one write later.
        rig.no_sync("new");
        rig.sluice(&["apply", "--yes", "--prune"]).said(0, &[]);
        cuts += 1;
    }
    assert_arrived(&rig).await;
    // A definition and a schedule each for two syncs, and the old version's end; the removal of the third.
    assert!(cuts >= 7, "the apply was cut at {cuts} writes only");
}

async fn assert_arrived(rig: &Rig) {
    let names: Vec<String> = rig.applied().await.into_iter().map(|(l, _)| l.sync).collect();
    assert_eq!(names, ["crm", "new"]);
    assert_eq!(rig.definitions.active("crm").await.unwrap().unwrap().definition.sync.mode.to_string(), "append");
    assert_eq!(rig.schedule("crm").await, Some(("rate(2 hours)".into(), true)));
    assert_eq!(rig.schedule("new").await, Some(("cron(0 9 * * ? *)".into(), true)));
    assert_eq!(rig.schedule("gone").await, None);
    rig.gate.writes();
    rig.sluice(&["apply", "--yes", "--prune"]).said(0, &["Nothing to do"]);
    assert_eq!(rig.gate.writes(), 0);
}
