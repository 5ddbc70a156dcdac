//! Story: an operator chooses nodes, reserves resources, and takes the framework down for good.

use crate::api::Api;
use crate::eventually::eventually;
use crate::world::{Logherd, SOON, START, World, binary, free_port};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
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

    let done = tear_down(&second.api, &["--yes"]);
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
