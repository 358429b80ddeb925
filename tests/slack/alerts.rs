//! Alerts, told after real runs: to Slack, and to any address that takes JSON.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use domain::alert_settings::Alerts;
use domain::fault::{Code, Fault};
use domain::monitoring::alert::Alert;
use domain::monitoring::health::{Overdue, SyncHealth};
use domain::ports::Notifier;
use domain::ports::SystemClock;
use domain::run::Run;
use engine::notify::{Alerting, alert, alert_of_health, replaced_by};
use serde_json::json;
use support::double::{Behaviour, Double};
use support::project::Project;
use support::slack::{GENERAL, ScriptedFailure, SlackDouble};

use crate::rig::Secrets;

/// Tells nobody but the test; fails as often as it is told to.
struct Recorded {
    name: &'static str,
    told: Mutex<Vec<String>>,
    failures: Mutex<u32>,
}

impl Recorded {
    fn new(name: &'static str) -> Arc<Self> {
        Arc::new(Self { name, told: Mutex::default(), failures: Mutex::default() })
    }

    fn told(&self) -> Vec<String> {
        std::mem::take(&mut *self.told.lock().unwrap())
    }
}

#[async_trait]
impl Notifier for Recorded {
    fn name(&self) -> &str {
        self.name
    }

    async fn notify(&self, alert: &Alert) -> Result<(), Fault> {
        let mut failures = self.failures.lock().unwrap();
        if *failures > 0 {
            *failures -= 1;
            return Err(Fault::new(Code::DestinationUnreachable, "told to fail"));
        }
        self.told.lock().unwrap().push(alert.title.clone());
        Ok(())
    }
}

async fn alerting(project: &Project, notifiers: &[Arc<Recorded>]) -> Alerting {
    let notifiers = notifiers.iter().map(|n| Arc::clone(n) as Arc<dyn Notifier>).collect();
    Alerting {
        store: project.store().await,
        clock: Arc::new(SystemClock),
        settings: Alerts::default(),
        notifiers,
        stack: None,
    }
}

async fn run(project: &Project, alerting: &Alerting) -> Run {
    let run = project.run().await;
    alert(alerting, &run).await;
    run
}

#[tokio::test]
async fn people_are_told_once_for_each_change() {
    let project = Project::webhook(20);
    let people = Recorded::new("people");
    let alerting = alerting(&project, std::slice::from_ref(&people)).await;
    run(&project, &alerting).await;
    assert!(people.told().is_empty(), "all is well");
    project.add_rows(21, 40);
    project.double.answer(Behaviour::status(401));
    run(&project, &alerting).await;
    assert_eq!(people.told(), ["Sync crm: failed (destination_unauthorized)"]);
    run(&project, &alerting).await;
    assert!(people.told().is_empty(), "as before");
    project.double.recover();
    let good = run(&project, &alerting).await;
    assert_eq!(people.told(), ["Sync crm: no longer failed"]);
    alert(&alerting, &good).await;
    run(&project, &alerting).await;
    assert!(people.told().is_empty(), "told of that run already, and nothing new");
    project.warehouse("delete from customers");
    let blocked = run(&project, &alerting).await;
    assert_eq!(people.told(), ["Sync crm: blocked (guard_tripped)"]);
    let stored = alerting.store.run("crm", &blocked.id).await.unwrap().unwrap();
    assert_eq!(
        (stored.fault, stored.counts),
        (blocked.fault, blocked.counts),
        "what was told is kept beside the run, not over it"
    );
}

#[tokio::test]
async fn a_channel_that_failed_is_told_after_the_next_run() {
    let project = Project::webhook(10);
    let (deaf, other) = (Recorded::new("deaf"), Recorded::new("other"));
    let alerting = alerting(&project, &[deaf.clone(), other.clone()]).await;
    *deaf.failures.lock().unwrap() = 2;
    project.double.answer(Behaviour::status(401));
    for _ in 0..2 {
        run(&project, &alerting).await;
    }
    assert_eq!((deaf.told().len(), other.told().len()), (0, 1));
    run(&project, &alerting).await;
    assert_eq!((deaf.told(), other.told()), (vec!["Sync crm: failed (destination_unauthorized)".to_owned()], vec![]));
}

#[tokio::test]
async fn a_run_that_another_took_over_from_is_told_of() {
    let project = Project::webhook(10);
    let people = Recorded::new("people");
    let alerting = alerting(&project, std::slice::from_ref(&people)).await;
    let engine = project.engine().await.unwrap();
    // It is enqueued, and no writer is there to deliver it.
    let left = engine::run::start(&engine, &support::project::request()).await.unwrap();
    let next = engine::run::start(&project.engine().await.unwrap(), &support::project::request()).await.unwrap();
    assert_ne!(left.run().id, next.run().id);
    let replaced = replaced_by(alerting.store.as_ref(), next.run()).await.unwrap();
    assert_eq!(replaced.id, left.run().id);
    alert(&alerting, &replaced).await;
    assert_eq!(people.told(), ["Sync crm: incomplete (stalled)"]);
    alert(&alerting, &replaced).await;
    assert!(people.told().is_empty());
}

