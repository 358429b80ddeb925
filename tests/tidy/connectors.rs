//! Rules on connectors: each is in its registry, and its header answers the same questions in the same order.
//! The contract suites check what a connector does; this looks at its text only.

use crate::tree::{Breach, File, Token, Tree, group_length, starts};

/// A question that a header answers, and the labels it is known by.
type Item = (&'static str, &'static [&'static str]);

const AUTH: Item = ("Auth", &["auth", "authentication"]);
const LIMITS: Item = ("Limits", &["limits"]);
const VERSION: Item =
    ("API version and sources", &["api version and sources", "api version", "version and sources", "sources"]);

/// The rooms of connectors, and the items of their headers in order.
const ROOMS: [(&str, &[Item]); 2] = [
    (
        "shared/warehouses/src",
        &[("What it reads", &["what it reads", "reads"]), AUTH, LIMITS, ("Types", &["types"]), VERSION],
    ),
    (
        "shared/destinations/src",
        &[
            ("What it writes", &["what it writes", "writes"]),
            AUTH,
            ("Modes", &["modes"]),
            LIMITS,
            ("Per-record errors", &["per-record errors", "per record errors"]),
            ("Idempotency", &["idempotency"]),
            VERSION,
        ],
    ),
];

/// REGISTRY lists every ENTRY of its room, sorted, and nothing else.
pub fn registered(tree: &Tree) -> Vec<Breach> {
    let mut out = Vec::new();
    for (room, _) in ROOMS {
        let Some(lib) = tree.get(&format!("{room}/lib.rs")) else { continue };
        let Some(listed) = registry(lib) else {
            out.push(lib.breach(1, "the room of connectors has no `REGISTRY: … = &[…]`"));
            continue;
        };
        for pair in listed.windows(2) {
            if pair[0].path >= pair[1].path {
                out.push(lib.breach(
                    pair[1].line,
                    format!(
                        "REGISTRY is sorted and lists nothing twice: `{}` stands behind `{}`",
                        pair[1].path, pair[0].path
                    ),
                ));
            }
        }
        for one in &listed {
            if connector(tree, room, &one.path).is_none() {
                out.push(lib.breach(one.line, format!("REGISTRY lists `{}`, but there is no file for it", one.path)));
            }
        }
        let folder = format!("{room}/");
        for file in tree.under(&folder).filter(|f| f.path.ends_with(".rs") && f.path != lib.path) {
            let module = file.path[folder.len()..].trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
            for (name, line) in entries(file) {
                // The entry may stand in a part of a connector's folder and be listed as the connector's own.
                let known = listed
                    .iter()
                    .any(|one| one.path.rsplit_once("::").is_some_and(|(at, n)| n == name && within(&module, at)));
                if !known {
                    out.push(file.breach(line, format!("`{module}::{name}` is not in REGISTRY of {room}/lib.rs")));
                }
            }
        }
    }
    out
}

/// Every listed connector opens with a header that has all items of its room in order.
pub fn headed(tree: &Tree) -> Vec<Breach> {
    let mut out = Vec::new();
    for (room, items) in ROOMS {
        for one in tree.get(&format!("{room}/lib.rs")).and_then(registry).unwrap_or_default() {
            let Some(file) = connector(tree, room, &one.path) else { continue };
            let labels: Vec<(usize, String)> = file
                .text
                .lines()
                .take_while(|line| line.starts_with("//!"))
                .enumerate()
                .filter_map(|(at, line)| Some((at + 1, label(line)?)))
                .collect();
            let mut last = 0;
            for (name, known) in items {
                match labels.iter().find(|(_, label)| known.contains(&label.as_str())) {
                    None => out.push(file.breach(1, format!("a connector's header has a line `//! **{name}.** …`"))),
                    Some((line, _)) if *line < last => {
                        let order: Vec<_> = items.iter().map(|(name, _)| *name).collect();
                        out.push(
                            file.breach(*line, format!("a connector's header has one order: {}", order.join(" · "))),
                        );
                    }
                    Some((line, _)) => last = *line,
                }
            }
        }
    }
    out
}

/// An entry of a REGISTRY: its path from the room's root, and the line.
struct Listed {
    path: String,
    line: usize,
}

fn registry(lib: &File) -> Option<Vec<Listed>> {
    let tokens = lib.product_tokens();
    let name = (0..tokens.len()).find(|at| starts(&tokens[*at..], &["REGISTRY", ":"]))?;
    let equals = name + tokens[name..].iter().position(|t| t.text == "=")?;
    let open = equals + tokens[equals..].iter().position(|t| t.text == "[")?;
    let list = &tokens[open + 1..open + group_length(&tokens[open..]).max(2) - 1];
    let mut out = Vec::new();
    let mut one = Listed { path: String::new(), line: 0 };
    let mut at = 0;
    while at < list.len() {
        match list[at].text.as_str() {
            "#" if list.get(at + 1).is_some_and(|t| t.text == "[") => at += group_length(&list[at + 1..]),
            "&" => {}
            "," => out.push(std::mem::replace(&mut one, Listed { path: String::new(), line: 0 })),
            text => {
                one.path.push_str(text);
                one.line = list[at].line;
            }
        }
        at += 1;
    }
    out.push(one);
    out.retain(|one| !one.path.is_empty());
    Some(out)
}

/// The constants and statics of a file that are named `…ENTRY`.
fn entries(file: &File) -> Vec<(String, usize)> {
    let tokens: Vec<Token> = file.product_tokens();
    let declared = tokens.windows(3).filter(|w| {
        matches!(w[0].text.as_str(), "const" | "static") && w[1].text.ends_with("ENTRY") && w[2].text == ":"
    });
    declared.map(|w| (w[1].text.clone(), w[1].line)).collect()
}

/// The file of a listed entry: `a::b::ENTRY` is in `a/b.rs` or `a/b/mod.rs`.
fn connector<'a>(tree: &'a Tree, room: &str, listed: &str) -> Option<&'a File> {
    let module = listed.rsplit_once("::")?.0.trim_start_matches("crate::").replace("::", "/");
    tree.get(&format!("{room}/{module}.rs")).or_else(|| tree.get(&format!("{room}/{module}/mod.rs")))
}

