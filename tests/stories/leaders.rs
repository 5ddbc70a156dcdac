//! Story: three schedulers on three ZooKeeper servers; one leads, whatever is killed, frozen, ended or parted.
//!
//! `LOGHERD_HA_ROUNDS=100 cargo test -p tests --test stories leaders` plays a hundred rounds instead of one of each kind.
//! `faults` says of which kinds.

use crate::api::Api;
use crate::ensemble::Ensemble;
use crate::eventually::{always, eventually};
use crate::faults::{Accepted, FAULTS, Fault, SESSION, TEXT, keep_editing, play, standing_by};
use crate::proxy::Proxy;
use crate::world::{Logherd, SOON, START, World, free_port};
use reqwest::{Method, StatusCode};
use scheduler::ensemble::Ensemble as Address;
use scheduler::state::record::{self, DocumentHead};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Everything that runs.
pub(crate) struct Stage {
    state: String,
    master: String,
    pub(crate) servers: Ensemble,
    pub(crate) schedulers: Vec<Logherd>,
    /// The network between each scheduler and ZooKeeper.
    pub(crate) networks: Vec<Vec<Proxy>>,
    _mesos: Logherd,
}

impl Stage {
    async fn set(world: &World) -> Option<Self> {
        let servers = Ensemble::start(world).await?;
        let state = servers.address("logherd");
        let master = format!("127.0.0.1:{}", free_port());
        let data = world.path("mesos");
        let arguments =
            ["local", "--mesos-only", "--mesos-listen", &master, "--data-dir", data.to_str().unwrap()];
        let mesos = world.start("mesos", &arguments);
        let session = format!("{}s", SESSION.as_secs());
        let (mut schedulers, mut networks) = (Vec::new(), Vec::new());
        for n in 0..3 {
            let (network, state) = servers.network("logherd").await;
            networks.push(network);
            let control = format!("127.0.0.1:{}", free_port());
            let arguments =
                ["scheduler", "--master", &master, "--state", &state, "--control-listen", &control];
            let timeout = ["--zk-session-timeout", session.as_str()];
            schedulers.push(world.start(&format!("scheduler-{n}"), &[&arguments[..], &timeout[..]].concat()));
        }
        let stage = Self { state, master, servers, schedulers, networks, _mesos: mesos };
        eventually("one leads and covers the node", START, async || stage.leader().await).await;
        Some(stage)
    }

    /// The one that leads, with its status: exactly one says so, and it has its subscription.
    pub(crate) async fn leader(&self) -> Result<(usize, Value), String> {
        let mut leaders = Vec::new();
        for (n, scheduler) in self.schedulers.iter().enumerate() {
            if let Ok(status) = scheduler.api.get("/api/v1/status").await
                && status["phase"] == "subscribed"
                && status["writable"] == true
            {
                leaders.push((n, status));
            }
        }
        match leaders.len() {
            1 => Ok(leaders.remove(0)),
            number => Err(format!("{number} lead")),
        }
    }

    /// The leader, once it covers the node and the executor is attached to it.
    pub(crate) async fn served(&self) -> Result<usize, String> {
        let (leader, _) = self.leader().await?;
        let api = &self.schedulers[leader].api;
        api.ready().await?;
        match api.nodes().await?.iter().all(|node| node["attached"] == true) {
            true => Ok(leader),
            false => Err("the executor is not attached".into()),
        }
    }

    pub(crate) fn apis(&self) -> Vec<Api> {
        self.schedulers.iter().map(|scheduler| scheduler.api.clone()).collect()
    }

