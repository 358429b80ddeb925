//! The state's file where it should not be as it is, and names that would lead out of its folder.

use serde_json::json;
use support::project::Project;

#[test]
fn a_state_that_is_gone_or_empty_is_no_first_run() {
    for (what, lose) in [
        ("is gone", (|file| std::fs::remove_file(file)) as fn(&std::path::Path) -> std::io::Result<()>),
        ("is empty", |file| std::fs::write(file, "")),
    ] {
        let project = Project::webhook(5);
        project.sluice(&["run", "crm"]).said(0, &["complete"]);
        let (file, made) = (project.path(".sluice/state.db"), project.path(".sluice/state.made"));
        lose(&file).unwrap();
        for command in [&["run", "crm"][..], &["plan", "crm"], &["runs", "crm"]] {
            project.sluice(command).failed(1, &["[state_unusable]", what, "Restore it from a backup", "state.made"]);
        }
        assert_eq!(project.double.count(), 1, "{what}: nothing is sent again");
        // The advice works.
        std::fs::remove_file(made).unwrap();
        project.sluice(&["run", "crm"]).said(0, &["complete"]);
        assert_eq!(project.double.count(), 2);
    }
}

#[test]
fn a_name_is_looked_at_before_it_becomes_a_path() {
    for name in ["../../../victim", "a/b", "", "..", &"x".repeat(300), "a b", "ä"] {
        let mut project = Project::webhook(1);
        project.save();
        let victim = project.folder().parent().unwrap().join("victim.lock");
        let before = std::fs::read(&victim).ok();
        project.sync()["name"] = json!(name);
        let file = project.sync().to_string();
        project.write("syncs/crm.yaml", &file);
        for command in ["run", "plan", "runs"] {
            project.sluice_as_saved(&[command, name]).failed(1, &["is not a name", "1 to 64 letters"]);
        }
        assert_eq!(std::fs::read(&victim).ok(), before, "{name}");
        assert!(!project.path(".sluice").exists(), "{name}: nothing was made");
    }
}
