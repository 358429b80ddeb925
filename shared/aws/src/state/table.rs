//! Calls of the one table: tried again where that helps, counted, and with a fault for people where it does not.
//! Knows nothing of what lies in the table.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{
    ConsumedCapacity, DeleteRequest, KeysAndAttributes, PutRequest, ReturnConsumedCapacity, ReturnValue,
    ReturnValuesOnConditionCheckFailure, WriteRequest,
};
use domain::fault::Fault;
use domain::retry::backoff;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::consumed::{Counters, read_units, size, write_units};
use super::errors::{self, RetryVerdict};
use super::item::{Item, key_item, text};
use crate::Clients;
use crate::failure::AwsFailure;
use crate::keys::{Key, PK, SK};

/// Attempts of one call.
const ATTEMPTS: u32 = 9;
/// The pause before the second; doubles from there, about ten seconds in all.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Most keys in one BatchGetItem.
const GET_AT_ONCE: usize = 100;
/// Most requests in one BatchWriteItem.
const WRITE_AT_ONCE: usize = 25;
/// Requests of one call of the port under way at a time.
pub(super) const CONCURRENT: usize = 16;

/// What a conditional write came to.
pub(super) enum Written {
    /// It took effect; the attributes it was asked to return.
    Done(Item),
    /// The condition did not hold; the item as it is, `None` when there is none.
    Refused(Option<Item>),
}

/// Which sort keys of a partition.
pub(super) enum Range<'a> {
    All,
    /// From the first to the second.
    Between(&'a str, &'a str),
}

pub(super) struct DynamoTable {
    client: Client,
    pub(super) name: String,
    attempts: u32,
    pub(super) counters: Counters,
}

impl DynamoTable {
    pub(super) fn new(clients: &Clients, name: &str) -> Self {
        // Attempts are counted here, so that it is known when an answer may have been lost.
        let config =
            aws_sdk_dynamodb::config::Builder::from(clients.config()).retry_config(RetryConfig::disabled()).build();
        Self {
            client: Client::from_conf(config),
            name: name.to_owned(),
            attempts: ATTEMPTS,
            counters: Counters::default(),
        }
    }

    pub(super) fn with_attempts(self, attempts: u32) -> Self {
        Self { attempts: attempts.max(1), ..self }
    }

    pub(super) fn corrupt(&self, what: impl std::fmt::Display) -> Fault {
        errors::corrupt(&self.name, what)
    }

