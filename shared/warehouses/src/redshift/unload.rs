//! Results by UNLOAD: files of Parquet in S3 in place of pages of the Data API.
//! <https://docs.aws.amazon.com/redshift/latest/dg/r_UNLOAD.html>

use std::sync::Arc;

use clients::DatabasePlace;
use domain::fault::Fault;
use domain::ports::QueryLabel;
use serde::Deserialize;

use super::cells::ColumnMetadata;
use super::literal;
use crate::lake::{ResultFile, ResultFolder, S3Client, S3Location};
use crate::sql::{self, Statement};

/// Where the files of a result lie in its folder. The manifest lies there, too, and is called so.
const ROWS: &str = "rows/";
const MANIFEST: &str = "rows/manifest";
/// A file is as large as this at most, so that several can be read at once.
const FILE_SIZE: &str = "256 MB";

/// Where and as whom results are unloaded.
pub(super) struct UnloadTarget {
    pub(super) s3: Arc<S3Client>,
    pub(super) to: S3Location,
    /// The role's ARN, or `default`.
    pub(super) role: String,
}

/// The list that UNLOAD writes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct UnloadManifest {
    entries: Vec<ManifestEntry>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ManifestEntry {
    url: String,
    meta: ManifestMeta,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ManifestMeta {
    record_count: Option<u64>,
}

impl UnloadTarget {
    /// The folder of one result.
    pub(super) fn folder(&self, label: &QueryLabel) -> ResultFolder {
        ResultFolder::new(&self.s3, &self.to, label)
    }

    /// The statement that writes the rows of a model into a folder. The model stands in a text, in which its quotes and
    /// backslashes are doubled, and within a query of its own, because a LIMIT may not be the outermost.
    pub(super) fn statement(
        &self,
        model: &str,
        condition: &str,
        columns: &[ColumnMetadata],
        folder: &ResultFolder,
    ) -> Statement {
        let selected: Vec<_> =
            columns.iter().enumerate().map(|(at, column)| format!("{} as c{at}", selected(column))).collect();
        let query = literal::quoted(&sql::choosing(&selected.join(", "), model, condition).text);
        let to = literal::quoted(&folder.location().join(ROWS).to_string());
        let role = if self.role == "default" { self.role.clone() } else { literal::quoted(&self.role) };
        let text = format!(
            "UNLOAD ({query}) TO {to} IAM_ROLE {role} FORMAT AS PARQUET MANIFEST VERBOSE MAXFILESIZE {FILE_SIZE}"
        );
        // No position in it is one of the person's own text.
        Statement { before: text.len(), text }
    }

    /// The files of a result: those of the manifest, and where there is none, those that lie there. A result without rows may
    /// have neither.
    pub(super) async fn files(&self, place: &DatabasePlace, folder: &ResultFolder) -> Result<Vec<ResultFile>, Fault> {
        let Some(text) = self.s3.text(&folder.location().join(MANIFEST)).await? else {
            let found = self.s3.list(&folder.location().join(ROWS)).await?;
            return Ok(found.into_iter().map(|location| ResultFile { location, rows: None }).collect());
        };
        let manifest: UnloadManifest = serde_json::from_str(&text).map_err(|e| {
            place.unreachable(format!("the manifest of an UNLOAD is in another form than is documented: {e}."))
        })?;
        let read = |entry: ManifestEntry| {
            let location = S3Location::parse(&entry.url).ok_or_else(|| {
                place.unreachable(format!("the manifest of an UNLOAD has an entry that is no address: {}.", entry.url))
            })?;
            Ok(ResultFile { location, rows: entry.meta.record_count })
        };
        manifest.entries.into_iter().map(read).collect()
    }
}

/// What is selected of a model for this column: Parquet by UNLOAD has no times of day and no zones, and text keeps every
/// digit of a time.
fn selected(column: &ColumnMetadata) -> String {
    let name = sql::identifier(&column.name);
    if column.unreadable().is_some() {
        return "cast(null as varchar)".into();
    }
    match column.type_name.as_str() {
        "bool" | "boolean" | "int2" | "int4" | "int8" | "float4" | "float8" | "numeric" | "varbyte" | "date"
        | "super" | "varchar" | "bpchar" | "text" => name,
        "oid" => format!("cast({name} as bigint)"),
        _ => format!("cast({name} as varchar)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_written_so_that_nothing_is_lost() {
        for (kind, expected) in [
            ("int8", "\"c\""),
            ("numeric", "\"c\""),
            ("super", "\"c\""),
            ("varchar", "\"c\""),
            ("timestamp", "cast(\"c\" as varchar)"),
            ("timestamptz", "cast(\"c\" as varchar)"),
            ("time", "cast(\"c\" as varchar)"),
            ("intervald2s", "cast(\"c\" as varchar)"),
            ("oid", "cast(\"c\" as bigint)"),
            ("geometry", "cast(null as varchar)"),
        ] {
            let column = ColumnMetadata { name: "c".into(), type_name: kind.into() };
            assert_eq!(selected(&column), expected, "{kind}");
        }
    }
}
