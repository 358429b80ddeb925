//! The real `sluice` binary, built once, and what a run of it gave. For tests of what a person sees.

#![allow(clippy::expect_used, reason = "a test without the binary is a test that cannot run")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The binary, built with the profile and into the folder of the test that asks.
pub fn sluice() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(build)
}

fn build() -> PathBuf {
    // The test is TARGET/PROFILE/deps/NAME-HASH, the binary TARGET/PROFILE/sluice.
    let test = std::env::current_exe().expect("the test's own path");
    let folder = test.ancestors().nth(2).expect("a folder above deps");
    let name = folder.file_name().and_then(|n| n.to_str()).expect("a profile's folder");
    let profile = if name == "debug" { "dev" } else { name };
    let mut cargo = Command::new(env!("CARGO"));
    // As `cargo test --workspace` builds it, for the test of its own package: with other features, everything below it
    // would be built a second time.
    cargo.args([
        "test",
        "--quiet",
        "--workspace",
        "--test",
        "demo",
        "--no-run",
        "--profile",
        if profile == "dev" { "test" } else { profile },
    ]);
    cargo.arg("--target-dir").arg(folder.parent().expect("a target folder"));
    // What cargo tells a test of its crate would be news to build scripts that look at it: they would run again, and
    // everything above them be built anew, at every change between a test and a build.
    let told = |name: &str| {
        ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_", "CARGO_BIN_"].iter().any(|of| name.starts_with(of))
    };
    for name in std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).filter(|name| told(name)) {
        cargo.env_remove(name);
    }
    let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null()).output().expect("cargo starts");
    assert!(built.status.success(), "sluice does not build:\n{}", String::from_utf8_lossy(&built.stderr));
    let binary = folder.join(format!("sluice{}", std::env::consts::EXE_SUFFIX));
    assert!(binary.is_file(), "cargo built no {}", binary.display());
    binary
}

/// What a run of the binary came to.
#[derive(Debug)]
pub struct Said {
    /// The exit code; -1 when a signal ended it.
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    /// Waits for the end of a process that was started with both outputs piped.
    pub fn of(process: std::process::Child) -> Self {
        let output = process.wait_with_output().expect("the process ends");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Panics unless it ended with this code and standard error holds every part.
    #[track_caller]
    pub fn failed(&self, code: i32, parts: &[&str]) -> &Self {
        assert_eq!(self.code, code, "{self:#?}");
        for part in parts {
            assert!(self.err.contains(part), "standard error does not hold `{part}`:\n{}", self.err);
        }
        self
    }

    /// Panics unless it ended with this code and standard output holds every part.
    #[track_caller]
    pub fn said(&self, code: i32, parts: &[&str]) -> &Self {
        assert_eq!(self.code, code, "{self:#?}");
        for part in parts {
            assert!(self.out.contains(part), "standard output does not hold `{part}`:\n{}", self.out);
        }
        self
    }

    /// Standard output as one JSON value.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("the output is no JSON ({e}): {self:#?}"))
    }
}
