//! The rate of a connection, kept over everyone who uses it.

use std::time::Duration;

use domain::run::Status;
use local::drive;
use serde_json::json;
use support::double::{Quota, RetryAfter};
use support::project::{Project, request};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_syncs_at_once_keep_one_rate() {
    let mut project = Project::webhook(250);
    project.connections["there"]["rate"] = json!({ "requests": 20, "per": "1s" });
    let mut other = project.syncs[0].clone();
    other["name"] = json!("other");
    project.syncs.push(other);
    // Half as much again as what is allowed, so that a busy machine's hiccups are no violation; two syncs that did
    // not know of each other would be over it.
    project.double.quota(Quota::new(30, Duration::from_secs(1), RetryAfter::Seconds(1.0)));
    let store = project.store().await;
    let (first, second) =
        (project.engine_on("crm", store.clone()).await.unwrap(), project.engine_on("other", store).await.unwrap());
    let (a, b) = (request(), request());
    let both = async {
        tokio::join!(
            tokio::spawn(async move { drive::run(&first, &a).await }),
            tokio::spawn(async move { drive::run(&second, &b).await })
        )
    };
    let (a, b) = tokio::time::timeout(Duration::from_secs(120), both).await.expect("both end");
    for run in [a.unwrap().unwrap(), b.unwrap().unwrap()] {
        assert_eq!((run.status, run.tally.accepted(), run.tally.throttled), (Status::Complete, 250, 0));
    }
    assert_eq!((project.double.count(), project.double.violations()), (50, 0));
    let requests = project.double.requests();
    let took = requests[49].at.duration_since(requests[0].at);
    // 50 requests at 20 a second take 2.45 s; at 40 a second they would take 1.2.
    assert!(took >= Duration::from_millis(1900), "{took:?}");
    project.assert_arrived();
}
