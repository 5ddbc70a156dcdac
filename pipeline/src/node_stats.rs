//! Tells what pipelines do in the shape of Logstash's node API, so that what watches Logstash can watch this.
//!
//! Fields that only a Java machine has are there with zeros: programs that read them find what they look for.
use crate::plugins::PLUGINS;
use crate::runtime::View;
use crate::spec::Kind;
use serde_json::{Map, Value as Json, json};
use std::time::Instant;

/// What is known of this process.
#[derive(Clone, Debug)]
pub struct NodeAbout {
    /// The name of the machine.
    pub host: String,
    /// The name of the node.
    pub name: String,
    /// Where the API is: `127.0.0.1:9600`.
    pub address: String,
    /// An id that stays as long as the process.
    pub id: String,
    /// When it was started.
    pub started: Instant,
    /// How many threads filter.
    pub workers: usize,
}

/// What the process uses of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessFigures {
    /// Files that are open.
    pub open_files: u64,
    /// How many may be.
    pub max_files: u64,
    /// Virtual memory, in bytes.
    pub virtual_bytes: u64,
    /// Resident memory, in bytes.
    pub resident_bytes: u64,
    /// Processor time, in milliseconds.
    pub cpu_ms: u64,
}

/// Answers a question at `path`, such as `/_node/stats/pipelines/main`; `None` when there is nothing of that name.
pub fn node_answer(
    about: &NodeAbout,
    process: ProcessFigures,
    pipelines: &[View],
    path: &str,
) -> Option<Json> {
    let mut parts = path.trim_matches('/').split('/').filter(|part| !part.is_empty());
    let mut answer = base(about);
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (None, ..) => {}
        (Some("_node"), None, ..) => {
            answer.insert("pipelines".into(), configured(about, pipelines, None)?);
            answer.insert("os".into(), os());
            answer
                .insert("jvm".into(), json!({ "pid": std::process::id(), "version": "", "vm_name": "none" }));
        }
        (Some("_node"), Some("pipelines"), id, None) => {
            answer.insert("pipelines".into(), configured(about, pipelines, id)?);
        }
        (Some("_node"), Some("os"), None, None) => drop(answer.insert("os".into(), os())),
        (Some("_node"), Some("jvm"), None, None) => drop(answer.insert("jvm".into(), jvm(about, process))),
        (Some("_node"), Some("plugins"), None, None) => plugins(&mut answer),
        (Some("_node"), Some("hot_threads"), None, None) => {
            answer
                .insert("hot_threads".into(), json!({ "time": now(), "busiest_threads": 0, "threads": [] }));
        }
        (Some("_node"), Some("stats"), None, None) => {
            for part in ["jvm", "process", "events", "flow", "pipelines", "reloads", "os"] {
                answer.insert(part.into(), stats(about, process, pipelines, part)?);
            }
            answer.insert("queue".into(), json!({ "events_count": queued(pipelines) }));
        }
        (Some("_node"), Some("stats"), Some("pipelines"), Some(id)) => {
            let one = pipelines.iter().find(|pipeline| pipeline.id() == id)?;
            answer.insert("pipelines".into(), json!({ id: pipeline(one) }));
        }
        (Some("_node"), Some("stats"), Some(part), None) => {
            answer.insert(part.into(), stats(about, process, pipelines, part)?);
        }
        (Some("_health_report"), None, ..) => health(&mut answer, pipelines),
        _ => return None,
    }
    Some(Json::Object(answer))
}

fn base(about: &NodeAbout) -> Map<String, Json> {
    let version = env!("CARGO_PKG_VERSION");
    let base = json!({
        "host": about.host,
        "version": version,
        "http_address": about.address,
        "id": about.id,
        "name": about.name,
        "ephemeral_id": about.id,
        "snapshot": false,
        "status": "green",
        "pipeline": { "workers": about.workers, "batch_size": crate::runtime::lines::LINES_MAX, "batch_delay": 0 },
    });
    match base {
        Json::Object(map) => map,
        _ => Map::new(),
    }
}

