//! What is SQLite's own: the file, other processes, and operations that fail beside others that do not.
//! What every store must do is in the contract suite.

use std::sync::Arc;

use domain::bucket::{Accepted, EntryWrite};
use domain::clock::Millis;
use domain::fault::Code;
use domain::head::Head;
use domain::job::{Job, Ticket};
use domain::key::KeyHash;
use domain::manifest::ManifestPage;
use domain::ports::{BatchRef, BucketStore, Claim, HeadStore, RunStore};
use domain::run::BatchState;
use rusqlite::Connection;

use super::SqliteState;

fn accept(checksum: u64) -> EntryWrite {
    EntryWrite::Accepted { accepted: Accepted { checksum, ..Accepted::default() }, clear_failure: false }
}

fn first(byte: u8, rest: u8) -> KeyHash {
    let mut hash = [rest; 12];
    hash[0] = byte;
    KeyHash(hash)
}

#[tokio::test]
async fn a_file_opened_again_holds_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/state.db");
    let state = SqliteState::open(&path).await.unwrap();
    let head = Head { generation: 3, bucket_bits: 2, ..Head::default() };
    assert!(state.put_head("s", &head).await.unwrap());
    state.commit("s", 2, vec![(first(0x80, 1), accept(5)), (first(0, 1), accept(6))]).await.unwrap();
    let page = ManifestPage { digests: vec![0, 1, 2, u64::MAX], ..ManifestPage::empty(0, 2) };
    assert!(state.put_page("s", 2, &page, true).await.unwrap());
    let before = state.buckets("s", 2, &[0, 1, 2, 3]).await.unwrap();
    drop(state);
    assert!(!path.with_extension("db-wal").exists(), "a closed state is one file");

    let state = SqliteState::open(&path).await.unwrap();
    assert_eq!(state.head("s").await.unwrap(), Head { version: 1, ..head });
    assert_eq!(state.buckets("s", 2, &[0, 1, 2, 3]).await.unwrap(), before);
    assert_eq!(before.iter().map(|b| b.entries.len()).collect::<Vec<_>>(), [1, 0, 1, 0]);
    assert_eq!(state.manifest("s", 2).await.unwrap(), [ManifestPage { version: 1, ..page }]);
}

/// Opens the file and returns the fault's sentence.
async fn refused(path: &std::path::Path) -> String {
    let fault = SqliteState::open(path).await.err().expect("the file is refused");
    assert_eq!(fault.code, Code::StateUnusable);
    assert!(fault.what.contains(&path.display().to_string()) || fault.what.contains("folder"), "{}", fault.what);
    fault.what
}

