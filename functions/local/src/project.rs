//! The project folder: `connections.yaml`, `syncs/*.yaml`, and `.sluice/` for state.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::alert_settings::Alerts;
use domain::connection::Connection;
use domain::fault::{Code, Fault};
use domain::finding::nearest;
use domain::ports::{Clock, SystemClock};
use domain::sync::Sync;

use crate::dbt::DbtSettings;
use crate::settings::LocalSecrets;
use crate::sync_file::{SyncFile, SyncReader};
use crate::yaml::{did_you_mean, unreadable, yaml_fault};

/// A project folder, read.
#[derive(Debug)]
pub struct Project {
    pub folder: PathBuf,
    /// Where references to secrets lead.
    pub secrets: LocalSecrets,
    /// What time it is, for runs of its syncs.
    pub clock: Arc<dyn Clock>,
    connections: BTreeMap<String, Connection>,
    alerts: Alerts,
    dbt: Option<DbtSettings>,
    syncs: Vec<SyncFile>,
}

impl Project {
    /// Reads the folder. A sync file that is not valid is a fault of that sync only.
    pub fn load(folder: &Path) -> Result<Project, Fault> {
        let folder = std::path::absolute(folder).map_err(|e| unreadable(folder, &e))?;
        let file = folder.join("connections.yaml");
        let text = std::fs::read_to_string(&file).map_err(|e| unreadable(&file, &e))?;
        let (connections, alerts, dbt) = connections(&file, &text)?;
        let clock = SystemClock::shared();
        let mut paths = Vec::new();
        let syncs = folder.join("syncs");
        for entry in std::fs::read_dir(&syncs).map_err(|e| unreadable(&syncs, &e))? {
            let path = entry.map_err(|e| unreadable(&syncs, &e))?.path();
            if path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
                paths.push(path);
            }
        }
        paths.sort();
        let reader = SyncReader::new(&folder, &connections, dbt.as_ref(), clock.as_ref());
        let mut files: Vec<SyncFile> = paths.into_iter().map(|path| reader.read(path)).collect();
        refuse_same_names(&mut files);
        files.iter_mut().for_each(refuse_no_name);
        Ok(Project { folder, secrets: LocalSecrets::default(), clock, connections, alerts, dbt, syncs: files })
    }

    /// All sync files, in the order of their paths.
    pub fn syncs(&self) -> &[SyncFile] {
        &self.syncs
    }

    /// A sync by name.
    pub fn sync(&self, name: &str) -> Result<&Sync, Fault> {
        match self.syncs.iter().find(|f| f.name() == name) {
            Some(SyncFile { sync: Ok(sync), .. }) => Ok(sync),
            Some(SyncFile { sync: Err(fault), .. }) => Err(fault.clone()),
            None => {
                let names: Vec<&str> = self.syncs.iter().map(SyncFile::name).collect();
                let next = match nearest(name, names.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None if names.is_empty() => "put a sync file into syncs/; `sluice init` shows one".into(),
                    None => format!("the project has {}", names.join(", ")),
                };
                Err(Fault::new(
                    Code::NotFound,
                    format!("There is no sync `{name}` in {}.", self.folder.join("syncs").display()),
                )
                .with_next(next))
            }
        }
    }

    /// A connection by name; `of` says whose connection it is.
    pub fn connection(&self, name: &str, of: &str) -> Result<&Connection, Fault> {
        self.connections.get(name).ok_or_else(|| {
            let next = match nearest(name, self.connections.keys().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => {
                    format!("connections.yaml has {}", self.connections.keys().cloned().collect::<Vec<_>>().join(", "))
                }
            };
            Fault::new(
                Code::ConnectionInvalid,
                format!("{of} names the connection `{name}`, which connections.yaml does not have."),
            )
            .with_next(next)
        })
    }

    /// Who is told of a sync's problems, and of which: its own settings over those of connections.yaml.
    pub fn alerts(&self, sync: &Sync) -> Alerts {
        sync.alerts.over(&self.alerts)
    }

    /// Where dbt keeps what it knows, where the project says it.
    pub fn dbt(&self) -> Option<&DbtSettings> {
        self.dbt.as_ref()
    }

    /// The file of a sync.
    pub fn file_of(&self, sync: &Sync) -> Option<&SyncFile> {
        self.syncs.iter().find(|file| file.name() == sync.name)
    }

    /// The folder for state.
    pub fn state_folder(&self) -> PathBuf {
        self.folder.join(".sluice")
    }
}

