//! UNLOAD: what it takes, and the files that it writes.
//! <https://docs.aws.amazon.com/redshift/latest/dg/r_UNLOAD.html>

use serde_json::json;

use super::workgroup::RedshiftWorkgroup;
use crate::parquet;
use crate::sql::{SqlKind, SqlResult};

/// An UNLOAD, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RedshiftUnload {
    pub(super) query: String,
    pub(super) target: String,
    pub(super) role: String,
}

/// The parts of `UNLOAD ('query') TO 's3://…' IAM_ROLE … FORMAT AS PARQUET MANIFEST VERBOSE MAXFILESIZE n MB`; `None` where it
/// is another statement, an error where it is an UNLOAD that is not understood.
pub(super) fn parse(sql: &str) -> Option<Result<RedshiftUnload, String>> {
    let rest = sql.trim_start();
    let after = rest.get(..6).filter(|word| word.eq_ignore_ascii_case("unload")).map(|_| rest[6..].trim_start())?;
    Some(apart(after).ok_or_else(|| "ERROR: syntax error at or near \"UNLOAD\"".to_owned()))
}

fn apart(rest: &str) -> Option<RedshiftUnload> {
    let (query, rest) = text(rest.strip_prefix('(')?.trim_start())?;
    let rest = word(rest.trim_start().strip_prefix(')')?, "to")?;
    let (target, rest) = text(rest.trim_start())?;
    let rest = word(rest, "iam_role")?;
    let (role, rest) = match word(rest, "default") {
        Some(rest) => ("default".to_owned(), rest),
        None => text(rest.trim_start())?,
    };
    let rest = word(rest, "format")?;
    let rest = word(rest, "as").unwrap_or(rest);
    let rest = word(word(word(rest, "parquet")?, "manifest")?, "verbose")?;
    let rest = match word(rest, "maxfilesize") {
        Some(rest) => rest.trim().strip_suffix("MB")?.trim(),
        None => "0",
    };
    rest.parse::<u32>().ok()?;
    target.starts_with("s3://").then_some(RedshiftUnload { query, target, role })
}

/// What follows a word.
fn word<'s>(rest: &'s str, word: &str) -> Option<&'s str> {
    let rest = rest.trim_start();
    rest.get(..word.len()).filter(|found| found.eq_ignore_ascii_case(word)).map(|_| &rest[word.len()..])
}

/// A quoted text, in which a quote is doubled or escaped and a backslash escapes, and what follows it.
fn text(rest: &str) -> Option<(String, &str)> {
    let mut chars = rest.char_indices().peekable();
    chars.next().filter(|(_, c)| *c == '\'')?;
    let mut out = String::new();
    while let Some((at, c)) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some((_, next))) => {
                out.push(*next);
                chars.next();
            }
            ('\'', Some((_, '\''))) => {
                out.push('\'');
                chars.next();
            }
            ('\'', _) => return Some((out, &rest[at + 1..])),
            (c, _) => out.push(c),
        }
    }
    None
}

/// Why the rows of a result cannot be written as Parquet.
fn refused(result: &SqlResult) -> Option<String> {
    result.columns.iter().find_map(|column| {
        let kind = match column.kind.kind {
            SqlKind::Time => "time",
            SqlKind::Timestamp | SqlKind::TimestampTz => "timestamptz",
            _ => return None,
        };
        Some(format!("ERROR: UNLOAD to Parquet does not support the type {kind} of the column \"{}\"", column.name))
    })
}

/// True where a query's outermost clause is a LIMIT.
fn is_limited(query: &str) -> bool {
    let outermost = query.rsplit(')').next().unwrap_or_default().to_lowercase();
    outermost.split_whitespace().any(|word| word == "limit")
}

impl RedshiftWorkgroup {
    pub(super) fn unload(&self, unload: &RedshiftUnload) -> Result<SqlResult, String> {
        let RedshiftUnload { query, target, role } = unload;
        if is_limited(query) {
            return Err("ERROR: LIMIT clause is not supported in UNLOAD".into());
        }
        if !self.roles.contains(role) {
            return Err(format!(
                "ERROR: User arn:aws:redshift:eu-west-1:000000000000:dbuser:c/u is not authorized to assume IAM Role {role}"
            ));
        }
        let result = self.select(query)?;
        if let Some(why) = refused(&result) {
            return Err(why);
        }
        let denied =
            "ERROR: S3ServiceException:Access Denied,Status 403,Error AccessDenied,Rid 4442587FB7D0A2F9,CanRetry 1";
        let Some(s3) = &self.s3 else { return Err(denied.into()) };
        let mut buckets = s3.lock();
        if !buckets.is_empty_below(target) {
            return Err(format!("ERROR: Specified unload destination on S3 is not empty: {target}"));
        }
        let files = parquet::files(&result, self.shape).map_err(|e| format!("ERROR: {e}"))?;
        let mut entries = Vec::new();
        for (number, (bytes, rows)) in files.into_iter().enumerate() {
            let url = format!("{target}{number:04}_part_00.parquet");
            entries.push(json!({ "url": url, "meta": { "content_length": bytes.len(), "record_count": rows } }));
            if !buckets.put(&url, bytes) {
                return Err(denied.into());
            }
        }
        let manifest = json!({
            "entries": entries,
            "meta": { "content_length": 0, "record_count": result.rows.len() },
            "author": { "name": "Amazon Redshift", "version": "1.0.0" },
        });
        buckets.put(&format!("{target}manifest"), manifest.to_string());
        Ok(SqlResult::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_taken_apart() {
        let sql = "UNLOAD ('select ''it''''s \\\\n'' as a') TO 's3://b/k/' IAM_ROLE default FORMAT AS PARQUET MANIFEST VERBOSE MAXFILESIZE 256 MB";
        let unload = parse(sql).unwrap().unwrap();
        assert_eq!((unload.query.as_str(), unload.target.as_str()), ("select 'it''s \\n' as a", "s3://b/k/"));
        assert!(parse("select 1").is_none());
        assert!(parse("UNLOAD ('select 1') TO 's3://b/k/' FORMAT PARQUET").unwrap().is_err());
        assert!(is_limited("select a from t limit 5") && !is_limited("select a from (select 1 limit 5) as t"));
    }
}
