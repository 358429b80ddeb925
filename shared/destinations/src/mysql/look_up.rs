//! Asks the server what a table is like, and what its user may do with it.

use std::sync::Arc;

use clients::mysql_literal::{name, quoted};
use domain::destination_schema::DestinationField;
use domain::finding::Finding;
use domain::mode::Mode;
use domain::ports::PreflightRequest;
use domain::value::Type;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Error, Row};

use super::table::{self, MysqlColumn, MysqlLookup, MysqlTable, MysqlType, TextCollation};
use crate::sql::{self, ObjectName};

/// Looks the table up.
pub(super) async fn find(conn: &mut Conn, object: &ObjectName) -> Result<MysqlLookup, Error> {
    let schema = object.schema.as_deref().unwrap_or_default();
    let list = format!(
        "select t.table_name, t.table_type, t.engine, e.transactions from information_schema.tables t \
         left join information_schema.engines e on e.engine = t.engine where t.table_schema = {}",
        quoted(schema)
    );
    let tables: Vec<(String, String, Option<String>, Option<String>)> = conn.query(list).await?;
    let folds: Option<u8> = conn.query_first("select @@lower_case_table_names").await?;
    let exact = tables.iter().find(|(table, ..)| *table == object.table);
    let found = exact.or_else(|| {
        let folded = |table: &str| folds.unwrap_or(0) > 0 && table.eq_ignore_ascii_case(&object.table);
        tables.iter().find(|(table, ..)| folded(table))
    });
    let Some((table, what, engine, transactions)) = found else {
        let known: Vec<String> = tables
            .iter()
            .map(|(table, ..)| ObjectName { schema: object.schema.clone(), table: table.clone() }.to_string())
            .collect();
        return Ok(MysqlLookup::Not(sql::no_table(object, known.iter().map(String::as_str))));
    };
    match what.as_str() {
        "BASE TABLE" | "SYSTEM VERSIONED" => {}
        "VIEW" | "SYSTEM VIEW" => return Ok(MysqlLookup::Not(sql::not_a_table(object, "a view"))),
        _ => return Ok(MysqlLookup::Not(sql::not_a_table(object, "something else"))),
    }
    let name = ObjectName { schema: object.schema.clone(), table: table.clone() };
    let max_packet: Option<usize> = conn.query_first("select @@max_allowed_packet").await?;
    Ok(MysqlLookup::Table(Arc::new(MysqlTable {
        columns: columns(conn, schema, table).await?,
        uniques: uniques(conn, schema, table).await?,
        without_transactions: engine.clone().filter(|_| transactions.as_deref() != Some("YES")),
        max_packet: max_packet.unwrap_or(4 * 1024 * 1024),
        name,
    })))
}

async fn columns(conn: &mut Conn, schema: &str, table: &str) -> Result<Vec<MysqlColumn>, Error> {
    let sql = format!(
        "select column_name, data_type, column_type, is_nullable, column_default is not null, extra, \
         coalesce(generation_expression, ''), character_maximum_length, numeric_precision, numeric_scale, \
         datetime_precision, character_set_name, collation_name from information_schema.columns \
         where table_schema = {} and table_name = {} order by ordinal_position",
        quoted(schema),
        quoted(table)
    );
    Ok(conn.query::<Row, _>(sql).await?.iter().map(column).collect())
}

