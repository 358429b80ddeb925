//! A destination in memory that remembers everything it was given, and refuses some. It also takes jobs.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::batch::{BatchRecord, WriteBatch, read_body};
use domain::job::{Poll, Ticket};
use domain::layout::Layout;
use domain::mode::Op;
use domain::outcome::{Effect, Outcome};
use domain::value::Value;

use crate::model::REFUSED;
use crate::promise::{Delivery, FOREIGN, View};

/// What a destination has: rows that were there before, and what it was given.
pub struct Ledger(Mutex<View>, Mutex<Vec<Pending>>);

/// When a job begins to have an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// At once.
    AtSubmit,
    /// When it is asked for the first time.
    AtPoll,
}

/// A job as it was submitted.
struct Pending {
    sync: String,
    op: Op,
    layout: Layout,
    body: Vec<u8>,
    outcomes: Option<Vec<Outcome>>,
    polls: u32,
}

impl Ledger {
    /// One that has this.
    pub fn new(view: View) -> Self {
        Self(Mutex::new(view), Mutex::default())
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

    /// Takes a job.
    pub fn submit(&self, batch: &WriteBatch<'_>, begin: Begin) -> Ticket {
        let mut body = Vec::new();
        batch.records.iter().for_each(|r| r.push_to(&mut body));
        let outcomes = (begin == Begin::AtSubmit).then(|| self.take(batch, usize::MAX));
        let mut jobs = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.push(Pending { sync: batch.sync.into(), op: batch.op, layout: batch.layout.clone(), body, outcomes, polls: 0 });
        Ticket((jobs.len() - 1).to_string())
    }

    /// Tells of a job: the first time that it is running, then what came of it.
    pub fn poll(&self, ticket: &Ticket) -> Poll {
        let mut jobs = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        let job = ticket.0.parse::<usize>().ok().and_then(|at| jobs.get_mut(at)).expect("a job that was submitted");
        job.polls += 1;
        if job.outcomes.is_none() {
            let records: Vec<BatchRecord<'_>> = read_body(&job.body);
            job.outcomes = Some(self.take(&WriteBatch { sync: &job.sync, op: job.op, layout: &job.layout, records: &records }, usize::MAX));
        }
        match &job.outcomes {
            Some(outcomes) if job.polls > 1 => Poll::Finished(outcomes.clone()),
            _ => Poll::Running { after: std::time::Duration::from_millis(1) },
        }
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
