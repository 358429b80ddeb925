//! The SELECT for a node of dbt: the columns that are used, of its relation.

use domain::connection::Connection;
use domain::finding::Finding;
use serde_json::Value;

use super::manifest::{DbtMetadata, DbtNode};

/// The statement. The error is a sentence.
pub(super) fn select(
    metadata: &DbtMetadata,
    node: &DbtNode,
    columns: &[String],
    connection: Option<&Connection>,
    findings: &mut Vec<Finding>,
) -> Result<String, String> {
    let adapter = metadata.adapter_type.as_deref().unwrap_or("postgres");
    // A connection that is not there is told by whoever opens it.
    if let Some(connection) = connection {
        if !fits(adapter, &connection.kind) {
            return Err(format!(
                "the manifest is one of {adapter}, and the sync's warehouse is a connection of type {}; name the manifest of the project that builds there.",
                connection.kind
            ));
        }
        other_database(node, connection)?;
    }
    let columns: Vec<String> = columns.iter().map(|column| quoted(adapter, column)).collect();
    let columns = columns.join(", ");
    match (&node.relation_name, &node.compiled_code) {
        (Some(relation), _) => Ok(format!("select {columns} from {relation}")),
        (None, Some(code)) => {
            findings.push(Finding::warning(
                format!("dbt {}", node.name),
                "it is ephemeral, so its SQL is written into the sync's query as it was when dbt compiled it",
                "materialize it as a view or a table",
            ));
            Ok(format!("select {columns} from (\n{code}\n) as dbt_model"))
        }
        (None, None) => Err(format!(
            "the dbt model `{}` has no relation and no compiled SQL; run `dbt compile`, or materialize it as a view or a table.",
            node.name
        )),
    }
}

fn fits(adapter: &str, kind: &str) -> bool {
    match adapter {
        "redshift" => matches!(kind, "redshift" | "postgres"),
        "spark" => kind == "databricks",
        "mariadb" => kind == "mysql",
        same => same == kind,
    }
}

/// Where a statement can only read the database that it is connected to, the manifest must be one of that database.
fn other_database(node: &DbtNode, connection: &Connection) -> Result<(), String> {
    let configured = connection.config.get("database").and_then(Value::as_str).filter(|name| !name.starts_with("${"));
    match (configured, &node.database) {
        (Some(configured), Some(built)) if connection.kind == "postgres" && !configured.eq_ignore_ascii_case(built) => {
            Err(format!(
                "the manifest is of the database `{built}`, and the sync reads the database `{configured}`; name the manifest of the target that the sync reads."
            ))
        }
        _ => Ok(()),
    }
}

/// A column as the relation has it: the names of dbt are not quoted, so a database that folds them has them folded.
fn quoted(adapter: &str, column: &str) -> String {
    let plain = column.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !column.starts_with(|c: char| c.is_ascii_digit());
    let doubled = || format!("\"{}\"", column.replace('"', "\"\""));
    match adapter {
        "bigquery" | "databricks" | "spark" | "mysql" | "mariadb" => format!("`{}`", column.replace('`', "``")),
        // Quoted, it may be a word of SQL.
        "postgres" | "redshift" if plain && !column.bytes().any(|b| b.is_ascii_uppercase()) => doubled(),
        _ if plain => column.to_owned(),
        _ => doubled(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_quoted_as_their_database_has_them() {
        for (adapter, column, expected) in [
            ("postgres", "order", "\"order\""),
            ("postgres", "Email", "Email"),
            ("postgres", "two words", "\"two words\""),
            ("snowflake", "email", "email"),
            ("snowflake", "two words", "\"two words\""),
            ("bigquery", "order", "`order`"),
        ] {
            assert_eq!(quoted(adapter, column), expected, "{adapter} {column}");
        }
    }

    #[test]
    fn adapters_fit_their_warehouses() {
        for (adapter, kind, fit) in [
            ("postgres", "postgres", true),
            ("redshift", "postgres", true),
            ("postgres", "redshift", false),
            ("snowflake", "postgres", false),
        ] {
            assert_eq!(fits(adapter, kind), fit, "{adapter} {kind}");
        }
    }
}
