//! A table as a sync sees it: its columns, what is unique in it, and what is wrong with it. Pure.

use std::sync::Arc;

use clients::mysql_literal::name;
use domain::destination_schema::{DestinationField, DestinationSchema};
use domain::equality::Equality;
use domain::finding::Finding;
use domain::layout::Layout;
use domain::mode::Mode;
use domain::ports::PreflightRequest;

use crate::sql::{self, ObjectName};

/// Most bytes of a request, whatever the server takes.
const MAX_REQUEST_BYTES: usize = 512 * 1024;

/// What a request has besides its statements, at most.
const PACKET_ROOM: usize = 1024;

/// What a column keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MysqlType {
    /// Whole numbers.
    Whole,
    /// Whole numbers of four digits.
    Year,
    Decimal,
    /// Numbers of single or double precision.
    Float {
        single: bool,
    },
    Bits,
    Text,
    /// One of these.
    Enum(Vec<String>),
    /// Any of these, with commas between.
    Set(Vec<String>),
    /// Bytes; `fixed` is the length that shorter ones are filled up to.
    Bytes {
        fixed: Option<u64>,
    },
    Date,
    /// A time with so many digits after the second.
    Time(usize),
    DateTime(usize),
    Timestamp(usize),
    Json,
    /// A type that reads its values from text.
    Other,
    /// A type whose values are no records' (geometry).
    Unwritable,
}

impl MysqlType {
    /// It compares its values as numbers.
    pub(super) fn is_number(&self) -> bool {
        matches!(self, Self::Whole | Self::Year | Self::Decimal | Self::Float { .. } | Self::Bits)
    }
}

#[derive(Debug, Clone)]
pub(super) struct MysqlColumn {
    pub(super) kind: MysqlType,
    pub(super) field: DestinationField,
    /// The type as declared.
    pub(super) declared: String,
    /// How its texts compare, where it has some.
    pub(super) collation: Option<TextCollation>,
}

impl MysqlColumn {
    /// Texts of it have no spaces at their end when they are read.
    pub(super) fn is_char(&self) -> bool {
        self.kind == MysqlType::Text && self.declared.to_lowercase().starts_with("char(")
    }

    /// It fills up bytes of this length.
    pub(super) fn is_longer_than(&self, bytes: usize) -> bool {
        matches!(self.kind, MysqlType::Bytes { fixed: Some(length) } if length > bytes as u64)
    }
}

/// How texts of a column compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TextCollation {
    pub(super) character_set: String,
    pub(super) name: String,
}

#[derive(Debug, Clone)]
pub(super) struct MysqlTable {
    pub(super) name: ObjectName,
    pub(super) columns: Vec<MysqlColumn>,
    /// The columns of every unique index that covers whole values.
    pub(super) uniques: Vec<Vec<String>>,
    /// The engine, where it keeps no transactions.
    pub(super) without_transactions: Option<String>,
    /// Most bytes the server takes at once.
    pub(super) max_packet: usize,
}

/// What the name of an object leads to.
pub(super) enum MysqlLookup {
    Table(Arc<MysqlTable>),
    /// Something else, or nothing.
    Not(Finding),
}

impl MysqlTable {
    /// For statements.
    pub(super) fn sql(&self) -> String {
        let table = name(&self.name.table);
        self.name.schema.as_deref().map_or(table.clone(), |schema| format!("{}.{table}", name(schema)))
    }

    /// The column of this name.
    pub(super) fn column(&self, name: &str) -> Option<&MysqlColumn> {
        self.columns.iter().find(|column| column.field.name == name)
    }

    /// Most bytes that the server takes as one statement.
    pub(super) fn packet_bytes(&self) -> usize {
        self.max_packet.saturating_sub(PACKET_ROOM)
    }

    /// Most bytes of a request of many statements: it is parsed as a whole.
    pub(super) fn request_bytes(&self) -> usize {
        self.packet_bytes().min(MAX_REQUEST_BYTES)
    }

    /// The columns of a layout, in its order; the error is a sentence.
    pub(super) fn columns_of(&self, layout: &Layout) -> Result<Vec<&MysqlColumn>, String> {
        let column =
            |name: &str| self.column(name).ok_or_else(|| format!("the table {} has no column `{name}`.", self.name));
        layout.fields().iter().map(|field| column(&field.name)).collect()
    }

