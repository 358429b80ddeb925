//! What other people's crates may be: their licences, their origin, and those we do without. The lists are in
//! deny.toml, so that cargo-deny gives the same answer; this needs nothing installed. Advisories are not
//! checked here: their database is on no registry.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use spdx::{Expression, Licensee, ParseMode};
use std::path::Path;
use std::process::Command;
use toml::Table;

/// The lists of deny.toml.
struct Policy {
    licences: Vec<Licensee>,
    banned: Vec<String>,
    registries: Vec<String>,
}

/// Holds deny.toml against every dependency in Cargo.lock: of all kinds, for all platforms.
pub fn hold(top: &Path) -> Result<()> {
    let policy = Policy::read(&std::fs::read_to_string(top.join("deny.toml")).context("deny.toml cannot be read")?)?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let out = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--all-features"])
        .current_dir(top)
        .output()?;
    if !out.status.success() {
        bail!("`cargo metadata --locked` failed: {}", String::from_utf8_lossy(&out.stderr));
    }
    let breaches = policy.check(&serde_json::from_slice(&out.stdout)?);
    if !breaches.is_empty() {
        let lock = std::fs::read_to_string(top.join("Cargo.lock"))?;
        let lines: Vec<String> =
            breaches.iter().map(|(name, rule)| format!("Cargo.lock:{}: {rule}", line(&lock, name))).collect();
        bail!("{} broken rule(s):\n{}", lines.len(), lines.join("\n"));
    }
    Ok(())
}

impl Policy {
    fn read(text: &str) -> Result<Self> {
        let table: Table = text.parse()?;
        let list = |section: &str, key: &str| -> Result<Vec<toml::Value>> {
            let value = table.get(section).and_then(|s| s.get(key)).and_then(toml::Value::as_array);
            value.cloned().with_context(|| format!("deny.toml has no list `{section}.{key}`"))
        };
        let text = |value: toml::Value| -> Result<String> {
            let crate_of = value.get("crate").cloned().unwrap_or(value);
            crate_of.as_str().map(str::to_string).with_context(|| format!("deny.toml: `{crate_of:?}` is not a name"))
        };
        let mut licences = Vec::new();
        for licence in list("licenses", "allow")? {
            let licence = text(licence)?;
            licences.push(
                Licensee::parse(&licence).map_err(|e| anyhow::anyhow!("deny.toml: `{licence}` is no licence: {e}"))?,
            );
        }
        let banned = list("bans", "deny")?.into_iter().map(text).collect::<Result<_>>()?;
        let registries = list("sources", "allow-registry")?.into_iter().map(text).collect::<Result<_>>()?;
        Ok(Self { licences, banned, registries })
    }

    /// The crates that may not be used, each with the rule.
    fn check(&self, metadata: &Value) -> Vec<(String, String)> {
        let empty = Vec::new();
        let list = |key: &str| metadata[key].as_array().unwrap_or(&empty);
        let mut out = Vec::new();
        for package in list("packages") {
            let name = package["name"].as_str().unwrap_or_default();
            let mut refuse = |rule: String| out.push((name.to_string(), rule));
            match package["license"].as_str() {
                None => refuse(format!("`{name}` names no licence")),
                Some(licence) => match self.permits(licence) {
                    Ok(true) => {}
                    Ok(false) => refuse(format!("the licence of `{name}`, {licence}, is not in the list of deny.toml")),
                    Err(e) => refuse(format!("the licence of `{name}`, {licence}, is not understood: {e}")),
                },
            }
            let ours = list("workspace_members").contains(&package["id"]);
            let known = package["source"]
                .as_str()
                .is_some_and(|source| self.registries.iter().any(|r| source.strip_prefix("registry+") == Some(r)));
            if !ours && !known {
                refuse(format!("`{name}` comes from {}, which is not a registry of deny.toml", package["source"]));
            }
            if self.banned.iter().any(|banned| banned == name) {
                refuse(format!("`{name}` is banned in deny.toml"));
            }
        }
        out
    }

