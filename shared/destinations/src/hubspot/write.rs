//! The four operations: which requests they make, and how outcomes come together.

use std::collections::{HashMap, HashSet};

use domain::batch::WriteBatch;
use domain::mode::Op;
use domain::outcome::{Effect, Outcome, WriteError};
use serde_json::{Value as Json, json};

use super::classify::{self, NOT_FOUND, SentInputs};
use super::config::MAX_INPUTS;
use super::encode::{self, folded, input};
use super::ledger::Ledger;
use super::properties::{EMAIL, Properties, RECORD_ID};
use super::{HubSpotDestination, associate};

/// A contact's further addresses: HubSpot finds it by them too.
const MORE_EMAILS: &str = "hs_additional_emails";

impl HubSpotDestination {
    /// The property that finds records, as the layout has it.
    fn id_property<'a>(&self, batch: &WriteBatch<'a>) -> Option<&'a str> {
        batch.layout.identifiers().next().map(|(_, field)| field.name.as_str())
    }

    /// How many requests the batch takes at most.
    pub(super) fn requests_of(&self, batch: &WriteBatch<'_>) -> u32 {
        let property = self.id_property(batch).unwrap_or_default();
        let looked_up = match batch.op {
            Op::Delete => property != RECORD_ID && batch.records.iter().any(|r| r.record_id.is_none()),
            Op::Update => property == EMAIL,
            Op::Upsert | Op::Append => false,
        };
        let links = if batch.op == Op::Delete {
            0
        } else {
            associate::requests(batch, &self.options.associations, batch.op == Op::Append)
        };
        1 + u32::from(looked_up) + links
    }

    pub(super) async fn write_batch(&self, batch: &WriteBatch<'_>) -> Result<Vec<Outcome>, WriteError> {
        let properties = self.known.properties(&self.api, &self.object).await?;
        let mut ledger = Ledger::new(batch.records.len());
        match batch.op {
            Op::Delete => self.delete(batch, &properties, &mut ledger).await?,
            op => self.send(op, batch, &properties, &mut ledger).await?,
        }
        Ok(ledger.into_outcomes())
    }

    async fn send(
        &self,
        op: Op,
        batch: &WriteBatch<'_>,
        known: &Properties,
        ledger: &mut Ledger,
    ) -> Result<(), WriteError> {
        let property = self.id_property(batch).filter(|_| op != Op::Append);
        let ids = if op == Op::Append { vec![None; batch.records.len()] } else { self.identify(batch, known, ledger) };
        let links = self.resolve_links(batch, ledger).await?;
        // `batch/update` finds no record by `email`: their ids are looked up.
        let by_email: Option<HashMap<String, Option<String>>> = match (op, property) {
            (Op::Update, Some(EMAIL)) => {
                let wanted: Vec<String> = ledger.open().filter_map(|at| ids[at].clone()).collect();
                Some(self.look_up(&self.object, EMAIL, &wanted).await?)
            }
            _ => None,
        };
        let sent_property = property.filter(|name| *name != RECORD_ID && by_email.is_none());
        let (mut inputs, mut places) = (Vec::new(), Vec::new());
        let mut sent = SentInputs { id_property: sent_property.map(str::to_owned), ..SentInputs::default() };
        for at in ledger.open().collect::<Vec<_>>() {
            let id = match (&by_email, &ids[at]) {
                (None, id) => id.clone(),
                (Some(found), Some(email)) => match found.get(email) {
                    Some(Some(id)) => Some(id.clone()),
                    Some(None) => {
                        ledger.set(at, Outcome::Skipped { reason: "not_found".into() });
                        continue;
                    }
                    None => continue,
                },
                (Some(_), None) => continue,
            };
            let fields = encode::properties(batch.layout, batch.records[at].fields, known, |name| self.is_link(name));
            match fields {
                Err((code, detail)) => ledger.set(at, Outcome::rejected(code, detail)),
                Ok(fields) => {
                    if let Some(id) = &id {
                        sent.by_id.insert(folded(sent_property.unwrap_or_default(), id), inputs.len());
                    }
                    let mut one = input(inputs.len(), id.as_deref(), sent_property, fields);
                    if let (Op::Append, Some(carried), Some(one)) = (op, links.carried(at), one.as_object_mut()) {
                        one.insert("associations".into(), carried);
                    }
                    inputs.push(one);
                    places.push(at);
                }
            }
        }
        if inputs.is_empty() {
            return Ok(());
        }
        sent.inputs = inputs.len();
        let operation = match op {
            Op::Append => "create",
            Op::Update => "update",
            Op::Upsert | Op::Delete => "upsert",
        };
        let answer = match self.api.post(&self.api.batch(&self.object, operation), &json!({ "inputs": inputs })).await {
            Err(WriteError::Refused { code, .. }) if op == Op::Update && code == NOT_FOUND && places.len() == 1 => {
                ledger.set(places[0], Outcome::Skipped { reason: "not_found".into() });
                return Ok(());
            }
            // Records that were settled without being sent must not be sent when the batch is halved for the others.
            Err(WriteError::Refused { code, detail }) if places.len() == 1 => {
                ledger.set(places[0], Outcome::Rejected { code, detail });
                return Ok(());
            }
            answer => answer?,
        };
        let outcomes = classify::outcomes(&answer.body, &sent, op, |text| self.api.http.redactor().shorten(text));
        for (at, outcome) in places.into_iter().zip(outcomes) {
            ledger.set(at, outcome.unwrap_or_else(Outcome::unmentioned));
        }
        if op != Op::Append {
            self.make_links(&links, ledger).await?;
        }
        Ok(())
    }

    /// The identifiers of the records; those without one, and those that share one, are settled.
    fn identify(&self, batch: &WriteBatch<'_>, known: &Properties, ledger: &mut Ledger) -> Vec<Option<String>> {
        let property = self.id_property(batch).unwrap_or_default();
        let ids: Vec<Option<String>> = batch
            .records
            .iter()
            .enumerate()
            .map(|(at, record)| match encode::identifier(batch.layout, record, known) {
                Ok(id) => Some(id),
                Err((code, detail)) => {
                    ledger.set(at, Outcome::rejected(code, detail));
                    None
                }
            })
            .collect();
        let keys: Vec<Option<String>> = ids.iter().map(|id| id.as_ref().map(|id| folded(property, id))).collect();
        ledger.refuse_duplicates(&keys);
        ids
    }

    /// Archives records by their record ids. One that is not there any more is done.
    async fn delete(&self, batch: &WriteBatch<'_>, known: &Properties, ledger: &mut Ledger) -> Result<(), WriteError> {
        let property = self.id_property(batch).unwrap_or_default();
        let keys: Vec<Option<String>> =
            batch.records.iter().map(|r| encode::identifier(batch.layout, r, known).ok()).collect();
        let mut ids: Vec<Option<String>> = batch.records.iter().map(|r| r.record_id.map(str::to_owned)).collect();
        if property == RECORD_ID {
            ids.iter_mut().zip(&keys).for_each(|(id, key)| *id = id.take().or_else(|| key.clone()));
        }
        let wanted: Vec<String> =
            ids.iter().zip(&keys).filter(|(id, _)| id.is_none()).filter_map(|(_, key)| key.clone()).collect();
        let found =
            if wanted.is_empty() { HashMap::new() } else { self.look_up(&self.object, property, &wanted).await? };
        for at in 0..ids.len() {
            if ids[at].is_some() {
                continue;
            }
            match keys[at].as_ref().and_then(|key| found.get(key)) {
                Some(Some(id)) => ids[at] = Some(id.clone()),
                Some(None) => ledger.set(at, Outcome::accepted(Effect::Deleted)),
                None => ledger.set(at, Outcome::unmentioned()),
            }
        }
        let places: Vec<usize> = ledger.open().filter(|at| ids[*at].is_some()).collect();
        if places.is_empty() {
            return Ok(());
        }
        let inputs: HashSet<&str> = places.iter().filter_map(|at| ids[*at].as_deref()).collect();
        let inputs: Vec<Json> = inputs.into_iter().map(|id| json!({ "id": id })).collect();
        let answer = self.api.post(&self.api.batch(&self.object, "archive"), &json!({ "inputs": inputs })).await?;
        // 204 says that all of them are gone; an answer with a body says which.
        let by_id = places.iter().enumerate().filter_map(|(input, at)| Some((ids[*at].clone()?, input))).collect();
        let sent = SentInputs { inputs: places.len(), id_property: None, by_id };
        let outcomes = match answer.status {
            204 => vec![Some(Outcome::accepted(Effect::Deleted)); places.len()],
            _ => classify::outcomes(&answer.body, &sent, Op::Delete, |text| self.api.http.redactor().shorten(text)),
        };
        for (at, outcome) in places.into_iter().zip(outcomes) {
            ledger.set(
                at,
                match outcome {
                    Some(Outcome::Accepted { record_id, .. }) => {
                        Outcome::Accepted { effect: Effect::Deleted, record_id }
                    }
                    Some(Outcome::Rejected { code, .. }) if code == NOT_FOUND => Outcome::accepted(Effect::Deleted),
                    other => other.unwrap_or_else(Outcome::unmentioned),
                },
            );
        }
        Ok(())
    }

    /// The record ids behind values of a unique property: `None` for those that HubSpot says it does not have. A value
    /// that the answer does not mention is left out.
    pub(super) async fn look_up(
        &self,
        object: &str,
        property: &str,
        values: &[String],
    ) -> Result<HashMap<String, Option<String>>, WriteError> {
        let mut found = HashMap::new();
        for result in self
            .read_batch(object, property, &[property, MORE_EMAILS][..if property == EMAIL { 2 } else { 1 }], values)
            .await?
        {
            let (value, record) = result;
            found.insert(value, record.and_then(|r| r.get("id").and_then(Json::as_str).map(str::to_owned)));
        }
        Ok(found)
    }

    /// The records behind values of a unique property (or behind record ids), each with its value as given.
    pub(super) async fn read_batch(
        &self,
        object: &str,
        property: &str,
        wanted: &[&str],
        values: &[String],
    ) -> Result<Vec<(String, Option<Json>)>, WriteError> {
        let id_property = Some(property).filter(|name| *name != RECORD_ID);
        let mut out = Vec::new();
        for chunk in values.chunks(MAX_INPUTS) {
            let mut asked: HashMap<String, &String> =
                chunk.iter().map(|value| (folded(property, value), value)).collect();
            let ids: Vec<String> = asked.values().map(|value| (*value).clone()).collect();
            let answer = match self
                .api
                .post(&self.api.batch(object, "read"), &encode::read_body(&ids, id_property, wanted))
                .await
            {
                Ok(answer) => answer.body,
                // None of them is there.
                Err(WriteError::Refused { code, .. }) if code == NOT_FOUND => {
                    out.extend(asked.into_values().map(|value| (value.clone(), None)));
                    continue;
                }
                Err(error) => return Err(error),
            };
            for result in answer.get("results").and_then(Json::as_array).into_iter().flatten() {
                let text = |name: &str| {
                    result.pointer(&format!("/properties/{name}")).and_then(Json::as_str).unwrap_or_default()
                };
                let names = match id_property {
                    None => vec![result.get("id").and_then(Json::as_str).unwrap_or_default()],
                    Some(name) => std::iter::once(text(name)).chain(text(MORE_EMAILS).split(';')).collect(),
                };
                let value = names.into_iter().find_map(|name| asked.remove(&folded(property, name)));
                out.extend(value.map(|value| (value.clone(), Some(result.clone()))));
            }
            let missing: Vec<String> =
                classify::not_found(&answer).into_iter().map(|id| folded(property, id)).collect();
            out.extend(missing.iter().filter_map(|id| asked.remove(id)).map(|value| (value.clone(), None)));
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_share_an_identifier_are_refused_both() {
        let mut ledger = Ledger::new(4);
        ledger.set(3, Outcome::retry("x"));
        ledger.refuse_duplicates(&[Some("a".into()), None, Some("a".into()), Some("a".into())]);
        let codes: Vec<String> = ledger
            .into_outcomes()
            .into_iter()
            .map(|o| match o {
                Outcome::Rejected { code, .. } | Outcome::Retry { code, .. } => code,
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(codes, ["duplicate_identifier", "unknown_outcome", "duplicate_identifier", "x"]);
    }
}
