//! Story: two containers of one image are two streams; a new one is picked up at once; one that stops is drained.

use crate::docker::Docker;
use crate::eventually::{always, eventually};
use crate::output::Output;
use crate::world::{Logherd, SOON, World};
use serde_json::Value;
use std::time::Duration;

const WRITES_AT_ONCE: &str = r#"echo "hello from $(hostname)" >>/var/log/app.log; sleep 1000000"#;

async fn world_with_configs() -> (World, Logherd, Output) {
    let world = World::alone().await;
    let logherd = world.local(&[]).await;
    let input = r#"input { file { docker-path => "/var/log/app.log" start_position => "beginning" } }"#;
    logherd.api.put("configs", &world.image_name(), input).await;
    let path = world.path("out.json").display().to_string();
    let output = format!(r#"output {{ file {{ path => "{path}" codec => json_lines }} }}"#);
    logherd.api.put("host-configs", "out", &output).await;
    eventually("applied", SOON, async || logherd.api.applied().await).await;
    let output = world.output("out.json");
    (world, logherd, output)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_containers_of_one_image_are_two_streams() {
    let Some(docker) = Docker::here().await else { return };
    let (world, logherd, output) = world_with_configs().await;
    docker.tag(&world.image()).await;
    let one = docker.run(&world.id, &world.image(), WRITES_AT_ONCE).await;
    let two = docker.run(&world.id, &world.image(), WRITES_AT_ONCE).await;
    for container in [&one, &two] {
        eventually("its line", SOON, async || output.holds(&format!("hello from {}", &container.id[..12])))
            .await;
    }
    one.log("/var/log/app.log", "second of one").await;
    two.log("/var/log/app.log", "second of two").await;
    eventually("second line", SOON, async || output.holds("second of one")).await;
    eventually("second line", SOON, async || output.holds("second of two")).await;

    let events = output.events();
    assert_eq!(events.len(), 4, "each line once: {events:#?}");
    for (container, text) in [(&one, "second of one"), (&two, "second of two")] {
        let event = events.iter().find(|event| event["message"] == text).unwrap();
        assert_eq!(event["container"]["id"], container.id.as_str(), "{event:#}");
        assert_eq!(event["container"]["image"], world.image().as_str(), "{event:#}");
        assert!(event["container"]["name"].is_string() && event["path"] == "/var/log/app.log", "{event:#}");
        assert!(!event["host"].is_null(), "{event:#}");
    }
    let streaming = async || {
        let states: Vec<Value> =
            logherd.api.containers(&world.id).await?.iter().map(|seen| seen["state"].clone()).collect();
        if states == ["streaming", "streaming"] { Ok(()) } else { Err(format!("{states:?}")) }
    };
    eventually("both are shown as streaming", SOON, streaming).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_started_later_is_picked_up_within_a_second() {
    let Some(docker) = Docker::here().await else { return };
    let (world, _logherd, output) = world_with_configs().await;
    docker.tag(&world.image()).await;
    let container = docker.run(&world.id, &world.image(), WRITES_AT_ONCE).await;
    let first = format!("hello from {}", &container.id[..12]);
    let (_, took) =
        eventually("its first line came out", Duration::from_secs(1), async || output.holds(&first)).await;
    println!("from `docker run` to the event in the file: {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_stops_is_drained() {
    let Some(docker) = Docker::here().await else { return };
    let (world, logherd, output) = world_with_configs().await;
    docker.tag(&world.image()).await;
    let script = r#"trap 'for i in 1 2 3; do echo "last words $i" >>/var/log/app.log; done; exit' TERM
        echo ready >>/var/log/app.log; while :; do sleep 0.1; done"#;
    let container = docker.run(&world.id, &world.image(), script).await;
    eventually("it runs", SOON, async || output.holds("ready")).await;
    for number in 1..=2000 {
        if number % 500 == 0 {
            container
                .sh(&format!("for i in $(seq 500); do echo line {number}-$i; done >>/var/log/app.log"))
                .await;
        }
    }
    container.stop().await;
    eventually("what was read came out", SOON, async || output.holds("line 2000-500")).await;
    assert_eq!(output.lines().iter().filter(|line| line.contains("\"line ")).count(), 2000, "each line once");
    println!(
        "last words written while stopping: {} of 3",
        output.lines().iter().filter(|l| l.contains("last words")).count()
    );
    let gone = async || match logherd.api.containers(&world.id).await?.first() {
        None => Ok(()),
        Some(container) => Err(container["state"].to_string()),
    };
    eventually("it is no longer shown", SOON, gone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_share_a_docker_daemon_deal_its_containers_out_and_each_line_comes_once() {
    let Some(docker) = Docker::here().await else { return };
    const CONTAINERS: usize = 8;
    let world = World::alone().await;
    let logherd = world.local(&["--nodes", "3"]).await;
    let input = r#"input { file { docker-path => "/var/log/app.log" } }"#;
    logherd.api.put("configs", &world.image_name(), input).await;
    let path = world.path("out.json").display().to_string();
    let output = format!(r#"output {{ file {{ path => "{path}" codec => json_lines }} }}"#);
    logherd.api.put("host-configs", "out", &output).await;
    docker.tag(&world.image()).await;
    for _ in 0..CONTAINERS {
        docker.run(&world.id, &world.image(), WRITES_AT_ONCE).await;
    }
    let output = world.output("out.json");
    let each = async || match output.count() {
        count if count >= CONTAINERS => Ok(()),
        count => Err(format!("{count} lines")),
    };
    eventually("a line of each container", SOON, each).await;
    let once = async || match (output.count(), logherd.api.containers(&world.id).await?.len()) {
        (CONTAINERS, CONTAINERS) => Ok(()),
        other => Err(format!("lines, containers: {other:?}")),
    };
    eventually("each container is on one node", SOON, once).await;
    always("each line once", Duration::from_secs(1), once).await;
}
