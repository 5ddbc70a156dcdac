//! Runs the suite against a real ZooKeeper, and kills, freezes and restarts it under a store.
use crate::proxy::{Network, Proxy};
use crate::server::Server;
use crate::suite::{Place, holds, key, launch, put};
use config::document::Revision;
use scheduler::core::effects::{Change, Phase};
use scheduler::ensemble::Ensemble;
use scheduler::state::zookeeper::Zookeeper;
use scheduler::state::{State, StateError};
use std::time::Duration;
use tokio::time::{Instant, interval, timeout};

const SESSION: Duration = Duration::from_secs(2);

struct Znode(String);

impl Place for Znode {
    type Store = Zookeeper;
    fn open(&self) -> Zookeeper {
        Zookeeper::new(Ensemble::parse(&self.0).unwrap(), SESSION)
    }
}

fn open(address: &str) -> Zookeeper {
    Znode(address.to_owned()).open()
}

#[tokio::test]
async fn zookeeper_keeps_what_every_store_promises() {
    let Some(server) = Server::start().await else { return };
    holds(|name| Znode(server.address(&format!("suite/{name}")))).await;
}

#[tokio::test]
async fn of_two_writers_one_is_refused_and_sees_what_the_other_wrote() {
    let Some(server) = Server::start().await else { return };
    let address = server.address("two");
    let (first, second) = (open(&address), open(&address));
    first.load().await.unwrap();
    second.load().await.unwrap();
    first.change(&put("nginx", "first", 0)).await.unwrap();
    let error = second.change(&put("nginx", "second", 0)).await.unwrap_err();
    assert!(matches!(error, StateError::Conflict { found: Revision(1), .. }), "{error}");
    assert_eq!(second.load_fleet().await.unwrap().fleet.documents[&key("nginx")].text, "first");
    second.change(&put("nginx", "second", 1)).await.unwrap();
}

#[tokio::test]
async fn what_belongs_to_others_is_an_error_and_never_an_empty_state() {
    let Some(server) = Server::start().await else { return };
    let ours = open(&server.address_as("logherd:secret", "mine"));
    ours.load().await.unwrap();
    ours.save(&[Change::Framework(Some("f-1".into()))]).await.unwrap();
    let error = open(&server.address_as("other:guess", "mine")).load().await.unwrap_err();
    assert!(matches!(error, StateError::Unreadable { .. }), "{error}");
    assert!(error.to_string().contains("check the credentials"), "{error}");
    let again = open(&server.address_as("logherd:secret", "mine")).load().await.unwrap();
    assert_eq!(again.framework, Some("f-1".into()));
}

#[tokio::test]
async fn a_server_that_is_away_is_an_error_in_time_and_the_store_goes_on_when_it_is_back() {
    let Some(mut server) = Server::start().await else { return };
    let store = open(&server.address("away"));
    store.load().await.unwrap();
    store
        .save(&[Change::Framework(Some("f-1".into())), Change::Launch(launch(1, Phase::Running))])
        .await
        .unwrap();
    store.change(&put("nginx", "before", 0)).await.unwrap();
    server.kill().await;
    let within = SESSION * 8;
    let edit = timeout(within, store.change(&put("nginx", "meanwhile", 1))).await.expect("an answer in time");
    let error = edit.unwrap_err();
    assert!(matches!(error, StateError::Unavailable { .. } | StateError::Unknown { .. }), "{error}");
    let save = timeout(within, store.save(&[Change::Launch(launch(2, Phase::Intended))])).await;
    save.expect("an answer in time").unwrap_err();
    let load = timeout(within, open(&server.address("away")).load()).await.expect("an answer in time");
    assert!(matches!(load.unwrap_err(), StateError::Unavailable { .. }));
    server.restart().await;
    let stored = eventually(|| store.load()).await;
    assert_eq!(stored.framework, Some("f-1".into()));
    assert_eq!(stored.documents.fleet.documents[&key("nginx")].text, "before");
    store.change(&put("nginx", "after", 1)).await.unwrap();
    store.save(&[Change::Launch(launch(2, Phase::Intended))]).await.unwrap();
    assert_eq!(store.load().await.unwrap().launches.len(), 2);
}

