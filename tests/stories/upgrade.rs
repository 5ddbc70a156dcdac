//! Story: executors are replaced one by one under other flags and back again, while lines are written all the time.
//!
//! Their data are in sandboxes: that no line is read twice from the beginning shows that each took over from the one before.
//! Nodes have room for two executors: each new one is up and waits beside the old one before that is told to end.

use crate::api::Api;
use crate::eventually::{always, eventually};
use crate::world::{Logherd, SOON, START, World, binary, free_port};
use local::{Cluster, Settings};
use reqwest::Method;
use serde_json::{Value, json};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

const NODES: usize = 3;

/// Agents without a data directory for their executors; each executor knows the number of its node.
async fn cluster(world: &World, nodes: usize) -> Cluster {
    let mut settings = Settings::new(world.path("mesos"), nodes);
    for (node, number) in settings.nodes.iter_mut().zip(1..) {
        node.executor_env.push(("NODE".to_owned(), format!("{number}")));
        node.attributes.push(("rack".to_owned(), format!("r{number}")));
    }
    Cluster::start(settings).await.unwrap()
}

/// A scheduler whose executors get a spool of that size: what is changed by it does not matter, but is another generation.
fn scheduler(world: &World, cluster: &Cluster, name: &str, spool: &str) -> Logherd {
    scheduler_with(world, cluster, name, &["--spool-max", spool])
}

fn scheduler_with(world: &World, cluster: &Cluster, name: &str, more: &[&str]) -> Logherd {
    let (master, control) = (cluster.master().to_string(), format!("127.0.0.1:{}", free_port()));
    let (state, program) = (world.path("state"), binary());
    let place = ["scheduler", "--master", &master, "--state", state.to_str().unwrap()];
    let own = ["--control-listen", &control, "--executor-binary", program.to_str().unwrap()];
    world.start(name, &[&place[..], &own[..], &["--rollout-settle", "1s"], more].concat())
}

/// Writes numbered lines until it is told to stop; tells how many there are.
async fn write(path: std::path::PathBuf, written: Arc<AtomicUsize>, stop: CancellationToken) {
    let mut file = std::fs::File::options().create(true).append(true).open(path).unwrap();
    let mut ticks = interval(Duration::from_millis(10));
    while !stop.is_cancelled() {
        ticks.tick().await;
        let number = written.fetch_add(1, Ordering::SeqCst) + 1;
        writeln!(file, "line {number}.").unwrap();
    }
}

/// Looks all the time how many nodes are uncovered, and remembers the most.
async fn watch(api: Api, most: Arc<AtomicUsize>) {
    let mut ticks = interval(Duration::from_millis(30));
    loop {
        ticks.tick().await;
        let Ok(nodes) = api.nodes().await else { continue };
        let uncovered = nodes.iter().filter(|node| node["coverage"] != "running").count();
        most.fetch_max(uncovered, Ordering::SeqCst);
    }
}

async fn order(api: &Api, path: &str, body: Value) -> Value {
    let ask = async || {
        let response = api.send(Method::POST, &format!("/api/v1/rollout{path}"), Some(body.clone())).await?;
        let (status, text) = (response.status(), response.text().await.unwrap());
        // What was decided just before may still be on its way to the store.
        if status == 409 && text.contains("try again") {
            return Err(text);
        }
        assert!(status.is_success(), "POST {path}: {status}: {text}");
        Ok(serde_json::from_str(&text).unwrap())
    };
    eventually("the order is taken", SOON, ask).await.0
}

async fn rollout(api: &Api) -> Result<Value, String> {
    api.get("/api/v1/rollout").await
}

/// Whether so many executors are of the generation that new ones are of, and all are attached.
async fn up_to_date(api: &Api, count: usize) -> Result<(), String> {
    let seen = rollout(api).await?;
    let nodes = api.nodes().await?;
    let attached = nodes.iter().filter(|node| node["attached"] == true).count();
    if seen["up_to_date"] == count && attached == nodes.len() {
        return Ok(());
    }
    Err(format!("{attached} attached, {seen:#}"))
}

async fn ended(api: &Api, state: &str) -> Result<(), String> {
    let seen = rollout(api).await?;
    if seen["rollout"]["state"] == state { Ok(()) } else { Err(format!("{seen:#}")) }
}

async fn back_at(api: &Api, generation: &Value) -> Result<(), String> {
    match rollout(api).await? {
        seen if seen["generation"] == *generation => ended(api, "done").await,
        seen => Err(format!("{seen:#}")),
    }
}

