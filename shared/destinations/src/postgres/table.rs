//! A table as PostgreSQL's catalog describes it: columns, unique keys, privileges; and what is wrong with it
//! for a sync. Not here: how values are written into it.

use clients::postgres::Connected;
use domain::destination_schema::{DestinationField, DestinationSchema};
use domain::equality::Equality;
use domain::finding::Finding;
use domain::mode::Mode;
use domain::ports::PreflightRequest;
use domain::value::Type;
use tokio_postgres::types::Type as Sql;
use tokio_postgres::{Error, Row};

use crate::sql::{self, ObjectName, quote};

#[derive(Debug, Clone)]
pub(super) struct PostgresColumn {
    pub(super) name: String,
    /// The type in SQL, without a length: a cast to `varchar(5)` would cut text without a word.
    pub(super) sql_type: String,
    /// The type as declared.
    pub(super) full_type: String,
    /// The type of its values.
    pub(super) kind: Type,
    pub(super) is_array: bool,
    /// The type's own name; of an array that of its elements after `_`.
    typname: String,
    /// What it keeps may be less than what it is given.
    pub(super) narrow: Option<Narrow>,
    /// The collation that it has instead of its type's.
    pub(super) collation: Option<String>,
    /// Equal as the database's `=` sees it means equal in every byte, so the text form can be compared here.
    pub(super) exact: bool,
    /// `IS DISTINCT FROM` tells every difference. Else the text forms are compared: `citext` and collations
    /// overlook case, `json` has no `=`.
    pub(super) comparable: bool,
    pub(super) field: DestinationField,
    /// Why nobody can write it.
    unwritable: Option<&'static str>,
    may_insert: bool,
    may_update: bool,
    may_select: bool,
}

#[derive(Debug, Clone)]
pub(super) struct PostgresTable {
    pub(super) name: ObjectName,
    pub(super) columns: Vec<PostgresColumn>,
    /// A partitioned table cannot tell an insert from an update.
    pub(super) partitioned: bool,
    /// Row-level security: a lack of privilege can be about a single record.
    pub(super) row_security: bool,
    uniques: Vec<Vec<String>>,
    may_delete: bool,
    may_use_schema: bool,
    user: String,
}

/// What the name of an object leads to.
pub(super) enum PostgresLookup {
    Table(PostgresTable),
    /// Something else, or nothing.
    Not(Finding),
}

const TABLE: &str = "
select c.oid, n.nspname::text, c.relkind::text, c.relrowsecurity, current_user::text,
       has_table_privilege(c.oid, 'delete'), has_schema_privilege(n.oid, 'usage')
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relname = $1 and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
  and case when $2 is null then pg_catalog.pg_table_is_visible(c.oid) else n.nspname = $2 end";

// A domain is followed to the type under it, gathering what the domains on the way demand.
const COLUMNS: &str = "
with recursive base(num, typid, typmod, not_null, has_default) as (
  select a.attnum, a.atttypid, a.atttypmod, a.attnotnull, a.atthasdef
  from pg_catalog.pg_attribute a where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped
  union all
  select b.num, t.typbasetype, t.typtypmod, b.not_null or t.typnotnull, b.has_default or t.typdefault is not null
  from base b join pg_catalog.pg_type t on t.oid = b.typid where t.typtype = 'd'
)
select a.attname::text, pg_catalog.format_type(a.atttypid, -1), t.typname::text, t.typtype::text, t.typcategory::text, b.typmod,
       b.not_null, b.has_default, a.attidentity::text, a.attgenerated::text,
       (select array_agg(e.enumlabel::text order by e.enumsortorder) from pg_catalog.pg_enum e where e.enumtypid = t.oid),
       coalesce((select c.collisdeterministic from pg_catalog.pg_collation c where c.oid = a.attcollation), true),
       has_column_privilege(a.attrelid, a.attnum, 'insert'), has_column_privilege(a.attrelid, a.attnum, 'update'),
       has_column_privilege(a.attrelid, a.attnum, 'select'), pg_catalog.format_type(a.atttypid, a.atttypmod),
       (select quote_ident(n.nspname) || '.' || quote_ident(c.collname) from pg_catalog.pg_collation c join pg_catalog.pg_namespace n on n.oid = c.collnamespace
        where c.oid = a.attcollation and a.attcollation <> t.typcollation)
