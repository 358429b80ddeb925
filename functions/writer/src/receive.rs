//! The messages of an SQS event. The only place of the writer that looks at the shape of AWS events.

use domain::fault::{Code, Fault};
use domain::ports::Receipt;
use serde::Deserialize;
use serde_json::Value;

/// One message of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueMessage {
    /// Its id: names it in the answer.
    pub id: String,
    pub body: String,
    pub receipt: Receipt,
    /// How often it was received, this time included.
    pub receives: u32,
}

#[derive(Debug, Deserialize)]
struct Event {
    #[serde(rename = "Records")]
    records: Vec<SqsRecord>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SqsRecord {
    message_id: String,
    receipt_handle: String,
    body: String,
    attributes: Attributes,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attributes {
    approximate_receive_count: String,
}

pub fn read(event: Value) -> Result<Vec<QueueMessage>, Fault> {
    let unknown = |e: serde_json::Error| {
        Fault::new(Code::EventUnknown, format!("The writer takes events of its queue and cannot read this one: {e}."))
    };
    let event: Event = serde_json::from_value(event).map_err(unknown)?;
    let received = |record: SqsRecord| QueueMessage {
        id: record.message_id,
        body: record.body,
        receipt: Receipt(record.receipt_handle),
        receives: record.attributes.approximate_receive_count.parse().unwrap_or(1),
    };
    Ok(event.records.into_iter().map(received).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response::SqsBatchResponse;
    use serde_json::json;

    #[test]
    fn an_event_gives_its_messages_and_the_answer_names_those_that_stay() {
        let event = json!({ "Records": [{
            "messageId": "m1", "receiptHandle": "r1", "body": "text", "attributes": { "ApproximateReceiveCount": "3", "SentTimestamp": "1" },
            "messageAttributes": {}, "md5OfBody": "", "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:eu-west-1:1:q", "awsRegion": "eu-west-1",
        }]});
        let received = read(event).unwrap();
        assert_eq!(
            received,
            [QueueMessage { id: "m1".into(), body: "text".into(), receipt: Receipt("r1".into()), receives: 3 }]
        );
        assert_eq!(
            serde_json::to_value(SqsBatchResponse::keep(["m1".to_owned()])).unwrap(),
            json!({ "batchItemFailures": [{ "itemIdentifier": "m1" }] })
        );
        assert_eq!(serde_json::to_value(SqsBatchResponse::default()).unwrap(), json!({ "batchItemFailures": [] }));
    }

    #[test]
    fn another_event_is_refused() {
        assert_eq!(read(json!({ "sync": "crm" })).unwrap_err().code, Code::EventUnknown);
    }
}