    /// Columns of unique indexes, other than these, that take null.
    pub(super) fn vacatable(&self, but: &[&str]) -> Vec<&str> {
        let takes_null = |name: &str| self.column(name).is_some_and(|column| !column.field.not_null);
        sql::vacatable(self.uniques.iter().flatten().map(String::as_str), but, takes_null)
    }

    /// The table as preflight tells it.
    pub(super) fn schema(&self, need: PreflightRequest<'_>) -> DestinationSchema {
        let identifier = |name: &str| need.fields.iter().any(|(field, identifier)| field == name && *identifier);
        let fields = self.columns.iter().map(|column| {
            let mut field = column.field.clone();
            // To find a row by a column is not to write it.
            field.read_only &= !(need.mode == Mode::Update && identifier(&field.name));
            field.required &= need.mode != Mode::Update;
            field
        });
        DestinationSchema { fields: Some(fields.collect()), findings: self.findings(need) }
    }

    fn findings(&self, need: PreflightRequest<'_>) -> Vec<Finding> {
        let index = |identifiers: &[&str]| {
            let columns: Vec<String> = identifiers.iter().map(|column| name(column)).collect();
            format!("alter table {} add unique ({});", self.sql(), columns.join(", "))
        };
        let mut findings: Vec<Finding> =
            sql::identifier_not_unique(&self.name, need, &self.uniques, index).into_iter().collect();
        if let Some(engine) = &self.without_transactions {
            findings.push(Finding::error(
                format!("object {}", self.name),
                format!("its engine {engine} keeps no transactions, so half of a batch could stay"),
                format!("alter table {} engine = InnoDB;", self.sql()),
            ));
        }
        let mapped = need.fields.iter().filter_map(|(name, _)| self.column(name));
        findings.extend(mapped.filter(|column| column.kind == MysqlType::Unwritable).map(|column| {
            Finding::error(
                format!("field {}", column.field.name),
                format!("the column is of a spatial type ({}), which cannot be written", column.declared),
                "leave the field out of the mapping",
            )
        }));
        findings
    }
}

/// How a column of this kind and collation compares.
pub(super) fn equality(kind: &MysqlType, collation: Option<&TextCollation>) -> Equality {
    match (kind, collation) {
        (kind, _) if kind.is_number() => Equality::Number,
        (_, Some(collation)) if collation.name.ends_with("_bin") => {
            let no_pad = collation.name.contains("_0900_") || collation.name.contains("_nopad_");
            if no_pad { Equality::Exact } else { Equality::IgnoresTrailingSpace }
        }
        (_, Some(_)) => Equality::Destination,
        _ => Equality::Exact,
    }
}

/// The members of `enum('a','b')` or `set(…)`; a quote in one is doubled.
pub(super) fn members(declared: &str) -> Vec<String> {
    let inside = declared.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')')).map_or("", |(inside, _)| inside);
    let mut members = Vec::new();
    let mut chars = inside.chars().peekable();
    let mut member: Option<String> = None;
    while let Some(c) = chars.next() {
        match (&mut member, c) {
            (None, '\'') => member = Some(String::new()),
            (None, _) => {}
            (Some(text), '\'') if chars.peek() == Some(&'\'') => {
                chars.next();
                text.push('\'');
            }
            (Some(_), '\'') => members.extend(member.take()),
            (Some(text), c) => text.push(c),
        }
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_an_enum_are_read() {
        assert_eq!(members("enum('a','it''s','x,y','')"), ["a", "it's", "x,y", ""]);
        assert!(members("int").is_empty());
    }

    #[test]
    fn collations_say_how_texts_compare() {
        let text = |name: &str| TextCollation { character_set: "utf8mb4".into(), name: name.into() };
        for (collation, expected) in [
            ("utf8mb4_bin", Equality::IgnoresTrailingSpace),
            ("utf8mb4_0900_bin", Equality::Exact),
            ("utf8mb4_nopad_bin", Equality::Exact),
            ("utf8mb4_general_ci", Equality::Destination),
            ("utf8mb4_0900_as_cs", Equality::Destination),
        ] {
            assert_eq!(equality(&MysqlType::Text, Some(&text(collation))), expected, "{collation}");
        }
        assert_eq!(equality(&MysqlType::Decimal, None), Equality::Number);
        assert_eq!(equality(&MysqlType::Date, None), Equality::Exact);
    }
}
