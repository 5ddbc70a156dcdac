//! Story: what Logstash for Mesos failed at, each on the real wire, and that it does not happen here.
//!
//! `docs/proof.md` says which failure each of them is.

use crate::eventually::{always, eventually};
use crate::nodes::cluster_and_scheduler;
use crate::proxy::{Network, Proxy};
use crate::world::{Logherd, SOON, START, World, free_port, kill};
use local::Cluster;
use reqwest::StatusCode;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

const NULL: &str = "output { null { } }";
const AWHILE: Duration = Duration::from_secs(2);

/// The frameworks that the master knows, those that were removed too.
async fn frameworks(cluster: &Cluster) -> Result<Vec<String>, String> {
    let url = format!("http://{}/master/state", cluster.master());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let text = client.get(url).send().await.map_err(|e| e.to_string())?.text().await.unwrap();
    let state: Value = serde_json::from_str(&text).map_err(|e| format!("{e}: {text}"))?;
    let of = |name: &str| state[name].as_array().cloned().unwrap_or_default();
    let all = of("frameworks").into_iter().chain(of("completed_frameworks"));
    Ok(all.map(|framework| framework["id"].as_str().unwrap_or_default().to_owned()).collect())
}

async fn framework_of(scheduler: &Logherd) -> Result<String, String> {
    let status = scheduler.api.get("/api/v1/status").await?;
    status["framework_id"].as_str().map(str::to_owned).ok_or_else(|| status.to_string())
}

