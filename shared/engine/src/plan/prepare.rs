//! Preflight: everything that can be known to be wrong before a row is read.

use std::collections::BTreeSet;

use domain::destination_schema::DestinationSchema;
use domain::fault::{Code, Fault};
use domain::finding::{Finding, nearest};
use domain::mapping::{self, Mapper};
use domain::ports::{PreflightRequest, Query, QueryLabel};
use domain::row::Column;
use domain::sync::Sync;
use domain::usage::UsageMeter;

use crate::Engine;

/// A sync that passed preflight.
pub struct Prepared {
    /// The compiled mapping.
    pub mapper: Mapper,
    /// The model's columns, those that the sync uses spelt as it spells them.
    pub columns: Vec<Column>,
    /// Columns that the warehouse spells in another case than the sync: the sync's spelling, and the warehouse's.
    pub spelt: Vec<(String, String)>,
    /// Positions of the key columns.
    pub key: Vec<usize>,
    /// Position of the cursor column.
    pub cursor: Option<usize>,
    /// What the destination said of itself.
    pub schema: DestinationSchema,
    /// Warnings.
    pub findings: Vec<Finding>,
    /// What a read of all of the model costs, where the warehouse says it.
    pub cost: Option<String>,
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
    let described = engine.warehouse.describe(&model_query(engine, "")).await?;
    findings.extend(described.findings);
    let unreadable = described.unreadable;
    let mut columns = described.columns;
    let spelt = spell(sync, &mut columns, &mut findings);
    let needed = used(sync);
    let needs = |column: &String| {
        needed.contains(column) || spelt.iter().any(|(name, own)| own == column && needed.contains(name))
    };
    findings.extend(unreadable.into_iter().filter(|(column, _)| needs(column)).map(|(_, finding)| finding));
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
            Ok(Preflight::Ready(Box::new(Prepared {
                mapper,
                columns,
                spelt,
                key,
                cursor,
                schema,
                findings,
                cost: described.cost,
            })))
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

/// All of a model's rows, asked for by `run` (empty: by none).
pub fn model_query(engine: &Engine, run: &str) -> Query {
    let label = QueryLabel { sync: engine.sync.name.clone(), run: run.to_owned() };
    Query { sql: engine.sync.model.sql.clone(), only: None, label, usage: UsageMeter::default() }
}

/// The names of columns that the sync uses.
fn used(sync: &Sync) -> BTreeSet<String> {
    let cursor = sync.model.cursor.as_ref().map(|cursor| cursor.settings().column);
    sync.model
        .key
        .iter()
        .cloned()
        .chain(cursor)
        .chain(sync.mapping.iter().filter_map(|line| line.from.clone()))
        .collect()
}

/// Gives columns the sync's spelling where only the case differs: many warehouses write in capitals what a model does
/// not quote. Returns both spellings of those.
fn spell(sync: &Sync, columns: &mut [Column], findings: &mut Vec<Finding>) -> Vec<(String, String)> {
    let mut spelt = Vec::new();
    for name in used(sync) {
        if columns.iter().any(|c| c.name == name) {
            continue;
        }
        let same = |c: &Column| c.name.to_lowercase() == name.to_lowercase();
        let found: Vec<usize> = (0..columns.len()).filter(|at| same(&columns[*at])).collect();
        match found[..] {
            [] => {}
            [at] => spelt.push((name.clone(), std::mem::replace(&mut columns[at].name, name))),
            [..] => {
                let names: Vec<_> = found.iter().map(|at| format!("`{}`", columns[*at].name)).collect();
                let what =
                    format!("`{name}` may be any of the columns {}, which differ in case only", names.join(", "));
                findings.push(Finding::error(
                    "model",
                    what,
                    "write the one that is meant exactly as the model spells it",
                ));
            }
        }
    }
    spelt
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
