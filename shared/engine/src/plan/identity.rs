//! Which record of the destination an identifier names, as the destination compares identifiers. Two keys of the model
//! that are one record there get one verdict, and what a record of the model owns is not deleted under another key.
//!
//! Not here: which key is spelt how in the state; that is [`domain::key::KeyHash`].

use domain::cells::{self, Cells};
use domain::destination_schema::DestinationSchema;
use domain::equality::Equality;
use domain::key::{KeyHash, checksum};
use domain::layout::Layout;
use domain::value::{Value, canonical_decimal};

/// How the identifiers of a layout are compared.
#[derive(Debug, Clone, Default)]
pub struct IdentityRule {
    /// The identifier fields in the layout's order.
    equalities: Vec<Equality>,
    scratch: Vec<u8>,
}

impl IdentityRule {
    /// The rule of a destination for a layout.
    pub fn new(layout: &Layout, schema: &DestinationSchema) -> Self {
        Self {
            equalities: layout.identifiers().map(|(_, field)| schema.equality(&field.name)).collect(),
            scratch: Vec::new(),
        }
    }

    /// True when only the destination has the last word on values that seem to be one.
    pub fn asks(&self) -> bool {
        self.equalities.contains(&Equality::Destination)
    }

    /// True when two keys can be one record there although their cells differ.
    pub fn folds(&self) -> bool {
        self.equalities.iter().any(|equality| *equality != Equality::Exact)
    }

    /// A number that identifiers (cells in the layout's order) share when they name one record.
    pub fn identity(&mut self, identifier: Cells<'_>) -> u64 {
        self.scratch.clear();
        for (value, equality) in identifier.values().zip(&self.equalities) {
            push(&mut self.scratch, value, *equality);
        }
        checksum(&self.scratch, 0)
    }
}

/// Whatever its type, a value is compared by what it says: `7`, `7.0` and the text `7` are one number to a field that
/// holds numbers, and one text to one that holds texts.
fn push(out: &mut Vec<u8>, value: Value<'_>, equality: Equality) {
    match value {
        Value::Text(text) if equality == Equality::Exact => out.extend_from_slice(text.as_bytes()),
        Value::Text(text) => out.extend_from_slice(equality.fold(text).as_bytes()),
        Value::Decimal(_) | Value::Float(_) => {
            let text = value.to_text();
            out.extend_from_slice(canonical_decimal(&text).as_deref().unwrap_or(&text).as_bytes());
        }
        other => out.extend_from_slice(other.to_text().as_bytes()),
    }
    // Null is no text, and where one field ends the next begins.
    out.push(u8::from(value.is_empty()));
    out.push(0xff);
}

/// The identities of a model's records, each with the key that has it.
#[derive(Debug, Default)]
pub struct Identities(Vec<(u64, KeyHash)>);

impl Identities {
    /// Of these records.
    pub fn new(mut all: Vec<(u64, KeyHash)>) -> Self {
        all.sort_unstable();
        Self(all)
    }

    /// The keys of all records that have this identity: several where only the destination can tell them apart.
    pub fn owners(&self, identity: u64) -> impl Iterator<Item = &KeyHash> {
        let from = self.0.partition_point(|(known, _)| *known < identity);
        self.0[from..].iter().take_while(move |(known, _)| *known == identity).map(|(_, key)| key)
    }

    /// The key of a record that has this identity.
    pub fn owner(&self, identity: u64) -> Option<&KeyHash> {
        self.owners(identity).next()
    }
}

/// The identifier cells of a record, one after the other.
pub fn identifier_into(layout: &Layout, record: Cells<'_>, out: &mut Vec<u8>) {
    out.clear();
    for (field, cell) in layout.fields().iter().zip(record.cells()) {
        if field.identifier {
            out.extend_from_slice(cell);
        }
    }
}

/// True when the cells have a value for every identifier field.
pub fn is_whole(identifier: &[u8]) -> bool {
    Cells(identifier).cells().all(|cell| !cells::is_empty(cell) && !cells::is_unreadable(cell))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(equality: Equality, values: &[Value<'_>]) -> u64 {
        let mut cells = Vec::new();
        values.iter().for_each(|value| cells::push(&mut cells, *value));
        IdentityRule { equalities: vec![equality; values.len()], scratch: Vec::new() }.identity(Cells(&cells))
    }

    #[test]
    fn values_are_compared_by_what_they_say() {
        use Equality::{Exact, IgnoresCase};
        let one = |equality, a, b| assert_eq!(identity(equality, &[a]), identity(equality, &[b]), "{a:?} {b:?}");
        let two = |equality, a, b| assert_ne!(identity(equality, &[a]), identity(equality, &[b]), "{a:?} {b:?}");
        one(Exact, Value::Int(7), Value::Text("7"));
        one(Exact, Value::Int(7), Value::Decimal("7"));
        one(Exact, Value::Int(7), Value::Float(7.0));
        one(IgnoresCase, Value::Text("Ada@X.com"), Value::Text("ada@x.COM"));
        two(Exact, Value::Text("Ada"), Value::Text("ada"));
        two(Exact, Value::Text("007"), Value::Text("7"));
        two(Exact, Value::Null, Value::Text(""));
        assert_ne!(
            identity(Exact, &[Value::Text("a"), Value::Text("b")]),
            identity(Exact, &[Value::Text("ab"), Value::Text("")])
        );
    }

    #[test]
    fn an_owner_is_found() {
        let all = Identities::new(vec![(5, KeyHash([1; 12])), (3, KeyHash([2; 12]))]);
        assert_eq!(
            (all.owner(3), all.owner(4), all.owner(5)),
            (Some(&KeyHash([2; 12])), None, Some(&KeyHash([1; 12])))
        );
    }
}
