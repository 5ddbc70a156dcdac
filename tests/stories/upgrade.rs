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
async fn cluster(world: &World) -> Cluster {
    let mut settings = Settings::new(world.path("mesos"), NODES);
    for (node, number) in settings.nodes.iter_mut().zip(1..) {
        node.executor_env.push(("NODE".to_owned(), format!("{number}")));
        node.attributes.push(("rack".to_owned(), format!("r{number}")));
    }
    Cluster::start(settings).await.unwrap()
}

/// A scheduler whose executors get a spool of that size: what is changed by it does not matter, but is another generation.
fn scheduler(world: &World, cluster: &Cluster, name: &str, spool: &str) -> Logherd {
    let (master, control) = (cluster.master().to_string(), format!("127.0.0.1:{}", free_port()));
    let (state, program) = (world.path("state"), binary());
    let arguments = [
        ["scheduler", "--master", &master],
        ["--state", state.to_str().unwrap(), "--control-listen"],
        [&control, "--executor-binary", program.to_str().unwrap()],
        ["--rollout-settle", "1s", "--spool-max"],
    ];
    world.start(name, &[&arguments.concat()[..], &[spool]].concat())
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
    let response = api.send(Method::POST, &format!("/api/v1/rollout{path}"), Some(body)).await.unwrap();
    let (status, text) = (response.status(), response.text().await.unwrap());
    assert!(status.is_success(), "POST {path}: {status}: {text}");
    serde_json::from_str(&text).unwrap()
}

async fn rollout(api: &Api) -> Result<Value, String> {
    api.get("/api/v1/rollout").await
}

/// Whether so many executors are of the generation that new ones are of, and all are attached.
async fn up_to_date(api: &Api, count: usize) -> Result<(), String> {
    let seen = rollout(api).await?;
    let attached = api.nodes().await?.iter().filter(|node| node["attached"] == true).count();
    if seen["up_to_date"] == count && attached == NODES {
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
    let cluster = cluster(&world).await;
    let mut first = scheduler(&world, &cluster, "first", "5MB");
    eventually("ready", START, async || first.api.ready().await).await;
    let log = world.path("app.log");
    let pattern = world.path("out-${NODE}.log").display().to_string();
    let text = format!(
        r#"input {{ file {{ host-path => "{}" start_position => "beginning" }} }}
        output {{ file {{ path => "{pattern}" codec => line {{ format => "%{{message}}" }} }} }}"#,
        log.display()
    );
    first.api.put("host-configs", "all", &text).await;
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
