//! Story: the scheduler is killed, and the nodes do not notice.

use crate::docker::Docker;
use crate::eventually::eventually;
use crate::output::Tally;
use crate::world::{Logherd, SOON, START, World, free_port};
use std::time::Duration;

/// The embedded Mesos and, beside it, a scheduler: two processes.
async fn mesos_and_scheduler(world: &World) -> (Logherd, Logherd) {
    let master = format!("127.0.0.1:{}", free_port());
    let data = world.path("mesos");
    let arguments =
        ["local", "--mesos-only", "--mesos-listen", &master, "--data-dir", data.to_str().unwrap()];
    let mesos = world.start("mesos", &arguments);
    let control = format!("127.0.0.1:{}", free_port());
    let state = world.path("state");
    let arguments =
        ["scheduler", "--master", &master, "--state", state.to_str().unwrap(), "--control-listen", &control];
    let scheduler = world.start("scheduler", &arguments);
    eventually("ready", START, async || scheduler.api.ready().await).await;
    (mesos, scheduler)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_scheduler_comes_back_as_the_same_framework_and_no_executor_is_restarted() {
    let world = World::new().await;
    let (_mesos, mut scheduler) = mesos_and_scheduler(&world).await;
    scheduler.api.put("host-configs", "out", "output { null { } }").await;
    let before = scheduler.api.get("/api/v1/status").await.unwrap();
    let executors = world.executors();
    assert_eq!(executors.len(), 1);
    for _ in 0..3 {
        scheduler.kill();
        scheduler.start_again();
        eventually("ready again", START, async || scheduler.api.ready().await).await;
        let after = scheduler.api.get("/api/v1/status").await.unwrap();
        assert_eq!(after["framework_id"], before["framework_id"]);
        assert_eq!(after["revision"], before["revision"]);
        eventually("attached and applied", SOON, async || scheduler.api.applied().await).await;
        assert_eq!(world.executors(), executors, "no executor was restarted");
    }
    let config = scheduler.api.get("/host-configs/out").await.unwrap();
    assert_eq!(config["input"], "output { null { } }");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_line_is_lost_or_delayed_while_the_scheduler_is_dead() {
    let Some(docker) = Docker::here().await else { return };
    let world = World::alone().await;
    let (_mesos, mut scheduler) = mesos_and_scheduler(&world).await;
    docker.tag(&world.image()).await;
    let input = r#"input { file { docker-path => "/var/log/app.log" start_position => "beginning" } }"#;
    scheduler.api.put("configs", &world.image_name(), input).await;
    let path = world.path("out.log").display().to_string();
    let output =
        format!(r#"output {{ file {{ path => "{path}" codec => line {{ format => "%{{message}}" }} }} }}"#);
    scheduler.api.put("host-configs", "out", &output).await;
    let script = r#"i=0; while :; do i=$((i + 1)); echo "line $i." >>/var/log/app.log; sleep 0.01; done"#;
    let container = docker.run(&world.id, &world.image(), script).await;
    let output = world.output("out.log");
    let at_least = async |count: usize| match output.count() {
        seen if seen >= count => Ok(()),
        seen => Err(format!("{seen} lines")),
    };
    eventually("lines flow", SOON, async || at_least(50).await).await;

    let executors = world.executors();
    scheduler.kill();
    let written: usize = container.sh("wc -l </var/log/app.log").await.trim().parse().unwrap();
    let (_, took) = eventually("lines flow without a scheduler", Duration::from_secs(2), async || {
        at_least(written + 20).await
    })
    .await;
    println!("20 more lines came out {took:?} after the scheduler was killed");
    let second =
        docker.run(&world.id, &world.image(), r#"echo "line 0." >>/var/log/app.log; sleep 1000000"#).await;
    eventually("even a new container is streamed", SOON, async || output.holds("line 0.")).await;
    second.remove().await;

    scheduler.start_again();
    eventually("ready again", START, async || scheduler.api.ready().await).await;
    assert_eq!(world.executors(), executors, "no executor was restarted");
    container.stop().await;
    container.start().await;
    container.stop().await;
    let lines: Vec<String> = output.lines().into_iter().filter(|line| line != "line 0.").collect();
    std::fs::write(world.path("counted.log"), lines.join("\n") + "\n").unwrap();
    let Tally { duplicates, torn, first_missing, .. } = world.output("counted.log").tally("line ", ".");
    assert_eq!((torn, first_missing), (0, None), "{duplicates} duplicates");
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_fetch_the_program_from_the_scheduler_and_run_it_in_their_sandboxes() {
    let world = World::new().await;
    let (_mesos, scheduler) = mesos_and_scheduler(&world).await;
    let executors = world.executors();
    assert_eq!(executors.len(), 1);
    let program = std::fs::read_link(format!("/proc/{}/exe", executors[0])).unwrap();
    assert!(
        program.starts_with(world.path("mesos")) && program.ends_with("logherd"),
        "{}",
        program.display()
    );
    let printed = scheduler.printed();
    let name = printed.split_once("/artifacts/").expect("where it is fetched from").1;
    let hash = name.strip_prefix("logherd-").and_then(|hash| hash.get(..24)).unwrap();
    assert!(hash.chars().all(|letter| letter.is_ascii_hexdigit()), "{hash}");
}
