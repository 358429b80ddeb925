//! `sluice pause` and `sluice resume`.

use serde_json::json;

use crate::rig::Rig;

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn a_paused_sync_stays_paused_until_it_is_resumed() {
    let rig = Rig::start().await;
    rig.sync("crm", json!({ "schedule": { "every": "1 hour" } }));
    rig.sync("by-hand", json!({}));
    rig.sluice(&["apply", "--yes"]).said(0, &[]);

    rig.sluice(&["pause", "crm"]).said(0, &["`crm` is paused", "sluice resume crm"]);
    assert_eq!(rig.schedule("crm").await, Some(("rate(1 hour)".into(), false)));
    assert!(rig.definitions.active("crm").await.unwrap().unwrap().paused);
    rig.gate.writes();
    rig.sluice(&["pause", "crm"]).said(0, &["is paused already"]);
    rig.sluice(&["apply", "--yes"]).said(0, &["(paused)", "Nothing to do"]);
    assert_eq!(rig.gate.writes(), 0);

    // Another version does not start it either.
    rig.sync("crm", json!({ "schedule": { "every": "3 hours" } }));
    rig.sluice(&["apply", "--yes"]).said(0, &["changed crm"]);
    assert_eq!(rig.schedule("crm").await, Some(("rate(3 hours)".into(), false)));
    assert!(rig.definitions.active("crm").await.unwrap().unwrap().paused);

    let since = async || rig.applied().await.into_iter().find(|(l, _)| l.sync == "crm").unwrap().0.resumed;
    assert_eq!(since().await, None);
    let resumed = rig.sluice(&["resume", "crm", "--json"]).json();
    assert!(since().await.is_some(), "from here on its runs are expected again");
    assert_eq!(resumed, json!({ "sync": "crm", "paused": false, "changed": true }));
    assert_eq!(rig.schedule("crm").await, Some(("rate(3 hours)".into(), true)));
    assert!(!rig.definitions.active("crm").await.unwrap().unwrap().paused);
    rig.sluice(&["resume", "crm"]).said(0, &["is not paused"]);

    // Without a schedule the flag alone holds back what comes as an event.
    rig.sluice(&["pause", "by-hand"]).said(0, &["is paused (manual)"]);
    assert!(rig.definitions.active("by-hand").await.unwrap().unwrap().paused);
    assert_eq!(rig.schedule("by-hand").await, None);
}

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn a_pause_that_was_cut_off_holds_and_can_be_repeated() {
    let rig = Rig::start().await;
    rig.sync("crm", json!({ "schedule": { "every": "1 hour" } }));
    rig.sluice(&["apply", "--yes"]).said(0, &[]);
    rig.gate.allow(1);
    rig.sluice(&["pause", "crm"]).failed(1, &["AccessDenied"]);
    rig.gate.open();
    assert!(
        rig.definitions.active("crm").await.unwrap().unwrap().paused,
        "the extractor refuses the ticks that still come"
    );
    rig.sluice(&["pause", "crm"]).said(0, &["`crm` is paused ("]);
    assert_eq!(rig.schedule("crm").await, Some(("rate(1 hour)".into(), false)));
}
