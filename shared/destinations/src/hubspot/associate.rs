//! Links to records of other objects: their ids are looked up by key before a record is written, and the links made
//! after it was accepted (a new record of mode append carries them itself).

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use domain::batch::WriteBatch;
use domain::outcome::{Outcome, WriteError};
use domain::retry::backoff;
use domain::value::Value;
use serde_json::{Value as Json, json};

use super::HubSpotDestination;
use super::classify;
use super::config::{Association, MAX_INPUTS, Missing};
use super::ledger::Ledger;
use super::object::LinkType;
use super::properties::RECORD_ID;

/// A record of the batch, its id, and the id of the other one.
type Pair = (usize, String, String);

/// The code of a record whose link HubSpot refuses.
const REFUSED: &str = "association_refused";
/// The code of a record whose link was not made, for a reason that passes.
const FAILED: &str = "association_failed";
/// So often links are asked for in one go.
const MAX_ATTEMPTS: u32 = 3;
/// A longer pause is for the next attempt.
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// The links of a batch, resolved.
#[derive(Debug, Default)]
pub(super) struct Links {
    /// For each association: its type, the other object, and for each record the other record's id.
    resolved: Vec<(LinkType, String, Vec<Option<String>>)>,
}

/// The keys that the records of a batch have for a link; `None` for a record without one.
fn keys(batch: &WriteBatch<'_>, link: &Association) -> Vec<Option<String>> {
    let Some(at) = batch.layout.position(&link.field) else { return vec![None; batch.records.len()] };
    let key = |value: Option<Value<'_>>| {
        value.filter(|v| !v.is_empty()).map(|v| v.to_text().into_owned()).filter(|text| !text.is_empty())
    };
    batch.records.iter().map(|record| key(record.fields.get(at))).collect()
}

/// How many requests the links of a batch take beside the writing: looking up, and (unless a new record carries them)
/// linking.
pub(super) fn requests(batch: &WriteBatch<'_>, links: &[Association], carried: bool) -> u32 {
    let used = links.iter().filter(|link| keys(batch, link).iter().any(Option::is_some));
    used.map(|link| u32::from(link.by != RECORD_ID) + u32::from(!carried)).sum()
}

impl HubSpotDestination {
    /// Looks up the other records of a batch. Settles the records whose other record is not there.
    pub(super) async fn resolve_links(&self, batch: &WriteBatch<'_>, ledger: &mut Ledger) -> Result<Links, WriteError> {
        let mut links = Links::default();
        for link in &self.options.associations {
            let keys = keys(batch, link);
            let wanted: BTreeSet<&String> = ledger.open().filter_map(|at| keys.get(at)?.as_ref()).collect();
            if wanted.is_empty() {
                continue;
            }
            let kind = self.known.link_type(&self.api, &self.object, link).await?;
            let wanted: Vec<String> = wanted.into_iter().cloned().collect();
            let found: HashMap<String, Option<String>> = match link.by.as_str() {
                RECORD_ID => wanted.into_iter().map(|id| (id.clone(), Some(id))).collect(),
                by => self.look_up(&link.to, by, &wanted).await?,
            };
            let mut ids = vec![None; batch.records.len()];
            for at in ledger.open().collect::<Vec<_>>() {
                let Some(key) = keys.get(at).and_then(Option::as_ref) else { continue };
                match found.get(key) {
                    Some(Some(id)) => ids[at] = Some(id.clone()),
                    Some(None) if link.missing == Missing::Ignore => {}
                    Some(None) => {
                        let detail = format!("`{}`: {} have no record with this `{}`", link.field, link.to, link.by);
                        ledger.set(at, Outcome::rejected("association_not_found", detail));
                    }
                    None => ledger.set(at, Outcome::unmentioned()),
                }
            }
            links.resolved.push((kind, link.to.clone(), ids));
        }
        Ok(links)
    }

