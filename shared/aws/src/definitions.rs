//! What is applied: every sync with its two connections, by version, in the one table.
//!
//! A sync has a *current* item, which says which version is active and whether the sync is paused, and an item for each
//! version. The sync of a version never changes; its connections are those of the newest apply. A version that was
//! replaced stays for [`KEPT`], longer than any run, so that a run ends with the version it began with.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, ConditionCheck, Put, ReturnValue, TransactWriteItem, Update};
use domain::clock::Millis;
use domain::connection::Definition;
use domain::fault::{Code, Fault};
use domain::sync::Schedule;

use crate::Clients;
use crate::failure::{AwsFailure, AwsFailureKind};
use crate::keys::{PK, SK, current_definitions, definition_versions};

/// How long a version stays after it was replaced or removed.
pub const KEPT: Duration = Duration::from_secs(90 * 86_400);
/// Most bytes of a definition: an item has at most 400 KB, names included.
const LARGEST: usize = 390_000;

type DefinitionItem = HashMap<String, AttributeValue>;

/// The definitions of a table.
#[derive(Clone)]
pub struct Definitions {
    client: aws_sdk_dynamodb::Client,
    table: String,
}

/// The definition a run starts with.
#[derive(Debug, Clone, PartialEq)]
pub struct ActiveDefinition {
    pub definition: Definition,
    /// The sync must not start by schedule or event.
    pub paused: bool,
}

/// A sync as the list has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    pub sync: String,
    pub version: String,
    /// The sync must not start by schedule or event.
    pub paused: bool,
    /// When this version was applied.
    pub applied: Millis,
    /// When the sync was resumed last.
    pub resumed: Option<Millis>,
    /// When it runs: what events are matched against.
    pub schedule: Schedule,
}

impl Definitions {
    /// The definitions in this table.
    pub fn new(clients: &Clients, table: &str) -> Self {
        Self { client: clients.dynamodb(), table: table.to_owned() }
    }

    /// The active definition of a sync; `None` when no sync of this name is applied.
    pub async fn active(&self, sync: &str) -> Result<Option<ActiveDefinition>, Fault> {
        let Some(item) = self.item(&current_definitions(), sync).await? else { return Ok(None) };
        let current = self.listed(&item)?;
        // A version is written before it is current, and goes only after another one is.
        match self.get(sync, &current.version).await? {
            Some(definition) => Ok(Some(ActiveDefinition { definition, paused: current.paused })),
            None => Err(self.corrupt(&format!("version {} of sync `{sync}` is active and not there", current.version))),
        }
    }

    /// A version of a sync's definition.
    pub async fn get(&self, sync: &str, version: &str) -> Result<Option<Definition>, Fault> {
        let Some(item) = self.item(&definition_versions(sync), version).await? else { return Ok(None) };
        let text = text(&item, "definition")
            .ok_or_else(|| self.corrupt(&format!("version {version} of sync `{sync}` holds no definition")))?;
        // The message of serde may repeat a value, and there is nothing in it that the operator could use.
        serde_json::from_str(text).map(Some).map_err(|_| {
            self.corrupt(&format!("version {version} of sync `{sync}` is of a form that this release does not read"))
        })
    }

    /// Every sync that is applied, by name.
    pub async fn list(&self) -> Result<Vec<Listed>, Fault> {
        self.each().await?.into_iter().map(|(_, listed)| listed).collect()
    }

    /// Every sync that is applied, each with its own fault where it cannot be read: one hides no other.
    pub async fn each(&self) -> Result<Vec<(String, Result<Listed, Fault>)>, Fault> {
        let items = self.query(&current_definitions()).await?;
        Ok(items.iter().map(|item| (text(item, SK).unwrap_or_default().to_owned(), self.listed(item))).collect())
    }

