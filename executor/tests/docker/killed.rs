//! An executor that is killed leaves nothing running in containers, and its replacement loses nothing.
use crate::world::{Image, World, docker_is_there, eventually, messages};
use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};

const SETTINGS: &str = "LOGHERD_TEST_EXECUTOR";

/// Not a test: the executor that the tests below kill, in a process of its own.
#[tokio::test(flavor = "multi_thread")]
async fn the_executor_as_a_process_of_its_own() {
    let Some(settings) = config::settings::environment(SETTINGS) else { return };
    let words: BTreeMap<&str, &str> = settings.split(';').filter_map(|word| word.split_once('=')).collect();
    let mut world = World::new().await;
    world.settings.control = words["control"].to_owned();
    world.settings.mesos.mesos_agent_endpoint = words["agent"].to_owned();
    world.settings.data_dir = Some(words["data"].into());
    executor::run(world.settings.clone(), tokio_util::sync::CancellationToken::new()).await.unwrap();
}

struct Process(Child);

impl Process {
    fn start(world: &World) -> Self {
        let settings = format!(
            "control={};agent={};data={}",
            world.settings.control,
            world.settings.mesos.mesos_agent_endpoint,
            world.settings.data_dir.as_ref().unwrap().display()
        );
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "killed::the_executor_as_a_process_of_its_own"])
            .env(SETTINGS, settings)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_executor_leaves_no_tail_and_its_replacement_goes_on() {
    if !docker_is_there() {
        return;
    }
    let lines = 400_000;
    let (world, image) = (World::new().await, Image::busybox());
    let out = world.assign_path(&image, "/var/log/a.log");
    // All at once, so that each kill comes in the middle of reading.
    let container = image.run(&format!("mkdir -p /var/log; seq 1 {lines} > /var/log/a.log; exec sleep 1000"));
    for _ in 0..3 {
        let process = Process::start(&world);
        let size = || std::fs::metadata(&out).map_or(0, |file| file.len());
        let before = size();
        eventually("some lines", || (size() > before).then_some(())).await;
        drop(process);
        eventually("its tail is gone", || (container.tails_of("/var/log/a.log") == 0).then_some(())).await;
    }
    let _process = Process::start(&world);
    let last = lines.to_string();
    eventually("the last line", || (messages(&out).last()? == &last).then_some(())).await;
    let came = messages(&out);
    let distinct: std::collections::BTreeSet<&String> = came.iter().collect();
    assert_eq!(distinct.len(), lines);
    eprintln!("three kills: {} lines came twice", came.len() - lines);
    assert_eq!(container.tails_of("/var/log/a.log"), 1, "one tail, not four");
}
