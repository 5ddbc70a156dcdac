//! Lines of files in containers come out, from the right containers, as configured.
use crate::world::{Executor, Image, World, docker, docker_is_there, events, eventually, messages};
use proto::control as wire;
use proto::mesos::v1::TaskState;
use std::time::{Duration, Instant};

/// A container that writes `lines` and lives on.
fn writes(lines: &str) -> String {
    format!("mkdir -p /var/log; printf '{lines}' > /var/log/a.log; exec sleep 1000")
}

#[tokio::test(flavor = "multi_thread")]
async fn two_containers_of_one_image_are_two_streams_with_their_own_fields() {
    if !docker_is_there() {
        return;
    }
    let (world, image) = (World::new().await, Image::busybox());
    let out = world.assign_path(&image, "/var/log/a.log");
    let (one, two) = (image.run(&writes("one\\n")), image.run(&writes("two\\n")));
    let executor = Executor::start(&world);
    let events = eventually("both lines", || Some(events(&out)).filter(|events| events.len() >= 2)).await;
    for (container, line) in [(&one, "one"), (&two, "two")] {
        let event = events.iter().find(|event| event["message"] == line).unwrap();
        assert_eq!(event["container"]["id"], container.0);
        assert_eq!(event["container"]["image"], image.tagged());
        let name = docker(&["inspect", "--format", "{{.Name}}", &container.0]);
        assert_eq!(event["container"]["name"], name.trim_start_matches('/'));
        assert_eq!(
            (event["host"].as_str(), event["path"].as_str()),
            (Some("node-7"), Some("/var/log/a.log"))
        );
    }
    assert_eq!(world.applied().await, []);
    world.heard(|heard| assert_eq!(heard.states, [TaskState::TaskStarting, TaskState::TaskRunning]));
    let seen = world.container(&one, |c| c.tails.iter().any(|tail| tail.acknowledged_position == 4)).await;
    assert_eq!(seen.state(), wire::container::State::Streaming);
    assert_eq!(seen.config, image.0);
    executor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_started_later_is_picked_up_within_a_second() {
    if !docker_is_there() {
        return;
    }
    let (world, image) = (World::new().await, Image::busybox());
    let out = world.assign_path(&image, "/var/log/a.log");
    let executor = Executor::start(&world);
    world.applied().await;
    let container = image.run(&writes("late\\n"));
    let began = Instant::now();
    eventually("its tail runs", || (container.tails_of("/var/log/a.log") > 0).then_some(())).await;
    let took = began.elapsed();
    eprintln!("a container that started was read after {took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}; a second, with room for a busy machine");
    eventually("its line", || (messages(&out) == ["late"]).then_some(())).await;
    executor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_edit_the_new_path_is_read_and_the_old_tail_is_gone() {
    if !docker_is_there() {
        return;
    }
    let (world, image) = (World::new().await, Image::busybox());
    let out = world.assign_path(&image, "/var/log/a.log");
    let container = image.run(&writes("from a\\n"));
    let executor = Executor::start(&world);
    eventually("the line of a", || (messages(&out) == ["from a"]).then_some(())).await;
    container.exec("echo from b > /var/log/b.log");
    world.assign_path(&image, "/var/log/b.log");
    let began = Instant::now();
    world.applied().await;
    eprintln!("an edit was applied after {:?}", began.elapsed());
    eventually("the line of b", || (messages(&out) == ["from a", "from b"]).then_some(())).await;
    let tails = (container.tails_of("/var/log/a.log"), container.tails_of("/var/log/b.log"));
    assert_eq!(tails, (0, 1), "{:?}", container.processes());
    executor.stop().await;
    assert_eq!(container.processes(), ["sleep 1000"], "nothing is left in the container");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_ends_is_read_to_its_last_byte_and_its_spool_goes_with_it() {
    if !docker_is_there() {
        return;
    }
    let (world, image) = (World::new().await, Image::busybox());
    let out = world.assign_path(&image, "/var/log/a.log");
    let executor = Executor::start(&world);
    world.applied().await;
    let container = image.run("mkdir -p /var/log; echo first > /var/log/a.log; while [ ! -e /go ]; do sleep 0.1; done; echo second >> /var/log/a.log; printf third >> /var/log/a.log");
    eventually("the first line", || (messages(&out) == ["first"]).then_some(())).await;
    container.exec("touch /go");
    eventually("the last lines, the unfinished one too", || {
        (messages(&out) == ["first", "second", "third"]).then_some(())
    })
    .await;
    eventually("it is reported no more", || {
        world.heard(|heard| heard.report.containers.iter().all(|c| c.id != container.0)).then_some(())
    })
    .await;
    container.remove();
    let spools = world.dir.path().join("data/spools");
    eventually("its spool is removed", || (std::fs::read_dir(&spools).unwrap().count() == 0).then_some(()))
        .await;
    executor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_started_again_goes_on_at_the_byte() {
    if !docker_is_there() {
        return;
    }
    let (world, image) = (World::new().await, Image::busybox());
    let out = world.assign_path(&image, "/var/log/a.log");
    let executor = Executor::start(&world);
    world.applied().await;
    let container = image.run("mkdir -p /var/log; echo start >> /var/log/a.log; exec sleep 1000");
    let mut expected = Vec::new();
    for round in 0..3 {
        let lines = [["start", "0"], ["start", "1"], ["start", "2"]][round];
        expected.push(lines[0]);
        eventually("a start", || (messages(&out) == expected).then_some(())).await;
        container.exec(&format!("echo {} >> /var/log/a.log", lines[1]));
        expected.push(lines[1]);
        docker(&["restart", "--time", "0", &container.0]);
    }
    expected.push("start");
    eventually("everything once", || (messages(&out) == expected).then_some(())).await;
    executor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_full_of_shell_is_just_a_path() {
    if !docker_is_there() {
        return;
    }
    let (world, image) = (World::new().await, Image::busybox());
    let path = "/var/log/$(touch pwned); `touch pwned` & 'x' *.log";
    let out = world.assign_path(&image, path);
    let container = image.run("mkdir -p /var/log; exec sleep 1000");
    let executor = Executor::start(&world);
    world.applied().await;
    let mut argv = vec!["exec", &container.0, "sh", "-c", r#"echo quiet > "$1""#, "x"];
    argv.push(path);
    docker(&argv);
    eventually("the line", || (messages(&out) == ["quiet"]).then_some(())).await;
    assert_eq!(container.exec("find / -name pwned 2>/dev/null"), "");
    executor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_lines_come_in_order_and_each_once() {
    if !docker_is_there() {
        return;
    }
    let lines = 200_000;
    let (world, image) = (World::new().await, Image::busybox());
    let out = world.assign_path(&image, "/var/log/a.log");
    let _container =
        image.run(&format!("mkdir -p /var/log; seq 1 {lines} > /var/log/a.log; exec sleep 1000"));
    let executor = Executor::start(&world);
    let began = Instant::now();
    let acknowledged = |heard: &crate::world::Heard| heard.report.counters.unwrap_or_default().events_out;
    eventually("all lines", || world.heard(|heard| (acknowledged(heard) >= lines).then_some(()))).await;
    eprintln!("{lines} lines took {:?}", began.elapsed());
    let expected: Vec<String> = (1..=lines).map(|n| n.to_string()).collect();
    assert_eq!(messages(&out), expected);
    executor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_task_is_drained_and_the_executor_ends() {
    if !docker_is_there() {
        return;
    }
    let (world, image) = (World::new().await, Image::busybox());
    let out = world.assign_path(&image, "/var/log/a.log");
    let container = image.run(&writes("one\\n"));
    let executor = Executor::start(&world);
    eventually("the line", || (messages(&out) == ["one"]).then_some(())).await;
    world.kill().await;
    executor.ended().await;
    world.heard(|heard| {
        let last = &heard.states[heard.states.len() - 2..];
        assert_eq!(last, [TaskState::TaskKilling, TaskState::TaskKilled]);
    });
    assert_eq!(container.processes(), ["sleep 1000"]);
    world.forget_states();
    let executor = Executor::start(&world);
    container.exec("echo two >> /var/log/a.log");
    eventually("only the new line", || (messages(&out) == ["one", "two"]).then_some(())).await;
    world.shut_down().await;
    executor.ended().await;
}
