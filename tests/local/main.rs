//! Both functions by hand on one machine, without an account: `tests/run --local`.
//!
//! Makes what a stack has (table, bucket, queues) on the AWS emulator, applies the sync of `events/`, writes the
//! functions' environment to `target/local.env`, and does what Lambda's event source mapping does: hands the messages
//! of the queue to the writer that `cargo lambda watch` serves. Ends with Ctrl-C.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a tool of developers that cannot go on ends, and speaks to a person"
)]

#[path = "../events/rig.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod rig;

use std::path::Path;
use std::time::Duration;

use rig::{Rig, event};
use serde_json::{Value, json};

/// Customers in the warehouse.
const ROWS: u32 = 200;
/// Where `cargo lambda watch` listens.
const WATCH: &str = "http://127.0.0.1:9000";
/// Messages handed to the writer at once.
const TOGETHER: i32 = 5;

#[tokio::main]
async fn main() {
    // A bare client needs its cryptography installed, although nothing here is encrypted.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let rig = Rig::new(ROWS, support::aws::MESSAGE_BYTES).await;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/local.env");
    std::fs::write(&file, environment(&rig)).expect("target/local.env can be written");
    println!(
        "\nA table, a bucket, queues, and the sync `{}` of {ROWS} customers to a webhook are there. In other terminals, in the\n\
         repository's folder:\n\n  \
         cargo lambda watch --env-file target/local.env\n  \
         cargo lambda invoke extractor --data-file events/extractor/scheduled.json\n\n\
         Batches go to the writer by themselves. Ctrl-C ends this and removes everything.\n",
        rig::SYNC
    );
    tokio::select! {
        () = deliver(&rig) => {}
        _ = tokio::signal::ctrl_c() => println!("ended"),
    }
}

/// The functions' variables, a line each.
fn environment(rig: &Rig) -> String {
    let (extractor, writer) = (&rig.extractor.settings, &rig.writer.settings);
    let common = &extractor.common;
    let endpoint = support::aws::endpoint();
    let variables = [
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        // The extractor goes on in other invocations of itself.
        ("AWS_ENDPOINT_URL_LAMBDA", WATCH),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("SLUICEGATE_STACK", &common.stack),
        ("SLUICEGATE_TABLE", &common.table),
        ("SLUICEGATE_BUCKET", &common.bucket),
        ("SLUICEGATE_QUEUE_PREFIX", &extractor.queue_prefix),
        ("SLUICEGATE_DESTINATION", &writer.destination),
        ("SLUICEGATE_QUEUE_URL", &writer.queue_url),
        ("SLUICEGATE_DLQ_URL", &writer.dlq_url),
        ("SLUICEGATE_LOG", "info"),
    ];
    variables.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
}

/// Hands messages to the writer, for ever.
async fn deliver(rig: &Rig) {
    const RECEIVES: &str = "ApproximateReceiveCount";
    let (sqs, client, like) = (rig.clients.sqs(), reqwest::Client::new(), &event("writer/one.json")["Records"][0]);
    loop {
        let receive = sqs.receive_message().queue_url(&rig.queue).max_number_of_messages(TOGETHER).wait_time_seconds(5);
        let received = receive.message_system_attribute_names(RECEIVES.into()).send().await.expect("the queue answers");
        let messages = received.messages.unwrap_or_default();
        if messages.is_empty() {
            continue;
        }
        let records: Vec<Value> = messages
            .iter()
            .map(|message| {
                let mut record = like.clone();
                record["messageId"] = json!(message.message_id);
                record["receiptHandle"] = json!(message.receipt_handle);
                record["body"] = json!(message.body);
                record["attributes"][RECEIVES] =
                    json!(message.attributes.as_ref().and_then(|a| a.get(&RECEIVES.into())));
                record
            })
            .collect();
        let kept = match invoke(&client, &json!({ "Records": records })).await {
            Ok(kept) => kept,
            Err(why) => {
                println!(
                    "{} messages wait: the writer does not answer ({why}). Is `cargo lambda watch` running?",
                    messages.len()
                );
                tokio::time::sleep(Duration::from_secs(5)).await;
                records.iter().filter_map(|record| record["messageId"].as_str().map(str::to_owned)).collect()
            }
        };
        for message in messages.iter().filter(|message| !kept.iter().any(|id| Some(id) == message.message_id.as_ref()))
        {
            let delete =
                sqs.delete_message().queue_url(&rig.queue).receipt_handle(message.receipt_handle().expect("a handle"));
            delete.send().await.expect("the queue answers");
        }
        println!(
            "{} messages delivered, {} stay; the webhook has {} customers",
            messages.len() - kept.len(),
            kept.len(),
            rig.double.records().len()
        );
    }
}

/// Invokes the writer; the ids of the messages that stay.
async fn invoke(client: &reqwest::Client, event: &Value) -> Result<Vec<String>, String> {
    let request = client.post(format!("{WATCH}/2015-03-31/functions/writer/invocations")).body(event.to_string());
    let answer = request.send().await.map_err(|e| e.to_string())?;
    let (status, text) = (answer.status(), answer.text().await.map_err(|e| e.to_string())?);
    let answer: Value = serde_json::from_str(&text).map_err(|_| format!("{status}: {text}"))?;
    let kept = answer["batchItemFailures"].as_array().ok_or_else(|| format!("{status}: {text}"))?;
    Ok(kept.iter().filter_map(|one| one["itemIdentifier"].as_str().map(str::to_owned)).collect())
}
