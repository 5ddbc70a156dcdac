//! Shakes hands by rustls.
use super::{Believed, Cause, Files, NoTls, TlsError, file};
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

/// Everything that a TLS connection needs.
#[derive(Clone)]
pub struct Tls {
    connector: TlsConnector,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls(rustls)")
    }
}

impl Tls {
    /// Reads the files. A server may have any of `names` in its certificate instead of the one that it is called by.
    pub fn read(files: Files<'_>, names: &[String]) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let names = names.iter().filter_map(|name| ServerName::try_from(name.clone()).ok()).collect();
        let known = match files.believed {
            Believed::Any => None,
            Believed::SignedBy(authorities) => {
                let mut roots = RootCertStore::empty();
                for authority in authorities {
                    for certificate in certificates(authority)? {
                        let added = roots.add(certificate);
                        added.map_err(|e| file(authority, "certificates of an authority", &e.to_string()))?;
                    }
                }
                let verifier =
                    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
                Some(verifier.build().map_err(|e| TlsError::Unusable(e.to_string()))?)
            }
        };
        let verifier = Verifier { known, names, provider: Arc::clone(&provider) };
        let unusable = |e: Error| TlsError::Unusable(e.to_string());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let config = match files.shown {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let private = PrivateKeyDer::from_pem_file(key);
                let private = private.map_err(|e| file(key, "a private key", &e.to_string()))?;
                config.with_client_auth_cert(certificates(certificate)?, private).map_err(unusable)?
            }
        };
        Ok(Self { connector: TlsConnector::from(Arc::new(config)) })
    }

    /// Shakes hands with a server that is called by this host name or address.
    pub async fn connect<S>(&self, host: &str, socket: S) -> Result<TlsStream<S>, NoTls>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|e| NoTls { said: e.to_string(), cause: Cause::Other })?;
        self.connector.connect(name, socket).await.map_err(|error| no_tls(error.to_string()))
    }
}

/// Believes what is signed by an authority, under the name that is asked for or one of some others; or anything.
#[derive(Debug)]
struct Verifier {
    /// `None` believes anything.
    known: Option<Arc<WebPkiServerVerifier>>,
    names: Vec<ServerName<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(known) = &self.known else { return Ok(ServerCertVerified::assertion()) };
        let verify = |name: &ServerName<'_>| {
            known.verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
        };
        let first = verify(server_name);
        let other_name = matches!(
            first,
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
            ))
        );
        match self.names.iter().find_map(|name| verify(name).ok()) {
            Some(verified) if other_name => Ok(verified),
            _ => first,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn no_tls(said: String) -> NoTls {
    let cause = if said.contains("HandshakeFailure") {
        Cause::NoCommonCipher
    } else if said.contains("CertificateRequired") {
        Cause::CertificateWanted
    } else if said.contains("UnknownIssuer") {
        Cause::UnknownSigner
    } else if said.contains("corrupt message") {
        Cause::NotTls
    } else {
        Cause::Other
    };
    NoTls { said, cause }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |why: &str| file(path, "certificates", why);
    let read = CertificateDer::pem_file_iter(path).map_err(|e| wrong(&e.to_string()))?;
    let found: Vec<_> = read.collect::<Result<_, _>>().map_err(|e| wrong(&e.to_string()))?;
    if found.is_empty() { Err(wrong("there is none in it")) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use tokio::io::duplex;
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;

    fn path(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tls/certificates").join(name)
    }

    fn server(provider: CryptoProvider) -> TlsAcceptor {
        let key = PrivateKeyDer::from_pem_file(path("master-key.pem")).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(certificates(&path("master.pem")).unwrap(), key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    /// What becomes of a handshake with a server whose certificate is for `localhost`.
    async fn shake(tls: &Tls, provider: CryptoProvider, host: &str) -> Result<(), NoTls> {
        let (ours, theirs) = duplex(1 << 16);
        let accepting = server(provider).accept(theirs);
        let (connected, _accepted) = tokio::join!(tls.connect(host, ours), accepting);
        connected.map(drop)
    }

    fn trusting(authority: &str, names: &[String]) -> Tls {
        let authorities = [path(authority)];
        Tls::read(Files { believed: Believed::SignedBy(&authorities), shown: None }, names).unwrap()
    }

    #[tokio::test]
    async fn a_server_may_have_another_of_its_names_in_its_certificate() {
        let provider = ring::default_provider;
        let names = ["unused.example".to_owned(), "localhost".to_owned()];
        shake(&trusting("ca.pem", &names), provider(), "192.0.2.1").await.unwrap();
        let said = shake(&trusting("ca.pem", &names[..1]), provider(), "192.0.2.1").await.unwrap_err();
        assert!(said.to_string().contains("not valid for name"), "{said}");
        let said = shake(&trusting("client.pem", &names), provider(), "localhost").await.unwrap_err();
        assert_eq!(said.cause, Cause::UnknownSigner, "a name helps nobody whose signer is unknown");
    }

    #[tokio::test]
    async fn without_an_authority_any_server_is_talked_to() {
        let tls = Tls::read(Files { believed: Believed::Any, shown: None }, &[]).unwrap();
        shake(&tls, ring::default_provider(), "192.0.2.1").await.unwrap();
    }

    #[tokio::test]
    async fn ciphers_that_do_not_meet_are_told_apart_from_other_failures() {
        let one_cipher = |n: usize| CryptoProvider {
            cipher_suites: ring::default_provider().cipher_suites[n..=n].to_vec(),
            ..ring::default_provider()
        };
        let config = ClientConfig::builder_with_provider(Arc::new(one_cipher(1)))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let tls = Tls { connector: TlsConnector::from(Arc::new(config)) };
        assert_eq!(shake(&tls, one_cipher(0), "localhost").await.unwrap_err().cause, Cause::NoCommonCipher);
    }
}
