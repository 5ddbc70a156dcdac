//! Attaches to a real server over loopback: who is let in, and what it is told.
use super::authority::Authority;
use super::*;
use crate::state::StoredFleet;
use config::document::{Document, Key};
use proto::control::ToExecutor;
use proto::control::control_client::ControlClient;
use proto::credentials::Credentials;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

const PATIENCE: Duration = Duration::from_secs(20);

struct Desk {
    address: String,
    fleet: watch::Sender<Arc<Published>>,
    events: mpsc::Receiver<ControlEvent>,
    stop: CancellationToken,
    task: JoinSet<()>,
}

fn published(revision: u64) -> Arc<Published> {
    let key = Key { kind: Kind::Docker, name: "nginx".into() };
    let document = Document { text: "input { }".into(), revision: Revision(revision) };
    let fleet = Fleet { revision: Revision(revision), documents: [(key, document)].into() };
    Arc::new(Published { stored: StoredFleet { fleet, ..StoredFleet::default() }, ..Published::default() })
}

async fn desk() -> Desk {
    desk_with(None).await
}

async fn desk_with(tls: Option<Arc<ServerConfig>>) -> Desk {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (fleet, seen) = watch::channel(published(1));
    let (events_out, events) = mpsc::channel(16);
    let stop = CancellationToken::new();
    let mut task = JoinSet::new();
    let serving = serve(Reception { listener, tls }, seen, events_out, stop.clone());
    task.spawn(serving);
    Desk { address, fleet, events, stop, task }
}

impl Desk {
    async fn event(&mut self) -> ControlEvent {
        timeout(PATIENCE, self.events.recv()).await.expect("an event in time").unwrap()
    }

    /// Connects, says `hello`, answers it with `verdict`; gives both ends of the stream.
    async fn attach(
        &mut self,
        hello: wire::Hello,
        verdict: Result<(), String>,
    ) -> Result<(mpsc::Sender<FromExecutor>, Streaming<ToExecutor>), Status> {
        let channel = Endpoint::from_shared(self.address.clone()).unwrap().connect().await.unwrap();
        let (said, saying) = mpsc::channel(8);
        said.send(FromExecutor { body: Some(wire::from_executor::Body::Hello(hello)) }).await.unwrap();
        let mut client = ControlClient::new(channel);
        let attaching = client.attach(ReceiverStream::new(saying));
        let answering = async {
            if let Some(ControlEvent::Hello(_, reply)) = self.events.recv().await {
                reply.send(verdict).unwrap();
            }
        };
        tokio::pin!(attaching);
        let response = tokio::select! {
            response = &mut attaching => response?,
            () = answering => timeout(PATIENCE, attaching).await.expect("an answer in time")?,
        };
        Ok((said, response.into_inner()))
    }
}

impl Desk {
    /// Connects by TLS and says `hello`: `trusted` signs the server's certificate, `shown` is the executor's.
    async fn attach_by_tls(
        &mut self,
        trusted: &Credentials,
        shown: Option<&Credentials>,
        hello: wire::Hello,
    ) -> Result<(), String> {
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&trusted.authority));
        if let Some(shown) = shown {
            tls = tls.identity(Identity::from_pem(&shown.certificate, &shown.key));
        }
        let address = self.address.replace("http://", "https://");
        let endpoint = Endpoint::from_shared(address).unwrap().tls_config(tls).unwrap();
        let connecting = timeout(PATIENCE, endpoint.connect()).await.expect("a connection in time");
        let mut client = ControlClient::new(connecting.map_err(|error| format!("{error:?}"))?);
        let (said, saying) = mpsc::channel(8);
        said.send(FromExecutor { body: Some(wire::from_executor::Body::Hello(hello)) }).await.unwrap();
        let attaching = client.attach(ReceiverStream::new(saying));
        tokio::pin!(attaching);
        loop {
            tokio::select! {
                answer = &mut attaching => return answer.map(drop).map_err(|status| status.message().to_owned()),
                Some(event) = self.events.recv() => if let ControlEvent::Hello(_, reply) = event {
                    reply.send(Ok(())).unwrap();
                }
            }
        }
    }
}

fn introduction() -> wire::Hello {
    wire::Hello {
        protocol: wire::PROTOCOL,
        framework_id: "f".into(),
        agent_id: "a".into(),
        executor_id: "e".into(),
        token: "t".into(),
        ..wire::Hello::default()
    }
}

async fn revision(stream: &mut Streaming<ToExecutor>) -> u64 {
    loop {
        let message = timeout(PATIENCE, stream.message()).await.expect("a message in time").unwrap().unwrap();
        if let Some(wire::to_executor::Body::Assignment(assignment)) = message.body {
            assert_eq!(assignment.documents[0].text, "input { }");
            return assignment.revision;
        }
    }
}

