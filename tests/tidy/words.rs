//! The rule on words: one word has one meaning, and the words that mean nothing here are not used.
//! Only those that are never right in prose of ours are looked for; "job", "item" and "target" are at times the
//! word of somebody else, and left to the reader.

use crate::tree::{Breach, Tree};

/// A word that is not used, and what to say.
const WORDS: [(&str, &str); 3] = [("sink", "destination"), ("pipeline", "sync"), ("payload", "body, record or batch")];

/// Names that others gave, allowed wherever they are needed.
const FOREIGN: [&str; 2] = ["CopyInSink", "SinkExt"];

/// A file that may use a word, and why. An entry that is no longer needed is refused too.
const ALLOWED: [(&str, &str, &str); 6] = [
    ("functions/extractor/src/handler.rs", "payload", "what the runtime of Lambda calls an event"),
    ("functions/writer/src/handler.rs", "payload", "what the runtime of Lambda calls an event"),
    ("shared/aws/src/invoke.rs", "payload", "what the SDK of Lambda calls an event"),
    ("shared/domain/src/cells.rs", "payload", "the bytes of a cell behind its tag; neither a record nor a batch"),
    ("shared/destinations/src/hubspot/preflight.rs", "pipeline", "a property of HubSpot's deals"),
    ("shared/doubles/src/hubspot/portal.rs", "pipeline", "a property of HubSpot's deals"),
];

/// Identifiers and prose of the product use the words of the glossary.
pub fn spoken(tree: &Tree) -> Vec<Breach> {
    check(tree, &ALLOWED)
}

fn check(tree: &Tree, allowed: &[(&str, &str, &str)]) -> Vec<Breach> {
    let mut out = Vec::new();
    let mut used = vec![false; allowed.len()];
    let product = tree
        .rust()
        .filter(|f| (f.path.starts_with("shared/") || f.path.starts_with("functions/")) && f.path.contains("/src/"));
    for file in product {
        for (at, line) in file.text.lines().enumerate() {
            for word in words(line) {
                let Some((banned, instead)) =
                    WORDS.iter().find(|(banned, _)| word == *banned || word.strip_suffix('s') == Some(banned))
                else {
                    continue;
                };
                match allowed.iter().position(|(path, word, _)| *path == file.path && word == banned) {
                    Some(entry) => used[entry] = true,
                    None => out
                        .push(file.breach(at + 1, format!("\"{banned}\" is not a word of this house: say {instead}, or give a reason in tests/tidy/words.rs"))),
                }
            }
        }
    }
    for ((path, word, _), used) in allowed.iter().zip(used) {
        if !used {
            out.extend(tree.get(path).map(|f| {
                f.breach(1, format!("\"{word}\" is no longer used here: take its entry out of tests/tidy/words.rs"))
            }));
        }
    }
    out
}

/// The words of a line in lower case, identifiers taken apart.
fn words(line: &str) -> Vec<String> {
    let mut out = Vec::new();
    for name in line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|name| !FOREIGN.contains(name)) {
        let mut word = String::new();
        for c in name.chars() {
            let boundary = !c.is_ascii_alphabetic()
                || (c.is_ascii_uppercase() && word.ends_with(|last: char| last.is_ascii_lowercase()));
            if boundary && !word.is_empty() {
                out.push(std::mem::take(&mut word).to_lowercase());
            }
            if c.is_ascii_alphabetic() {
                word.push(c);
            }
        }
        out.push(word.to_lowercase());
    }
    out.retain(|word| !word.is_empty());
    out
}

#[test]
fn names_are_taken_apart() {
    assert_eq!(
        words("let mySink_v2 = HTTPPayload::of(\"a pipeline's\");"),
        ["let", "my", "sink", "v", "httppayload", "of", "a", "pipeline", "s"]
    );
}

#[test]
fn a_word_of_another_house_is_refused() {
    let tree = Tree::of(&[
        (
            "shared/engine/src/a.rs",
            "//! Sends the pipeline.\nuse futures_util::SinkExt;\nstruct EventSink;\nfn sinking() {}\nfn f(payloads: u8) {}",
        ),
        ("shared/domain/src/cells.rs", "// the payload\n// the sink"),
        ("tests/support/x.rs", "// a payload"),
        ("functions/local/src/b.rs", "// clean"),
    ]);
    let allowed = [("shared/domain/src/cells.rs", "payload", "x"), ("functions/local/src/b.rs", "sink", "x")];
    let found: Vec<_> = check(&tree, &allowed).into_iter().map(|b| (b.path, b.line)).collect();
    let engine = |line| ("shared/engine/src/a.rs".to_string(), line);
    assert_eq!(
        found,
        [
            ("shared/domain/src/cells.rs".into(), 2),
            engine(1),
            engine(3),
            engine(5),
            ("functions/local/src/b.rs".into(), 1)
        ]
    );
}