/// The executor that keeps its data in the directory of this node.
fn executor_of(world: &World, node: usize) -> Result<u32, String> {
    let data = world.path(&format!("node-{node}")).display().to_string();
    let is_there = |pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        String::from_utf8_lossy(&environment)
            .split('\0')
            .any(|line| line == format!("LOGHERD_DATA_DIR={data}"))
    };
    world.executors().into_iter().find(is_there).ok_or_else(|| format!("no executor of node {node}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_cannot_be_read_at_start_registers_no_second_framework_and_loses_nothing() {
    let world = World::new().await;
    let (cluster, mut scheduler) = cluster_and_scheduler(&world, 1).await;
    scheduler.api.put("host-configs", "out", NULL).await;
    let (framework, executors) = (framework_of(&scheduler).await.unwrap(), world.executors());
    scheduler.kill();
    let place = world.path("state/framework");
    let good = std::fs::read(&place).unwrap();
    std::fs::write(&place, &good[..good.len() / 2]).unwrap();
    scheduler.start_again();
    let says = async || match scheduler.printed() {
        printed if printed.contains("state/framework") && printed.contains("cannot be read") => Ok(()),
        printed => Err(printed),
    };
    eventually("it says which file is wrong", SOON, says).await;
    always("nobody registers", AWHILE, async || match frameworks(&cluster).await? {
        known if known == [framework.clone()] => Ok(()),
        known => Err(format!("{known:?}")),
    })
    .await;
    assert_eq!(world.executors(), executors, "executors work on");
    scheduler.kill();
    std::fs::write(&place, good).unwrap();
    scheduler.start_again();
    eventually("ready", START, async || scheduler.api.ready().await).await;
    assert_eq!(framework_of(&scheduler).await.unwrap(), framework);
    assert_eq!(scheduler.api.get("/host-configs/out").await.unwrap()["input"], NULL);
    assert_eq!(world.executors(), executors, "no executor was restarted");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_could_not_be_written_is_refused_and_is_in_force_nowhere() {
    let world = World::new().await;
    let (cluster, scheduler) = cluster_and_scheduler(&world, 1).await;
    scheduler.api.put("host-configs", "out", NULL).await;
    let (configs, away) = (world.path("state/configs"), world.path("state/configs.away"));
    std::fs::rename(&configs, &away).unwrap();
    std::fs::write(&configs, "no directory").unwrap();
    let other = "filter { mutate { add_tag => [\"x\"] } } output { null { } }";
    let (status, answer) = scheduler.api.try_put("host-configs", "out", other).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
    assert!(answer.to_string().contains("configs"), "it says where: {answer}");
    assert_eq!(scheduler.api.get("/host-configs/out").await.unwrap()["input"], NULL);
    std::fs::remove_file(&configs).unwrap();
    std::fs::rename(&away, &configs).unwrap();
    scheduler.api.put("host-configs", "out", other).await;
    eventually("applied", SOON, async || scheduler.api.applied().await).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_that_was_lost_on_its_way_to_a_node_is_applied_when_the_network_is_back() {
    let world = World::new().await;
    let port = free_port();
    let network = Proxy::to(port).await;
    let (control, advertised) = (format!("127.0.0.1:{port}"), network.address.to_string());
    let data = world.path("mesos");
    let master = format!("127.0.0.1:{}", free_port());
    let arguments =
        ["local", "--mesos-only", "--mesos-listen", &master, "--data-dir", data.to_str().unwrap()];
    let _mesos = world.start("mesos", &arguments);
    let state = world.path("state");
    let scheduler = world.start(
        "scheduler",
        &[
            "scheduler",
            "--master",
            &master,
            "--state",
            state.to_str().unwrap(),
            "--control-listen",
            &control,
            "--control-advertise",
            &advertised,
        ],
    );
    eventually("ready", START, async || scheduler.api.ready().await).await;
    scheduler.api.put("host-configs", "out", NULL).await;
    eventually("applied", SOON, async || scheduler.api.applied().await).await;
    network.set(Network::Silent);
    scheduler.api.put("host-configs", "more", "output { null { } }").await;
    always("it does not arrive", AWHILE, async || match scheduler.api.applied().await {
        Ok(()) => Err("it was applied".into()),
        Err(_) => Ok(()),
    })
    .await;
    network.set(Network::Down);
    network.set(Network::Up);
    eventually("the node has the newest revision", START, async || scheduler.api.applied().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offers_are_used_while_a_reconciliation_has_no_answer() {
    let world = World::new().await;
    let (cluster, scheduler) = cluster_and_scheduler(&world, 2).await;
    let victim = executor_of(&world, 1).unwrap();
    // The next master has not heard of this agent and says nothing about its tasks.
    cluster.agent(0).unwrap().kill().await;
    cluster.master_handle().restart().await.unwrap();
    kill(victim);
    let replaced = async || match executor_of(&world, 1)? {
        pid if pid != victim => Ok(pid),
        pid => Err(format!("{pid} still")),
    };
    let (_, took) = eventually("the other node has an executor again", START, replaced).await;
    println!("an executor was replaced after {took:.1?}, with a reconciliation that has no answer");
    cluster.agent(0).unwrap().start().await.unwrap();
    eventually("ready", START, async || scheduler.api.ready().await).await;
    assert_eq!(world.executors().len(), 2);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_that_dies_again_and_again_is_replaced_each_time() {
    let world = World::new().await;
    let (cluster, scheduler) = cluster_and_scheduler(&world, 1).await;
    for _ in 0..3 {
        let before = world.executors();
        before.iter().for_each(|pid| kill(*pid));
        let another = async || match world.executors() {
            now if now.len() == 1 && now != before => Ok(()),
            now => Err(format!("{now:?}")),
        };
        eventually("another executor", START, another).await;
        eventually("ready", START, async || scheduler.api.ready().await).await;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_framework_that_an_operator_removes_registers_anew_and_leaves_no_orphan() {
    let world = World::new().await;
    let (cluster, scheduler) = cluster_and_scheduler(&world, 2).await;
    scheduler.api.put("host-configs", "out", NULL).await;
    let old = framework_of(&scheduler).await.unwrap();
    let before: BTreeSet<u32> = world.executors().into_iter().collect();
    let url = format!("http://{}/master/teardown", cluster.master());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.post(url).body(format!("frameworkId={old}")).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
    let anew = async || {
        scheduler.api.ready().await?;
        let now: BTreeSet<u32> = world.executors().into_iter().collect();
        match framework_of(&scheduler).await? {
            id if id != old && now.len() == 2 && now.is_disjoint(&before) => Ok(()),
            id => Err(format!("framework {id}, executors {now:?}, before {before:?}")),
        }
    };
    eventually("another framework with executors of its own, and none of the old one", 2 * START, anew).await;
    eventually("the configs are applied by them", SOON, async || scheduler.api.applied().await).await;
    assert_eq!(scheduler.api.get("/host-configs/out").await.unwrap()["input"], NULL);
    cluster.stop().await;
}
