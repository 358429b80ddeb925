//! Rules on modules: every Rust file belongs to a crate, and says in its first line what it is.

use crate::tree::{Breach, Token, Tree, starts};
use std::collections::BTreeSet;

/// A Rust file that no crate root reaches is compiled by nobody.
pub fn reachable(tree: &Tree) -> Vec<Breach> {
    let mut seen = BTreeSet::new();
    for root in roots(tree) {
        walk(tree, &root, true, &mut seen);
    }
    let lost = tree.rust().filter(|f| !seen.contains(&f.path));
    lost.map(|f| f.breach(1, "no crate reaches this file: add `mod` for it, or a target in Cargo.toml, or delete it"))
        .collect()
}

/// Every module opens with `//!`.
pub fn introduced(tree: &Tree) -> Vec<Breach> {
    let silent = tree
        .rust()
        .filter(|f| f.text.lines().next().and_then(|l| l.strip_prefix("//!")).is_none_or(|l| l.trim().is_empty()));
    silent.map(|f| f.breach(1, "a module opens with `//!`, saying what it is and what it is not")).collect()
}

/// The files at which cargo starts to compile.
fn roots(tree: &Tree) -> Vec<String> {
    let mut out = Vec::new();
    for file in tree.files.iter().filter(|f| f.name() == "Cargo.toml") {
        let Ok(manifest) = file.text.parse::<toml::Table>() else { continue };
        if !manifest.contains_key("package") {
            continue;
        }
        let folder = file.folder();
        out.extend(["src/lib.rs", "src/main.rs", "build.rs"].map(|p| join(folder, p)));
        if let Some(path) = manifest.get("lib").and_then(|lib| lib.get("path")).and_then(toml::Value::as_str) {
            out.push(join(folder, path));
        }
        for (kind, place) in [("bin", "src/bin"), ("test", "tests"), ("bench", "benches"), ("example", "examples")] {
            for item in manifest.get(kind).and_then(toml::Value::as_array).into_iter().flatten() {
                if let Some(path) = item.get("path").and_then(toml::Value::as_str) {
                    out.push(join(folder, path));
                }
            }
            // What cargo finds by itself: `place/x.rs` and `place/x/main.rs`.
            let place = format!("{}/", join(folder, place));
            for found in tree.under(&place).filter(|f| f.path.ends_with(".rs")) {
                let rest = &found.path[place.len()..];
                if !rest.contains('/') || (rest.matches('/').count() == 1 && rest.ends_with("/main.rs")) {
                    out.push(found.path.clone());
                }
            }
        }
    }
    out
}

/// Follows the `mod` lines of a file. An owner looks for its modules in its own folder; any other file in
/// the folder that is named after it.
fn walk(tree: &Tree, path: &str, owner: bool, seen: &mut BTreeSet<String>) {
    let Some(file) = tree.get(path) else { return };
    if !seen.insert(file.path.clone()) {
        return;
    }
    let home = if owner || file.name() == "mod.rs" {
        file.folder().to_string()
    } else {
        file.path.trim_end_matches(".rs").to_string()
    };
    for (name, inside, attribute) in modules(&file.tokens()) {
        let nest = inside.iter().fold(home.clone(), |folder, name| join(&folder, name));
        if let Some(attribute) = attribute {
            let from = if inside.is_empty() { file.folder() } else { &nest };
            walk(tree, &join(from, &attribute), true, seen);
        } else {
            walk(tree, &join(&nest, &format!("{name}.rs")), false, seen);
            walk(tree, &join(&nest, &format!("{name}/mod.rs")), false, seen);
        }
    }
}

/// The modules that live in files of their own: name, the inline modules around it, and its `#[path]`.
fn modules(tokens: &[Token]) -> Vec<(String, Vec<String>, Option<String>)> {
    let (mut out, mut attribute, mut depth) = (Vec::new(), None, 0usize);
    let mut inside: Vec<(String, usize)> = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let rest = &tokens[at..];
        if starts(rest, &["#", "[", "path", "="]) {
            attribute = rest.get(4).and_then(Token::string).map(str::to_string);
        }
        if token.text == "mod" && rest.len() > 2 {
            let name = rest[1].text.trim_start_matches("r#").to_string();
            match rest[2].text.as_str() {
                ";" => out.push((name, inside.iter().map(|(n, _)| n.clone()).collect(), attribute.take())),
                "{" => inside.push((attribute.take().unwrap_or(name), depth)),
                _ => {}
            }
        }
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                inside.retain(|(_, at)| *at < depth);
            }
            _ => {}
        }
        if matches!(token.text.as_str(), ";" | "{" | "}") {
            attribute = None;
        }
    }
    out
}

/// Joins two paths, following `.` and `..`.
pub fn join(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|p| *p != "..") => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

#[test]
fn modules_are_followed_as_the_compiler_does() {
    let package = "[package]\nname = \"a\"";
    let tree = Tree::of(&[
        (
            "shared/a/Cargo.toml",
            "[package]\nname = \"a\"\n[lib]\npath = \"support/lib.rs\"\n[[bench]]\nname = \"b\"\npath = \"benches/deep/b.rs\"",
        ),
        (
            "shared/a/support/lib.rs",
            "mod one;\npub mod two { mod in_two; }\n#[cfg(test)]\n#[path = \"../odd/place.rs\"]\nmod three;\nmod after;",
        ),
        ("shared/a/support/one.rs", "pub(crate) mod deep;"),
        ("shared/a/support/one/deep.rs", ""),
        ("shared/a/support/two/in_two.rs", ""),
        ("shared/a/support/after/mod.rs", "mod r#type;"),
        ("shared/a/support/after/type.rs", ""),
        ("shared/a/odd/place.rs", "mod beside;"),
        ("shared/a/odd/beside.rs", ""),
        ("shared/a/benches/deep/b.rs", ""),
        ("functions/f/Cargo.toml", package),
        ("functions/f/src/main.rs", ""),
        ("functions/f/tests/t.rs", ""),
        ("functions/f/tests/u/main.rs", ""),
    ]);
    assert_eq!(reachable(&tree), []);
}

#[test]
fn a_lost_file_is_found() {
    let tree = Tree::of(&[
        ("shared/a/Cargo.toml", "[package]\nname = \"a\""),
        ("shared/a/src/lib.rs", "// mod gone;\nmod here { mod lost {} }\nconst A: &str = \"mod gone;\";"),
        ("shared/a/src/gone.rs", ""),
        ("shared/a/tests/u/helper.rs", ""),
        ("tests/new.rs", ""),
    ]);
    let lost: Vec<_> = reachable(&tree).into_iter().map(|b| b.path).collect();
    assert_eq!(lost, ["shared/a/src/gone.rs", "shared/a/tests/u/helper.rs", "tests/new.rs"]);
}

#[test]
fn a_module_without_a_word_is_refused() {
    let tree =
        Tree::of(&[("a.rs", "//! What it is."), ("b.rs", "fn b() {}"), ("c.rs", ""), ("d.rs", "//!\n"), ("e.txt", "")]);
    let silent: Vec<_> = introduced(&tree).into_iter().map(|b| b.path).collect();
    assert_eq!(silent, ["b.rs", "c.rs", "d.rs"]);
}
