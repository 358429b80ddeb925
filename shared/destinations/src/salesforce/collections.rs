//! Writing by sObject Collections: one request for up to 200 records, results by position.
//!
//! Source: "sObject Collections" in the REST API guide. `allOrNone` is false in every request.

use std::collections::HashMap;

use domain::batch::{BatchRecord, WriteBatch};
use domain::mode::Op;
use domain::outcome::{Effect, Outcome, WriteError};
use serde_json::Value;

use super::SalesforceDestination;
use super::classify::{self, NOT_FOUND, STORAGE};
use super::encode::{self, ID};
use clients::http::{HttpReply, Method};

/// The outcomes so far, by position; `None`: not known yet.
type Outcomes = Vec<Option<Outcome>>;

impl SalesforceDestination {
    /// Writes a batch of at most 200 records.
    pub(super) async fn write_collection(&self, batch: &WriteBatch<'_>) -> Result<Vec<Outcome>, WriteError> {
        let mut outcomes = encode::rejected(batch);
        let open: Vec<usize> = (0..outcomes.len()).filter(|at| outcomes[*at].is_none()).collect();
        match batch.op {
            Op::Upsert | Op::Append => self.save(batch, &open, None, &mut outcomes).await?,
            Op::Update | Op::Delete => self.by_id(batch, open, &mut outcomes).await?,
        }
        let outcomes: Vec<Outcome> = outcomes.into_iter().map(|o| o.unwrap_or_else(Outcome::unmentioned)).collect();
        if outcomes.iter().all(|o| matches!(o, Outcome::Retry { code, .. } if code == STORAGE)) {
            return Err(WriteError::Misconfigured {
                detail: "the org's storage is full; make room, or give it more".into(),
            });
        }
        Ok(outcomes)
    }

    /// Updates or deletes by record id. Ids that are remembered are tried first; what they no longer lead to is looked
    /// up by its identifier.
    async fn by_id(&self, batch: &WriteBatch<'_>, open: Vec<usize>, outcomes: &mut Outcomes) -> Result<(), WriteError> {
        if identifier_name(batch) == Some(ID) {
            let ids: HashMap<usize, String> = open
                .iter()
                .filter_map(|at| Some((*at, encode::text(encode::identifier(batch.layout, &batch.records[*at])?))))
                .collect();
            return self.write_ids(batch, &ids, outcomes).await;
        }
        let mut known = HashMap::new();
        for at in &open {
            if let Some(id) = batch.records[*at].record_id {
                known.insert(*at, id.to_owned());
            }
        }
        if batch.op == Op::Delete && !known.is_empty() {
            // A collection deletes whatever an id names: one of another object is none of ours.
            let prefix = self.prefix().await?;
            known.retain(|_, id| prefix.is_none_or(|prefix| id.starts_with(prefix)));
        }
        self.write_ids(batch, &known, outcomes).await?;
        let gone = |o: &Option<Outcome>| matches!(o, None | Some(Outcome::Skipped { .. }));
        let lost: Vec<usize> = open.into_iter().filter(|at| gone(&outcomes[*at])).collect();
        let found = self.look_up(batch, &lost, outcomes).await?;
        self.write_ids(batch, &found, outcomes).await
    }

    /// The record ids of these records by their identifier. What is not there has its outcome already.
    async fn look_up(
        &self,
        batch: &WriteBatch<'_>,
        positions: &[usize],
        outcomes: &mut Outcomes,
    ) -> Result<HashMap<usize, String>, WriteError> {
        let mut ids = HashMap::new();
        let Some(field) = identifier_name(batch).filter(|_| !positions.is_empty()) else { return Ok(ids) };
        let values: Vec<_> =
            positions.iter().filter_map(|at| encode::identifier(batch.layout, &batch.records[*at])).collect();
        let found = super::query::find(&self.session, &self.object, field, &[], &values).await?;
        for (at, value) in positions.iter().zip(values) {
            let mut all = found.ids(value);
            outcomes[*at] = match (all.pop(), all.is_empty(), batch.op) {
                (None, _, Op::Delete) => Some(Outcome::accepted(Effect::Deleted)),
                (None, ..) => Some(Outcome::Skipped { reason: NOT_FOUND.into() }),
                (Some(id), true, _) => {
                    ids.insert(*at, id);
                    None
                }
                (Some(_), false, _) => Some(Outcome::rejected(
                    "DUPLICATE_EXTERNAL_ID",
                    format!("several records have this value of {field}"),
                )),
            };
        }
        Ok(ids)
    }