from base b join pg_catalog.pg_type t on t.oid = b.typid and t.typtype <> 'd'
join pg_catalog.pg_attribute a on a.attrelid = $1 and a.attnum = b.num
order by a.attnum";

// Only what ON CONFLICT can use: no predicate, no expression, not deferrable.
const UNIQUES: &str = "
select array_agg(a.attname::text)
from pg_catalog.pg_index i
cross join lateral unnest(i.indkey::int2[]) with ordinality k(num, at)
join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.num
where i.indrelid = $1 and i.indisunique and i.indimmediate and i.indisvalid and i.indpred is null and i.indexprs is null and k.at <= i.indnkeyatts
group by i.indexrelid";

const NAMES: &str = "
select case when $1 then n.nspname || '.' || c.relname else c.relname::text end
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and n.nspname not like 'pg\\_%' and n.nspname <> 'information_schema' and ($1 or pg_catalog.pg_table_is_visible(c.oid))
limit 5000";

/// Looks the table up.
pub(super) async fn find(connection: &Connected, object: &ObjectName) -> Result<PostgresLookup, Error> {
    let client = &connection.client;
    let Some(row) =
        client.query_typed(TABLE, &[(&object.table, Sql::TEXT), (&object.schema, Sql::TEXT)]).await?.into_iter().next()
    else {
        // Without a schema, names in other schemas are worth a look too.
        let mut names = Vec::new();
        for with_schema in [object.schema.is_some(), true] {
            names.extend(
                client
                    .query_typed(NAMES, &[(&with_schema, Sql::BOOL)])
                    .await?
                    .iter()
                    .map(|row| row.get::<_, String>(0)),
            );
        }
        return Ok(PostgresLookup::Not(sql::no_table(object, names.iter().map(String::as_str))));
    };
    let (oid, schema, relkind): (u32, String, String) = (row.get(0), row.get(1), row.get(2));
    match relkind.as_str() {
        "v" | "m" => return Ok(PostgresLookup::Not(sql::not_a_table(object, "a view"))),
        "f" => return Ok(PostgresLookup::Not(sql::not_a_table(object, "a foreign table"))),
        "S" => return Ok(PostgresLookup::Not(sql::not_a_table(object, "a sequence"))),
        _ => {}
    }
    let columns = client.query_typed(COLUMNS, &[(&oid, Sql::OID)]).await?.iter().map(column).collect();
    let uniques = client.query_typed(UNIQUES, &[(&oid, Sql::OID)]).await?.iter().map(|row| row.get(0)).collect();
    Ok(PostgresLookup::Table(PostgresTable {
        name: ObjectName { schema: Some(schema), table: object.table.clone() },
        columns,
        partitioned: relkind == "p",
        row_security: row.get(3),
        uniques,
        may_delete: row.get(5),
        may_use_schema: row.get(6),
        user: row.get(4),
    }))
}

fn column(row: &Row) -> PostgresColumn {
    let (name, sql_type): (String, String) = (row.get(0), row.get(1));
    let (typname, typtype, category): (String, String, String) = (row.get(2), row.get(3), row.get(4));
    let typmod: i32 = row.get(5);
    let (not_null, has_default, identity, generated): (bool, bool, String, String) =
        (row.get(6), row.get(7), row.get(8), row.get(9));
    let deterministic: bool = row.get(11);
    let is_array = category == "A";
    let kind = kind(&typname, &typtype, is_array);
    let scalar = matches!(
        typname.as_str(),
        "bool"
            | "int2"
            | "int4"
            | "int8"
            | "float4"
            | "float8"
            | "numeric"
            | "date"
            | "time"
            | "timestamp"
            | "timestamptz"
            | "uuid"
            | "bytea"
            | "jsonb"
    );
    let field = DestinationField {
        name: name.clone(),
        kind: Some(kind),
        read_only: !generated.is_empty() || identity == "a",
        required: not_null && !has_default && identity.is_empty() && generated.is_empty(),
        not_null,
        max_length: match (typname.as_str(), usize::try_from(typmod - 4)) {
            ("varchar" | "bpchar", Ok(length)) => Some(length),
            _ => None,
        },
        precision: if typname == "numeric" { precision(typmod) } else { None },
        range: match typname.as_str() {
            "int2" => Some((i64::from(i16::MIN), i64::from(i16::MAX))),
            "int4" => Some((i64::from(i32::MIN), i64::from(i32::MAX))),
            "int8" => Some((i64::MIN, i64::MAX)),
            "oid" => Some((0, i64::from(u32::MAX))),
            _ => None,
        },
        one_of: row.get(10),
        equality: equality(&typname, kind, deterministic),
    };
    PostgresColumn {
        exact: matches!(typname.as_str(), "int2" | "int4" | "int8" | "uuid" | "bool" | "date")
            || (matches!(typname.as_str(), "text" | "varchar") && deterministic),
        comparable: scalar || typtype == "e",
        unwritable: unwritable(&typname, &typtype, &category),
        may_insert: row.get(12),
        may_update: row.get(13),
        may_select: row.get(14),
        full_type: row.get(15),
        collation: row.get(16),
        narrow: narrow(&typname, typmod, is_array),
        typname,
        name,
        sql_type,
        kind,
        is_array,
        field,
    }
}