    /// Makes a definition the active one, whole or not at all. Paused stays paused. Safe to repeat.
    pub async fn put(&self, definition: &Definition, now: Millis) -> Result<(), Fault> {
        let (sync, version) = (&definition.sync.name, definition.sync.version());
        let body = json(definition)?;
        if body.len() > LARGEST {
            let what =
                format!("Sync `{sync}` and its connections have {} bytes; the table takes {LARGEST}.", body.len());
            return Err(Fault::new(Code::SyncInvalid, what)
                .with_next("move the model's SQL into a view of the warehouse, or divide the sync"));
        }
        // Without `ttl`: a version that comes back stays.
        let stored = Put::builder()
            .table_name(&self.table)
            .item(PK, s(definition_versions(sync)))
            .item(SK, s(&version))
            .item("definition", s(body));
        let current = Update::builder()
            .table_name(&self.table)
            .key(PK, s(current_definitions()))
            .key(SK, s(sync))
            .update_expression(
                "SET version = :version, applied = :applied, schedule = :schedule, paused = if_not_exists(paused, :no)",
            )
            .expression_attribute_values(":version", s(&version))
            .expression_attribute_values(":applied", n(now.0))
            .expression_attribute_values(":schedule", s(json(&definition.sync.schedule)?))
            .expression_attribute_values(":no", AttributeValue::Bool(false));
        let write = self
            .client
            .transact_write_items()
            .transact_items(TransactWriteItem::builder().put(stored.build().map_err(incomplete)?).build());
        let write =
            write.transact_items(TransactWriteItem::builder().update(current.build().map_err(incomplete)?).build());
        write.send().await.map_err(|e| self.fault("written", &e))?;
        self.retire(sync, Some(&version), now).await
    }

    /// Pauses or resumes a sync. `false`: no sync of this name is applied.
    pub async fn set_paused(&self, sync: &str, paused: bool, now: Millis) -> Result<bool, Fault> {
        let update =
            self.client.update_item().table_name(&self.table).key(PK, s(current_definitions())).key(SK, s(sync));
        let update = match paused {
            true => update.update_expression("SET paused = :paused"),
            false => update
                .update_expression("SET paused = :paused, resumed = :now")
                .expression_attribute_values(":now", n(now.0)),
        };
        let sent = update
            .condition_expression("attribute_exists(version)")
            .expression_attribute_values(":paused", AttributeValue::Bool(paused))
            .send()
            .await;
        match sent {
            Ok(_) => Ok(true),
            Err(e) if e.as_service_error().is_some_and(|e| e.is_conditional_check_failed_exception()) => Ok(false),
            Err(e) => Err(self.fault("written", &e)),
        }
    }

    /// Takes a sync out. Its versions stay for [`KEPT`], for runs that are going on. `false`: it was not there.
    pub async fn remove(&self, sync: &str, now: Millis) -> Result<bool, Fault> {
        let delete =
            self.client.delete_item().table_name(&self.table).key(PK, s(current_definitions())).key(SK, s(sync));
        let deleted = delete.return_values(ReturnValue::AllOld).send().await.map_err(|e| self.fault("written", &e))?;
        self.retire(sync, None, now).await?;
        Ok(deleted.attributes.is_some_and(|old| !old.is_empty()))
    }

    /// Gives every version but the active one its end, those that an interrupted apply left without one included.
    async fn retire(&self, sync: &str, active: Option<&str>, now: Millis) -> Result<(), Fault> {
        for item in self.query(&definition_versions(sync)).await? {
            let Some(version) = text(&item, SK).filter(|version| Some(*version) != active && !item.contains_key("ttl"))
            else {
                continue;
            };
            // Checked in the same breath, so that no version gets an end that is being made active again.
            let replaced = ConditionCheck::builder()
                .table_name(&self.table)
                .key(PK, s(current_definitions()))
                .key(SK, s(sync))
                .condition_expression("attribute_not_exists(version) OR version <> :version")
                .expression_attribute_values(":version", s(version));
            let end = Update::builder()
                .table_name(&self.table)
                .key(PK, s(definition_versions(sync)))
                .key(SK, s(version))
                .update_expression("SET #ttl = :end")
                .condition_expression("attribute_exists(#definition)")
                .expression_attribute_names("#definition", "definition")
                .expression_attribute_names("#ttl", "ttl")
                .expression_attribute_values(":end", n(now.plus(KEPT).0 / 1000));
            let write = self.client.transact_write_items().transact_items(
                TransactWriteItem::builder().condition_check(replaced.build().map_err(incomplete)?).build(),
            );
            match write
                .transact_items(TransactWriteItem::builder().update(end.build().map_err(incomplete)?).build())
                .send()
                .await
            {
                Err(e) if !was_refused(&e) => return Err(self.fault("written", &e)),
                _ => {}
            }
        }
        Ok(())
    }

