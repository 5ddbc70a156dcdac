//! Makes an authority of a story's own, and certificates by it, as PEM files in the story's directory.

use crate::world::World;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;

/// Writes `NAME.pem` of an authority, and `NAME-server` and `NAME-client` (`.pem`, `.key`) that it has signed.
pub(crate) fn make(world: &World, name: &str) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(world.path(&format!("{name}.pem")), authority.pem()).unwrap();
    for role in ["server", "client"] {
        let mut params = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, role);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        std::fs::write(world.path(&format!("{name}-{role}.pem")), certificate.pem()).unwrap();
        std::fs::write(world.path(&format!("{name}-{role}.key")), key.serialize_pem()).unwrap();
    }
}

/// The options of an input that speaks TLS by these certificates and wants one of those who connect.
pub(crate) fn options(world: &World, name: &str) -> String {
    let path = |end: &str| world.path(&format!("{name}{end}")).display().to_string();
    format!(
        r#"ssl_enabled => true ssl_certificate => "{}" ssl_key => "{}"
        ssl_certificate_authorities => ["{}"] ssl_client_authentication => required"#,
        path("-server.pem"),
        path("-server.key"),
        path(".pem")
    )
}

/// A client that trusts one authority and shows the certificate of another, if one is named.
pub(crate) fn client(world: &World, trusts: &str, shows: Option<&str>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let read = |file: String| CertificateDer::from_pem_file(world.path(&file)).unwrap();
    roots.add(read(format!("{trusts}.pem"))).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots);
    let Some(name) = shows else { return config.with_no_client_auth() };
    let key = PrivateKeyDer::from_pem_file(world.path(&format!("{name}-client.key"))).unwrap();
    config.with_client_auth_cert(vec![read(format!("{name}-client.pem"))], key).unwrap()
}
