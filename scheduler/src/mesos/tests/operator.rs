//! Plays the operator API of a master to whoever watches the cluster.
use super::*;
use crate::core::cluster::Standing;
use proto::mesos::v1::master;
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};

/// What the master answers to a question for its agents.
const FINE: &str = "200 OK\r\nContent-Type: application/x-protobuf";
const CHUNKED: &str = "200 OK\r\nContent-Type: application/x-protobuf\r\nTransfer-Encoding: chunked";

fn described(id: &str) -> master::response::get_agents::Agent {
    let agent_info = v1::AgentInfo {
        hostname: format!("host-of-{id}"),
        id: Some(v1::AgentId { value: id.into() }),
        ..Default::default()
    };
    master::response::get_agents::Agent {
        agent_info,
        active: true,
        version: "1.12.0".into(),
        ..Default::default()
    }
}

async fn asked(peer: &mut Peer) -> master::call::Type {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n")
            && let Ok(call) = master::Call::decode(&bytes[end + 4..])
            && call.r#type.is_some()
        {
            return call.r#type();
        }
        assert!(peer.0.read_buf(&mut bytes).await.unwrap() > 0, "whoever asks went away");
    }
}

async fn chunk(peer: &mut Peer, event: master::Event) {
    let record = proto::recordio::encode(&event.encode_to_vec());
    peer.0.write_all(format!("{:x}\r\n", record.len()).as_bytes()).await.unwrap();
    peer.0.write_all(&record).await.unwrap();
    peer.0.write_all(b"\r\n").await.unwrap();
}

/// A master that lists one agent, and on each stream tells of another one and ends the stream when it is told to.
struct Cluster {
    told: mpsc::Receiver<Told>,
    end_stream: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    _master: watch::Sender<Option<String>>,
    _tasks: JoinSet<()>,
}

impl Cluster {
    async fn start(allowed: bool) -> Self {
        let listener = Arc::new(Master::listen().await);
        let (master, seen) = watch::channel(Some(listener.address()));
        let (told_out, told) = mpsc::channel(16);
        let (end_stream, streams) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let mut tasks = JoinSet::new();
        tasks.spawn(watch_cluster(
            seen,
            Access::default(),
            Asking { us: Us::default(), told: told_out, give_up: mpsc::channel(1).1 },
            CancellationToken::new(),
        ));
        let (ended, opened) = (Arc::clone(&end_stream), Arc::clone(&streams));
        tasks.spawn(async move {
            let mut peers = JoinSet::new();
            while let Ok((socket, _)) = listener.0.accept().await {
                let (ended, opened) = (Arc::clone(&ended), Arc::clone(&opened));
                peers.spawn(async move {
                    let mut peer = Peer(socket);
                    let kind = asked(&mut peer).await;
                    if !allowed {
                        return peer.answer("403 Forbidden", b"not for you").await;
                    }
                    if kind == master::call::Type::Subscribe {
                        peer.answer(CHUNKED, b"").await;
                        let agent = described("m-S2");
                        let added = Some(master::event::AgentAdded { agent });
                        let event =
                            master::Event { r#type: Some(4), agent_added: added, ..Default::default() };
                        chunk(&mut peer, event).await;
                        opened.add_permits(1);
                        return ended.acquire().await.unwrap().forget();
                    }
                    let agents = vec![described("m-S1")];
                    let get_agents = Some(master::response::GetAgents { agents, recovered_agents: vec![] });
                    let response = master::Response { get_agents, ..Default::default() };
                    peer.answer(FINE, &response.encode_to_vec()).await;
                });
            }
        });
        Self { told, end_stream, streams, _master: master, _tasks: tasks }
    }

    /// Waits until the master was heard to say something.
    async fn hears(&mut self, what: impl Fn(&Told) -> bool) {
        let hear = async {
            while let Some(told) = self.told.recv().await {
                if what(&told) {
                    return true;
                }
            }
            false
        };
        assert!(timeout(PATIENCE, hear).await.expect("the master to be heard"));
    }
}

#[tokio::test]
async fn agents_are_listed_and_new_ones_are_told_of_at_once_also_after_the_stream_ended() {
    let mut cluster = Cluster::start(true).await;
    cluster
        .hears(|told| matches!(told, Told::Agents(agents) if agents[0].id.0 == "m-S1" && agents[0].standing == Standing::Active))
        .await;
    let added = |told: &Told| matches!(told, Told::Added(agent) if agent.place.host == "host-of-m-S2");
    let mut again = Cluster::start(true).await;
    again.hears(added).await;
    timeout(PATIENCE, again.streams.acquire()).await.unwrap().unwrap().forget();
    again.end_stream.add_permits(1);
    again.hears(added).await;
}

#[tokio::test]
async fn a_master_that_does_not_allow_it_is_told_as_such() {
    let mut cluster = Cluster::start(false).await;
    cluster
        .hears(|told| matches!(told, Told::Failed { denied: true, why } if why.contains("403") && why.contains("not for you")))
        .await;
}
