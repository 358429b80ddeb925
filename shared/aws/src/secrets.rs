//! Secrets by reference: Secrets Manager, the Parameter Store of Systems Manager, the function's environment. Kept in
//! memory for a few minutes, so that a warm function does not ask at every message; never written anywhere.
//!
//! `${secret:name}` and `${secret:arn:aws:secretsmanager:…}` are secrets of Secrets Manager, `${secret:/path}` and
//! `${secret:arn:aws:ssm:…}` parameters, decrypted; `#field` after either takes one field of a JSON object.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use domain::config::Reference;
use domain::config::SecretSource;
use domain::fault::{Code, Fault};
use serde_json::Value;

use crate::Clients;
use crate::failure::{AwsFailure, AwsFailureKind};
use crate::settings::variable;

/// How long a secret is kept: what a rotation takes at most to be seen when nothing is refused.
pub const KEPT: Duration = Duration::from_secs(5 * 60);

/// Where references to secrets lead on AWS.
pub struct AwsSecrets {
    clients: Clients,
    cache: Mutex<Cache>,
}

impl AwsSecrets {
    /// Secrets in the account and region of these clients.
    pub fn new(clients: &Clients) -> Self {
        Self { clients: clients.clone(), cache: Mutex::new(Cache { kept: KEPT, values: HashMap::new() }) }
    }

    /// The same, kept for another time.
    pub fn kept_for(self, time: Duration) -> Self {
        self.cache().kept = time;
        self
    }

    /// Forgets every value: the next one asked for is read anew. For after a refusal, when a secret may have been
    /// rotated.
    pub fn forget(&self) {
        self.cache().values.clear();
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        // Nothing between lock and release can panic half-way through a change.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn text(&self, reference: &Reference, place: &SecretPlace) -> Result<Arc<str>, Fault> {
        if let Some(text) = self.cache().get(place, Instant::now()) {
            return Ok(text);
        }
        let read = match place {
            SecretPlace::Secret(name) => {
                let answer = self.clients.secrets_manager().get_secret_value().secret_id(name).send().await;
                answer.map_err(|e| refused(reference, place, &AwsFailure::of(&e)))?.secret_string
            }
            SecretPlace::Parameter(name) => {
                let answer = self.clients.ssm().get_parameter().name(name).with_decryption(true).send().await;
                answer
                    .map_err(|e| refused(reference, place, &AwsFailure::of(&e)))?
                    .parameter
                    .and_then(|parameter| parameter.value)
            }
        };
        let text: Arc<str> = read
            .ok_or_else(|| {
                fault(
                    format!("{place}, which a connection refers to as {reference}, holds bytes and no text."),
                    "Store it as text (a secret string).",
                )
            })?
            .into();
        self.cache().keep(place.clone(), Arc::clone(&text), Instant::now());
        Ok(text)
    }
}

#[async_trait]
impl SecretSource for AwsSecrets {
    async fn get(&self, reference: &Reference) -> Result<String, Fault> {
        match reference {
            Reference::Env(name) => variable(name).ok_or_else(|| {
                let what = format!("The environment variable {name} of this function is not set; a connection refers to it as {reference}.");
                fault(what, format!("Keep it in Secrets Manager and refer to it as `${{secret:name#field}}`, or set {name} in the function's environment."))
            }),
            Reference::Secret { name, field } => {
                let place = SecretPlace::of(name);
                let text = self.text(reference, &place).await?;
                match field {
                    None => Ok(text.to_string()),
                    Some(field) => pick(&text, field).map_err(|what| {
                        fault(format!("{place}, which a connection refers to as {reference}, {what}."), "Correct the secret or the reference, then run again.")
                    }),
                }
            }
        }
    }
}

/// Where a secret is kept.
#[derive(Clone, PartialEq, Eq, Hash)]
enum SecretPlace {
    Secret(String),
    Parameter(String),
}

