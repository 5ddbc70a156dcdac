//! Story: what the system tests of Logstash for Mesos promised, on real Docker.

use crate::docker::{Container, Docker};
use crate::eventually::eventually;
use crate::output::Output;
use crate::world::{Logherd, SOON, World, kill};
use std::collections::BTreeSet;

/// Follows one file of a container, from its beginning.
fn follows(path: &str) -> String {
    format!(r#"input {{ file {{ docker-path => "{path}" start_position => "beginning" }} }}"#)
}

/// Ships every event of the node as JSON.
fn ships(world: &World) -> String {
    format!(r#"output {{ file {{ path => "{}" codec => json_lines }} }}"#, world.path("out.json").display())
}

async fn begin() -> Option<(Docker, World, Logherd, Output)> {
    let docker = Docker::here().await?;
    let world = World::new().await;
    let logherd = world.local(&[]).await;
    docker.tag(&world.image()).await;
    let output = world.output("out.json");
    Some((docker, world, logherd, output))
}

async fn idle(docker: Docker, world: &World) -> Container {
    docker.run(&world.id, &world.image(), "sleep 1000000").await
}

/// The states of the story's containers.
async fn states(world: &World, logherd: &Logherd) -> Result<Vec<String>, String> {
    let containers = logherd.api.containers(&world.id).await?;
    Ok(containers
        .iter()
        .map(|container| container["state"].as_str().unwrap_or_default().to_owned())
        .collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_framework_registers_and_runs_one_executor_on_the_node() {
    let world = World::new().await;
    let logherd = world.local(&[]).await;
    let status = logherd.api.get("/api/v1/status").await.unwrap();
    assert!(status["framework_id"].is_string(), "{status:#}");
    let nodes = logherd.api.nodes().await.unwrap();
    assert_eq!(nodes.len(), 1);
    assert_eq!(nodes[0]["coverage"], "running", "{:#}", nodes[0]);
    assert!(nodes[0]["task_id"].is_string() && nodes[0]["executor_id"].is_string(), "{:#}", nodes[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_are_discovered_those_that_ran_before_and_those_that_start_later() {
    let Some((docker, world, logherd, _)) = begin().await else { return };
    let seen = async |count: usize| match logherd.api.containers(&world.id).await?.len() {
        number if number == count => Ok(()),
        number => Err(format!("{number} containers")),
    };
    idle(docker, &world).await;
    eventually("one container", SOON, async || seen(1).await).await;
    idle(docker, &world).await;
    eventually("two containers", SOON, async || seen(2).await).await;
    world.executors().into_iter().for_each(kill);
    eventually("ready again", SOON, async || logherd.api.ready().await).await;
    eventually("both are found by the next executor", SOON, async || seen(2).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_in_a_file_of_the_host_comes_out() {
    let world = World::new().await;
    let logherd = world.local(&[]).await;
    let path = world.path("host.log");
    std::fs::write(&path, "first\n").unwrap();
    let input =
        format!(r#"input {{ file {{ host-path => "{}" start_position => "beginning" }} }}"#, path.display());
    logherd.api.put("host-configs", "host", &format!("{input} {}", ships(&world))).await;
    let output = world.output("out.json");
    eventually("what was there", SOON, async || output.holds("first")).await;
    std::fs::write(&path, "first\nsecond\n").unwrap();
    eventually("what was added", SOON, async || output.holds("second")).await;
    assert_eq!(output.count(), 2, "{}", output.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_starts_after_its_config_is_streamed_and_the_others_are_not() {
    let Some((docker, world, logherd, output)) = begin().await else { return };
    logherd.api.put("configs", &world.image_name(), &follows("/var/log/app.log")).await;
    logherd.api.put("host-configs", "out", &ships(&world)).await;
    let other = format!("{}/other:1", world.id);
    docker.tag(&other).await;
    docker.run(&world.id, &other, "sleep 1000000").await;
    let container = idle(docker, &world).await;
    container.log("/var/log/app.log", "config first").await;
    eventually("its line", SOON, async || output.holds("config first")).await;
    let both = async || {
        let states: BTreeSet<String> = states(&world, &logherd).await?.into_iter().collect();
        if states == BTreeSet::from(["not_matched".into(), "streaming".into()]) {
            Ok(())
        } else {
            Err(format!("{states:?}"))
        }
    };
    eventually("one streams, the other is not matched", SOON, both).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_started_before_its_config_is_streamed() {
    let Some((docker, world, logherd, output)) = begin().await else { return };
    logherd.api.put("host-configs", "out", &ships(&world)).await;
    let container = idle(docker, &world).await;
    container.log("/var/log/app.log", "container first").await;
    let not_matched = async || match states(&world, &logherd).await?.as_slice() {
        [state] if state == "not_matched" => Ok(()),
        states => Err(format!("{states:?}")),
    };
    eventually("it is not matched", SOON, not_matched).await;
    logherd.api.put("configs", &world.image_name(), &follows("/var/log/app.log")).await;
    eventually("its line", SOON, async || output.holds("container first")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_that_names_another_file_follows_that_and_lets_the_first_go() {
    let Some((docker, world, logherd, output)) = begin().await else { return };
    logherd.api.put("host-configs", "out", &ships(&world)).await;
    logherd.api.put("configs", &world.image_name(), &follows("/var/log/a.log")).await;
    let container = idle(docker, &world).await;
    container.log("/var/log/a.log", "line of a").await;
    eventually("a line of A", SOON, async || output.holds("line of a")).await;

    logherd.api.put("configs", &world.image_name(), &follows("/var/log/b.log")).await;
    container.log("/var/log/b.log", "line of b").await;
    eventually("a line of B", SOON, async || output.holds("line of b")).await;
    let only_b = async || {
        let (a, b) = (container.tails_of("/var/log/a.log").await, container.tails_of("/var/log/b.log").await);
        if a.is_empty() && b.len() == 1 { Ok(()) } else { Err(format!("{:#?}", container.processes().await)) }
    };
    eventually("only B is followed inside the container", SOON, only_b).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_stopped_and_started_again_is_streamed_again() {
    let Some((docker, world, logherd, output)) = begin().await else { return };
    logherd.api.put("host-configs", "out", &ships(&world)).await;
    logherd.api.put("configs", &world.image_name(), &follows("/var/log/app.log")).await;
    let container = idle(docker, &world).await;
    container.log("/var/log/app.log", "before").await;
    eventually("its line", SOON, async || output.holds("before")).await;
    container.stop().await;
    let none = async || match states(&world, &logherd).await?.len() {
        0 => Ok(()),
        _ => Err(format!("{:?}", states(&world, &logherd).await)),
    };
    eventually("it is gone", SOON, none).await;
    container.start().await;
    container.log("/var/log/app.log", "after").await;
    eventually("its new line", SOON, async || output.holds("after")).await;
    assert_eq!(output.count(), 2, "each line once: {}", output.text());

    container.remove().await;
    let another = idle(docker, &world).await;
    another.log("/var/log/app.log", "of another").await;
    eventually("the line of another one", SOON, async || output.holds("of another")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_executor_leaves_no_orphan_in_the_container() {
    let Some((docker, world, logherd, output)) = begin().await else { return };
    logherd.api.put("host-configs", "out", &ships(&world)).await;
    logherd.api.put("configs", &world.image_name(), &follows("/var/log/app.log")).await;
    let container = idle(docker, &world).await;
    container.log("/var/log/app.log", "before").await;
    eventually("its line", SOON, async || output.holds("before")).await;
    world.executors().into_iter().for_each(kill);
    container.log("/var/log/app.log", "meanwhile").await;
    eventually("the line written meanwhile", SOON, async || output.holds("meanwhile")).await;
    let one = async || match container.tails_of("/var/log/app.log").await {
        tails if tails.len() == 1 => Ok(()),
        tails => Err(format!("{tails:#?}")),
    };
    eventually("one tail in the container, not two", SOON, one).await;
    logherd.api.send(reqwest::Method::DELETE, &format!("/configs/{}%2Fnginx", world.id), None).await.unwrap();
    let none = async || match container.tails_of("/var/log/app.log").await {
        tails if tails.is_empty() => Ok(()),
        tails => Err(format!("{tails:#?}")),
    };
    eventually("none after the config is gone", SOON, none).await;
}
