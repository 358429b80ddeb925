//! What is read of `run_results.json`. <https://schemas.getdbt.com/dbt/run-results/v6.json>

use std::path::Path;

use domain::clock::Millis;
use domain::fault::Fault;
use serde::Deserialize;

use super::manifest::read_json;

/// What the newest command of dbt came to.
#[derive(Debug, Deserialize)]
pub(super) struct RunResults {
    metadata: ResultsMetadata,
    results: Vec<NodeResult>,
}

#[derive(Debug, Deserialize)]
struct ResultsMetadata {
    generated_at: String,
}

/// What became of one node.
#[derive(Debug, Deserialize)]
pub(super) struct NodeResult {
    unique_id: String,
    /// `success`, `pass`, `warn`, `fail`, `error`, `skipped` …
    pub(super) status: String,
    /// Rows that failed a test.
    #[serde(default)]
    pub(super) failures: Option<u64>,
}

impl RunResults {
    /// Reads the file.
    pub(super) fn read(file: &Path) -> Result<Self, Fault> {
        read_json(file, "`dbt build` writes it; `dbt: { run_results: … }` of connections.yaml says where")
    }

    /// The result of a node, where the command had to do with it.
    pub(super) fn of(&self, unique_id: &str) -> Option<&NodeResult> {
        self.results.iter().find(|result| result.unique_id == unique_id)
    }

    /// When the command ended.
    pub(super) fn at(&self) -> Option<Millis> {
        self.metadata.generated_at.parse::<jiff::Timestamp>().ok().map(|at| Millis(at.as_millisecond()))
    }
}
