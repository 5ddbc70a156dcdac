//! Story: an operator chooses nodes, reserves resources, and takes the framework down for good.

use crate::api::Api;
use crate::eventually::eventually;
use crate::world::{Logherd, SOON, START, World, binary, free_port};
use reqwest::{Method, StatusCode};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

struct Stage {
    master: String,
    arguments: Vec<String>,
    _mesos: Logherd,
}

impl Stage {
    fn set(world: &World) -> Self {
        let master = format!("127.0.0.1:{}", free_port());
        let (mesos, state) = (world.path("mesos"), world.path("state"));
        let of_mesos = ["local", "--mesos-only", "--nodes", "3", "--mesos-listen", &master, "--data-dir"];
        let running = world.start("mesos", &[&of_mesos[..], &[mesos.to_str().unwrap()]].concat());
        let control = format!("127.0.0.1:{}", free_port());
        let state = state.to_str().unwrap();
        let program = binary();
        let arguments = ["scheduler", "--master", &master, "--state", state, "--control-listen", &control];
        let more = ["--executor-binary", program.to_str().unwrap(), "--roles", "logs,other", "--reserve"];
        let arguments = arguments.iter().chain(&more).map(|&argument| argument.to_owned()).collect();
        Self { master, arguments, _mesos: running }
    }

    fn scheduler(&self, world: &World, name: &str, more: &[&str]) -> Logherd {
        let arguments: Vec<&str> =
            self.arguments.iter().map(String::as_str).chain(more.iter().copied()).collect();
        world.start(name, &arguments)
    }

    /// Frameworks that the master knows: those that live, and those that are over.
    async fn frameworks(&self) -> Result<(usize, usize), String> {
        let port = self.master.rsplit(':').next().unwrap().parse().unwrap();
        let answer = Api::new(port).get("/frameworks").await?;
        let count = |name: &str| answer[name].as_array().map_or(0, Vec::len);
        Ok((count("frameworks"), count("completed_frameworks")))
    }
}

/// Waits until so many nodes are covered, so many left out, and reservations are on so many agents.
async fn placed(api: &Api, covered: u64, left_out: u64, reserved: u64) -> Value {
    let look = async || {
        let status = api.get("/api/v1/status").await?;
        let is = |name: &str, wanted: u64| status[name].as_u64() == Some(wanted);
        let all = is("nodes_covered", covered)
            && is("nodes_excluded", left_out)
            && is("agents_reserved", reserved)
            && is("nodes_known", covered);
        if all { Ok(status) } else { Err(status.to_string()) }
    };
    eventually("nodes covered, left out and reserved", START, look).await.0
}

fn tear_down(api: &Api, more: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(["teardown", "--api", &api.url]).args(more).stdin(Stdio::null());
    command.output().unwrap()
}

