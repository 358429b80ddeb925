//! Forgets what the table knows of a sync's records. Reads the whole table for it: rare, and asked for by a person.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{AttributeValue, DeleteRequest, WriteRequest};
use domain::fault::{Code, Fault};

use crate::Clients;
use crate::failure::AwsFailure;
use crate::keys::{PK, SK, state_partitions};

/// Items to a batch write.
const BATCH: usize = 25;

type TableKey = HashMap<String, AttributeValue>;

/// Removes every item of a sync's records, and says how many there were. Digests go before the buckets they speak of,
/// so that an interrupted call leaves nothing that would be believed. Heads and the history of runs stay.
pub async fn records(clients: &Clients, table: &str, sync: &str) -> Result<u64, Fault> {
    let client = clients.dynamodb();
    let parts = state_partitions(sync);
    let mut found: Vec<Vec<TableKey>> = vec![Vec::new(); parts.len()];
    let scan = client.scan().table_name(table).projection_expression("pk, sk").consistent_read(true);
    let mut pages = scan.into_paginator().items().send();
    while let Some(item) = pages.next().await {
        let item = item.map_err(|e| fault(table, &AwsFailure::of(&e)))?;
        let pk = item.get(PK).and_then(|pk| pk.as_s().ok()).map(String::as_str).unwrap_or_default();
        let is = |part: &String| if part.ends_with('#') { pk.starts_with(part.as_str()) } else { pk == part };
        let place = parts.iter().position(is);
        if let Some(place) = place {
            found[place].push(item);
        }
    }
    let mut removed = 0;
    for kind in found {
        for keys in kind.chunks(BATCH) {
            remove(&client, table, keys).await?;
            removed += keys.len() as u64;
        }
    }
    Ok(removed)
}

/// Removes some items; those that DynamoDB had no room for are tried again.
async fn remove(client: &aws_sdk_dynamodb::Client, table: &str, keys: &[TableKey]) -> Result<(), Fault> {
    let request = |key: &TableKey| {
        let only: TableKey =
            key.iter().filter(|(name, _)| *name == PK || *name == SK).map(|(n, v)| (n.clone(), v.clone())).collect();
        let delete = DeleteRequest::builder().set_key(Some(only)).build();
        delete.map(|delete| WriteRequest::builder().delete_request(delete).build())
    };
    let requests: Result<Vec<_>, _> = keys.iter().map(request).collect();
    let mut left =
        requests.map_err(|e| Fault::new(Code::Internal, format!("A write to the table cannot be described: {e}.")))?;
    let mut pause = std::time::Duration::from_millis(100);
    while !left.is_empty() {
        let sent = client
            .batch_write_item()
            .request_items(table, left)
            .send()
            .await
            .map_err(|e| fault(table, &AwsFailure::of(&e)))?;
        left = sent.unprocessed_items.and_then(|mut of| of.remove(table)).unwrap_or_default();
        if !left.is_empty() {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(std::time::Duration::from_secs(5));
        }
    }
    Ok(())
}

fn fault(table: &str, failure: &AwsFailure) -> Fault {
    Fault::new(Code::StateUnusable, format!("State in the table {table} cannot be removed ({failure})."))
        .with_next("Allow the caller dynamodb:Scan and BatchWriteItem on the table, then delete again; it goes on where it stopped.")
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::{AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType};

    use super::*;

    #[tokio::test]
    #[ignore = "needs the AWS emulator: ./tests/run"]
    async fn only_the_records_of_that_sync_go() {
        let endpoint = std::env::var("SLUICEGATE_TEST_AWS").unwrap();
        let clients = Clients::emulator(&endpoint).await;
        let client = clients.dynamodb();
        let table = format!("forget-{}", std::process::id());
        let key = |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap();
        let text = |name: &str| {
            AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S).build().unwrap()
        };
        let create = client.create_table().table_name(&table).billing_mode(BillingMode::PayPerRequest);
        let create = create.key_schema(key(PK, KeyType::Hash)).key_schema(key(SK, KeyType::Range));
        create.attribute_definitions(text(PK)).attribute_definitions(text(SK)).send().await.unwrap();
        let stay = ["h#crm", "s#crm", "b#crm2#7#1", "x#crm2", "b#cr#7#1", "definitions", "definition#crm"];
        let go: Vec<String> = (0..60)
            .map(|n| format!("b#crm#7#{n:x}"))
            .chain(["m#crm#7", "d#crm", "x#crm", "y#crm"].map(String::from))
            .collect();
        for pk in stay.iter().map(|pk| (*pk).to_owned()).chain(go.iter().cloned()) {
            client
                .put_item()
                .table_name(&table)
                .item(PK, AttributeValue::S(pk))
                .item(SK, AttributeValue::S("k".into()))
                .send()
                .await
                .unwrap();
        }
        assert_eq!(records(&clients, &table, "crm").await.unwrap(), go.len() as u64);
        assert_eq!(records(&clients, &table, "crm").await.unwrap(), 0);
        let left = client.scan().table_name(&table).send().await.unwrap();
        let mut left: Vec<&str> = left.items().iter().map(|item| item[PK].as_s().unwrap().as_str()).collect();
        left.sort_unstable();
        let mut stay = stay;
        stay.sort_unstable();
        assert_eq!(left, stay);
    }
}
