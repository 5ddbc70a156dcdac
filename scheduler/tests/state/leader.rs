//! Shows on a real ZooKeeper that one scheduler leads, that the next one follows, and that who was deposed writes nothing.
use crate::proxy::{Network, Proxy};
use crate::server::Server;
use crate::suite::{key, launch, put};
use scheduler::core::effects::{Change, Phase};
use scheduler::ensemble::Ensemble;
use scheduler::leader::standing::Lost;
use scheduler::leader::{Candidate, Elector, Leadership};
use scheduler::state::zookeeper::Zookeeper;
use scheduler::state::{State, StateError};
use std::time::Duration;
use tokio::time::{Instant, timeout};

const SESSION: Duration = Duration::from_secs(3);
/// What may pass beyond the session timeout until another one leads.
const BEYOND: Duration = Duration::from_secs(2);
const SOON: Duration = Duration::from_secs(30);

fn elector(address: &str, name: &str) -> Elector {
    let me = Candidate { api: format!("http://{name}") };
    Elector::new(Ensemble::parse(address).unwrap(), SESSION, me)
}

fn store(address: &str, leadership: &Leadership) -> Zookeeper {
    Zookeeper::new(Ensemble::parse(address).unwrap(), SESSION).fenced(leadership.fence())
}

async fn wins(elector: &mut Elector) -> Leadership {
    timeout(SOON, elector.win()).await.expect("it should lead soon")
}

/// Lets an elector stand until it is known who leads instead.
async fn stands_by(elector: &mut Elector, leader: &str) {
    let mut standing = elector.standing();
    let leader = Some(Candidate { api: format!("http://{leader}") });
    let seen = standing.wait_for(|standing| standing.leader == leader);
    tokio::select! {
        _ = elector.win() => panic!("it should not lead"),
        seen = timeout(SOON, seen) => drop(seen.expect("it should see who leads").unwrap()),
    }
}

#[tokio::test]
async fn one_leads_the_others_see_who_and_the_next_one_follows_at_once_when_it_resigns() {
    let Some(server) = Server::start().await else { return };
    let address = server.address("resign");
    let (mut a, mut b, mut c) = (elector(&address, "a"), elector(&address, "b"), elector(&address, "c"));
    let leads = wins(&mut a).await;
    assert_eq!(leads.fence().epoch, 1);
    stands_by(&mut b, "a").await;
    stands_by(&mut c, "a").await;
    a.resign().await;
    let began = Instant::now();
    let leads = timeout(BEYOND, b.win()).await.expect("at once");
    println!("the next one led {:?} after the first resigned", began.elapsed());
    assert_eq!(leads.fence().epoch, 2);
    stands_by(&mut c, "b").await;
    stands_by(&mut a, "b").await;
}

#[tokio::test]
async fn a_leader_that_is_cut_off_stops_before_another_one_leads_and_can_write_nothing() {
    let Some(server) = Server::start().await else { return };
    let direct = server.address("cut");
    for network in [Network::Silent, Network::Down] {
        let proxy = Proxy::to(server.port()).await;
        let mut a = elector(&format!("zk://{}/cut", proxy.address), "a");
        let mut b = elector(&direct, "b");
        let mut leads_a = wins(&mut a).await;
        stands_by(&mut b, "a").await;
        // Its writes go another way than its session, so that only the fence can stop them.
        let written_by_a = store(&direct, &leads_a);
        let revision = written_by_a.load().await.unwrap().documents.fleet.revision.0;
        written_by_a.save(&[Change::Framework(Some("f-1".into()))]).await.unwrap();
        written_by_a.change(&put("nginx", "of a", revision)).await.unwrap();

        proxy.set(network);
        let began = Instant::now();
        let (stopped, (leads_b, led)) = tokio::join!(
            async {
                assert_eq!(leads_a.lost().await, Lost::Connection);
                began.elapsed()
            },
            async { (b.win().await, began.elapsed()) },
        );
        println!("{network:?}: the old leader stopped after {stopped:?}, the new one led after {led:?}");
        assert!(stopped < led, "two led at once");
        assert!(led < SESSION + BEYOND, "{led:?}");

        let late = written_by_a.change(&put("nginx", "late", revision + 1)).await.unwrap_err();
        assert!(matches!(late, StateError::Deposed { .. }), "{late}");
        let late = written_by_a.save(&[Change::Launch(launch(1, Phase::Running))]).await.unwrap_err();
        assert!(matches!(late, StateError::Deposed { .. }), "{late}");
        assert!(leads_a.fence().over.is_cancelled());

        let written_by_b = store(&direct, &leads_b);
        let stored = written_by_b.load().await.unwrap();
        assert_eq!((stored.framework, stored.launches.len()), (Some("f-1".into()), 0));
        assert_eq!(stored.documents.fleet.documents[&key("nginx")].text, "of a");
        written_by_b.change(&put("nginx", "of b", revision + 1)).await.unwrap();
        b.resign().await;
    }
}

