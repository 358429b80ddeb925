//! The rule on circles: inside a crate modules import downwards, so that each can be read once those below it are
//! known.
//!
//! A module is a file. What its `use` lines and paths name counts; a re-export (`pub use`) does not, because it only
//! opens a door, nor does what stands at the root of the crate, which everything shares.

use std::collections::{BTreeMap, BTreeSet};

use crate::tree::{Breach, File, Token, Tree};

/// Circles that are in the data: arrays hold arrays, and an org owns its jobs, which change it.
const IN_THE_DATA: [&[&str]; 3] = [
    &["shared/destinations/src/postgres/array.rs", "shared/destinations/src/postgres/encode.rs"],
    &[
        "shared/doubles/src/salesforce/auth.rs",
        "shared/doubles/src/salesforce/bulk.rs",
        "shared/doubles/src/salesforce/org.rs",
        "shared/doubles/src/salesforce/save.rs",
    ],
    &["shared/warehouses/src/postgres/decode.rs", "shared/warehouses/src/postgres/json_array.rs"],
];

/// The modules of a crate, by path within it.
type Modules<'a> = BTreeMap<Vec<String>, &'a File>;

/// No module imports one that imports it, by whatever way around.
pub fn none(tree: &Tree) -> Vec<Breach> {
    let mut crates: BTreeMap<&str, Modules<'_>> = BTreeMap::new();
    for file in tree.rust().filter(|f| f.name() != "tests.rs" && !f.path.contains("/tests/")) {
        if let Some((room, within)) = file
            .path
            .split_once("/src/")
            .filter(|(room, _)| room.starts_with("shared/") || room.starts_with("functions/"))
        {
            crates.entry(room).or_default().insert(module(within), file);
        }
    }
    crates
        .values()
        .flat_map(circles)
        .filter(|circle| !IN_THE_DATA.contains(&paths_of(circle).as_slice()))
        .map(|circle| breach(&circle))
        .collect()
}

fn paths_of<'a>(circle: &[&'a File]) -> Vec<&'a str> {
    circle.iter().map(|file| file.path.as_str()).collect()
}

fn breach(circle: &[&File]) -> Breach {
    circle[0].breach(
        1,
        format!("a circle of modules: {}; what two of them need lives in a third", paths_of(circle).join(", ")),
    )
}

/// `a/mod.rs` is the module `a`, as `a.rs` is.
fn module(within: &str) -> Vec<String> {
    let mut path: Vec<String> = within.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if path.last().is_some_and(|last| matches!(last.as_str(), "mod" | "lib" | "main")) {
        path.pop();
    }
    path
}

/// The circles of a crate, each sorted by path.
fn circles<'a>(modules: &Modules<'a>) -> Vec<Vec<&'a File>> {
    let edges: BTreeMap<&Vec<String>, BTreeSet<&Vec<String>>> =
        modules.iter().map(|(path, file)| (path, imports(path, file, modules))).collect();
    let reached: BTreeMap<&Vec<String>, BTreeSet<&Vec<String>>> =
        modules.keys().map(|path| (path, reach(path, &edges))).collect();
    let mut found: BTreeSet<Vec<&Vec<String>>> = BTreeSet::new();
    for (path, to) in &reached {
        if to.contains(*path) {
            found.insert(to.iter().filter(|other| reached[**other].contains(*path)).copied().collect());
        }
    }
    let files = |circle: Vec<&Vec<String>>| {
        let mut files: Vec<&File> = circle.into_iter().map(|path| modules[path]).collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files
    };
    found.into_iter().map(files).collect()
}

/// All modules that one leads to.
fn reach<'m>(
    from: &'m Vec<String>,
    edges: &BTreeMap<&'m Vec<String>, BTreeSet<&'m Vec<String>>>,
) -> BTreeSet<&'m Vec<String>> {
    let (mut seen, mut todo) = (BTreeSet::new(), vec![from]);
    while let Some(next) = todo.pop() {
        for to in edges.get(next).into_iter().flatten() {
            if seen.insert(*to) {
                todo.push(to);
            }
        }
    }
    seen
}

