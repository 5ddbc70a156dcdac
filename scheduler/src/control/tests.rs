//! Attaches to a real server over loopback: who is let in, and what it is told.
use super::*;
use crate::state::StoredFleet;
use config::document::Document;
use proto::control::control_client::ControlClient;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;

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
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (fleet, seen) = watch::channel(published(1));
    let (events_out, events) = mpsc::channel(16);
    let stop = CancellationToken::new();
    let mut task = JoinSet::new();
    let serving = serve(listener, seen, events_out, stop.clone());
    task.spawn(async move { serving.await.unwrap() });
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
async fn the_server_ends_when_it_is_stopped_even_with_executors_attached() {
    let mut desk = desk().await;
    let (_said, mut stream) = desk.attach(introduction(), Ok(())).await.unwrap();
    assert_eq!(revision(&mut stream).await, 1);
    desk.stop.cancel();
    timeout(PATIENCE, desk.task.join_next()).await.expect("an end in time").unwrap().unwrap();
}
