//! Shakes hands by OpenSSL, with every cipher that it does not hold for broken.
use super::{Believed, Cause, Files, NoTls, TlsError, file};
use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::{X509, X509Ref};
use std::net::IpAddr;
use std::path::Path;
use std::pin::Pin;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_openssl::SslStream;

/// Everything that a TLS connection needs.
#[derive(Clone)]
pub struct Tls {
    connector: SslConnector,
    names: Vec<String>,
    any: bool,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls(OpenSSL)")
    }
}

impl Tls {
    /// Reads the files. A server may have any of `names` in its certificate instead of the one that it is called by.
    pub fn read(files: Files<'_>, names: &[String]) -> Result<Self, TlsError> {
        let unusable = |e: ErrorStack| TlsError::Unusable(e.to_string());
        let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(unusable)?;
        let any = match files.believed {
            Believed::Any => {
                builder.set_verify(SslVerifyMode::NONE);
                true
            }
            Believed::SignedBy(authorities) => {
                // In place of the authorities of this machine: nobody else is believed.
                let mut roots = X509StoreBuilder::new().map_err(unusable)?;
                for certificate in authorities.iter().map(|path| certificates(path)) {
                    for certificate in certificate? {
                        roots.add_cert(certificate).map_err(unusable)?;
                    }
                }
                builder.set_cert_store(roots.build());
                false
            }
        };
        if let Some((certificate, key)) = files.shown {
            let mut chain = certificates(certificate)?.into_iter();
            if let Some(own) = chain.next() {
                builder.set_certificate(&own).map_err(unusable)?;
            }
            for signer in chain {
                builder.add_extra_chain_cert(signer).map_err(unusable)?;
            }
            let pem = std::fs::read(key).map_err(|e| file(key, "a private key", &e.to_string()))?;
            let private = PKey::private_key_from_pem(&pem);
            let private = private.map_err(|e| file(key, "a private key", &e.to_string()))?;
            builder.set_private_key(&private).map_err(unusable)?;
            builder.check_private_key().map_err(unusable)?;
        }
        Ok(Self { connector: builder.build(), names: names.to_vec(), any })
    }

    /// Shakes hands with a server that is called by this host name or address.
    pub async fn connect<S>(&self, host: &str, socket: S) -> Result<SslStream<S>, NoTls>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let said = |e: ErrorStack| no_tls(e.to_string());
        let mut configuration = self.connector.configure().map_err(said)?;
        // With more than one name to choose from, the choice is ours, after the handshake.
        configuration.set_verify_hostname(!self.any && self.names.is_empty());
        let ssl = configuration.into_ssl(host).map_err(said)?;
        let mut stream = SslStream::new(ssl, socket).map_err(said)?;
        Pin::new(&mut stream).connect().await.map_err(|error| no_tls(error.to_string()))?;
        if self.any || self.names.is_empty() {
            return Ok(stream);
        }
        let certificate = stream.ssl().peer_certificate();
        let mut names = std::iter::once(host).chain(self.names.iter().map(String::as_str));
        match certificate {
            Some(certificate) if names.any(|name| is_named(&certificate, name)) => Ok(stream),
            _ => Err(no_tls(format!("certificate not valid for name {host:?}, nor for another one of it"))),
        }
    }
}

/// Whether a certificate is for this host name or address.
fn is_named(certificate: &X509Ref, name: &str) -> bool {
    let address: Option<IpAddr> = name.parse().ok();
    let alternatives = certificate.subject_alt_names();
    alternatives.into_iter().flatten().any(|alternative| match address {
        Some(IpAddr::V4(address)) => alternative.ipaddress() == Some(&address.octets()),
        Some(IpAddr::V6(address)) => alternative.ipaddress() == Some(&address.octets()),
        None => alternative.dnsname().is_some_and(|pattern| is_matched(pattern, name)),
    })
}