#[tokio::test]
async fn an_executor_that_attaches_gets_the_newest_revision_and_every_newer_one() {
    let mut desk = desk().await;
    let (_said, mut stream) = desk.attach(introduction(), Ok(())).await.unwrap();
    assert_eq!(revision(&mut stream).await, 1);
    desk.fleet.send_replace(published(2));
    assert_eq!(revision(&mut stream).await, 2);
}

#[tokio::test]
async fn an_executor_that_is_not_admitted_is_told_why() {
    let mut desk = desk().await;
    let refused =
        desk.attach(introduction(), Err("the token of executor `e` is wrong".into())).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (tonic::Code::PermissionDenied, "the token of executor `e` is wrong")
    );
}

#[tokio::test]
async fn by_tls_an_executor_is_let_in_with_the_certificate_of_its_own_launch_and_nobody_else() {
    tokio_rustls::rustls::crypto::ring::default_provider().install_default().ok();
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::open(&dir.path().join("ours"), true).unwrap();
    let stranger = Authority::open(&dir.path().join("another"), true).unwrap();
    let addresses = ["127.0.0.1:1".to_owned(), "logs.example:9094".to_owned()];
    let mut desk = desk_with(Some(authority.server(&addresses).unwrap())).await;
    let own = authority.executor("e").unwrap();
    desk.attach_by_tls(&own, Some(&own), introduction()).await.unwrap();

    let of_another = authority.executor("e2").unwrap();
    let why = desk.attach_by_tls(&own, Some(&of_another), introduction()).await.unwrap_err();
    assert_eq!(why, "the certificate is that of executor `e2`, not of `e`");
    let forged = stranger.executor("e").unwrap();
    desk.attach_by_tls(&own, Some(&forged), introduction()).await.unwrap_err();
    desk.attach_by_tls(&own, None, introduction()).await.unwrap_err();
    let why = desk.attach_by_tls(&forged, Some(&own), introduction()).await.unwrap_err();
    assert!(why.contains("InvalidCertificate"), "a scheduler of another authority is not believed: {why}");
    let plain = Endpoint::from_shared(desk.address.clone()).unwrap().connect().await;
    if let Ok(channel) = plain {
        let (_said, saying) = mpsc::channel(1);
        ControlClient::new(channel).attach(ReceiverStream::new(saying)).await.unwrap_err();
    }

    // A scheduler that starts again has another certificate of the same authority.
    drop(desk);
    let again = Authority::open(&dir.path().join("ours"), false).unwrap();
    let mut desk = desk_with(Some(again.server(&addresses).unwrap())).await;
    desk.attach_by_tls(&own, Some(&own), introduction()).await.unwrap();
    let elsewhere = desk_with(Some(again.server(&["10.0.0.1:9094".to_owned()]).unwrap())).await;
    let why = { elsewhere }.attach_by_tls(&own, Some(&own), introduction()).await.unwrap_err();
    assert!(why.contains("NotValidForName"), "it must be the address that was told: {why}");
}

#[tokio::test]
async fn an_executor_of_a_newer_protocol_is_turned_away() {
    let mut desk = desk().await;
    let hello = wire::Hello { protocol: wire::PROTOCOL + 1, ..introduction() };
    let refused = desk.attach(hello, Ok(())).await.unwrap_err();
    assert!(refused.message().contains("use a newer scheduler"), "{refused}");
}

#[tokio::test]
async fn what_an_executor_says_is_handed_on_and_so_is_its_end() {
    let mut desk = desk().await;
    let (said, stream) = desk.attach(introduction(), Ok(())).await.unwrap();
    let failure = wire::Failure {
        kind: wire::Kind::Docker as i32,
        name: "nginx".into(),
        reason: "no such path".into(),
    };
    let applied = wire::Applied { revision: 1, failures: vec![failure] };
    said.send(FromExecutor { body: Some(wire::from_executor::Body::Applied(applied)) }).await.unwrap();
    let counters = Some(wire::Counters { events_out: 7, ..wire::Counters::default() });
    let report = wire::Report { counters, ..wire::Report::default() };
    said.send(FromExecutor { body: Some(wire::from_executor::Body::Report(report)) }).await.unwrap();
    let ControlEvent::Applied(executor, connection, revision, failures) = desk.event().await else {
        panic!()
    };
    assert_eq!((executor, revision, failures[0].reason.as_str()), ("e".into(), Revision(1), "no such path"));
    let ControlEvent::Report(_, _, report) = desk.event().await else { panic!() };
    assert_eq!(report.counters.events_out, 7);
    drop((said, stream));
    let ControlEvent::Detached(executor, ended) = desk.event().await else { panic!() };
    assert_eq!((executor, ended), ("e".into(), connection));
}

