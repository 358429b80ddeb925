//! Keys that a test makes for itself, with `openssl`.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test without its keys is a test that cannot run")]

use std::io::Write as _;
use std::process::{Command, Stdio};

/// What `openssl` prints for these arguments and this input.
pub fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl is installed");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}");
    output.stdout
}

/// A fresh RSA key in PKCS#1 PEM, and its public half as PKCS#1 DER.
pub fn rsa_key() -> (String, Vec<u8>) {
    let pem = openssl(&["genrsa", "-traditional", "2048"], b"");
    let public = openssl(&["rsa", "-RSAPublicKey_out", "-outform", "DER"], &pem);
    (String::from_utf8(pem).unwrap(), public)
}