impl SecretPlace {
    fn of(name: &str) -> Self {
        let parameter = name.starts_with('/') || name.starts_with("arn:") && name.split(':').nth(2) == Some("ssm");
        if parameter { SecretPlace::Parameter(name.into()) } else { SecretPlace::Secret(name.into()) }
    }

    /// The permission that reading it takes.
    fn permission(&self) -> &'static str {
        match self {
            SecretPlace::Secret(_) => "secretsmanager:GetSecretValue",
            SecretPlace::Parameter(_) => "ssm:GetParameter",
        }
    }
}

impl fmt::Display for SecretPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretPlace::Secret(name) => write!(f, "The secret `{name}` of Secrets Manager"),
            SecretPlace::Parameter(name) => write!(f, "The parameter `{name}` of Systems Manager"),
        }
    }
}

/// Values with the time they were read at.
struct Cache {
    kept: Duration,
    values: HashMap<SecretPlace, (Instant, Arc<str>)>,
}

impl Cache {
    fn get(&self, place: &SecretPlace, now: Instant) -> Option<Arc<str>> {
        let (read, text) = self.values.get(place)?;
        (now.saturating_duration_since(*read) < self.kept).then(|| Arc::clone(text))
    }

    fn keep(&mut self, place: SecretPlace, text: Arc<str>, now: Instant) {
        self.values.insert(place, (now, text));
    }
}

/// A field of a secret that is a JSON object, as text. The error says what is wrong and nothing of the value.
fn pick(text: &str, field: &str) -> Result<String, String> {
    let whole: Value =
        serde_json::from_str(text).map_err(|_| format!("is not a JSON object, so it has no field `{field}`"))?;
    let object = whole.as_object().ok_or_else(|| format!("is not a JSON object, so it has no field `{field}`"))?;
    match object.get(field) {
        None | Some(Value::Null) => Err(format!("has no field `{field}`")),
        Some(Value::String(value)) => Ok(value.clone()),
        Some(other) => Ok(other.to_string()),
    }
}

/// The fault of a read that AWS refused.
fn refused(reference: &Reference, place: &SecretPlace, failure: &AwsFailure) -> Fault {
    let whom = format!("{place}, which a connection refers to as {reference},");
    let (SecretPlace::Secret(name) | SecretPlace::Parameter(name)) = place;
    let permission = place.permission();
    match (failure.kind, place) {
        (AwsFailureKind::Missing, SecretPlace::Secret(_)) => fault(
            format!("{whom} does not exist, or has no value yet, in this account and region ({failure})."),
            format!(
                "Create it in the stack's region: aws secretsmanager create-secret --name {name} --secret-string file://…, then run again. Nothing was sent."
            ),
        ),
        (AwsFailureKind::Missing, SecretPlace::Parameter(_)) => fault(
            format!("{whom} does not exist in this account and region ({failure})."),
            format!(
                "Create it in the stack's region: aws ssm put-parameter --name {name} --type SecureString --value file://…, then run again. Nothing was sent."
            ),
        ),
        (AwsFailureKind::Denied, _) => fault(
            format!("{whom} may not be read by this function ({failure})."),
            format!(
                "Allow the function's role {permission} on it: name it among the stack's secrets and deploy the stack again. Nothing was sent."
            ),
        ),
        (AwsFailureKind::Key, _) => fault(
            format!("{whom} cannot be decrypted ({failure})."),
            "Allow the function's role kms:Decrypt on the key that encrypts it, and check that the key is enabled. Nothing was sent.",
        ),
        (AwsFailureKind::Throttled | AwsFailureKind::Unreachable, _) => fault(
            format!("{whom} could not be read now ({failure})."),
            "Run again; if it stays so, check that the function reaches the service (a VPC needs an endpoint).",
        ),
        (AwsFailureKind::Other, _) => fault(
            format!("{whom} cannot be read ({failure})."),
            "Look at it in the console: it may be marked for deletion. Nothing was sent.",
        ),
    }
}