fn column(row: &Row) -> MysqlColumn {
    let text = |at: usize| row.get::<Option<String>, _>(at).flatten();
    let number = |at: usize| row.get::<Option<u64>, _>(at).flatten();
    let (data_type, declared) = (text(1).unwrap_or_default().to_lowercase(), text(2).unwrap_or_default());
    let unsigned = declared.to_lowercase().contains("unsigned");
    let fraction = number(10).and_then(|digits| usize::try_from(digits).ok()).unwrap_or(0);
    let kind = kind(&data_type, &declared, number(7), fraction);
    let collation = text(11).zip(text(12)).map(|(character_set, name)| TextCollation { character_set, name });
    let collation = collation
        .filter(|_| matches!(kind, MysqlType::Text | MysqlType::Enum(_) | MysqlType::Set(_)) && data_type != "json");
    let not_null = text(3).as_deref() == Some("NO");
    let read_only = text(6).is_some_and(|expression| !expression.is_empty());
    let filled = number(4) == Some(1) || text(5).is_some_and(|extra| extra.to_lowercase().contains("auto_increment"));
    let small = |digits: Option<u64>| digits.and_then(|digits| u32::try_from(digits).ok());
    let field = DestinationField {
        name: text(0).unwrap_or_default(),
        kind: model_type(&kind, &declared, unsigned),
        read_only,
        required: not_null && !filled && !read_only,
        not_null,
        max_length: number(7)
            .filter(|_| matches!(data_type.as_str(), "char" | "varchar"))
            .and_then(|length| usize::try_from(length).ok()),
        precision: match kind {
            MysqlType::Decimal => small(number(8)).zip(small(number(9))),
            MysqlType::Whole if data_type == "bigint" && unsigned => Some((20, 0)),
            _ => None,
        },
        range: range(&data_type, unsigned),
        one_of: match &kind {
            MysqlType::Enum(members) => Some(members.clone()),
            _ => None,
        },
        equality: table::equality(&kind, collation.as_ref()),
    };
    MysqlColumn { kind, field, declared, collation }
}

fn kind(data_type: &str, declared: &str, length: Option<u64>, fraction: usize) -> MysqlType {
    match data_type {
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" => MysqlType::Whole,
        "year" => MysqlType::Year,
        "decimal" => MysqlType::Decimal,
        "float" => MysqlType::Float { single: true },
        "double" => MysqlType::Float { single: false },
        "bit" => MysqlType::Bits,
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => MysqlType::Text,
        "enum" => MysqlType::Enum(table::members(declared)),
        "set" => MysqlType::Set(table::members(declared)),
        "binary" => MysqlType::Bytes { fixed: length },
        "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => MysqlType::Bytes { fixed: None },
        "date" => MysqlType::Date,
        "time" => MysqlType::Time(fraction),
        "datetime" => MysqlType::DateTime(fraction),
        "timestamp" => MysqlType::Timestamp(fraction),
        "json" => MysqlType::Json,
        "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon"
        | "geometrycollection" | "geomcollection" => MysqlType::Unwritable,
        _ => MysqlType::Other,
    }
}

/// The type its values must have. `tinyint(1)` takes both true and 7.
fn model_type(kind: &MysqlType, declared: &str, unsigned: bool) -> Option<Type> {
    Some(match kind {
        MysqlType::Whole if declared.to_lowercase().starts_with("tinyint(1)") => return None,
        MysqlType::Whole if unsigned && declared.to_lowercase().starts_with("bigint") => Type::Decimal,
        MysqlType::Whole | MysqlType::Year => Type::Int,
        MysqlType::Decimal => Type::Decimal,
        MysqlType::Float { .. } => Type::Float,
        MysqlType::Bytes { fixed: Some(16) } | MysqlType::Bits => return None,
        MysqlType::Bytes { .. } => Type::Bytes,
        MysqlType::Date => Type::Date,
        MysqlType::Time(_) => Type::Time,
        MysqlType::DateTime(_) => Type::DateTime,
        MysqlType::Timestamp(_) => Type::Timestamp,
        MysqlType::Json => Type::Json,
        MysqlType::Other if declared.eq_ignore_ascii_case("uuid") => Type::Uuid,
        MysqlType::Text | MysqlType::Enum(_) | MysqlType::Set(_) | MysqlType::Other | MysqlType::Unwritable => {
            Type::Text
        }
    })
}

