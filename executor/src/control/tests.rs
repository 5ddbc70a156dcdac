//! Checks the executor's side of the control plane against a scheduler made for the test.
use super::*;
use proto::control::control_server::{Control, ControlServer};
use std::collections::BTreeMap;
use std::pin::Pin;
use tokio::task::JoinSet;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming};

type Outgoing = Pin<Box<dyn futures_util::Stream<Item = Result<wire::ToExecutor, Status>> + Send>>;

type Attached = (Streaming<wire::FromExecutor>, mpsc::Sender<Result<wire::ToExecutor, Status>>);

/// Gives out what the test sends, and hands the test what came.
struct Scheduler {
    attached: mpsc::Sender<Attached>,
}

#[tonic::async_trait]
impl Control for Scheduler {
    type AttachStream = Outgoing;

    async fn attach(
        &self,
        request: Request<Streaming<wire::FromExecutor>>,
    ) -> Result<Response<Outgoing>, Status> {
        let (sender, receiver) = mpsc::channel(4);
        self.attached.send((request.into_inner(), sender)).await.unwrap();
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

struct World {
    attached: mpsc::Receiver<Attached>,
    address: watch::Sender<String>,
    assignments: watch::Receiver<Option<Assignment>>,
    applied: watch::Sender<Option<Applied>>,
    report: watch::Sender<Option<Report>>,
    tasks: JoinSet<()>,
}

async fn listen(tasks: &mut JoinSet<()>) -> (String, mpsc::Receiver<Attached>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, attached) = mpsc::channel(4);
    let service = ControlServer::new(Scheduler { attached: sender }).max_decoding_message_size(MESSAGE_MAX);
    tasks.spawn(async move {
        tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener))
            .await
            .unwrap();
    });
    (address, attached)
}

fn identity() -> Identity {
    Identity {
        data_in_sandbox: false,
        data_dir: "/data".to_owned(),
        framework_id: "f1".into(),
        agent_id: "a1".into(),
        executor_id: "e1".into(),
        host: "node-7".into(),
        token: Some(Secret::from("s3cret".to_owned())),
        credentials: None,
    }
}

async fn world() -> World {
    let mut tasks = JoinSet::new();
    let (address, attached) = listen(&mut tasks).await;
    let (address, watch_address) = watch::channel(address);
    let (assignments, watch_assignments) = watch::channel(None);
    let (applied, watch_applied) = watch::channel(None);
    let (report, watch_report) = watch::channel(None);
    let ends = Ends { address: watch_address, assignments, applied: watch_applied, report: watch_report };
    tasks.spawn(stay_attached(identity(), ends, CancellationToken::new()));
    World { attached, address, assignments: watch_assignments, applied, report, tasks }
}

fn assignment(revision: u64) -> Result<wire::ToExecutor, Status> {
    let document = wire::Document {
        kind: wire::Kind::Docker.into(),
        name: "web/nginx".into(),
        text: "input { }".into(),
        revision,
    };
    let body = wire::to_executor::Body::Assignment(wire::Assignment { revision, documents: vec![document] });
    Ok(wire::ToExecutor { body: Some(body) })
}

async fn next(incoming: &mut Streaming<wire::FromExecutor>) -> wire::from_executor::Body {
    let message = timeout(Duration::from_secs(20), incoming.message()).await.unwrap();
    message.unwrap().unwrap().body.unwrap()
}

