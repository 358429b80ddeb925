//! Mistakes in the files of a project.

use serde_json::json;
use support::project::Project;

/// Says what is wrong, sends nothing; corrected, it runs.
#[track_caller]
fn refused_then_good(project: &Project, parts: &[&str]) {
    let mut parts = parts.to_vec();
    parts.push(" next: ");
    project.sluice_as_saved(&["run", "crm"]).failed(1, &parts);
    assert_eq!(project.double.count(), 0, "nothing is sent");
    project.sluice(&["run", "crm"]).said(0, &["complete"]);
    project.assert_arrived();
}

fn broken(before: &str, after: &str) -> Project {
    let project = Project::webhook(3);
    let text = std::fs::read_to_string(project.path("syncs/crm.yaml")).unwrap();
    assert!(text.contains(before), "{text}");
    project.write("syncs/crm.yaml", &text.replace(before, after));
    project
}

#[test]
fn yaml_that_cannot_be_read() {
    let project = Project::webhook(3);
    project.write("syncs/crm.yaml", "name: crm\nmodel: { warehouse: here\nmode: upsert\n");
    refused_then_good(&project, &["[sync_invalid]", "crm.yaml is not valid", "line "]);
    project.write("connections.yaml", "here: [\n");
    project
        .sluice_as_saved(&["run", "crm"])
        .failed(1, &["[connection_invalid]", "connections.yaml is not valid", "sluice check"]);
    project.sluice(&["run", "crm"]).said(0, &["complete"]);
}

#[test]
fn an_unknown_key() {
    let project = broken("\"mapping\"", "\"maping\"");
    refused_then_good(&project, &["[sync_invalid]", "unknown field `maping`", "did you mean `mapping`?"]);
}

#[test]
fn a_value_of_the_wrong_type() {
    let project = broken("\"key\":[\"id\"]", "\"key\":\"id\"");
    refused_then_good(&project, &["[sync_invalid]", "crm.yaml", "line "]);
}

#[test]
fn an_unknown_mode() {
    let project = broken("\"upsert\"", "\"upsrt\"");
    refused_then_good(&project, &["[sync_invalid]", "`upsrt`", "did you mean `upsert`?"]);
}

#[test]
fn a_missing_part() {
    let project = broken("\"mode\":\"upsert\",", "");
    refused_then_good(&project, &["[sync_invalid]", "missing field `mode`"]);
}

#[test]
fn an_unknown_connection() {
    let project = broken("\"connection\":\"there\"", "\"connection\":\"their\"");
    refused_then_good(
        &project,
        &["[connection_invalid]", "destination.connection of sync `crm`", "`their`", "did you mean `there`?"],
    );
    let project = broken("\"warehouse\":\"here\"", "\"warehouse\":\"snowflake-prod\"");
    refused_then_good(
        &project,
        &["[connection_invalid]", "model.warehouse of sync `crm`", "connections.yaml has here, there"],
    );
}

#[test]
fn a_connection_of_an_unknown_kind() {
    let project = Project::webhook(3);
    let mut connections = project.connections.clone();
    connections["there"]["type"] = json!("webhok");
    project.write("connections.yaml", &connections.to_string());
    refused_then_good(&project, &["[connection_invalid]", "type `webhok`", "did you mean `type: webhook`?"]);
    connections["there"].as_object_mut().unwrap().remove("type");
    project.write("connections.yaml", &connections.to_string());
    project
        .sluice_as_saved(&["run", "crm"])
        .failed(1, &["[connection_invalid]", "connection `there` has no `type`", "webhook"]);
}

#[test]
fn a_setting_that_the_connection_does_not_have() {
    let project = Project::webhook(3);
    let mut connections = project.connections.clone();
    connections["there"]["batchsize"] = json!(5);
    project.write("connections.yaml", &connections.to_string());
    refused_then_good(&project, &["[connection_invalid]", "there", "unknown field `batchsize`", "`batch_size`"]);
}

#[test]
fn a_sync_that_does_not_exist() {
    let project = Project::webhook(3);
    project.sluice(&["run", "crn"]).failed(1, &["[not_found]", "no sync `crn`", "did you mean `crm`?"]);
    project.sluice(&["plan", "nothing-like-it"]).failed(1, &["[not_found]", "the project has crm"]);
    project.sluice(&["check", "nope"]).failed(1, &["[not_found]"]);
}

#[test]
fn a_folder_without_a_project() {
    let project = Project::webhook(3);
    std::fs::remove_file(project.path("connections.yaml")).unwrap();
    project.sluice_as_saved(&["run", "crm"]).failed(1, &["[project_unreadable]", "connections.yaml", "sluice init"]);
    project.sluice(&["run", "crm"]).said(0, &["complete"]);
}

#[test]
fn a_mistake_in_one_sync_does_not_stop_another() {
    let mut project = Project::webhook(3);
    let mut other = project.syncs[0].clone();
    other["name"] = json!("other");
    other["mode"] = json!("upsrt");
    project.syncs.push(other);
    project.sluice(&["run", "crm"]).said(0, &["complete"]);
    project.sluice(&["check"]).said(1, &["✓ crm", "✗ other", "upsrt"]);
}

#[test]
fn a_wrong_use_of_the_command() {
    let project = Project::webhook(3);
    for arguments in [&["run"][..], &["rnu", "crm"], &["run", "crm", "--aprove", "x"], &[]] {
        project.sluice(arguments).failed(2, &["Usage"]);
    }
}