fn within(module: &str, ancestor: &str) -> bool {
    module
        .strip_prefix(ancestor.trim_start_matches("crate::"))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// What a header line is about: `//! **Auth.** …`, `//! - **Auth**: …`, `//! # Auth` or `//! auth: …`.
fn label(line: &str) -> Option<String> {
    let text = line.strip_prefix("//!")?.trim();
    let heading = text.starts_with('#');
    let text = text.trim_start_matches(['#', '-', ' ']).trim_start_matches("* ");
    let label = match text.strip_prefix("**") {
        Some(bold) => bold.split_once("**")?.0,
        None => text.split_once(':').map(|(label, _)| label).or(heading.then_some(text))?,
    };
    Some(label.trim_matches(['*', '.', ':', ' ']).to_lowercase())
}

#[cfg(test)]
const DESTINATIONS: &str = "shared/destinations/src/lib.rs";

#[test]
fn a_registry_in_order_passes() {
    let tree = Tree::of(&[
        (
            DESTINATIONS,
            "/// All.\npub const REGISTRY: &[&E] = &[\n  &hubspot::ENTRY,\n  #[cfg(x)]\n  &sql::mysql::ENTRY,\n  &webhook::ENTRY,\n];\nfn f() {}",
        ),
        ("shared/destinations/src/hubspot/mod.rs", "pub use self::entry::ENTRY;"),
        ("shared/destinations/src/hubspot/entry.rs", "pub static ENTRY: E = E {};"),
        ("shared/destinations/src/sql/mysql.rs", "pub const ENTRY: E = E {};"),
        (
            "shared/destinations/src/webhook.rs",
            "pub const ENTRY: E = E {};\n#[cfg(test)]\nmod tests { const OTHER_ENTRY: E = E {}; }",
        ),
        ("shared/warehouses/src/lib.rs", "pub const REGISTRY: &[&W] = &[];"),
    ]);
    assert_eq!(registered(&tree), []);
}

#[test]
fn a_registry_out_of_order_or_with_gaps_is_refused() {
    let tree = Tree::of(&[
        (DESTINATIONS, "pub const REGISTRY: &[&E] = &[\n  &webhook::ENTRY,\n  &hubspot::ENTRY,\n  &gone::ENTRY,\n];"),
        ("shared/destinations/src/hubspot.rs", ""),
        ("shared/destinations/src/webhook.rs", ""),
        ("shared/destinations/src/lost.rs", "\npub const ENTRY: E = E {};"),
        ("shared/warehouses/src/lib.rs", "//! Nothing."),
    ]);
    let found: Vec<_> = registered(&tree).into_iter().map(|b| (b.path, b.line)).collect();
    let lib = || DESTINATIONS.to_string();
    assert_eq!(
        found,
        [
            ("shared/warehouses/src/lib.rs".into(), 1),
            (lib(), 3),
            (lib(), 4),
            (lib(), 4),
            ("shared/destinations/src/lost.rs".into(), 2)
        ]
    );
}

#[test]
fn a_whole_header_passes_and_a_broken_one_does_not() {
    let header = "//! A webhook.\n//!\n//! **What it writes.** x\n//! - **Auth**: x\n//! # Modes\n//! limits: x\n//! **Per-record errors:** x\n//! **Idempotency.** x\n//! **API version and sources.** x\n";
    let with = |text: &str| {
        Tree::of(&[
            (DESTINATIONS, "pub const REGISTRY: &[&E] = &[&webhook::ENTRY];"),
            ("shared/destinations/src/webhook.rs", text),
        ])
    };
    assert_eq!(headed(&with(header)), []);

    let lines: Vec<&str> = header.lines().collect();
    for gone in 2..lines.len() {
        let text: Vec<&str> = lines.iter().enumerate().filter(|(at, _)| *at != gone).map(|(_, l)| *l).collect();
        assert_eq!(headed(&with(&text.join("\n"))).len(), 1, "without {}", lines[gone]);
    }
    let mut swapped = lines.clone();
    swapped.swap(3, 5);
    assert_eq!(headed(&with(&swapped.join("\n"))).iter().map(|b| b.line).collect::<Vec<_>>(), [5, 4]);
    assert_eq!(headed(&with("use x;\n//! auth: late")).len(), 7);
}

#[test]
fn a_warehouse_has_types_and_no_modes() {
    let lib = ("shared/warehouses/src/lib.rs", "pub const REGISTRY: &[&E] = &[&sqlite::ENTRY];");
    let whole =
        "//! **What it reads.**\n//! **Auth.**\n//! **Limits.**\n//! **Types.**\n//! **API version and sources.**";
    assert_eq!(headed(&Tree::of(&[lib, ("shared/warehouses/src/sqlite.rs", whole)])), []);
    assert_eq!(
        headed(&Tree::of(&[lib, ("shared/warehouses/src/sqlite.rs", &whole.replace("Types", "Modes"))])).len(),
        1
    );
}
