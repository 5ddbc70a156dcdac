//! Connections of real sockets, plain and with TLS, to the input and from it.
use crate::tls::{ClientAuthentication, Verification};
use crate::trial::certificates::{certificates, tls};
use crate::trial::inputs::{Trial, free_port};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

async fn connected(trial: &mut Trial, port: u16) -> TcpStream {
    let mut stream = None;
    trial
        .until("somebody listens", async || {
            stream = TcpStream::connect(("127.0.0.1", port)).await.ok();
            stream.is_some()
        })
        .await;
    stream.unwrap()
}

#[tokio::test]
async fn lines_of_those_who_connect_are_events_with_their_addresses() {
    let port = free_port();
    let input = format!(
        "tcp {{ port => {port} dns_reverse_lookup_enabled => false add_field => {{ ip => '%{{[@metadata][ip_address]}}' }} }}"
    );
    let mut trial = Trial::start(&input);
    let mut stream = connected(&mut trial, port).await;
    let own = stream.local_addr().unwrap().port();
    stream.write_all(b"one\r\ntwo").await.unwrap();
    trial.events(1).await;
    drop(stream);
    let events = trial.events(2).await;
    assert_eq!((&events[0]["message"], &events[1]["message"]), (&"one\r".into(), &"two".into()));
    assert_eq!((&events[0]["host"], &events[0]["port"]), (&"127.0.0.1".into(), &own.into()));
    assert_eq!(events[0]["ip"], "127.0.0.1");
    trial.stop().await;
}

#[tokio::test]
async fn a_proxy_tells_who_is_behind_it_and_others_are_refused() {
    let port = free_port();
    let input = format!(
        "tcp {{ port => {port} dns_reverse_lookup_enabled => false proxy_protocol => true ecs_compatibility => v1 codec => json
          add_field => {{ f => '%{{[@metadata][input][tcp][source][ip]}} %{{[@metadata][input][tcp][source][port]}} %{{[@metadata][input][tcp][proxy][ip]}}' }} }}"
    );
    let mut trial = Trial::start(&input);
    let mut wrong = connected(&mut trial, port).await;
    wrong.write_all(b"{\"a\":0}\r\n").await.unwrap();
    assert_eq!(wrong.read(&mut [0; 1]).await.unwrap_or(0), 0);
    let mut stream = connected(&mut trial, port).await;
    stream.write_all(b"PROXY TCP4 1.2.3.4 5.6.7.8 1234 5678\r\n{\"a\":1}\n").await.unwrap();
    let events = trial.events(1).await;
    assert_eq!((&events[0]["a"], &events[0]["f"]), (&1.into(), &"1.2.3.4 1234 5.6.7.8".into()));
}

#[tokio::test]
async fn a_stream_of_msgpack_is_cut_into_its_values() {
    let port = free_port();
    let mut trial = Trial::start(&format!("tcp {{ port => {port} codec => msgpack }}"));
    let mut stream = connected(&mut trial, port).await;
    stream.write_all(b"\x81\xa1a\x01\x81\xa1").await.unwrap();
    trial.events(1).await;
    stream.write_all(b"a\x02").await.unwrap();
    let events = trial.events(2).await;
    assert_eq!((&events[0]["a"], &events[1]["a"]), (&1.into(), &2.into()));
}

#[tokio::test]
async fn lines_of_a_connection_are_put_together_until_it_ends() {
    let port = free_port();
    let input = format!("tcp {{ port => {port} codec => multiline {{ pattern => '^ ' what => previous }} }}");
    let mut trial = Trial::start(&input);
    let mut stream = connected(&mut trial, port).await;
    stream.write_all(b"a\n b\n\n c\nd\n").await.unwrap();
    let events = trial.events(2).await;
    assert_eq!((&events[0]["message"], &events[1]["message"]), (&"a\n b".into(), &"\n c".into()));
    drop(stream);
    assert_eq!(trial.events(3).await[2]["message"], "d");
}

#[tokio::test]
async fn a_client_connects_again_when_the_connection_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut trial = Trial::start(&format!("tcp {{ mode => client host => '127.0.0.1' port => {port} }}"));
    for nth in 1..3 {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"line\n").await.unwrap();
        drop(stream);
        let events = trial.events(nth).await;
        assert_eq!(events[0]["port"], port);
    }
    trial.stop().await;
}

#[tokio::test]
async fn those_without_a_good_certificate_are_refused_and_the_subject_of_others_is_told() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let port = free_port();
    let at = dir.path().display();
    let input = format!(
        "tcp {{ port => {port} ssl_enabled => true ssl_certificate => '{at}/localhost.pem' ssl_key => '{at}/localhost.key'
          ssl_certificate_authorities => ['{at}/ca.pem'] ssl_supported_protocols => ['TLSv1.3'] }}"
    );
    let mut trial = Trial::start(&input);
    let name = || ServerName::try_from("localhost").unwrap();
    let config = tls(dir.path(), Some("client")).client(Verification::Full).unwrap();
    let stream = connected(&mut trial, port).await;
    let mut stream = TlsConnector::from(config).connect(name(), stream).await.unwrap();
    stream.write_all(b"secret\n").await.unwrap();
    stream.shutdown().await.unwrap();
    let nobody = tls(dir.path(), None).client(Verification::Full).unwrap();
    let stream = connected(&mut trial, port).await;
    if let Ok(mut stream) = TlsConnector::from(nobody).connect(name(), stream).await {
        // With TLS 1.3 a client hears of it only afterwards.
        let _sent = stream.write_all(b"refused\n").await;
        assert!(stream.read(&mut [0; 1]).await.is_err());
    }
    let events = trial.events(1).await;
    assert_eq!(
        (&events[0]["message"], &events[0]["sslsubject"]),
        (&"secret".into(), &"O=Example,CN=client".into())
    );
    trial.stop().await;
}

#[tokio::test]
async fn a_client_checks_the_server_as_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let config = tls(dir.path(), Some("localhost")).server(ClientAuthentication::None).unwrap();
    let at = dir.path().display();
    for (host, options, good) in [
        ("localhost", format!("ssl_certificate_authorities => ['{at}/ca.pem']"), true),
        ("127.0.0.1", format!("ssl_certificate_authorities => ['{at}/ca.pem']"), false),
        (
            "127.0.0.1",
            format!("ssl_certificate_authorities => ['{at}/ca.pem'] ssl_verification_mode => certificate"),
            true,
        ),
        ("127.0.0.1", "ssl_verification_mode => certificate".to_owned(), false),
        ("127.0.0.1", "ssl_verification_mode => none".to_owned(), true),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let input =
            format!("tcp {{ mode => client host => '{host}' port => {port} ssl_enabled => true {options} }}");
        let mut trial = Trial::start(&input);
        let (stream, _) = listener.accept().await.unwrap();
        let accepted = TlsAcceptor::from(config.clone()).accept(stream).await;
        match accepted {
            Ok(mut stream) => {
                let _sent = stream.write_all(b"line\n").await;
                let _sent = stream.flush().await;
                if good {
                    trial.events(1).await;
                } else {
                    assert!(stream.read(&mut [0; 1]).await.is_err(), "{host} {options}");
                }
            }
            Err(_) => assert!(!good, "{host} {options}"),
        }
        drop(listener);
        trial.stop().await;
    }
}
