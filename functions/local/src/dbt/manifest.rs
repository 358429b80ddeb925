//! What is read of `manifest.json`. Manifests reach 100 MB, nearly all of it macros and SQL: they are passed over as they stream
//! by. <https://schemas.getdbt.com/dbt/manifest/v12.json>

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use domain::fault::{Code, Fault};
use domain::finding::nearest;
use serde::Deserialize;
use serde_json::Value;

/// The formats that are read: dbt 1.8 and newer, and what an older page calls the format of dbt 2.
const FORMATS: [&str; 2] = ["v12", "v20"];

/// A manifest, as far as it concerns syncs.
#[derive(Debug, Deserialize)]
pub(super) struct DbtManifest {
    pub(super) metadata: DbtMetadata,
    pub(super) nodes: BTreeMap<String, DbtNode>,
}

/// `metadata`.
#[derive(Debug, Deserialize)]
pub(super) struct DbtMetadata {
    dbt_schema_version: String,
    /// The warehouse that dbt builds in: `snowflake`, `postgres` …
    #[serde(default)]
    pub(super) adapter_type: Option<String>,
}

/// A node: something that dbt builds or tests.
#[derive(Debug, Deserialize)]
pub(super) struct DbtNode {
    #[serde(default)]
    pub(super) unique_id: String,
    pub(super) name: String,
    pub(super) resource_type: String,
    #[serde(default)]
    pub(super) package_name: String,
    #[serde(default)]
    version: Option<Value>,
    #[serde(default)]
    latest_version: Option<Value>,
    #[serde(default)]
    pub(super) database: Option<String>,
    /// Quoted for its adapter; none where the model is written into those that use it.
    #[serde(default)]
    pub(super) relation_name: Option<String>,
    #[serde(default)]
    pub(super) compiled_code: Option<String>,
    #[serde(default)]
    config: NodeConfig,
    #[serde(default)]
    meta: Value,
    /// What dbt takes for it: of constraints and tests, no proof.
    #[serde(default)]
    pub(super) primary_key: Vec<String>,
    /// Of a test: what it tests.
    #[serde(default)]
    pub(super) attached_node: Option<String>,
    #[serde(default)]
    pub(super) column_name: Option<String>,
    #[serde(default)]
    pub(super) test_metadata: Option<TestMetadata>,
}

#[derive(Debug, Default, Deserialize)]
struct NodeConfig {
    #[serde(default)]
    meta: Value,
}

/// How a generic test was called.
#[derive(Debug, Deserialize)]
pub(super) struct TestMetadata {
    #[serde(default)]
    pub(super) kwargs: Value,
}

impl DbtManifest {
    /// Reads the file.
    pub(super) fn read(file: &Path) -> Result<Self, Fault> {
        let manifest: DbtManifest =
            read_json(file, "`dbt compile` writes it; `dbt: { manifest: … }` of connections.yaml says where")?;
        let format = &manifest.metadata.dbt_schema_version;
        if !FORMATS.iter().any(|known| format.contains(&format!("/{known}."))) {
            let what = format!("{} has the format {format}, which is not known here.", file.display());
            return Err(Fault::new(Code::ProjectUnreadable, what).with_next("use dbt 1.8 or newer"));
        }
        Ok(manifest)
    }

    /// The node that a sync names: `name`, `package.name`, `name.v2`. The error is a sentence.
    pub(super) fn find(&self, wanted: &str) -> Result<&DbtNode, String> {
        let relations = || self.nodes.values().filter(|node| node.is_relation());
        let found: Vec<&DbtNode> = relations().filter(|node| node.is_called(wanted)).collect();
        match found.as_slice() {
            [one] => Ok(one),
            [] => {
                let names: Vec<&str> = relations().map(|node| node.name.as_str()).collect();
                let near = nearest(wanted, names.iter().copied());
                let hint = near.map_or_else(String::new, |near| format!(" Did you mean `{near}`?"));
                Err(format!("dbt has no model, seed or snapshot `{wanted}`.{hint}"))
            }
            several => {
                let names: Vec<String> = several.iter().map(|node| format!("`{}`", node.whole_name())).collect();
                Err(format!("`{wanted}` may be each of {}; write the whole name.", names.join(", ")))
            }
        }
    }
}

impl DbtNode {
    fn is_relation(&self) -> bool {
        matches!(self.resource_type.as_str(), "model" | "seed" | "snapshot")
    }

    fn version(&self) -> Option<String> {
        self.version.as_ref().and_then(text)
    }

    /// `package.name`, with `.v2` where there are versions.
    pub(super) fn whole_name(&self) -> String {
        let version = self.version().map_or_else(String::new, |version| format!(".v{version}"));
        format!("{}.{}{version}", self.package_name, self.name)
    }

    /// As another model refers to it: `ref('shop', 'orders', v=2)`.
    pub(super) fn reference(&self) -> String {
        let version = match &self.version {
            Some(Value::Number(number)) => format!(", v={number}"),
            Some(Value::String(text)) => format!(", v='{text}'"),
            _ => String::new(),
        };
        format!("ref('{}', '{}'{version})", self.package_name, self.name)
    }

    fn is_called(&self, wanted: &str) -> bool {
        let rest = wanted.strip_prefix(&self.package_name).and_then(|rest| rest.strip_prefix('.')).unwrap_or(wanted);
        let Some(rest) = rest.strip_prefix(&self.name) else { return false };
        match (rest, self.version()) {
            ("", None) => true,
            // Without a version it is the latest.
            ("", Some(version)) => self.latest_version.as_ref().and_then(text).is_none_or(|latest| latest == version),
            (rest, Some(version)) => rest.strip_prefix(".v").is_some_and(|named| named == version),
            _ => false,
        }
    }

    /// `meta.sluicegate.key`.
    pub(super) fn own_key(&self) -> Option<Vec<String>> {
        let of = |meta: &Value| meta.pointer("/sluicegate/key").cloned();
        match of(&self.config.meta).or_else(|| of(&self.meta))? {
            Value::String(column) => Some(vec![column]),
            Value::Array(columns) => columns.iter().map(|column| column.as_str().map(str::to_owned)).collect(),
            _ => None,
        }
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Reads a file of dbt's; `next` is what to do when it is not there.
pub(super) fn read_json<T: serde::de::DeserializeOwned>(file: &Path, next: &str) -> Result<T, Fault> {
    let unreadable =
        |why: String| Fault::new(Code::ProjectUnreadable, format!("{} cannot be read: {why}.", file.display()));
    if file.to_str().is_some_and(|name| name.contains("s3:/")) {
        return Err(
            unreadable("files in buckets are not read".into()).with_next(format!("fetch it first: aws s3 cp; {next}"))
        );
    }
    let opened = File::open(file).map_err(|e| unreadable(e.to_string()).with_next(next))?;
    serde_json::from_reader(BufReader::with_capacity(256 * 1024, opened))
        .map_err(|e| unreadable(format!("it is no artifact of dbt: {e}")).with_next(next))
}