/// The same at a terminal, where somebody types that line.
fn tear_down_typing(api: &Api, more: &[&str], line: &str) -> Output {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let path = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
    let keyboard = std::fs::File::options().read(true).write(true).open(path).unwrap();
    std::fs::File::from(terminal.try_clone().unwrap()).write_all(format!("{line}\n").as_bytes()).unwrap();
    let mut command = Command::new(binary());
    command.args(["teardown", "--api", &api.url]).args(more).stdin(keyboard);
    command.output().unwrap()
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_are_chosen_by_constraints_and_resources_reserved_until_the_framework_is_torn_down() {
    let world = World::new().await;
    let stage = Stage::set(&world);
    let mut first = stage.scheduler(&world, "first", &[]);
    placed(&first.api, 3, 0, 3).await;
    assert!(first.stop().await.success());

    // With other settings: a node is left out and gives up what was reserved there.
    let mut second =
        stage.scheduler(&world, "second", &["--constraint", "hostname!=node-2", "--executor-mem", "300"]);
    let status = placed(&second.api, 2, 1, 2).await;
    let nodes = second.api.nodes().await.unwrap();
    let left_out = nodes.iter().find(|node| node["host"] == "node-2").unwrap();
    assert_eq!((&left_out["coverage"], &left_out["cause"]), (&json!("excluded"), &json!("constraint")));
    assert!(left_out["reason"].as_str().unwrap().contains("`hostname!=node-2`"), "{left_out}");
    assert_eq!(world.executors().len(), 2);

    // An executor that ends is launched again on a reservation that fits what it needs now.
    let one = world.executors()[0];
    crate::world::kill(one);
    let look = async || match world.executors() {
        now if now.len() == 2 && !now.contains(&one) => Ok(()),
        now => Err(format!("{now:?}")),
    };
    eventually("another executor", SOON, look).await;
    placed(&second.api, 2, 1, 2).await;

    // Nothing happens by mistake.
    let wrong = json!({ "framework_id": "another-0000" });
    let answer = second.api.send(Method::POST, "/api/v1/teardown", Some(wrong)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::CONFLICT);
    let asked = tear_down(&second.api, &[]);
    assert!(!asked.status.success(), "nobody could be asked");
    assert!(String::from_utf8_lossy(&asked.stdout).contains("2 executors end"), "{asked:?}");

    let mistyped = tear_down_typing(&second.api, &[], "longherd");
    assert!(!mistyped.status.success() && printed(&mistyped).contains("nothing was done"), "{mistyped:?}");
    assert_eq!(world.executors().len(), 2);

    let done = tear_down_typing(&second.api, &[], "logherd");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success() && said.contains(status["framework_id"].as_str().unwrap()), "{done:?}");
    assert!(second.ended().await.success(), "{}", second.printed());
    assert_eq!(stage.frameworks().await, Ok((0, 1)));
    let none = async || if world.executors().is_empty() { Ok(()) } else { Err("some live".to_owned()) };
    eventually("no executor is left", SOON, none).await;

    // Nobody comes back by accident, and what was reserved is free.
    let mut third = stage.scheduler(&world, "third", &[]);
    assert!(!third.ended().await.success());
    assert!(third.printed().contains("--register-anew"), "{}", third.printed());
    let fourth = stage.scheduler(&world, "fourth", &["--register-anew"]);
    let again = placed(&fourth.api, 3, 0, 3).await;
    assert_ne!(again["framework_id"], status["framework_id"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_framework_whose_scheduler_is_gone_is_removed_at_the_master_after_its_id_was_typed() {
    let world = World::new().await;
    let stage = Stage::set(&world);
    let mut lost = stage.scheduler(&world, "lost", &[]);
    let status = placed(&lost.api, 3, 0, 3).await;
    let id = status["framework_id"].as_str().unwrap();
    let of = |master: &str| ["--framework", id, "--master", master].map(str::to_owned);
    let of_it = of(&stage.master);
    let of_it: Vec<&str> = of_it.iter().map(String::as_str).collect();

    // Not while it has a scheduler, which would be the one to ask.
    let refused = tear_down(&lost.api, &[&of_it[..], &["--yes"]].concat());
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && why.contains("a scheduler of it is connected"), "{refused:?}");
    let unknown = tear_down(&lost.api, &["--framework", "nobody-0000", "--yes"]);
    let why = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(!unknown.status.success() && why.contains(id), "what there is instead: {unknown:?}");
    lost.kill();

    let gone = async || {
        let mistyped = tear_down_typing(&lost.api, &of_it, "logherd");
        let said = printed(&mistyped);
        let all = said.contains("3 executors end")
            && said.contains("nothing was done")
            && said.contains("on node-2");
        if all && !mistyped.status.success() { Ok(()) } else { Err(format!("{mistyped:?}")) }
    };
    eventually("asked once the master knows that the scheduler is gone", SOON, gone).await;
    assert_eq!((world.executors().len(), stage.frameworks().await), (3, Ok((1, 0))));

    let done = tear_down_typing(&lost.api, &of_it, id);
    assert!(done.status.success(), "{done:?}");
    assert!(printed(&done).contains("stay on 3 agents"), "{done:?}");
    assert_eq!(stage.frameworks().await, Ok((0, 1)));
    let none = async || if world.executors().is_empty() { Ok(()) } else { Err("some live".to_owned()) };
    eventually("no executor is left", SOON, none).await;

    let again = tear_down(&lost.api, &[&of_it[..], &["--format", "json"]].concat());
    let said: Value = serde_json::from_str(&printed(&again)).unwrap();
    assert_eq!((again.status.success(), &said["removed"]), (true, &json!(false)), "{again:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configs_are_forgotten_with_the_framework_however_soon_its_scheduler_ends() {
    const CONFIGS: usize = 400;
    let world = World::new().await;
    let stage = Stage::set(&world);
    // Nothing runs anywhere, so that there is nothing to wait for.
    let nowhere = ["--constraint", "hostname=nobody"];
    let mut scheduler = stage.scheduler(&world, "scheduler", &nowhere);
    placed(&scheduler.api, 0, 3, 0).await;
    for n in 0..CONFIGS {
        scheduler.api.put("configs", &format!("team-{n}/app"), "filter { mutate { } }").await;
    }
    let kept = tear_down(&scheduler.api, &["--forget-configs", "--format", "json"]);
    assert!(!kept.status.success(), "nobody could be asked");
    let documents = async |api: &Api| {
        let found = api.get("/api/v1/documents").await.unwrap();
        found["documents"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(documents(&scheduler.api).await, CONFIGS, "nothing was deleted without an order");

    let done = tear_down(&scheduler.api, &["--yes", "--forget-configs", "--format", "json"]);
    let said: Value = serde_json::from_str(&printed(&done)).unwrap();
    assert_eq!((done.status.success(), &said["configs_deleted"]), (true, &json!(true)), "{done:?}");
    assert!(scheduler.ended().await.success(), "{}", scheduler.printed());
    let anew = stage.scheduler(&world, "anew", &[&nowhere[..], &["--register-anew"]].concat());
    placed(&anew.api, 0, 3, 0).await;
    assert_eq!(documents(&anew.api).await, 0);
}
