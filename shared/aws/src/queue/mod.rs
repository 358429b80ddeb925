//! The queue of one destination on SQS (a standard queue: at least once, in any order). A batch too large for a message
//! goes into the stack's bucket, and the message says where it is.

mod errors;
mod send;
mod text;
mod urls;

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::types::{MessageAttributeValue, MessageSystemAttributeName};
use domain::batch::Message;
use domain::fault::{Code, Fault};
use domain::ports::{BatchQueue, Delivery, Receipt};
use tokio::time::Instant;

use self::send::Sender;
pub use self::urls::QueueUrls;
use crate::Clients;
use crate::failure::{AwsFailure, AwsFailureKind};
use crate::objects::Objects;

/// Most bytes of a batch's body. What a message does not hold goes through the bucket; this bounds what a writer holds
/// in memory.
pub const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;
/// Most messages that SQS hands out at once.
const RECEIVED: usize = 10;
/// The longest that SQS waits for a message.
const LONG_POLL: Duration = Duration::from_secs(20);
/// The longest time that a message can be hidden for.
const LONGEST_DELAY: Duration = Duration::from_secs(12 * 3600);
/// The name of the message attribute that says why a message was set aside.
pub const REASON: &str = "SluicegateReason";
/// Most characters of a reason.
const REASON_LENGTH: usize = 500;

/// A queue of SQS.
pub struct SqsQueue {
    client: Client,
    url: String,
    sender: Sender,
    objects: Objects,
    max_message_bytes: usize,
}

impl SqsQueue {
    /// The queue of this URL. Bodies that make a message's text larger than `max_message_bytes` go into `bucket`.
    pub fn new(clients: &Clients, url: &str, bucket: &str, max_message_bytes: usize) -> Self {
        // A receive that waits takes longer than any other call may.
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(3))
            .operation_attempt_timeout(LONG_POLL + Duration::from_secs(10))
            .build();
        let client =
            Client::from_conf(aws_sdk_sqs::config::Builder::from(clients.config()).timeout_config(timeouts).build());
        let sender = Sender::new(clients.sqs(), url, max_message_bytes);
        Self { client, url: url.to_owned(), sender, objects: Objects::new(clients, bucket), max_message_bytes }
    }

    /// The message of a text that SQS delivered. Fault `QueueUnusable`: it is none of ours or damaged, or its body is
    /// gone.
    pub async fn read(&self, body: &str) -> Result<Message, Fault> {
        match text::read(body).map_err(|why| errors::message(&why))? {
            text::Read::Whole(message) => Ok(message),
            text::Read::Elsewhere { header, key, bytes } => match self.objects.get(&key).await? {
                Some(body) if body.len() == bytes => Ok(Message { header, body }),
                Some(_) => Err(errors::message("its body in the bucket has another size than it says")),
                None => Err(errors::body_gone(&key)),
            },
        }
    }

    /// The receipt of a delivery that came by another way than [`BatchQueue::receive`]: its handle and its text.
    pub fn receipt(handle: &str, body: &str) -> Receipt {
        match text::place(body) {
            Some(key) => Receipt(format!("{handle} {key}")),
            None => Receipt(handle.to_owned()),
        }
    }

    /// Sends a message that nobody can handle to the dead letter queue, with the reason as the attribute [`REASON`].
    /// The message in this queue stays: the caller removes it.
    pub async fn dead_letter_message(&self, dlq_url: &str, body: &str, reason: &str) -> Result<(), Fault> {
        let reason: String = reason.chars().filter(|c| !c.is_control() || *c == '\n').take(REASON_LENGTH).collect();
        let mut send = self.client.send_message().queue_url(dlq_url).message_body(body);
        // Attributes count too; a message that is full goes without its reason, which is in the log.
        if !reason.is_empty() && body.len() + REASON.len() + "String".len() + reason.len() <= self.max_message_bytes {
            let value = MessageAttributeValue::builder().data_type("String").string_value(reason).build();
            let value = value.map_err(|_| Fault::new(Code::Internal, "A message attribute could not be built."))?;
            send = send.message_attributes(REASON, value);
        }
        send.send()
            .await
            .map(drop)
            .map_err(|e| errors::queue(dlq_url, "sent to", "sqs:SendMessage", &AwsFailure::of(&e)))
    }

    async fn remove(&self, key: &str) {
        if let Err(fault) = self.objects.remove(key).await {
            tracing::warn!(key, code = %fault.code, what = fault.what, "the body of a batch that is done was not removed");
        }
    }

    async fn receive_once(&self, most: usize, wait: u64) -> Result<Vec<Delivery>, Fault> {
        let call = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(most.clamp(1, RECEIVED) as i32)
            .wait_time_seconds(wait as i32);
        let call = call.message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount);
        let answer = call
            .send()
            .await
            .map_err(|e| errors::queue(&self.url, "read", "sqs:ReceiveMessage", &AwsFailure::of(&e)))?;
        let mut out = Vec::new();
        for received in answer.messages.unwrap_or_default() {
            let (body, handle) = (received.body.unwrap_or_default(), received.receipt_handle.unwrap_or_default());
            let receives = received
                .attributes
                .as_ref()
                .and_then(|a| a.get(&MessageSystemAttributeName::ApproximateReceiveCount)?.parse().ok())
                .unwrap_or(1);
            match self.read(&body).await {
                Ok(message) => out.push(Delivery { message, receipt: Self::receipt(&handle, &body), receives }),
                // It comes again, and ends in the dead letter queue by the redrive policy; its neighbours are
                // delivered.
                Err(fault) => {
                    tracing::error!(
                        queue = errors::name(&self.url),
                        receives,
                        what = fault.what,
                        next = fault.next_step(),
                        "a message cannot be read"
                    )
                }
            }
        }
        Ok(out)
    }
}

