//! Senders over real sockets.
use super::*;
use crate::lumberjack::tests::{old_window, window};
use crate::trial::inputs::{Trial, free_port};
use tokio::net::TcpStream;

async fn started(options: &str) -> (Trial, TcpStream) {
    let port = free_port();
    let mut trial = Trial::start(&format!("beats {{ host => '127.0.0.1' port => {port} {options} }}"));
    let mut stream = None;
    let connect = async || {
        stream = TcpStream::connect(("127.0.0.1", port)).await.ok();
        stream.is_some()
    };
    trial.until("somebody listens", connect).await;
    (trial, stream.unwrap())
}

async fn told(stream: &mut TcpStream) -> Vec<u8> {
    let mut frame = vec![0; 6];
    stream.read_exact(&mut frame).await.unwrap();
    frame
}

#[tokio::test]
async fn windows_are_acknowledged_when_their_events_have_arrived() {
    let options =
        "tags => [mine] add_field => { ip => '%{[@metadata][ip_address]}' beat => '%{[@metadata][beat]}' }";
    let (mut trial, mut stream) = started(options).await;
    let filebeat = r#"{"@timestamp":"2026-01-02T03:04:05.678Z","@metadata":{"beat":"filebeat"},"message":"a line","tags":["a"],"host":{"name":"web"}}"#;
    stream.write_all(&window(&[filebeat, r#"{"cpu":0.5}"#], false)).await.unwrap();
    assert_eq!(told(&mut stream).await, b"2A\0\0\0\x02");
    let events = trial.events(2).await;
    assert_eq!((&events[0]["message"], &events[0]["host"]["name"]), (&"a line".into(), &"web".into()));
    assert_eq!(events[0]["tags"], serde_json::json!(["a", "mine", "beats_input_codec_plain_applied"]));
    assert_eq!((&events[0]["ip"], &events[0]["beat"]), (&"127.0.0.1".into(), &"filebeat".into()));
    assert_eq!(events[0]["@timestamp"], "2026-01-02T03:04:05.678Z");
    assert_eq!(
        (&events[1]["cpu"], &events[1]["tags"]),
        (&0.5.into(), &serde_json::json!(["mine", "beats_input_raw_event"]))
    );
    stream.write_all(&window(&["{}"], true)).await.unwrap();
    assert_eq!(told(&mut stream).await, b"2A\0\0\0\x01");
    stream.write_all(&old_window(&[("line", "old"), ("file", "f")])).await.unwrap();
    assert_eq!(told(&mut stream).await, b"1A\0\0\0\x07");
    let events = trial.events(4).await;
    assert_eq!((&events[3]["message"], &events[3]["file"]), (&"old".into(), &"f".into()));
    trial.stop().await;
}

#[tokio::test]
async fn the_codec_reads_the_message_and_what_came_with_it_wins() {
    let (mut trial, mut stream) = started("codec => json enrich => none").await;
    let event = r#"{"message":"{\"a\":1,\"log\":{\"level\":\"info\"}}","log":{"offset":7},"a":2}"#;
    stream.write_all(&window(&[event, "[1]"], false)).await.unwrap();
    let events = trial.events(2).await;
    assert_eq!(
        (&events[0]["a"], &events[0]["log"]),
        (&2.into(), &serde_json::json!({"level": "info", "offset": 7}))
    );
    assert_eq!(events[0].get("tags"), None);
    assert_eq!(
        (&events[1]["message"], &events[1]["tags"]),
        (&"[1]".into(), &serde_json::json!(["_jsonparsefailure"]))
    );
}

#[tokio::test]
async fn what_is_no_lumberjack_is_refused_and_others_are_served() {
    let (mut trial, mut stream) = started("").await;
    let port = stream.peer_addr().unwrap().port();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
    let mut other = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    other.write_all(&window(&["{}"], false)).await.unwrap();
    assert_eq!(told(&mut other).await, b"2A\0\0\0\x01");
    trial.events(1).await;
}

#[tokio::test]
async fn a_silent_connection_is_closed() {
    let (_trial, mut stream) = started("client_inactivity_timeout => 0.05").await;
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test]
async fn events_that_an_output_does_not_take_are_not_acknowledged_but_in_work() {
    let port = free_port();
    let dir = tempfile::tempdir().unwrap();
    let nowhere = free_port();
    let text = format!(
        "input {{ beats {{ host => '127.0.0.1' port => {port} }} }}
         output {{ tcp {{ host => '127.0.0.1' port => {nowhere} }} }}"
    );
    let plan = crate::compile(crate::Scope::Run, &text, &|_| None).unwrap();
    let around = crate::Surroundings::new(dir.path().join("data"), "host-1", "test");
    let running = crate::start(plan, around).unwrap();
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    let mut stream = loop {
        tick.tick().await;
        if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)).await {
            break stream;
        }
    };
    stream.write_all(&window(&["{}"], false)).await.unwrap();
    assert_eq!(told(&mut stream).await, b"2A\0\0\0\0", "it is in work");
    let taking = tokio::net::TcpListener::bind(("127.0.0.1", nowhere)).await.unwrap();
    let accepted = tokio::time::timeout(Duration::from_secs(30), taking.accept());
    let _taken = accepted.await.unwrap().unwrap();
    let mut frame = told(&mut stream).await;
    while frame == b"2A\0\0\0\0" {
        frame = told(&mut stream).await;
    }
    assert_eq!(frame, b"2A\0\0\0\x01");
    running.stop(Duration::from_secs(20)).await.unwrap();
}

#[tokio::test]
async fn senders_show_a_certificate_that_is_told_and_others_are_refused() {
    use crate::trial::certificates::{certificates, tls};
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let at = dir.path().display();
    let (mut trial, stream) = started(&format!(
        "ssl_enabled => true ssl_certificate => '{at}/localhost.pem' ssl_key => '{at}/localhost.key'
         ssl_certificate_authorities => ['{at}/ca.pem'] enrich => [ssl_peer_metadata]
         add_field => {{ of => '%{{[@metadata][tls_peer][subject]}}' }}"
    ))
    .await;
    let port = stream.peer_addr().unwrap().port();
    drop(stream);
    let connect = async |own: Option<&str>| {
        let config = tls(dir.path(), own).client(crate::tls::Verification::Full).unwrap();
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        tokio_rustls::TlsConnector::from(config).connect(name, stream).await
    };
    // With TLS 1.3 a client hears only afterwards that it is refused.
    if let Ok(mut stream) = connect(None).await {
        let _sent = stream.write_all(&window(&["{}"], false)).await;
        assert!(stream.read(&mut [0; 1]).await.is_err());
    }
    let mut stream = connect(Some("client")).await.unwrap();
    stream.write_all(&window(&[r#"{"message":"secret"}"#], false)).await.unwrap();
    stream.flush().await.unwrap();
    let mut frame = [0; 6];
    stream.read_exact(&mut frame).await.unwrap();
    assert_eq!(&frame, b"2A\0\0\0\x01");
    let events = trial.events(1).await;
    assert_eq!((&events[0]["message"], &events[0]["of"]), (&"secret".into(), &"O=Example,CN=client".into()));
    trial.stop().await;
}