    /// Makes the links of the accepted records. A request that is refused is halved until the link to blame is found,
    /// and its record is refused with HubSpot's words; what passes is tried again here, without writing the records
    /// again, and then by the next attempt.
    pub(super) async fn make_links(&self, links: &Links, ledger: &mut Ledger) -> Result<(), WriteError> {
        for (kind, to, ids) in &links.resolved {
            let pairs: Vec<Pair> =
                ledger.accepted().filter_map(|(at, id)| Some((at, id?.to_owned(), ids.get(at)?.clone()?))).collect();
            let mut chunks: VecDeque<Vec<Pair>> = pairs.chunks(MAX_INPUTS).map(<[Pair]>::to_vec).collect();
            while let Some(chunk) = chunks.pop_front() {
                match self.link(kind, to, &chunk).await {
                    Ok(body) => self.note_links(&body, &chunk, ledger),
                    Err(WriteError::Refused { .. }) if chunk.len() > 1 => {
                        let (left, right) = chunk.split_at(chunk.len() / 2);
                        chunks.push_front(right.to_vec());
                        chunks.push_front(left.to_vec());
                    }
                    Err(WriteError::Refused { detail, .. }) => {
                        let [(at, ..)] = chunk[..] else { continue };
                        ledger.replace(at, Outcome::rejected(REFUSED, format!("the link to {to}: {detail}")));
                    }
                    // The records are written, and what they wait for is known by their outcome.
                    Err(error @ (WriteError::Unavailable { .. } | WriteError::Throttled { .. })) => {
                        let after =
                            if let WriteError::Throttled { after } | WriteError::Unavailable { after, .. } = &error {
                                *after
                            } else {
                                None
                            };
                        let detail = format!("the link to {to}: {error}");
                        chunk.iter().for_each(|(at, ..)| {
                            ledger.replace(*at, Outcome::Retry { after, code: FAILED.into(), detail: detail.clone() })
                        });
                    }
                    Err(stop) => return Err(stop),
                }
            }
        }
        Ok(())
    }

    /// Asks for links, some times if it must be.
    async fn link(&self, (category, type_id): &LinkType, to: &str, chunk: &[Pair]) -> Result<Json, WriteError> {
        let types = json!([{ "associationCategory": category, "associationTypeId": type_id }]);
        let inputs: Vec<Json> = chunk
            .iter()
            .map(|(_, from, to)| json!({ "from": { "id": from }, "to": { "id": to }, "types": types }))
            .collect();
        let (path, body) = (self.api.associations(&self.object, to, "batch/create"), json!({ "inputs": inputs }));
        let mut tries = 0;
        loop {
            tries += 1;
            let (after, error) = match self.api.post(&path, &body).await {
                Ok(answer) => return Ok(answer.body),
                Err(WriteError::Throttled { after }) => (after, WriteError::Throttled { after }),
                Err(WriteError::Unavailable { after, detail }) => (after, WriteError::Unavailable { after, detail }),
                Err(other) => return Err(other),
            };
            let pause = after.unwrap_or_default().max(backoff(tries, self.config.retry_pause.0, fastrand::f64()));
            if tries == MAX_ATTEMPTS || pause > MAX_PAUSE {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Takes what an answer says of links: one that is not mentioned is asked for again.
    fn note_links(&self, body: &Json, chunk: &[Pair], ledger: &mut Ledger) {
        let made = linked(body);
        let shorten = |text: &str| self.api.http.redactor().shorten(text);
        for (at, from, to) in chunk {
            if made.iter().any(|(f, t)| f == from && t == to) {
                continue;
            }
            let about = |error: &&Json| classify::named(error).any(|id| id == from || id == to) || chunk.len() == 1;
            let outcome = match body.get("errors").and_then(Json::as_array).into_iter().flatten().find(about) {
                Some(error) if classify::is_passing(error) => {
                    Outcome::retry_because(FAILED, classify::told(error, &shorten).1)
                }
                Some(error) => Outcome::rejected(REFUSED, classify::told(error, &shorten).1),
                None => Outcome::retry_because(FAILED, format!("the answer does not mention the link to {to}")),
            };
            ledger.replace(*at, outcome);
        }
    }
}

impl Links {
    /// What a new record carries; `None` where it has no link.
    pub(super) fn carried(&self, at: usize) -> Option<Json> {
        let of = |(kind, _, ids): &(LinkType, String, Vec<Option<String>>)| {
            let id = ids.get(at)?.as_ref()?;
            Some(
                json!({ "to": { "id": id }, "types": [{ "associationCategory": kind.0, "associationTypeId": kind.1 }] }),
            )
        };
        let all: Vec<Json> = self.resolved.iter().filter_map(of).collect();
        (!all.is_empty()).then_some(Json::Array(all))
    }
}

/// The pairs that an answer says are linked. Ids have come as numbers and as texts.
fn linked(body: &Json) -> Vec<(String, String)> {
    let id = |value: Option<&Json>| match value {
        Some(Json::String(text)) => Some(text.clone()),
        Some(Json::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let either = |one: &Json, flat: &str, deep: &str| id(one.get(flat)).or_else(|| id(one.pointer(deep)));
    let pair = |one: &Json| Some((either(one, "fromObjectId", "/from/id")?, either(one, "toObjectId", "/to/id")?));
    body.get("results").and_then(Json::as_array).into_iter().flatten().filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_known_in_both_spellings() {
        let body = json!({ "results": [{ "fromObjectId": 1, "toObjectId": "2" }, { "from": { "id": "3" }, "to": { "id": "4" } }, {}] });
        assert_eq!(linked(&body), [("1".into(), "2".into()), ("3".into(), "4".into())]);
    }
}
