//! Columns as Athena describes them, and how each is written into a file.
//! <https://docs.aws.amazon.com/athena/latest/ug/data-types.html>

use domain::finding::Finding;
use domain::row::Column;
use domain::value::Type;
use serde::Deserialize;

use crate::sql;

/// A column of a result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct AthenaColumn {
    pub(super) name: String,
    #[serde(rename = "Type")]
    kind: String,
}

/// How a column comes through a file of Parquet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passage {
    /// As it is.
    Native,
    /// By a function or a cast that keeps all of it: what goes before the column, and after it.
    Around(&'static str, &'static str),
    /// Not at all.
    Unreadable,
}

impl AthenaColumn {
    /// UNLOAD writes tables of Hive, which have no times of day, zones, documents or UUIDs, and no more than milliseconds; a
    /// query that gives such a column fails. What is written as text keeps every digit.
    /// <https://docs.aws.amazon.com/athena/latest/ug/unload.html>
    fn passage(&self) -> (Type, Passage) {
        let name = self.kind.split(['(', '<']).next().unwrap_or_default().trim().to_lowercase();
        let text = Passage::Around("cast(", " as varchar)");
        let zoned = self.kind.to_lowercase().contains("with time zone");
        match name.as_str() {
            "boolean" => (Type::Bool, Passage::Native),
            "tinyint" | "smallint" | "int" | "integer" | "bigint" => (Type::Int, Passage::Native),
            "real" | "float" | "double" => (Type::Float, Passage::Native),
            "decimal" => (Type::Decimal, Passage::Native),
            "varchar" | "string" => (Type::Text, Passage::Native),
            "varbinary" | "binary" => (Type::Bytes, Passage::Native),
            "date" => (Type::Date, Passage::Native),
            "timestamp" | "timestamp with time zone" => {
                let kind = if zoned { Type::Timestamp } else { Type::DateTime };
                (kind, Passage::Around("to_iso8601(", ")"))
            }
            "time" if !zoned => (Type::Time, text),
            "json" => (Type::Json, Passage::Around("json_format(", ")")),
            // What they are made of is not told, and a time within one would fail.
            "array" | "map" | "row" | "struct" => (Type::Json, Passage::Around("json_format(cast(", " as json))")),
            "uuid" => (Type::Uuid, text),
            "time" | "time with time zone" | "char" | "ipaddress" | "unknown" => (Type::Text, text),
            "interval day to second" | "interval year to month" => (Type::Text, text),
            _ => (Type::Text, Passage::Unreadable),
        }
    }

    /// The column as the engine knows it.
    pub(super) fn column(&self) -> Column {
        Column { name: self.name.clone(), kind: self.passage().0 }
    }

    /// What is selected of the model for this column.
    pub(super) fn selected(&self) -> String {
        let name = sql::identifier(&self.name);
        match self.passage().1 {
            Passage::Native => name,
            Passage::Around(before, after) => format!("{before}{name}{after}"),
            Passage::Unreadable => "cast(null as varchar)".into(),
        }
    }

    /// What is said of a column that cannot be read.
    pub(super) fn unreadable(&self) -> Option<(String, Finding)> {
        (self.passage().1 == Passage::Unreadable).then(|| {
            let name = &self.name;
            let what = format!("the column `{name}` is of type {}, which cannot be read", self.kind);
            let spatial = self.kind.to_lowercase().contains("geo");
            let cast = if spatial { format!("st_astext({name})") } else { format!("cast({name} as varchar)") };
            (name.clone(), Finding::error("model", what, format!("write {cast} in the model")))
        })
    }
}

/// A finding for every column that the model gives no name, which no UNLOAD can select.
pub(super) fn unnamed(columns: &[AthenaColumn]) -> Vec<Finding> {
    let nameless = |(at, column): (usize, &AthenaColumn)| {
        (column.name.is_empty() || column.name == format!("_col{at}")).then(|| {
            let what = format!("column {} of the model has no name", at + 1);
            Finding::error("model", what, "give it one with `as`, such as `count(*) as orders`")
        })
    };
    columns.iter().enumerate().filter_map(nameless).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_written_so_that_nothing_is_lost() {
        for (kind, read, selected) in [
            ("boolean", Type::Bool, "\"c\""),
            ("tinyint", Type::Int, "\"c\""),
            ("integer", Type::Int, "\"c\""),
            ("float", Type::Float, "\"c\""),
            ("decimal(38,3)", Type::Decimal, "\"c\""),
            ("varchar", Type::Text, "\"c\""),
            ("char", Type::Text, "cast(\"c\" as varchar)"),
            ("varbinary", Type::Bytes, "\"c\""),
            ("date", Type::Date, "\"c\""),
            ("timestamp", Type::DateTime, "to_iso8601(\"c\")"),
            ("timestamp(6)", Type::DateTime, "to_iso8601(\"c\")"),
            ("timestamp with time zone", Type::Timestamp, "to_iso8601(\"c\")"),
            ("timestamp(6) with time zone", Type::Timestamp, "to_iso8601(\"c\")"),
            ("time", Type::Time, "cast(\"c\" as varchar)"),
            ("time with time zone", Type::Text, "cast(\"c\" as varchar)"),
            ("json", Type::Json, "json_format(\"c\")"),
            ("array", Type::Json, "json_format(cast(\"c\" as json))"),
            ("map", Type::Json, "json_format(cast(\"c\" as json))"),
            ("row(a integer)", Type::Json, "json_format(cast(\"c\" as json))"),
            ("uuid", Type::Uuid, "cast(\"c\" as varchar)"),
            ("unknown", Type::Text, "cast(\"c\" as varchar)"),
            ("geometry", Type::Text, "cast(null as varchar)"),
        ] {
            let column = AthenaColumn { name: "c".into(), kind: kind.into() };
            assert_eq!((column.column().kind, column.selected().as_str()), (read, selected), "{kind}");
            assert_eq!(column.unreadable().is_some(), kind == "geometry", "{kind}");
        }
    }

    #[test]
    fn a_column_without_a_name_is_told() {
        let columns = ["a", "_col1", "_col1"].map(|name| AthenaColumn { name: name.into(), kind: "integer".into() });
        let findings = unnamed(&columns);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].to_string().contains("column 2"), "{}", findings[0]);
    }
}