/// The modules that a module names.
fn imports<'m>(own: &[String], file: &File, modules: &'m Modules<'_>) -> BTreeSet<&'m Vec<String>> {
    let mut out = BTreeSet::new();
    for path in named(&file.product_tokens()) {
        let mut whole = match path[0].as_str() {
            "crate" => Vec::new(),
            "self" => own.to_vec(),
            _ => own[..own.len().saturating_sub(1)].to_vec(),
        };
        for part in &path[1..] {
            if part == "super" { drop(whole.pop()) } else { whole.push(part.clone()) }
        }
        let known = (1..=whole.len()).rev().find_map(|len| modules.get_key_value(&whole[..len])).map(|(path, _)| path);
        out.extend(known.filter(|path| path.as_slice() != own));
    }
    out
}

/// The paths that begin with `crate`, `self` or `super`, re-exports left out.
fn named(tokens: &[Token]) -> Vec<Vec<String>> {
    let (mut out, mut at, mut public) = (Vec::new(), 0, false);
    while at < tokens.len() {
        match tokens[at].text.as_str() {
            "use" => {
                let end = tokens[at..].iter().position(|t| t.text == ";").map_or(tokens.len(), |len| at + len);
                if !public {
                    tree_of(&tokens[at + 1..end], &[], &mut out);
                }
                at = end;
            }
            "crate" | "self" | "super" if is_path(&tokens[at + 1..]) => {
                let mut path = vec![tokens[at].text.clone()];
                at += 1;
                while is_path(&tokens[at..]) {
                    path.push(tokens[at + 2].text.clone());
                    at += 3;
                }
                out.push(path);
                continue;
            }
            _ => {}
        }
        // `pub(crate) use` is one, too.
        public = match tokens.get(at).map(|t| t.text.as_str()) {
            Some("pub") => true,
            Some("(" | ")" | "crate" | "super" | "in") => public,
            _ => false,
        };
        at += 1;
    }
    out.retain(|path| matches!(path[0].as_str(), "crate" | "self" | "super"));
    out
}

/// True for `::name`.
fn is_path(rest: &[Token]) -> bool {
    rest.len() > 2
        && rest[0].text == ":"
        && rest[1].text == ":"
        && rest[2].text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The paths of a `use` tree.
fn tree_of(tokens: &[Token], before: &[String], out: &mut Vec<Vec<String>>) {
    let (mut path, mut at) = (before.to_vec(), 0);
    while at < tokens.len() {
        match tokens[at].text.as_str() {
            ":" => {}
            "as" => break,
            "{" => {
                let (mut depth, mut start) = (0, at + 1);
                for (i, token) in tokens.iter().enumerate().skip(at) {
                    match token.text.as_str() {
                        "{" => depth += 1,
                        "}" => depth -= 1,
                        _ => {}
                    }
                    if depth == 0 || depth == 1 && token.text == "," {
                        if start < i {
                            tree_of(&tokens[start..i], &path, out);
                        }
                        start = i + 1;
                    }
                    if depth == 0 {
                        break;
                    }
                }
                return;
            }
            name => path.push(name.to_owned()),
        }
        at += 1;
    }
    out.push(path);
}

#[test]
fn a_circle_is_found_by_whatever_way_around() {
    let tree = Tree::of(&[
        ("shared/a/src/lib.rs", "pub mod x; pub mod y; pub mod z; pub use x::X; use y::Y;"),
        ("shared/a/src/x.rs", "use crate::{y::{self, Y}, Root};"),
        ("shared/a/src/y/mod.rs", "mod deep; pub use self::deep::Deep; fn f() { crate::z::g() }"),
        ("shared/a/src/y/deep.rs", "use super::Y;"),
        ("shared/a/src/z.rs", "#[cfg(test)]\nmod t { use crate::y::Y; }\nuse super::x::X as Other;"),
        ("shared/b/src/lib.rs", "mod one; mod two;"),
        ("shared/b/src/one.rs", "use crate::two::Two;"),
        ("shared/b/src/two.rs", "// crate::one::One\nuse super::one_more::One;"),
    ]);
    let found: Vec<_> = none(&tree).into_iter().map(|b| (b.path, b.rule.matches(".rs").count())).collect();
    assert_eq!(found, [("shared/a/src/x.rs".to_string(), 3)]);
}
