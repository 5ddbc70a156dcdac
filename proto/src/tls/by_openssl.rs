//! Shakes hands with masters by OpenSSL, with every cipher that it does not hold for broken.
use super::{Files, TlsError, file, host};
use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::ssl::{SslConnector, SslMethod};
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;
use std::path::Path;
use std::pin::Pin;
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

/// Everything that a TLS connection to a master needs.
#[derive(Clone)]
pub(crate) struct Tls(SslConnector);

impl Tls {
    /// Reads the files.
    pub(crate) fn read(files: Files<'_>) -> Result<Self, TlsError> {
        let (authority, shown) = files.whole()?;
        let unusable = |e: ErrorStack| TlsError::Unusable(e.to_string());
        let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(unusable)?;
        // In place of the authorities of this machine: nobody else is believed.
        let mut roots = X509StoreBuilder::new().map_err(unusable)?;
        for certificate in certificates(authority)? {
            roots.add_cert(certificate).map_err(unusable)?;
        }
        builder.set_cert_store(roots.build());
        if let Some((certificate, key)) = shown {
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
        Ok(Self(builder.build()))
    }

    /// Shakes hands with a master, given as `host:port`.
    pub(in crate::mesos) async fn connect(
        &self,
        master: &str,
        socket: TcpStream,
    ) -> Result<SslStream<TcpStream>, String> {
        let said = |e: ErrorStack| e.to_string();
        let ssl = self.0.configure().map_err(said)?.into_ssl(host(master)).map_err(said)?;
        let mut stream = SslStream::new(ssl, socket).map_err(said)?;
        Pin::new(&mut stream).connect().await.map_err(|error| format!("no TLS: {error}"))?;
        Ok(stream)
    }
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
    use crate::mesos::Access;
    use crate::mesos::http::Connection;
    use openssl::ssl::{Ssl, SslAcceptor, SslFiletype, SslVersion};
    use std::path::PathBuf;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::task::JoinSet;

    fn path(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src/mesos/tls/certificates").join(name)
    }

    /// A master that has nothing but a cipher of the kind that Mesos offers by default.
    async fn old_master() -> (u16, JoinSet<bool>) {
        let mut builder = SslAcceptor::mozilla_intermediate(SslMethod::tls_server()).unwrap();
        builder.set_max_proto_version(Some(SslVersion::TLS1_2)).unwrap();
        builder.set_cipher_list("ECDHE-ECDSA-AES128-SHA").unwrap();
        builder.set_certificate_file(path("master.pem"), SslFiletype::PEM).unwrap();
        builder.set_private_key_file(path("master-key.pem"), SslFiletype::PEM).unwrap();
        let acceptor = builder.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let (socket, _) = listener.accept().await.unwrap();
            let mut stream = SslStream::new(Ssl::new(acceptor.context()).unwrap(), socket).unwrap();
            if Pin::new(&mut stream).accept().await.is_err() {
                return false;
            }
            let mut said = vec![0; 4096];
            assert!(stream.read(&mut said).await.unwrap() > 0);
            stream.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            true
        });
        (port, serving)
    }

    async fn ask(host: &str, authority: &str) -> (Result<(), String>, bool) {
        let (port, mut serving) = old_master().await;
        let files = Files { authority: Some(&path(authority)), ..Files::default() };
        let access = Access { credentials: None, tls: Some(Tls::read(files).unwrap()) };
        let asked = async {
            let mut connection = Connection::open(&format!("{host}:{port}"), access).await?;
            connection.ask("/api/v1", None, Vec::new(), 100).await.map(drop)
        };
        let asked = asked.await.map_err(|e| e.to_string());
        (asked, serving.join_next().await.unwrap().unwrap())
    }

    #[tokio::test]
    async fn a_master_with_nothing_but_old_ciphers_is_talked_to() {
        assert_eq!(ask("localhost", "ca.pem").await, (Ok(()), true));
    }

    #[tokio::test]
    async fn a_master_with_an_unknown_certificate_or_another_name_is_not_told_anything() {
        let (asked, _) = ask("localhost", "client.pem").await;
        assert!(asked.unwrap_err().contains("certificate verify failed"));
        let (asked, _) = ask("127.0.0.1", "ca.pem").await;
        assert!(asked.unwrap_err().contains("certificate verify failed"));
    }
}
