//! Settings of connections: secrets by reference, rates, and how a connector reads its own part.

use std::fmt;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::clock::Span;
use crate::fault::{Code, Fault};
use async_trait::async_trait;

/// Where references to secrets lead.
#[async_trait]
pub trait SecretSource: Send + Sync {
    /// The secret. The fault names the reference, never a value.
    async fn get(&self, reference: &Reference) -> Result<String, Fault>;
}

/// Where a secret is kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reference {
    /// `${env:NAME}`
    Env(String),
    /// `${secret:name#field}` or `${secret:name}`
    Secret {
        /// Name of the secret in the secret store.
        name: String,
        /// A field of it, when it is a JSON object.
        field: Option<String>,
    },
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Env(name) => write!(f, "${{env:{name}}}"),
            Reference::Secret { name, field: Some(field) } => write!(f, "${{secret:{name}#{field}}}"),
            Reference::Secret { name, field: None } => write!(f, "${{secret:{name}}}"),
        }
    }
}

/// A text that may hold references; they are resolved when the connection is opened.
#[derive(Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Setting(String);

/// A text that must hold at least one reference: a secret is never written into a file.
/// It prints as its reference, never as its value.
#[derive(Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Secret(Setting);

/// A piece of a text with references.
enum SettingPiece<'a> {
    Plain(&'a str),
    Reference(Reference),
}

fn pieces(text: &str) -> Result<Vec<SettingPiece<'_>>, String> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        if start > 0 {
            out.push(SettingPiece::Plain(&rest[..start]));
        }
        let end = rest[start..].find('}').ok_or("a reference that begins with `${` has no closing `}`")? + start;
        let inner = &rest[start + 2..end];
        let reference = match inner.split_once(':') {
            Some(("env", name)) if !name.is_empty() => Reference::Env(name.to_owned()),
            Some(("secret", name)) if !name.is_empty() => match name.split_once('#') {
                Some((name, field)) => Reference::Secret { name: name.to_owned(), field: Some(field.to_owned()) },
                None => Reference::Secret { name: name.to_owned(), field: None },
            },
            _ => {
                return Err(format!(
                    "`${{{inner}}}` is not a reference; write `${{env:NAME}}` or `${{secret:name#field}}`"
                ));
            }
        };
        out.push(SettingPiece::Reference(reference));
        rest = &rest[end + 1..];
    }
    if !rest.is_empty() {
        out.push(SettingPiece::Plain(rest));
    }
    Ok(out)
}

impl Setting {
    /// A setting from text; the error is a sentence.
    pub fn new(text: impl Into<String>) -> Result<Self, String> {
        let text = text.into();
        pieces(&text)?;
        Ok(Self(text))
    }

    /// The text with every reference replaced by what it refers to.
    pub async fn resolve(&self, secrets: &dyn SecretSource) -> Result<String, Fault> {
        let parts = pieces(&self.0).map_err(|what| Fault::new(Code::ConnectionInvalid, what))?;
        let mut out = String::new();
        for part in parts {
            match part {
                SettingPiece::Plain(text) => out.push_str(text),
                SettingPiece::Reference(reference) => out.push_str(&secrets.get(&reference).await?),
            }
        }
        Ok(out)
    }

    /// The text as written, references unresolved.
    pub fn as_written(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.0.0)
    }
}

impl<'de> Deserialize<'de> for Setting {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Setting::new(String::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Secret::new(String::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}

impl Secret {
    /// A secret from its reference; the error is a sentence and does not repeat the text.
    pub fn new(text: impl Into<String>) -> Result<Self, String> {
        let setting = Setting::new(text)?;
        let has_reference = pieces(&setting.0).is_ok_and(|p| p.iter().any(|p| matches!(p, SettingPiece::Reference(_))));
        if !has_reference {
            return Err(
                "a secret must be a reference such as `${env:NAME}` or `${secret:name#field}`, never the secret itself"
                    .into(),
            );
        }
        Ok(Self(setting))
    }

    /// The secret itself. Keep it out of logs, errors and `Debug`.
    pub async fn resolve(&self, secrets: &dyn SecretSource) -> Result<String, Fault> {
        self.0.resolve(secrets).await
    }
}

/// So many requests in so much time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// How many requests, at least 1.
    pub requests: u32,
    /// In how much time.
    pub per: Span,
}

/// Reads a connector's `Config` out of its connection. `about` names the connection for the message.
pub fn read<T: DeserializeOwned>(about: &str, config: &serde_json::Value) -> Result<T, Fault> {
    T::deserialize(config).map_err(|e| Fault::new(Code::ConnectionInvalid, format!("{about}: {e}.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_a_reference() {
        assert!(Secret::new("${env:TOKEN}").is_ok());
        assert!(Secret::new("Bearer ${secret:crm#token}").is_ok());
        let refused = Secret::new("plain-text").unwrap_err();
        assert!(refused.contains("must be a reference") && !refused.contains("plain-text"));
        assert!(Setting::new("${vault:x}").unwrap_err().contains("not a reference"));
        assert!(Setting::new("${env:x").unwrap_err().contains("no closing"));
    }
}