#[tokio::test]
async fn a_session_that_expired_is_replaced_by_another_one() {
    let Some(server) = Server::start().await else { return };
    let store = open(&server.address("frozen"));
    store.load().await.unwrap();
    store.change(&put("nginx", "before", 0)).await.unwrap();
    server.signal("-STOP").await;
    let edit =
        timeout(SESSION * 10, store.change(&put("nginx", "frozen", 1))).await.expect("an answer in time");
    assert!(edit.is_err());
    server.signal("-CONT").await;
    // What was asked of the frozen server may have been written when it woke.
    let documents = eventually(|| store.load_fleet()).await;
    let revision = documents.fleet.revision.0;
    let text = &documents.fleet.documents[&key("nginx")].text;
    assert!(matches!((revision, text.as_str()), (1, "before") | (2, "frozen")), "{revision}: {text}");
    store.change(&put("nginx", "after", revision)).await.unwrap();
}

/// Writes one document after the other while the server is killed and restarted at any time; nothing that was accepted
/// may be missing, and no revision may go back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_accepted_change_is_lost_while_the_server_is_killed_and_restarted() {
    let Some(mut server) = Server::start().await else { return };
    let store = open(&server.address("killed"));
    store.load().await.unwrap();
    store.save(&[Change::Framework(Some("f-1".into()))]).await.unwrap();
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let writing = async {
        let (mut revision, mut accepted, mut refused) = (0, Vec::new(), 0);
        let mut n = 0;
        while !*stopped.borrow_and_update() {
            n += 1;
            let (name, text) = (format!("image-{}", n % 7), format!("text {n}"));
            let change = put(&name, &text, revision);
            let launched = store.save(&[Change::Launch(launch(n, Phase::Intended))]).await.is_ok();
            match store.change(&change).await {
                Ok(()) => {
                    revision += 1;
                    accepted.push((name, text, revision, launched.then_some(n)));
                }
                Err(_) => {
                    refused += 1;
                    let now = eventually(|| store.load_fleet()).await.fleet.revision.0;
                    assert!(now >= revision, "the revision went back from {revision} to {now}");
                    revision = now;
                }
            }
        }
        (accepted, refused)
    };
    let killing = async {
        let mut pause = interval(Duration::from_millis(700));
        for _ in 0..4 {
            pause.tick().await;
            pause.tick().await;
            server.kill().await;
            pause.tick().await;
            server.restart().await;
        }
        pause.tick().await;
        stop.send(true).unwrap();
    };
    let ((accepted, refused), ()) = tokio::join!(writing, killing);
    assert!(accepted.len() > 20, "only {} changes were accepted, {refused} refused", accepted.len());
    let stored = eventually(|| open(&server.address("killed")).load_owned()).await;
    assert!(accepted.is_sorted_by_key(|(_, _, revision, _)| *revision));
    let last = accepted.last().unwrap();
    assert!(stored.documents.fleet.revision.0 >= last.2);
    for name in (0..7).map(|n| format!("image-{n}")) {
        let Some(newest) = accepted.iter().rfind(|(of, ..)| *of == name) else { continue };
        let document = &stored.documents.fleet.documents[&key(&name)];
        let kept = document.text == newest.1 || document.revision.0 > newest.2;
        assert!(kept, "{name}: accepted {newest:?}, found {document:?}");
    }
    for n in accepted.iter().filter_map(|(.., launched)| *launched) {
        let task = launch(n, Phase::Intended).task;
        assert!(stored.launches.iter().any(|record| record.task == task), "launch {n} is lost");
    }
}