#[tokio::test]
async fn what_moved_is_handed_on_as_a_whole_report_and_refused_where_there_was_none() {
    let mut desk = desk().await;
    let (said, mut stream) = desk.attach(introduction(), Ok(())).await.unwrap();
    let movement = |resident_bytes| {
        let movement = wire::Movement { resident_bytes, ..wire::Movement::default() };
        FromExecutor { body: Some(wire::from_executor::Body::Movement(movement)) }
    };
    let docker = Some(wire::DockerState { reachable: true, detail: "27.5".into() });
    let report = wire::Report { docker, ..wire::Report::default() };
    said.send(FromExecutor { body: Some(wire::from_executor::Body::Report(report)) }).await.unwrap();
    said.send(movement(7)).await.unwrap();
    let ControlEvent::Report(_, _, first) = desk.event().await else { panic!() };
    let ControlEvent::Report(_, _, second) = desk.event().await else { panic!() };
    assert_eq!((first.resident_bytes, second.resident_bytes), (0, 7));
    assert_eq!(&*second.docker.unwrap().detail, "27.5");
    let heartbeat = timeout(PATIENCE, async {
        loop {
            let body = stream.message().await.unwrap().unwrap().body;
            if let Some(wire::to_executor::Body::Heartbeat(beat)) = body {
                return beat;
            }
        }
    });
    assert!(heartbeat.await.expect("a heartbeat in time").takes_movements);

    let (said, mut stream) = desk.attach(introduction(), Ok(())).await.unwrap();
    said.send(movement(7)).await.unwrap();
    let refused = timeout(PATIENCE, async {
        loop {
            if let Err(status) = stream.message().await {
                return status;
            }
        }
    });
    let refused = refused.await.expect("an end in time");
    assert!(refused.message().contains("before a report"), "{refused}");
}

#[tokio::test]
async fn the_server_ends_when_it_is_stopped_even_with_executors_attached() {
    let mut desk = desk().await;
    let (_said, mut stream) = desk.attach(introduction(), Ok(())).await.unwrap();
    assert_eq!(revision(&mut stream).await, 1);
    desk.stop.cancel();
    timeout(PATIENCE, desk.task.join_next()).await.expect("an end in time").unwrap().unwrap();
}

#[tokio::test]
async fn what_is_no_business_of_executors_is_not_sent_to_them_again() {
    let mut newest = Newest::of(&published(1));
    let mut troubled = Published::clone(&published(1));
    troubled.trouble = Some("the store does not answer".into());
    assert!(!newest.replace(&troubled));
    assert!(newest.replace(&published(2)));
    let encoded = grpc::frame(wire::to_executor::Body::Assignment(assignment(&published(2).stored.fleet)));
    assert_eq!(newest.frame, encoded);
}

#[tokio::test]
async fn an_executor_hears_at_once_how_often_reports_are_wanted() {
    let mut desk = desk().await;
    let (_said, mut stream) = desk.attach(introduction(), Ok(())).await.unwrap();
    let beat = loop {
        let message = timeout(PATIENCE, stream.message()).await.unwrap().unwrap().unwrap();
        if let Some(wire::to_executor::Body::Heartbeat(beat)) = message.body {
            break beat;
        }
    };
    assert_eq!(beat.report_pause_ms, 1000);
}

#[test]
fn executors_together_report_a_thousand_times_a_second_at_most_until_they_would_fall_silent() {
    for (attached, pause) in [(1, 1000), (1000, 1000), (10_000, 10_000), (100_000, 12_000)] {
        assert_eq!(report_pause(attached), pause);
    }
}

#[tokio::test]
async fn there_is_nothing_but_attach() {
    let desk = desk().await;
    let channel = Endpoint::from_shared(desk.address.clone()).unwrap().connect().await.unwrap();
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<FromExecutor, ToExecutor>::default();
    let path = http::uri::PathAndQuery::from_static("/logherd.control.v1.Control/Other");
    let asked = client.unary(tonic::Request::new(FromExecutor::default()), path, codec);
    let refused: Result<tonic::Response<ToExecutor>, Status> = timeout(PATIENCE, asked).await.unwrap();
    assert_eq!(refused.unwrap_err().code(), tonic::Code::Unimplemented);
}

#[tokio::test]
async fn the_end_of_each_of_many_executors_is_told_also_while_there_is_no_room_for_it() {
    let mut desk = desk().await;
    let mut attached = Vec::new();
    for _ in 0..40 {
        attached.push(desk.attach(introduction(), Ok(())).await.unwrap());
    }
    drop(attached);
    let full = async {
        while desk.events.len() < 16 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, full).await.expect("a full channel in time");
    let mut ended = std::collections::BTreeSet::new();
    while ended.len() < 40 {
        let ControlEvent::Detached(_, connection) = desk.event().await else { panic!() };
        ended.insert(connection);
    }
}
