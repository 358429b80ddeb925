//! The model as these tests know it, and what may happen to it between a crash and the next run.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;

/// Rows by key; every row has one more column.
pub type Rows = BTreeMap<i64, String>;

/// A model with its past.
#[derive(Debug, Clone, Default)]
pub struct Model {
    pub rows: Rows,
    /// The rows that the destination had before the change that a run was to deliver.
    pub base: Rows,
    /// Every version that was ever in the model.
    pub ever: BTreeSet<(i64, String)>,
    /// When each row was last written, as a count.
    pub updated: BTreeMap<i64, i64>,
    writes: i64,
    next: i64,
    versions: u64,
}

/// What happens to the model between a crash and the next run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    Nothing,
    /// Changed rows go back to what they were.
    Revert,
    /// Rows that were just added are deleted.
    DeleteAdded,
    /// Rows that were just deleted come back, as they were or as something else.
    ReAdd,
    /// Changed and added rows change again.
    Again,
    /// Changed rows are deleted.
    DeleteChanged,
    Mixed,
    /// Changed and added rows become such that the destination refuses them.
    Refused,
    /// Changed and added rows become such that we refuse them.
    Invalid,
}

/// A name that the destination refuses.
pub const REFUSED: &str = "refused";
/// Longer names are invalid.
pub const LONGEST: usize = 60;

/// The mutations after which every row can be delivered.
pub const MUTATIONS: [Mutation; 7] = [
    Mutation::Nothing,
    Mutation::Revert,
    Mutation::DeleteAdded,
    Mutation::ReAdd,
    Mutation::Again,
    Mutation::DeleteChanged,
    Mutation::Mixed,
];

impl Model {
    /// So many rows, which nobody has yet.
    pub fn new(rows: i64) -> Self {
        let mut model = Self { next: 1, ..Self::default() };
        model.add(rows);
        model
    }

    /// What there is now is what the destination has.
    pub fn settle(&mut self) {
        self.base = self.rows.clone();
    }

    /// The model as it was before the change.
    pub fn back_to_base(&mut self) {
        for (key, name) in self.base.clone() {
            if self.rows.get(&key) != Some(&name) {
                self.put(key, name);
            }
        }
        self.rows.retain(|key, _| self.base.contains_key(key));
    }

    /// How the key of a row is spelt: every write of the row may spell it anew, which is still the same row.
    pub fn spelling(&self, key: i64) -> String {
        if self.updated.get(&key).is_some_and(|at| at % 2 == 0) { format!("ROW-{key}") } else { format!("row-{key}") }
    }

    /// The same with so many more rows of this width.
    pub fn with_wide_rows(mut self, rows: i64, width: usize) -> Self {
        for key in self.next..self.next + rows {
            self.put(key, format!("{key:0width$}"));
        }
        self.next += rows;
        self
    }

    fn add(&mut self, rows: i64) {
        for _ in 0..rows {
            self.put_new(self.next);
            self.next += 1;
        }
    }

    fn put(&mut self, key: i64, name: String) {
        self.ever.insert((key, name.clone()));
        self.rows.insert(key, name);
        self.writes += 1;
        self.updated.insert(key, self.writes);
    }

    fn put_new(&mut self, key: i64) {
        self.versions += 1;
        self.put(key, format!("row {key} in version {}", self.versions));
    }

    /// Changes and adds so many rows.
    pub fn change_and_add(&mut self, each: usize, rng: &mut Rng) {
        for key in rng.choose_multiple(self.rows.keys().copied().collect::<Vec<_>>(), each) {
            self.put_new(key);
        }
        self.add(each as i64);
    }

    /// Changes, deletes and adds so many rows.
    pub fn change(&mut self, each: usize, rng: &mut Rng) {
        let keys: Vec<i64> = self.rows.keys().copied().collect();
        let chosen = rng.choose_multiple(keys.iter().copied(), 2 * each);
        for (at, key) in chosen.into_iter().enumerate() {
            if at % 2 == 0 {
                self.put_new(key);
            } else {
                self.rows.remove(&key);
            }
        }
        self.add(each as i64);
    }

    /// Lets this happen to all rows that it may happen to; to about half of them when it is [`Mutation::Mixed`].
    pub fn mutate(&mut self, mutation: Mutation, rng: &mut Rng) {
        if mutation == Mutation::Mixed {
            for one in MUTATIONS {
                if one != Mutation::Mixed && one != Mutation::Nothing {
                    self.apply(one, rng, |rng| rng.u8(..10) < 4);
                }
            }
        } else {
            self.apply(mutation, rng, |_| true);
        }
    }

    fn apply(&mut self, mutation: Mutation, rng: &mut Rng, mut chosen: impl FnMut(&mut Rng) -> bool) {
        let changed: Vec<i64> = self
            .rows
            .iter()
            .filter(|(key, name)| self.base.get(key).is_some_and(|b| b != *name))
            .map(|(key, _)| *key)
            .collect();
        let added: Vec<i64> = self.rows.keys().filter(|key| !self.base.contains_key(key)).copied().collect();
        let deleted: Vec<i64> = self.base.keys().filter(|key| !self.rows.contains_key(key)).copied().collect();
        let mut of = |keys: &[i64], rng: &mut Rng| keys.iter().copied().filter(|_| chosen(rng)).collect::<Vec<_>>();
        match mutation {
            Mutation::Nothing | Mutation::Mixed => {}
            Mutation::Revert => of(&changed, rng).into_iter().for_each(|key| self.put(key, self.base[&key].clone())),
            Mutation::DeleteAdded => of(&added, rng).iter().for_each(|key| drop(self.rows.remove(key))),
            Mutation::DeleteChanged => of(&changed, rng).iter().for_each(|key| drop(self.rows.remove(key))),
            Mutation::Refused => {
                of(&[changed, added].concat(), rng).into_iter().for_each(|key| self.put(key, REFUSED.into()))
            }
            Mutation::Invalid => {
                of(&[changed, added].concat(), rng).into_iter().for_each(|key| self.put(key, "x".repeat(LONGEST + 1)))
            }
            Mutation::Again => of(&[changed, added].concat(), rng).into_iter().for_each(|key| self.put_new(key)),
            Mutation::ReAdd => {
                for key in of(&deleted, rng) {
                    if key % 2 == 0 { self.put(key, self.base[&key].clone()) } else { self.put_new(key) }
                }
            }
        }
    }
}
