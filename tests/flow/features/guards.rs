//! Guards: each blocks a run before anything is sent, ends it with 4, and is passed once by approving that very plan.

use serde_json::json;
use support::project::Project;

/// The run is blocked by these guards; the wrong hash is refused, the right one passes once.
#[track_caller]
fn blocked_then_approved(project: &Project, guard: &str, part: &str) {
    let (before, count) = (project.there(), project.double.count());
    let planned = project.sluice(&["plan", "crm"]);
    planned.said(4, &[guard, part, "If this is meant: sluice run crm --approve "]);
    let hash = planned.out.split("--approve ").nth(1).unwrap().trim().to_owned();
    let said = project.sluice(&["run", "crm"]);
    said.said(4, &["blocked"])
        .failed(4, &["[guard_tripped]", "nothing was sent", guard, part, &format!("--approve {hash}")]);
    project
        .sluice(&["run", "crm", "--approve", "0123456789abcdef"])
        .failed(4, &["[plan_changed]", "Plan 0123456789abcdef was approved", &hash]);
    assert_eq!((project.there(), project.double.count()), (before, count), "nothing was sent");
    project.sluice(&["run", "crm", "--approve", &hash]).said(0, &["complete"]);
    project.sluice(&["run", "crm", "--approve", &hash]).failed(4, &["[plan_changed]"]);
}

fn delivered(rows: u32) -> Project {
    let mut project = Project::table(rows);
    project.sync()["mode"] = json!("mirror");
    project.sluice(&["run", "crm"]).said(0, &["complete"]);
    project.assert_arrived();
    project
}

#[test]
fn an_empty_model() {
    let project = delivered(8);
    project.warehouse("delete from customers");
    blocked_then_approved(&project, "min_rows", "the model gave no rows at all");
    project.assert_arrived();
}

#[test]
fn too_few_rows() {
    let mut project = delivered(20);
    project.sync()["guards"] = json!({ "min_rows": 25 });
    project.add_rows(21, 22);
    blocked_then_approved(&project, "min_rows", "the model gave 22 rows; at least 25 are expected");
    project.assert_arrived();
}

#[test]
fn too_many_deletes() {
    let mut project = delivered(40);
    project.sync()["guards"] = json!({ "max_deletes": 2 });
    project.warehouse("delete from customers where id <= 3");
    blocked_then_approved(&project, "max_deletes", "3 records would be deleted; at most 2 may be");
    project.assert_arrived();
}

#[test]
fn too_large_a_share_of_deletes() {
    let project = delivered(100);
    project.warehouse("delete from customers where id <= 11");
    blocked_then_approved(
        &project,
        "max_delete_percent",
        "11 of 100 records (11.0 %) would be deleted; at most 5 % may be",
    );
    project.assert_arrived();
}

#[test]
fn too_many_changes() {
    let mut project = delivered(40);
    project.sync()["guards"] = json!({ "max_changes": 3 });
    project.warehouse("update customers set name = 'x' where id <= 4");
    blocked_then_approved(&project, "max_changes", "4 records would be changed; at most 3 may be");
    project.assert_arrived();
}

#[test]
fn too_large_a_share_of_changes() {
    let project = delivered(40);
    project.warehouse("update customers set name = 'x' where id <= 21");
    blocked_then_approved(&project, "max_change_percent", "21 of 40 records (52.5 %)");
    project.assert_arrived();
}

#[test]
fn a_guard_that_is_off_blocks_nothing() {
    let mut project = delivered(40);
    project.sync()["guards"] = json!({ "max_change_percent": null, "max_delete_percent": null, "min_rows": null });
    project.warehouse("update customers set name = 'x'; delete from customers where id > 20");
    project.sluice(&["run", "crm"]).said(0, &["complete"]);
    project.assert_arrived();
}

/// An approval is for what was looked at: a row that changes meanwhile makes it another plan.
#[test]
fn an_approved_plan_that_is_no_longer_the_plan() {
    let project = delivered(40);
    project.warehouse("update customers set name = 'x' where id <= 30");
    let planned = project.sluice(&["--json", "plan", "crm"]);
    assert_eq!(planned.code, 4);
    let hash = planned.json()["plan_hash"].as_str().unwrap().to_owned();
    project.warehouse("update customers set name = 'y' where id = 1");
    project.sluice(&["run", "crm", "--approve", &hash]).failed(4, &["[plan_changed]", "Look at the new plan"]);
}
