//! Preflight: everything that can be known to be wrong before a row is read.

use domain::destination_schema::DestinationSchema;
use domain::fault::{Code, Fault};
use domain::finding::{Finding, nearest};
use domain::mapping::{self, Mapper};
use domain::ports::{PreflightRequest, Query};
use domain::row::Column;
use domain::sync::Sync;

use crate::Engine;

/// A sync that passed preflight.
pub struct Prepared {
    /// The compiled mapping.
    pub mapper: Mapper,
    /// The model's columns.
    pub columns: Vec<Column>,
    /// Positions of the key columns.
    pub key: Vec<usize>,
    /// Position of the cursor column.
    pub cursor: Option<usize>,
    /// What the destination said of itself.
    pub schema: DestinationSchema,
    /// Warnings.
    pub findings: Vec<Finding>,
}

/// What preflight came to.
pub enum Preflight {
    /// Good to go.
    Ready(Box<Prepared>),
    /// These findings, at least one of them an error.
    Refused(Vec<Finding>),
}

/// Checks the sync file, describes the model, asks the destination, compiles the mapping. Writes nothing.
pub async fn preflight(engine: &Engine) -> Result<Preflight, Fault> {
    let sync = &engine.sync;
    let mut findings = sync.findings();
    let described = engine.warehouse.describe(&Query { sql: sync.model.sql.clone(), only: None }).await?;
    findings.extend(described.findings);
    findings
        .extend(described.unreadable.into_iter().filter(|(column, _)| uses(sync, column)).map(|(_, finding)| finding));
    let columns = described.columns;
    let key = positions(sync, &columns, &mut findings);
    let cursor = cursor_position(sync, &columns, &mut findings);
    let fields: Vec<(String, bool)> = sync.mapping.iter().map(|m| (m.to.clone(), m.identifier)).collect();
    let schema = engine.destination.preflight(PreflightRequest { mode: sync.mode, fields: &fields }).await?;
    let line = |field: &str| sync.mapping.iter().find(|m| m.to == field).map(mapping::line);
    findings.extend(schema.findings.iter().map(|finding| finding.clone().on_line(line)));
    let (mapper, mapped) = Mapper::compile(sync, &columns, &schema);
    findings.extend(mapped);
    findings.dedup();
    match (mapper, key) {
        (Some(mapper), Some(key)) if !findings.iter().any(Finding::is_error) => {
            Ok(Preflight::Ready(Box::new(Prepared { mapper, columns, key, cursor, schema, findings })))
        }
        _ => {
            findings.sort_by_key(|f| f.severity);
            Ok(Preflight::Refused(findings))
        }
    }
}

/// [`preflight`] for a run: findings that refuse it become one fault that lists them.
pub async fn prepare(engine: &Engine) -> Result<Prepared, Fault> {
    match preflight(engine).await? {
        Preflight::Ready(prepared) => Ok(*prepared),
        Preflight::Refused(findings) => {
            let errors: Vec<_> = findings.iter().filter(|f| f.is_error()).map(|f| format!("\n  - {f}")).collect();
            let what = format!("Sync `{}` did not pass preflight:{}", engine.sync.name, errors.concat());
            Err(Fault::new(Code::PreflightFailed, what))
        }
    }
}

/// True when the sync needs the values of a column.
fn uses(sync: &Sync, column: &str) -> bool {
    let cursor = sync.model.cursor.as_ref().map(|cursor| cursor.settings().column);
    sync.model.key.iter().any(|key| key == column)
        || cursor.is_some_and(|cursor| cursor == column)
        || sync.mapping.iter().any(|line| line.from.as_deref() == Some(column))
}

fn positions(sync: &Sync, columns: &[Column], findings: &mut Vec<Finding>) -> Option<Vec<usize>> {
    let mut found = Vec::new();
    for name in &sync.model.key {
        match columns.iter().position(|c| c.name == *name) {
            Some(position) => found.push(position),
            None => findings.push(missing("model.key", name, columns)),
        }
    }
    (found.len() == sync.model.key.len()).then_some(found)
}

fn cursor_position(sync: &Sync, columns: &[Column], findings: &mut Vec<Finding>) -> Option<usize> {
    let name = sync.model.cursor.as_ref()?.settings().column;
    let position = columns.iter().position(|c| c.name == name);
    if position.is_none() {
        findings.push(missing("model.cursor", &name, columns));
    }
    position
}

fn missing(about: &str, name: &str, columns: &[Column]) -> Finding {
    let fix = match nearest(name, columns.iter().map(|c| c.name.as_str())) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the model has {}", columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", ")),
    };
    Finding::error(about, format!("the model has no column `{name}`"), fix)
}
