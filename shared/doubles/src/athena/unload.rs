//! UNLOAD: what it takes, and the files that it writes.
//! <https://docs.aws.amazon.com/athena/latest/ug/unload.html>

use super::workgroup::AthenaWorkgroup;
use crate::parquet;
use crate::sql::{SqlKind, SqlResult, SqlValue};

/// An UNLOAD, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AthenaUnload<'s> {
    /// The query, and how much of the statement goes before it.
    pub(super) query: &'s str,
    pub(super) before: usize,
    pub(super) target: String,
}

/// The parts of `UNLOAD (query) TO 's3://…' WITH (format = 'PARQUET', …)`; `None` where it is another statement, an error
/// where it is an UNLOAD that is not understood.
pub(super) fn parse(sql: &str) -> Option<Result<AthenaUnload<'_>, String>> {
    let begin = sql.find(|c: char| !c.is_whitespace())?;
    let command = sql.get(begin..begin + 6).filter(|word| word.eq_ignore_ascii_case("unload"))?;
    let open = begin + command.len() + sql[begin + command.len()..].find('(')? + 1;
    Some(apart(sql, open).ok_or_else(|| "line 1:1: mismatched input 'UNLOAD'".to_owned()))
}

fn apart(sql: &str, open: usize) -> Option<AthenaUnload<'_>> {
    let lower = sql.to_lowercase();
    let close = lower.rfind(") to '")?;
    let rest = &sql[close + ") to '".len()..];
    let (target, options) = rest.split_once('\'')?;
    let options: String = options.to_lowercase().split_whitespace().collect();
    let options = options.strip_prefix("with(")?.strip_suffix(')')?;
    let mut parquet = false;
    for option in options.split(',') {
        match option.split_once('=')? {
            ("format", "'parquet'") => parquet = true,
            ("compression", "'snappy'") => {}
            _ => return None,
        }
    }
    let good = parquet && target.starts_with("s3://") && target.ends_with('/');
    good.then(|| AthenaUnload { query: &sql[open..close], before: open, target: target.to_owned() })
}

/// Why the rows of a result cannot be written into a table of Hive.
pub(super) fn refused(result: &SqlResult) -> Option<String> {
    let unnamed = |name: &str| name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if let Some(at) = result.columns.iter().position(|column| unnamed(&column.name)) {
        return Some(format!("MISSING_COLUMN_NAME: line 1:1: Column name not specified at position {}", at + 1));
    }
    let fine = |value: &SqlValue| matches!(value, SqlValue::DateTime(v) if v.subsec_nanosecond() % 1_000_000 != 0);
    result.columns.iter().enumerate().find_map(|(at, column)| {
        let kind = match column.kind.kind {
            SqlKind::Time => "time(3)",
            SqlKind::Timestamp | SqlKind::TimestampTz => "timestamp(3) with time zone",
            SqlKind::Json => "json",
            SqlKind::Uuid => "uuid",
            SqlKind::DateTime if result.rows.iter().any(|row| fine(&row[at])) => {
                return Some(format!(
                    "NOT_SUPPORTED: Incorrect timestamp precision for timestamp(6); the configured precision is MILLISECONDS; column name: {}",
                    column.name
                ));
            }
            _ => return None,
        };
        Some(format!("NOT_SUPPORTED: Unsupported Hive type: {kind}. You may need to manually clean the data."))
    })
}

impl AthenaWorkgroup {
    /// Writes the rows and the manifest; the manifest's address, or why they cannot be written.
    pub(super) fn write(
        &self,
        result: &SqlResult,
        target: &str,
        output: &str,
        id: &str,
    ) -> Result<Option<String>, String> {
        let files = parquet::files(result, self.shape).map_err(|e| format!("GENERIC_INTERNAL_ERROR: {e}"))?;
        let mut buckets = self.s3.lock();
        if !buckets.is_empty_below(target) {
            return Err(format!("HIVE_PATH_ALREADY_EXISTS: Target directory for table already exists: {target}"));
        }
        let mut listed = String::new();
        for (number, (bytes, _)) in files.into_iter().enumerate() {
            // The names are in no order.
            let address = format!("{target}20260101_000000_{:05}_a b+{:03}", number * 7919 % 100_003, number);
            if self.leaves_orphans && number == 0 {
                buckets.put(&format!("{target}20260101_000000_99999_orphan"), bytes.clone());
            }
            if !buckets.put(&address, bytes) {
                return Err(format!(
                    "Access denied when writing output to url: {address}. Please ensure you are allowed to access the S3 bucket."
                ));
            }
            listed.push_str(&address);
            listed.push('\n');
        }
        buckets.put(&format!("{output}{id}.metadata"), "binary");
        if listed.is_empty() && self.omits_empty_manifests {
            return Ok(None);
        }
        let manifest = format!("{output}{id}-manifest.csv");
        buckets.put(&manifest, listed);
        Ok(Some(manifest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_taken_apart() {
        let sql = "UNLOAD (select ') to ''x' as a) TO 's3://b/k/' WITH (format = 'PARQUET', compression = 'SNAPPY')";
        let unload = parse(sql).unwrap().unwrap();
        assert_eq!((unload.query, unload.target.as_str()), ("select ') to ''x' as a", "s3://b/k/"));
        assert!(parse("select 1").is_none());
        for sql in [
            "UNLOAD (select 1) TO 's3://b/k' WITH (format = 'PARQUET')",
            "UNLOAD (select 1)",
            "UNLOAD (select 1) TO 's3://b/k/'",
        ] {
            assert!(parse(sql).unwrap().is_err(), "{sql}");
        }
    }
}
