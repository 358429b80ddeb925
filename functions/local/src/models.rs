//! Models of their own: `models/NAME.yaml` or `models/NAME.sql`, which syncs use by name (`model: NAME`).
//!
//! A sync's text is read with the model written out in its place, on the same line, so that a mistake elsewhere in it is told
//! where it stands.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use domain::fault::{Code, Fault};
use domain::finding::nearest;
use domain::sync::{Cursor, Model};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::yaml::{parse, unreadable};

/// `models/NAME.yaml`, or the comment that `models/NAME.sql` begins with.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    /// A connection to a warehouse.
    pub warehouse: String,
    /// One SELECT statement; without it, it stands in `models/NAME.sql`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
    /// The columns that identify a row: never null, never twice.
    pub key: Vec<String>,
    /// A column that grows whenever a row changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
    /// Ask the warehouse first whether the table has changed, and read nothing when it has not. Default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<bool>,
    /// What the model is, for those who read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What its columns are, for those who read it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, String>,
}

/// Only what says which model a sync has.
#[derive(Deserialize)]
struct SyncHead {
    model: Option<serde_json::Value>,
}

/// The text of a sync's file with its model written out, where it names one. Mistakes of other kinds are left to whoever
/// reads the text.
pub fn expand<'t>(file: &Path, text: &'t str, project: &Path) -> Result<Cow<'t, str>, Fault> {
    let Ok(SyncHead { model: Some(serde_json::Value::String(name)) }) = serde_saphyr::from_str(text) else {
        return Ok(Cow::Borrowed(text));
    };
    let model = serde_json::to_string(&read(&project.join("models"), &name, file)?)
        .map_err(|e| Fault::new(Code::Internal, format!("The model `{name}` cannot be written: {e}.")))?;
    let Some(out) = with_model(text, &model) else {
        let what = format!("{}: `model` names `{name}`, and not on a line of its own.", file.display());
        return Err(
            Fault::new(Code::SyncInvalid, what).with_next(format!("write `model: {name}` as a line of its own"))
        );
    };
    Ok(Cow::Owned(out))
}

/// The text with another model, in JSON, in place of its own, every other line where it was; `None` where `model` is no line
/// of its own.
pub fn with_model(text: &str, model: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let (mut found, mut within) = (false, false);
    for line in text.split_inclusive('\n') {
        within &= line.starts_with([' ', '\t', '\n', '\r', '#']);
        match line.strip_prefix("model:") {
            Some(_) if !found => {
                (found, within) = (true, true);
                out.push_str(&format!("model: {model}\n"));
            }
            _ if within => out.push('\n'),
            _ => out.push_str(line),
        }
    }
    found.then_some(out)
}

/// Reads a model; `of` is the file that names it.
fn read(folder: &Path, name: &str, of: &Path) -> Result<Model, Fault> {
    let fits = !name.is_empty()
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && !name.starts_with('.');
    if !fits {
        let what = format!("{}: `model: {name}` is no name of a model.", of.display());
        return Err(Fault::new(Code::SyncInvalid, what).with_next("use letters, digits, `-`, `_` and `.`"));
    }
    let path = |ending: &str| folder.join(format!("{name}.{ending}"));
    let yaml = ["yaml", "yml"].into_iter().map(path).find(|path| path.is_file());
    let sql = Some(path("sql")).filter(|path| path.is_file());
    let (described, sql) = match (yaml, sql) {
        (Some(yaml), sql) => of_yaml(&yaml, sql.as_deref())?,
        (None, Some(sql)) => of_sql(&sql)?,
        (None, None) => return Err(missing(folder, name, of)),
    };
    Ok(Model {
        warehouse: described.warehouse,
        sql,
        key: described.key,
        cursor: described.cursor,
        probe: described.probe,
    })
}

fn of_yaml(yaml: &Path, sql: Option<&Path>) -> Result<(ModelFile, String), Fault> {
    let text = std::fs::read_to_string(yaml).map_err(|e| unreadable(yaml, &e))?;
    let described: ModelFile = parse(Code::SyncInvalid, yaml, &text)?;
    match (&described.sql, sql) {
        (Some(_), Some(sql)) => {
            let what = format!("{} has `sql`, and {} is there as well.", yaml.display(), sql.display());
            Err(Fault::new(Code::SyncInvalid, what).with_next("keep one of them"))
        }
        (Some(own), None) => Ok((described.clone(), own.clone())),
        (None, Some(sql)) => {
            let text = std::fs::read_to_string(sql).map_err(|e| unreadable(sql, &e))?;
            Ok((described, text))
        }
        (None, None) => {
            let what =
                format!("{} has no `sql`, and there is no file of the same name that ends with .sql.", yaml.display());
            Err(Fault::new(Code::SyncInvalid, what).with_next("add `sql:`, or the file"))
        }
    }
}

