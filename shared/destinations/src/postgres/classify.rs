//! What an error of PostgreSQL is about: one record, or every record. Pure.
//!
//! Details name columns and constraints from the error's own fields. The server's message and its `DETAIL`
//! line quote values, so for a record neither is repeated.

use domain::outcome::{Outcome, WriteError};
use tokio_postgres::error::DbError;

/// Whom an error concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PostgresErrorScope {
    /// One of the records of the statement.
    Record,
    Passing,
    /// Every record: the credentials.
    Credentials,
    /// Every record: the table, the grants, the settings.
    Settings,
}

/// Whom the error of this SQLSTATE concerns. What is not known is taken to be about a record: triggers and
/// functions raise states of their own.
pub(super) fn about(state: &str, row_security: bool) -> PostgresErrorScope {
    match state {
        // With row-level security, the lack of a privilege may be this row's.
        "42501" if row_security => PostgresErrorScope::Record,
        // An object in use, no lock in time; the server is read-only for as long as it is being replaced.
        "55006" | "55P03" | "25006" => PostgresErrorScope::Passing,
        _ => match state.get(..2).unwrap_or_default() {
            "08" | "40" | "53" | "57" | "58" | "XX" => PostgresErrorScope::Passing,
            "28" => PostgresErrorScope::Credentials,
            "0A" | "0L" | "0P" | "25" | "26" | "3D" | "3F" | "42" | "55" | "HV" => PostgresErrorScope::Settings,
            _ => PostgresErrorScope::Record,
        },
    }
}

/// The condition's name, as PostgreSQL's manual lists it.
pub(super) fn code(state: &str) -> String {
    let name = match state {
        "22000" => "data_exception",
        "22001" => "string_data_right_truncation",
        "22003" => "numeric_value_out_of_range",
        "22007" => "invalid_datetime_format",
        "22008" => "datetime_field_overflow",
        "22009" => "invalid_time_zone_displacement_value",
        "22012" => "division_by_zero",
        "22021" => "character_not_in_repertoire",
        "22023" => "invalid_parameter_value",
        "22026" => "string_data_length_mismatch",
        "22030" => "duplicate_json_object_key_value",
        "22032" => "invalid_json_text",
        "2200N" => "invalid_xml_content",
        "22P02" => "invalid_text_representation",
        "22P03" => "invalid_binary_representation",
        "22P05" => "untranslatable_character",
        "23000" => "integrity_constraint_violation",
        "23001" => "restrict_violation",
        "23502" => "not_null_violation",
        "23503" => "foreign_key_violation",
        "23505" => "unique_violation",
        "23514" => "check_violation",
        "23P01" => "exclusion_violation",
        "42501" => "insufficient_privilege",
        "44000" => "with_check_option_violation",
        "54000" => "program_limit_exceeded",
        "P0001" => "raise_exception",
        _ => return format!("sqlstate_{state}"),
    };
    name.to_owned()
}

/// The outcome of the one record that a statement failed on. `column` is the column at fault, where it was
/// found in another way than from the error.
pub(super) fn rejected(error: &DbError, column: Option<&str>, left_out: bool) -> Outcome {
    let state = error.code().code();
    let column = error.column().or(column).map(|c| format!("column `{c}`"));
    let constraint = error.constraint().map(|c| format!("constraint `{c}`"));
    let value = column.clone().unwrap_or_else(|| "a value".to_owned());
    let rule = constraint.clone().or_else(|| column.clone()).unwrap_or_else(|| "a rule of the table".to_owned());
    let detail = match state {
        "22001" | "22026" => format!("{value}: the text is longer than the column takes"),
        "22003" => format!("{value}: the number is out of the column's range"),
        "22007" | "22008" | "22009" => format!("{value}: not a date or time that the column takes"),
        "22021" | "22P05" => format!("{value}: the text holds a character that the database cannot store (NUL)"),
        "22P02" | "22P03" | "22023" | "22032" | "2200N" => format!("{value}: not a value of the column's type"),
        "23502" if left_out => format!(
            "{value} must not be null and the record leaves it out; map it, an upsert needs it also for rows that exist"
        ),
        "23502" => format!("{value} must not be null"),
        "23503" | "23001" => {
            format!("{rule}: a row that this one refers to is missing, or another row refers to this one")
        }
        "23505" => format!("{rule}: another row has the same value"),
        "23514" | "44000" | "23P01" => format!("{rule} does not hold"),
        "42501" => "a row-level security policy of the table refuses the row".to_owned(),
        "54000" => format!("{rule}: the value is too large for an index"),
        "P0001" => "a trigger or function of the table refused the row".to_owned(),
        _ => format!("{rule}: refused with SQLSTATE {state}"),
    };
    Outcome::rejected(code(state), detail)
}

/// The error of a whole batch. `what` says what happened, to a person.
pub(super) fn batch_error(about: PostgresErrorScope, state: &str, what: String) -> WriteError {
    match about {
        PostgresErrorScope::Passing => WriteError::Unavailable { after: None, detail: what },
        PostgresErrorScope::Credentials => WriteError::Unauthorized { detail: what },
        PostgresErrorScope::Settings => WriteError::Misconfigured { detail: what },
        PostgresErrorScope::Record => {
            WriteError::Refused { code: code(state), detail: format!("refused on commit with SQLSTATE {state}") }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_concerns_someone() {
        for (states, expected) in [
            (
                &[
                    "22001", "22003", "22P02", "22007", "22008", "22021", "22P05", "23502", "23503", "23505", "23514",
                    "P0001", "ABC01",
                ][..],
                PostgresErrorScope::Record,
            ),
            (
                &[
                    "40001", "40P01", "08006", "08P01", "57P01", "57P02", "57P03", "57014", "53300", "55P03", "25006",
                    "XX000",
                ],
                PostgresErrorScope::Passing,
            ),
            (&["28000", "28P01"], PostgresErrorScope::Credentials),
            (&["42703", "42P01", "42804", "42501", "3D000", "3F000", "0A000", "55000"], PostgresErrorScope::Settings),
        ] {
            for state in states {
                assert_eq!(about(state, false), expected, "{state}");
            }
        }
        assert_eq!(about("42501", true), PostgresErrorScope::Record);
    }

    #[test]
    fn codes_are_words_where_there_are_words() {
        assert_eq!(code("23505"), "unique_violation");
        assert_eq!(code("ABC01"), "sqlstate_ABC01");
    }
}
