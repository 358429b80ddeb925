//! What machines read: JSON of every command, and exit codes.

use serde_json::{Value, json};
use support::binary::Said;
use support::double::Behaviour;
use support::project::Project;

fn json_of(project: &Project, arguments: &[&str]) -> (i32, Value) {
    let mut all = vec!["--json"];
    all.extend(arguments);
    let said: Said = project.sluice(&all);
    assert!(said.err.is_empty(), "machines read one place only: {said:#?}");
    (said.code, said.json())
}

#[test]
fn every_command_prints_json() {
    let project = Project::webhook(20);
    project.double.answer(Behaviour::fail_keys([7], "invalid"));
    let (code, checked) = json_of(&project, &["check"]);
    assert_eq!((code, &checked[0]["sync"], &checked[0]["ok"]), (0, &json!("crm"), &json!(true)));
    let (code, plan) = json_of(&project, &["plan", "crm"]);
    assert_eq!((code, &plan["counts"]["added"], plan["samples"].as_array().unwrap().len()), (0, &json!(20), 5));
    assert_eq!(json_of(&project, &["runs", "crm"]), (0, json!([])));
    let (code, run) = json_of(&project, &["run", "crm"]);
    assert_eq!(
        (code, &run["status"], &run["tally"]["rejected"], &run["plan_hash"]),
        (3, &json!("partial"), &json!(1), &plan["plan_hash"])
    );
    let (code, runs) = json_of(&project, &["runs", "crm"]);
    assert_eq!((code, &runs[0]["id"]), (0, &run["id"]));
    let (code, explained) = json_of(&project, &["explain", "crm", "7"]);
    assert_eq!((code, &explained["rows"], &explained["failure"]["code"]), (0, &json!(1), &json!("invalid")));
    let (code, letters) = json_of(&project, &["dead-letters", "list", "crm"]);
    assert_eq!((code, &letters[0]["key"]), (0, &json!("7")));
    let (code, letter) = json_of(&project, &["dead-letters", "export", "crm"]);
    assert_eq!((code, &letter["record"]["id"]), (0, &json!(7)));
    let (code, released) = json_of(&project, &["dead-letters", "retry", "crm"]);
    assert_eq!((code, released), (0, json!({ "sync": "crm", "released": 1 })));
    let (code, schema) = json_of(&project, &["schema"]);
    assert!(code == 0 && schema["properties"]["mapping"].is_object());
    let (code, schema) = json_of(&project, &["schema", "--connections"]);
    assert!(code == 0 && schema["additionalProperties"]["anyOf"].as_array().unwrap().len() > 1);
    let empty = tempfile::tempdir().unwrap();
    let mut init = std::process::Command::new(support::binary::sluice());
    init.args(["--json", "--project"])
        .arg(empty.path())
        .arg("init")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    assert_eq!(Said::of(init.spawn().unwrap()).json()["sync"], "example-customers");
}

#[test]
fn faults_are_json_too() {
    let mut project = Project::webhook(20);
    let (code, missing) = json_of(&project, &["run", "nope"]);
    assert_eq!((code, &missing["error"]["code"]), (1, &json!("not_found")));
    project.line("email")["from"] = json!("emial");
    let (code, refused) = json_of(&project, &["run", "crm"]);
    assert!(
        code == 1 && refused["fault"]["what"].as_str().unwrap().contains("`emial`"),
        "a run that ended says why: {refused}"
    );
}

#[test]
fn exit_codes() {
    let mut project = Project::webhook(20);
    project.sluice(&["run", "crm"]).said(0, &[]);
    project.sluice(&["run"]).failed(2, &["<SYNC>"]);
    project.warehouse("update customers set name = 'x' where id = 7");
    project.double.answer(Behaviour::fail_keys([7], "invalid"));
    project.sluice(&["run", "crm"]).said(3, &["partial"]);
    project.sync()["guards"] = json!({ "min_rows": 100 });
    project.sluice(&["run", "crm"]).said(4, &["blocked"]);
    project.sync()["guards"] = json!({});
    project.warehouse("update customers set name = 'y' where id = 7");
    project.double.answer(Behaviour::status(401));
    project.sluice(&["run", "crm"]).said(1, &["failed"]);
    project.double.recover();
    project.sluice(&["run", "crm"]).said(0, &["complete"]);
    project.assert_arrived();
    project
        .sluice(&["runs", "crm"])
        .said(0, &["complete", "partial", "blocked", "failed", "guard_tripped", "destination_unauthorized"]);
}
