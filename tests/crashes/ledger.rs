//! A destination in memory that remembers everything it was given, and refuses some. It also takes jobs.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::batch::{BatchRecord, WriteBatch, read_body};
use domain::job::{AbortResult, Poll, Ticket};
use domain::layout::Layout;
use domain::mode::Op;
use domain::outcome::{Effect, Outcome};
use domain::value::Value;

use crate::model::REFUSED;
use crate::promise::{Delivery, FOREIGN, View};

/// What a destination has: rows that were there before, and what it was given.
pub struct Ledger(Mutex<View>, Mutex<Vec<Pending>>, Manners);

/// What a destination does besides taking records.
#[derive(Debug, Clone, Copy, Default)]
pub struct Manners {
    /// It drops what it has got before under the same stable id, and says yes.
    pub drops_repeated: bool,
    /// Of some records it says `retry` when it gets a version for the first time, though it has taken it.
    pub is_unsure: bool,
}

/// Of so many records it is unsure about one.
const UNSURE_OF: i64 = 4;

/// When a job begins to have an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    AtSubmit,
    /// When it is asked for the first time.
    AtPoll,
    /// Then it is started, and takes effect some time after that, whether it is asked for again or not.
    AfterPoll,
}

/// A job as it was submitted.
struct Pending {
    sync: String,
    op: Op,
    layout: Layout,
    body: Vec<u8>,
    begin: Begin,
    outcomes: Option<Vec<Outcome>>,
    polls: u32,
    /// Calls of anybody since it was started.
    waited: u32,
    stopped: bool,
}

/// A job that takes effect later does so at this call of anybody.
const LATER: u32 = 3;

impl Ledger {
    /// One that has this.
    pub fn new(view: View, manners: Manners) -> Self {
        Self(Mutex::new(view), Mutex::default(), manners)
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

    pub fn submit(&self, batch: &WriteBatch<'_>, begin: Begin) -> Ticket {
        let mut body = Vec::new();
        batch.records.iter().for_each(|r| r.push_to(&mut body));
        let mut jobs = self.passing();
        let (sync, op, layout) = (batch.sync.into(), batch.op, batch.layout.clone());
        let mut job = Pending { sync, op, layout, body, begin, outcomes: None, polls: 0, waited: 0, stopped: false };
        if begin == Begin::AtSubmit {
            self.work(&mut job);
        }
        jobs.push(job);
        Ticket((jobs.len() - 1).to_string())
    }

    /// Tells of a job: the first time that it is running, then what came of it.
    pub fn poll(&self, ticket: &Ticket) -> Poll {
        let mut jobs = self.passing();
        let job = ticket.0.parse::<usize>().ok().and_then(|at| jobs.get_mut(at)).expect("a job that was submitted");
        job.polls += 1;
        if job.begin == Begin::AtPoll && !job.stopped {
            self.work(job);
        }
        match &job.outcomes {
            Some(outcomes) if job.polls > 1 => Poll::Finished(outcomes.clone()),
            None if job.stopped => Poll::Finished(vec![Outcome::unmentioned(); read_body(&job.body).len()]),
            _ => Poll::Running { after: std::time::Duration::from_millis(1) },
        }
    }

    /// Stops a job that has had no effect yet. Of one that nobody submitted here nothing is known.
    pub fn stop(&self, ticket: &Ticket) -> AbortResult {
        let mut jobs = self.passing();
        if let Some(job) = ticket.0.parse::<usize>().ok().and_then(|at| jobs.get_mut(at)) {
            job.stopped = true;
        }
        AbortResult::Over
    }

    /// Takes a batch that is written.
    pub fn write(&self, batch: &WriteBatch<'_>, most: usize) -> Vec<Outcome> {
        drop(self.passing());
        self.take(batch, most)
    }

    /// The jobs, after time has passed for those that were started.
    fn passing(&self) -> MutexGuard<'_, Vec<Pending>> {
        let mut jobs = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        for job in jobs.iter_mut().filter(|job| job.begin == Begin::AfterPoll && job.polls > 0 && !job.stopped) {
            job.waited += 1;
            if job.waited == LATER {
                self.work(job);
            }
        }
        jobs
    }

    fn work(&self, job: &mut Pending) {
        if job.outcomes.is_none() {
            let records: Vec<BatchRecord<'_>> = read_body(&job.body);
            job.outcomes =
                Some(self.take(
                    &WriteBatch { sync: &job.sync, op: job.op, layout: &job.layout, records: &records },
                    usize::MAX,
                ));
        }
    }

    /// Takes the first `most` records of a batch. One outcome for each that was taken.
    fn take(&self, batch: &WriteBatch<'_>, most: usize) -> Vec<Outcome> {
        let mut view = self.held();
        view.requests += 1;
        let mut got: HashSet<String> = view.deliveries.iter().map(|delivery| delivery.id.clone()).collect();
        let take = |record: &domain::batch::BatchRecord<'_>| {
            let fields: BTreeMap<&str, Value<'_>> = batch.layout.pairs(record.fields).collect();
            let key = &match fields.get("id") {
                Some(Value::Int(key)) => *key,
                // Compared without regard to case.
                Some(Value::Text(key)) => {
                    key.to_lowercase().strip_prefix("row-").and_then(|key| key.parse().ok()).expect("a key")
                }
                _ => panic!("a record without its identifier"),
            };
            let id = record.stable_id(batch.sync);
            let repeated = !got.insert(id.clone());
            if repeated && self.2.drops_repeated {
                return Outcome::accepted(Effect::Unknown);
            }
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
            view.deliveries.push(Delivery { id, key: *key, name, operation: batch.op.to_string() });
            match self.2.is_unsure && !repeated && key % UNSURE_OF == 0 {
                true => Outcome::retry("busy"),
                false => Outcome::accepted(effect),
            }
        };
        batch.records.iter().take(most).map(take).collect()
    }
}
