//! Reading one file of `syncs/`: its text, with the model it names, or that dbt builds, in the model's place.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use domain::connection::Connection;
use domain::fault::{Code, Fault};
use domain::finding::Finding;
use domain::ports::Clock;
use domain::sync::Sync;
use serde::Deserialize;

use crate::dbt::{DbtModel, DbtProject, DbtSettings};
use crate::models;
use crate::yaml::{parse, unreadable};

/// One file of `syncs/`.
#[derive(Debug)]
pub struct SyncFile {
    pub path: PathBuf,
    /// What it holds, or why it cannot be read.
    pub sync: Result<Sync, Fault>,
    /// The model of dbt that it reads, as dbt refers to it: `ref('shop', 'customers')`.
    pub dbt: Option<String>,
    /// What dbt says of that model. An error stops its runs.
    pub findings: Vec<Finding>,
    /// The name that the file gives, where it gives one that is none.
    pub(crate) misnamed: Option<String>,
}

impl SyncFile {
    /// The name that the file gives, or the file's own when it cannot be read.
    pub fn name(&self) -> &str {
        match &self.sync {
            Ok(sync) => &sync.name,
            Err(_) => self.misnamed.as_deref().or_else(|| self.path.file_stem()?.to_str()).unwrap_or("?"),
        }
    }

    /// The fault of a run that dbt's tests do not let begin.
    pub fn blocked(&self) -> Result<(), Fault> {
        let errors: Vec<&Finding> = self.findings.iter().filter(|finding| finding.is_error()).collect();
        let Some(first) = errors.first() else { return Ok(()) };
        let all: Vec<String> = errors.iter().map(|finding| format!("{}: {}", finding.about, finding.what)).collect();
        let what = format!("Sync {} does not begin. {}. Nothing was read.", self.name(), all.join("; "));
        Err(Fault::new(Code::GuardTripped, what).with_next(first.fix.clone()))
    }
}

/// Reads the sync files of a project.
pub(crate) struct SyncReader<'p> {
    folder: &'p Path,
    connections: &'p BTreeMap<String, Connection>,
    settings: Option<&'p DbtSettings>,
    clock: &'p dyn Clock,
    /// Read when the first sync wants it.
    dbt: OnceCell<Result<DbtProject, Fault>>,
}

/// Only what says that a sync's model is dbt's.
#[derive(Deserialize)]
struct ModelHead {
    model: serde_json::Map<String, serde_json::Value>,
}

/// A sync whose model is dbt's.
#[derive(Deserialize)]
struct DbtHead {
    model: DbtModel,
}

/// What stands in the place of a model that is not known yet.
const UNKNOWN_MODEL: &str = r#"{"warehouse":"","sql":"","key":[]}"#;

impl<'p> SyncReader<'p> {
    /// For the project in `folder`.
    pub(crate) fn new(
        folder: &'p Path,
        connections: &'p BTreeMap<String, Connection>,
        settings: Option<&'p DbtSettings>,
        clock: &'p dyn Clock,
    ) -> Self {
        Self { folder, connections, settings, clock, dbt: OnceCell::new() }
    }

    /// Reads a file. What is wrong with it is a fault of that sync only.
    pub(crate) fn read(&self, path: PathBuf) -> SyncFile {
        let mut file = SyncFile {
            sync: Err(Fault::new(Code::Internal, "not read")),
            path,
            dbt: None,
            findings: Vec::new(),
            misnamed: None,
        };
        file.sync = self.sync(&mut file);
        file
    }

    fn sync(&self, file: &mut SyncFile) -> Result<Sync, Fault> {
        let text = std::fs::read_to_string(&file.path).map_err(|e| unreadable(&file.path, &e))?;
        let text = models::expand(&file.path, &text, self.folder)?;
        let is_dbt = serde_saphyr::from_str::<ModelHead>(&text).is_ok_and(|head| head.model.contains_key("dbt"));
        if !is_dbt {
            return parse(Code::SyncInvalid, &file.path, &text);
        }
        let DbtHead { model: wanted } = parse(Code::SyncInvalid, &file.path, &text)?;
        let Some(text) = models::with_model(&text, UNKNOWN_MODEL) else {
            let what = format!(
                "{}: `model` names the dbt model `{}`, and not on lines of its own.",
                file.path.display(),
                wanted.dbt
            );
            return Err(Fault::new(Code::SyncInvalid, what)
                .with_next("write `model: { warehouse: NAME, dbt: NAME }` as a line of its own"));
        };
        let mut sync: Sync = parse(Code::SyncInvalid, &file.path, &text)?;
        let resolved = self.dbt(&file.path)?.resolve(&wanted, &sync, self.connections, self.clock)?;
        file.dbt = Some(resolved.reference);
        sync.model = resolved.model;
        file.findings = resolved.findings;
        Ok(sync)
    }

    fn dbt(&self, of: &Path) -> Result<&DbtProject, Fault> {
        let Some(settings) = self.settings else {
            let what = format!(
                "{} names a model of dbt, and connections.yaml does not say where dbt keeps its manifest.",
                of.display()
            );
            return Err(Fault::new(Code::ConnectionInvalid, what)
                .with_next("add `dbt: { manifest: PATH/target/manifest.json }` to connections.yaml"));
        };
        self.dbt.get_or_init(|| DbtProject::read(settings, self.folder)).as_ref().map_err(Clone::clone)
    }
}