/// Whether a name is the pattern, of which the first part may be `*`.
fn is_matched(pattern: &str, name: &str) -> bool {
    let rest = pattern.strip_prefix("*.").zip(name.split_once('.'));
    pattern.eq_ignore_ascii_case(name)
        || rest
            .is_some_and(|(pattern, (_, name))| pattern.contains('.') && pattern.eq_ignore_ascii_case(name))
}

fn no_tls(said: String) -> NoTls {
    let cause = if said.contains("handshake failure") {
        Cause::NoCommonCipher
    } else if said.contains("certificate required") {
        Cause::CertificateWanted
    } else if said.contains("unable to get") || said.contains("self-signed") {
        Cause::UnknownSigner
    } else if said.contains("wrong version number") {
        Cause::NotTls
    } else {
        Cause::Other
    };
    NoTls { said, cause }
}

fn certificates(path: &Path) -> Result<Vec<X509>, TlsError> {
    let wrong = |why: &str| file(path, "certificates", why);
    let pem = std::fs::read(path).map_err(|e| wrong(&e.to_string()))?;
    let found = X509::stack_from_pem(&pem).map_err(|e| wrong(&e.to_string()))?;
    if found.is_empty() { Err(wrong("there is none in it")) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openssl::ssl::{Ssl, SslAcceptor, SslFiletype, SslVersion};
    use std::path::PathBuf;
    use tokio::io::duplex;

    fn path(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tls/certificates").join(name)
    }

    /// A handshake with a server that has nothing but a cipher of the kind that Mesos offers by default.
    async fn shake(host: &str, authority: &str, names: &[String]) -> Result<(), NoTls> {
        let mut builder = SslAcceptor::mozilla_intermediate(SslMethod::tls_server()).unwrap();
        builder.set_max_proto_version(Some(SslVersion::TLS1_2)).unwrap();
        builder.set_cipher_list("ECDHE-ECDSA-AES128-SHA").unwrap();
        builder.set_certificate_file(path("master.pem"), SslFiletype::PEM).unwrap();
        builder.set_private_key_file(path("master-key.pem"), SslFiletype::PEM).unwrap();
        let acceptor = builder.build();
        let authorities = [path(authority)];
        let files = Files { believed: Believed::SignedBy(&authorities), shown: None };
        let tls = Tls::read(files, names).unwrap();
        let (ours, theirs) = duplex(1 << 16);
        let mut theirs = SslStream::new(Ssl::new(acceptor.context()).unwrap(), theirs).unwrap();
        let (connected, _accepted) = tokio::join!(tls.connect(host, ours), Pin::new(&mut theirs).accept());
        connected.map(drop)
    }

    #[tokio::test]
    async fn a_server_with_nothing_but_old_ciphers_is_talked_to() {
        shake("localhost", "ca.pem", &[]).await.unwrap();
    }

    #[tokio::test]
    async fn a_server_with_an_unknown_certificate_or_another_name_is_not_talked_to() {
        let said = shake("localhost", "client.pem", &[]).await.unwrap_err();
        assert!(said.said.contains("certificate verify failed"), "{said}");
        let said = shake("192.0.2.1", "ca.pem", &[]).await.unwrap_err();
        assert!(said.said.contains("certificate verify failed"), "{said}");
        let said = shake("192.0.2.1", "ca.pem", &["other.example".into()]).await.unwrap_err();
        assert!(said.said.contains("not valid for name"), "{said}");
        shake("192.0.2.1", "ca.pem", &["localhost".into()]).await.unwrap();
    }

    #[test]
    fn a_star_stands_for_one_part_of_a_name() {
        assert!(is_matched("*.example.com", "a.Example.com") && is_matched("a.b", "A.b"));
        for (pattern, name) in [("*.example.com", "a.b.example.com"), ("*.com", "a.com"), ("*", "a")] {
            assert!(!is_matched(pattern, name), "{pattern} {name}");
        }
    }
}