#[tokio::test]
async fn it_says_hello_takes_assignments_and_refuses_an_older_one() {
    let mut world = world().await;
    let (mut incoming, outgoing) = world.attached.recv().await.unwrap();
    let wire::from_executor::Body::Hello(hello) = next(&mut incoming).await else { panic!() };
    assert_eq!((hello.token.as_str(), hello.revision, hello.protocol), ("s3cret", 0, wire::PROTOCOL));
    for revision in [5, 4, 6] {
        outgoing.send(assignment(revision)).await.unwrap();
    }
    let mut seen = Vec::new();
    while seen.last() != Some(&6) {
        timeout(Duration::from_secs(20), world.assignments.changed()).await.unwrap().unwrap();
        seen.push(world.assignments.borrow_and_update().as_ref().unwrap().revision.0);
    }
    assert!(!seen.contains(&4), "{seen:?}");
    drop((incoming, outgoing));
    let (mut incoming, _outgoing) = world.attached.recv().await.unwrap();
    let wire::from_executor::Body::Hello(hello) = next(&mut incoming).await else { panic!() };
    assert_eq!(hello.revision, 6, "after a reconnect it says what it has");
    world.tasks.abort_all();
}

#[tokio::test]
async fn what_was_applied_and_how_the_node_is_are_said_on_change_and_after_a_reconnect() {
    let mut world = world().await;
    let (mut incoming, outgoing) = world.attached.recv().await.unwrap();
    next(&mut incoming).await;
    let applied = Applied { revision: Revision(5), failures: Vec::new() };
    world.applied.send_replace(Some(applied));
    let wire::from_executor::Body::Applied(said) = next(&mut incoming).await else { panic!() };
    assert_eq!(said.revision, 5);
    world.report.send_replace(Some(Report { resident_bytes: 7, ..Report::default() }));
    let wire::from_executor::Body::Report(said) = next(&mut incoming).await else { panic!() };
    assert_eq!(said.resident_bytes, 7);
    drop((incoming, outgoing));
    let (mut incoming, _outgoing) = world.attached.recv().await.unwrap();
    next(&mut incoming).await;
    let mut kinds = Vec::new();
    for _ in 0..2 {
        kinds.push(match next(&mut incoming).await {
            wire::from_executor::Body::Applied(_) => "applied",
            wire::from_executor::Body::Report(_) => "report",
            wire::from_executor::Body::Hello(_) => "hello",
            wire::from_executor::Body::Movement(_) => "movement",
        });
    }
    kinds.sort_unstable();
    assert_eq!(kinds, ["applied", "report"]);
    world.tasks.abort_all();
}

#[tokio::test]
async fn a_new_address_is_gone_to_at_once() {
    let mut world = world().await;
    let (mut incoming, _outgoing) = world.attached.recv().await.unwrap();
    next(&mut incoming).await;
    let (address, mut attached) = listen(&mut world.tasks).await;
    world.address.send_replace(address);
    let (mut incoming, _outgoing) = timeout(Duration::from_secs(20), attached.recv()).await.unwrap().unwrap();
    let wire::from_executor::Body::Hello(_) = next(&mut incoming).await else { panic!() };
    world.tasks.abort_all();
}

#[tokio::test(start_paused = true)]
async fn after_days_without_a_scheduler_one_report_tells_all_of_it() {
    let mut tasks = JoinSet::new();
    let (address, watch_address) = watch::channel("[".to_owned());
    let (assignments, _) = watch::channel(None);
    let (applied, watch_applied) = watch::channel(None);
    let (report, watch_report) = watch::channel(None);
    let ends = Ends { address: watch_address, assignments, applied: watch_applied, report: watch_report };
    tasks.spawn(stay_attached(identity(), ends, CancellationToken::new()));
    let began = Instant::now();
    let mut counters = Counters::default();
    let (mut minute, mut minutes) = (tokio::time::interval(Duration::from_secs(60)), 0);
    while began.elapsed() < Duration::from_secs(3 * 86_400) {
        minute.tick().await;
        minutes += 1;
        (counters.events_in, counters.events_out) = (minutes * 100, minutes * 90);
        (counters.dropped_lines, counters.dead_letters, counters.retries) =
            (minutes, minutes * 9, minutes * 2);
        report.send_replace(Some(Report { counters, ..Report::default() }));
        let key = Key { kind: Kind::Docker, name: "web".into() };
        let failure = Failure { key, reason: format!("failed {minutes} times") };
        applied.send_replace(Some(Applied { revision: Revision(minutes), failures: vec![failure] }));
    }
    tokio::time::resume();
    let (there, mut attached) = listen(&mut tasks).await;
    address.send_replace(there);
    let (mut incoming, _outgoing) = timeout(Duration::from_secs(20), attached.recv()).await.unwrap().unwrap();
    let (mut said_applied, mut said_report) = (None, None);
    while said_applied.is_none() || said_report.is_none() {
        match next(&mut incoming).await {
            wire::from_executor::Body::Hello(_) => {}
            wire::from_executor::Body::Applied(said) => said_applied = Some(said),
            wire::from_executor::Body::Report(said) => said_report = Some(said),
            wire::from_executor::Body::Movement(_) => panic!("nothing was reported yet"),
        }
    }
    let said = said_report.unwrap().counters.unwrap();
    assert_eq!((said.events_in, said.events_out), (minutes * 100, minutes * 90));
    assert_eq!((said.dropped_lines, said.dead_letters, said.retries), (minutes, minutes * 9, minutes * 2));
    let said = said_applied.unwrap();
    assert_eq!((said.revision, said.failures.len()), (minutes, 1), "the newest, not all of them");
    assert_eq!(said.failures[0].reason, format!("failed {minutes} times"));
    tasks.abort_all();
}

