//! Commands that ask the extractor, and names that nothing has.

use serde_json::json;

use crate::rig::Rig;

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn the_extractor_is_asked_and_its_report_shown() {
    let plan = json!({
        "sync": "crm", "plan_hash": "abc123", "full": true,
        "counts": { "rows": 3, "added": 2, "changed": 1, "removed": 0, "unchanged": 0, "held": 0, "invalid": 0, "outside_rollout": 0, "respelt": 0, "undeletable": 0, "deletes_held": 0 },
        "requests": 1, "known": 1, "tripped": [{ "guard": "max_change_percent", "why": "100 percent" }], "invalid": [],
        "samples": [{ "change": "added", "key": "7", "fields": [{ "field": "email", "there": "", "here": "a@h.test" }], "compared": false }], "findings": [],
    });
    let finding = json!({ "severity": "warning", "about": "mapping", "what": "is wide", "fix": "narrow it" });
    let check = json!({ "sync": "crm", "ok": true, "findings": [finding] });
    let rig = Rig::with_reports(json!({ "plan": plan, "check": check })).await;
    rig.sync("crm", json!({}));
    rig.sluice(&["apply", "--yes"]).said(0, &[]);
    let command = format!("sluice trigger crm --stack {} --approve abc123", rig.name);
    rig.sluice(&["plan", "crm"]).said(4, &["max_change_percent", "email: a@h.test", &command]);
    assert_eq!(rig.sluice(&["plan", "crm", "--json"]).json(), plan);
    rig.sluice(&["check"]).said(0, &["✓ crm (on the stack control-", "is wide"]);
    assert_eq!(rig.sluice(&["check", "crm", "--json"]).json(), json!([check]));
    // The function's fault is the command's, and tells here what it was called with.
    rig.sluice(&["explain", "crm", "7,EU"])
        .failed(1, &[r#"called with {"explain": "7,EU", "sync": "crm"}"#, "model_failed"]);
    rig.sluice(&["trigger", "crm", "--full", "--approve", "abc123"])
        .said(0, &["A run of `crm` was asked for", "sluice runs crm --stack"]);
}

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn the_words_of_an_event_are_those_of_the_extractor() {
    let rig = Rig::start().await;
    rig.sync("crm", json!({}));
    rig.sluice(&["apply", "--yes"]).said(0, &[]);
    rig.sluice(&["plan", "crm", "--full"])
        .failed(1, &[r#"called with {"dry_run": true, "full": true, "sync": "crm"}"#]);
    rig.sluice(&["check", "crm"]).said(1, &["✗ crm", r#"{"check": true, "sync": "crm"}"#]);
}

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn names_that_nothing_has_are_answered_with_the_nearest() {
    let rig = Rig::start().await;
    rig.sluice(&["pause", "crm"]).failed(1, &["No sync `crm` is applied", "apply the project first"]);
    rig.sync("crm-contacts", json!({}));
    rig.sluice(&["apply", "--yes"]).said(0, &[]);
    for command in [
        vec!["pause", "crm-contact"],
        vec!["resume", "crm-contact"],
        vec!["trigger", "crm-contact"],
        vec!["plan", "crm-contact"],
        vec!["delete", "crm-contact"],
    ] {
        rig.sluice(&command).failed(1, &["No sync `crm-contact` is applied", "did you mean `crm-contacts`?"]);
    }
    rig.sluice(&["explain", "zzz", "1"]).failed(1, &["the stack has crm-contacts"]);

    let typo = rig.name.replacen("control", "contrl", 1);
    let near = format!("did you mean `{}", &rig.name[..12]);
    rig.sluice_on(Some(&typo), &["apply"]).failed(1, &["There is no stack", &typo, "of region eu-west-1", &near]);
    rig.sluice_on(Some("q"), &["runs", "crm-contacts"])
        .failed(1, &["There is no stack `q`", "check AWS_REGION and AWS_PROFILE"]);
    rig.sluice_on(None, &["apply"]).failed(2, &["add --stack NAME"]);
    rig.sluice(&["run", "crm-contacts"]).failed(2, &["sluice trigger crm-contacts --stack"]);
    rig.sluice(&["schema"]).failed(2, &["leave --stack out"]);
}
