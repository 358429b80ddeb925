//! A destination in memory that remembers everything it was given, and refuses some.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::batch::WriteBatch;
use domain::mode::Op;
use domain::outcome::{Effect, Outcome};
use domain::value::Value;

use crate::model::REFUSED;
use crate::promise::{Delivery, FOREIGN, View};

/// What a destination has: rows that were there before, and what it was given.
pub struct Ledger(Mutex<View>);

impl Ledger {
    /// One that has this.
    pub fn new(view: View) -> Self {
        Self(Mutex::new(view))
    }

    /// One with nothing but rows of other people.
    pub fn foreign() -> View {
        View { rows: FOREIGN.map(|key| (key, format!("foreign {key}"))).collect(), ..View::default() }
    }

    fn held(&self) -> MutexGuard<'_, View> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it has now.
    pub fn view(&self) -> View {
        self.held().clone()
    }

    /// Takes the first `most` records of a batch. One outcome for each that was taken.
    pub fn take(&self, batch: &WriteBatch<'_>, most: usize) -> Vec<Outcome> {
        let mut view = self.held();
        view.requests += 1;
        let take = |record: &domain::batch::BatchRecord<'_>| {
            let fields: BTreeMap<&str, Value<'_>> = batch.layout.pairs(record.fields).collect();
            let Some(Value::Int(key)) = fields.get("id") else { panic!("a record without its identifier") };
            let name = fields.get("name").map(|name| name.to_text().into_owned()).unwrap_or_default();
            if name == REFUSED {
                return Outcome::rejected("refused", "the name is not allowed");
            }
            let effect = match batch.op {
                Op::Delete => {
                    view.rows.remove(key);
                    Effect::Deleted
                }
                _ => view.rows.insert(*key, name.clone()).map_or(Effect::Created, |_| Effect::Updated),
            };
            view.deliveries.push(Delivery { id: record.stable_id(batch.sync), key: *key, name, operation: batch.op.to_string() });
            Outcome::accepted(effect)
        };
        batch.records.iter().take(most).map(take).collect()
    }
}
