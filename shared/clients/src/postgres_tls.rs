//! TLS for PostgreSQL: rustls with ring, given explicitly, so that no process-wide default is needed.

use std::path::PathBuf;
use std::sync::Arc;

use domain::fault::Fault;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::DatabasePlace;

/// The server's certificate must be valid for its host: by the certificates of `ca_file`, else by the system's.
pub(crate) async fn verified(place: &DatabasePlace, ca_file: Option<PathBuf>) -> Result<MakeRustlsConnect, Fault> {
    let roots = tokio::task::spawn_blocking(move || roots(ca_file))
        .await
        .unwrap_or_else(|e| Err(e.to_string()))
        .map_err(|what| place.invalid(what))?;
    Ok(MakeRustlsConnect::new(builder(place)?.with_root_certificates(roots).with_no_client_auth()))
}

/// Encrypted, with whoever answers.
pub(crate) fn unverified(place: &DatabasePlace) -> Result<MakeRustlsConnect, Fault> {
    let anyone = Arc::new(Anyone(ring::default_provider()));
    Ok(MakeRustlsConnect::new(
        builder(place)?.dangerous().with_custom_certificate_verifier(anyone).with_no_client_auth(),
    ))
}

fn builder(place: &DatabasePlace) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, Fault> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| place.invalid(format!("TLS cannot be set up: {e}.")))
}

fn roots(ca_file: Option<PathBuf>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(file) => {
            let wrong = |e: &dyn std::fmt::Display| {
                format!("the certificates in `ca_file` {} cannot be read: {e}.", file.display())
            };
            for certificate in CertificateDer::pem_file_iter(&file).map_err(|e| wrong(&e))? {
                roots.add(certificate.map_err(|e| wrong(&e))?).map_err(|e| wrong(&e))?;
            }
            if roots.is_empty() {
                return Err(wrong(&"it holds none"));
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                return Err("this machine has no certificate authorities to check the server's certificate by; give a `ca_file`.".into());
            }
        }
    }
    Ok(roots)
}

/// Takes any certificate. The handshake's signatures are still checked, so that it is one connection end to end.
#[derive(Debug)]
struct Anyone(CryptoProvider);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        m: &[u8],
        c: &CertificateDer<'_>,
        s: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(m, c, s, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        m: &[u8],
        c: &CertificateDer<'_>,
        s: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(m, c, s, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
