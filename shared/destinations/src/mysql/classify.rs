//! What an error of a statement is about: one record, or every record. Pure.
//!
//! The server's messages quote values, so for a record only the column's or the constraint's name is taken from them.
//! <https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html>, <https://mariadb.com/kb/en/mariadb-error-codes/>

use domain::outcome::{Outcome, WriteError};
use mysql_async::ServerError;

use super::table::MysqlTable;

/// Whom an error concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MysqlErrorScope {
    /// The record the statement wrote.
    Record,
    /// Every record, for now.
    Passing,
    /// Every record: the credentials.
    Credentials,
    /// Every record: the table, the grants.
    Settings,
}

/// Whom an error concerns. What is not known is taken to be about a record: triggers raise codes of their own.
pub(super) fn about(error: &ServerError) -> MysqlErrorScope {
    match error.code {
        1044 | 1045 | 1130 | 1251 | 1698 | 1820 | 3118 => MysqlErrorScope::Credentials,
        // No lock in time, a deadlock, a full disk, too many connections, going down, killed, read-only while it is being
        // replaced, another definition of the table since.
        1020 | 1021 | 1030 | 1037 | 1038 | 1040 | 1041 | 1053 | 1077 | 1079 | 1114 | 1152 | 1180 | 1194 | 1195
        | 1203 | 1205 | 1206 | 1213 | 1290 | 1317 | 1412 | 1615 | 1637 | 1792 | 1836 | 1927 | 1969 | 2006 | 2013
        | 3024 | 3100 | 3572 => MysqlErrorScope::Passing,
        // A trigger without its definer or that reaches for its own table, a log of statements instead of rows, a table that
        // replicas cannot follow.
        1356 | 1442 | 1449 | 1598 | 1665 | 3098 => MysqlErrorScope::Settings,
        // A statement of one record that is larger than a row or than the server takes.
        1118 | 1153 => MysqlErrorScope::Record,
        // A connection that broke, a transaction that was rolled back.
        _ if ["08", "40"].iter().any(|class| error.state.starts_with(class)) => MysqlErrorScope::Passing,
        _ if error.state.starts_with("42") => MysqlErrorScope::Settings,
        _ => MysqlErrorScope::Record,
    }
}

/// The outcome of the record that a statement failed on.
pub(super) fn rejected(error: &ServerError, table: &MysqlTable) -> Outcome {
    let column = after(&error.message, "column ").or_else(|| after(&error.message, "field "));
    let column = column.filter(|column| table.column(column).is_some()).map(|column| format!("column `{column}`"));
    let key = after(&error.message, "for key ").map(|key| format!("unique key `{key}`"));
    // Other messages may quote a value.
    let names_constraint = matches!(error.code, 1216 | 1217 | 1451 | 1452 | 3819 | 4025);
    let constraint = after(&error.message, "constraint ").filter(|_| names_constraint);
    let constraint = constraint.map(|name| format!("constraint `{name}`"));
    let value = column.clone().unwrap_or_else(|| "a value".to_owned());
    let rule = constraint.or(column).unwrap_or_else(|| "a rule of the table".to_owned());
    let (code, detail) = match error.code {
        1048 => ("not_null_violation", format!("{value} must not be null")),
        1364 => (
            "not_null_violation",
            format!("{value} must not be null and the record leaves it out, so the row cannot be created; map it"),
        ),
        1062 | 1586 => (
            "unique_violation",
            format!("{}: another row has the same value", key.unwrap_or_else(|| "a unique key".to_owned())),
        ),
        1216 | 1217 | 1451 | 1452 => (
            "foreign_key_violation",
            format!("{rule}: a row that this one refers to is missing, or another row refers to this one"),
        ),
        3819 | 4025 => ("check_violation", format!("{rule} does not hold")),
        1406 => ("string_data_right_truncation", format!("{value}: the text is longer than the column takes")),
        1264 | 1690 => ("numeric_value_out_of_range", format!("{value}: the number is out of the column's range")),
        1292 | 1411 => ("invalid_datetime_format", format!("{value}: not a value that the column takes")),
        1366 | 1265 | 1267 | 1300 => (
            "invalid_text_representation",
            format!("{value}: not a value of the column's type, or with a character that its character set lacks"),
        ),
        3140 | 3141 | 3143 => ("invalid_json_text", format!("{value}: the text is no JSON")),
        1118 | 1153 => ("too_big", "the row is larger than the database takes".to_owned()),
        1526 => ("no_partition", "no partition of the table takes the row".to_owned()),
        1644 => ("raise_exception", "a trigger of the table refused the row".to_owned()),
        code => ("refused", format!("{rule}: refused with error {code}")),
    };
    Outcome::rejected(code, detail)
}