    /// Reads an SPDX expression, also in the old way with `/` for OR and with names that were replaced.
    fn permits(&self, licence: &str) -> Result<bool> {
        let expression = Expression::parse_mode(
            licence,
            ParseMode { allow_slash_as_or_operator: true, allow_deprecated: true, ..ParseMode::STRICT },
        )?;
        Ok(expression.evaluate(|wanted| self.licences.iter().any(|allowed| allowed.satisfies(wanted))))
    }
}

fn line(lock: &str, name: &str) -> usize {
    let wanted = format!("name = \"{name}\"");
    lock.lines().position(|l| l == wanted).map_or(1, |at| at + 1)
}

#[cfg(test)]
fn example() -> Policy {
    let text = r#"
        [licenses]
        allow = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "Unicode-3.0"]
        [bans]
        deny = [{ crate = "openssl", use-instead = "rustls" }, "native-tls"]
        [sources]
        allow-registry = ["https://github.com/rust-lang/crates.io-index"]
    "#;
    Policy::read(text).unwrap_or_else(|e| panic!("{e:#}"))
}

#[test]
fn expressions_are_read_properly() -> Result<()> {
    let policy = example();
    let cases = [
        ("MIT", true),
        ("GPL-3.0-only", false),
        ("MIT OR GPL-3.0-only", true),
        ("GPL-3.0-only OR MIT", true),
        ("MIT AND GPL-3.0-only", false),
        ("(MIT OR GPL-3.0-only) AND Unicode-3.0", true),
        ("(MIT OR Apache-2.0) AND MPL-2.0", false),
        ("MIT OR Apache-2.0 AND MPL-2.0", true),
        ("(MIT OR Apache-2.0) AND (MPL-2.0 OR Unicode-3.0)", true),
        ("MIT/Apache-2.0", true),
        ("GPL-2.0 / MIT", true),
        ("GPL-2.0/MPL-2.0", false),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("Apache-2.0 WITH LLVM-exception AND BSD-3-Clause", false),
        ("MIT WITH LLVM-exception", false),
    ];
    for (licence, permitted) in cases {
        assert_eq!(policy.permits(licence)?, permitted, "{licence}");
    }
    assert!(policy.permits("MIT OR").is_err() && policy.permits("Homegrown").is_err());
    Ok(())
}

#[test]
fn strangers_are_refused() {
    let index = "registry+https://github.com/rust-lang/crates.io-index";
    let package = |name: &str, licence: Value, source: Value| serde_json::json!({ "id": name, "name": name, "license": licence, "source": source });
    let metadata = serde_json::json!({
        "workspace_members": ["ours"],
        "packages": [
            package("ours", "MIT OR Apache-2.0".into(), Value::Null),
            package("good", "MIT".into(), index.into()),
            package("viral", "AGPL-3.0-only".into(), index.into()),
            package("silent", Value::Null, index.into()),
            package("odd", "Do what you like".into(), index.into()),
            package("forked", "MIT".into(), "git+https://github.com/somebody/forked?rev=1".into()),
            package("elsewhere", "MIT".into(), "registry+https://index.example/".into()),
            package("vendored", "MIT".into(), Value::Null),
            package("openssl", "Apache-2.0".into(), index.into()),
            package("native-tls", "MIT".into(), index.into()),
        ],
    });
    let refused: Vec<String> = example().check(&metadata).into_iter().map(|(name, _)| name).collect();
    assert_eq!(refused, ["viral", "silent", "odd", "forked", "elsewhere", "vendored", "openssl", "native-tls"]);
}

#[test]
fn a_list_that_is_missing_or_misspelt_is_refused() {
    assert!(Policy::read("[licenses]\nallow = [\"MIT\"]").is_err());
    assert!(Policy::read("[licenses]\nallow = [\"MITT\"]\n[bans]\ndeny = []\n[sources]\nallow-registry = []").is_err());
}

#[test]
fn the_line_is_that_of_the_lock() {
    assert_eq!(line("[[package]]\nname = \"serde_json\"\n\n[[package]]\nname = \"serde\"\n", "serde"), 5);
}
