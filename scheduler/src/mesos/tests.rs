//! Plays the master to the client: scripted answers over real sockets.
use super::*;
use prost::Message;
use proto::mesos::v1;
use proto::mesos::v1::scheduler as sched;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

mod operator;
mod recorded;

const PATIENCE: Duration = Duration::from_secs(20);

struct Master(TcpListener);

impl Master {
    async fn listen() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn address(&self) -> String {
        self.0.local_addr().unwrap().to_string()
    }

    async fn accept(&self) -> Peer {
        Peer(timeout(PATIENCE, self.0.accept()).await.expect("a connection").unwrap().0)
    }

    /// Takes a SUBSCRIBE, answers with a stream and SUBSCRIBED; gives the stream, the connection for calls, the request.
    async fn subscribe(&self, framework: &str, heartbeat: f64) -> (Peer, Peer, Asked) {
        let mut stream = self.accept().await;
        let asked = stream.request().await;
        stream.answer("200 OK\r\nMesos-Stream-Id: stream-7\r\nTransfer-Encoding: chunked\r\nContent-Type: application/x-protobuf", b"").await;
        let subscribed = sched::event::Subscribed {
            framework_id: v1::FrameworkId { value: framework.into() },
            heartbeat_interval_seconds: Some(heartbeat),
            master_info: None,
        };
        let calls = self.accept().await;
        stream
            .event(sched::Event { r#type: Some(1), subscribed: Some(subscribed), ..Default::default() })
            .await;
        (stream, calls, asked)
    }
}

struct Asked {
    head: String,
    call: sched::Call,
}

struct Peer(TcpStream);

impl Peer {
    async fn request(&mut self) -> Asked {
        timeout(PATIENCE, self.read_request()).await.expect("a request")
    }

    async fn read_request(&mut self) -> Asked {
        let mut bytes = Vec::new();
        loop {
            let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4);
            if let Some(end) = end {
                let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
                let length = head.split("content-length: ").nth(1).unwrap().split('\r').next().unwrap();
                let length: usize = length.parse().unwrap();
                if bytes.len() >= end + length {
                    let call = sched::Call::decode(&bytes[end..end + length]).unwrap();
                    return Asked { head: String::from_utf8(bytes[..end].to_vec()).unwrap(), call };
                }
            }
            assert!(self.0.read_buf(&mut bytes).await.unwrap() > 0, "the client went away");
        }
    }

    async fn answer(&mut self, status_and_headers: &str, body: &[u8]) {
        let length = if status_and_headers.contains("chunked") {
            String::new()
        } else {
            format!("\r\nContent-Length: {}", body.len())
        };
        self.0.write_all(format!("HTTP/1.1 {status_and_headers}{length}\r\n\r\n").as_bytes()).await.unwrap();
        self.0.write_all(body).await.unwrap();
    }

    /// Sends an event in two chunks that are cut anywhere.
    async fn event(&mut self, event: sched::Event) {
        let record = proto::recordio::encode(&event.encode_to_vec());
        let (first, second) = record.split_at(record.len() / 3);
        for part in [first, second].into_iter().filter(|part| !part.is_empty()) {
            self.0.write_all(format!("{:x}\r\n", part.len()).as_bytes()).await.unwrap();
            self.0.write_all(part).await.unwrap();
            self.0.write_all(b"\r\n").await.unwrap();
        }
    }

    async fn error(&mut self, message: &str) {
        let error = sched::event::Error { message: message.into() };
        self.event(sched::Event { r#type: Some(7), error: Some(error), ..Default::default() }).await;
    }
}

/// A client that runs, and both ends of its channels.
struct Running {
    events: mpsc::Receiver<MesosEvent>,
    commands: mpsc::Sender<Command>,
    _task: JoinSet<()>,
}

impl Running {
    fn start(masters: &str, framework: Option<&str>, credentials: Option<Credentials>) -> Self {
        let masters = Masters::parse(masters).unwrap().0;
        Self::among(masters, framework, Access { credentials, tls: None })
    }

    fn among(masters: Masters, framework: Option<&str>, access: Access) -> Self {
        let settings = config::settings::SchedulerSettings::for_master("m:5050", "/state").unwrap();
        let client = Client {
            masters,
            registration: Registration {
                name: "logherd".into(),
                user: "root".into(),
                roles: vec!["logherd".into(), "ops/logs".into()],
                principal: None,
                failover_timeout: Duration::from_secs(604_800),
                hostname: Some("leader.example".into()),
                webui_url: "http://127.0.0.1:9092/".into(),
            },
            access,
            template: Template::new(
                Program::OnNode("/opt/logherd".into()),
                "root",
                &settings.executor,
                &settings.collecting,
            ),
            framework: framework.map(Into::into),
        };
        let (events_out, events) = mpsc::channel(64);
        let (commands, commands_in) = mpsc::channel(64);
        let mut task = JoinSet::new();
        task.spawn(client.run(events_out, commands_in, CancellationToken::new()));
        Self { events, commands, _task: task }
    }

    async fn event(&mut self) -> Option<MesosEvent> {
        timeout(PATIENCE, self.events.recv()).await.expect("an event in time")
    }

    async fn subscribed(&mut self) -> u64 {
        loop {
            match self.event().await {
                Some(MesosEvent::Subscribed { subscription, .. }) => return subscription,
                Some(MesosEvent::Disconnected { .. }) => {}
                other => panic!("expected a subscription, got {other:?}"),
            }
        }
    }

    async fn disconnected(&mut self) -> String {
        match self.event().await {
            Some(MesosEvent::Disconnected { why }) => why,
            other => panic!("expected a disconnection, got {other:?}"),
        }
    }

    async fn call(&self, subscription: u64, call: Call) {
        self.commands.send(Command::Call(subscription, Box::new(call))).await.unwrap();
    }
}

#[tokio::test]
async fn a_subscription_names_its_encoding_and_calls_carry_its_stream_id() {
    let master = Master::listen().await;
    let mut client = Running::start(&master.address(), None, None);
    let (_stream, mut calls, asked) = master.subscribe("f-1", 15.0).await;
    assert!(asked.head.starts_with("POST /api/v1/scheduler HTTP/1.1\r\n"));
    let head = asked.head.to_lowercase();
    assert!(head.contains("\r\naccept: application/x-protobuf\r\n"));
    assert!(head.contains("\r\ncontent-type: application/x-protobuf\r\n"));
    assert!(!head.contains("mesos-stream-id") && !head.contains("authorization"));
    let info = asked.call.subscribe.unwrap().framework_info;
    assert_eq!((asked.call.framework_id, info.id, info.checkpoint), (None, None, Some(true)));
    assert_eq!((info.roles, info.role), (vec!["logherd".to_owned(), "ops/logs".to_owned()], None));
    assert_eq!(info.hostname.as_deref(), Some("leader.example"), "Mesos' pages show it");
    assert_eq!(info.webui_url.as_deref(), Some("http://127.0.0.1:9092/"));
    use v1::framework_info::capability::Type;
    let capabilities: Vec<Type> = info.capabilities.iter().map(|c| c.r#type()).collect();
    for needed in [Type::MultiRole, Type::ReservationRefinement, Type::GpuResources, Type::RegionAware] {
        assert!(capabilities.contains(&needed), "{needed:?}: agents of some kind would never be offered");
    }
    let subscription = client.subscribed().await;
    client.call(subscription, Call::Revive).await;
    let asked = calls.request().await;
    assert!(asked.head.to_lowercase().contains("\r\nmesos-stream-id: stream-7\r\n"));
    assert_eq!(asked.call.framework_id.unwrap().value, "f-1");
    assert_eq!(asked.call.r#type, Some(sched::call::Type::Revive as i32));
    calls.answer("202 Accepted", b"").await;
    client.call(subscription, Call::Kill("t".into(), "a".into())).await;
    assert_eq!(calls.request().await.call.kill.unwrap().task_id.value, "t");
}

/// A connection takes a call only some time after the answer to the one before was read: however short that is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_follow_each_other_at_once_all_go_out() {
    let master = Master::listen().await;
    let mut client = Running::start(&master.address(), None, None);
    let (_stream, mut calls, _) = master.subscribe("f-1", 15.0).await;
    let subscription = client.subscribed().await;
    let commands = client.commands.clone();
    let mut sending = JoinSet::new();
    sending.spawn(async move {
        for _ in 0..3000 {
            commands.send(Command::Call(subscription, Box::new(Call::Revive))).await.unwrap();
        }
    });
    for _ in 0..3000 {
        calls.request().await;
        let answer = b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nAccepted\r\n0\r\n\r\n";
        calls.0.write_all(answer).await.unwrap();
    }
    sending.join_all().await;
}

#[tokio::test]
async fn inverse_offers_are_declined_with_their_filter_on_the_wire() {
    let master = Master::listen().await;
    let mut client = Running::start(&master.address(), None, None);
    let (_stream, mut calls, _) = master.subscribe("f-1", 15.0).await;
    let subscription = client.subscribed().await;
    let refuse = Duration::from_secs(3600);
    client.call(subscription, Call::DeclineInverse { offers: vec!["i-1".into()], refuse }).await;
    let call = calls.request().await.call;
    assert_eq!(call.r#type, Some(sched::call::Type::DeclineInverseOffers as i32));
    let decline = call.decline_inverse_offers.unwrap();
    assert_eq!(decline.inverse_offer_ids, [v1::OfferId { value: "i-1".into() }]);
    assert_eq!(decline.filters.unwrap().refuse_seconds, Some(3600.0));
}

#[tokio::test]
async fn a_redirect_leads_to_the_leader() {
    let (follower, leader) = (Master::listen().await, Master::listen().await);
    let mut client = Running::start(&follower.address(), None, None);
    let mut peer = follower.accept().await;
    peer.request().await;
    let location =
        format!("307 Temporary Redirect\r\nLocation: //{}/master/api/v1/scheduler", leader.address());
    peer.answer(&location, b"").await;
    let _open = leader.subscribe("f-1", 15.0).await;
    client.subscribed().await;
}

#[tokio::test]
async fn masters_that_send_each_other_around_are_left_alone_for_a_while() {
    let (one, other) = (Master::listen().await, Master::listen().await);
    let mut client = Running::start(&one.address(), None, None);
    for n in 0..=HOPS {
        let (here, there) = if n % 2 == 0 { (&one, &other) } else { (&other, &one) };
        let mut peer = here.accept().await;
        peer.request().await;
        peer.answer(&format!("307 Temporary Redirect\r\nLocation: //{}/x", there.address()), b"").await;
    }
    assert!(client.disconnected().await.contains("the masters send us around"));
}

#[tokio::test]
async fn a_master_that_is_not_ready_is_passed_over_for_the_next_one() {
    let (first, second) = (Master::listen().await, Master::listen().await);
    let mut client = Running::start(&format!("{}, {}", first.address(), second.address()), None, None);
    let mut peer = first.accept().await;
    peer.request().await;
    peer.answer("503 Service Unavailable", b"Master has not finished recovery").await;
    assert!(
        client.disconnected().await.contains("503 Service Unavailable: Master has not finished recovery")
    );
    let _open = second.subscribe("f-1", 15.0).await;
    client.subscribed().await;
}

#[tokio::test]
async fn a_lost_subscription_is_taken_up_again_with_the_framework_id_in_both_places() {
    let master = Master::listen().await;
    let mut client = Running::start(&master.address(), Some("f-1"), None);
    let opened = master.subscribe("f-1", 15.0).await;
    let first = client.subscribed().await;
    drop(opened);
    client.disconnected().await;
    client.call(first, Call::Revive).await;
    let (_stream, mut calls, asked) = master.subscribe("f-1", 15.0).await;
    assert_eq!(asked.call.framework_id.unwrap().value, "f-1");
    assert_eq!(asked.call.subscribe.unwrap().framework_info.id.unwrap().value, "f-1");
    let second = client.subscribed().await;
    assert!(second > first);
    client.call(second, Call::Kill("t".into(), "a".into())).await;
    let asked = calls.request().await;
    assert!(asked.call.kill.is_some(), "a call of the lost subscription was sent: {:?}", asked.call);
}

/// Whoever commands takes no events while too many commands wait, and the client cannot say that its subscription is gone.
#[tokio::test]
async fn commands_without_a_subscription_are_dropped_also_while_nobody_takes_events() {
    let master = Master::listen().await;
    let mut client = Running::start(&master.address(), Some("f-1"), None);
    let (mut stream, calls, _) = master.subscribe("f-1", 15.0).await;
    let first = client.subscribed().await;
    for n in 0..client.events.max_capacity() {
        let rescind = sched::event::Rescind { offer_id: v1::OfferId { value: format!("o{n}") } };
        let of = sched::event::Type::Rescind;
        stream
            .event(sched::Event { r#type: Some(of.into()), rescind: Some(rescind), ..Default::default() })
            .await;
    }
    drop((stream, calls));
    let many = client.commands.max_capacity() * 3;
    let all = async {
        for _ in 0..many {
            client.call(first, Call::Revive).await;
        }
    };
    timeout(PATIENCE, all).await.expect("the client takes commands");
    for _ in 0..client.events.max_capacity() {
        assert!(matches!(client.event().await, Some(MesosEvent::Rescinded(_))));
    }
    client.disconnected().await;
    let (_stream, mut calls, _) = master.subscribe("f-1", 15.0).await;
    let second = client.subscribed().await;
    client.call(second, Call::Kill("t".into(), "a".into())).await;
    assert!(calls.request().await.call.kill.is_some());
}

#[tokio::test]
async fn losing_the_connection_for_calls_is_losing_the_subscription() {
    let master = Master::listen().await;
    let mut client = Running::start(&master.address(), None, None);
    let (_stream, calls, _) = master.subscribe("f-1", 15.0).await;
    let subscription = client.subscribed().await;
    drop(calls);
    client.call(subscription, Call::Revive).await;
    assert!(client.disconnected().await.contains("a call failed"));
}

#[tokio::test]
async fn a_master_that_gives_no_sign_of_life_is_given_up() {
    let master = Master::listen().await;
    let mut client = Running::start(&master.address(), None, None);
    let _open = master.subscribe("f-1", 0.05).await;
    client.subscribed().await;
    assert!(client.disconnected().await.contains("no sign of life"));
}

#[tokio::test]
async fn a_removed_framework_registers_anew_only_when_it_is_told_to() {
    let master = Master::listen().await;
    let mut client = Running::start(&master.address(), Some("f-1"), None);
    let (mut stream, _calls, _) = master.subscribe("f-1", 15.0).await;
    let subscription = client.subscribed().await;
    stream.error("Framework has been removed").await;
    assert_eq!(client.event().await, Some(MesosEvent::Removed));
    client.call(subscription, Call::Revive).await;
    client.commands.send(Command::Register).await.unwrap();
    let (_stream, _calls, asked) = master.subscribe("f-2", 15.0).await;
    assert_eq!((asked.call.framework_id, asked.call.subscribe.unwrap().framework_info.id), (None, None));
    client.subscribed().await;
}

#[tokio::test]
async fn a_framework_that_another_scheduler_took_over_is_not_taken_back() {
    let master = Master::listen().await;
    let mut client = Running::start(&master.address(), Some("f-1"), None);
    let (mut stream, _calls, _) = master.subscribe("f-1", 15.0).await;
    client.subscribed().await;
    stream.error("Framework failed over").await;
    assert_eq!(client.event().await, Some(MesosEvent::Superseded));
    assert_eq!(client.event().await, None);
}

#[tokio::test]
async fn a_call_that_fails_because_another_scheduler_took_over_does_not_make_the_client_come_back() {
    let master = Master::listen().await;
    let mut client = Running::start(&master.address(), Some("f-1"), None);
    let (mut stream, mut calls, _) = master.subscribe("f-1", 15.0).await;
    let subscription = client.subscribed().await;
    client.call(subscription, Call::Revive).await;
    calls.request().await;
    calls.answer("400 Bad Request", b"The stream ID included in this request didn't match").await;
    stream.error("Framework failed over").await;
    assert_eq!(client.event().await, Some(MesosEvent::Superseded));
}

#[tokio::test]
async fn credentials_go_with_every_request_and_a_refusal_says_what_to_check() {
    let master = Master::listen().await;
    let credentials = Credentials { principal: "logherd".into(), secret: "pass".into() };
    let mut client = Running::start(&master.address(), None, Some(credentials));
    let mut peer = master.accept().await;
    let asked = peer.request().await;
    assert!(asked.head.contains("authorization: Basic bG9naGVyZDpwYXNz"), "{}", asked.head);
    peer.answer("401 Unauthorized", b"").await;
    let why = client.disconnected().await;
    assert!(why.contains("401") && why.contains("check the principal and the secret file"), "{why}");
}

/// Masters of which ZooKeeper names one.
fn elected(leader: &str) -> (Masters, tokio::sync::watch::Sender<Option<String>>) {
    let (masters, election) = Masters::parse("zk://z:2181/mesos").unwrap();
    let (_, named) = election.unwrap();
    named.send_replace(Some(leader.to_owned()));
    (masters, named)
}

#[tokio::test]
async fn a_master_that_zookeeper_names_is_asked_again_when_it_sends_us_to_another_one() {
    let (master, other) = (Master::listen().await, Master::listen().await);
    let (masters, _named) = elected(&master.address());
    let mut client = Running::among(masters, Some("f-1"), Access::default());
    let elsewhere = format!("307 Temporary Redirect\r\nLocation: //{}/master{PATH}", other.address());
    let mut peer = master.accept().await;
    peer.request().await;
    peer.answer(&elsewhere, b"").await;
    assert!(client.disconnected().await.contains("which names"));
    let mut peer = master.accept().await;
    peer.request().await;
    peer.answer("503 Service Unavailable", b"").await;
    client.disconnected().await;
    let (_stream, _calls, _) = master.subscribe("f-1", 15.0).await;
    client.subscribed().await;
}

#[tokio::test]
async fn when_zookeeper_names_another_master_the_subscription_moves_there_at_once() {
    let (master, other) = (Master::listen().await, Master::listen().await);
    let (masters, named) = elected(&master.address());
    let mut client = Running::among(masters, Some("f-1"), Access::default());
    let (_stream, _calls, _) = master.subscribe("f-1", 15.0).await;
    client.subscribed().await;
    // Nobody leads for a moment: who was found stays until another one is known.
    named.send_replace(None);
    named.send_replace(Some(other.address()));
    assert!(client.disconnected().await.contains("leads now"));
    let (_stream, _calls, asked) = other.subscribe("f-1", 15.0).await;
    assert_eq!(asked.call.framework_id.unwrap().value, "f-1");
    client.subscribed().await;
}
