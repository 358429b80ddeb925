//! I3 and I1 where a run was cut off between sending and commit: what may have arrived is in doubt, and the next run
//! makes the destination what the model is, even where the model went back meanwhile.

use domain::run::Status;
use local::drive;
use serde_json::json;
use support::double::Behaviour;
use support::project::{Project, request};
use support::watched::{Log, WatchedStore};

/// A run that is cut off after the destination took its records.
async fn cut_off(project: &Project) {
    let store = WatchedStore::new(project.store().await, Log::default());
    store.fail("commit");
    let engine = project.engine_on("crm", store).await.unwrap();
    let run = drive::run(&engine, &request()).await.unwrap();
    assert_eq!((run.status, run.tally.accepted()), (Status::Incomplete, 0), "{:?}", run.fault);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_arrived_unseen_and_went_back_is_sent_back() {
    for mode in ["upsert", "mirror"] {
        for mut project in [Project::webhook(20), Project::table(20)] {
            project.sync()["mode"] = json!(mode);
            project.run().await;
            // Noted digests: without doubts the next run would not even look.
            project.run().await;
            project.warehouse("update customers set name = 'New' where id in (3, 7)");
            cut_off(&project).await;
            assert_eq!(project.there()["7"]["name"], "New", "it did arrive");
            project.warehouse("update customers set name = 'Customer ' || id");
            let run = project.run().await;
            assert_eq!(run.status, Status::Complete);
            project.assert_arrived();
            project.run().await;
            assert_eq!(project.run().await.tally.requests, 0, "the doubt is over");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_deletes_what_arrived_unseen_and_left_the_model() {
    for mut project in [Project::webhook(20), Project::table(20)] {
        project.sync()["mode"] = json!("mirror");
        project.run().await;
        project.run().await;
        project.add_rows(21, 23);
        cut_off(&project).await;
        assert_eq!(project.there().len(), 23, "they did arrive");
        project.warehouse("delete from customers where id in (21, 22)");
        let run = project.run().await;
        assert_eq!((run.status, run.counts.removed), (Status::Complete, 2));
        project.assert_arrived();
        project.run().await;
        assert_eq!(project.run().await.tally.requests, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delete_that_arrived_unseen_is_made_good() {
    for mut project in [Project::webhook(20), Project::table(20)] {
        project.sync()["mode"] = json!("mirror");
        project.run().await;
        project.run().await;
        project
            .warehouse("create table kept as select * from customers where id = 7; delete from customers where id = 7");
        cut_off(&project).await;
        assert!(!project.there().contains_key("7"), "it is gone there");
        project.warehouse("insert into customers select * from kept");
        assert_eq!(project.run().await.status, Status::Complete);
        project.assert_arrived();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_after_silence_leaves_the_record_in_doubt() {
    for mode in ["upsert", "mirror"] {
        for last in ["error", "skipped"] {
            let mut project = Project::webhook(20);
            project.sync()["mode"] = json!(mode);
            project.run().await;
            project.run().await;
            project.warehouse("update customers set name = 'New' where id = 7");
            project.double.answer_next(1, Behaviour::ResetAfter);
            project.double.answer(Behaviour::fail_keys(["7"], last));
            let run = project.run().await;
            assert_eq!((run.status, run.tally.rejected + run.tally.skipped), (Status::Partial, 1), "{mode} {last}");
            assert_eq!(project.there()["7"]["name"], "New", "the first request did arrive");
            project.double.answer(Behaviour::Ok);
            project.warehouse("update customers set name = 'Customer ' || id");
            let run = project.run().await;
            assert_eq!((run.status, run.counts.changed), (Status::Complete, 1), "{mode} {last}");
            project.assert_arrived();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_cut_off_twice_is_made_good_by_the_third() {
    let project = Project::webhook(35);
    cut_off(&project).await;
    project.warehouse("update customers set name = 'Second' where id < 9");
    cut_off(&project).await;
    project.warehouse("update customers set name = 'Third' where id < 4");
    assert_eq!(project.run().await.status, Status::Complete);
    project.assert_arrived();
}