/// Everything may be lost of a write but the write itself: its answer, and the connection again while it is looked up.
#[tokio::test]
async fn a_change_whose_answer_is_lost_after_it_was_written_is_there_once_and_answered_as_written() {
    let Some(server) = Server::start().await else { return };
    let proxy = Proxy::to(server.port()).await;
    let store = open(&format!("zk://{}/lost-answers", proxy.address));
    let beside = open(&server.address("lost-answers"));
    store.load().await.unwrap();
    for (n, lost) in [1, 1, 2, 3, 1, 4, 2, 1].into_iter().enumerate() {
        let n = u64::try_from(n).unwrap();
        proxy.set(Network::LosesAnswers { after: 0, lost });
        store.change(&put("nginx", &format!("text {n}"), n)).await.unwrap();
        assert_eq!(proxy.network(), Network::Up, "as many answers as wanted were lost");
        let seen = beside.load_fleet().await.unwrap();
        assert_eq!(seen.fleet.revision, Revision(n + 1));
        assert_eq!(seen.fleet.documents[&key("nginx")].text, format!("text {n}"));
        assert_eq!(seen.fleet.documents[&key("nginx")].revision, Revision(n + 1));
    }
}

#[tokio::test]
async fn what_is_saved_is_there_though_answers_are_lost_before_and_after_it_is_written() {
    let Some(server) = Server::start().await else { return };
    let proxy = Proxy::to(server.port()).await;
    let store = open(&format!("zk://{}/lost-saves", proxy.address));
    let beside = open(&server.address("lost-saves"));
    store.load().await.unwrap();
    let mut n = 0;
    for after in 0..4 {
        for lost in 1..3 {
            n += 1;
            proxy.set(Network::LosesAnswers { after, lost });
            let framework = format!("f-{n}");
            let changes = [
                Change::Framework(Some(framework.as_str().into())),
                Change::Launch(launch(n, Phase::Intended)),
                Change::Ended(launch(n - 1, Phase::Intended).task),
            ];
            store.save(&changes).await.unwrap();
            let stored = beside.load().await.unwrap();
            assert_eq!(stored.framework, Some(framework.as_str().into()), "after {after}, lost {lost}");
            let tasks: Vec<_> = stored.launches.iter().map(|record| record.task.clone()).collect();
            assert_eq!(tasks, [launch(n, Phase::Intended).task], "after {after}, lost {lost}");
        }
    }
}

/// What cannot be looked up is answered as not known; the next look finds it written or not, and the revision is one of both.
#[tokio::test]
async fn a_change_that_can_neither_be_answered_nor_looked_up_is_never_half_there_nor_there_twice() {
    let Some(server) = Server::start().await else { return };
    let proxy = Proxy::to(server.port()).await;
    let store = open(&format!("zk://{}/unknown", proxy.address));
    store.load().await.unwrap();
    store.change(&put("nginx", "before", 0)).await.unwrap();
    proxy.set(Network::LosesAnswers { after: 0, lost: usize::MAX });
    let answer =
        timeout(SESSION * 8, store.change(&put("nginx", "lost", 1))).await.expect("an answer in time");
    assert!(matches!(answer, Err(StateError::Unknown { .. })), "{answer:?}");
    proxy.set(Network::Up);
    let found = eventually(|| store.load_fleet()).await.fleet;
    assert_eq!((found.revision, found.documents[&key("nginx")].text.as_str()), (Revision(2), "lost"));
    store.change(&put("nginx", "after", 2)).await.unwrap();
    assert_eq!(store.load_fleet().await.unwrap().fleet.revision, Revision(3));
}

/// Tries until it works; a minute is enough for any server to come back.
async fn eventually<T, F: Future<Output = Result<T, StateError>>>(mut attempt: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut look = interval(Duration::from_millis(100));
    loop {
        look.tick().await;
        match attempt().await {
            Ok(value) => return value,
            Err(error) => assert!(Instant::now() < deadline, "still {error}"),
        }
    }
}

trait LoadOwned {
    async fn load_owned(self) -> Result<scheduler::state::Stored, StateError>;
}

impl LoadOwned for Zookeeper {
    async fn load_owned(self) -> Result<scheduler::state::Stored, StateError> {
        self.load().await
    }
}
