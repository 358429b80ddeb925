//! Whole runs to Slack.

use std::time::Duration;

use domain::run::Status;
use serde_json::json;
use support::project::{Project, assert_balances};
use support::slack::{GENERAL, ScriptedFailure, SlackDouble, TOKEN};

/// A sync of `rows` customers to Slack, by the bot; as fast as the test likes.
fn project(slack: &SlackDouble, rows: u32) -> Project {
    let mut project = Project::table(rows);
    // Runs are made by the binary: what a reference resolves to comes from its environment.
    project.connections["there"] = json!({
        "type": "slack", "token": "${env:SLUICEGATE_TEST_SLACK_TOKEN}", "api_url": slack.api(), "allow_private": true, "timeout": "2s",
        "rate": { "requests": 100, "per": "1s" },
    });
    let sync = project.sync();
    sync["mode"] = json!("append");
    sync["destination"] =
        json!({ "connection": "there", "object": GENERAL, "options": { "text": "{{name}} <{{email}}>" } });
    project
}

/// Runs it by the binary, which is given the token.
fn run(project: &Project, expected: i32) -> serde_json::Value {
    let child = project.command(&["--json", "run", "crm"]).env("SLUICEGATE_TEST_SLACK_TOKEN", TOKEN).spawn().unwrap();
    let said = support::binary::Said::of(child);
    assert_eq!(said.code, expected, "{said:#?}");
    assert!(!format!("{said:?}").contains("planted"), "{said:#?}");
    said.json()
}

fn read(run: serde_json::Value) -> domain::run::Run {
    serde_json::from_value(run).unwrap()
}

#[test]
fn every_added_record_is_one_message_and_no_change_is_any() {
    let slack = SlackDouble::start();
    let project = project(&slack, 12);
    let first = read(run(&project, 0));
    assert_eq!((first.status, first.tally.accepted(), first.tally.requests), (Status::Complete, 12, 12));
    assert_balances(&first);
    project.add_rows(13, 15);
    project.warehouse("update customers set name = 'Other' where id <= 5; delete from customers where id = 6");
    let second = read(run(&project, 0));
    assert_eq!((second.tally.accepted(), slack.posts()), (3, 15));
    let mut texts: Vec<String> = slack.messages().into_iter().map(|m| m.text).collect();
    texts.sort();
    let mut expected: Vec<String> = (1..=15).map(|id| format!("Customer {id} <c{id}@h.test>")).collect();
    expected.sort();
    assert_eq!(texts, expected);
}

#[test]
fn a_second_a_message_keeps_slack_content() {
    let slack = SlackDouble::start();
    let mut project = project(&slack, 4);
    project.connections["there"]["rate"] = serde_json::Value::Null;
    // Less than what is kept to, so that a busy machine's hiccups are no violation.
    slack.limit(Duration::from_millis(300));
    let done = read(run(&project, 0));
    assert_eq!((done.tally.accepted(), slack.messages().len(), slack.violations()), (4, 4, 0));
}

#[test]
fn a_message_that_may_have_been_posted_is_never_posted_twice() {
    let slack = SlackDouble::start();
    let project = project(&slack, 6);
    slack.failure([
        ScriptedFailure::PostThenDrop,
        ScriptedFailure::TooFast(1),
        ScriptedFailure::ErrorAfter("fatal_error"),
        ScriptedFailure::PostThenHang(Duration::from_secs(30)),
    ]);
    let first = read(run(&project, 3));
    assert_balances(&first);
    assert_eq!((first.status, first.tally.accepted(), first.tally.rejected), (Status::Partial, 3, 3));
    assert_eq!(first.tally.reasons["unknown_outcome"].count, 3);
    let again = read(run(&project, 3));
    assert_eq!((again.counts.held, again.tally.sent), (3, 0));
    let mut texts: Vec<String> = slack.messages().into_iter().map(|m| m.text).collect();
    texts.sort();
    texts.dedup();
    assert_eq!((texts.len(), slack.messages().len()), (6, 6), "everybody was told once");
    let letters = project.sluice(&["--json", "dead-letters", "list", "crm"]);
    assert_eq!(letters.json().as_array().unwrap().iter().filter(|l| l["code"] == "unknown_outcome").count(), 3);
}

#[test]
fn a_bad_message_blocks_none_and_a_bad_channel_all() {
    let slack = SlackDouble::start();
    let mut project = project(&slack, 5);
    slack.refuse_text("Customer 3", "invalid_blocks");
    let done = read(run(&project, 3));
    assert_eq!((done.tally.accepted(), done.tally.rejected, slack.messages().len()), (4, 1, 4));
    // Another channel is another place: what is known of the first one says nothing there.
    project.sync()["destination"]["object"] = json!("#nowhere");
    let asked = run(&project, 4);
    let hash = asked["plan_hash"].as_str().unwrap().to_owned();
    let child = project
        .command(&["--json", "run", "crm", "--approve", &hash])
        .env("SLUICEGATE_TEST_SLACK_TOKEN", TOKEN)
        .spawn()
        .unwrap();
    let failed = support::binary::Said::of(child).json();
    assert_eq!((&failed["status"], &failed["fault"]["code"]), (&json!("failed"), &json!("destination_misconfigured")));
    assert_eq!(slack.messages().len(), 4);
}