/// The handle of a receipt, and the key of its body in the bucket.
fn parts(receipt: &Receipt) -> (&str, Option<&str>) {
    receipt.0.split_once(' ').map_or((&receipt.0, None), |(handle, key)| (handle, Some(key)))
}

/// True when SQS says that a receipt is no longer good: its message is gone, or was received again since.
fn is_old(failure: &AwsFailure) -> bool {
    failure.kind == AwsFailureKind::Other
        && ["ReceiptHandleIsInvalid", "MessageNotInflight", "InvalidParameterValue"]
            .iter()
            .any(|code| failure.code.contains(code))
}

#[async_trait]
impl BatchQueue for SqsQueue {
    fn max_body_bytes(&self) -> usize {
        MAX_BODY_BYTES
    }

    fn carried_body_bytes(&self) -> usize {
        text::body_within(self.max_message_bytes)
    }

    fn sends_at_once(&self) -> usize {
        send::MAX_BATCH * send::REQUESTS
    }

    async fn send(&self, message: Message) -> Result<(), Fault> {
        let Message { header, body } = message;
        if body.len() > MAX_BODY_BYTES {
            return Err(errors::too_large(header.number, body.len(), MAX_BODY_BYTES));
        }
        let head = text::head(&header)
            .map_err(|why| Fault::new(Code::Internal, format!("Batch {} cannot be sent: {why}.", header.number)))?;
        if text::size(&head, body.len()) <= self.max_message_bytes {
            return self.sender.send(text::whole(head, &body)).await;
        }
        let (key, bytes) = (text::key(&header), body.len());
        let text = text::pointer(head, &key, bytes);
        if text.len() > self.max_message_bytes {
            return Err(errors::too_large(header.number, text.len(), self.max_message_bytes));
        }
        self.objects.put(&key, body).await?;
        self.sender.send(text).await
    }

    async fn receive(&self, most: usize, wait: Duration) -> Result<Vec<Delivery>, Fault> {
        let give_up = Instant::now() + wait;
        // SQS waits for whole seconds: at least one, where there is a wait at all.
        let mut seconds = if wait.is_zero() { 0 } else { wait.min(LONG_POLL).as_secs().max(1) };
        loop {
            let received = self.receive_once(most, seconds).await?;
            seconds = give_up.saturating_duration_since(Instant::now()).min(LONG_POLL).as_secs();
            if !received.is_empty() || seconds == 0 {
                return Ok(received);
            }
        }
    }

    async fn delay(&self, receipt: &Receipt, delay: Duration) -> Result<(), Fault> {
        let seconds = delay.min(LONGEST_DELAY).as_millis().div_ceil(1000) as i32;
        let call = self
            .client
            .change_message_visibility()
            .queue_url(&self.url)
            .receipt_handle(parts(receipt).0)
            .visibility_timeout(seconds);
        match call.send().await.map_err(|e| AwsFailure::of(&e)) {
            Err(failure) if !is_old(&failure) => {
                Err(errors::queue(&self.url, "changed", "sqs:ChangeMessageVisibility", &failure))
            }
            _ => Ok(()),
        }
    }

    async fn done(&self, receipt: &Receipt) -> Result<(), Fault> {
        let (handle, key) = parts(receipt);
        match self
            .client
            .delete_message()
            .queue_url(&self.url)
            .receipt_handle(handle)
            .send()
            .await
            .map_err(|e| AwsFailure::of(&e))
        {
            Err(failure) if !is_old(&failure) => {
                return Err(errors::queue(&self.url, "written", "sqs:DeleteMessage", &failure));
            }
            _ => {}
        }
        // Done is the batch and not this delivery: another delivery of it needs no body any more.
        if let Some(key) = key {
            self.remove(key).await;
        }
        Ok(())
    }
}
