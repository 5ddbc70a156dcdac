//! Shows each node: whether it is covered and why not, its executor, its containers with what happens to their logs.
use super::{Shell, now_ms, render};
use crate::app::App;
use crate::names;
use crate::paging::Wanted;
use crate::problem::Problem;
use crate::view::{Container, ContainerState, Coverage, Node, Tail, Text, View};
use crate::wording::{ago, bytes, count, plural, rate};
use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;

#[derive(Template)]
#[template(path = "nodes.html")]
struct Nodes {
    shell: Shell,
    summary: String,
    nodes: Vec<NodeCard>,
    /// Whether there are so many that the scheduler chooses, not the browser.
    many: bool,
    text: String,
    /// Word, words, and whether it is chosen.
    states: Vec<(&'static str, &'static str, bool)>,
    /// What of how many is shown.
    shown: String,
    next: String,
}

struct NodeCard {
    /// The agent id, as an id in the page.
    anchor: String,
    host: String,
    tone: &'static str,
    coverage: &'static str,
    cause: &'static str,
    advice: &'static str,
    reason: String,
    since: String,
    facts: Vec<(&'static str, String)>,
    brief: String,
    failures: Vec<(String, String)>,
    docker: String,
    docker_tone: &'static str,
    coverage_tone: &'static str,
    containers: Vec<ContainerRow>,
    pipelines: Vec<(Text, Text, Text, String)>,
    /// Where everything about it is; empty: here.
    link: String,
    open: bool,
}

struct ContainerRow {
    name: Text,
    short_id: String,
    image: Text,
    tone: &'static str,
    state: &'static str,
    reason: Text,
    config: String,
    config_link: String,
    tails: Vec<TailRow>,
}

struct TailRow {
    path: Text,
    state: Text,
    read: String,
    acknowledged: String,
    lag: String,
    spool: String,
    dropped: u64,
}

impl NodeCard {
    /// The same without what is well: a hundred nodes with all their containers are most of a megabyte.
    fn with_its_trouble_only(self, node: &Node, view: &View) -> Self {
        let errors = node.containers.iter().filter(|c| c.state == ContainerState::Error);
        let pipelines = self.pipelines.into_iter().filter(|(_, state, ..)| **state == *"failed");
        Self {
            containers: errors.map(container).collect(),
            pipelines: pipelines.collect(),
            facts: Vec::new(),
            link: link(view, &node.agent_id),
            ..self
        }
    }
}

/// How many nodes are on one page.
const PAGE: usize = 100;

/// The address of a node on the page of the nodes.
pub(super) fn link(view: &View, agent: &str) -> String {
    let id = names::encode(agent);
    if view.nodes.len() > PAGE { format!("nodes?agent={id}#{id}") } else { format!("nodes#{id}") }
}

pub(super) async fn show(State(app): State<App>, Query(wanted): Query<Wanted>) -> Result<Response, Problem> {
    let view = app.now();
    let now = now_ms();
    let page = wanted.page(&view, PAGE)?;
    let few = page.nodes.len() <= 3;
    let shown = match (page.nodes.len(), page.matching) {
        (0, _) if view.nodes.is_empty() => String::new(),
        (0, _) => "No node is like that".to_owned(),
        (shown, matching) => format!("{} of {} shown", count(shown as u64), plural(matching, "node")),
    };
    render(&Nodes {
        shell: Shell::new("nodes", "Nodes", &view),
        summary: summary(&view),
        nodes: page
            .nodes
            .iter()
            .map(|node| {
                let card = card(node, &view, now, few);
                if few || view.nodes.len() <= PAGE { card } else { card.with_its_trouble_only(node, &view) }
            })
            .collect(),
        many: view.nodes.len() > PAGE || wanted.chooses(),
        text: wanted.text.clone().unwrap_or_default(),
        states: Coverage::ALL
            .iter()
            .map(|state| (state.word(), coverage_text(*state), wanted.state.as_deref() == Some(state.word())))
            .collect(),
        shown,
        next: page.next.map(|query| format!("nodes?{query}")).unwrap_or_default(),
    })
}

fn summary(view: &View) -> String {
    let status = &view.status;
    let excluded = match status.nodes_excluded {
        0 => String::new(),
        excluded => format!(" · {} excluded", count(excluded as u64)),
    };
    let unproven = match status.nodes_listed {
        Some(_) => "",
        None if view.nodes.is_empty() => "",
        None => " · the master does not list its agents, so there may be more",
    };
    format!(
        "{} of {} covered{excluded}{unproven} · {} of {} streamed · {} events/s",
        count(status.nodes_covered as u64),
        plural(status.nodes_known, "node"),
        count(status.containers_streaming as u64),
        plural(status.containers, "container"),
        rate(status.events_per_second)
    )
}

/// A coverage in words.
pub(super) fn coverage_text(coverage: Coverage) -> &'static str {
    match coverage {
        Coverage::Running => "covered",
        Coverage::Launching => "launching",
        Coverage::BackingOff => "waiting after a failed launch",
        Coverage::NotOffered => "not covered",
        Coverage::Unreachable => "unreachable",
        Coverage::Draining => "draining",
        Coverage::Maintenance => "maintenance",
        Coverage::Excluded => "excluded",
    }
}