fn fault(what: String, next: impl Into<String>) -> Fault {
    Fault::new(Code::SecretMissing, what).with_next(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(name: &str, field: Option<&str>) -> Reference {
        Reference::Secret { name: name.into(), field: field.map(Into::into) }
    }

    #[test]
    fn a_field_of_an_object_is_picked() {
        let text = r#"{"token":"planted-secret","port":5432,"on":true,"key":{"a":1},"none":null}"#;
        assert_eq!(pick(text, "token").as_deref(), Ok("planted-secret"));
        assert_eq!(pick(text, "port").as_deref(), Ok("5432"));
        assert_eq!(pick(text, "on").as_deref(), Ok("true"));
        assert_eq!(pick(text, "key").as_deref(), Ok(r#"{"a":1}"#));
        for (text, field, what) in [
            (text, "none", "has no field `none`"),
            (text, "x", "has no field `x`"),
            ("planted-secret", "x", "not a JSON object"),
            ("[1]", "x", "not a JSON object"),
        ] {
            let said = pick(text, field).unwrap_err();
            assert!(said.contains(what) && !said.contains("planted"), "{said}");
        }
    }

    #[test]
    fn names_lead_to_their_service() {
        assert!(matches!(SecretPlace::of("crm"), SecretPlace::Secret(_)));
        assert!(matches!(
            SecretPlace::of("arn:aws:secretsmanager:eu-west-1:1:secret:crm-a1b2c3"),
            SecretPlace::Secret(_)
        ));
        assert!(matches!(SecretPlace::of("/crm/token"), SecretPlace::Parameter(_)));
        assert!(matches!(SecretPlace::of("arn:aws:ssm:eu-west-1:1:parameter/crm/token"), SecretPlace::Parameter(_)));
    }

    #[test]
    fn a_value_is_kept_for_its_time_and_no_longer() {
        let mut cache = Cache { kept: KEPT, values: HashMap::new() };
        let (place, read) = (SecretPlace::of("crm"), Instant::now());
        assert!(cache.get(&place, read).is_none());
        cache.keep(place.clone(), "planted-secret".into(), read);
        assert_eq!(cache.get(&place, read + KEPT - Duration::from_millis(1)).as_deref(), Some("planted-secret"));
        assert!(cache.get(&place, read + KEPT).is_none());
        assert!(cache.get(&SecretPlace::of("/crm"), read).is_none());
    }

    #[test]
    fn a_refusal_names_the_reference_the_error_and_what_to_do() {
        let denied = Some("User u is not authorized to perform: secretsmanager:GetSecretValue on resource: crm");
        for (code, words, name, parts) in [
            (
                "ResourceNotFoundException",
                None,
                "crm",
                ["does not exist", "aws secretsmanager create-secret --name crm", "ResourceNotFoundException"],
            ),
            (
                "ParameterNotFound",
                None,
                "/crm/token",
                ["does not exist", "aws ssm put-parameter --name /crm/token", "ParameterNotFound"],
            ),
            (
                "AccessDeniedException",
                denied,
                "crm",
                ["User u is not authorized", "secretsmanager:GetSecretValue on it", "AccessDeniedException"],
            ),
            (
                "AccessDeniedException",
                None,
                "/crm/token",
                ["may not be read", "ssm:GetParameter on it", "AccessDeniedException"],
            ),
            ("DecryptionFailure", None, "crm", ["cannot be decrypted", "kms:Decrypt", "DecryptionFailure"]),
            (
                "InvalidRequestException",
                None,
                "crm",
                ["cannot be read", "marked for deletion", "InvalidRequestException"],
            ),
            ("ThrottlingException", None, "crm", ["could not be read now", "Run again", "ThrottlingException"]),
        ] {
            let fault =
                refused(&reference(name, Some("token")), &SecretPlace::of(name), &AwsFailure::said(Some(code), words));
            let text = fault.to_string();
            assert_eq!(fault.code, Code::SecretMissing);
            assert!(
                text.contains(&format!("${{secret:{name}#token}}")) && parts.iter().all(|part| text.contains(part)),
                "{text}"
            );
        }
    }
}
