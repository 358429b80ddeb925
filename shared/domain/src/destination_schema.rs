//! What a destination says of the object that a sync writes to: its fields, and what is wrong with it.

use crate::equality::Equality;
use crate::finding::Finding;
use crate::value::Type;

/// A field as the destination describes it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DestinationField {
    /// Its name.
    pub name: String,
    /// The type its values must have; `None` when it takes anything.
    pub kind: Option<Type>,
    /// It cannot be written.
    pub read_only: bool,
    /// A record cannot be created without it.
    pub required: bool,
    /// Null is refused.
    pub not_null: bool,
    /// Most characters of a text.
    pub max_length: Option<usize>,
    /// Digits in all and after the point, where the destination limits them.
    pub precision: Option<(u32, u32)>,
    /// Whole numbers within these bounds.
    pub range: Option<(i64, i64)>,
    /// The only values it takes.
    pub one_of: Option<Vec<String>>,
    /// How its values are compared when records are found by it.
    pub equality: Equality,
}

/// What a destination says of the object a sync writes to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DestinationSchema {
    /// Its fields; `None` when it takes any field (a webhook).
    pub fields: Option<Vec<DestinationField>>,
    /// What is wrong on the destination's side (an identifier that is not unique, a missing table …). One about a
    /// mapped field is made by [`Finding::on_field`]: the engine puts the mapping's line in its place.
    pub findings: Vec<Finding>,
}

impl DestinationSchema {
    /// How the destination compares the values of the field named `name` when it finds records by them.
    pub fn equality(&self, name: &str) -> Equality {
        self.fields.iter().flatten().find(|field| field.name == name).map_or(Equality::Exact, |field| field.equality)
    }
}
