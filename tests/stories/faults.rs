//! Holds what befalls schedulers and ZooKeeper servers in the rounds of `leaders`, and what belongs to it afterwards.

use crate::api::Api;
use crate::ensemble::Server;
use crate::eventually::eventually;
use crate::leaders::Stage;
use crate::proxy::Network;
use crate::world::SOON;
use reqwest::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

pub(crate) const SESSION: Duration = Duration::from_secs(4);
/// What may pass beyond the session timeout until another one serves.
const BEYOND: Duration = Duration::from_secs(2);
/// What a hand-over may take.
const HAND_OVER: Duration = Duration::from_secs(2);
/// How long an edit may take before the next scheduler is asked.
const PATIENCE: Duration = Duration::from_millis(700);
pub(crate) const TEXT: &str = r#"input { file { docker-path => "/var/log/none" } }"#;

/// What is done in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    LeaderKilled,
    LeaderFrozen,
    LeaderEnded,
    /// What it sends to ZooKeeper is lost, and nobody is told.
    LeaderCutOff,
    /// It reaches one server, and that one none of the others.
    LeaderWithMinority,
    EveryServerKilled,
    MajorityKilled,
    OneServerKilled,
    OneServerFrozen,
    /// Each is killed and started in turn.
    RollingRestart,
    /// A server that follows is cut off from the others; clients still reach it, to read at most.
    FollowerIsolated,
    /// The same with the server that leads the others.
    ServersLeaderIsolated,
    /// No server reaches another one.
    EveryServerApart,
}

pub(crate) const FAULTS: [Fault; 13] = [
    Fault::LeaderKilled,
    Fault::EveryServerApart,
    Fault::LeaderFrozen,
    Fault::ServersLeaderIsolated,
    Fault::LeaderEnded,
    Fault::FollowerIsolated,
    Fault::LeaderCutOff,
    Fault::RollingRestart,
    Fault::LeaderWithMinority,
    Fault::EveryServerKilled,
    Fault::OneServerKilled,
    Fault::MajorityKilled,
    Fault::OneServerFrozen,
];

impl Fault {
    /// How long it may take in the middle until an edit is accepted again.
    pub(crate) fn within(self) -> Duration {
        match self {
            Self::LeaderKilled | Self::LeaderFrozen | Self::LeaderCutOff => SESSION + BEYOND,
            Self::LeaderEnded => HAND_OVER,
            // The servers may have to elect a leader of their own first.
            _ => SOON,
        }
    }
}

/// Edits that were accepted: the name of the config, and the revision that it was told.
pub(crate) type Accepted = Arc<Mutex<BTreeMap<String, u64>>>;

/// Writes a config that nobody has written before; `Ok` when it was accepted.
async fn edit(api: &Api, name: &str, accepted: &Accepted) -> Result<(), String> {
    let body = json!({"name": name, "input": TEXT});
    // A standby may send us to a leader that is frozen; that one is not waited for.
    let sent = timeout(PATIENCE, api.send(Method::PUT, &format!("/configs/{name}"), Some(body))).await;
    let response = sent.map_err(|_| "no answer".to_owned())??;
    if response.status() != StatusCode::CREATED {
        return Err(format!("{}: {}", response.status(), response.text().await.unwrap_or_default()));
    }
    let etag = response.headers()["etag"].to_str().unwrap().trim_matches('"').to_owned();
    accepted.lock().unwrap().insert(name.to_owned(), etag.parse().unwrap());
    Ok(())
}

/// Goes on editing through each scheduler in turn, whichever leads.
pub(crate) async fn keep_editing(apis: Vec<Api>, accepted: Accepted) {
    let mut pause = interval(Duration::from_millis(300));
    pause.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for n in 0.. {
        pause.tick().await;
        drop(edit(&apis[n % apis.len()], &format!("steady-{n}"), &accepted).await);
    }
}

/// Waits until one of the schedulers accepts an edit, whoever leads.
async fn accepts(apis: &[Api], round: usize, accepted: &Accepted) {
    let mut attempt = 0;
    eventually("an edit is accepted", SOON * 2, async || {
        attempt += 1;
        let api = &apis[attempt % apis.len()];
        edit(api, &format!("round-{round}-{attempt}"), accepted).await
    })
    .await;
}

