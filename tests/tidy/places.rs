//! Rules on what may stand where: the AWS SDK, the environment, the moving of checksums; and how long a file may be.

use crate::tree::{Breach, File, Token, Tree, group_length, starts};

/// No file is longer than this.
const LINES: usize = 500;

/// Rust files and shell scripts fit in a person's head.
pub fn short(tree: &Tree) -> Vec<Breach> {
    let script = |f: &&File| {
        let first = f.text.lines().next().unwrap_or_default();
        f.path.ends_with(".rs") || f.path.ends_with(".sh") || (first.starts_with("#!") && first.ends_with("sh"))
    };
    let long =
        tree.files.iter().filter(script).map(|f| (f, f.text.lines().count())).filter(|(_, lines)| *lines > LINES);
    long.map(|(f, lines)| {
        f.breach(
            LINES + 1,
            format!("no file is over {LINES} lines, this one has {lines}: divide it by what its parts are about"),
        )
    })
    .collect()
}

/// Only `shared/aws` names the AWS SDK.
pub fn aws(tree: &Tree) -> Vec<Breach> {
    let ours = tree.rust().filter(|f| !f.path.starts_with("shared/aws/"));
    each(ours, File::tokens, |rest| {
        let sdk = rest[0].text.starts_with("aws_sdk_") || rest[0].text == "aws_config";
        sdk.then(|| format!("`{}` is used in shared/aws only: await AWS there, behind a port", rest[0].text))
    })
}

/// The environment is read in `settings.rs` only, tests and benches apart.
pub fn environment(tree: &Tree) -> Vec<Breach> {
    let product = tree.rust().filter(|f| {
        let test = f.path.starts_with("tests/") || f.path.contains("/tests/") || f.path.contains("/benches/");
        !test && !matches!(f.name(), "settings.rs" | "tests.rs")
    });
    each(product, File::product_tokens, |rest| {
        let read = |token: &Token| {
            matches!(token.text.as_str(), "var" | "var_os" | "vars" | "vars_os" | "set_var" | "remove_var")
        };
        named(rest, "env", read).then(|| "the environment is read in settings.rs only, once and typed".to_string())
    })
}

/// What says that a destination accepted a record is written by the engine's commit and kept by the state stores.
pub fn checksums(tree: &Tree) -> Vec<Breach> {
    let elsewhere = tree.rust().filter(|f| {
        let home =
            ["shared/domain/", "shared/embedded/", "shared/aws/", "tests/"].iter().any(|room| f.path.starts_with(room));
        !home && f.path != "shared/engine/src/commit.rs" && f.name() != "tests.rs"
    });
    each(elsewhere, File::product_tokens, |rest| {
        let moves = |token: &Token| matches!(token.text.as_str(), "Accepted" | "Removed" | "*");
        // Under another name, the rule could not see it.
        let renamed = starts(rest, &["EntryWrite", "as"]);
        (renamed || named(rest, "EntryWrite", moves))
            .then(|| "a checksum moves in shared/engine/src/commit.rs, nowhere else".to_string())
    })
}

/// True for `name::wanted` and for `name::{…, wanted, …}`.
fn named(rest: &[Token], name: &str, wanted: impl Fn(&Token) -> bool) -> bool {
    if !starts(rest, &[name, ":", ":"]) || rest.len() < 4 {
        return false;
    }
    match rest[3].text.as_str() {
        "{" => rest[3..3 + group_length(&rest[3..])].iter().any(wanted),
        _ => wanted(&rest[3]),
    }
}

/// Asks a question at every token of some files.
fn each<'a>(
    files: impl Iterator<Item = &'a File>,
    tokens: fn(&File) -> Vec<Token>,
    broken: impl Fn(&[Token]) -> Option<String>,
) -> Vec<Breach> {
    let mut out = Vec::new();
    for file in files {
        let tokens = tokens(file);
        out.extend((0..tokens.len()).filter_map(|at| Some(file.breach(tokens[at].line, broken(&tokens[at..])?))));
    }
    out
}

#[cfg(test)]
fn places(breaches: Vec<Breach>) -> Vec<(String, usize)> {
    breaches.into_iter().map(|b| (b.path, b.line)).collect()
}

#[test]
fn a_long_file_is_refused() {
    let (fits, long) = ("x\n".repeat(LINES), "x\n".repeat(LINES + 1));
    let script = format!("#!/usr/bin/env bash\n{fits}");
    let tree = Tree::of(&[("a.rs", &fits), ("b.rs", &long), ("c.md", &long), ("run", &script), ("d.sh", &long)]);
    let found: Vec<_> = short(&tree).into_iter().map(|b| b.path).collect();
    assert_eq!(found, ["b.rs", "d.sh", "run"]);
}

#[test]
fn the_sdk_outside_its_room_is_refused() {
    let text = "// aws_sdk_sqs in prose is fine\nuse aws_sdk_sqs::Client;\nfn f() { aws_config::load(); }";
    let tree = Tree::of(&[("shared/aws/src/queue.rs", text), ("shared/engine/src/write.rs", text)]);
    assert_eq!(
        places(aws(&tree)),
        [("shared/engine/src/write.rs".into(), 2), ("shared/engine/src/write.rs".into(), 3)]
    );
}

#[test]
fn reading_the_environment_elsewhere_is_refused() {
    let text = "fn f() {\n  std::env::var(\"A\");\n  env::args();\n  env!(\"CARGO\");\n}\nuse std::env::{temp_dir, var_os};\n#[cfg(test)]\nmod t { fn g() { std::env::var(\"A\"); } }";
    let tree = Tree::of(&[
        ("shared/aws/src/settings.rs", text),
        ("tests/support/postgres.rs", text),
        ("functions/local/src/main.rs", text),
    ]);
    let main = || "functions/local/src/main.rs".to_string();
    assert_eq!(places(environment(&tree)), [(main(), 2), (main(), 6)]);
}

#[test]
fn moving_a_checksum_elsewhere_is_refused() {
    let text = "use domain::bucket::EntryWrite;\nfn f() { vec![EntryWrite::Removed]; }\nuse domain::bucket::EntryWrite::{self, Accepted};\nuse EntryWrite::*;\nuse EntryWrite as E;\nfn g() { EntryWrite::ClearFailure; }";
    let tree = Tree::of(&[
        ("shared/engine/src/commit.rs", text),
        ("shared/embedded/src/state.rs", text),
        ("shared/engine/src/write.rs", text),
    ]);
    assert_eq!(places(checksums(&tree)), [2, 3, 4, 5].map(|line| ("shared/engine/src/write.rs".to_string(), line)));
}