/// A file of SQL whose first comment is what a YAML file would hold: `-- key: [id]`.
fn of_sql(path: &Path) -> Result<(ModelFile, String), Fault> {
    let text = std::fs::read_to_string(path).map_err(|e| unreadable(path, &e))?;
    let head: String = text
        .lines()
        .take_while(|line| line.starts_with("--"))
        .map(|line| {
            format!("{}\n", line.trim_start_matches("--").strip_prefix(' ').unwrap_or(line.trim_start_matches("--")))
        })
        .collect();
    if head.trim().is_empty() {
        let what = format!("{} does not say which warehouse and key its model has.", path.display());
        return Err(Fault::new(Code::SyncInvalid, what)
            .with_next("begin it with `-- warehouse: NAME` and `-- key: [COLUMN]`, or put these into a file of the same name that ends with .yaml"));
    }
    let described: ModelFile = parse(Code::SyncInvalid, path, &head)?;
    if described.sql.is_some() {
        let what = format!("{} names `sql` in its comment, and is the SQL itself.", path.display());
        return Err(Fault::new(Code::SyncInvalid, what).with_next("remove `sql` from the comment"));
    }
    Ok((described, text))
}

fn missing(folder: &Path, name: &str, of: &Path) -> Fault {
    let mut known: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path: PathBuf = entry.ok()?.path();
            let ending = path.extension()?.to_str()?;
            matches!(ending, "yaml" | "yml" | "sql").then(|| path.file_stem()?.to_str().map(str::to_owned))?
        })
        .collect();
    known.sort();
    known.dedup();
    let next = match nearest(name, known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => format!("write {}/{name}.yaml with `warehouse`, `key` and `sql`", folder.display()),
        None => format!("models/ has {}", known.join(", ")),
    };
    let what = format!("{} names the model `{name}`, which models/ does not have.", of.display());
    Fault::new(Code::SyncInvalid, what).with_next(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn models(files: &[(&str, &str)], text: &str) -> Result<String, Fault> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("models")).unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join("models").join(name), text).unwrap();
        }
        expand(Path::new("syncs/a.yaml"), text, folder.path()).map(Cow::into_owned)
    }

    #[test]
    fn a_named_model_is_written_out_on_its_line() {
        let yaml =
            "warehouse: w\nkey: [id]\ncursor: at\ncolumns: { id: the customer }\nsql: |\n  select 'a: \"b\"' as id\n";
        let text = "name: a # one\nmodel: customers   # of the shop\nmode: upsert\n";
        let expanded = models(&[("customers.yaml", yaml)], text).unwrap();
        let lines: Vec<&str> = expanded.lines().collect();
        assert_eq!((lines.len(), lines[0], lines[2]), (3, "name: a # one", "mode: upsert"));
        let read: serde_json::Value = serde_saphyr::from_str(&expanded).unwrap();
        assert_eq!(read["model"]["sql"], "select 'a: \"b\"' as id\n");
        assert_eq!((&read["model"]["cursor"], &read["model"]["key"][0]), (&"at".into(), &"id".into()));
        let sql = "-- warehouse: w\n-- key: [id]\n-- description: all of them\nselect id from t -- x\n";
        let expanded = models(&[("customers.sql", sql)], "model: customers\n").unwrap();
        let read: serde_json::Value = serde_saphyr::from_str(&expanded).unwrap();
        assert_eq!(read["model"]["sql"], sql);
        let both = [("customers.yml", "warehouse: w\nkey: [id]\n"), ("customers.sql", "select 7 as id")];
        assert!(models(&both, "model: customers\n").unwrap().contains("select 7 as id"));
        assert_eq!(
            models(&[], "model: { warehouse: w }\n").unwrap(),
            "model: { warehouse: w }\n",
            "the inline form stays"
        );
    }

    #[test]
    fn what_is_wrong_with_a_model_is_told() {
        for (files, text, part) in [
            (
                &[("customers.sql", "-- warehouse: w\n-- key: [id]\nselect 1")][..],
                "model: custmers\n",
                "did you mean `customers`?",
            ),
            (&[], "model: customers\n", "models/customers.yaml"),
            (&[], "model: ../secrets\n", "no name of a model"),
            (&[("customers.sql", "select 1 as id")], "model: customers\n", "-- key: [COLUMN]"),
            (&[("customers.yaml", "warehouse: w\nkey: [id]\n")], "model: customers\n", "has no `sql`"),
            (
                &[("customers.yaml", "warehouse: w\nkeys: [id]\nsql: select 1\n")],
                "model: customers\n",
                "did you mean `key`",
            ),
            (
                &[("customers.yaml", "warehouse: w\nkey: [id]\nsql: select 1\n"), ("customers.sql", "select 2")],
                "model: customers\n",
                "keep one of them",
            ),
            (
                &[("customers.yaml", "warehouse: w\nkey: [id]\nsql: select 1\n")],
                "{ model: customers }\n",
                "a line of its own",
            ),
        ] {
            let fault = models(files, text).unwrap_err();
            assert_eq!(fault.code, Code::SyncInvalid);
            assert!(fault.to_string().contains(part), "{part}: {fault}");
        }
    }
}