fn now() -> String {
    crate::value::Timestamp::now().to_string()
}

fn os() -> Json {
    json!({ "name": std::env::consts::OS, "arch": std::env::consts::ARCH, "version": "", "available_processors":
        std::thread::available_parallelism().map_or(1, usize::from) })
}

fn configured(about: &NodeAbout, pipelines: &[View], id: Option<&str>) -> Option<Json> {
    let mut all = Map::new();
    for pipeline in pipelines.iter().filter(|pipeline| id.is_none_or(|id| id == pipeline.id())) {
        let entry = json!({
            "ephemeral_id": about.id,
            "hash": pipeline.id(),
            "workers": about.workers,
            "batch_size": crate::runtime::lines::LINES_MAX,
            "batch_delay": 0,
            "config_reload_automatic": false,
            "config_reload_interval": 0,
            "dead_letter_queue_enabled": true,
        });
        all.insert(pipeline.id().to_owned(), entry);
    }
    (id.is_none() || !all.is_empty()).then_some(Json::Object(all))
}

fn plugins(answer: &mut Map<String, Json>) {
    let all: Vec<Json> = PLUGINS
        .iter()
        .map(|plugin| {
            let name = format!("logstash-{}-{}", plugin.spec.kind.word(), plugin.spec.name);
            json!({ "name": name, "version": env!("CARGO_PKG_VERSION") })
        })
        .collect();
    answer.insert("total".into(), json!(all.len()));
    answer.insert("plugins".into(), Json::Array(all));
}

fn health(answer: &mut Map<String, Json>, pipelines: &[View]) {
    let mut worst = "green";
    let mut each = Map::new();
    for pipeline in pipelines {
        let (status, symptom) = match pipeline.state() {
            crate::State::Failed(why) => ("red", why),
            crate::State::Struggling(why) => ("yellow", why),
            _ => ("green", "The pipeline is healthy".to_owned()),
        };
        worst = match (worst, status) {
            ("red", _) | (_, "red") => "red",
            ("yellow", _) | (_, "yellow") => "yellow",
            _ => "green",
        };
        each.insert(pipeline.id().to_owned(), json!({ "status": status, "symptom": symptom }));
    }
    answer.insert("status".into(), json!(worst));
    answer.insert("indicators".into(), json!({ "pipelines": { "status": worst, "indicators": each } }));
}

fn stats(about: &NodeAbout, process: ProcessFigures, pipelines: &[View], part: &str) -> Option<Json> {
    Some(match part {
        "jvm" => jvm(about, process),
        "process" => json!({
            "open_file_descriptors": process.open_files,
            "peak_open_file_descriptors": process.open_files,
            "max_file_descriptors": process.max_files,
            "mem": { "total_virtual_in_bytes": process.virtual_bytes, "resident_in_bytes": process.resident_bytes },
            "cpu": { "total_in_millis": process.cpu_ms, "percent": percent(about, process), "load_average": { "1m": 0.0, "5m": 0.0, "15m": 0.0 } },
        }),
        "events" => {
            let all: Vec<Json> = pipelines.iter().map(events).collect();
            let sum = |name: &str| -> u64 { all.iter().filter_map(|one| one.get(name)?.as_u64()).sum() };
            json!({
                "in": sum("in"),
                "filtered": sum("filtered"),
                "out": sum("out"),
                "duration_in_millis": sum("duration_in_millis"),
                "queue_push_duration_in_millis": 0,
            })
        }
        "flow" => flow(about.started, pipelines),
        "pipelines" => {
            Json::Object(pipelines.iter().map(|one| (one.id().to_owned(), pipeline(one))).collect())
        }
        "reloads" => json!({ "successes": 0, "failures": 0 }),
        "os" => json!({}),
        _ => return None,
    })
}

