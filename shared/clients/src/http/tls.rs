//! Certificates that a connection has beyond those of the system: of an authority of its own, and its own.

use domain::config::SecretSource;
use domain::config::{Secret, Setting};
use domain::fault::{Code, Fault};

/// Read and ready. Prints as nothing.
#[derive(Clone, Default)]
pub struct Certificates {
    trusted: Vec<reqwest::Certificate>,
    own: Option<reqwest::Identity>,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates").field("trusted", &self.trusted.len()).field("own", &self.own.is_some()).finish()
    }
}

impl Certificates {
    /// Reads what a connection names: `ca`, certificates in PEM that are trusted besides the system's, and
    /// `client_certificate`, in PEM the certificate, those between it and its authority, and its private key.
    pub async fn read(
        about: &str,
        ca: Option<&Setting>,
        client: Option<&Secret>,
        secrets: &dyn SecretSource,
    ) -> Result<Self, Fault> {
        let invalid = |what: &str| Fault::new(Code::ConnectionInvalid, format!("{about}: {what}."));
        let mut out = Self::default();
        if let Some(ca) = ca {
            let pem = lines(&ca.resolve(secrets).await?);
            out.trusted = reqwest::Certificate::from_pem_bundle(pem.as_bytes()).unwrap_or_default();
            if out.trusted.is_empty() {
                return Err(invalid("`ca` holds no certificate in PEM (`-----BEGIN CERTIFICATE-----` …)"));
            }
        }
        if let Some(client) = client {
            let pem = lines(&client.resolve(secrets).await?);
            let read = reqwest::Identity::from_pem(pem.as_bytes());
            out.own = Some(read.map_err(|_| {
                invalid(
                    "`client_certificate` is not a certificate and its private key, both in PEM, one after the other",
                )
            })?);
        }
        Ok(out)
    }

    /// True when there are any.
    pub(super) fn is_given(&self) -> bool {
        !self.trusted.is_empty() || self.own.is_some()
    }

    pub(super) fn apply(&self, client: reqwest::ClientBuilder) -> Result<reqwest::ClientBuilder, Fault> {
        let client = if self.trusted.is_empty() { client } else { client.tls_certs_merge(self.trusted.clone()) };
        Ok(match &self.own {
            Some(own) => client.identity(own.clone()),
            None => client,
        })
    }
}

/// Where a secret store keeps one line, line breaks are written as `\\n`.
fn lines(pem: &str) -> String {
    pem.replace("\\n", "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::config::Reference;

    struct TlsSecrets(&'static str);

    #[async_trait::async_trait]
    impl SecretSource for TlsSecrets {
        async fn get(&self, _: &Reference) -> Result<String, Fault> {
            Ok(self.0.to_owned())
        }
    }

    #[tokio::test]
    async fn what_is_no_certificate_is_told_without_repeating_it() {
        let (ca, client) = (Setting::new("${env:CA}").unwrap(), Secret::new("${env:OWN}").unwrap());
        for wrong in ["", "hush-hush", "-----BEGIN CERTIFICATE-----"] {
            for (ca, client, name) in [(Some(&ca), None, "`ca`"), (None, Some(&client), "`client_certificate`")] {
                let fault =
                    Certificates::read("connection x", ca, client, &TlsSecrets(wrong)).await.unwrap_err().to_string();
                assert!(fault.contains(name) && fault.contains("PEM") && !fault.contains("hush"), "{fault}");
            }
        }
        assert!(Certificates::read("connection x", None, None, &TlsSecrets("")).await.is_ok());
    }

    #[test]
    fn one_line_is_as_good_as_many() {
        assert_eq!(lines("-----BEGIN X-----\\nabc\\n"), "-----BEGIN X-----\nabc\n");
        assert_eq!(lines("-----BEGIN X-----\nabc\n"), "-----BEGIN X-----\nabc\n");
    }
}
