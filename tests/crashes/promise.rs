//! What must hold when the dust has settled, whatever happened before.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use domain::mode::Mode;

use crate::model::{Model, Rows};

/// Keys of rows that the destination had before we came.
pub const FOREIGN: Range<i64> = 1_000_000..1_000_010;

/// A record as a destination got it.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub id: String,
    pub key: i64,
    pub name: String,
    /// What was to be done.
    pub operation: String,
}

/// What a destination has and got.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// The rows it has; when it is only appended to, the last version of each.
    pub rows: Rows,
    /// Every record it got, in order. Empty where that is not known.
    pub deliveries: Vec<Delivery>,
    pub requests: u64,
}

/// The first thing that does not hold. `surplus`: how many records may have been appended twice.
pub fn broken(mode: Mode, model: &Model, view: &View, surplus: usize) -> Option<String> {
    if let Some(key) =
        FOREIGN.clone().find(|key| view.rows.get(key).is_none_or(|name| *name != format!("foreign {key}")))
    {
        return Some(format!("row {key}, which was there before we came, is {:?}", view.rows.get(&key)));
    }
    if mode == Mode::Append { append(model, view, surplus) } else { state(mode, model, view) }
}

fn state(mode: Mode, model: &Model, view: &View) -> Option<String> {
    if let Some((key, name)) = model.rows.iter().find(|(key, name)| view.rows.get(key) != Some(name)) {
        return Some(format!("the model has {key} as `{name}`, the destination as {:?}", view.rows.get(key)));
    }
    let extra: Vec<_> =
        view.rows.iter().filter(|(key, _)| !model.rows.contains_key(key) && !FOREIGN.contains(key)).collect();
    if mode == Mode::Mirror {
        return extra
            .first()
            .map(|(key, name)| format!("the destination has {key} as `{name}`, the model has it no more"));
    }
    let never = extra.iter().find(|(key, name)| !model.ever.contains(&(**key, (*name).clone())));
    never.map(|(key, name)| format!("the destination has {key} as `{name}`, which never was in the model"))
}

fn append(model: &Model, view: &View, surplus: usize) -> Option<String> {
    let mut versions: BTreeMap<i64, Vec<&Delivery>> = BTreeMap::new();
    for delivery in &view.deliveries {
        if delivery.operation != "append" || !model.ever.contains(&(delivery.key, delivery.name.clone())) {
            return Some(format!("the destination got {delivery:?}, which it should not have"));
        }
        versions.entry(delivery.key).or_default().push(delivery);
    }
    if let Some(key) = model.rows.keys().find(|key| !versions.contains_key(key)) {
        return Some(format!("record {key} never arrived"));
    }
    let twice = view.deliveries.len() - versions.len();
    if twice > surplus {
        return Some(format!("{twice} records were appended once more, at most {surplus} may have been"));
    }
    // One change has one name, so that a receiver can drop what it has.
    let changed = versions.values().find(|of| {
        let names: BTreeSet<&str> = of.iter().map(|d| d.name.as_str()).collect();
        let ids: BTreeSet<&str> = of.iter().map(|d| d.id.as_str()).collect();
        names.len() != ids.len()
    });
    changed.map(|of| format!("the same record has different ids: {of:?}"))
}