/// What a column makes less of, and without a word: an assignment rounds or cuts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Narrow {
    /// Fractions of a second, places of a number, elements of an array: what its type with its length keeps.
    Length,
    /// Digits that single precision has not.
    Real,
    /// Places that an amount has not.
    Money,
    /// Characters: `name` and `"char"`.
    Text,
}

fn narrow(typname: &str, typmod: i32, is_array: bool) -> Option<Narrow> {
    match typname {
        _ if is_array => (typmod >= 0).then_some(Narrow::Length),
        "time" | "timetz" | "timestamp" | "timestamptz" | "interval" if typmod >= 0 => Some(Narrow::Length),
        "numeric" if typmod >= 0 && precision(typmod).is_none() => Some(Narrow::Length),
        "float4" => Some(Narrow::Real),
        "money" => Some(Narrow::Money),
        "name" | "char" => Some(Narrow::Text),
        _ => None,
    }
}

impl PostgresColumn {
    /// The type of an array's elements.
    pub(super) fn element(&self) -> &str {
        self.typname.trim_start_matches('_')
    }
}

/// How two values of such a column are compared.
fn equality(typname: &str, kind: Type, deterministic: bool) -> Equality {
    match (typname, kind) {
        ("citext", _) => Equality::IgnoresCase,
        ("bpchar", _) => Equality::IgnoresTrailingSpace,
        (_, Type::Int | Type::Decimal | Type::Float) => Equality::Number,
        ("text" | "varchar", _) if deterministic => Equality::Exact,
        // A collation of its own, or another way to write the same: an address, an interval, a UUID in capitals.
        (_, Type::Text | Type::Uuid) => Equality::Destination,
        _ => Equality::Exact,
    }
}

/// Digits in all and after the point, out of a `numeric`'s modifier. A negative or an overlong scale has no such form.
fn precision(typmod: i32) -> Option<(u32, u32)> {
    let packed = u32::try_from(typmod - 4).ok()?;
    let (digits, scale) = (packed >> 16, packed & 0x7ff);
    (scale <= digits).then_some((digits, scale))
}

fn kind(typname: &str, typtype: &str, is_array: bool) -> Type {
    match typname {
        _ if is_array => Type::Json,
        _ if typtype == "e" => Type::Text,
        "bool" => Type::Bool,
        "int2" | "int4" | "int8" | "oid" => Type::Int,
        "float4" | "float8" => Type::Float,
        "numeric" => Type::Decimal,
        "bytea" => Type::Bytes,
        "date" => Type::Date,
        "time" => Type::Time,
        "timestamp" => Type::DateTime,
        "timestamptz" => Type::Timestamp,
        "json" | "jsonb" => Type::Json,
        "uuid" => Type::Uuid,
        // Whatever else there is takes its values as text: varchar, citext, inet, interval, xml …
        _ => Type::Text,
    }
}

fn unwritable(typname: &str, typtype: &str, category: &str) -> Option<&'static str> {
    match (typtype, category, typname) {
        ("r" | "m", ..) => Some("a range"),
        ("c", ..) => Some("a composite type"),
        ("p", ..) => Some("a pseudo type"),
        (_, "G", _) | (.., "geometry" | "geography" | "raster") => Some("a geometric type"),
        (.., "tsvector" | "tsquery") => Some("a text search type"),
        _ => None,
    }
}

