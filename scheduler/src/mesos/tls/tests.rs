//! Shakes hands with a master that is a rustls server, with certificates that were made for this test only.
use super::*;
use crate::mesos::http::Connection;
use crate::mesos::{Access, Credentials};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/src/tls/certificates").join(name)
}

fn certificates(path: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(path).unwrap().map(Result::unwrap).collect()
}

fn access(authority: &Path, show: bool) -> Access {
    let (certificate, key) = (path("client.pem"), path("client-key.pem"));
    let files = Files {
        authority: Some(authority),
        certificate: show.then_some(&*certificate),
        key: show.then_some(&*key),
    };
    let credentials = Credentials { principal: "logherd".into(), secret: "pass".into() };
    Access { credentials: Some(credentials), tls: Some(read(files).unwrap()) }
}

/// A master that wants a certificate of ours; gives its port and what was said to it.
async fn master(provider: CryptoProvider) -> (u16, JoinSet<String>) {
    let mut roots = RootCertStore::empty();
    certificates(&path("ca.pem")).into_iter().for_each(|ca| roots.add(ca).unwrap());
    let provider = Arc::new(provider);
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let key = PrivateKeyDer::from_pem_file(path("master-key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates(&path("master.pem")), key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let mut stream = match TlsAcceptor::from(Arc::new(config)).accept(socket).await {
            Ok(stream) => stream,
            Err(error) => return error.to_string(),
        };
        let mut said = vec![0; 4096];
        let length = stream.read(&mut said).await.unwrap_or(0);
        stream.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n").await.ok();
        stream.flush().await.ok();
        String::from_utf8_lossy(&said[..length]).to_lowercase()
    });
    (port, serving)
}

async fn ask(port: u16, access: Access) -> Result<(), String> {
    let mut connection =
        Connection::open(&format!("localhost:{port}"), access).await.map_err(|e| e.to_string())?;
    connection.ask("/api/v1", None, Vec::new(), 100).await.map(drop).map_err(|e| e.to_string())
}

#[tokio::test]
async fn a_master_with_a_known_certificate_is_talked_to_and_sees_ours() {
    let (port, mut serving) = master(ring::default_provider()).await;
    ask(port, access(&path("ca.pem"), true)).await.unwrap();
    let said = serving.join_next().await.unwrap().unwrap();
    assert!(said.starts_with("post /api/v1") && said.contains("authorization: basic"), "{said}");
}

#[tokio::test]
async fn a_master_with_an_unknown_certificate_or_another_name_is_not_told_anything() {
    // A certificate that signed nothing of the master's.
    let (port, mut serving) = master(ring::default_provider()).await;
    let error = ask(port, access(&path("client.pem"), true)).await.unwrap_err();
    assert!(error.contains("no TLS") && error.contains("--master-ca"), "{error}");
    let said = serving.join_next().await.unwrap().unwrap();
    assert!(!said.contains("authorization"), "{said}");

    let (port, _serving) = master(ring::default_provider()).await;
    let mut connection = Connection::open(&format!("127.0.0.1:{port}"), access(&path("ca.pem"), true)).await;
    let error = connection.as_mut().map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("not valid for name"), "{error}");
}

#[tokio::test]
async fn a_master_that_wants_a_certificate_refuses_who_has_none() {
    let (port, _serving) = master(ring::default_provider()).await;
    // With TLS 1.3 the refusal comes after our handshake.
    ask(port, access(&path("ca.pem"), false)).await.unwrap_err();
}

#[test]
fn ciphers_that_do_not_meet_are_an_error_that_says_what_to_set() {
    let error = NoTls { said: "received fatal alert: HandshakeFailure".into(), cause: Cause::NoCommonCipher };
    assert!(explained(&error).contains("LIBPROCESS_SSL_CIPHERS"));
}

#[test]
fn files_that_are_missing_or_something_else_are_told_with_their_setting() {
    assert!(read(Files::default()).err().unwrap().to_string().contains("--master-ca"));
    let (ca, key, none) = (path("ca.pem"), path("client-key.pem"), path("none.pem"));
    let half = Files { authority: Some(&ca), certificate: Some(&ca), key: None };
    assert!(read(half).err().unwrap().to_string().contains("belong together"));
    let error = read(Files { authority: Some(&key), ..Files::default() }).err().unwrap().to_string();
    assert!(error.contains("client-key.pem") && error.contains("there is none in it"), "{error}");
    let error = read(Files { authority: Some(&none), ..Files::default() }).err().unwrap().to_string();
    assert!(error.contains("none.pem"), "{error}");
}
