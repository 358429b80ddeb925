//! The one thread that writes to the file. Operations that wait together are committed together: eight
//! writers cost one commit, not eight.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use domain::fault::{Code, Fault};
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::schema::{StateError, begin};

/// Most operations of one transaction.
const MAX_GROUP: usize = 256;

/// The thread's other end.
pub(super) struct StateWriter {
    operations: Option<Sender<Box<dyn WriteOperation>>>,
    thread: Option<JoinHandle<()>>,
}

/// Something to be done in a transaction. May be run again after that was rolled back.
trait WriteOperation: Send {
    /// It must be on the disk before the answer is given.
    fn durable(&self) -> bool;
    fn run(&mut self, conn: &Connection) -> Result<(), StateError>;
    fn answer(self: Box<Self>, outcome: Result<(), Fault>);
}

struct PendingWrite<T, F> {
    run: F,
    durable: bool,
    value: Option<T>,
    reply: oneshot::Sender<Result<T, Fault>>,
}

impl<T: Send, F: FnMut(&Connection) -> Result<T, StateError> + Send> WriteOperation for PendingWrite<T, F> {
    fn durable(&self) -> bool {
        self.durable
    }

    fn run(&mut self, conn: &Connection) -> Result<(), StateError> {
        self.value = Some((self.run)(conn)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), Fault>) {
        let PendingWrite { value, reply, .. } = *self;
        let answer = outcome.and_then(|()| value.ok_or_else(gone));
        // Nobody listens when the caller was dropped; what it asked for is done all the same.
        let _ = reply.send(answer);
    }
}

fn gone() -> Fault {
    Fault::new(Code::StateUnusable, "The thread that writes the state has ended.")
}

impl StateWriter {
    /// Starts the thread, which owns the connection.
    pub(super) fn start(conn: Connection, path: PathBuf) -> Result<Self, Fault> {
        let (operations, waiting) = channel();
        let thread = std::thread::Builder::new()
            .name("sluice-state".to_owned())
            .spawn(move || Thread { conn, path }.work(&waiting))
            .map_err(|e| {
                Fault::new(Code::StateUnusable, format!("No thread can be started to write the state: {e}."))
            })?;
        Ok(Self { operations: Some(operations), thread: Some(thread) })
    }

    /// Does it in a transaction and waits until that is committed; if `durable`, until it is on the disk.
    /// `run` is called once more after a failure of another operation of the same transaction.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        durable: bool,
        run: impl FnMut(&Connection) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, Fault> {
        let (reply, answer) = oneshot::channel();
        // Not bounded: every caller waits for its answer, so there are never more than there are callers.
        let operations = self.operations.as_ref().ok_or_else(gone)?;
        operations.send(Box::new(PendingWrite { run, durable, value: None, reply })).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

impl Drop for StateWriter {
    /// Waits for what is being written, so that a process that ends leaves one whole file and no log beside it.
    fn drop(&mut self) {
        self.operations = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Thread {
    conn: Connection,
    path: PathBuf,
}

impl Thread {
    fn work(self, waiting: &Receiver<Box<dyn WriteOperation>>) {
        while let Ok(first) = waiting.recv() {
            let mut group = vec![first];
            group.extend(waiting.try_iter().take(MAX_GROUP - 1));
            self.commit(group);
        }
    }

    /// Commits a group at once. Should an operation fail, none of the group is done by then, and each gets a
    /// transaction of its own: that costs the good case no savepoint.
    fn commit(&self, mut group: Vec<Box<dyn WriteOperation>>) {
        match self.transact(&mut group) {
            Err(GroupError::Operation(_)) if group.len() > 1 => {
                group.into_iter().for_each(|operation| self.commit(vec![operation]))
            }
            Err(GroupError::Operation(e) | GroupError::Transaction(e)) => {
                let fault = e.fault(&self.path);
                group.into_iter().for_each(|operation| operation.answer(Err(fault.clone())));
            }
            Ok(()) => group.into_iter().for_each(|operation| operation.answer(Ok(()))),
        }
    }

    /// With `synchronous = NORMAL` a commit is safe from a crash of the process, but a power cut may undo the
    /// last ones. That is fine for almost everything: the log is lost from its end only, so no later commit
    /// outlives an earlier one, and a lost acceptance is planned again. It is not fine where something outside
    /// the file follows from the commit: a digest must be cleared on the disk before the first message is sent,
    /// or else an old digest would vouch for records whose delivery nobody remembers. `FULL` flushes the log,
    /// with everything committed before, ahead of the answer. It can be set only outside a transaction.
    fn transact(&self, group: &mut [Box<dyn WriteOperation>]) -> Result<(), GroupError> {
        if !group.iter().any(|operation| operation.durable()) {
            return self.run(group);
        }
        self.conn.pragma_update(None, "synchronous", "FULL")?;
        let outcome = self.run(group);
        if let Err(e) = self.conn.pragma_update(None, "synchronous", "NORMAL") {
            tracing::warn!(error = %e, "The state goes on being flushed at every commit, which is slow.");
        }
        outcome
    }

    fn run(&self, group: &mut [Box<dyn WriteOperation>]) -> Result<(), GroupError> {
        begin(&self.conn)?;
        let outcome = group
            .iter_mut()
            .try_for_each(|operation| operation.run(&self.conn))
            .map_err(GroupError::Operation)
            .and_then(|()| self.conn.execute_batch("COMMIT").map_err(GroupError::from));
        // Some failures (a full disk) have ended the transaction already.
        if outcome.is_err() && !self.conn.is_autocommit() {
            self.conn.execute_batch("ROLLBACK")?;
        }
        outcome
    }
}

/// What failed decides who is to blame.
enum GroupError {
    Operation(StateError),
    Transaction(StateError),
}

impl From<rusqlite::Error> for GroupError {
    fn from(e: rusqlite::Error) -> Self {
        GroupError::Transaction(e.into())
    }
}
