//! Story: exactly one executor on every node, whatever dies.

use crate::eventually::{always, eventually};
use crate::world::{SOON, START, World, kill};
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