/// One round: the fault, how long until an edit is accepted again, and what belongs to the fault afterwards.
pub(crate) async fn play(stage: &mut Stage, fault: Fault, round: usize, accepted: &Accepted) -> Duration {
    let (leader, _) = eventually("one leads", SOON, async || stage.served().await).await;
    let mut survivors = stage.apis();
    let old = survivors.remove(leader);
    let began = Instant::now();
    match fault {
        Fault::LeaderKilled => {
            stage.schedulers[leader].kill();
            accepts(&survivors, round, accepted).await;
            let took = began.elapsed();
            stage.schedulers[leader].start_again();
            took
        }
        Fault::LeaderFrozen => {
            stage.schedulers[leader].signal(Signal::STOP);
            let mut late = JoinSet::new();
            let accepted_late = Arc::clone(accepted);
            // It lies in the frozen one's socket until it wakes; by then another one leads.
            late.spawn(async move { edit(&old, &format!("late-{round}"), &accepted_late).await });
            accepts(&survivors, round, accepted).await;
            let took = began.elapsed();
            stage.schedulers[leader].signal(Signal::CONT);
            late.join_all().await;
            let awake = &stage.schedulers[leader].api;
            eventually("the old leader stands by", SOON, async || standing_by(awake).await).await;
            took
        }
        Fault::LeaderEnded => {
            let (ended, ()) =
                tokio::join!(stage.schedulers[leader].stop(), accepts(&survivors, round, accepted));
            let took = began.elapsed();
            assert!(ended.success(), "{ended}");
            stage.schedulers[leader].start_again();
            took
        }
        Fault::LeaderCutOff => {
            stage.networks[leader].iter().for_each(|proxy| proxy.set(Network::Silent));
            accepts(&survivors, round, accepted).await;
            let took = began.elapsed();
            let refused = edit(&old, &format!("cut-off-{round}"), accepted).await;
            assert!(refused.is_err(), "who is cut off accepted an edit");
            stage.networks[leader].iter().for_each(|proxy| proxy.set(Network::Up));
            eventually("the old leader stands by", SOON, async || standing_by(&old).await).await;
            took
        }
        Fault::LeaderWithMinority => {
            // It reaches one server, which is then cut off from the others.
            let server = round % 3;
            let other = |n: &usize| *n != server;
            (0..3).filter(other).for_each(|n| stage.networks[leader][n].set(Network::Down));
            eventually("one leads", SOON, async || stage.leader().await).await;
            let began = Instant::now();
            stage.servers.isolate(server, Network::Silent);
            accepts(&survivors, round, accepted).await;
            let took = began.elapsed();
            let refused = edit(&old, &format!("minority-{round}"), accepted).await;
            stage.servers.isolate(server, Network::Up);
            stage.networks[leader].iter().for_each(|proxy| proxy.set(Network::Up));
            assert!(
                refused.is_err() || stage.leader().await.is_ok_and(|(now, _)| now != leader),
                "{refused:?}"
            );
            stage.servers.serve().await;
            took
        }
        of_servers => play_on_servers(stage, of_servers, round, accepted).await,
    }
}

/// The same, for what befalls ZooKeeper.
async fn play_on_servers(stage: &mut Stage, fault: Fault, round: usize, accepted: &Accepted) -> Duration {
    let (server, began) = (round / FAULTS.len() % 3, Instant::now());
    match fault {
        Fault::EveryServerKilled => {
            stage.servers.servers.iter_mut().for_each(Server::kill);
            nobody_leads(stage).await;
            stage.servers.servers.iter_mut().for_each(Server::start);
            accepted_since(Instant::now(), stage, round, accepted).await
        }
        Fault::MajorityKilled => {
            let majority = [(server + 1) % 3, (server + 2) % 3];
            majority.iter().for_each(|n| stage.servers.servers[*n].kill());
            nobody_leads(stage).await;
            majority.iter().for_each(|n| stage.servers.servers[*n].start());
            accepted_since(Instant::now(), stage, round, accepted).await
        }
        Fault::OneServerKilled => {
            stage.servers.servers[server].kill();
            let took = accepted_since(began, stage, round, accepted).await;
            stage.servers.servers[server].start();
            stage.servers.serve().await;
            took
        }
        Fault::OneServerFrozen => {
            stage.servers.servers[server].signal(Signal::STOP);
            let took = accepted_since(began, stage, round, accepted).await;
            stage.servers.servers[server].signal(Signal::CONT);
            stage.servers.serve().await;
            took
        }
        Fault::RollingRestart => {
            let mut longest = Duration::ZERO;
            for n in 0..3 {
                let began = Instant::now();
                stage.servers.servers[n].kill();
                stage.servers.servers[n].start();
                longest = longest.max(accepted_since(began, stage, 1000 * (n + 1) + round, accepted).await);
                stage.servers.serve().await;
            }
            longest
        }
        Fault::FollowerIsolated | Fault::ServersLeaderIsolated => {
            let (leads, _) = eventually("a server leads", SOON, async || stage.servers.leader()).await;
            let cut = if fault == Fault::ServersLeaderIsolated { leads } else { (leads + 1) % 3 };
            stage.servers.isolate(cut, Network::Silent);
            let parted = async || match stage.servers.servers[cut].serves() {
                Ok(()) => Err("it is part of a quorum".to_owned()),
                Err(_) => Ok(()),
            };
            let took = accepted_since(began, stage, round, accepted).await;
            eventually("the server that is cut off serves nobody", SOON, parted).await;
            stage.servers.isolate(cut, Network::Up);
            stage.servers.serve().await;
            took
        }
        Fault::EveryServerApart => {
            (0..3).for_each(|n| stage.servers.isolate(n, Network::Silent));
            nobody_leads(stage).await;
            (0..3).for_each(|n| stage.servers.isolate(n, Network::Up));
            accepted_since(Instant::now(), stage, round, accepted).await
        }
        _ => panic!("{fault:?} befalls a scheduler"),
    }
}

async fn nobody_leads(stage: &Stage) {
    eventually("nobody leads", SOON, async || match stage.leader().await {
        Ok((leader, _)) => Err(format!("{leader} leads")),
        Err(_) => Ok(()),
    })
    .await;
}

/// Waits until an edit is accepted, and tells how long that is since `began`.
async fn accepted_since(began: Instant, stage: &Stage, round: usize, accepted: &Accepted) -> Duration {
    accepts(&stage.apis(), round, accepted).await;
    began.elapsed()
}

pub(crate) async fn standing_by(api: &Api) -> Result<(), String> {
    let status = api.get("/api/v1/status").await?;
    match status["phase"] == "standby" && status["leader"].is_string() {
        true => Ok(()),
        false => Err(format!("{}: {}", status["phase"], status["detail"])),
    }
}
