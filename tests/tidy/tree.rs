//! The files a rule looks at, read from a folder or written in a test, and Rust files as tokens.
//! Knows nothing of any rule.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::fmt;
use std::path::Path;
use std::{fs, io};

/// A file: its path from the top, with `/`, and its text (empty when it is not UTF-8).
pub struct File {
    pub path: String,
    pub text: String,
}

impl File {
    /// The folder of the file, without a slash at the end; empty at the top.
    pub fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// The name within the folder.
    pub fn name(&self) -> &str {
        self.path.rsplit_once('/').map_or(&self.path, |(_, name)| name)
    }

    /// A breach at a line of this file.
    pub fn breach(&self, line: usize, rule: impl Into<String>) -> Breach {
        Breach { path: self.path.clone(), line, rule: rule.into() }
    }

    /// The tokens, and none when it is not Rust: the compiler says that better.
    pub fn tokens(&self) -> Vec<Token> {
        let mut out = Vec::new();
        if let Ok(stream) = self.text.parse::<TokenStream>() {
            flatten(stream, &mut out);
        }
        out
    }

    /// The tokens without items behind `#[cfg(test)]`.
    pub fn product_tokens(&self) -> Vec<Token> {
        const TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
        let tokens = self.tokens();
        let (mut out, mut at) = (Vec::new(), 0);
        while at < tokens.len() {
            if starts(&tokens[at..], &TEST) {
                at += TEST.len() + item_length(&tokens[at + TEST.len()..]);
            } else {
                out.push(tokens[at].clone());
                at += 1;
            }
        }
        out
    }
}

/// A set of files, sorted by path.
pub struct Tree {
    pub files: Vec<File>,
}

impl Tree {
    /// A tree written out in a test.
    pub fn of(files: &[(&str, &str)]) -> Self {
        Self::sorted(files.iter().map(|(path, text)| File { path: (*path).into(), text: (*text).into() }).collect())
    }

    /// Everything below a folder, except what tools write there.
    pub fn read(top: &Path) -> io::Result<Self> {
        let mut files = Vec::new();
        collect(top, "", &mut files)?;
        Ok(Self::sorted(files))
    }

    fn sorted(mut files: Vec<File>) -> Self {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Self { files }
    }

    /// The file of a path.
    pub fn get(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|f| f.path == path)
    }

    pub fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|f| f.path.ends_with(".rs"))
    }

    /// The files below a folder given with its slash.
    pub fn under<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = &'a File> {
        self.files.iter().filter(move |f| f.path.starts_with(folder))
    }

    /// True when a file or a folder of that path exists.
    pub fn holds(&self, path: &str) -> bool {
        path.is_empty()
            || self
                .files
                .iter()
                .any(|f| f.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    }
}

fn collect(folder: &Path, prefix: &str, out: &mut Vec<File>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type()?;
        if kind.is_dir() {
            let skipped =
                matches!(name.as_str(), ".git" | "target" | "node_modules" | ".sluice" | "cdk.out" | ".aws-sam");
            if !skipped {
                collect(&entry.path(), &format!("{prefix}{name}/"), out)?;
            }
        } else if kind.is_file() {
            let text = String::from_utf8(fs::read(entry.path())?).unwrap_or_default();
            out.push(File { path: format!("{prefix}{name}"), text });
        }
    }
    Ok(())
}

/// A place where a rule is broken.
#[derive(Debug, PartialEq, Eq)]
pub struct Breach {
    pub path: String,
    pub line: usize,
    pub rule: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.rule)
    }
}

/// Fails with every breach on a line of its own.
#[track_caller]
pub fn report(breaches: &[Breach]) {
    let lines: Vec<String> = breaches.iter().map(Breach::to_string).collect();
    assert!(lines.is_empty(), "{} broken rule(s):\n{}", lines.len(), lines.join("\n"));
}

/// One token, or one end of a group.
#[derive(Clone)]
pub struct Token {
    pub text: String,
    pub line: usize,
}

impl Token {
    /// The value of a string literal without escapes.
    pub fn string(&self) -> Option<&str> {
        self.text.strip_prefix('"')?.strip_suffix('"')
    }
}

fn flatten(stream: TokenStream, out: &mut Vec<Token>) {
    for tree in stream {
        let line = tree.span().start().line;
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                out.push(Token { text: open.into(), line });
                flatten(group.stream(), out);
                out.push(Token { text: close.into(), line: group.span_close().start().line });
            }
            other => out.push(Token { text: other.to_string(), line }),
        }
    }
}

/// True when the tokens begin with these texts.
pub fn starts(tokens: &[Token], texts: &[&str]) -> bool {
    tokens.len() >= texts.len() && tokens.iter().zip(texts).all(|(token, text)| token.text == *text)
}

/// The number of tokens up to the end of the group that opens at the first token.
pub fn group_length(tokens: &[Token]) -> usize {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

/// The number of tokens of one item: up to its `;`, its `,` (a field or variant) or the end of its braces.
fn item_length(tokens: &[Token]) -> usize {
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at].text.as_str() {
            ";" | "," => return at + 1,
            ")" | "]" | "}" => return at,
            "{" => return at + group_length(&tokens[at..]),
            "(" | "[" => at += group_length(&tokens[at..]),
            _ => at += 1,
        }
    }
    at
}

#[test]
fn a_tree_knows_its_files_and_folders() {
    let tree = Tree::of(&[("b/c.rs", ""), ("a", "")]);
    assert!(tree.holds("b") && tree.holds("b/c.rs") && tree.holds("a"));
    assert!(!tree.holds("b/c") && !tree.holds("c.rs"));
}

#[test]
fn a_folder_is_read_without_what_tools_write() -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    fs::create_dir_all(folder.path().join("target/debug"))?;
    fs::create_dir_all(folder.path().join("src"))?;
    fs::write(folder.path().join("target/debug/x.rs"), "")?;
    fs::write(folder.path().join("src/lib.rs"), "//! x")?;
    fs::write(folder.path().join("picture"), [0xff, 0xfe])?;
    let tree = Tree::read(folder.path())?;
    let seen: Vec<_> = tree.files.iter().map(|f| (f.path.as_str(), f.text.as_str())).collect();
    assert_eq!(seen, [("picture", ""), ("src/lib.rs", "//! x")]);
    Ok(())
}

#[test]
fn product_tokens_leave_out_tests_only() {
    let tree = Tree::of(&[(
        "a.rs",
        "fn a() {}\n#[cfg(test)]\nmod tests { fn b() {} }\nfn c() {}\n#[cfg(test)]\nuse d;\nfn e() {}",
    )]);
    let names: Vec<String> =
        tree.files[0].product_tokens().into_iter().filter(|t| "abcde".contains(&t.text)).map(|t| t.text).collect();
    assert_eq!(names, ["a", "c", "e"]);
}