    async fn item(&self, pk: &str, sk: &str) -> Result<Option<DefinitionItem>, Fault> {
        let get = self.client.get_item().table_name(&self.table).key(PK, s(pk)).key(SK, s(sk)).consistent_read(true);
        Ok(get.send().await.map_err(|e| self.fault("read", &e))?.item)
    }

    async fn query(&self, pk: &str) -> Result<Vec<DefinitionItem>, Fault> {
        let query =
            self.client.query().table_name(&self.table).consistent_read(true).key_condition_expression("pk = :pk");
        let mut pages = query.expression_attribute_values(":pk", s(pk)).into_paginator().items().send();
        let mut items = Vec::new();
        while let Some(item) = pages.next().await {
            items.push(item.map_err(|e| self.fault("read", &e))?);
        }
        Ok(items)
    }

    fn listed(&self, item: &DefinitionItem) -> Result<Listed, Fault> {
        let read = || {
            Some(Listed {
                sync: text(item, SK)?.to_owned(),
                version: text(item, "version")?.to_owned(),
                paused: *item.get("paused")?.as_bool().ok()?,
                applied: Millis(number(item, "applied")?),
                resumed: number(item, "resumed").map(Millis),
                schedule: serde_json::from_str(text(item, "schedule")?).ok()?,
            })
        };
        read().ok_or_else(|| {
            self.corrupt(&format!(
                "the current item of sync `{}` is of a form that this release does not read",
                text(item, SK).unwrap_or("?")
            ))
        })
    }

    fn corrupt(&self, what: &str) -> Fault {
        Fault::new(Code::StateUnusable, format!("In the table {} {what}.", self.table))
            .with_next("Apply the project again with the newest release: sluice apply")
    }

    fn fault<E: ProvideErrorMetadata>(&self, what: &str, error: &SdkError<E>) -> Fault {
        let failure = AwsFailure::of(error);
        let fault = Fault::new(
            Code::StateUnusable,
            format!("Definitions in the table {} cannot be {what} ({failure}).", self.table),
        );
        match failure.kind {
            AwsFailureKind::Missing => fault.with_next("Deploy the stack again: its table is gone. Check the region too."),
            AwsFailureKind::Denied | AwsFailureKind::Key => {
                fault.with_next("Allow the caller dynamodb:GetItem, Query, PutItem, UpdateItem and DeleteItem on the table, and its key.")
            }
            AwsFailureKind::Throttled | AwsFailureKind::Unreachable | AwsFailureKind::Other => fault.with_next("Run it again; it goes on where it stopped."),
        }
    }
}

/// True when a condition of a transaction did not hold.
fn was_refused<R>(error: &SdkError<TransactWriteItemsError, R>) -> bool {
    let Some(TransactWriteItemsError::TransactionCanceledException(canceled)) = error.as_service_error() else {
        return false;
    };
    canceled.cancellation_reasons().iter().any(|reason| reason.code() == Some("ConditionalCheckFailed"))
}

fn incomplete(e: impl std::fmt::Display) -> Fault {
    Fault::new(Code::Internal, format!("A write to the table cannot be described: {e}."))
}

fn s(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

fn n(number: i64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

fn text<'a>(item: &'a DefinitionItem, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

fn number(item: &DefinitionItem, name: &str) -> Option<i64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

fn json(value: &impl serde::Serialize) -> Result<String, Fault> {
    serde_json::to_string(value)
        .map_err(|e| Fault::new(Code::Internal, format!("A definition cannot be written down: {e}.")))
}
