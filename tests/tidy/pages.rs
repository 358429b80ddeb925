//! Rules on pages: links lead somewhere, events are listed, the changelog has a place for the next line.
//! Links to other machines are not followed.

use crate::modules::join;
use crate::tree::{Breach, File, Tree};

/// Every file below `events/` is named in `events/README.md`, which is there as soon as there is one.
pub fn events(tree: &Tree) -> Vec<Breach> {
    let listed = tree.get("events/README.md").map_or("", |f| &f.text);
    let unlisted = tree.under("events/").filter(|f| f.path != "events/README.md" && !f.name().starts_with('.'));
    let unlisted = unlisted.filter(|f| {
        !listed.contains(&format!("`{}`", &f.path["events/".len()..]))
            && !listed.contains(&format!("]({})", &f.path["events/".len()..]))
    });
    unlisted.map(|f| f.breach(1, "every event is listed in events/README.md, with what sends it")).collect()
}

/// Relative links in Markdown lead to a file or folder of the tree.
pub fn links(tree: &Tree) -> Vec<Breach> {
    let mut out = Vec::new();
    for file in tree.files.iter().filter(|f| f.path.ends_with(".md")) {
        for (line, link) in relative(file) {
            let path =
                if let Some(path) = link.strip_prefix('/') { join("", path) } else { join(file.folder(), &link) };
            if !tree.holds(&path) {
                out.push(file.breach(line, format!("the link to `{link}` leads nowhere")));
            }
        }
    }
    out
}

/// Every promise of the README's table leads to the test that holds it; that the test is there is [`links`]' rule.
pub fn promises(tree: &Tree) -> Vec<Breach> {
    let Some(file) = tree.get("README.md") else { return Vec::new() };
    let mut out = Vec::new();
    let mut within = false;
    let mut rows = 0;
    for (at, line) in file.text.lines().enumerate() {
        if line.starts_with("## ") {
            within = line == PROMISES;
        }
        if !within || !line.starts_with("| ") || line.starts_with("| Promise") {
            continue;
        }
        rows += 1;
        let holder = line.trim_end_matches([' ', '|']).rsplit('|').next().unwrap_or_default();
        if !holder.split("](").skip(1).any(|link| link.starts_with("tests/") || link.contains("/tests/")) {
            out.push(file.breach(at + 1, "a promise links the test that holds it, in the last column"));
        }
    }
    if rows == 0 {
        out.push(file.breach(1, format!("the README makes its promises under `{PROMISES}`")));
    }
    out
}

/// The heading of the promises.
const PROMISES: &str = "## What you can rely on";

/// There is a changelog, with a heading for what is not released yet.
pub fn changelog(tree: &Tree) -> Vec<Breach> {
    let rule = "the changelog has a heading `## Unreleased`";
    match tree.get("CHANGELOG.md") {
        None => vec![Breach { path: "CHANGELOG.md".into(), line: 1, rule: rule.into() }],
        Some(file) if !file.text.lines().any(|l| matches!(l.trim(), "## Unreleased" | "## [Unreleased]")) => {
            vec![file.breach(1, rule)]
        }
        Some(_) => Vec::new(),
    }
}

/// The relative links of a page outside code, without their fragments.
fn relative(file: &File) -> Vec<(usize, String)> {
    let (mut out, mut code) = (Vec::new(), false);
    for (at, line) in file.text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            code = !code;
        }
        if code {
            continue;
        }
        // Every second part stands between backticks.
        for prose in line.split('`').step_by(2) {
            let inline = prose.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
            let reference = prose.strip_prefix('[').and_then(|l| l.split_once("]: ")).map(|(_, link)| link.trim());
            for link in inline.chain(reference) {
                let link = link.trim_matches(['<', '>']).split('#').next().unwrap_or_default();
                if !link.is_empty() && !link.contains(':') {
                    out.push((at + 1, link.to_string()));
                }
            }
        }
    }
    out
}

#[test]
fn an_unlisted_event_is_refused() {
    let tree = Tree::of(&[
        ("events/README.md", "- `sqs/batch.json`\n- [tick](tick.json)"),
        ("events/sqs/batch.json", ""),
        ("events/tick.json", ""),
        ("events/new.json", ""),
    ]);
    assert_eq!(events(&tree).iter().map(|b| b.path.as_str()).collect::<Vec<_>>(), ["events/new.json"]);
    assert_eq!(events(&Tree::of(&[("events/tick.json", "")])).len(), 1);
    assert_eq!(events(&Tree::of(&[("README.md", "")])), []);
}

#[test]
fn a_dead_link_is_refused() {
    let page = "[a](docs/a.md#part) ![b](./b.png \"b\") [c](https://c.example/d) [e](#e)\n```\n[f](gone)\n```\n`[g](gone)` [h](gone.md) [`i`](gone-too)\n[j]: docs/gone.md\n[k](docs/)";
    let tree = Tree::of(&[("README.md", page), ("docs/a.md", "[up](../README.md) [out](../../x)"), ("b.png", "")]);
    let found: Vec<_> = links(&tree).into_iter().map(|b| (b.path, b.line)).collect();
    let readme = |line| ("README.md".to_string(), line);
    assert_eq!(found, [readme(5), readme(5), readme(6), ("docs/a.md".into(), 1)]);
}

#[test]
fn a_promise_without_its_test_is_refused() {
    let page = "# A\n## What you can rely on\n\n| Promise | Held by |\n|---|---|\n| a | [t](tests/t.rs) |\n| b | `tests/t` |\n| c [d](tests/e.rs) | [f](shared/f.rs) |\n## B\n| g | h |";
    let lines = |page| promises(&Tree::of(&[("README.md", page)])).into_iter().map(|b| b.line).collect::<Vec<_>>();
    assert_eq!(lines(page), [7, 8]);
    assert_eq!(lines("# A"), [1]);
}

#[test]
fn a_changelog_without_unreleased_is_refused() {
    assert_eq!(changelog(&Tree::of(&[("CHANGELOG.md", "# Changelog\n\n## Unreleased\n")])), []);
    assert_eq!(changelog(&Tree::of(&[("CHANGELOG.md", "# Changelog\n\nUnreleased\n")])).len(), 1);
    assert_eq!(changelog(&Tree::of(&[])).len(), 1);
}
