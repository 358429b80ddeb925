//! Stopping a run, with Ctrl-C and with the system's wish to end.
#![cfg(unix)]

use std::process::{Child, Command};
use std::time::Duration;

use serde_json::json;
use support::binary::Said;
use support::project::Project;

fn signal(process: &Child, name: &str) {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(process.id().to_string()).status().unwrap();
    assert!(sent.success());
}

#[test]
fn a_signal_ends_a_run_cleanly_and_the_next_completes() {
    for name in ["INT", "TERM"] {
        let mut project = Project::webhook(300);
        project.connections["there"]["concurrency"] = json!(1);
        project.double.delay(Duration::from_millis(100));
        let running = project.start(&["run", "crm"]);
        while project.double.count() < 3 {
            std::thread::sleep(Duration::from_millis(5));
        }
        signal(&running, name);
        let said = Said::of(running);
        said.failed(1, &["[interrupted]", "stopped", "planned again"]).said(1, &["incomplete", "were not delivered"]);
        let taken = project.there().len();
        assert!((20..300).contains(&taken), "{taken}");
        project.double.recover();
        project.sluice(&["run", "crm"]).said(0, &["complete"]);
        project.assert_arrived();
        assert_eq!(project.double.duplicates(), 0, "a clean end loses nothing and repeats nothing");
    }
}

/// 24 MB of records: more than the queue holds, so the extractor waits for writers when the signal comes.
#[test]
fn a_signal_ends_a_run_whose_queue_is_full() {
    let mut project = Project::webhook(120);
    project.warehouse("update customers set name = hex(zeroblob(100000))");
    project.connections["there"]["concurrency"] = json!(1);
    project.double.delay(Duration::from_millis(200));
    let running = project.start(&["run", "crm"]);
    while project.double.count() < 3 {
        std::thread::sleep(Duration::from_millis(5));
    }
    signal(&running, "INT");
    Said::of(running).failed(1, &["[interrupted]"]).said(1, &["incomplete", "were not delivered"]);
    project.double.recover();
    project.sluice(&["run", "crm"]).said(0, &["complete"]);
    project.assert_arrived();
}

/// The system kills a process some time after it has asked it to end: a destination that does not answer is not waited
/// for.
#[test]
fn a_destination_that_does_not_answer_does_not_hold_the_end() {
    let mut project = Project::webhook(20);
    project.connections["there"]["timeout"] = json!("10m");
    project.double.answer(support::double::Behaviour::Hang(Duration::from_secs(600)));
    let running = project.start(&["run", "crm"]);
    while project.double.count() == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    signal(&running, "TERM");
    // Were it waited for, this would last as long as the request may: ten minutes.
    assert_eq!(Said::of(running).code, 1);
    project.double.recover();
    project.sluice(&["run", "crm"]).said(0, &["complete"]);
    project.assert_arrived();
}