impl PostgresTable {
    /// The column of this name.
    pub(super) fn column(&self, name: &str) -> Option<&PostgresColumn> {
        self.columns.iter().find(|c| c.name == name)
    }

    /// Columns of unique indexes, other than these, that take null.
    pub(super) fn vacatable(&self, but: &[&str]) -> Vec<&str> {
        let takes_null = |name: &str| self.column(name).is_some_and(|column| !column.field.not_null);
        sql::vacatable(self.uniques.iter().flatten().map(String::as_str), but, takes_null)
    }

    /// The table as preflight tells it.
    pub(super) fn schema(&self, need: PreflightRequest<'_>) -> DestinationSchema {
        let mapped = |name: &str| need.fields.iter().find(|(field, _)| field == name);
        let fields = self.columns.iter().map(|column| {
            let mut field = column.field.clone();
            // To find a row by a column is not to write it.
            field.read_only &=
                !(need.mode == Mode::Update && mapped(&column.name).is_some_and(|(_, identifier)| *identifier));
            field.required &= need.mode != Mode::Update;
            field
        });
        DestinationSchema { fields: Some(fields.collect()), findings: self.findings(need) }
    }

    fn findings(&self, need: PreflightRequest<'_>) -> Vec<Finding> {
        let index = |columns: &[&str]| {
            format!("create unique index on {} ({});", self.name.sql(), sql::quoted(columns.iter().copied()))
        };
        let mut findings: Vec<Finding> =
            sql::identifier_not_unique(&self.name, need, &self.uniques, index).into_iter().collect();
        for column in need.fields.iter().filter_map(|(name, _)| self.column(name)) {
            if let Some(what) = column.unwritable {
                findings.push(Finding::error(
                    format!("field {}", column.name),
                    format!("the column is {what} ({}), which cannot be written", column.sql_type),
                    "leave the field out of the mapping",
                ));
            }
        }
        let missing = self.missing_privileges(need);
        let about = format!("object {}", self.name);
        if !self.may_use_schema {
            let schema = quote(self.name.schema.as_deref().unwrap_or_default());
            findings.push(Finding::error(
                about,
                "the user may not use its schema",
                format!("grant usage on schema {schema} to {};", quote(&self.user)),
            ));
        } else if !missing.is_empty() {
            let list = missing.join(", ");
            let fix = format!("grant {list} on {} to {};", self.name.sql(), quote(&self.user));
            findings.push(Finding::error(about, format!("the user {} lacks the privilege to {list}", self.user), fix));
        }
        findings
    }

    /// Reading is needed to find rows and to see what became of them; append reads nothing.
    fn missing_privileges(&self, need: PreflightRequest<'_>) -> Vec<&'static str> {
        let mapped: Vec<(&PostgresColumn, bool)> =
            need.fields.iter().filter_map(|(name, identifier)| Some((self.column(name)?, *identifier))).collect();
        let (inserts, updates) = match need.mode {
            Mode::Upsert | Mode::Mirror => (true, true),
            Mode::Update => (false, true),
            Mode::Append => (true, false),
        };
        let lacks = [
            ("select", updates && mapped.iter().any(|(c, _)| !c.may_select)),
            ("insert", inserts && mapped.iter().any(|(c, _)| !c.may_insert)),
            ("update", updates && mapped.iter().any(|(c, identifier)| !identifier && !c.may_update)),
            ("delete", need.mode == Mode::Mirror && !self.may_delete),
        ];
        lacks.into_iter().filter(|(_, lacks)| *lacks).map(|(name, _)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precision_is_unpacked() {
        for (typmod, expected) in [(-1, None), (((10 << 16) | 2) + 4, Some((10, 2))), (((2 << 16) | 5) + 4, None)] {
            assert_eq!(precision(typmod), expected, "{typmod}");
        }
    }

    #[test]
    fn types_are_told_apart() {
        assert_eq!(kind("int4", "b", true), Type::Json);
        assert_eq!(kind("tier", "e", false), Type::Text);
        assert_eq!(kind("citext", "b", false), Type::Text);
        assert!(unwritable("int4range", "r", "R").is_some());
        assert!(unwritable("point", "b", "G").is_some());
        assert!(unwritable("geometry", "b", "U").is_some());
        assert!(unwritable("inet", "b", "I").is_none());
    }
}
