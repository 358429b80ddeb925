//! A result that comes in parts (partitions, chunks, files, streams): some are read at once, each in a task of its own that
//! also decodes it, and handed on in their order, or as they come where the parts have none.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Poll;

use async_trait::async_trait;
use clients::DatabasePlace;
use domain::fault::{Code, Fault};
use domain::ports::RowStream;
use domain::row::RowBatch;
use futures_util::stream::{self, StreamExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Batches of one part that wait to be taken.
const MAX_BATCHES_AHEAD: usize = 8;

/// What knows how to read one part.
#[async_trait]
pub(crate) trait PartReader: Send + Sync + 'static {
    /// The warehouse, for messages.
    fn place(&self) -> &DatabasePlace;

    /// How many parts there are.
    fn count(&self) -> usize;

    /// Reads part `number` and hands on its rows.
    async fn read(&self, number: usize, rows: &PartSender) -> Result<(), Fault>;
}

/// Takes the rows of one part.
pub(crate) struct PartSender(mpsc::Sender<PartItem>);

/// Nobody takes the rows any more.
pub(crate) struct NobodyListens;

impl PartSender {
    /// Hands on a batch; waits while too many are waiting.
    pub(crate) async fn send(&self, batch: RowBatch) -> Result<(), NobodyListens> {
        if batch.is_empty() {
            return Ok(());
        }
        self.0.send(PartItem::Rows(batch)).await.map_err(|_| NobodyListens)
    }
}

/// What goes through the channel. Without an explicit end, a task that broke off would look like the last row.
enum PartItem {
    Rows(RowBatch),
    Fault(Fault),
    End,
}

/// A part that is being read. Dropping it ends its task.
struct OpenPart {
    items: mpsc::Receiver<PartItem>,
    task: JoinHandle<()>,
}

impl Drop for OpenPart {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct PartsReading {
    reader: Arc<dyn PartReader>,
    next: usize,
    ahead: usize,
    open: VecDeque<OpenPart>,
    /// The rows of the first open part before those of the next.
    in_order: bool,
    ended: bool,
}

/// The rows of all parts in their order, `ahead` of them at once.
pub(crate) fn rows(reader: Arc<dyn PartReader>, ahead: usize) -> RowStream {
    reading(reader, ahead, true)
}

/// The rows of all parts as they come, `ahead` of them at once: a part never waits for another's.
pub(crate) fn rows_in_any_order(reader: Arc<dyn PartReader>, ahead: usize) -> RowStream {
    reading(reader, ahead, false)
}

fn reading(reader: Arc<dyn PartReader>, ahead: usize, in_order: bool) -> RowStream {
    let reading = PartsReading { reader, next: 0, ahead: ahead.max(1), open: VecDeque::new(), in_order, ended: false };
    stream::unfold(reading, PartsReading::next).boxed()
}

impl PartsReading {
    async fn next(mut self) -> Option<(Result<RowBatch, Fault>, Self)> {
        while !self.ended {
            self.open_more();
            if self.open.is_empty() {
                break;
            }
            let (at, item) = self.item().await;
            match item {
                Some(PartItem::Rows(batch)) => {
                    // Behind the others, so that one that is always ready holds up none.
                    if !self.in_order {
                        self.open.rotate_left(at + 1);
                    }
                    return Some((Ok(batch), self));
                }
                Some(PartItem::End) => {
                    self.open.remove(at);
                }
                Some(PartItem::Fault(fault)) => return self.fail(fault),
                None => {
                    let what =
                        format!("{}: the reading of a part of the result ended without a word.", self.reader.place());
                    return self.fail(Fault::new(Code::Internal, what));
                }
            }
        }
        None
    }

    /// What the next part that has something has, and which of the open ones it is.
    async fn item(&mut self) -> (usize, Option<PartItem>) {
        let watched = if self.in_order { 1 } else { self.open.len() };
        std::future::poll_fn(|context| {
            for (at, part) in self.open.iter_mut().take(watched).enumerate() {
                if let Poll::Ready(item) = part.items.poll_recv(context) {
                    return Poll::Ready((at, item));
                }
            }
            Poll::Pending
        })
        .await
    }

    fn fail(mut self, fault: Fault) -> Option<(Result<RowBatch, Fault>, Self)> {
        self.ended = true;
        self.open.clear();
        Some((Err(fault), self))
    }

    fn open_more(&mut self) {
        while self.open.len() < self.ahead && self.next < self.reader.count() {
            let (sender, items) = mpsc::channel(MAX_BATCHES_AHEAD);
            let (reader, number) = (Arc::clone(&self.reader), self.next);
            let task = tokio::spawn(async move {
                let sender = PartSender(sender);
                let last = match reader.read(number, &sender).await {
                    Ok(()) => PartItem::End,
                    Err(fault) => PartItem::Fault(fault),
                };
                // Nobody listening is no error: the stream was dropped.
                let _ = sender.0.send(last).await;
            });
            self.open.push_back(OpenPart { items, task });
            self.next += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Failing(DatabasePlace);

    #[async_trait]
    impl PartReader for Failing {
        fn place(&self) -> &DatabasePlace {
            &self.0
        }

        fn count(&self) -> usize {
            5
        }

        async fn read(&self, number: usize, rows: &PartSender) -> Result<(), Fault> {
            let mut batch = RowBatch::new(1);
            batch.push(domain::value::Value::Int(number as i64));
            let _ = rows.send(batch).await;
            assert!(number != 3, "planted panic");
            Ok(())
        }
    }

    /// Five parts; each but the last waits until the one after it has handed on its row.
    struct Backwards(DatabasePlace, [tokio::sync::Notify; 6]);

    #[async_trait]
    impl PartReader for Backwards {
        fn place(&self) -> &DatabasePlace {
            &self.0
        }

        fn count(&self) -> usize {
            5
        }

        async fn read(&self, number: usize, rows: &PartSender) -> Result<(), Fault> {
            if number < 4 {
                self.1[number + 1].notified().await;
            }
            let mut batch = RowBatch::new(1);
            batch.push(domain::value::Value::Int(number as i64));
            let _ = rows.send(batch).await;
            self.1[number].notify_one();
            Ok(())
        }
    }

    #[tokio::test]
    async fn parts_without_an_order_wait_for_none() {
        let reader = Arc::new(Backwards(DatabasePlace::warehouse("w"), Default::default()));
        let seen = rows_in_any_order(reader, 5).map(|batch| batch.unwrap().len()).collect::<Vec<_>>().await;
        assert_eq!(seen, [1; 5]);
        let reader = Arc::new(Failing(DatabasePlace::warehouse("w")));
        let seen = rows_in_any_order(reader, 3).collect::<Vec<_>>().await;
        assert!(matches!(seen.last(), Some(Err(fault)) if fault.code == Code::Internal), "{seen:?}");
    }

    #[tokio::test]
    async fn a_task_that_breaks_off_is_no_end() {
        let mut rows = rows(Arc::new(Failing(DatabasePlace::warehouse("w"))), 2);
        let mut seen = Vec::new();
        let fault = loop {
            match rows.next().await {
                Some(Ok(batch)) => seen.extend(batch.rows().map(|r| r.value(0).to_text().into_owned())),
                Some(Err(fault)) => break fault,
                None => panic!("a stream that broke off looks like one that came to its end"),
            }
        };
        assert_eq!((seen, fault.code), (["0", "1", "2", "3"].map(str::to_owned).to_vec(), Code::Internal));
        assert!(rows.next().await.is_none());
    }
}