fn card(node: &Node, view: &View, now: u64, open: bool) -> NodeCard {
    let errors = node.containers.iter().filter(|c| c.state == ContainerState::Error).count();
    let troubled =
        errors > 0 || !node.failures.is_empty() || node.docker.as_ref().is_some_and(|d| !d.reachable);
    let tone = match node.coverage {
        Coverage::Running if node.attached && !troubled => "good",
        Coverage::Running | Coverage::Launching | Coverage::Draining | Coverage::Maintenance => "wait",
        Coverage::Excluded => "off",
        Coverage::BackingOff | Coverage::NotOffered | Coverage::Unreachable => "bad",
    };
    let (docker, docker_tone) = match &node.docker {
        None => ("Docker: not reported yet".to_owned(), "off"),
        Some(d) if d.reachable => (d.detail.to_string(), "good"),
        Some(d) => (format!("Docker is not reachable: {}", d.detail), "bad"),
    };
    let streaming = node.containers.iter().filter(|c| c.state == ContainerState::Streaming).count();
    NodeCard {
        anchor: names::encode(&node.agent_id),
        host: if node.host.is_empty() { node.agent_id.clone() } else { node.host.clone() },
        tone,
        coverage: coverage_text(node.coverage),
        cause: node.cause.word(),
        advice: node.cause.advice(),
        reason: node.reason.clone(),
        since: ago(now, node.since_ms),
        facts: facts(node, view),
        brief: format!(
            "{streaming} of {} streamed{} · {} events/s",
            plural(node.containers.len(), "container"),
            if errors > 0 { format!(", {}", plural(errors, "error")) } else { String::new() },
            rate(node.events_per_second)
        ),
        failures: node.failures.iter().map(|f| (f.key.to_string(), f.reason.clone())).collect(),
        docker,
        docker_tone,
        coverage_tone: if node.coverage == Coverage::Running { "good" } else { tone },
        containers: node.containers.iter().map(container).collect(),
        link: String::new(),
        pipelines: node
            .pipelines
            .iter()
            .map(|p| {
                let counters =
                    format!("{} in, {} out", count(p.counters.events_in), count(p.counters.events_out));
                (p.id.clone(), p.state.clone(), p.reason.clone(), counters)
            })
            .collect(),
        open,
    }
}

fn facts(node: &Node, view: &View) -> Vec<(&'static str, String)> {
    let newest = view.status.revision;
    let revision = match node.revision {
        r if r == newest => format!("{r} (newest)"),
        r => format!("{r} of {newest}"),
    };
    let attached = match (node.coverage, node.attached) {
        (_, true) => "attached",
        (Coverage::Running, false) => "not attached; it goes on with the revision it has",
        _ => "no",
    };
    let counters = &node.counters;
    vec![
        ("Agent", node.agent_id.clone()),
        ("Executor", node.executor_id.clone().unwrap_or_else(|| "none".into())),
        ("Control plane", attached.into()),
        ("Revision", revision),
        ("Events", format!("{} in, {} acknowledged", count(counters.events_in), count(counters.events_out))),
        ("Read", bytes(counters.bytes_in)),
        ("Dropped lines", count(counters.dropped_lines)),
        ("Dead letters", count(counters.dead_letters)),
        ("Repeated sends", count(counters.retries)),
        ("Memory", bytes(node.resident_bytes)),
    ]
}

fn container(container: &Container) -> ContainerRow {
    let (tone, state) = match container.state {
        ContainerState::Streaming => ("good", "streaming"),
        ContainerState::NotMatched => ("off", "not matched"),
        ContainerState::Error => ("bad", "error"),
        ContainerState::Draining => ("wait", "draining"),
    };
    let (config, config_link) = match &*container.config {
        "" => {
            let pattern = super::dashboard::without_tag(&container.image);
            ("write a config".to_owned(), format!("edit?kind=docker&name={}", names::encode(&pattern)))
        }
        name => (name.to_owned(), format!("edit?kind=docker&name={}", names::encode(name))),
    };
    ContainerRow {
        name: container.name.clone(),
        short_id: container.id.chars().take(12).collect(),
        image: container.image.clone(),
        tone,
        state,
        reason: container.reason.clone(),
        config,
        config_link,
        tails: container.tails.iter().map(tail).collect(),
    }
}

fn tail(tail: &Tail) -> TailRow {
    TailRow {
        path: tail.path.clone(),
        state: tail.state.clone(),
        read: count(tail.read_position),
        acknowledged: count(tail.acknowledged_position),
        lag: bytes(tail.read_position.saturating_sub(tail.acknowledged_position)),
        spool: bytes(tail.spool_bytes),
        dropped: tail.dropped_lines,
    }
}
