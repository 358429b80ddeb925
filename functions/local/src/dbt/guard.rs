//! What dbt's own tests say of the columns that a sync uses.

use domain::clock::Span;
use domain::finding::Finding;
use domain::ports::Clock;

use super::manifest::{DbtManifest, DbtNode};
use super::results::RunResults;
use super::{DbtSettings, DbtTests};

/// Findings about the tests of `node` on these columns: errors where a failed one blocks, warnings else.
pub(super) fn findings(
    manifest: &DbtManifest,
    node: &DbtNode,
    columns: &[&str],
    results: Option<&RunResults>,
    settings: &DbtSettings,
    clock: &dyn Clock,
) -> Vec<Finding> {
    let tests: Vec<&DbtNode> = manifest.nodes.values().filter(|test| is_about(test, node, columns)).collect();
    let about = format!("dbt {}", node.name);
    let again = "run `dbt build` with the manifest's project; `tests: off` under `dbt` in connections.yaml looks away";
    let Some(results) = results else {
        let missing = (!tests.is_empty()).then(|| {
            let what =
                format!("dbt has {} on columns of this sync, and there is no run_results.json", counted(tests.len()));
            Finding::warning(about, what, again)
        });
        return missing.into_iter().collect();
    };
    let mut findings = Vec::new();
    let age = results.at().map(|at| clock.now().since(at));
    let is_old = age.is_none_or(|age| age > settings.max_age.0);
    if is_old {
        let what = match age {
            Some(age) => format!(
                "the newest results of dbt are {} old (max_age: {})",
                Span::seconds(age.as_secs()),
                settings.max_age
            ),
            None => "the newest results of dbt do not say when they are from".to_owned(),
        };
        findings.push(Finding::warning(about.clone(), what, again));
    }
    if let Some(built) =
        results.of(&node.unique_id).filter(|built| matches!(built.status.as_str(), "error" | "skipped"))
    {
        let what = format!("dbt could not build it ({}), so it holds what it held before", built.status);
        findings.push(Finding::warning(about.clone(), what, again));
    }
    let mut untried = Vec::new();
    for test in tests {
        match results.of(&test.unique_id) {
            Some(result) if matches!(result.status.as_str(), "fail" | "error") => {
                let failures = result.failures.map_or_else(String::new, |failures| format!(", {failures} failures"));
                let what = format!("the test {} of dbt has failed ({}{failures})", test.name, result.status);
                let fix =
                    "mend the model and run `dbt build`; `tests: warn` under `dbt` in connections.yaml lets it pass";
                findings.push(match settings.tests {
                    // Old results say nothing of what is there now.
                    DbtTests::Block if !is_old => Finding::error(about.clone(), what, fix),
                    DbtTests::Block | DbtTests::Warn | DbtTests::Off => Finding::warning(about.clone(), what, fix),
                });
            }
            Some(result) if result.status == "warn" => {
                findings.push(Finding::warning(about.clone(), format!("the test {} of dbt warns", test.name), again));
            }
            Some(result) if result.status == "pass" => {}
            _ => untried.push(test.name.as_str()),
        }
    }
    if !untried.is_empty() {
        let what = format!("the newest command of dbt did not run {}", untried.join(", "));
        findings.push(Finding::warning(about, what, again));
    }
    findings
}

/// The test is one of this node, on a column that is used, or on several of which all are.
fn is_about(test: &DbtNode, node: &DbtNode, columns: &[&str]) -> bool {
    let used = |name: &str| columns.iter().any(|column| column.eq_ignore_ascii_case(name.trim_matches(['"', '`'])));
    if test.resource_type != "test" || test.attached_node.as_deref() != Some(node.unique_id.as_str()) {
        return false;
    }
    let several = || {
        let kwargs = &test.test_metadata.as_ref()?.kwargs;
        let names = ["combination_of_columns", "column_list", "columns"];
        let listed = names.iter().find_map(|name| kwargs.get(name)?.as_array())?;
        Some(listed.iter().all(|column| column.as_str().is_some_and(used)))
    };
    test.column_name.as_deref().map(used).or_else(several).unwrap_or(false)
}

fn counted(tests: usize) -> String {
    if tests == 1 { "1 test".to_owned() } else { format!("{tests} tests") }
}