    /// The revision and the epoch of every document that is stored, by revision.
    async fn history(&self) -> Vec<(u64, u64, String)> {
        let address = Address::parse(&self.state).unwrap();
        let client = address.connect(SESSION).await.unwrap();
        let dir = format!("{}/configs", address.path);
        let mut found = Vec::new();
        for name in client.list_children(&dir).await.unwrap() {
            let path = format!("{dir}/{name}");
            let (data, _) = client.get_data(&path).await.unwrap();
            let (head, _) = record::decode::<DocumentHead>("document", &path, &data).unwrap();
            found.push((head.revision.0, head.epoch, head.key.name));
        }
        found.sort();
        found
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_frozen_or_parted_one_leads_no_accepted_edit_is_lost_and_no_executor_is_restarted()
{
    let world = World::alone().await;
    let Some(mut stage) = Stage::set(&world).await else { return };
    let rounds =
        config::settings::environment("LOGHERD_HA_ROUNDS").map_or(FAULTS.len(), |n| n.parse().unwrap());
    let (leader, _) = eventually("one leads and is served", START, async || stage.served().await).await;
    let framework = stage.leader().await.unwrap().1["framework_id"].clone();
    let executors = world.executors();
    assert_eq!((executors.len(), framework.is_string()), (1, true), "{leader}");
    let accepted = Accepted::default();
    let mut editing = JoinSet::new();
    editing.spawn(keep_editing(stage.apis(), Arc::clone(&accepted)));
    let mut figures: BTreeMap<Fault, Vec<Duration>> = BTreeMap::new();
    for round in 0..rounds {
        let fault = FAULTS[round % FAULTS.len()];
        let took = play(&mut stage, fault, round, &accepted).await;
        println!("round {round}: {fault:?}: an edit was accepted after {took:.1?}");
        assert!(took < SOON, "{fault:?}: {took:?}");
        figures.entry(fault).or_default().push(took);
        let (_, took) = eventually("served again", SOON, async || stage.served().await).await;
        println!("round {round}: the executor was attached {took:.1?} later");
        let now = eventually("one leads", SOON, async || stage.leader().await).await.0.1;
        assert_eq!(now["framework_id"], framework, "another framework was registered");
        assert_eq!(world.executors(), executors, "the executor was restarted");
    }
    editing.shutdown().await;
    check(&stage, &accepted).await;
    for (fault, mut took) in figures {
        took.sort();
        let (median, most) = (took[took.len() / 2], took[took.len() - 1]);
        println!(
            "{fault:?}: {} times; an edit was accepted after {median:.1?} (median), {most:.1?} (longest)",
            took.len()
        );
        assert!(median < fault.within(), "{fault:?}: {median:?}");
    }
}

/// Nothing that was accepted is missing; every revision was made once; no epoch follows a later one.
async fn check(stage: &Stage, accepted: &Accepted) {
    let history = stage.history().await;
    let accepted = accepted.lock().unwrap().clone();
    println!("{} edits accepted, {} stored, last epoch {:?}", accepted.len(), history.len(), history.last());
    for (name, revision) in &accepted {
        let stored = history.iter().find(|(_, _, of)| of == name);
        assert!(stored.is_some_and(|(found, ..)| found == revision), "{name} at {revision}: {stored:?}");
    }
    for pair in history.windows(2) {
        assert!(pair[0].0 < pair[1].0, "one revision was made twice: {pair:?}");
        assert!(pair[0].1 <= pair[1].1, "a leader wrote after a later one: {pair:?}");
    }
    assert!(history.iter().all(|(_, epoch, _)| *epoch > 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_shows_what_is_stored_and_sends_changes_to_the_leader() {
    let world = World::new().await;
    let Some(stage) = Stage::set(&world).await else { return };
    let (leader, _) = eventually("one leads", START, async || stage.served().await).await;
    let url = stage.schedulers[leader].api.url.clone();
    let others: Vec<&Api> =
        stage.schedulers.iter().map(|scheduler| &scheduler.api).filter(|api| api.url != url).collect();
    // Sent to a standby, done by the leader, read from the other standby.
    eventually("they know who leads", SOON, async || standing_by(others[0]).await).await;
    others[0].put("configs", "nginx", TEXT).await;
    let read =
        eventually("the other one reads it", SOON, async || others[1].get("/configs/nginx").await).await.0;
    assert_eq!(read["input"], TEXT);
    let plain =
        reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let body = json!({"name": "x", "input": TEXT});
    let answer = plain.put(format!("{}/configs/x?a=b", others[0].url)).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(answer.headers()["location"].to_str().unwrap(), format!("{url}/configs/x?a=b"));
    for path in ["/health", "/ready"] {
        let answer = others[1].get(path).await.unwrap();
        assert!(answer["status"] == "ok" || answer["status"] == "standby", "{path}: {answer}");
    }
    let page = others[1].send(Method::GET, "/dashboard", None).await.unwrap().text().await.unwrap();
    assert!(page.contains("stands by") && page.contains(&url), "{page}");
    let (status, problems) = {
        let body = json!({"kind": "docker", "name": "x", "input": "input {"});
        let answer = others[1].send(Method::POST, "/api/v1/check", Some(body)).await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    };
    assert_ne!(status, StatusCode::TEMPORARY_REDIRECT, "{problems}");
    assert!(problems.contains("line"), "{status}: {problems}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_whose_framework_is_taken_over_from_outside_steps_down_and_never_fights() {
    let world = World::alone().await;
    let Some(mut stage) = Stage::set(&world).await else { return };
    let (leader, _) = eventually("one leads", START, async || stage.served().await).await;
    for (n, scheduler) in stage.schedulers.iter_mut().enumerate() {
        if n != leader {
            scheduler.stop().await;
        }
    }
    // Another scheduler with the same framework id, in an election of its own.
    let address = Address::parse(&stage.state).unwrap();
    let client = address.connect(SESSION).await.unwrap();
    let (framework, _) = client.get_data(&format!("{}/framework", address.path)).await.unwrap();
    let options = zookeeper_client::CreateMode::Persistent.with_acls(zookeeper_client::Acls::anyone_all());
    client.create("/foreign", b"", &options).await.unwrap();
    client.create("/foreign/framework", &framework, &options).await.unwrap();
    let control = format!("127.0.0.1:{}", free_port());
    let state = stage.servers.address("foreign");
    let foreign = world.start(
        "foreign",
        &["scheduler", "--master", &stage.master, "--state", &state, "--control-listen", &control],
    );
    let leads = async |api: &Api| match api.get("/api/v1/status").await? {
        status if status["phase"] == "subscribed" => Ok(()),
        status => Err(format!("{}: {}", status["phase"], status["detail"])),
    };
    let stays_away = async |api: &Api| {
        let status = api.get("/api/v1/status").await?;
        match status["phase"] == "superseded" {
            true => Ok(()),
            false => Err(status.to_string()),
        }
    };
    let ours = &stage.schedulers[leader].api;
    eventually("the other one has the framework", SOON, async || leads(&foreign.api).await).await;
    eventually("ours steps down and says why", SOON, async || stays_away(ours).await).await;
    always("ours does not take it back", SESSION * 2, async || {
        leads(&foreign.api).await?;
        stays_away(ours).await
    })
    .await;
    let (status, answer) = ours.try_put("configs", "nginx", TEXT).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
}