/// Not the name of a connection: who is told of problems of any sync.
const ALERTS: &str = "alerts";
/// Nor this: where dbt keeps what it knows.
const DBT: &str = "dbt";

/// What connections.yaml holds.
type Connections = (BTreeMap<String, Connection>, Alerts, Option<DbtSettings>);

fn connections(file: &Path, text: &str) -> Result<Connections, Fault> {
    // Without the lines around the mistake: they might hold a secret that should not have been there.
    let mut raw: BTreeMap<String, serde_json::Map<String, serde_json::Value>> =
        serde_saphyr::from_str(text).map_err(|e| yaml_fault(Code::ConnectionInvalid, file, e.without_snippet()))?;
    let alerts = alerts(file, raw.remove(ALERTS).unwrap_or_default())?;
    let about_dbt = "it says where dbt keeps its manifest";
    let dbt = raw.remove(DBT).map(|raw| section(file, DBT, about_dbt, raw)).transpose()?;
    let mut out = BTreeMap::new();
    for (name, mut config) in raw {
        let Some(serde_json::Value::String(kind)) = config.remove("type") else {
            let kinds: Vec<_> = warehouses::REGISTRY
                .iter()
                .map(|e| e.name)
                .chain(destinations::REGISTRY.iter().map(|e| e.name))
                .collect();
            return Err(Fault::new(
                Code::ConnectionInvalid,
                format!("{}: connection `{name}` has no `type`.", file.display()),
            )
            .with_next(format!("add `type:` with one of {}", unique(kinds).join(", "))));
        };
        out.insert(name, Connection { kind, config: serde_json::Value::Object(config) });
    }
    Ok((out, alerts, dbt))
}

fn alerts(file: &Path, raw: serde_json::Map<String, serde_json::Value>) -> Result<Alerts, Fault> {
    let alerts: Alerts = section(file, ALERTS, "it says who is told of problems", raw)?;
    match alerts.findings(ALERTS).into_iter().find(domain::finding::Finding::is_error) {
        Some(finding) => Err(Fault::new(Code::ConnectionInvalid, format!("{}: {finding}.", file.display()))),
        None => Ok(alerts),
    }
}

/// What stands under a name that is no connection's; `says` is what it is there for.
fn section<T: serde::de::DeserializeOwned>(
    file: &Path,
    name: &str,
    says: &str,
    raw: serde_json::Map<String, serde_json::Value>,
) -> Result<T, Fault> {
    let invalid = |what: String| Fault::new(Code::ConnectionInvalid, format!("{}: {what}.", file.display()));
    if raw.contains_key("type") {
        let fault = invalid(format!("`{name}` is not the name of a connection: {says}"));
        return Err(fault.with_next("give the connection another name"));
    }
    serde_json::from_value(serde_json::Value::Object(raw)).map_err(|e| {
        let text = e.to_string();
        let near = did_you_mean(&text)
            .map(|near| format!("did you mean `{near}`? `sluice schema --connections` prints what is allowed"));
        let fault = invalid(format!("{name}: {text}"));
        near.map_or(fault.clone(), |near| fault.with_next(near))
    })
}

