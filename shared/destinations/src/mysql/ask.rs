//! Asks the table about rows: which identifiers are one, what it holds, whether it holds what was sent.

use std::collections::HashMap;

use clients::mysql::MysqlConnected;
use clients::mysql_literal::name;
use domain::cells::Cells;
use domain::equality::Equality;
use domain::fault::Fault;
use domain::layout::Layout;
use domain::value::Value;
use mysql_async::Row;

use super::encode;
use super::script::{self, RanStatement};
use super::table::{MysqlColumn, MysqlTable};

/// Which identifiers (cells in the layout's order) are one to the database: equal numbers mean one. It is asked only about
/// those whose plain forms are the same.
pub(super) async fn same_identity(
    connection: &mut MysqlConnected,
    table: &MysqlTable,
    layout: &Layout,
    identifiers: &[Vec<u8>],
) -> Result<Vec<u32>, Fault> {
    let each: Vec<u32> = (0..).take(identifiers.len()).collect();
    let keys: Option<Vec<&MysqlColumn>> = layout.identifiers().map(|(_, field)| table.column(&field.name)).collect();
    let Some(keys) = keys else { return Ok(each) };
    let mut alike: HashMap<Vec<String>, Vec<usize>> = HashMap::new();
    for (at, identifier) in identifiers.iter().enumerate() {
        let folded =
            Cells(identifier).values().zip(&keys).map(|(value, key)| key.field.equality.fold(&value.to_text()));
        alike.entry(folded.collect()).or_default().push(at);
    }
    let mut same = each;
    let mut asked: Vec<usize> = Vec::new();
    for group in alike.into_values().filter(|group| group.len() > 1) {
        if keys.iter().any(|key| key.field.equality == Equality::Destination) {
            asked.extend(group);
        } else if let Some(first) = group.first().and_then(|&first| u32::try_from(first).ok()) {
            for at in group {
                if let Some(slot) = same.get_mut(at) {
                    *slot = first;
                }
            }
        }
    }
    asked.sort_unstable();
    let statements: Vec<String> = asked.iter().filter_map(|&at| Some(weights(&keys, identifiers.get(at)?))).collect();
    let answers = ask(connection, &statements, table.request_bytes()).await?;
    let mut first: HashMap<Vec<Option<Vec<u8>>>, usize> = HashMap::new();
    for (&at, answer) in asked.iter().zip(&answers) {
        let Some(row) = answer.rows.first() else { continue };
        let weights = (0..keys.len()).map(|column| bytes_of(row, column).map(<[u8]>::to_vec)).collect();
        let of = *first.entry(weights).or_insert(at);
        if let (Some(slot), Ok(of)) = (same.get_mut(at), u32::try_from(of)) {
            *slot = of;
        }
    }
    Ok(same)
}

/// Selects what the database compares of an identifier: the weights of its texts.
fn weights(keys: &[&MysqlColumn], identifier: &[u8]) -> String {
    let of = |(value, key): (Value<'_>, &&MysqlColumn)| match &key.collation {
        Some(collation) => {
            let text = clients::mysql_literal::quoted(&value.to_text());
            let text = format!("convert({text} using {})", collation.character_set);
            // Collations that fill up with spaces take those at the end for nothing.
            let pads = !collation.name.contains("_0900_") && !collation.name.contains("_nopad_");
            let text = if pads { format!("trim(trailing ' ' from {text})") } else { text };
            format!("weight_string({text} collate {})", collation.name)
        }
        None => clients::mysql_literal::quoted(&key.field.equality.fold(&value.to_text())),
    };
    let columns: Vec<String> = Cells(identifier).values().zip(keys).map(of).collect();
    format!("select {}", columns.join(", "))
}

/// The rows of these identifiers, as cells in the layout's order.
pub(super) async fn read(
    connection: &mut MysqlConnected,
    table: &MysqlTable,
    layout: &Layout,
    identifiers: &[Vec<u8>],
) -> Result<Vec<Option<Vec<u8>>>, Fault> {
    let fields = table.columns_of(layout).map_err(|what| connection.connector().place().failed(what))?;
    let keys: Vec<&MysqlColumn> =
        fields.iter().copied().zip(layout.fields()).filter(|(_, field)| field.identifier).map(|(c, _)| c).collect();
    let select: Vec<String> = fields.iter().map(|column| encode::readable(column)).collect();
    let statement = |identifier: &Vec<u8>| {
        let same: Vec<String> = Cells(identifier).values().zip(&keys).map(|(value, key)| is(key, value)).collect();
        format!("select {} from {} where {}", select.join(", "), table.sql(), same.join(" and "))
    };
    let statements: Vec<String> = identifiers.iter().map(statement).collect();
    let answers = ask(connection, &statements, table.request_bytes()).await?;
    let cells = |row: &Row| {
        let mut cells = Vec::new();
        for ((at, column), field) in fields.iter().enumerate().zip(layout.fields()) {
            encode::push(&mut cells, bytes_of(row, at), column, field.kind);
        }
        cells
    };
    Ok(answers.iter().map(|answer| answer.rows.first().map(cells)).collect())
}

/// For each record and each of its fields whether its row has the value, as the columns compare them.
pub(super) async fn agrees(
    connection: &mut MysqlConnected,
    table: &MysqlTable,
    layout: &Layout,
    records: &[Vec<u8>],
) -> Result<Vec<Vec<bool>>, Fault> {
    let fields = table.columns_of(layout).map_err(|what| connection.connector().place().failed(what))?;
    let statement = |record: &Vec<u8>| {
        let values = || Cells(record).values().zip(layout.fields()).zip(&fields);
        let same: Vec<String> =
            values().filter(|((_, field), _)| field.identifier).map(|((value, _), column)| is(column, value)).collect();
        let select: Vec<String> = values()
            .map(|((value, field), column)| match encode::literal(value, column) {
                // The row is found by it, and its own spelling of it stays.
                _ if field.identifier || matches!(value, Value::Missing) => "1".to_owned(),
                Ok(literal) => encode::has(column, &literal),
                Err(_) => "0".to_owned(),
            })
            .collect();
        format!("select {} from {} where {}", select.join(", "), table.sql(), same.join(" and "))
    };
    let statements: Vec<String> = records.iter().map(statement).collect();
    let answers = ask(connection, &statements, table.request_bytes()).await?;
    let of = |answer: &RanStatement| {
        let held = |at: usize| answer.rows.first().is_some_and(|row| bytes_of(row, at) == Some(b"1"));
        (0..fields.len()).map(held).collect()
    };
    Ok(answers.iter().map(of).collect())
}

/// A condition: the row is that of this identifier. What is no value of the column is nowhere.
fn is(key: &MysqlColumn, value: Value<'_>) -> String {
    let literal = encode::identifier(value, key).unwrap_or_else(|_| "null".to_owned());
    format!("{} = {literal}", name(&key.field.name))
}

async fn ask(
    connection: &mut MysqlConnected,
    statements: &[String],
    max_bytes: usize,
) -> Result<Vec<RanStatement>, Fault> {
    let (answers, failed) = script::run(connection, statements, max_bytes).await?;
    match failed {
        Some(error) => Err(connection.connector().fault(&mysql_async::Error::Server(error), None)),
        None => Ok(answers),
    }
}

/// A column of a row as the server wrote it; `None` for null.
fn bytes_of(row: &Row, column: usize) -> Option<&[u8]> {
    match row.as_ref(column) {
        Some(mysql_async::Value::Bytes(bytes)) => Some(bytes),
        _ => None,
    }
}
