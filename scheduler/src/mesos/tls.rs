//! Talks TLS to masters: who signs their certificates, and which certificate we show.
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Why TLS cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Nobody said whom to believe.
    #[error(
        "the masters are to be reached with TLS; name the certificates that sign theirs with --master-ca"
    )]
    NoAuthority,
    /// One of certificate and key is missing.
    #[error("--master-cert and --master-key belong together; give both or none")]
    Half,
    /// A file cannot be read, or holds something else.
    #[error("`{}` is no PEM file with {what}: {why}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What should be in it.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The parts do not fit together.
    #[error("the certificate for masters cannot be used: {0}")]
    Unusable(String),
}

/// The files that the settings name.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Files<'a> {
    /// The certificates that sign the masters'.
    pub(crate) authority: Option<&'a Path>,
    /// The certificate that we show, with those that sign it.
    pub(crate) certificate: Option<&'a Path>,
    /// Its key.
    pub(crate) key: Option<&'a Path>,
}

/// Everything that a TLS connection to a master needs.
#[derive(Clone)]
pub(crate) struct Tls(TlsConnector);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls(…)")
    }
}

impl Tls {
    /// Reads the files.
    pub(crate) fn read(files: Files<'_>) -> Result<Self, TlsError> {
        let authority = files.authority.ok_or(TlsError::NoAuthority)?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates(authority)? {
            let added = roots.add(certificate);
            added.map_err(|e| file(authority, "certificates of an authority", &e.to_string()))?;
        }
        let unusable = |e: tokio_rustls::rustls::Error| TlsError::Unusable(e.to_string());
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_root_certificates(roots);
        let config = match (files.certificate, files.key) {
            (None, None) => config.with_no_client_auth(),
            (Some(certificate), Some(key)) => {
                let private = PrivateKeyDer::from_pem_file(key);
                let private = private.map_err(|e| file(key, "a private key", &e.to_string()))?;
                config.with_client_auth_cert(certificates(certificate)?, private).map_err(unusable)?
            }
            _ => return Err(TlsError::Half),
        };
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Shakes hands with a master, given as `host:port`.
    pub(super) async fn connect(
        &self,
        master: &str,
        socket: TcpStream,
    ) -> Result<TlsStream<TcpStream>, String> {
        let host = master.rsplit_once(':').map_or(master, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(|e| e.to_string())?;
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

fn file(path: &Path, what: &'static str, why: &str) -> TlsError {
    TlsError::File { path: path.to_owned(), what, why: why.to_owned() }
}

#[cfg(test)]
mod tests;
