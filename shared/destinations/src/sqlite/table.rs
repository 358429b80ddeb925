//! A table as SQLite describes it, and what is wrong with it for a sync. Not here: how values are written into it.

use domain::destination_schema::{DestinationField, DestinationSchema};
use domain::equality::Equality;
use domain::finding::Finding;
use domain::mode::Mode;
use domain::ports::PreflightRequest;
use domain::value::Type;
use rusqlite::{Connection, Error, OptionalExtension as _};

use super::encode::{Affinity, Collation, affinity};
use crate::sql::{self, ObjectName};

#[derive(Debug, Clone)]
pub(super) struct SqliteColumn {
    pub(super) name: String,
    pub(super) affinity: Affinity,
    field: DestinationField,
}

/// Columns that are unique together, each with how its texts compare.
#[derive(Debug, Clone)]
struct Unique(Vec<(String, Collation)>);

#[derive(Debug, Clone)]
pub(super) struct SqliteTable {
    pub(super) name: ObjectName,
    pub(super) columns: Vec<SqliteColumn>,
    uniques: Vec<Unique>,
}

/// What the name of an object leads to.
pub(super) enum SqliteLookup {
    Table(SqliteTable),
    /// Something else, or nothing.
    Not(Finding),
}

/// Looks the table up.
pub(super) fn find(connection: &Connection, object: &ObjectName) -> Result<SqliteLookup, Error> {
    let schema = object.schema.as_deref().unwrap_or("main");
    let list = "select name, type, strict from pragma_table_list where schema = ?1 collate nocase and name = ?2 collate nocase";
    let found = connection.query_row(list, [schema, &object.table], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, bool>(2)?))
    });
    let Some((table, what, strict)) = found.optional()? else {
        let mut names = connection
            .prepare("select name from pragma_table_list where type = 'table' and schema = ?1 collate nocase and name not like 'sqlite\\_%' escape '\\'")?;
        let names = names.query_map([schema], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
        let names = names
            .into_iter()
            .map(|table| ObjectName { schema: object.schema.clone(), table }.to_string())
            .collect::<Vec<_>>();
        return Ok(SqliteLookup::Not(sql::no_table(object, names.iter().map(String::as_str))));
    };
    match what.as_str() {
        "table" => {}
        "view" => return Ok(SqliteLookup::Not(sql::not_a_table(object, "a view"))),
        _ => return Ok(SqliteLookup::Not(sql::not_a_table(object, "a virtual table"))),
    }
    let name = ObjectName { schema: object.schema.clone(), table };
    let (columns, primary) = columns(connection, schema, &name.table, strict)?;
    let mut uniques = indexes(connection, schema, &name.table)?;
    uniques.extend(primary);
    Ok(SqliteLookup::Table(SqliteTable { name, columns, uniques }))
}

/// The columns, and the primary key where it is the row's own number, which has no index.
fn columns(
    connection: &Connection,
    schema: &str,
    table: &str,
    strict: bool,
) -> Result<(Vec<SqliteColumn>, Option<Unique>), Error> {
    struct RawColumn {
        name: String,
        declared: String,
        not_null: bool,
        has_default: bool,
        key: i64,
        hidden: i64,
    }
    let mut statement = connection.prepare(
        "select name, type, \"notnull\", dflt_value is not null, pk, hidden from pragma_table_xinfo(?1, ?2)",
    )?;
    let raw = statement.query_map([table, schema], |row| {
        Ok(RawColumn {
            name: row.get(0)?,
            declared: row.get(1)?,
            not_null: row.get(2)?,
            has_default: row.get(3)?,
            key: row.get(4)?,
            hidden: row.get(5)?,
        })
    })?;
    let raw = raw.collect::<Result<Vec<_>, _>>()?;
    let keys = raw.iter().filter(|c| c.key > 0).count();
    let is_row_number = |c: &RawColumn| keys == 1 && c.key == 1 && c.declared.eq_ignore_ascii_case("integer");
    let primary = raw.iter().find(|c| is_row_number(c)).map(|c| Unique(vec![(c.name.clone(), Collation::Binary)]));
    let columns = raw.iter().map(|c| SqliteColumn {
        name: c.name.clone(),
        affinity: affinity(&c.declared, strict),
        field: DestinationField {
            name: c.name.clone(),
            kind: kind(&c.declared, strict),
            read_only: c.hidden != 0,
            required: c.not_null && !c.has_default && c.hidden == 0 && !is_row_number(c),
            not_null: c.not_null,
            ..DestinationField::default()
        },
    });
    Ok((columns.collect(), primary))
}