#[tokio::test]
async fn a_leader_whose_epoch_is_over_learns_it_from_its_first_write_and_stops() {
    let Some(server) = Server::start().await else { return };
    let address = server.address("epoch");
    let mut a = elector(&address, "a");
    let mut leads_a = wins(&mut a).await;
    let store = store(&address, &leads_a);
    store.load().await.unwrap();
    // Somebody raises the epoch behind its back.
    let ensemble = Ensemble::parse(&address).unwrap();
    let client = ensemble.connect(SESSION).await.unwrap();
    let path = format!("{}/epoch", ensemble.path);
    let (data, _) = client.get_data(&path).await.unwrap();
    client.set_data(&path, &data, None).await.unwrap();
    store.save(&[Change::Framework(Some("f-1".into()))]).await.unwrap_err();
    assert_eq!(timeout(SOON, leads_a.lost()).await.unwrap(), Lost::Deposed);
}

#[tokio::test]
async fn a_leader_whose_place_is_removed_stops_and_stands_again() {
    let Some(server) = Server::start().await else { return };
    let address = server.address("removed");
    let mut a = elector(&address, "a");
    let mut leads = wins(&mut a).await;
    let ensemble = Ensemble::parse(&address).unwrap();
    let client = ensemble.connect(SESSION).await.unwrap();
    let dir = format!("{}/election", ensemble.path);
    for latch in client.list_children(&dir).await.unwrap() {
        client.delete(&format!("{dir}/{latch}"), None).await.unwrap();
    }
    assert_eq!(timeout(SOON, leads.lost()).await.unwrap(), Lost::Latch);
    assert_eq!(wins(&mut a).await.fence().epoch, 2);
}

#[tokio::test]
async fn who_was_superseded_from_outside_stands_by_until_another_one_has_led() {
    let Some(server) = Server::start().await else { return };
    let address = server.address("superseded");
    let (mut a, mut b) = (elector(&address, "a"), elector(&address, "b"));
    let epoch = wins(&mut a).await.fence().epoch;
    a.resign().await;
    a.superseded(epoch);
    let mut standing = a.standing();
    let stays_away = standing.wait_for(|standing| standing.detail.contains("outside of this election"));
    tokio::select! {
        _ = a.win() => panic!("it should stay away"),
        seen = timeout(SOON, stays_away) => drop(seen.unwrap().unwrap()),
    }
    wins(&mut b).await;
    stands_by(&mut a, "b").await;
    b.resign().await;
    assert_eq!(wins(&mut a).await.fence().epoch, epoch + 2);
}

#[tokio::test]
async fn an_election_survives_that_the_server_is_killed_and_comes_back() {
    let Some(mut server) = Server::start().await else { return };
    let address = server.address("restart");
    let (mut a, mut b) = (elector(&address, "a"), elector(&address, "b"));
    let mut leads = wins(&mut a).await;
    stands_by(&mut b, "a").await;
    for _ in 0..3 {
        let before = leads.fence().epoch;
        server.kill().await;
        assert!(matches!(timeout(SOON, leads.lost()).await.unwrap(), Lost::Connection | Lost::Session));
        server.restart().await;
        // Either may be the next one, and exactly one is.
        leads = tokio::select! {
            leads = wins(&mut a) => leads,
            leads = wins(&mut b) => leads,
        };
        assert!(leads.fence().epoch > before);
        let store = store(&address, &leads);
        store.load().await.unwrap();
        store.save(&[Change::Framework(Some("f-1".into()))]).await.unwrap();
    }
}
