//! Shows what the ZooKeeper client was chosen for (`docs/decisions/0001-zookeeper-client.md`): if one of these fails, the
//! decision has to be looked at again.
use crate::server::Server;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use zookeeper_client::{
    Acls, Client, CreateMode, CreateOptions, Error, EventType, MultiWriteError, SessionState,
};

const PATIENCE: Duration = Duration::from_secs(60);
const OPEN: CreateOptions<'static> = CreateMode::Persistent.with_acls(Acls::anyone_all());

async fn connect(server: &Server, session: Duration) -> Client {
    let address = server.address("");
    let servers = address.trim_start_matches("zk://").trim_end_matches('/');
    Client::connector().with_session_timeout(session).connect(servers).await.unwrap()
}

#[tokio::test]
async fn a_watch_lives_on_when_the_server_is_restarted_within_the_session() {
    let Some(mut server) = Server::start().await else { return };
    let client = connect(&server, Duration::from_secs(10)).await;
    client.create("/watched", b"0", &OPEN).await.unwrap();
    let (_, _, watch) = client.get_and_watch_data("/watched").await.unwrap();
    server.kill().await;
    server.restart().await;
    let other = connect(&server, Duration::from_secs(10)).await;
    other.set_data("/watched", b"1", None).await.unwrap();
    let event = timeout(PATIENCE, watch.changed()).await.expect("the watch should fire");
    assert_eq!(event.event_type, EventType::NodeDataChanged);
}

#[tokio::test]
async fn a_frozen_server_is_noticed_before_the_session_times_out_and_its_end_is_final() {
    let Some(server) = Server::start().await else { return };
    let session = Duration::from_secs(6);
    let client = connect(&server, session).await;
    let mut states = client.state_watcher();
    let frozen = Instant::now();
    server.signal("-STOP").await;
    assert_eq!(
        timeout(PATIENCE, states.changed()).await.expect("a change of state"),
        SessionState::Disconnected
    );
    assert!(frozen.elapsed() < session, "noticed only after {:?}", frozen.elapsed());
    assert_eq!(timeout(PATIENCE, states.changed()).await.expect("a change of state"), SessionState::Expired);
    server.signal("-CONT").await;
    assert_eq!(client.get_data("/").await.unwrap_err(), Error::SessionExpired);
}

#[tokio::test]
async fn of_several_changes_with_one_that_does_not_fit_none_is_made() {
    let Some(server) = Server::start().await else { return };
    let client = connect(&server, Duration::from_secs(10)).await;
    client.create("/a", b"0", &OPEN).await.unwrap();
    let mut writer = client.new_multi_writer();
    writer.add_create("/b", b"0", &OPEN).unwrap();
    writer.add_set_data("/a", b"1", Some(7)).unwrap();
    let error = writer.commit().await.unwrap_err();
    assert_eq!(error, MultiWriteError::OperationFailed { index: 1, source: Error::BadVersion });
    assert_eq!(client.check_stat("/b").await.unwrap(), None);
    assert_eq!(client.get_data("/a").await.unwrap().0, b"0");
}

#[tokio::test]
async fn connecting_to_nobody_ends_with_the_session_timeout() {
    let session = Duration::from_secs(2);
    let connecting = Client::connector().with_session_timeout(session).connect("127.0.0.1:1");
    let error = timeout(PATIENCE, connecting).await.expect("an end in time").unwrap_err();
    assert_eq!(error, Error::Timeout);
}