/// What was decided says of so many replacements that the next one waited before its predecessor ended.
async fn each_was_up_before_the_old_one_ended(api: &Api, replacements: usize) {
    let status = api.get("/api/v1/status").await.unwrap();
    let said: Vec<&str> =
        status["decisions"].as_array().unwrap().iter().filter_map(|said| said["text"].as_str()).collect();
    let count = |what: &str| said.iter().filter(|text| text.contains(what)).count();
    let counted = (count("the next one waits beside it"), count("the one beside it takes over"));
    assert_eq!(counted, (replacements, replacements), "{said:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn executors_are_replaced_one_by_one_and_back_again_and_no_line_is_lost() {
    let world = World::alone().await;
    let cluster = cluster(&world, NODES).await;
    let mut first = scheduler(&world, &cluster, "first", "5MB");
    eventually("ready", START, async || first.api.ready().await).await;
    let log = world.path("app.log");
    first.api.put("host-configs", "all", &copies(&world)).await;
    let (written, stop) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
    let mut tasks = JoinSet::new();
    tasks.spawn(write(log, Arc::clone(&written), stop.clone()));
    let outputs: Vec<_> = (1..=NODES).map(|n| world.output(&format!("out-{n}.log"))).collect();
    let flows = async || match outputs.iter().all(|output| output.count() > 20) {
        true => Ok(()),
        false => Err("not on every node".to_owned()),
    };
    eventually("lines flow on every node", SOON, flows).await;
    eventually("all of one generation", SOON, async || up_to_date(&first.api, NODES).await).await;
    let old = rollout(&first.api).await.unwrap()["generation"].clone();
    assert!(first.stop().await.success());

    let second = scheduler(&world, &cluster, "second", "6MB");
    let api = &second.api;
    eventually("the old executors are attached", START, async || up_to_date(api, 0).await).await;
    eventually("and known to run", START, async || api.ready().await).await;
    let seen = rollout(api).await.unwrap();
    assert!(seen["generation"] != old && seen["older"] == NODES, "{seen:#}");
    assert!(seen["advice"].as_str().unwrap().contains("logherd upgrade"), "{seen:#}");
    let planned = order(api, "", json!({ "dry_run": true })).await;
    assert_eq!((&planned["plan"]["batches"], &planned["status"]), (&json!(NODES), &json!("planned")));
    let nodes = planned["plan"]["nodes"].as_array().unwrap();
    assert!(nodes.iter().all(|node| node["way"] == "overlap"), "{planned:#}");

    let most = Arc::new(AtomicUsize::new(0));
    tasks.spawn(watch(api.clone(), Arc::clone(&most)));
    let canary = json!({ "max_unavailable": 1, "canary": "rack=r2", "pause_after_canary": true });
    order(api, "", canary).await;
    eventually("paused after the canary", START, async || ended(api, "paused").await).await;
    let is_canary = |node: &Value| node["up_to_date"] == true;
    let new: Vec<Value> = api.nodes().await.unwrap().into_iter().filter(is_canary).collect();
    assert_eq!((new.len(), &new[0]["host"]), (1, &json!("node-2")), "{new:#?}");
    always("paused", Duration::from_secs(2), async || up_to_date(api, 1).await).await;
    order(api, "/resume", json!({})).await;
    eventually("rolled out", START, async || ended(api, "done").await).await;
    up_to_date(api, NODES).await.unwrap();

    order(api, "/rollback", json!({})).await;
    eventually("rolled back", START, async || back_at(api, &old).await).await;
    up_to_date(api, NODES).await.unwrap();
    // With overlaps a node is uncovered for a moment only, which who looks now and then may miss.
    assert!(most.load(Ordering::SeqCst) <= 1, "the most nodes that were uncovered at once");
    each_was_up_before_the_old_one_ended(api, 2 * NODES).await;

    stop.cancel();
    let all = async || {
        let written = written.load(Ordering::SeqCst);
        let tallies: Vec<_> = outputs.iter().map(|output| output.tally("line ", ".")).collect();
        match tallies.iter().all(|tally| tally.distinct == written && tally.first_missing.is_none()) {
            true => Ok(tallies),
            false => Err(format!("of {written} lines: {tallies:?}")),
        }
    };
    let (tallies, _) = eventually("every line on every node", SOON, all).await;
    println!("{} lines on each of {NODES} nodes; {tallies:?}", written.load(Ordering::SeqCst));
    for tally in tallies {
        assert_eq!(tally.duplicates, 0, "positions were taken over: {tally:?}");
    }
    tasks.shutdown().await;
    cluster.stop().await;
}

/// One input and one output for each node, which are files of the host.
fn copies(world: &World) -> String {
    let (log, pattern) = (world.path("app.log"), world.path("out-${NODE}.log"));
    format!(
        r#"input {{ file {{ host-path => "{}" start_position => "beginning" }} }}
        output {{ file {{ path => "{}" codec => line {{ format => "%{{message}}" }} }} }}"#,
        log.display(),
        pattern.display()
    )
}

/// Replaces the executors of some nodes and rolls back, with more arguments for the schedulers: nodes overlap each time, and every
/// line comes once.
async fn there_and_back(world: &World, nodes: usize, more: &[&str]) -> (Cluster, Logherd) {
    let cluster = cluster(world, nodes).await;
    let mut first = scheduler_with(world, &cluster, "first", &[more, &["--spool-max", "5MB"]].concat());
    eventually("ready", START, async || first.api.ready().await).await;
    first.api.put("host-configs", "all", &copies(world)).await;
    let (written, stop) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
    let mut tasks = JoinSet::new();
    tasks.spawn(write(world.path("app.log"), Arc::clone(&written), stop.clone()));
    let outputs: Vec<_> = (1..=nodes).map(|n| world.output(&format!("out-{n}.log"))).collect();
    let flows = async || match outputs.iter().all(|output| output.count() > 20) {
        true => Ok(()),
        false => Err("not on every node".to_owned()),
    };
    eventually("lines flow on every node", SOON, flows).await;
    eventually("all of one generation", SOON, async || up_to_date(&first.api, nodes).await).await;
    let old = rollout(&first.api).await.unwrap()["generation"].clone();
    assert!(first.stop().await.success());

    let second = scheduler_with(world, &cluster, "second", &[more, &["--spool-max", "6MB"]].concat());
    let api = &second.api;
    eventually("the old executors are attached", START, async || up_to_date(api, 0).await).await;
    eventually("and known to run", START, async || api.ready().await).await;
    order(api, "", json!({ "max_unavailable": 1 })).await;
    eventually("rolled out", START, async || ended(api, "done").await).await;
    up_to_date(api, nodes).await.unwrap();
    order(api, "/rollback", json!({})).await;
    eventually("rolled back", START, async || back_at(api, &old).await).await;
    up_to_date(api, nodes).await.unwrap();
    each_was_up_before_the_old_one_ended(api, 2 * nodes).await;
    stop.cancel();
    let all = async || {
        let written = written.load(Ordering::SeqCst);
        let tallies: Vec<_> = outputs.iter().map(|output| output.tally("line ", ".")).collect();
        match tallies.iter().all(|tally| tally.distinct == written && tally.first_missing.is_none()) {
            true => Ok(tallies),
            false => Err(format!("of {written} lines: {tallies:?}")),
        }
    };
    let (tallies, _) = eventually("every line on every node", SOON, all).await;
    assert!(tallies.iter().all(|tally| tally.duplicates == 0), "positions were taken over: {tallies:?}");
    tasks.shutdown().await;
    (cluster, second)
}

#[tokio::test(flavor = "multi_thread")]
async fn executors_overlap_over_a_data_directory_of_the_node_and_each_goes_on_where_the_other_stopped() {
    let world = World::alone().await;
    let data = world.path("executor-data");
    // The nodes are one machine here, so there is one of them for one directory.
    let more = ["--executor-data-dir", data.to_str().unwrap()];
    let (cluster, _scheduler) = there_and_back(&world, 1, &more).await;
    assert!(data.join("lock").exists(), "that directory was used");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn executors_overlap_on_reserved_resources_and_nothing_is_left_reserved_twice() {
    let world = World::alone().await;
    let more = ["--reserve", "--roles", "logs"];
    let (cluster, scheduler) = there_and_back(&world, 2, &more).await;
    let reserved = async || {
        let status = scheduler.api.get("/api/v1/status").await?;
        let problems = status["reservation_problems"].as_array().map_or(0, Vec::len);
        match (status["agents_reserved"].as_u64(), problems) {
            (Some(2), 0) => Ok(()),
            _ => Err(format!("{} {}", status["agents_reserved"], status["reservation_problems"])),
        }
    };
    eventually("each node has its reservation", SOON, reserved).await;
    // What the master itself says: one executor on each agent, and nothing that was launched in vain.
    let agents = Api::new(cluster.master().port()).get("/slaves").await.unwrap();
    let used: Vec<&Value> =
        agents["slaves"].as_array().unwrap().iter().map(|agent| &agent["used_resources"]["mem"]).collect();
    assert!(matches!(used[..], [one, other] if one == other), "{used:?}");
    let status = scheduler.api.get("/api/v1/status").await.unwrap();
    let decisions = status["decisions"].to_string();
    assert!(!decisions.contains("it is not to take over any more"), "{decisions}");
    cluster.stop().await;
}
