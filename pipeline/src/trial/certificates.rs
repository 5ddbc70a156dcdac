//! Certificates for those who are tried with TLS.
use crate::tls::Tls;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::path::Path;

/// An authority, a certificate of it for `localhost`, and one for a client, as files.
pub(crate) fn certificates(dir: &Path) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(dir.join("ca.pem"), authority.pem()).unwrap();
    for name in ["localhost", "client"] {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::OrganizationName, "Example");
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        std::fs::write(dir.join(format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

/// TLS that trusts that authority, and shows the certificate of this name.
pub(crate) fn tls(dir: &Path, own: Option<&str>) -> Tls {
    let own = own.map(|name| (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key"))));
    Tls { own, authorities: vec![dir.join("ca.pem")], ..Tls::default() }
}