#[test]
fn the_pause_grows_until_a_scheduler_gives_work_and_is_short_again_then() {
    let mut pace = Pace::default();
    let pauses: Vec<Duration> = (0..8).map(|_| pace.pause(false)).collect();
    assert!(pauses.is_sorted() && pauses.first() < pauses.last());
    assert_eq!((pauses[0], pauses[7]), (PAUSE_MIN, PAUSE_MAX));
    assert_eq!(pace.pause(true), PAUSE_MIN, "it was attached, however short");
    assert_eq!(pace.pause(false), PAUSE_MIN * 2);
}

#[test]
fn a_document_of_an_unknown_kind_is_left_out() {
    let document = wire::Document { kind: 0, name: "x".into(), text: String::new(), revision: 1 };
    let taken = assignment_from_wire(wire::Assignment { revision: 3, documents: vec![document] });
    assert_eq!(taken, Assignment { revision: Revision(3), documents: BTreeMap::new() });
}

#[tokio::test]
async fn where_nothing_but_numbers_is_new_only_those_are_sent_and_only_to_a_scheduler_that_takes_them() {
    let mut world = world().await;
    let (mut incoming, outgoing) = world.attached.recv().await.unwrap();
    next(&mut incoming).await;
    let report = |detail: &str, resident_bytes| {
        Some(Report { docker_detail: detail.to_owned(), resident_bytes, ..Report::default() })
    };
    world.report.send_replace(report("27.5", 1));
    let wire::from_executor::Body::Report(_) = next(&mut incoming).await else { panic!() };
    world.report.send_replace(report("27.5", 2));
    let wire::from_executor::Body::Report(_) = next(&mut incoming).await else { panic!() };
    let beat = wire::Heartbeat { report_pause_ms: 0, takes_movements: true };
    let body = Some(wire::to_executor::Body::Heartbeat(beat));
    outgoing.send(Ok(wire::ToExecutor { body })).await.unwrap();
    // What follows on the same stream shows that the heartbeat was heard.
    outgoing.send(assignment(9)).await.unwrap();
    timeout(Duration::from_secs(20), world.assignments.changed()).await.unwrap().unwrap();
    world.report.send_replace(report("27.5", 3));
    let wire::from_executor::Body::Movement(moved) = next(&mut incoming).await else { panic!() };
    assert_eq!(moved, wire::Movement { resident_bytes: 3, ..wire::Movement::default() });
    world.report.send_replace(report("28.0", 3));
    let wire::from_executor::Body::Report(said) = next(&mut incoming).await else { panic!() };
    assert_eq!(said.docker.unwrap().detail, "28.0");
    world.tasks.abort_all();
}