    /// Updates or deletes these records.
    async fn write_ids(
        &self,
        batch: &WriteBatch<'_>,
        ids: &HashMap<usize, String>,
        outcomes: &mut Outcomes,
    ) -> Result<(), WriteError> {
        // One row for an id: two of them are refused by an update, and a delete has done both with one.
        let mut by_id: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut positions: Vec<usize> = ids.keys().copied().collect();
        positions.sort_unstable();
        positions.iter().for_each(|at| by_id.entry(ids[at].as_str()).or_default().push(*at));
        if batch.op == Op::Update {
            for shared in by_id.values().filter(|all| all.len() > 1) {
                let twice =
                    Outcome::rejected("duplicate_identifier", "another record of the model leads to the same record");
                shared.iter().for_each(|at| outcomes[*at] = Some(twice.clone()));
            }
            positions.retain(|at| by_id[ids[at].as_str()].len() == 1);
            return self.save(batch, &positions, Some(ids), outcomes).await;
        }
        positions.retain(|at| by_id[ids[at].as_str()][0] == *at);
        if positions.is_empty() {
            return Ok(());
        }
        let list = positions.iter().map(|at| clients::http::percent_encode(&ids[at])).collect::<Vec<_>>().join(",");
        let reply = self
            .session
            .call(
                Method::DELETE,
                &format!("/composite/sobjects?ids={list}&allOrNone=false"),
                "application/json",
                Vec::new(),
            )
            .await?;
        self.results(batch.op, &reply, &positions, outcomes);
        for all in by_id.values() {
            let outcome = outcomes[all[0]].clone();
            all[1..].iter().for_each(|at| outcomes[*at] = outcome.clone());
        }
        Ok(())
    }

    /// Upserts, creates or updates these records in one request.
    async fn save(
        &self,
        batch: &WriteBatch<'_>,
        positions: &[usize],
        ids: Option<&HashMap<usize, String>>,
        outcomes: &mut Outcomes,
    ) -> Result<(), WriteError> {
        if positions.is_empty() {
            return Ok(());
        }
        let mut body = Vec::from(&b"{\"allOrNone\":false,\"records\":["[..]);
        for (count, at) in positions.iter().enumerate() {
            if count > 0 {
                body.push(b',');
            }
            let record: &BatchRecord<'_> = &batch.records[*at];
            encode::push_record(
                &mut body,
                &self.object,
                batch.layout,
                record,
                ids.and_then(|ids| ids.get(at)).map(String::as_str),
            );
        }
        body.extend_from_slice(b"]}");
        let reply = match (batch.op, identifier_name(batch)) {
            (Op::Upsert, Some(field)) => {
                let path = format!("/composite/sobjects/{}/{}", self.object, clients::http::percent_encode(field));
                self.session.json(Method::PATCH, &path, body).await?
            }
            (Op::Upsert, None) => {
                return Err(WriteError::Misconfigured { detail: "an upsert needs an identifier".into() });
            }
            (Op::Append, _) => self.session.json(Method::POST, "/composite/sobjects", body).await?,
            _ => self.session.json(Method::PATCH, "/composite/sobjects", body).await?,
        };
        self.results(batch.op, &reply, positions, outcomes);
        Ok(())
    }

    /// Results by position. A list of another length says nothing about anybody.
    fn results(&self, op: Op, reply: &HttpReply, positions: &[usize], outcomes: &mut Outcomes) {
        let results = match serde_json::from_slice::<Value>(&reply.body) {
            Ok(Value::Array(results)) => results,
            _ => {
                positions.iter().for_each(|at| outcomes[*at] = Some(Outcome::retry("unreadable_response")));
                return;
            }
        };
        for (count, at) in positions.iter().enumerate() {
            let result = results.get(count).filter(|_| results.len() == positions.len());
            outcomes[*at] = Some(result.map_or_else(Outcome::unmentioned, |result| self.outcome(op, result)));
        }
    }

    fn outcome(&self, op: Op, result: &Value) -> Outcome {
        match result.get("success").and_then(Value::as_bool) {
            Some(true) => {
                let created = result.get("created").and_then(Value::as_bool);
                let id = result.get("id").and_then(Value::as_str).map(str::to_owned);
                Outcome::Accepted { effect: effect(op, created), record_id: id.filter(|_| op != Op::Delete) }
            }
            Some(false) => classify::record(op, &classify::errors_of(result), self.session.http().redactor()),
            None => Outcome::unmentioned(),
        }
    }
}

/// What a good result did.
pub(super) fn effect(op: Op, created: Option<bool>) -> Effect {
    match (op, created) {
        (Op::Delete, _) => Effect::Deleted,
        (Op::Append, _) | (Op::Upsert, Some(true)) => Effect::Created,
        (Op::Update, _) | (Op::Upsert, Some(false)) => Effect::Updated,
        (Op::Upsert, None) => Effect::Unknown,
    }
}

/// The field that records are found by.
pub(super) fn identifier_name<'a>(batch: &WriteBatch<'a>) -> Option<&'a str> {
    batch.layout.identifiers().next().map(|(_, field)| field.name.as_str())
}