/// Sorted and each once.
pub fn unique(mut names: Vec<&'static str>) -> Vec<&'static str> {
    names.sort_unstable();
    names.dedup();
    names
}

fn refuse_same_names(files: &mut [SyncFile]) {
    for i in 1..files.len() {
        let (before, rest) = files.split_at_mut(i);
        let this = &mut rest[0];
        if let Some(first) = before.iter().find(|f| this.sync.is_ok() && f.name() == this.name()) {
            let what =
                format!("{} has the same name `{}` as {}.", this.path.display(), this.name(), first.path.display());
            this.sync = Err(Fault::new(Code::SyncInvalid, what)
                .with_next("give every sync a name of its own: its state is kept under it"));
        }
    }
}

/// A name becomes the name of files and of places in the state: it is looked at before.
fn refuse_no_name(file: &mut SyncFile) {
    if let Ok(sync) = &file.sync
        && let Some(finding) = sync.name_finding()
    {
        file.misnamed = Some(sync.name.clone());
        file.sync = Err(Fault::new(
            Code::SyncInvalid,
            format!("{} is not valid: {}: {}.", file.path.display(), finding.about, finding.what),
        )
        .with_next(finding.fix));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(files: &[(&str, &str)]) -> (tempfile::TempDir, Result<Project, Fault>) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("syncs")).unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let loaded = Project::load(folder.path());
        (folder, loaded)
    }

    const GOOD: &str = "name: a\nmodel: { warehouse: w, sql: select 1, key: [id] }\ndestination: { connection: d }\nmode: upsert\nmapping: [{ from: id, to: id, identifier: true }]\n";

    #[test]
    fn a_bad_sync_file_harms_no_other() {
        let bad = GOOD.replace("mode: upsert", "mode: upsrt");
        let (_folder, loaded) = project(&[
            ("connections.yaml", "w: { type: sqlite, path: w.db }\n"),
            ("syncs/a.yaml", GOOD),
            ("syncs/b.yaml", &bad),
        ]);
        let project = loaded.unwrap();
        assert_eq!(project.sync("a").unwrap().name, "a");
        let fault = project.sync("b").unwrap_err();
        assert!(
            fault.what.contains("b.yaml") && fault.what.contains("line 4 column 7") && fault.what.contains("upsrt"),
            "{fault}"
        );
        assert!(fault.next_step().contains("did you mean `upsert`?"), "{fault}");
        assert!(project.sync("aa").unwrap_err().next_step().contains("the project has a, b"));
    }

    #[test]
    fn unknown_keys_are_refused_with_line_and_fix() {
        let bad = GOOD.replace("mapping:", "maping:");
        let (_folder, loaded) = project(&[("connections.yaml", "{}"), ("syncs/a.yaml", &bad)]);
        let fault = loaded.unwrap().sync("a").unwrap_err();
        assert!(
            fault.what.contains("line 5 column 1: unknown field `maping`") && fault.next_step().contains("`mapping`"),
            "{fault}"
        );
    }

    #[test]
    fn mistakes_in_connections_never_show_the_lines_around_them() {
        let (_folder, loaded) = project(&[("connections.yaml", "w:\n  password: planted-secret\n bad\n")]);
        let fault = loaded.unwrap_err();
        assert_eq!(fault.code, Code::ConnectionInvalid);
        assert!(fault.what.contains("line 3") && !fault.what.contains("planted"), "{fault}");
        let (_folder, loaded) = project(&[("connections.yaml", "w: { path: x }\n")]);
        assert!(loaded.unwrap_err().to_string().contains("sqlite"));
    }

    #[test]
    fn alerts_are_no_connection_and_a_default_for_every_sync() {
        let yaml = "alerts: { to: [{ webhook: { url: https://h.test/ } }], partial_percent: 5 }\n";
        let own = format!("{GOOD}alerts: {{ partial_percent: 0 }}\n");
        let (_folder, loaded) = project(&[("connections.yaml", yaml), ("syncs/a.yaml", &own)]);
        let project_read = loaded.unwrap();
        let alerts = project_read.alerts(project_read.sync("a").unwrap());
        assert_eq!((alerts.channels().len(), alerts.partial_above()), (1, 0.0));
        for (yaml, part) in [
            ("alerts: { tto: [] }\n", "did you mean `to`?"),
            ("alerts: { to: [{ slack: {} }] }\n", "alerts.to[0].slack"),
            ("alerts: { type: sqlite, path: x }\n", "give the connection another name"),
            ("alerts: { to: [{ slack: { webhook_url: planted-secret } }] }\n", "must be a reference"),
        ] {
            let (_folder, loaded) = project(&[("connections.yaml", yaml)]);
            let fault = loaded.unwrap_err();
            let text = format!("{fault}");
            assert!(text.contains(part) && !text.contains("planted"), "`{part}` is not in: {text}");
        }
    }

    #[test]
    fn two_syncs_of_one_name_are_refused() {
        let (_folder, loaded) = project(&[("connections.yaml", "{}"), ("syncs/a.yaml", GOOD), ("syncs/b.yaml", GOOD)]);
        assert!(loaded.unwrap().syncs()[1].sync.as_ref().unwrap_err().what.contains("same name `a`"));
    }
}
