//! Shakes hands with masters by rustls.
use super::{Files, TlsError, file, host};
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, Error, RootCertStore};

/// Everything that a TLS connection to a master needs.
#[derive(Clone)]
pub(crate) struct Tls(TlsConnector);

impl Tls {
    /// Reads the files.
    pub(crate) fn read(files: Files<'_>) -> Result<Self, TlsError> {
        let (authority, shown) = files.whole()?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates(authority)? {
            let added = roots.add(certificate);
            added.map_err(|e| file(authority, "certificates of an authority", &e.to_string()))?;
        }
        let unusable = |e: Error| TlsError::Unusable(e.to_string());
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_root_certificates(roots);
        let config = match shown {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let private = PrivateKeyDer::from_pem_file(key);
                let private = private.map_err(|e| file(key, "a private key", &e.to_string()))?;
                config.with_client_auth_cert(certificates(certificate)?, private).map_err(unusable)?
            }
        };
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Shakes hands with a master, given as `host:port`.
    pub(in crate::mesos) async fn connect(
        &self,
        master: &str,
        socket: TcpStream,
    ) -> Result<TlsStream<TcpStream>, String> {
        let name = ServerName::try_from(host(master).to_owned()).map_err(|e| e.to_string())?;
        self.0.connect(name, socket).await.map_err(|error| explained(&error.to_string()))
    }
}

/// What a failed handshake says, with what is usually behind it.
fn explained(error: &str) -> String {
    let hint = if error.contains("HandshakeFailure") {
        "; Mesos' default ciphers are too old: set LIBPROCESS_SSL_CIPHERS on the masters, see docs/tls.md"
    } else if error.contains("CertificateRequired") {
        "; the master wants a certificate: give --master-cert and --master-key"
    } else if error.contains("UnknownIssuer") {
        "; --master-ca does not hold what signed the master's certificate"
    } else if error.contains("corrupt message") {
        "; the master does not seem to talk TLS"
    } else {
        ""
    };
    format!("no TLS: {error}{hint}")
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |why: &str| file(path, "certificates", why);
    let read = CertificateDer::pem_file_iter(path).map_err(|e| wrong(&e.to_string()))?;
    let found: Vec<_> = read.collect::<Result<_, _>>().map_err(|e| wrong(&e.to_string()))?;
    if found.is_empty() { Err(wrong("there is none in it")) } else { Ok(found) }
}

#[cfg(test)]
mod tests;
