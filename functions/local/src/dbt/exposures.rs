//! Exposures: what dbt's own documentation shows of the syncs that read its models.
//! <https://docs.getdbt.com/docs/build/exposures>

use std::collections::{BTreeMap, BTreeSet};

use domain::fault::{Code, Fault};
use domain::sync::Sync;
use serde_json::{Value, json};

use super::DbtSettings;

/// The text of a file of exposures, always the same for the same syncs. `syncs`: each with the `ref(…)` of its model.
pub fn exposures(settings: &DbtSettings, syncs: &[(&Sync, &str)]) -> Result<String, Fault> {
    let Some(owner) = &settings.owner else {
        let what = "connections.yaml: `dbt` names no owner, and dbt wants one for every exposure.";
        return Err(Fault::new(Code::ConnectionInvalid, what)
            .with_next("add `owner: { name: TEAM, email: ADDRESS }` under `dbt`"));
    };
    let mut sorted: Vec<&(&Sync, &str)> = syncs.iter().collect();
    sorted.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
    let mut names = BTreeSet::new();
    if let Some((twice, _)) = sorted.iter().find(|(sync, _)| !names.insert(name(&sync.name))) {
        let what = format!("Two syncs would be the exposure `{}`, one of them {}.", name(&twice.name), twice.name);
        return Err(
            Fault::new(Code::SyncInvalid, what).with_next("give one of them a name that differs in letters or digits")
        );
    }
    let all: Vec<Value> = sorted
        .into_iter()
        .map(|(sync, reference)| {
            let columns: BTreeMap<&str, &str> =
                sync.mapping.iter().filter_map(|field| Some((field.from.as_deref()?, field.to.as_str()))).collect();
            let meta = json!({
                "sync": sync.name,
                "destination": sync.destination.connection,
                "object": sync.destination.object,
                "mode": sync.mode.name(),
                "columns": columns,
            });
            json!({
                "name": name(&sync.name),
                "label": format!("{} (Sluicegate)", sync.name),
                "type": "application",
                "owner": owner,
                "depends_on": [reference],
                "config": { "meta": { "sluicegate": meta } },
            })
        })
        .collect();
    let mut out = String::from(
        "# Written by `sluice dbt exposures`; `sluice dbt exposures --check FILE` says when it is out of date.\n",
    );
    out.push_str("version: 2\nexposures:\n");
    for exposure in all {
        // JSON is YAML, and a line for each exposure is a line of a difference.
        out.push_str(&format!("  - {exposure}\n"));
    }
    Ok(out)
}

/// Names of exposures have letters, digits and underscores.
fn name(sync: &str) -> String {
    let plain: String = sync.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    format!("sluicegate_{plain}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_letters_digits_and_underscores() {
        assert_eq!(name("crm-contacts"), "sluicegate_crm_contacts");
    }
}