fn range(data_type: &str, unsigned: bool) -> Option<(i64, i64)> {
    let bits = match data_type {
        "tinyint" => 8,
        "smallint" => 16,
        "mediumint" => 24,
        "int" => 32,
        _ => return None,
    };
    Some(if unsigned { (0, (1 << bits) - 1) } else { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) })
}

/// Unique indexes over whole values: one over the beginning of a text, or over an expression, says nothing of the value.
async fn uniques(conn: &mut Conn, schema: &str, table: &str) -> Result<Vec<Vec<String>>, Error> {
    let sql = format!(
        "select index_name, column_name, sub_part is not null from information_schema.statistics \
         where table_schema = {} and table_name = {} and non_unique = 0 order by index_name, seq_in_index",
        quoted(schema),
        quoted(table)
    );
    let rows: Vec<(String, Option<String>, bool)> = conn.query(sql).await?;
    let mut uniques: Vec<(String, Option<Vec<String>>)> = Vec::new();
    for (index, column, is_part) in rows {
        if uniques.last().is_none_or(|(last, _)| *last != index) {
            uniques.push((index, Some(Vec::new())));
        }
        let Some((_, columns)) = uniques.last_mut() else { continue };
        *columns = columns.take().zip(column.filter(|_| !is_part)).map(|(mut columns, column)| {
            columns.push(column);
            columns
        });
    }
    Ok(uniques.into_iter().filter_map(|(_, columns)| columns).collect())
}

/// A finding for privileges the user lacks. To explain a statement takes the privileges to run it.
pub(super) async fn missing_privileges(
    conn: &mut Conn,
    table: &MysqlTable,
    need: PreflightRequest<'_>,
) -> Result<Option<Finding>, Error> {
    let sql = table.sql();
    let mapped = |wanted: fn(bool) -> bool| -> Vec<String> {
        let fields = need.fields.iter().filter(|(field, identifier)| {
            wanted(*identifier) && table.column(field).is_some_and(|column| !column.field.read_only)
        });
        fields.map(|(field, _)| name(field)).collect()
    };
    let (all, others) = (mapped(|_| true), mapped(|identifier| !identifier));
    let nulls = vec!["null"; all.len()].join(", ");
    let set: Vec<String> = others.iter().map(|column| format!("{column} = null")).collect();
    let (inserts, updates) = match need.mode {
        Mode::Upsert | Mode::Mirror => (true, true),
        Mode::Update => (false, true),
        Mode::Append => (true, false),
    };
    let statements = [
        ("select", updates && !all.is_empty(), format!("explain select {} from {sql}", all.join(", "))),
        (
            "insert",
            inserts && !all.is_empty(),
            format!("explain insert into {sql} ({}) values ({nulls})", all.join(", ")),
        ),
        ("update", updates && !set.is_empty(), format!("explain update {sql} set {}", set.join(", "))),
        ("delete", need.mode == Mode::Mirror, format!("explain delete from {sql}")),
    ];
    let mut missing = Vec::new();
    for (privilege, _, statement) in statements.iter().filter(|(_, needed, _)| *needed) {
        match conn.query_drop(statement).await {
            // Anything else that the server has against it is found when it is run.
            Ok(()) => {}
            Err(Error::Server(error)) if !matches!(error.code, 1142 | 1143) => {}
            Err(Error::Server(_)) => missing.push(*privilege),
            Err(error) => return Err(error),
        }
    }
    if missing.is_empty() {
        return Ok(None);
    }
    let user: Option<String> = conn.query_first("select current_user()").await?;
    let user = user.unwrap_or_default();
    let (who, host) = user.rsplit_once('@').unwrap_or((&user, "%"));
    let list = missing.join(", ");
    Ok(Some(Finding::error(
        format!("object {}", table.name),
        format!("the user {user} lacks the privilege to {list}"),
        format!("grant {list} on {sql} to {}@{};", quoted(who), quoted(host)),
    )))
}