/// The error of a whole batch.
pub(super) fn batch_error(about: MysqlErrorScope, error: &ServerError, what: String) -> WriteError {
    match about {
        MysqlErrorScope::Passing => WriteError::Unavailable { after: None, detail: what },
        MysqlErrorScope::Credentials => WriteError::Unauthorized { detail: what },
        MysqlErrorScope::Settings => WriteError::Misconfigured { detail: what },
        MysqlErrorScope::Record => WriteError::Refused {
            code: format!("mysql_{}", error.code),
            detail: format!("refused on commit with error {}", error.code),
        },
    }
}

/// The name after the last `word`, out of its quotes and without the table before it: `for key 'customers.email'`,
/// ``for column `shop`.`customers`.`email` at row 1``. A value stands before it, never behind.
fn after(message: &str, word: &str) -> Option<String> {
    let at = message.to_ascii_lowercase().rfind(word)? + word.len();
    let rest = message.get(at..)?;
    let end = rest.find([' ', ',', ')']).unwrap_or(rest.len());
    let name = rest.get(..end)?.trim_end_matches('.').rsplit('.').next()?;
    let name = name.trim_matches(['\'', '`', '"']);
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: u16, state: &str) -> ServerError {
        ServerError { code, state: state.into(), message: String::new() }
    }

    #[test]
    fn every_error_concerns_someone() {
        for (code, state, expected) in [
            (1062, "23000", MysqlErrorScope::Record),
            (1406, "22001", MysqlErrorScope::Record),
            (1644, "45000", MysqlErrorScope::Record),
            (3819, "HY000", MysqlErrorScope::Record),
            (1118, "42000", MysqlErrorScope::Record),
            (1213, "40001", MysqlErrorScope::Passing),
            (1205, "HY000", MysqlErrorScope::Passing),
            (1206, "HY000", MysqlErrorScope::Passing),
            (3101, "40000", MysqlErrorScope::Passing),
            (1290, "HY000", MysqlErrorScope::Passing),
            (1045, "28000", MysqlErrorScope::Credentials),
            (1142, "42000", MysqlErrorScope::Settings),
            (1146, "42S02", MysqlErrorScope::Settings),
            (1054, "42S22", MysqlErrorScope::Settings),
            (1665, "HY000", MysqlErrorScope::Settings),
        ] {
            assert_eq!(about(&error(code, state)), expected, "{code}");
        }
    }

    #[test]
    fn names_are_taken_from_messages_and_values_are_not() {
        for (message, word, expected) in [
            ("Duplicate entry 'for key 'x' for key 'customers.email'", "for key ", Some("email")),
            ("Incorrect integer value: 'secret' for column `shop`.`t`.`i` at row 1", "column ", Some("i")),
            ("Check constraint 'positive' is violated.", "constraint ", Some("positive")),
            (
                "a foreign key constraint fails (`d`.`t`, CONSTRAINT `t_p` FOREIGN KEY (`p`) REFERENCES `parent` (`id`))",
                "constraint ",
                Some("t_p"),
            ),
            ("Column 'nn' cannot be null", "column ", Some("nn")),
            ("Invalid JSON text: \"Missing a name.\" at position 1 in value for column 't.j'.", "column ", Some("j")),
            ("nothing of it", "column ", None),
        ] {
            assert_eq!(after(message, word).as_deref(), expected, "{message}");
        }
    }
}
