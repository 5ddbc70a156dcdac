//! Runs a scheduler that finds its master in ZooKeeper, as Mesos' masters elect one there.
use crate::server::Server;
use config::settings::SchedulerSettings;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use web::view::View;
use zookeeper_client::{Acls, Client, CreateMode};

const PATIENCE: Duration = Duration::from_secs(60);

/// A member of the election whose master listens there.
async fn join(client: &Client, number: u32, master: &TcpListener) {
    let port = master.local_addr().unwrap().port();
    let entry = format!(
        r#"{{"id":"m{number}","pid":"master@127.0.0.1:{port}","address":{{"hostname":"nowhere.invalid","ip":"127.0.0.1","port":{port}}}}}"#
    );
    let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
    let path = format!("/mesos/json.info_{number:010}");
    client.create(&path, entry.as_bytes(), &options).await.unwrap();
}

/// Waits for a connection and the first line that is said on it.
async fn first_line(master: &TcpListener) -> String {
    let line = async {
        let (mut socket, _) = master.accept().await.unwrap();
        let mut line = vec![0; 29];
        socket.read_exact(&mut line).await.unwrap();
        String::from_utf8(line).unwrap()
    };
    timeout(PATIENCE, line).await.expect("the scheduler should come to this master")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_master_that_leads_is_talked_to_and_the_next_one_when_it_changes() {
    let Some(server) = Server::start().await else { return };
    let root = tempfile::tempdir().unwrap();
    let state = root.path().join("state").display().to_string();
    let mut settings = SchedulerSettings::for_master(&server.address("mesos"), &state).unwrap();
    settings.control_listen = "127.0.0.1:0".parse().unwrap();
    settings.zk_session_timeout = Duration::from_secs(4);
    let ((_edits, edits), (_orders, orders)) = (mpsc::channel(1), mpsc::channel(1));
    let (view, mut seen) = watch::channel(Arc::new(View::default()));
    let stop = CancellationToken::new();
    let mut running = JoinSet::new();
    running.spawn(scheduler::run(settings, scheduler::People { edits, orders, view }, stop.clone()));
    // Nobody leads yet: the scheduler waits, and says what for.
    let waits = seen.wait_for(|view| view.status.phase == "connecting");
    timeout(PATIENCE, waits).await.expect("a view in time").unwrap();

    let masters =
        [TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap()];
    let server_address = server.address("");
    let server_address = server_address.trim_start_matches("zk://").trim_end_matches('/');
    let client = Client::connect(server_address).await.unwrap();
    let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
    client.create("/mesos", b"", &options).await.unwrap();
    client.create("/mesos/log_replicas", b"", &options).await.unwrap();
    join(&client, 7, &masters[0]).await;
    join(&client, 8, &masters[1]).await;
    assert_eq!(first_line(&masters[0]).await, "POST /api/v1/scheduler HTTP/1");
    client.delete("/mesos/json.info_0000000007", None).await.unwrap();
    assert_eq!(first_line(&masters[1]).await, "POST /api/v1/scheduler HTTP/1");

    stop.cancel();
    timeout(PATIENCE, running.join_next()).await.expect("an end in time").unwrap().unwrap().unwrap();
}
