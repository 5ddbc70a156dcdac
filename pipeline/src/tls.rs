//! Sets TLS up, for those who listen and for those who connect.
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig,
    SignatureScheme, SupportedProtocolVersion,
};
use x509_parser::prelude::{FromDer, X509Certificate};

crate::spec::words! {
    /// Whether those who connect show a certificate.
    pub(crate) enum ClientAuthentication {
        /// They are not asked for one.
        None = "none",
        /// They may; one that is shown must be good.
        Optional = "optional",
        /// They must.
        Required = "required",
    }
}

crate::spec::words! {
    /// How the certificate of a server is checked.
    pub(crate) enum Verification {
        /// An authority must have signed it, for the name of the server.
        Full = "full",
        /// An authority must have signed it, for whatever name.
        Certificate = "certificate",
        /// Not at all.
        None = "none",
    }
}

crate::spec::words! {
    /// A version of TLS.
    pub(crate) enum Protocol {
        /// Accepted and never used: it is not safe.
        V11 = "TLSv1.1",
        /// TLS 1.2.
        V12 = "TLSv1.2",
        /// TLS 1.3.
        V13 = "TLSv1.3",
    }
}

/// What both sides of a connection have. Files are in PEM form.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tls {
    /// The certificate to show, with its key.
    pub(crate) own: Option<(PathBuf, PathBuf)>,
    /// Certificates of those who signed it.
    pub(crate) chain: Vec<PathBuf>,
    /// The authorities to trust.
    pub(crate) authorities: Vec<PathBuf>,
    /// The versions to use; all safe ones if there are none.
    pub(crate) protocols: Vec<Protocol>,
    /// The suites to use, by their names; all safe ones if there are none.
    pub(crate) suites: Vec<String>,
}

impl Tls {
    /// The set-up of one who listens.
    pub(crate) fn server(&self, clients: ClientAuthentication) -> Result<Arc<ServerConfig>, String> {
        let provider = Arc::new(self.provider()?);
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&self.versions()?)
            .map_err(|error| format!("set TLS up: {error}"))?;
        let builder = match clients {
            ClientAuthentication::None => builder.with_no_client_auth(),
            other => builder.with_client_cert_verifier(self.clients(other, provider)?),
        };
        let (certificates, key) = self.identity()?.ok_or("TLS needs a certificate and its key")?;
        let config = builder.with_single_cert(certificates, key);
        Ok(Arc::new(config.map_err(|error| format!("use the certificate: {error}"))?))
    }

    fn clients(
        &self,
        clients: ClientAuthentication,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, String> {
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots()?), provider);
        let builder = match clients {
            ClientAuthentication::Optional => builder.allow_unauthenticated(),
            _ => builder,
        };
        builder.build().map_err(|error| format!("trust the authorities: {error}"))
    }

    /// The set-up of one who connects. Without authorities those of the system are trusted.
    pub(crate) fn client(&self, verification: Verification) -> Result<Arc<ClientConfig>, String> {
        let provider = Arc::new(self.provider()?);
        let strict: Option<Arc<dyn ServerCertVerifier>> = match verification {
            Verification::None => None,
            _ if self.authorities.is_empty() => {
                let system = rustls_platform_verifier::Verifier::new(provider.clone());
                Some(Arc::new(
                    system.map_err(|error| format!("trust the authorities of the system: {error}"))?,
                ))
            }
            _ => {
                let builder =
                    WebPkiServerVerifier::builder_with_provider(Arc::new(self.roots()?), provider.clone());
                Some(builder.build().map_err(|error| format!("trust the authorities: {error}"))?)
            }
        };
        let verifier: Arc<dyn ServerCertVerifier> = match (verification, strict) {
            (Verification::Full, Some(strict)) => strict,
            (_, inner) => Arc::new(Lenient { provider: provider.clone(), inner }),
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions()?)
            .map_err(|error| format!("set TLS up: {error}"))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let config = match self.identity()? {
            None => builder.with_no_client_auth(),
            Some((certificates, key)) => builder
                .with_client_auth_cert(certificates, key)
                .map_err(|error| format!("use the certificate: {error}"))?,
        };
        Ok(Arc::new(config))
    }

    fn provider(&self) -> Result<CryptoProvider, String> {
        let mut provider = rustls::crypto::ring::default_provider();
        if !self.suites.is_empty() {
            let wanted: Vec<String> = self.suites.iter().map(|name| name.to_uppercase()).collect();
            let name = |suite: &rustls::SupportedCipherSuite| {
                format!("{:?}", suite.suite()).replace("TLS13_", "TLS_")
            };
            provider.cipher_suites.retain(|suite| wanted.contains(&name(suite)));
            if provider.cipher_suites.is_empty() {
                return Err("none of the cipher suites is known".to_owned());
            }
        }
        Ok(provider)
    }

    fn versions(&self) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
        let wants = |version| self.protocols.is_empty() || self.protocols.contains(&version);
        let mut versions = Vec::new();
        if wants(Protocol::V13) {
            versions.push(&rustls::version::TLS13);
        }
        if wants(Protocol::V12) {
            versions.push(&rustls::version::TLS12);
        }
        if versions.is_empty() { Err("TLS 1.2 or 1.3 is needed".to_owned()) } else { Ok(versions) }
    }

    fn roots(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        for path in &self.authorities {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| format!("read `{}`: {error}", path.display()))?;
            }
        }
        Ok(roots)
    }

    fn identity(&self) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>, String> {
        let Some((certificate, key)) = &self.own else { return Ok(None) };
        let mut chain = certificates(certificate)?;
        for path in &self.chain {
            chain.extend(certificates(path)?);
        }
        let name = key.display();
        let key =
            PrivateKeyDer::from_pem_file(key).map_err(|error| format!("read the key `{name}`: {error}"))?;
        Ok(Some((chain, key)))
    }
}

/// The certificates in a file.
fn certificates(path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |error: rustls::pki_types::pem::Error| format!("read `{}`: {error}", path.display());
    let found: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(wrong)?.collect::<Result<_, _>>().map_err(wrong)?;
    if found.is_empty() {
        return Err(format!("`{}` holds no certificate in PEM form", path.display()));
    }
    Ok(found)
}

/// The subject of a certificate as RFC 2253 writes it: `CN=web,O=Example`.
pub(crate) fn subject(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let mut parts: Vec<String> = parsed
        .subject()
        .iter_rdn()
        .map(|rdn| {
            let one = |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| {
                let registry = x509_parser::objects::oid_registry();
                let name = x509_parser::objects::oid2abbrev(attribute.attr_type(), registry)
                    .map_or_else(|_| attribute.attr_type().to_id_string(), str::to_owned);
                format!("{name}={}", attribute.as_str().unwrap_or_default())
            };
            rdn.iter().map(one).collect::<Vec<_>>().join("+")
        })
        .collect();
    parts.reverse();
    Some(parts.join(","))
}

/// Checks the certificate of a server as far as a configuration asks for: signed for whatever name, or not at all.
#[derive(Debug)]
struct Lenient {
    provider: Arc<CryptoProvider>,
    /// Who checks it, but for the name; nobody when it is not to be checked.
    inner: Option<Arc<dyn ServerCertVerifier>>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(inner) = &self.inner else { return Ok(ServerCertVerified::assertion()) };
        match inner.verify_server_cert(certificate, between, name, ocsp, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
