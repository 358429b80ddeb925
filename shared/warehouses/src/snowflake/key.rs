//! The user's key: read from PEM, and the tokens that are signed with it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clients::jwt;
use domain::clock::Millis;
use pkcs8::EncryptedPrivateKeyInfoRef;
use ring::signature::RsaKeyPair;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// A signed token lives this long; Snowflake takes at most an hour.
/// <https://docs.snowflake.com/en/developer-guide/sql-api/authenticating>
pub(super) const LIFE_SECONDS: i64 = 59 * 60;

/// The key of one user. Prints nothing.
pub(super) struct SigningKey {
    key: RsaKeyPair,
    /// `ACCOUNT.USER`
    subject: String,
    /// `ACCOUNT.USER.SHA256:…`
    issuer: String,
}

impl SigningKey {
    /// Reads a key in PEM. The error is the end of a sentence and repeats nothing of the key.
    pub(super) fn read(account: &str, user: &str, pem: &str, passphrase: Option<&str>) -> Result<Self, String> {
        let key = rsa(pem, passphrase)?;
        let account = account_in_tokens(account);
        let subject = format!("{account}.{}", user.to_uppercase());
        let issuer = format!("{subject}.SHA256:{}", fingerprint(key.public().as_ref()));
        Ok(Self { key, subject, issuer })
    }

    /// A token for now.
    pub(super) fn token(&self, now: Millis) -> Result<String, String> {
        let issued = now.0 / 1000;
        let claims = json!({ "iss": self.issuer, "sub": self.subject, "iat": issued, "exp": issued + LIFE_SECONDS });
        jwt::sign(&self.key, None, &claims).ok_or_else(|| "a token cannot be signed with `private_key`".to_owned())
    }
}

/// The account as tokens name it: in capitals, without the region that a locator may carry.
/// <https://docs.snowflake.com/en/developer-guide/sql-api/authenticating>
fn account_in_tokens(account: &str) -> String {
    let end = if account.contains(".global") { account.find('-') } else { account.find('.') };
    account[..end.unwrap_or(account.len())].to_uppercase()
}

fn rsa(pem: &str, passphrase: Option<&str>) -> Result<RsaKeyPair, String> {
    // Secret stores often keep one line, and editors of other systems end lines with two characters.
    let pem = pem.replace("\\n", "\n").replace('\r', "");
    if !pem.contains("-----BEGIN") {
        return Err("the private key is not in PEM: it begins with `-----BEGIN PRIVATE KEY-----` or `-----BEGIN ENCRYPTED PRIVATE KEY-----`".into());
    }
    if pem.contains("BEGIN PUBLIC KEY") {
        return Err("the private key is a public key: give the file that has `PRIVATE KEY` in its first line".into());
    }
    if pem.contains("BEGIN OPENSSH PRIVATE KEY") || pem.contains("BEGIN EC PRIVATE KEY") {
        return Err("the private key is not an RSA key in PKCS#8; make one with `openssl genrsa 2048 | openssl pkcs8 -topk8 -nocrypt -out key.p8`, and give its public half to the user: ALTER USER … SET RSA_PUBLIC_KEY='…'".into());
    }
    let unusable = |why: &dyn std::fmt::Display| {
        format!("the private key cannot be used ({why}): it is to be an RSA key of 2048 bits or more, in PKCS#8")
    };
    if pem.contains("BEGIN ENCRYPTED PRIVATE KEY") {
        let Some(passphrase) = passphrase else {
            return Err("the private key is encrypted, and `private_key_passphrase` is missing".into());
        };
        let der =
            between_lines(&pem).ok_or_else(|| "the private key is damaged: its lines are no base64".to_owned())?;
        let encrypted = EncryptedPrivateKeyInfoRef::try_from(der.as_slice()).map_err(|e| unusable(&e))?;
        // A wrong passphrase gives bytes that are no key; other errors say what is not supported.
        let opened = encrypted.decrypt(passphrase).map_err(|e| {
            format!("the private key cannot be opened with `private_key_passphrase`: it is another one, or the key is encrypted in a way that is not known here ({e})")
        })?;
        return RsaKeyPair::from_pkcs8(opened.as_bytes()).map_err(|e| unusable(&e));
    }
    if passphrase.is_some() && pem.contains("Proc-Type: 4,ENCRYPTED") {
        return Err("the private key is encrypted the old way (PKCS#1); convert it: openssl pkcs8 -topk8 -in old.pem -out key.p8".into());
    }
    match PrivateKeyDer::from_pem_slice(pem.as_bytes()) {
        Ok(PrivateKeyDer::Pkcs8(der)) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|e| unusable(&e)),
        Ok(PrivateKeyDer::Pkcs1(der)) => RsaKeyPair::from_der(der.secret_pkcs1_der()).map_err(|e| unusable(&e)),
        Ok(_) => Err(unusable(&"no RSA key")),
        Err(_) => Err("the private key is damaged: a line is missing or is no base64".into()),
    }
}

/// The bytes of a PEM text's only section.
fn between_lines(pem: &str) -> Option<Vec<u8>> {
    let body: String = pem.lines().map(str::trim).filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(body).ok()
}

/// The base64 of the SHA-256 of a public key, as `DESC USER` shows it. `key` is an `RSAPublicKey`; hashed is the
/// `SubjectPublicKeyInfo` around it.
fn fingerprint(key: &[u8]) -> String {
    // SEQUENCE { OID rsaEncryption, NULL }, RFC 8017 appendix A.1.
    const RSA: [u8; 15] = [0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
    let mut bits = vec![0];
    bits.extend_from_slice(key);
    let mut inner = RSA.to_vec();
    inner.extend(der(3, &bits));
    STANDARD.encode(Sha256::digest(der(0x30, &inner)))
}

/// A DER element.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = vec![tag];
    match u8::try_from(length) {
        Ok(short @ 0..=0x7f) => out.push(short),
        _ => {
            let bytes: Vec<u8> = length.to_be_bytes().into_iter().skip_while(|b| *b == 0).collect();
            out.push(0x80 | bytes.len() as u8);
            out.extend(bytes);
        }
    }
    out.extend_from_slice(content);
    out
}
