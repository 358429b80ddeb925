//! What an error of SQLite is about: one record, or every record. Pure.

use domain::outcome::Outcome;
use rusqlite::Error;
use rusqlite::ffi::{self, ErrorCode};

/// Whom the error of a statement that ran concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SqliteErrorScope {
    /// The record it wrote.
    Record,
    /// Every record: the database is locked, full, damaged, read-only.
    Everyone,
}

/// Whom an error concerns. The statement was understood before, so what is not known is about its values:
/// a function in a check or in a trigger.
pub(super) fn about(error: &Error) -> SqliteErrorScope {
    match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig | ErrorCode::Unknown) => {
            SqliteErrorScope::Record
        }
        _ => SqliteErrorScope::Everyone,
    }
}

/// The outcome of the record that a statement failed on. SQLite's sentences about constraints name columns
/// and constraints and hold no values; those of triggers may.
pub(super) fn rejected(error: &Error) -> Outcome {
    let (extended, message) = match error {
        Error::SqliteFailure(e, message) => (e.extended_code, message.as_deref()),
        _ => (0, None),
    };
    let said = || message.unwrap_or("a constraint failed").to_owned();
    let (code, detail) = match extended {
        ffi::SQLITE_CONSTRAINT_NOTNULL => ("not_null_violation", said()),
        ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_ROWID => {
            ("unique_violation", said())
        }
        ffi::SQLITE_CONSTRAINT_CHECK => ("check_violation", said()),
        ffi::SQLITE_CONSTRAINT_FOREIGNKEY => (
            "foreign_key_violation",
            "a row that this one refers to is missing, or another row refers to this one".to_owned(),
        ),
        ffi::SQLITE_CONSTRAINT_DATATYPE => ("datatype_mismatch", said()),
        ffi::SQLITE_MISMATCH => {
            ("datatype_mismatch", "the value of the integer primary key is not a whole number".to_owned())
        }
        ffi::SQLITE_CONSTRAINT_TRIGGER => ("raise_exception", "a trigger of the table refused the row".to_owned()),
        ffi::SQLITE_TOOBIG => ("too_big", "the row is larger than the database takes".to_owned()),
        other => ("refused", format!("refused by a rule of the table (SQLite code {other})")),
    };
    Outcome::rejected(code, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: i32, message: &str) -> Error {
        Error::SqliteFailure(ffi::Error::new(code), Some(message.to_owned()))
    }

    #[test]
    fn errors_are_told_apart() {
        for (code, expected) in [
            (ffi::SQLITE_CONSTRAINT_NOTNULL, "not_null_violation"),
            (ffi::SQLITE_CONSTRAINT_UNIQUE, "unique_violation"),
            (ffi::SQLITE_CONSTRAINT_PRIMARYKEY, "unique_violation"),
            (ffi::SQLITE_CONSTRAINT_CHECK, "check_violation"),
            (ffi::SQLITE_CONSTRAINT_FOREIGNKEY, "foreign_key_violation"),
            (ffi::SQLITE_CONSTRAINT_DATATYPE, "datatype_mismatch"),
            (ffi::SQLITE_MISMATCH, "datatype_mismatch"),
            (ffi::SQLITE_CONSTRAINT_TRIGGER, "raise_exception"),
            (ffi::SQLITE_ERROR, "refused"),
        ] {
            let error = error(code, "UNIQUE constraint failed: t.a");
            assert_eq!(about(&error), SqliteErrorScope::Record, "{code}");
            assert!(matches!(rejected(&error), Outcome::Rejected { code, .. } if code == expected), "{code}");
        }
        for code in [ffi::SQLITE_BUSY, ffi::SQLITE_FULL, ffi::SQLITE_IOERR, ffi::SQLITE_READONLY, ffi::SQLITE_CORRUPT] {
            assert_eq!(about(&error(code, "")), SqliteErrorScope::Everyone, "{code}");
        }
    }

    #[test]
    fn a_triggers_sentence_is_not_repeated() {
        let rejected = rejected(&error(ffi::SQLITE_CONSTRAINT_TRIGGER, "no such customer: Ada"));
        assert!(matches!(rejected, Outcome::Rejected { detail, .. } if !detail.contains("Ada")));
    }
}
