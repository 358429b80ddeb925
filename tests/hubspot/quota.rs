//! Limits: read from the headers, kept by all writers, and the end of the day.

use std::time::Duration;

use domain::clock::Span;
use domain::config::RateLimit;
use domain::fault::Code;
use domain::mode::Op;
use domain::outcome::WriteError;
use domain::run::Status;
use doubles::hubspot::gate::QuotaWindow;
use serde_json::json;

use crate::rig::{Records, double, open, open_with};
use crate::syncs::{arrived, line, project};

#[tokio::test]
async fn the_rate_follows_the_headers() {
    let double = double();
    double.portal().gate.quota = QuotaWindow::new(190, Duration::from_secs(10));
    let hub = open(&double).await;
    assert_eq!(
        hub.limits().rate,
        Some(RateLimit { requests: 98, per: Span::seconds(10) }),
        "the lowest tier, until it is known better"
    );
    Records::contacts(&[("a", "Ada")]).write(&*hub, Op::Upsert).await.unwrap();
    assert_eq!(hub.limits().rate, Some(RateLimit { requests: 186, per: Span::seconds(10) }));
    let own = open_with(&double, json!({ "rate": { "requests": 5, "per": "1s" } }), "contacts", json!({})).await;
    Records::contacts(&[("a", "Ada")]).write(&*own, Op::Upsert).await.unwrap();
    assert_eq!(own.limits().rate, Some(RateLimit { requests: 5, per: Span::seconds(1) }));
}

#[tokio::test]
async fn a_429_pauses_and_spent_quota_is_not_asked_for() {
    let double = double();
    let (hub, other) = (open(&double).await, open(&double).await);
    let write = async || Records::contacts(&[("a", "Ada")]).write(&*hub, Op::Upsert).await;
    write().await.unwrap();
    Records::contacts(&[("a", "Ada")]).write(&*other, Op::Upsert).await.unwrap();
    double.portal().gate.quota.max = 4;
    assert_eq!(
        write().await.unwrap_err(),
        WriteError::Throttled { after: Some(Duration::from_secs(10)) },
        "the interval of the headers"
    );
    let sent = double.portal().requests.len();
    assert!(
        matches!(write().await.unwrap_err(), WriteError::Throttled { after: Some(a) } if a <= Duration::from_secs(10)),
        "nobody asks before that"
    );
    assert_eq!(double.portal().requests.len(), sent);
    double.portal().gate.quota.retry_after = Some(3);
    let error = Records::contacts(&[("a", "Ada")]).write(&*other, Op::Upsert).await.unwrap_err();
    assert_eq!(error, WriteError::Throttled { after: Some(Duration::from_secs(3)) });
}

/// Requests that a run of `rows` made, after it arrived within `quota`.
async fn within(quota: QuotaWindow, rows: u32) -> (usize, usize) {
    let double = double();
    double.portal().gate.quota = quota;
    let mut project = project(&double, rows);
    project.connections["there"]["batch_size"] = json!(10);
    let run = project.run().await;
    assert_eq!((run.status, run.tally.accepted()), (Status::Complete, u64::from(rows)), "{run:?}");
    arrived(&project, &double);
    let portal = double.portal();
    (portal.count("upsert"), portal.refused())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_stays_inside_the_quota() {
    // Half a second of tolerance: the machine that tests may be busy.
    assert_eq!(within(QuotaWindow::new(40, Duration::from_secs(1)), 600).await, (60, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_beside_the_writing_have_slots_of_their_own() {
    let double = double();
    double.portal().gate.quota = QuotaWindow::new(100, Duration::from_secs(2));
    for key in ["a", "b", "c"] {
        double.portal().add("companies", &[("crm_id", key)]);
    }
    let mut project = project(&double, 300);
    project.connections["there"]["batch_size"] = json!(10);
    project.sync()["model"]["sql"] =
        json!("select id, email, name, n, substr('abc', id % 3 + 1, 1) as company from customers");
    project.sync()["mapping"].as_array_mut().unwrap().push(line("company", "company_key"));
    project.sync()["destination"]["options"] =
        json!({ "associations": [{ "field": "company_key", "to": "companies", "by": "crm_id" }] });
    let run = project.run().await;
    assert_eq!((run.status, run.tally.accepted()), (Status::Complete, 300), "{run:?}");
    let portal = double.portal();
    assert_eq!((portal.links.len(), portal.count("read") >= 30), (300, true));
    let sent = portal.requests.iter().filter(|r| r.method == "POST").count() as u64;
    assert!(sent >= 90 && sent <= run.tally.requests, "{sent} requests in {} slots", run.tally.requests);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_the_day_ends_the_run_and_says_until_when() {
    let double = double();
    // A zone where it is about noon: midnight is far away, whenever this runs.
    let hour = jiff_hour();
    let mut project = project(&double, 100);
    project.connections["there"]["batch_size"] = json!(10);
    project.connections["there"]["timezone"] = json!(format!("Etc/GMT{:+}", hour - 12));
    project.connections["there"]["concurrency"] = json!(1);
    // Two questions of preflight's, which account it is, then five batches.
    double.portal().gate.quota.daily = Some((250_000, 7));
    let run = project.run().await;
    assert_eq!(
        (run.status, run.fault.as_ref().map(|f| f.code)),
        (Status::Incomplete, Some(Code::DestinationLimit)),
        "{run:?}"
    );
    assert_eq!((run.tally.accepted(), run.tally.unsent), (50, 50), "{:?}", run.tally);
    let fault = run.fault.unwrap();
    assert!(fault.what.contains("used up until 20") && fault.to_string().contains("quota is back"), "{fault}");
    assert_eq!(double.portal().refused(), 0, "the last answer said that nothing is left");
    let sent = double.portal().requests.len();
    let run = project.try_run().await.unwrap();
    assert_eq!(
        run.fault.map(|f| f.code),
        Some(Code::DestinationLimit),
        "the next run says so before it sends anything"
    );
    assert!(double.portal().requests.len() <= sent + 1);
    double.portal().gate.quota.daily = Some((250_000, 250_000));
    project.later(Duration::from_secs(24 * 3600));
    let run = project.run().await;
    assert_eq!(
        (run.status, run.tally.accepted()),
        (Status::Complete, 50),
        "what was not delivered is planned again: {run:?}"
    );
    arrived(&project, &double);
}

/// The hour in UTC.
fn jiff_hour() -> i64 {
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    i64::try_from(seconds / 3600 % 24).unwrap()
}
