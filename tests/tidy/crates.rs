//! Rules on the manifests: what every crate inherits, and which rooms a room may use. Licences and origins of
//! other people's crates are in `licences.rs`.

use crate::tree::{Breach, File, Tree};
use toml::{Table, Value};

/// The rooms below `shared/` and what each may use of the workspace; `functions/*` and `tests` use what they like.
const EDGES: [(&str, &[&str]); 8] = [
    ("domain", &[]),
    ("engine", &["domain"]),
    ("clients", &["domain"]),
    ("warehouses", &["clients", "domain"]),
    ("destinations", &["clients", "domain"]),
    // They speak for others: not even the house's own values are theirs.
    ("doubles", &[]),
    ("embedded", &["clients", "domain"]),
    ("aws", &["clients", "domain"]),
];

/// Every crate takes lints, licence and `publish` from the workspace.
pub fn inherits(tree: &Tree) -> Vec<Breach> {
    let mut out = Vec::new();
    for (file, manifest) in packages(tree) {
        for path in
            [&["lints", "workspace"][..], &["package", "license", "workspace"], &["package", "publish", "workspace"]]
        {
            let value = path.iter().try_fold(&manifest, |table, key| table.get(*key));
            if value.and_then(Value::as_bool) != Some(true) {
                out.push(file.breach(1, format!("every crate has `{} = true`", path.join("."))));
            }
        }
    }
    out
}

/// Crate edges point inward, for dependencies of every kind.
pub fn inward(tree: &Tree) -> Vec<Breach> {
    let crates: Vec<(String, String)> = packages(tree)
        .filter_map(|(file, manifest)| {
            Some((manifest.get("package")?.get("name")?.as_str()?.to_string(), file.folder().to_string()))
        })
        .collect();
    let mut out = Vec::new();
    for (file, manifest) in packages(tree) {
        let used = dependencies(&manifest);
        if file.folder() != "shared/aws" {
            for name in used.iter().filter(|name| name.starts_with("aws-sdk-") || *name == "aws-config") {
                out.push(
                    file.breach(line(file, name), format!("only shared/aws uses the AWS SDK, here it is `{name}`")),
                );
            }
        }
        let Some(room) = file.folder().strip_prefix("shared/") else { continue };
        let Some((_, allowed)) = EDGES.iter().find(|(name, _)| *name == room) else {
            out.push(file.breach(1, "a new room below shared/ says in tests/tidy/crates.rs which rooms it may use"));
            continue;
        };
        for (name, folder) in crates.iter().filter(|(name, _)| used.contains(name)) {
            let inward = folder.strip_prefix("shared/").is_some_and(|other| allowed.contains(&other));
            if !inward {
                out.push(file.breach(
                    line(file, name),
                    format!("crate edges point inward: shared/{room} may not use `{name}` ({folder})"),
                ));
            }
        }
    }
    out
}

fn packages(tree: &Tree) -> impl Iterator<Item = (&File, Value)> {
    let manifests = tree.files.iter().filter(|f| f.name() == "Cargo.toml");
    manifests
        .filter_map(|file| Some((file, Value::Table(file.text.parse::<Table>().ok()?))))
        .filter(|(_, manifest)| manifest.get("package").is_some())
}

/// The names of the packages that a manifest depends on, whatever it calls them.
fn dependencies(manifest: &Value) -> Vec<String> {
    let targets = manifest.get("target").and_then(Value::as_table).into_iter().flat_map(|t| t.values());
    let tables = std::iter::once(manifest).chain(targets);
    let kinds = tables.flat_map(|t| {
        ["dependencies", "dev-dependencies", "build-dependencies"]
            .into_iter()
            .filter_map(|kind| t.get(kind)?.as_table())
    });
    kinds.flatten().map(|(name, how)| how.get("package").and_then(Value::as_str).unwrap_or(name).to_string()).collect()
}

fn line(file: &File, name: &str) -> usize {
    file.text.lines().position(|l| l.contains(name) && !l.starts_with("name")).map_or(1, |at| at + 1)
}

#[cfg(test)]
const WHOLE: &str = "license.workspace = true\npublish.workspace = true\n[lints]\nworkspace = true\n";

#[test]
fn a_crate_that_goes_its_own_way_is_refused() {
    let whole = format!("[package]\nname = \"a\"\n{WHOLE}");
    assert_eq!(inherits(&Tree::of(&[("shared/a/Cargo.toml", &whole), ("Cargo.toml", "[workspace]")])), []);
    for (from, to) in [
        ("license.workspace = true", "license = \"GPL-3.0\""),
        ("publish.workspace = true", ""),
        ("[lints]\nworkspace = true", ""),
    ] {
        let tree = whole.replace(from, to);
        assert_eq!(inherits(&Tree::of(&[("shared/a/Cargo.toml", &tree)])).len(), 1, "{from}");
    }
}

#[test]
fn an_edge_that_points_outward_is_refused() {
    let cases = [
        ("shared/domain", "[dependencies]\nengine.workspace = true", 1),
        ("shared/engine", "[dependencies]\ndomain.workspace = true\n[dev-dependencies]\nembedded.workspace = true", 1),
        ("shared/warehouses", "[dependencies]\nclients.workspace = true\ndomain.workspace = true\nserde = \"1\"", 0),
        ("shared/warehouses", "[dependencies]\ndestinations.workspace = true", 1),
        (
            "shared/embedded",
            "[target.'cfg(unix)'.dependencies]\nother = { package = \"local\", path = \"../../functions/local\" }",
            1,
        ),
        ("shared/destinations", "[build-dependencies]\nhouse = { path = \"../../tests\" }", 1),
        ("shared/unheard", "", 1),
        ("shared/aws", "[dependencies]\naws-sdk-sqs = \"1\"", 0),
        ("shared/clients", "[dependencies]\naws-config = \"1\"", 1),
        ("functions/local", "[dependencies]\nengine.workspace = true\naws-sdk-sqs = \"1\"", 1),
        ("tests", "[dependencies]\nlocal.workspace = true", 0),
    ];
    let folders = [
        "shared/domain",
        "shared/engine",
        "shared/clients",
        "shared/embedded",
        "shared/destinations",
        "functions/local",
        "tests",
    ];
    for (folder, text, breaches) in cases {
        let mut files: Vec<(String, String)> = Vec::new();
        for other in folders.iter().filter(|other| **other != folder).chain([&folder]) {
            let name = if *other == "tests" { "house" } else { other.rsplit('/').next().unwrap_or(other) };
            let text = if *other == folder { text } else { "" };
            files.push((format!("{other}/Cargo.toml"), format!("[package]\nname = \"{name}\"\n{text}")));
        }
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        assert_eq!(inward(&Tree::of(&files)).len(), breaches, "{folder}: {text}");
    }
}