#[tokio::test]
async fn what_the_monitor_sees_is_told_once_however_late() {
    let project = Project::webhook(10);
    let people = Recorded::new("people");
    let alerting = alerting(&project, std::slice::from_ref(&people)).await;
    let done = run(&project, &alerting).await;
    let overdue =
        SyncHealth { overdue: Some(Overdue { since: Some(done.started), due: done.started }), ..SyncHealth::default() };
    *people.failures.lock().unwrap() = 1;
    alert_of_health(&alerting, &done, &overdue).await;
    assert!(people.told().is_empty(), "nobody could be told");
    for expected in [vec!["Sync crm: overdue".to_owned()], vec![]] {
        alert_of_health(&alerting, &done, &overdue).await;
        assert_eq!(people.told(), expected);
    }
    alert_of_health(&alerting, &done, &SyncHealth::default()).await;
    assert_eq!(people.told(), ["Sync crm: no longer overdue"]);
    alert_of_health(&alerting, &done, &overdue).await;
    people.told();
    run(&project, &alerting).await;
    assert_eq!(people.told(), ["Sync crm: no longer overdue"], "a run that is told of is one that has started");
}

/// The command tells both kinds of channels, with the defaults of connections.yaml under the sync's own settings.
#[test]
fn the_command_tells_slack_and_any_address() {
    let (slack, other) = (SlackDouble::start(), Double::start());
    let mut project = Project::webhook(100);
    project.connections["alerts"] = json!({
        "to": [
            { "slack": { "token": "${env:SLUICEGATE_TEST_SLACK_TOKEN}", "channel": GENERAL, "api_url": slack.api(), "allow_private": true } },
            { "webhook": { "url": other.url(), "headers": { "x-team": "data" }, "allow_private": true } },
            { "slack": { "webhook_url": "${env:SLUICEGATE_TEST_NO_SUCH_SECRET}" } },
            { "sns": {} },
        ],
        "partial_percent": 50,
    });
    project.sync()["alerts"] = json!({ "partial_percent": 2 });
    let run = |project: &Project, code: i32| {
        let child =
            project.command(&["run", "crm"]).env("SLUICEGATE_TEST_SLACK_TOKEN", support::slack::TOKEN).spawn().unwrap();
        let said = support::binary::Said::of(child);
        assert_eq!(said.code, code, "{said:#?}");
        assert!(!format!("{said:?}").contains("planted"), "{said:#?}");
    };
    project.double.answer(Behaviour::fail_keys([1, 2, 3], "invalid"));
    slack.failure([ScriptedFailure::Error("fatal_error")]);
    run(&project, 3);
    assert_eq!(
        (slack.messages().len(), other.requests().len()),
        (0, 1),
        "one of them could not be told, and the run is as it is"
    );
    run(&project, 3);
    assert_eq!(
        (slack.messages().len(), other.requests().len()),
        (1, 1),
        "told after the next run, and the other not again"
    );
    let text = &slack.messages()[0].text;
    for part in ["*Sync crm: partial*", "3 of 100 records (3.0 %)", "Look further: sluice dead-letters list crm"] {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
    let body = other.requests()[0].json();
    assert_eq!((&body["kind"], &body["sync"], &body["status"]), (&json!("problem"), &json!("crm"), &json!("partial")));
    assert_eq!((&body["reasons"][0]["code"], &body["reasons"][0]["count"]), (&json!("invalid"), &json!(3)), "{body}");
    assert_eq!(other.requests()[0].header("x-team"), Some("data"));
    // A change lets go of what is held.
    project.double.recover();
    project.warehouse("update customers set name = 'Better' where id <= 3");
    run(&project, 0);
    assert!(slack.messages()[1].text.contains("Sync crm: no longer partial"));
    assert_eq!(
        (other.requests()[1].json()["kind"].as_str(), other.requests()[1].json()["severity"].as_str()),
        (Some("recovery"), Some("resolved"))
    );
    run(&project, 0);
    assert_eq!((slack.messages().len(), other.requests().len()), (2, 2));
}

#[tokio::test]
async fn an_alert_that_is_not_taken_is_a_fault_without_a_secret() {
    let (slack, other) = (SlackDouble::start(), Double::start());
    let alerts: Alerts = serde_json::from_value(json!({ "to": [
        { "slack": { "webhook_url": "${env:HOOK}", "allow_private": true } },
        { "webhook": { "url": format!("{}planted/path", other.url()), "allow_private": true } },
    ]}))
    .unwrap();
    let (notifiers, faults) = destinations::alerts::open(&alerts, &Secrets(slack.hook()), &|_, _| None).await;
    assert!(faults.is_empty() && notifiers.len() == 2);
    let project = Project::webhook(1);
    project.double.answer(Behaviour::status(401));
    let run = project.run().await;
    let facts = domain::monitoring::alert::AlertInput {
        run: &run,
        delivered: None,
        seen: None,
        records: 0,
        usual: Default::default(),
        before: &[],
        settings: &alerts,
        stack: None,
        now: run.started,
    };
    let alert = domain::monitoring::decide::decide(&facts).alert.unwrap();
    slack.failure([ScriptedFailure::Status(404, "no_service")]);
    other.answer_next(1, Behaviour::status(500));
    for notifier in &notifiers {
        let fault = notifier.notify(&alert).await.unwrap_err();
        assert!(!format!("{fault} {fault:?}").contains("planted"), "{fault}");
        notifier.notify(&alert).await.unwrap();
    }
    assert_eq!((slack.messages().len(), other.count()), (1, 2));
}