#[tokio::test]
async fn a_file_that_is_not_a_state_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.db");
    std::fs::write(&text, "id,name\n1,anything\n".repeat(100)).unwrap();
    assert!(refused(&text).await.contains("not an SQLite database"));
    assert_eq!(std::fs::read_to_string(&text).unwrap(), "id,name\n1,anything\n".repeat(100));

    let other = folder.path().join("other.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    let bytes = std::fs::read(&other).unwrap();
    assert!(refused(&other).await.contains("another program"));
    assert_eq!(std::fs::read(&other).unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_can_create_one_state_at_once() {
    for _ in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let opening: Vec<_> = (0..8).map(|_| tokio::spawn(SqliteState::open(path.clone()))).collect();
        for opened in opening {
            opened.await.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn a_newer_state_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    drop(SqliteState::open(&path).await.unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let what = refused(&path).await;
    assert!(what.contains("newer Sluicegate") && what.contains("99"), "{what}");
}

#[tokio::test]
async fn a_file_of_version_1_learns_of_jobs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    drop(SqliteState::open(&path).await.unwrap());
    Connection::open(&path)
        .unwrap()
        .execute_batch(
            "ALTER TABLE batch DROP COLUMN job; ALTER TABLE batch DROP COLUMN unseen; PRAGMA user_version = 1",
        )
        .unwrap();
    for _ in 0..2 {
        let state = SqliteState::open(&path).await.unwrap();
        let batch = BatchRef { sync: "s", run: "r", number: 0 };
        let job = Some(Box::new(Job { ticket: Ticket("750".into()), begun: Millis(1), heard: Millis(2), failures: 0 }));
        let going_on = BatchState { job, ..BatchState::default() };
        state.settle(batch, &going_on, Some(Millis(3))).await.unwrap();
        assert_eq!(state.claim(batch, 0, &[], Millis(4), Millis(5)).await.unwrap(), Claim::Granted(going_on));
    }
}

#[tokio::test]
async fn a_file_written_in_part_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    drop(SqliteState::open(&path).await.unwrap());
    let whole = std::fs::read(&path).unwrap();
    for len in [whole.len() / 2, 8192, 600] {
        std::fs::write(&path, &whole[..len]).unwrap();
        let what = refused(&path).await;
        assert!(what.contains("damaged") || what.contains("not an SQLite"), "{len}: {what}");
    }
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_a_fault() {
    let folder = tempfile::tempdir().unwrap();
    assert!(refused(folder.path()).await.contains("cannot be opened"), "a folder is no file");
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(refused(&file.join("state.db")).await.contains("cannot be created"));
}

#[tokio::test]
async fn an_operation_that_fails_does_not_fail_its_neighbours() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let state = Arc::new(SqliteState::open(&path).await.unwrap());
    state.commit("s", 8, vec![(first(7, 1), accept(1))]).await.unwrap();
    assert_eq!(Connection::open(&path).unwrap().execute("UPDATE bucket SET data = x'ff'", []).unwrap(), 1);

    let tasks: Vec<_> = (0..16u8)
        .map(|i| {
            let state = Arc::clone(&state);
            tokio::spawn(async move { (i, state.commit("s", 8, vec![(first(i, 2), accept(2))]).await) })
        })
        .collect();
    for task in tasks {
        let (i, outcome) = task.await.unwrap();
        match i {
            7 => assert!(outcome.unwrap_err().what.contains("bucket 7 of `s`")),
            _ => drop(outcome.unwrap()),
        }
    }
    let sound: Vec<u32> = (0..16).filter(|i| *i != 7).collect();
    assert!(state.buckets("s", 8, &sound).await.unwrap().iter().all(|b| b.entries.len() == 1));
    assert!(state.buckets("s", 8, &[7]).await.unwrap_err().what.contains("damaged"));
}

#[tokio::test]
async fn two_openings_of_one_file_wait_for_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let (a, b) = tokio::join!(SqliteState::open(&path), SqliteState::open(&path));
    let states = [Arc::new(a.unwrap()), Arc::new(b.unwrap())];
    let tasks: Vec<_> = (0..40u8)
        .map(|i| {
            let state = Arc::clone(&states[usize::from(i % 2)]);
            tokio::spawn(async move {
                for round in 0..5 {
                    state.commit("s", 0, vec![(first(i, round), accept(1))]).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    for state in &states {
        assert_eq!(state.buckets("s", 0, &[0]).await.unwrap()[0].entries.len(), 200);
    }
}

#[tokio::test]
async fn what_a_caller_that_went_away_asked_for_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let state = SqliteState::open(&path).await.unwrap();
    let asked = state.commit("s", 0, vec![(first(1, 1), accept(1))]);
    assert!(futures_poll_once(asked).await, "it waits for the writer");
    drop(state);
    let state = SqliteState::open(&path).await.unwrap();
    assert_eq!(state.buckets("s", 0, &[0]).await.unwrap()[0].entries.len(), 1);
}

/// Polls a future once and drops it; true if it was begun and not refused.
async fn futures_poll_once<T>(future: impl Future<Output = Result<T, domain::fault::Fault>>) -> bool {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(!matches!(future.as_mut().poll(cx), std::task::Poll::Ready(Err(_))))
    })
    .await
}

#[tokio::test]
async fn only_a_durable_write_is_flushed_before_its_answer() {
    let folder = tempfile::tempdir().unwrap();
    let state = SqliteState::open(folder.path().join("state.db")).await.unwrap();
    for (durable, synchronous) in [(false, 1), (true, 2), (false, 1)] {
        let read = |conn: &Connection| Ok(conn.pragma_query_value(None, "synchronous", |row| row.get::<_, i32>(0))?);
        assert_eq!(state.writer.write(durable, read).await.unwrap(), synchronous);
    }
}
