//! Sends messages together that are asked to be sent at the same time: one request for up to ten of them. Each caller
//! is told of its own message only, and not before that is in the queue.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry as Entry;
use domain::fault::{Code, Fault};
use domain::retry::backoff;
use tokio::sync::oneshot;

use super::errors;
use crate::failure::{AwsFailure, AwsFailureKind};

/// Most messages in one request, as SQS has it.
pub(super) const MAX_BATCH: usize = 10;
/// Most requests at once.
pub(super) const REQUESTS: usize = 4;
/// Attempts of a message that SQS could not take although the request went well.
const ATTEMPTS: u32 = 5;
/// The pause before the second.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The permission that sending takes.
const PERMISSION: &str = "sqs:SendMessage";

/// The sending half of a queue.
#[derive(Clone)]
pub(super) struct Sender {
    shared: Arc<SenderState>,
}

struct SenderState {
    client: Client,
    url: String,
    /// Most bytes of one request: what SQS allows for one message it allows for a request.
    bytes: usize,
    waiting: Mutex<SendBuffer>,
}

#[derive(Default)]
struct SendBuffer {
    letters: VecDeque<PendingSend>,
    bytes: usize,
    requests: usize,
}

/// A message and who waits for it.
struct PendingSend {
    text: String,
    attempts: u32,
    done: oneshot::Sender<Result<(), Fault>>,
}

impl Sender {
    pub(super) fn new(client: Client, url: &str, bytes: usize) -> Self {
        Self { shared: Arc::new(SenderState { client, url: url.to_owned(), bytes, waiting: Mutex::default() }) }
    }

    /// Sends a text; returns when it is in the queue.
    pub(super) async fn send(&self, text: String) -> Result<(), Fault> {
        let (done, answer) = oneshot::channel();
        let begin = {
            let mut waiting = self.shared.waiting();
            waiting.bytes += text.len();
            waiting.letters.push_back(PendingSend { text, attempts: 0, done });
            // Another request only when there is a whole one to fill: until then messages wait for the one under way.
            let whole = waiting.letters.len() >= MAX_BATCH || waiting.bytes >= self.shared.bytes;
            let begin = waiting.requests == 0 || whole && waiting.requests < REQUESTS;
            waiting.requests += usize::from(begin);
            begin
        };
        if begin {
            // On its own, because who began it may stop waiting while others still do.
            tokio::spawn(Arc::clone(&self.shared).send_all());
        }
        answer
            .await
            .unwrap_or_else(|_| Err(Fault::new(Code::QueueUnusable, "The sending of a message was interrupted.")))
    }
}

impl SenderState {
    fn waiting(&self) -> MutexGuard<'_, SendBuffer> {
        // Nothing between lock and release can panic half-way through a change.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends until nothing waits.
    async fn send_all(self: Arc<Self>) {
        loop {
            // Callers that are about to send come along.
            tokio::task::yield_now().await;
            let letters = {
                let mut waiting = self.waiting();
                let letters = waiting.take(self.bytes);
                waiting.requests -= usize::from(letters.is_empty());
                letters
            };
            if letters.is_empty() {
                return;
            }
            self.send_together(letters).await;
        }
    }

    /// Sends in one request, and what SQS could not take in further ones.
    async fn send_together(&self, mut letters: Vec<PendingSend>) {
        while !letters.is_empty() {
            let entries = letters
                .iter()
                .enumerate()
                .map(|(id, letter)| Entry::builder().id(id.to_string()).message_body(&letter.text).build());
            let entries = match entries.collect::<Result<Vec<_>, _>>() {
                Ok(entries) => entries,
                Err(_) => {
                    return tell_all(letters, &Fault::new(Code::Internal, "A request to SQS could not be built."));
                }
            };
            let answer =
                match self.client.send_message_batch().queue_url(&self.url).set_entries(Some(entries)).send().await {
                    Ok(answer) => answer,
                    Err(e) => {
                        return tell_all(
                            letters,
                            &errors::queue(&self.url, "sent to", PERMISSION, &AwsFailure::of(&e)),
                        );
                    }
                };
            let sent = |id: &str| answer.successful.iter().any(|entry| entry.id == id);
            let mut again = Vec::new();
            for (id, mut letter) in letters.into_iter().enumerate() {
                let id = id.to_string();
                letter.attempts += 1;
                let failed = answer.failed.iter().find(|entry| entry.id == id);
                let failure = failed.map(|entry| AwsFailure::said(Some(&entry.code), entry.message.as_deref()));
                let ours = failed.is_some_and(|entry| entry.sender_fault)
                    && failure.as_ref().is_some_and(|failure| failure.kind != AwsFailureKind::Throttled);
                if sent(&id) {
                    let _ = letter.done.send(Ok(()));
                } else if ours || letter.attempts >= ATTEMPTS {
                    let failure =
                        failure.unwrap_or_else(|| AwsFailure::said(Some("no answer about this message"), None));
                    let _ = letter.done.send(Err(errors::queue(&self.url, "sent to", PERMISSION, &failure)));
                } else {
                    // One that the answer does not mention may be in the queue: twice is allowed, never is not.
                    again.push(letter);
                }
            }
            letters = again;
            if let Some(letter) = letters.first() {
                tracing::warn!(
                    queue = errors::name(&self.url),
                    messages = letters.len(),
                    attempt = letter.attempts,
                    "SQS did not take some messages of a request; sending them again"
                );
                tokio::time::sleep(backoff(letter.attempts, FIRST_PAUSE, fastrand::f64())).await;
            }
        }
    }
}

impl SendBuffer {
    /// As many letters as go into one request.
    fn take(&mut self, most: usize) -> Vec<PendingSend> {
        let (mut out, mut bytes) = (Vec::new(), 0);
        while let Some(letter) = self.letters.front() {
            if out.len() == MAX_BATCH || !out.is_empty() && bytes + letter.text.len() > most {
                break;
            }
            bytes += letter.text.len();
            out.extend(self.letters.pop_front());
        }
        self.bytes -= bytes;
        out
    }
}

fn tell_all(letters: Vec<PendingSend>, fault: &Fault) {
    for letter in letters {
        let _ = letter.done.send(Err(fault.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(sizes: &[usize]) -> SendBuffer {
        let letters: VecDeque<_> = sizes
            .iter()
            .map(|size| PendingSend { text: "x".repeat(*size), attempts: 0, done: oneshot::channel().0 })
            .collect();
        SendBuffer { bytes: sizes.iter().sum(), letters, requests: 0 }
    }

    #[test]
    fn a_request_holds_ten_messages_within_its_bytes() {
        for (sizes, most, expected) in [
            (vec![1; 25], 100, vec![10, 10, 5]),
            (vec![60, 40, 1, 100, 50, 51], 100, vec![2, 1, 1, 1, 1]),
            (vec![150, 1], 100, vec![1, 1]),
            (vec![], 100, vec![]),
        ] {
            let mut waiting = waiting(&sizes);
            let taken: Vec<_> = std::iter::repeat_with(|| waiting.take(most).len()).take_while(|n| *n > 0).collect();
            assert_eq!((taken, waiting.bytes), (expected, 0));
        }
    }
}