fn percent(about: &NodeAbout, process: ProcessFigures) -> u64 {
    let up = u64::try_from(about.started.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
    process.cpu_ms.saturating_mul(100) / up
}

fn jvm(about: &NodeAbout, process: ProcessFigures) -> Json {
    let collector = json!({ "collection_time_in_millis": 0, "collection_count": 0 });
    let pool = json!({
        "used_in_bytes": 0, "committed_in_bytes": 0, "max_in_bytes": 0, "peak_used_in_bytes": 0, "peak_max_in_bytes": 0,
    });
    json!({
        "threads": { "count": 0, "peak_count": 0 },
        "mem": {
            "heap_used_percent": 0,
            "heap_committed_in_bytes": process.resident_bytes,
            "heap_max_in_bytes": process.resident_bytes,
            "heap_used_in_bytes": process.resident_bytes,
            "non_heap_used_in_bytes": 0,
            "non_heap_committed_in_bytes": 0,
            "pools": { "survivor": pool, "old": pool, "young": pool },
        },
        "gc": { "collectors": { "old": collector, "young": collector } },
        "uptime_in_millis": u64::try_from(about.started.elapsed().as_millis()).unwrap_or(u64::MAX),
    })
}

fn flow(started: Instant, pipelines: &[View]) -> Json {
    let up = started.elapsed().as_secs_f64().max(0.001);
    let sum = |of: fn(&View) -> u64| {
        let rate = pipelines.iter().map(of).sum::<u64>() as f64 / up;
        json!({ "current": rate, "lifetime": rate })
    };
    json!({
        "input_throughput": sum(|view| view.counters().events_in),
        "filter_throughput": sum(|view| view.counters().events_in),
        "output_throughput": sum(|view| view.counters().events_out),
        "queue_backpressure": { "current": 0.0, "lifetime": 0.0 },
        "worker_concurrency": { "current": 0.0, "lifetime": 0.0 },
    })
}

fn queued(pipelines: &[View]) -> u64 {
    pipelines.iter().filter_map(|view| Some(view.queue()?.events)).sum()
}

fn millis(view: &View, kinds: &[&str]) -> u64 {
    let busy = view.plugins().into_iter().filter(|plugin| kinds.contains(&plugin.kind));
    busy.map(|plugin| u64::try_from(plugin.busy.as_millis()).unwrap_or(u64::MAX)).sum()
}

fn events(view: &View) -> Json {
    let counters = view.counters();
    let passed = counters.events_in.saturating_sub(counters.dropped_events);
    json!({
        "in": counters.events_in,
        "filtered": passed.max(counters.events_out),
        "out": counters.events_out,
        "duration_in_millis": millis(view, &["filter", "output"]),
        "queue_push_duration_in_millis": 0,
    })
}

fn pipeline(view: &View) -> Json {
    let counters = view.counters();
    let of = |kind: Kind| -> Vec<Json> {
        let all = view.plugins().into_iter().filter(|plugin| plugin.kind == kind.word());
        all.map(|plugin| {
            let mut events = json!({ "out": plugin.events_out });
            if let (Some(map), true) = (events.as_object_mut(), kind == Kind::Input) {
                map.insert("queue_push_duration_in_millis".into(), json!(0));
            } else if let Some(map) = events.as_object_mut() {
                map.insert("in".into(), json!(plugin.events_in));
                map.insert(
                    "duration_in_millis".into(),
                    json!(u64::try_from(plugin.busy.as_millis()).unwrap_or(u64::MAX)),
                );
            }
            let mut one = json!({ "id": plugin.id, "name": plugin.name, "events": events });
            if let (Some(map), true) = (one.as_object_mut(), kind == Kind::Output) {
                map.insert("in_flight".into(), json!(plugin.in_flight));
                map.insert("failed_attempts".into(), json!(plugin.failures));
            }
            one
        })
        .collect()
    };
    let queue = match view.queue() {
        None => {
            json!({ "type": "memory", "events_count": 0, "queue_size_in_bytes": 0, "max_queue_size_in_bytes": 0, "events": 0 })
        }
        Some(level) => json!({
            "type": "persisted",
            "events": level.events,
            "events_count": level.events,
            "queue_size_in_bytes": level.bytes,
            "max_queue_size_in_bytes": level.max_bytes,
            "capacity": {
                "queue_size_in_bytes": level.bytes,
                "max_queue_size_in_bytes": level.max_bytes,
                "max_unread_events": 0,
            },
        }),
    };
    json!({
        "events": events(view),
        "flow": flow(view.started(), std::slice::from_ref(view)),
        "plugins": { "inputs": of(Kind::Input), "codecs": [], "filters": of(Kind::Filter), "outputs": of(Kind::Output) },
        "reloads": {
            "successes": 0, "failures": 0, "last_success_timestamp": null, "last_failure_timestamp": null, "last_error": null,
        },
        "queue": queue,
        "dead_letter_queue": {
            "max_queue_size_in_bytes": view.dead_letters_max(),
            "queue_size_in_bytes": 0,
            "dropped_events": counters.dropped_lines,
            "expired_events": 0,
            "events": counters.dead_letters,
            "last_error": "no errors",
        },
        "hash": view.id(),
        "ephemeral_id": view.id(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Scope, Surroundings, compile, start};
    use std::time::Duration;

    fn about() -> NodeAbout {
        NodeAbout {
            host: "h".into(),
            name: "n".into(),
            address: "127.0.0.1:9600".into(),
            id: "i".into(),
            started: Instant::now(),
            workers: 2,
        }
    }

    #[tokio::test]
    async fn what_plugins_did_stands_where_logstash_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let text = "input { generator { count => 1 lines => ['a', 'b', 'c'] } }
            filter { if [message] == 'a' { drop { id => d } } clone { clones => ['x'] } }
            output { null { } null { id => second } }";
        let plan = compile(Scope::Run, text, &|_| None).unwrap();
        let mut running = start(plan, Surroundings::new(dir.path(), "h", "main")).unwrap();
        let view = running.view();
        tokio::time::timeout(Duration::from_secs(20), running.finished()).await.unwrap().unwrap();
        let views = [view];
        let ask = |path: &str| node_answer(&about(), ProcessFigures::default(), &views, path);
        let stats = ask("/_node/stats/").unwrap();
        let main = &stats["pipelines"]["main"];
        assert_eq!(stats["events"]["in"], 3);
        assert_eq!(main["events"]["out"], 4);
        let plugins = &main["plugins"];
        assert_eq!(plugins["inputs"][0]["name"], "generator");
        assert_eq!(plugins["inputs"][0]["events"]["out"], 3);
        let shape =
            |one: &Json| (one["id"].clone(), one["events"]["in"].clone(), one["events"]["out"].clone());
        assert_eq!(shape(&plugins["filters"][0]), (json!("d"), json!(1), json!(0)));
        assert_eq!(shape(&plugins["filters"][1]), (json!("clone-1"), json!(2), json!(4)));
        assert_eq!(shape(&plugins["outputs"][1]), (json!("second"), json!(4), json!(4)));
        assert_eq!(plugins["outputs"][1]["in_flight"], 0);
        for path in [
            "/",
            "/_node",
            "/_node/pipelines/main",
            "/_node/plugins",
            "/_node/stats/jvm",
            "/_node/stats/process",
            "/_node/stats/pipelines/main",
            "/_node/hot_threads",
            "/_health_report",
        ] {
            assert_eq!(ask(path).unwrap_or_else(|| panic!("{path}"))["host"], "h");
        }
        for path in ["/x", "/_node/x", "/_node/stats/x", "/_node/stats/pipelines/x", "/_node/pipelines/x"] {
            assert_eq!(ask(path), None, "{path}");
        }
    }
}