/// The type a declaration promises. Where SQLite has no such type (dates, decimals, JSON), values keep the model's.
fn kind(declared: &str, strict: bool) -> Option<Type> {
    let upper = declared.to_ascii_uppercase();
    let has = |part: &str| upper.contains(part);
    match () {
        () if has("INT") => Some(Type::Int),
        () if has("CHAR") || has("CLOB") || has("TEXT") => Some(Type::Text),
        () if has("BLOB") => strict.then_some(Type::Bytes),
        () if has("REAL") || has("FLOA") || has("DOUB") => Some(Type::Float),
        () if has("BOOL") => Some(Type::Bool),
        () => None,
    }
}

/// Unique indexes without a condition and without expressions.
fn indexes(connection: &Connection, schema: &str, table: &str) -> Result<Vec<Unique>, Error> {
    let mut list = connection.prepare("select name from pragma_index_list(?1, ?2) where \"unique\" and not partial")?;
    let mut info = connection.prepare("select name, coll from pragma_index_xinfo(?1, ?2) where \"key\"")?;
    let mut uniques = Vec::new();
    for index in list.query_map([table, schema], |row| row.get::<_, String>(0))? {
        let columns = info.query_map([index?.as_str(), schema], |row| {
            Ok((row.get::<_, Option<String>>(0)?, row.get::<_, String>(1)?))
        })?;
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let named = columns.into_iter().map(|(name, collation)| {
            let collation = match collation.to_ascii_uppercase().as_str() {
                "NOCASE" => Collation::NoCase,
                "RTRIM" => Collation::RTrim,
                _ => Collation::Binary,
            };
            Some((name?, collation))
        });
        uniques.extend(named.collect::<Option<Vec<_>>>().map(Unique));
    }
    Ok(uniques)
}

impl SqliteTable {
    /// The column of this name.
    pub(super) fn column(&self, name: &str) -> Option<&SqliteColumn> {
        self.columns.iter().find(|c| c.name == name)
    }

    /// Columns of unique indexes, other than these, that take null.
    pub(super) fn vacatable(&self, but: &[&str]) -> Vec<&str> {
        let takes_null = |name: &str| self.column(name).is_some_and(|column| !column.field.not_null);
        sql::vacatable(self.uniques.iter().flat_map(|unique| &unique.0).map(|(name, _)| name.as_str()), but, takes_null)
    }

    /// How the unique index over these columns compares them; byte by byte where there is none.
    pub(super) fn collations(&self, identifiers: &[&str]) -> Vec<Collation> {
        let index = self.uniques.iter().find(|u| {
            u.0.len() == identifiers.len() && u.0.iter().all(|(name, _)| identifiers.contains(&name.as_str()))
        });
        let of = |name: &str| {
            index
                .and_then(|u| u.0.iter().find(|(column, _)| column == name))
                .map_or(Collation::Binary, |(_, collation)| *collation)
        };
        identifiers.iter().map(|name| of(name)).collect()
    }

    /// The table as preflight tells it.
    pub(super) fn schema(&self, need: PreflightRequest<'_>) -> DestinationSchema {
        let identifiers: Vec<&str> =
            need.fields.iter().filter(|(_, identifier)| *identifier).map(|(name, _)| name.as_str()).collect();
        let collations = self.collations(&identifiers);
        let fields = self.columns.iter().map(|column| {
            let mut field = column.field.clone();
            let collation = identifiers
                .iter()
                .zip(&collations)
                .find(|(name, _)| **name == column.name)
                .map(|(_, collation)| *collation);
            field.equality = match (column.affinity, collation) {
                (Affinity::Numeric | Affinity::Real, _) => Equality::Number,
                (_, Some(Collation::NoCase)) => Equality::IgnoresAsciiCase,
                (_, Some(Collation::RTrim)) => Equality::IgnoresTrailingSpace,
                _ => Equality::Exact,
            };
            // To find a row by a column is not to write it.
            field.read_only &= !(need.mode == Mode::Update && identifiers.contains(&column.name.as_str()));
            field.required &= need.mode != Mode::Update;
            field
        });
        let uniques: Vec<Vec<String>> =
            self.uniques.iter().map(|u| u.0.iter().map(|(name, _)| name.clone()).collect()).collect();
        // SQLite wants a name for an index, in the schema of its table.
        let index = |columns: &[&str]| {
            let name = format!("{}_by_{}", self.name.table, columns.join("_"));
            let index = ObjectName { schema: self.name.schema.clone(), table: name }.sql();
            let table = sql::quote(&self.name.table);
            format!("create unique index {index} on {table} ({});", sql::quoted(columns.iter().copied()))
        };
        DestinationSchema {
            fields: Some(fields.collect()),
            findings: sql::identifier_not_unique(&self.name, need, &uniques, index).into_iter().collect(),
        }
    }
}
