//! Exports what is to be seen for Prometheus: `GET /metrics`. Labels are from closed sets, never ids or paths.
use crate::app::App;
use crate::pages::now_ms;
use crate::process;
use crate::view::{Cause, ContainerState, Coverage, View};
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use std::sync::atomic::AtomicU64;
use std::time::UNIX_EPOCH;

/// How a request was answered.
type RequestLabels = [(&'static str, String); 3];
type FloatGauge = Gauge<f64, AtomicU64>;
type FloatCounter = Counter<f64, AtomicU64>;

/// How many requests were answered, by method, route and status.
#[derive(Debug, Default)]
pub(crate) struct RequestCounts(Family<RequestLabels, Counter>);

/// Counts the answer to each request.
pub(crate) async fn count(State(app): State<App>, request: Request, next: Next) -> Response {
    let method = match *request.method() {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        _ => "other",
    };
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let response = next.run(request).await;
    let labels =
        [("method", method.into()), ("route", route), ("status", response.status().as_u16().to_string())];
    app.requests.0.get_or_create(&labels).inc();
    response
}

/// `GET /metrics`.
pub(crate) async fn metrics(State(app): State<App>, headers: HeaderMap) -> Response {
    let mut registry = Registry::with_prefix("logherd");
    let view = app.now();
    register_coverage(&mut registry, &view);
    register_view(&mut registry, &view);
    registry.register("http_requests", "Answered requests", app.requests.0.clone());
    let mut text = String::new();
    let mut process_registry = Registry::default();
    register_process(&mut process_registry, &app);
    let written = encode_all(&mut text, [&registry, &process_registry]);
    if let Err(error) = written {
        return (StatusCode::INTERNAL_SERVER_ERROR, format!("the metrics cannot be written: {error}"))
            .into_response();
    }
    let open_metrics = headers
        .get_all(ACCEPT)
        .iter()
        .any(|value| value.to_str().is_ok_and(|text| text.contains("application/openmetrics-text")));
    let content_type = match open_metrics {
        true => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        false => "text/plain; version=0.0.4; charset=utf-8",
    };
    ([(CONTENT_TYPE, HeaderValue::from_static(content_type))], text).into_response()
}

/// Writes several registries as one exposition: only the last one's end mark stays.
fn encode_all(text: &mut String, registries: [&Registry; 2]) -> Result<(), std::fmt::Error> {
    for registry in registries {
        if let Some(open) = text.strip_suffix("# EOF\n") {
            text.truncate(open.len());
        }
        encode(text, registry)?;
    }
    Ok(())
}

/// Which nodes there are, which are covered, and why the others are not.
fn register_coverage(registry: &mut Registry, view: &View) {
    let status = &view.status;
    let mut gauge = |name: &str, help: &str, value: f64| {
        let gauge = FloatGauge::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    };
    gauge("nodes_known", "Nodes that should have an executor", count_of(status.nodes_known));
    gauge("nodes_covered", "Nodes that have a running executor", count_of(status.nodes_covered));
    let rollout = &view.rollout;
    gauge("executors_up_to_date", "Executors of the current generation", count_of(rollout.up_to_date));
    gauge("executors_older", "Executors of other generations", count_of(rollout.older));
    gauge(
        "launches_held",
        "1 while launches are held back because they fail on many nodes",
        f64::from(u8::from(rollout.held.is_some())),
    );
    let left = rollout.rollout.as_ref().map_or(0, |rollout| rollout.left);
    gauge("rollout_left", "Nodes that the newest rollout has still to replace", count_of(left));
    gauge("nodes_excluded", "Nodes that shall have no executor", count_of(status.nodes_excluded));
    gauge(
        "nodes_listed",
        "Agents that the master lists; -1 when it does not list them",
        status.nodes_listed.map_or(-1.0, count_of),
    );
    gauge(
        "orphan_frameworks",
        "Frameworks of our name that are not this one, and this one when executors of it belong to no launch",
        count_of(status.orphans.len()),
    );
    gauge(
        "reservation_problems",
        "Roles for which reservations are denied, or are left over and not given up",
        count_of(status.reservation_problems.len()),
    );
    gauge(
        "orphan_executors",
        "Executors of those",
        count_of(status.orphans.iter().map(|orphan| orphan.executors).sum()),
    );
    let uncovered = view.nodes.iter().any(|node| node.coverage.is_missing());
    let since_covered = if uncovered { now_ms().saturating_sub(status.all_covered_ms) } else { 0 };
    gauge(
        "seconds_since_all_covered",
        "Seconds since all nodes were covered; 0 while they are",
        since_covered as f64 / 1000.0,
    );
    let nodes = Family::<[(&'static str, &'static str); 1], Gauge>::default();
    for coverage in Coverage::ALL {
        let of = view.nodes.iter().filter(|node| node.coverage == coverage).count();
        nodes.get_or_create(&[("coverage", coverage.word())]).set(of.try_into().unwrap_or(i64::MAX));
    }
    registry.register("nodes", "Nodes by whether an executor runs there", nodes);
    let causes = Family::<[(&'static str, &'static str); 2], Gauge>::default();
    for &cause in Cause::ALL {
        let of = view.nodes.iter().filter(|node| node.cause == cause).count();
        let labels = [("coverage", cause.coverage().word()), ("cause", cause.word())];
        causes.get_or_create(&labels).set(of.try_into().unwrap_or(i64::MAX));
    }
    registry.register("nodes_by_cause", "Nodes by why they are in the state they are in", causes);
}

fn register_view(registry: &mut Registry, view: &View) {
    let status = &view.status;
    let mut gauge = |name: &str, help: &str, value: f64| {
        let gauge = FloatGauge::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    };
    gauge("containers_known", "Containers seen on all nodes", count_of(status.containers));
    gauge(
        "containers_streaming",
        "Containers with at least one running tail",
        count_of(status.containers_streaming),
    );
    gauge(
        "events_per_second",
        "Events acknowledged per second over the last few seconds",
        status.events_per_second,
    );
    gauge("revision", "Newest revision of the configurations", status.revision.0 as f64);
    gauge(
        "leadership_epoch",
        "How often leadership was gained; 0 on a scheduler that does not lead, and without elections",
        status.epoch as f64,
    );
    gauge("writable", "1 when edits can be accepted now", f64::from(u8::from(status.writable)));
    gauge(
        "config_files_refused",
        "Files of the config directory that are not in force",
        count_of(view.file_problems.len()),
    );

    let sum =
        |of: fn(&crate::view::Counters) -> u64| view.nodes.iter().map(|node| of(&node.counters)).sum::<u64>();
    let mut counter = |name: &str, help: &str, value: u64| {
        let counter = Counter::<u64>::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    };
    counter("events_in", "Events read, over all nodes", sum(|c| c.events_in));
    counter("events_out", "Events acknowledged by all outputs, over all nodes", sum(|c| c.events_out));
    counter("input_bytes", "Bytes read, over all nodes", sum(|c| c.bytes_in));
    counter("dropped_lines", "Lines dropped by policy, over all nodes", sum(|c| c.dropped_lines));
    counter("dead_letters", "Events refused for good by an output, over all nodes", sum(|c| c.dead_letters));
    counter("output_retries", "Repeated attempts of outputs, over all nodes", sum(|c| c.retries));

    counter("offers_accepted", "Offers of Mesos that were used", status.offers_accepted);
    counter("offers_declined", "Offers of Mesos that were given back", status.offers_declined);
    let calls = Family::<[(&'static str, &'static str); 1], Counter>::default();
    for (call, times) in &status.calls {
        calls.get_or_create(&[("call", *call)]).inc_by(*times);
    }
    registry.register("mesos_calls", "Calls to Mesos by what they are", calls);
    let containers = Family::<[(&'static str, &'static str); 1], Gauge>::default();
    for state in ContainerState::ALL {
        let of = view.nodes.iter().flat_map(|n| n.containers.iter()).filter(|c| c.state == state).count();
        containers.get_or_create(&[("state", state.word())]).set(of.try_into().unwrap_or(i64::MAX));
    }
    registry.register("containers", "Containers by what happens with their logs", containers);
    let build = Family::<[(&'static str, &'static str); 1], Gauge>::default();
    build.get_or_create(&[("version", env!("CARGO_PKG_VERSION"))]).set(1);
    registry.register("build_info", "The version of this program", build);
}

/// The standard metrics of a process, which have no prefix.
fn register_process(registry: &mut Registry, app: &App) {
    let usage = process::usage();
    let gauge = |value: f64| {
        let gauge = FloatGauge::default();
        gauge.set(value);
        gauge
    };
    let started = app.started.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    let started_help = "Start time since the Unix epoch";
    registry.register_with_unit("process_start_time", started_help, Unit::Seconds, gauge(started));
    let resident = gauge(usage.resident_bytes as f64);
    registry.register_with_unit("process_resident_memory", "Resident memory", Unit::Bytes, resident);
    registry.register("process_open_fds", "Open file descriptors", gauge(usage.open_files as f64));
    let cpu = FloatCounter::default();
    cpu.inc_by(usage.cpu_seconds);
    registry.register_with_unit("process_cpu", "User and system time", Unit::Seconds, cpu);
}

fn count_of(number: usize) -> f64 {
    number as f64
}
