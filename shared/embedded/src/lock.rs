//! One run at a time per sync on this machine: a lock on a file that the system gives up when the
//! process ends, however it ends.
//!
//! It is not the fence: that is the head's generation. It spares the second of two commands the wait
//! for the first one's stall time, and tells it at once who is at work.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;

use domain::fault::{Code, Fault};
use domain::ports::Clock as _;

use domain::ports::SystemClock;

/// Holds a sync until it is dropped or the process ends.
#[derive(Debug)]
pub struct SyncLock {
    file: File,
}

impl SyncLock {
    /// Locks `<folder>/<sync>.lock`, which it creates with the folder. Does not wait: a lock that is held
    /// is the fault `RunActive`, which names the holder.
    pub fn acquire(folder: &Path, sync: &str) -> Result<SyncLock, Fault> {
        let path = folder.join(format!("{sync}.lock"));
        let unusable = |e: std::io::Error| {
            Fault::new(Code::StateUnusable, format!("The lock file {} cannot be used: {e}.", path.display()))
        };
        std::fs::create_dir_all(folder).map_err(unusable)?;
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Some systems do not let others read a locked file: then the holder stays unnamed.
                let _ = file.read_to_string(&mut holder);
                return Err(active(sync, &holder));
            }
            Err(TryLockError::Error(e)) => return Err(unusable(e)),
        }
        file.set_len(0).map_err(unusable)?;
        file.rewind().map_err(unusable)?;
        writeln!(file, "{} {}", std::process::id(), SystemClock.now()).map_err(unusable)?;
        Ok(SyncLock { file })
    }
}

impl Drop for SyncLock {
    fn drop(&mut self) {
        // The file stays: were it removed, a third process could lock a new one while a second one holds
        // the old. Emptied, it does not name us to someone who asks before the next holder has written.
        let _ = self.file.set_len(0);
        let _ = self.file.unlock();
    }
}

fn active(sync: &str, holder: &str) -> Fault {
    let what = match holder.split_whitespace().collect::<Vec<_>>()[..] {
        [process, started] => format!("A run of `{sync}` of process {process}, started {started}, is active."),
        _ => format!("A run of `{sync}` is active in another process."),
    };
    Fault::new(Code::RunActive, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_learns_who_holds_the_sync() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("state");
        let held = SyncLock::acquire(&folder, "contacts").unwrap();
        let fault = SyncLock::acquire(&folder, "contacts").unwrap_err();
        assert_eq!(fault.code, Code::RunActive);
        assert!(fault.what.contains(&format!("process {}, started 20", std::process::id())), "{}", fault.what);
        let other = SyncLock::acquire(&folder, "deals").unwrap();
        drop(held);
        let again = SyncLock::acquire(&folder, "contacts").unwrap();
        drop((other, again));
    }

    #[test]
    fn a_holder_that_has_not_signed_yet_is_unnamed() {
        assert!(active("s", "").what.contains("another process"));
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_a_fault() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let fault = SyncLock::acquire(&file, "contacts").unwrap_err();
        assert_eq!(fault.code, Code::StateUnusable);
        assert!(fault.what.contains("contacts.lock"), "{}", fault.what);
    }
}
