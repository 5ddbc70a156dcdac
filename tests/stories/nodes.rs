//! Story: exactly one executor on every node, whatever dies.

use crate::eventually::{always, eventually};
use crate::world::{Logherd, SOON, START, World, free_port, kill};
use local::{Cluster, Settings};
use std::collections::BTreeSet;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn five_nodes_have_exactly_five_executors_and_a_killed_one_is_replaced() {
    let world = World::new().await;
    let logherd = world.local(&["--nodes", "5"]).await;
    assert_eq!(world.executors().len(), 5);
    let nodes = logherd.api.nodes().await.unwrap();
    let agents: BTreeSet<String> = nodes.iter().map(|node| node["agent_id"].to_string()).collect();
    assert_eq!(agents.len(), 5, "{nodes:#?}");
    always("five, not more", Duration::from_secs(2), async || five(&world)).await;

    let victim = world.executors()[2];
    let others: BTreeSet<u32> = world.executors().into_iter().filter(|&pid| pid != victim).collect();
    kill(victim);
    let replaced = async || {
        let now: BTreeSet<u32> = world.executors().into_iter().collect();
        if now.len() == 5 && !now.contains(&victim) { Ok(now) } else { Err(format!("{now:?}")) }
    };
    let (now, took) = eventually("the killed executor is replaced", START, replaced).await;
    println!("a killed executor is replaced after {took:?}");
    assert!(others.is_subset(&now), "the others run on: {others:?} {now:?}");
    eventually("ready again", SOON, async || logherd.api.ready().await).await;
    let same = logherd
        .api
        .nodes()
        .await
        .unwrap()
        .iter()
        .map(|node| node["agent_id"].to_string())
        .collect::<BTreeSet<_>>();
    assert_eq!(same, agents);
}

fn five(world: &World) -> Result<(), String> {
    let executors = world.executors();
    if executors.len() == 5 { Ok(()) } else { Err(format!("{executors:?}")) }
}

/// An embedded cluster in this process, which the story can make fail, and a real scheduler beside it.
pub(crate) async fn cluster_and_scheduler(world: &World, nodes: usize) -> (Cluster, Logherd) {
    cluster_and_scheduler_with(world, nodes, &[], async |_: &Cluster| {}).await
}

/// The same with more arguments for the scheduler, and something done to the cluster before it starts.
pub(crate) async fn cluster_and_scheduler_with(
    world: &World,
    nodes: usize,
    more: &[&str],
    before: impl AsyncFnOnce(&Cluster),
) -> (Cluster, Logherd) {
    let mut settings = Settings::new(world.path("mesos"), nodes);
    settings.timings.agent_ping = Duration::from_millis(300);
    settings.timings.agent_ping_misses = 3;
    for (index, node) in settings.nodes.iter_mut().enumerate() {
        let data = world.path(&format!("node-{index}")).display().to_string();
        node.executor_env = vec![("LOGHERD_DATA_DIR".into(), data)];
    }
    let cluster = Cluster::start(settings).await.unwrap();
    let (master, control) = (cluster.master().to_string(), format!("127.0.0.1:{}", free_port()));
    let (state, binary) = (world.path("state"), crate::world::binary());
    let arguments =
        ["scheduler", "--master", &master, "--state", state.to_str().unwrap(), "--control-listen", &control];
    let executor = ["--executor-binary", binary.to_str().unwrap()];
    before(&cluster).await;
    let scheduler = world.start("scheduler", &[&arguments[..], &executor[..], more].concat());
    eventually("ready", START, async || scheduler.api.ready().await).await;
    (cluster, scheduler)
}

/// What the scheduler says of each node: agent, coverage, executor.
async fn covered(scheduler: &Logherd) -> Result<Vec<(String, String, String)>, String> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let nodes = scheduler.api.nodes().await?;
    Ok(nodes
        .iter()
        .map(|node| (text(&node["host"]), text(&node["coverage"]), text(&node["executor_id"])))
        .collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_restarts_keeps_its_executor() {
    let world = World::new().await;
    let (cluster, scheduler) = cluster_and_scheduler(&world, 2).await;
    let executors = world.executors();
    assert_eq!(executors.len(), 2);
    let before = covered(&scheduler).await.unwrap();
    for _ in 0..3 {
        cluster.agent(0).unwrap().restart().await.unwrap();
        eventually("ready again", START, async || scheduler.api.ready().await).await;
    }
    let same = async || match world.executors() {
        now if now == executors => Ok(()),
        now => Err(format!("{now:?} instead of {executors:?}")),
    };
    always("the same executors, no second one", Duration::from_secs(3), same).await;
    assert_eq!(covered(&scheduler).await.unwrap(), before);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_vanishes_and_comes_back_has_one_executor_again_and_never_two() {
    let world = World::new().await;
    let (cluster, scheduler) = cluster_and_scheduler(&world, 2).await;
    assert_eq!(world.executors().len(), 2);
    cluster.agent(0).unwrap().vanish().await.unwrap();
    let one_gone = async || {
        let nodes = covered(&scheduler).await?;
        let running = nodes.iter().filter(|(_, coverage, _)| coverage == "running").count();
        if running == 1 { Ok(()) } else { Err(format!("{nodes:?}")) }
    };
    eventually("the scheduler sees that it is gone", START, one_gone).await;

    cluster.agent(0).unwrap().come_back().await.unwrap();
    let back = async || {
        let nodes = covered(&scheduler).await?;
        let running = nodes
            .iter()
            .filter(|(_, coverage, executor)| coverage == "running" && !executor.is_empty())
            .count();
        let executors = world.executors();
        assert!(executors.len() <= 2, "two executors on one node: {executors:?}");
        if running == 2 && executors.len() == 2 { Ok(()) } else { Err(format!("{nodes:?} {executors:?}")) }
    };
    eventually("both nodes are covered again", 2 * START, back).await;
    let two = async || match world.executors().len() {
        2 => Ok(()),
        number => Err(format!("{number} executors")),
    };
    always("two executors, not three", Duration::from_secs(3), two).await;
    cluster.stop().await;
}
