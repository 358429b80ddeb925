//! Makes the table, for tests and emulators. A stack makes its own.

use std::time::Duration;

use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableStatus,
    TimeToLiveSpecification,
};
use domain::fault::Fault;

use super::errors::unusable;
use crate::Clients;
use crate::keys::{PK, SK, TTL};

/// Looks at a table that is being made.
const MAX_POLLS: u32 = 120;
/// The time between two of them.
const PAUSE: Duration = Duration::from_millis(500);

/// Creates the table `name` with its keys and its time to live, paid by request, and waits until it can be used.
/// Fault: `StateUnusable`.
pub async fn create_table(clients: &Clients, name: &str) -> Result<(), Fault> {
    let client = clients.dynamodb();
    let fault = |code: Option<&str>| {
        let what = format!("The table `{name}` cannot be created ({}).", code.unwrap_or("no answer"));
        unusable(what, "check endpoint, region and credentials, and that no table of this name is there.")
    };
    let mut create = client.create_table().table_name(name).billing_mode(BillingMode::PayPerRequest);
    for (key, kind) in [(PK, KeyType::Hash), (SK, KeyType::Range)] {
        let definition =
            AttributeDefinition::builder().attribute_name(key).attribute_type(ScalarAttributeType::S).build();
        let element = KeySchemaElement::builder().attribute_name(key).key_type(kind).build();
        create = create
            .attribute_definitions(definition.map_err(|_| fault(None))?)
            .key_schema(element.map_err(|_| fault(None))?);
    }
    create.send().await.map_err(|e| fault(e.code()))?;
    for _ in 0..MAX_POLLS {
        let described = client.describe_table().table_name(name).send().await.map_err(|e| fault(e.code()))?;
        if described.table.and_then(|table| table.table_status) == Some(TableStatus::Active) {
            let ttl = TimeToLiveSpecification::builder()
                .attribute_name(TTL)
                .enabled(true)
                .build()
                .map_err(|_| fault(None))?;
            client
                .update_time_to_live()
                .table_name(name)
                .time_to_live_specification(ttl)
                .send()
                .await
                .map_err(|e| fault(e.code()))?;
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(unusable(
        format!("The table `{name}` was created and is not active after a minute."),
        "look at it in the console.",
    ))
}
