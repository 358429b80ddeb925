//! Models that dbt builds: `model: { warehouse: analytics, dbt: customers }`. What dbt says of them is read from the files
//! that it leaves behind (`manifest.json`, `run_results.json`); dbt itself is never run.
//!
//! Not here: how a sync's text is changed (`models`), and how findings are shown.

mod exposures;
mod guard;
mod manifest;
mod relation;
mod results;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use domain::clock::Span;
use domain::connection::Connection;
use domain::fault::{Code, Fault};
use domain::finding::Finding;
use domain::ports::Clock;
use domain::sync::{Cursor, Model, Sync};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use exposures::exposures;
use manifest::{DbtManifest, DbtNode};
use results::RunResults;

/// `dbt` of connections.yaml: where dbt leaves what it knows. Paths are relative to the project's folder.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DbtSettings {
    /// `target/manifest.json` of the dbt project. Formats v12 (dbt 1.8 and newer) and v20.
    pub manifest: PathBuf,
    /// `run_results.json` of `dbt build` or `dbt test`. Default: beside the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_results: Option<PathBuf>,
    /// Results of tests that are older say nothing. Default 24 hours.
    #[serde(default = "max_age_default")]
    pub max_age: Span,
    /// What a failed test on a column that a sync uses does to its runs on this machine. Default: block.
    #[serde(default)]
    pub tests: DbtTests,
    /// Who answers for the exposures that `sluice dbt exposures` writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<DbtOwner>,
}

/// What a failed test of dbt does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DbtTests {
    /// No run begins.
    #[default]
    Block,
    /// `check` says it.
    Warn,
    /// Nobody looks at the results.
    Off,
}

/// The owner of an exposure.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DbtOwner {
    /// A team's or a person's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// An address.
    pub email: String,
}

fn max_age_default() -> Span {
    Span::seconds(86_400)
}

/// `model` of a sync that reads what dbt builds.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DbtModel {
    /// A connection to the warehouse that dbt builds in.
    pub warehouse: String,
    /// The model's name; `package.name` and `name.v2` where there are several.
    pub dbt: String,
    /// The columns that identify a row. Default: `meta.sluicegate.key` of the model, else the primary key as dbt takes it from
    /// constraints and tests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<String>,
    /// A column that grows whenever a row changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
    /// Ask the warehouse first whether the table has changed, and read nothing when it has not. Default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<bool>,
}

/// What dbt left behind, read once for a project.
#[derive(Debug)]
pub struct DbtProject {
    settings: DbtSettings,
    manifest_file: PathBuf,
    manifest: DbtManifest,
    results: Option<RunResults>,
}

/// What became of a model of dbt.
#[derive(Debug)]
pub struct ResolvedModel {
    pub model: Model,
    /// `ref(…)` of it.
    pub reference: String,
    /// What a person should know before they rely on it.
    pub findings: Vec<Finding>,
}

impl DbtProject {
    /// Reads the files of `settings`, relative to `folder`.
    pub fn read(settings: &DbtSettings, folder: &Path) -> Result<Self, Fault> {
        let manifest_file = folder.join(&settings.manifest);
        let results_file = match &settings.run_results {
            Some(file) => folder.join(file),
            None => manifest_file.with_file_name("run_results.json"),
        };
        // One that is named must be there; one that only may be need not.
        let wanted = settings.tests != DbtTests::Off && (settings.run_results.is_some() || results_file.is_file());
        let results = wanted.then(|| RunResults::read(&results_file)).transpose()?;
        let manifest = DbtManifest::read(&manifest_file)?;
        Ok(Self { settings: settings.clone(), manifest_file, manifest, results })
    }

    /// The model of a sync: what to select of which relation, by which key. `sync` is the sync as it is, with any SQL in the
    /// model's place. A fault is about the sync.
    pub fn resolve(
        &self,
        wanted: &DbtModel,
        sync: &Sync,
        connections: &BTreeMap<String, Connection>,
        clock: &dyn Clock,
    ) -> Result<ResolvedModel, Fault> {
        let node = self.manifest.find(&wanted.dbt).map_err(|why| self.fault(sync, why))?;
        let mut findings = Vec::new();
        let key = self.key(wanted, node, sync, &mut findings)?;
        let columns = columns(&key, wanted.cursor.as_ref(), sync);
        let connection = connections.get(&wanted.warehouse);
        let sql = relation::select(&self.manifest.metadata, node, &columns, connection, &mut findings)
            .map_err(|why| self.fault(sync, why))?;
        if self.settings.tests != DbtTests::Off {
            let sources: Vec<&str> = columns.iter().map(String::as_str).collect();
            findings.extend(guard::findings(
                &self.manifest,
                node,
                &sources,
                self.results.as_ref(),
                &self.settings,
                clock,
            ));
        }
        let (warehouse, cursor, probe) = (wanted.warehouse.clone(), wanted.cursor.clone(), wanted.probe);
        let model = Model { warehouse, sql, key, cursor, probe };
        Ok(ResolvedModel { model, reference: node.reference(), findings })
    }

    fn key(
        &self,
        wanted: &DbtModel,
        node: &DbtNode,
        sync: &Sync,
        findings: &mut Vec<Finding>,
    ) -> Result<Vec<String>, Fault> {
        if !wanted.key.is_empty() {
            return Ok(wanted.key.clone());
        }
        let (key, from) = match node.own_key() {
            Some(key) => (key, "meta.sluicegate.key of the dbt model"),
            None => (node.primary_key.clone(), "the primary key that dbt takes from constraints and tests"),
        };
        if key.is_empty() {
            return Err(self
                .fault(sync, format!("the dbt model `{}` has no primary key, and the sync names no key.", wanted.dbt))
                .with_next("add `key: [COLUMN]` to the model of the sync, or the tests unique and not_null to the column in dbt"));
        }
        findings.push(Finding::warning(
            "model.key",
            format!("[{}], from {from}", key.join(", ")),
            "write `key:` into the sync to hold on to it",
        ));
        Ok(key)
    }

    fn fault(&self, sync: &Sync, why: impl std::fmt::Display) -> Fault {
        Fault::new(Code::SyncInvalid, format!("Sync {}, {}: {why}", sync.name, self.manifest_file.display()))
    }
}

/// The columns that a sync uses, each once: its key, its cursor, what it maps.
fn columns(key: &[String], cursor: Option<&Cursor>, sync: &Sync) -> Vec<String> {
    let cursor = cursor.map(|cursor| match cursor {
        Cursor::Column(column) => column,
        Cursor::Detailed(settings) => &settings.column,
    });
    let mut columns: Vec<String> = Vec::new();
    let used = key.iter().chain(cursor).chain(sync.mapping.iter().filter_map(|field| field.from.as_ref()));
    for column in used {
        if !columns.iter().any(|known| known.eq_ignore_ascii_case(column)) {
            columns.push(column.clone());
        }
    }
    columns
}