    /// Makes a call until it succeeds, its condition is refused, or trying is of no use.
    async fn call<T, E, F>(&self, action: &str, attempt: impl Fn() -> F) -> Result<Result<T, E>, Fault>
    where
        F: Future<Output = Result<T, SdkError<E>>>,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let mut tries = 1;
        loop {
            self.counters.request();
            let error = match attempt().await {
                Ok(answer) => return Ok(Ok(answer)),
                Err(error) => error,
            };
            match (errors::verdict(&self.name, action, &AwsFailure::of(&error)), error) {
                (RetryVerdict::Refused, SdkError::ServiceError(failed)) => return Ok(Err(failed.into_err())),
                (RetryVerdict::Again(_), _) if tries < self.attempts => {}
                (RetryVerdict::Again(fault) | RetryVerdict::Final(fault), _) => return Err(fault),
                (RetryVerdict::Refused, _) => return Err(errors::throttled(&self.name, action, "an unclear refusal")),
            }
            self.pause(tries).await;
            tries += 1;
        }
    }

    async fn pause(&self, tries: u32) {
        tokio::time::sleep(backoff(tries, FIRST_PAUSE, fastrand::f64())).await;
    }

    /// A fault where a call without a condition was refused: it cannot be.
    fn unexpected<T, E>(&self, action: &str, answer: Result<T, E>) -> Result<T, Fault> {
        answer.map_err(|_| errors::throttled(&self.name, action, "an unclear refusal"))
    }

    /// An item, strongly consistent.
    pub(super) async fn get(&self, key: &Key) -> Result<Option<Item>, Fault> {
        let request = self
            .client
            .get_item()
            .table_name(&self.name)
            .key(PK, text(&key.pk))
            .key(SK, text(&key.sk))
            .consistent_read(true);
        let request = request.return_consumed_capacity(ReturnConsumedCapacity::Total);
        let answer = self.call("GetItem", || request.clone().send()).await?;
        let answer = self.unexpected("GetItem", answer)?;
        self.counters.read(said(answer.consumed_capacity.as_ref()), read_units(answer.item.as_ref().map_or(0, size)));
        Ok(answer.item)
    }

    /// Items of one partition in the order of their sort keys, strongly consistent, at most `most`.
    pub(super) async fn query(
        &self,
        pk: &str,
        range: Range<'_>,
        forward: bool,
        most: usize,
    ) -> Result<Vec<Item>, Fault> {
        let request = self.client.query().table_name(&self.name).consistent_read(true).scan_index_forward(forward);
        let request =
            request.return_consumed_capacity(ReturnConsumedCapacity::Total).expression_attribute_values(":p", text(pk));
        let request = match range {
            Range::All => request.key_condition_expression("pk = :p"),
            Range::Between(from, to) => request
                .key_condition_expression("pk = :p AND sk BETWEEN :a AND :b")
                .expression_attribute_values(":a", text(from))
                .expression_attribute_values(":b", text(to)),
        };
        let (mut found, mut after) = (Vec::new(), None::<Item>);
        while found.len() < most {
            let left = i32::try_from(most - found.len()).ok();
            let page = request.clone().set_exclusive_start_key(after).set_limit(left);
            let answer = self.call("Query", || page.clone().send()).await?;
            let answer = self.unexpected("Query", answer)?;
            let items = answer.items.unwrap_or_default();
            self.counters.read(said(answer.consumed_capacity.as_ref()), read_units(items.iter().map(size).sum()));
            found.extend(items);
            after = answer.last_evaluated_key;
            if after.is_none() {
                break;
            }
        }
        Ok(found)
    }

    /// Those of these items that are there, in any order, strongly consistent.
    pub(super) async fn batch_get(&self, keys: &[Key]) -> Result<Vec<Item>, Fault> {
        let chunks: Vec<Vec<Item>> =
            keys.chunks(GET_AT_ONCE).map(|chunk| chunk.iter().map(key_item).collect()).collect();
        let found: Vec<Vec<Item>> =
            stream::iter(chunks).map(|keys| self.get_chunk(keys)).buffer_unordered(CONCURRENT).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn get_chunk(&self, mut keys: Vec<Item>) -> Result<Vec<Item>, Fault> {
        let (mut found, mut tries) = (Vec::new(), 1);
        loop {
            let wanted = keys.len();
            let asked = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build();
            let asked = asked.map_err(|_| self.corrupt("A request"))?;
            let request = self
                .client
                .batch_get_item()
                .request_items(&self.name, asked)
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            let answer = self.call("BatchGetItem", || request.clone().send()).await?;
            let mut answer = self.unexpected("BatchGetItem", answer)?;
            let items = answer.responses.as_mut().and_then(|all| all.remove(&self.name)).unwrap_or_default();
            keys = answer
                .unprocessed_keys
                .and_then(|mut left| left.remove(&self.name))
                .map(|left| left.keys)
                .unwrap_or_default();
            let there: f64 = items.iter().map(|item| read_units(size(item))).sum();
            let absent = wanted.saturating_sub(keys.len() + items.len());
            self.counters.read(said(answer.consumed_capacity.as_deref().and_then(<[_]>::first)), there + absent as f64);
            found.extend(items);
            if keys.is_empty() {
                return Ok(found);
            }
            // What was left out because the answer was full comes at once; what was throttled needs time.
            tries = if keys.len() < wanted { 1 } else { tries + 1 };
            if tries > self.attempts {
                return Err(errors::throttled(&self.name, "BatchGetItem", "UnprocessedKeys"));
            }
            self.pause(tries).await;
        }
    }

    /// Puts whole items, in any order.
    pub(super) async fn batch_put(&self, items: Vec<Item>) -> Result<(), Fault> {
        let puts = items.into_iter().map(|item| {
            let put = PutRequest::builder().set_item(Some(item)).build().map_err(|_| self.corrupt("A request"))?;
            Ok(WriteRequest::builder().put_request(put).build())
        });
        self.write_all(puts.collect::<Result<_, Fault>>()?).await
    }

    /// Removes items, in any order.
    pub(super) async fn batch_delete(&self, keys: &[Key]) -> Result<(), Fault> {
        let deletes = keys.iter().map(|key| {
            let delete =
                DeleteRequest::builder().set_key(Some(key_item(key))).build().map_err(|_| self.corrupt("A request"))?;
            Ok(WriteRequest::builder().delete_request(delete).build())
        });
        self.write_all(deletes.collect::<Result<_, Fault>>()?).await
    }

    async fn write_all(&self, writes: Vec<WriteRequest>) -> Result<(), Fault> {
        let chunks: Vec<Vec<WriteRequest>> = writes.chunks(WRITE_AT_ONCE).map(<[_]>::to_vec).collect();
        stream::iter(chunks).map(|chunk| self.write_chunk(chunk)).buffer_unordered(CONCURRENT).try_collect().await
    }

    async fn write_chunk(&self, mut writes: Vec<WriteRequest>) -> Result<(), Fault> {
        let mut tries = 1;
        loop {
            let wanted = writes.len();
            let request = self
                .client
                .batch_write_item()
                .request_items(&self.name, writes)
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            let answer = self.call("BatchWriteItem", || request.clone().send()).await?;
            let answer = self.unexpected("BatchWriteItem", answer)?;
            self.counters.write(said(answer.consumed_capacity.as_deref().and_then(<[_]>::first)).unwrap_or_default());
            writes = answer.unprocessed_items.and_then(|mut left| left.remove(&self.name)).unwrap_or_default();
            if writes.is_empty() {
                return Ok(());
            }
            tries = if writes.len() < wanted { 1 } else { tries + 1 };
            if tries > self.attempts {
                return Err(errors::throttled(&self.name, "BatchWriteItem", "UnprocessedItems"));
            }
            self.pause(tries).await;
        }
    }

    /// Begins an update of an item.
    pub(super) fn update(&self, key: &Key) -> UpdateItemFluentBuilder {
        let request = self.client.update_item().table_name(&self.name).key(PK, text(&key.pk)).key(SK, text(&key.sk));
        request
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }

    pub(super) async fn write(&self, request: UpdateItemFluentBuilder) -> Result<Written, Fault> {
        match self.call("UpdateItem", || request.clone().send()).await? {
            Ok(answer) => {
                self.counters.write(said(answer.consumed_capacity.as_ref()).unwrap_or(1.0));
                Ok(Written::Done(answer.attributes.unwrap_or_default()))
            }
            Err(refused) => {
                let old = match refused {
                    aws_sdk_dynamodb::operation::update_item::UpdateItemError::ConditionalCheckFailedException(
                        refused,
                    ) => refused.item,
                    _ => None,
                };
                // A refused write is paid for.
                self.counters.write(write_units(old.as_ref().map_or(0, size)));
                Ok(Written::Refused(old))
            }
        }
    }

    /// Makes an update that has no condition.
    pub(super) async fn write_blindly(&self, request: UpdateItemFluentBuilder) -> Result<Item, Fault> {
        match self.write(request).await? {
            Written::Done(attributes) => Ok(attributes),
            Written::Refused(_) => Err(errors::throttled(&self.name, "UpdateItem", "an unclear refusal")),
        }
    }

    /// Puts a whole item and gives back the one it replaced.
    pub(super) async fn put(&self, item: Item) -> Result<Item, Fault> {
        let request: PutItemFluentBuilder =
            self.client.put_item().table_name(&self.name).set_item(Some(item)).return_values(ReturnValue::AllOld);
        let request = request.return_consumed_capacity(ReturnConsumedCapacity::Total);
        let answer = self.call("PutItem", || request.clone().send()).await?;
        let answer = self.unexpected("PutItem", answer)?;
        self.counters.write(said(answer.consumed_capacity.as_ref()).unwrap_or(1.0));
        Ok(answer.attributes.unwrap_or_default())
    }

    /// Removes an item and gives back what it was.
    pub(super) async fn delete(&self, key: &Key) -> Result<Item, Fault> {
        let request = self
            .client
            .delete_item()
            .table_name(&self.name)
            .key(PK, text(&key.pk))
            .key(SK, text(&key.sk))
            .return_values(ReturnValue::AllOld);
        let request = request.return_consumed_capacity(ReturnConsumedCapacity::Total);
        let answer = self.call("DeleteItem", || request.clone().send()).await?;
        let answer = self.unexpected("DeleteItem", answer)?;
        self.counters.write(said(answer.consumed_capacity.as_ref()).unwrap_or(1.0));
        Ok(answer.attributes.unwrap_or_default())
    }
}

fn said(consumed: Option<&ConsumedCapacity>) -> Option<f64> {
    consumed.and_then(|consumed| consumed.capacity_units)
}
