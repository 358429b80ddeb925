//! What a run needs around it: secrets, the destination's place, a mode it can honour, and to be alone.

use std::time::Duration;

use serde_json::json;
use support::binary::Said;
use support::double::Behaviour;
use support::project::Project;

#[test]
fn a_secret_that_is_not_set() {
    let mut project = Project::webhook(3);
    project.connections["there"]["headers"] = json!({ "authorization": "Bearer ${env:FLOW_TEST_TOKEN}" });
    let run = |value: Option<&str>| {
        let mut command = project.command(&["run", "crm"]);
        command.env_remove("FLOW_TEST_TOKEN");
        value.map(|v| command.env("FLOW_TEST_TOKEN", v));
        Said::of(command.spawn().unwrap())
    };
    run(None).failed(1, &["[secret_missing]", "FLOW_TEST_TOKEN", "export FLOW_TEST_TOKEN=", "nothing was sent"]);
    run(Some("")).failed(1, &["[secret_missing]"]);
    assert_eq!(project.double.count(), 0);
    let said = run(Some("planted-token"));
    said.said(0, &["complete"]);
    assert!(!said.out.contains("planted") && !said.err.contains("planted"));
    assert_eq!(project.double.requests()[0].header("authorization"), Some("Bearer planted-token"));
    project.assert_arrived();
}

#[test]
fn a_secret_written_where_a_reference_belongs() {
    let mut project = Project::webhook(3);
    project.connections["there"]["headers"] = json!({ "authorization": "Bearer planted-token" });
    let said = project.sluice(&["run", "crm"]);
    said.failed(1, &["[connection_invalid]", "authorization", "reference"]);
    assert!(!said.err.contains("planted"), "{}", said.err);
}

#[test]
fn a_destination_database_that_is_not_there() {
    let mut project = Project::table(3);
    project.connections["there"]["path"] = json!("prodct.db");
    project.sluice(&["run", "crm"]).failed(1, &["[destination_unreachable]", "prodct.db", "Create the database"]);
    assert!(!project.path("prodct.db").exists(), "it is not made by a wrong name");
    project.connections["there"]["path"] = json!("product.db");
    project.sluice(&["run", "crm"]).said(0, &["complete"]);
    project.assert_arrived();
}

#[test]
fn a_destination_table_or_column_that_is_not_there() {
    let mut project = Project::table(3);
    project.sync()["destination"]["object"] = json!("custmers");
    project.sluice(&["run", "crm"]).failed(1, &["[preflight_failed]", "custmers"]);
    project.sync()["destination"]["object"] = json!("customers");
    project.line("name")["to"] = json!("nmae");
    project
        .sluice(&["run", "crm"])
        .failed(1, &["[preflight_failed]", "name → nmae", "the destination has: id, email, name, n"]);
    project.line("nmae")["to"] = json!("name");
    project.sluice(&["run", "crm"]).said(0, &["complete"]);
    project.assert_arrived();
}

#[test]
fn a_mode_that_the_destination_cannot_honour() {
    let mut project = Project::webhook(3);
    project.sync()["mode"] = json!("update");
    let parts = [
        "[sync_invalid]",
        "mode update",
        "cannot be asked whether a record exists",
        "use one of upsert, append, mirror",
    ];
    project.sluice(&["run", "crm"]).failed(1, &parts);
    assert_eq!(project.double.count(), 0);
    project.sync()["mode"] = json!("upsert");
    project.sluice(&["run", "crm"]).said(0, &["complete"]);
}

#[test]
fn a_second_run_while_one_is_active() {
    let project = Project::webhook(3);
    project.double.answer(Behaviour::Hang(Duration::from_secs(4)));
    let first = project.start(&["run", "crm"]);
    let id = first.id();
    // It holds the lock before it sends anything.
    while project.double.count() == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    project
        .sluice(&["run", "crm"])
        .failed(1, &["[run_active]", "A run of `crm`", &format!("process {id}"), "Wait until it has ended"]);
    project.sluice(&["dead-letters", "retry", "crm"]).failed(1, &["[run_active]"]);
    project.sluice(&["plan", "crm"]).said(0, &["nothing was sent or written"]);
    Said::of(first).said(0, &["complete"]);
    project.double.recover();
    project.sluice(&["run", "crm"]).said(0, &["complete"]);
    assert_eq!(project.double.count(), 1, "the first run delivered everything");
    project.assert_arrived();
}

/// A machine whose only way out is a proxy: as every other program there, by the environment.
#[test]
fn a_proxy_of_the_environment_is_used_and_told_of() {
    let mut project = Project::webhook(5);
    let proxy = format!("http://user:planted-word@127.0.0.1:{}", project.double.port());
    project.connections["there"]["url"] = json!("http://api.partner.invalid/hook");
    project.connections["there"]["allow_private"] = json!(false);
    project.connections["there"]["retry_pause"] = json!("1ms");
    let run = |command: &str, variables: &[(&str, &str)]| {
        let mut command = project.command(&[command, "crm"]);
        for name in
            ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"]
        {
            command.env_remove(name);
        }
        command.envs(variables.iter().copied());
        Said::of(command.spawn().unwrap())
    };
    run("check", &[]).said(1, &["api.partner.invalid cannot be resolved"]);
    run("check", &[("HTTP_PROXY", &proxy)]).said(0, &[]);
    run("run", &[("HTTP_PROXY", &proxy), ("NO_PROXY", "partner.invalid")])
        .failed(1, &["api.partner.invalid cannot be resolved"]);
    assert_eq!(project.double.count(), 0);
    project.double.answer(Behaviour::message(503, "planted-word says no"));
    let said = run("run", &[("http_proxy", &proxy)]);
    assert!(said.out.contains("503") && !said.out.contains("planted"), "{said:#?}");
    project.double.recover();
    project.double.forget();
    run("run", &[("all_proxy", &proxy)]).said(0, &["complete"]);
    let sent = project.double.requests();
    let seen =
        sent.iter().map(|request| (request.header("host"), request.header("proxy-authorization"))).collect::<Vec<_>>();
    assert_eq!(seen, [(Some("api.partner.invalid"), Some("Basic dXNlcjpwbGFudGVkLXdvcmQ="))]);
    run("run", &[("HTTP_PROXY", "socks5://p")])
        .failed(1, &["HTTP_PROXY is not the address of an HTTP proxy", "http://HOST:PORT"]);
    let closed = run("plan", &[("HTTP_PROXY", "http://127.0.0.1:1")]);
    closed.said(0, &[]);
}
