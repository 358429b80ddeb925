//! I2: nothing is sent before the whole plan is known and every guard has passed. A dry run writes nothing anywhere.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use domain::run::Status;
use serde_json::json;
use support::project::Project;

/// Every file below a folder with its bytes. SQLite's index of its log (`-shm`) is rebuilt by any reader and holds
/// no data; an empty log holds none either.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut out = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            out.insert(path.clone(), Vec::new());
            out.extend(files(&path));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            let name = path.to_string_lossy().into_owned();
            let holds_data = !(name.ends_with("-shm") || name.ends_with("-wal") && bytes.is_empty());
            if holds_data {
                out.insert(path, bytes);
            }
        }
    }
    out
}

#[track_caller]
fn assert_same(before: &BTreeMap<PathBuf, Vec<u8>>, after: &BTreeMap<PathBuf, Vec<u8>>) {
    let names = |m: &BTreeMap<PathBuf, Vec<u8>>| m.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(before), names(after), "files came or went");
    let changed: Vec<_> = before.iter().filter(|(path, bytes)| after[*path] != **bytes).map(|(path, _)| path).collect();
    assert!(changed.is_empty(), "files changed: {changed:?}");
}

#[test]
fn a_plan_writes_nothing_before_the_first_run() {
    for project in [Project::webhook(30), Project::table(30)] {
        project.save();
        let before = files(project.folder());
        for arguments in [
            &["plan", "crm"][..],
            &["check"],
            &["explain", "crm", "7"],
            &["runs", "crm"],
            &["dead-letters", "list", "crm"],
        ] {
            assert_eq!(project.sluice_as_saved(arguments).code, 0, "{arguments:?}");
            assert_same(&before, &files(project.folder()));
        }
        assert!(!project.path(".sluice").exists());
        assert_eq!(project.double.count(), 0);
    }
}

#[test]
fn a_plan_writes_nothing_between_runs() {
    for project in [Project::webhook(30), Project::table(30)] {
        project.sluice(&["run", "crm"]).said(0, &["complete"]);
        project.warehouse("update customers set name = 'Ada' where id = 7");
        let (before, count) = (files(project.folder()), project.double.count());
        for arguments in [
            &["plan", "crm"][..],
            &["check"],
            &["explain", "crm", "7"],
            &["runs", "crm"],
            &["dead-letters", "list", "crm"],
        ] {
            assert_eq!(project.sluice_as_saved(arguments).code, 0, "{arguments:?}");
            assert_same(&before, &files(project.folder()));
        }
        assert_eq!(project.double.count(), count);
        project.sluice(&["plan", "crm"]).said(0, &["changed", "Ada"]);
        project.sluice(&["run", "crm"]).said(0, &["complete"]);
        project.assert_arrived();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_run_sends_nothing_and_moves_nothing() {
    let mut project = Project::webhook(30);
    project.run().await;
    project.run().await;
    let (store, sent) = (project.store().await, project.double.count());
    let state = |bits| {
        let store = store.clone();
        async move { (store.buckets("crm", bits, &[0]).await.unwrap(), store.manifest("crm", bits).await.unwrap()) }
    };
    let before = state(0).await;
    project.sync()["guards"] = json!({ "max_changes": 3 });
    project.warehouse("update customers set name = 'x' where id <= 4");
    let run = project.run().await;
    assert_eq!((run.status, run.tripped.len(), run.tripped[0].guard.as_str()), (Status::Blocked, 1, "max_changes"));
    assert_eq!((project.double.count(), run.tally.requests, run.tally.unsent), (sent, 0, 0));
    assert_eq!(state(0).await, before);
    // One record that cannot be read stops nothing, and a model that ends badly sends nothing of what came before.
    project.sync()["guards"] = json!({});
    assert_eq!(project.run().await.counts.changed, 4);
    project.assert_arrived();
}
