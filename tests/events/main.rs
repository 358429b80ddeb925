//! Every file of `events/` is handed to the real handler, on the state and the queues of the AWS emulator, and what
//! must follow is what follows. A file without a line here fails the test.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up fails")]

mod extractor;
mod rig;
mod ticks;
mod watch;
mod writer;

use std::collections::BTreeSet;

/// The events that the tests below are about, by folder.
#[test]
fn every_file_of_events_is_a_test_and_is_listed() {
    let readme = std::fs::read_to_string(rig::events().join("README.md")).unwrap();
    for (folder, tested) in [("extractor", extractor::TESTED), ("writer", writer::TESTED)] {
        let files = std::fs::read_dir(rig::events().join(folder)).unwrap();
        let files: BTreeSet<String> = files.map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
        assert_eq!(files, tested.iter().map(|name| format!("{name}.json")).collect(), "{folder}");
        for file in files {
            assert!(
                readme.contains(&format!("| `{folder}/{file}` |")),
                "events/README.md does not list {folder}/{file}"
            );
        }
    }
}
