//! Rules on names: a type's name stands for one thing in the whole house, and a bound is called `MAX_` with its unit.

use std::collections::BTreeMap;

use crate::tree::{Breach, File, Token, Tree};

/// Names that every connector has for itself, so that one who knows one file finds the way in the next.
const IN_EACH_CONNECTOR: [&str; 2] = ["Config", "Options"];

/// Product code: what is built into the command and the functions, and the doubles.
fn product(tree: &Tree) -> impl Iterator<Item = &File> {
    tree.rust().filter(|f| {
        (f.path.starts_with("shared/") || f.path.starts_with("functions/"))
            && f.path.contains("/src/")
            && f.name() != "tests.rs"
    })
}

/// No two types of the workspace share a name: a reader who meets one need not ask which.
pub fn once(tree: &Tree) -> Vec<Breach> {
    let mut places: BTreeMap<String, Vec<(&File, usize)>> = BTreeMap::new();
    for file in product(tree) {
        for (name, line) in types(&file.product_tokens()) {
            places.entry(name).or_default().push((file, line));
        }
    }
    places.retain(|name, found| found.len() > 1 && !IN_EACH_CONNECTOR.contains(&name.as_str()));
    let breach = |(name, found): (String, Vec<(&File, usize)>)| {
        let others: Vec<&str> = found[..found.len() - 1].iter().map(|(file, _)| file.path.as_str()).collect();
        let (last, line) = found[found.len() - 1];
        last.breach(
            line,
            format!("`{name}` is the name of another type, too ({}): say what this one is", others.join(", ")),
        )
    };
    places.into_iter().map(breach).collect()
}

/// `MAX_BODY_BYTES`, and not `MOST` or `BODY_AT_MOST`.
pub fn bounds(tree: &Tree) -> Vec<Breach> {
    let mut out = Vec::new();
    for file in product(tree) {
        let tokens = file.product_tokens();
        for pair in tokens.windows(2).filter(|pair| matches!(pair[0].text.as_str(), "const" | "static")) {
            let name = &pair[1].text;
            if name.starts_with("MOST") || name.ends_with("_AT_MOST") || name == "LOOKS" || name == "TRIES" {
                out.push(file.breach(
                    pair[1].line,
                    format!("`{name}`: a bound is called MAX_ and its unit, as in MAX_BODY_BYTES"),
                ));
            }
        }
    }
    out
}

/// A test's name is a sentence, and one that can be read in one breath.
const MAX_WORDS: usize = 12;

/// What a test shows fits into twelve words; where it does not, it is two tests.
pub fn tests(tree: &Tree) -> Vec<Breach> {
    let mut out = Vec::new();
    for file in tree.rust() {
        let tokens = file.tokens();
        let named = tokens.windows(2).filter(|pair| pair[0].text == "fn" && is_test(&tokens, pair[0].line));
        for (name, line) in named.map(|pair| (&pair[1].text, pair[1].line)) {
            let words = name.split('_').count();
            if words > MAX_WORDS {
                out.push(file.breach(
                    line,
                    format!("`{name}` has {words} words: say it in {MAX_WORDS}, or make two tests of it"),
                ));
            }
        }
    }
    out
}

/// True when the function of this line is one that cargo runs: `#[test]` or `#[tokio::test]` stands in the lines
/// before.
fn is_test(tokens: &[Token], line: usize) -> bool {
    let near = tokens.iter().filter(|token| token.line < line && token.line + 3 >= line);
    near.clone().any(|token| token.text == "test") && near.clone().any(|token| token.text == "#")
}

/// The types that a file defines, each with its line. Types that belong to a trait are named by it.
fn types(tokens: &[Token]) -> Vec<(String, usize)> {
    let defines = |pair: &&[Token]| matches!(pair[0].text.as_str(), "struct" | "enum" | "trait" | "union");
    let named = |pair: &[Token]| (pair[1].text.clone(), pair[1].line);
    tokens
        .windows(2)
        .filter(defines)
        .map(named)
        .filter(|(name, _)| name.starts_with(|c: char| c.is_ascii_uppercase()))
        .collect()
}

#[test]
fn a_name_of_two_types_is_refused() {
    let tree = Tree::of(&[
        ("shared/a/src/lib.rs", "pub struct Page;\nenum Held { A }\nstruct Config;"),
        (
            "shared/b/src/x.rs",
            "// struct Page\nstruct Config;\nconst S: &str = \"struct Page\";\n\ntrait Held {}\n#[cfg(test)]\nmod t { struct Page; }",
        ),
        ("tests/flow/main.rs", "struct Page;"),
    ]);
    let found: Vec<_> = once(&tree).into_iter().map(|b| (b.path, b.line)).collect();
    assert_eq!(found, [("shared/b/src/x.rs".to_string(), 5)]);
}

#[test]
fn a_bound_without_its_word_is_refused() {
    let tree = Tree::of(&[(
        "shared/a/src/lib.rs",
        "const MOST: u8 = 1;\nconst MAX_BYTES: u8 = 1;\npub(crate) const TEXT_AT_MOST: u8 = 1;\nfn f() { let MOST_X = 1; }",
    )]);
    assert_eq!(bounds(&tree).into_iter().map(|b| b.line).collect::<Vec<_>>(), [1, 3]);
}

#[test]
fn a_long_name_of_a_test_is_refused() {
    let long = "a_b_c_d_e_f_g_h_i_j_k_l_m";
    let text = format!("#[tokio::test]\nasync fn {long}() {{}}\n\n\n\n\nfn {long}() {{}}\n#[test]\nfn a_b() {{}}");
    let tree = Tree::of(&[("tests/a.rs", &text)]);
    assert_eq!(tests(&tree).into_iter().map(|b| b.line).collect::<Vec<_>>(), [2]);
}
