//! Shows whether all is well: nodes covered, containers streamed, events, what needs attention, what was decided.
use super::{Shell, now_ms, render};
use crate::app::App;
use crate::names;
use crate::problem::Problem;
use crate::view::rollout::Rollouts;
use crate::view::{ContainerState, Node, View};
use crate::wording::{ago, count, plural, rate};
use askama::Template;
use axum::extract::State;
use axum::response::Response;
use config::document::Kind;

/// How many lines of attention and decisions are shown.
const LINES_MAX: usize = 25;

#[derive(Template)]
#[template(path = "dashboard.html")]
struct Dashboard {
    shell: Shell,
    tiles: Vec<Tile>,
    steps: Vec<Step>,
    attention: Vec<Attention>,
    more_attention: usize,
    /// Generations and the newest rollout: what, and how it stands.
    rollout: Vec<(&'static str, String)>,
    decisions: Vec<Line>,
    tasks: Vec<(String, String, String)>,
    framework_id: String,
    master: String,
    revision: u64,
}

struct Tile {
    label: &'static str,
    value: String,
    of: String,
    note: String,
    /// `good`, `wait`, `bad` or nothing.
    tone: &'static str,
    /// Done and total (at least 1), when the tile is a part of a whole.
    part: Option<(usize, usize)>,
    /// Whether the script draws the course of this number.
    course: bool,
}

struct Step {
    done: bool,
    text: String,
    link: String,
    link_text: String,
}

struct Attention {
    place: String,
    text: String,
    link: String,
}

struct Line {
    when: String,
    place: String,
    text: String,
}

pub(super) async fn show(State(app): State<App>) -> Result<Response, Problem> {
    render(&page(&app.now(), now_ms()))
}

fn page(view: &View, now: u64) -> Dashboard {
    let mut attention = attention(view);
    let more_attention = attention.len().saturating_sub(LINES_MAX);
    attention.truncate(LINES_MAX);
    let status = &view.status;
    let steps = steps(view);
    Dashboard {
        shell: Shell::new("dashboard", "Dashboard", view),
        tiles: tiles(view),
        steps: if steps.iter().all(|step| step.done) { Vec::new() } else { steps },
        attention,
        more_attention,
        rollout: rollout(&view.rollout),
        decisions: status
            .decisions
            .iter()
            .take(LINES_MAX)
            .map(|d| Line { when: ago(now, d.at_ms), place: host(view, &d.node), text: d.text.clone() })
            .collect(),
        tasks: status.tasks.iter().map(|t| (t.name.clone(), t.what.clone(), t.last.clone())).collect(),
        framework_id: status.framework_id.clone().unwrap_or_default(),
        master: status.master.clone().unwrap_or_default(),
        revision: status.revision.0,
    }
}

/// The host name of a node that a decision names by its agent id.
fn host(view: &View, node: &str) -> String {
    view.nodes.iter().find(|n| n.agent_id == node).map_or(node, |n| &n.host).to_owned()
}

fn tiles(view: &View) -> Vec<Tile> {
    let status = &view.status;
    let covered = status.nodes_known > 0 && status.nodes_covered >= status.nodes_known;
    let lost = status.dropped_lines + status.dead_letters;
    vec![
        Tile {
            label: "Nodes covered",
            value: count(status.nodes_covered as u64),
            of: format!("of {}", count(status.nodes_known as u64)),
            note: if covered { "an executor on every one".into() } else { String::new() },
            tone: if covered { "good" } else { "wait" },
            part: Some((status.nodes_covered, status.nodes_known.max(1))),
            course: false,
        },
        Tile {
            label: "Containers streamed",
            value: count(status.containers_streaming as u64),
            of: format!("of {}", count(status.containers as u64)),
            note: containers_note(view),
            tone: if errors(view) > 0 { "bad" } else { "" },
            part: Some((status.containers_streaming, status.containers.max(1))),
            course: false,
        },
        Tile {
            label: "Events per second",
            value: rate(status.events_per_second),
            of: String::new(),
            note: format!("{} acknowledged so far", count(status.events_out)),
            tone: "",
            part: None,
            course: true,
        },
        Tile {
            label: "Dropped and dead letters",
            value: count(lost),
            of: String::new(),
            note: format!(
                "{} dropped, {} dead letters",
                count(status.dropped_lines),
                count(status.dead_letters)
            ),
            tone: if lost > 0 { "bad" } else { "good" },
            part: None,
            course: false,
        },
    ]
}

fn errors(view: &View) -> usize {
    containers_in(view, ContainerState::Error)
}

fn containers_in(view: &View, state: ContainerState) -> usize {
    view.nodes.iter().flat_map(|node| node.containers.iter()).filter(|c| c.state == state).count()
}

fn containers_note(view: &View) -> String {
    let (unmatched, errors) = (containers_in(view, ContainerState::NotMatched), errors(view));
    match (unmatched, errors) {
        (0, 0) => String::new(),
        (0, e) => plural(e, "error"),
        (u, 0) => format!("{} not matched", count(u as u64)),
        (u, e) => format!("{} not matched, {}", count(u as u64), plural(e, "error")),
    }
}

/// What is still to be done until logs flow; all done: nothing is shown.
fn steps(view: &View) -> Vec<Step> {
    let has = |kind| view.documents.keys().any(|key| key.kind == kind);
    let unmatched = view
        .nodes
        .iter()
        .flat_map(|node| node.containers.iter())
        .find(|c| c.state == ContainerState::NotMatched)
        .map(|c| c.image.clone());
    let (image_text, image_link) = match unmatched {
        Some(image) => (
            format!(
                "Say which files to read in containers: `{image}` runs here, and no config applies to it"
            ),
            format!("edit?kind=docker&name={}", names::encode(&without_tag(&image))),
        ),
        None => ("Say which files to read in the containers of an image".into(), "edit?kind=docker".into()),
    };
    vec![
        Step {
            done: view.status.nodes_covered > 0,
            text: "An executor runs on a node".into(),
            link: "nodes".into(),
            link_text: "See nodes".into(),
        },
        Step {
            done: has(Kind::Docker),
            text: image_text,
            link: image_link,
            link_text: "Write an image config".into(),
        },
        Step {
            done: has(Kind::Host),
            text: "Say where the events go: a host config holds filters and outputs for everything".into(),
            link: "edit?kind=host".into(),
            link_text: "Write a host config".into(),
        },
        Step {
            done: view.status.events_out > 0,
            text: "The first event has arrived".into(),
            link: "nodes".into(),
            link_text: "See containers and positions".into(),
        },
    ]
}

/// The image without its tag and digest: what one usually wants as a pattern.
pub(super) fn without_tag(image: &str) -> String {
    let name = image.split('@').next().unwrap_or(image);
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') && !name.is_empty() && name != "sha256" => name.to_owned(),
        _ => name.to_owned(),
    }
}

/// What is said of generations; nothing while this scheduler knows none.
fn rollout(all: &Rollouts) -> Vec<(&'static str, String)> {
    if all.generation.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![
        ("Generation", format!("{}: {}", all.generation, all.program)),
        ("Executors", format!("{} of that generation, {} of others", all.up_to_date, all.older)),
    ];
    if let Some(rollout) = &all.rollout {
        let what = if rollout.rolls_back { "Roll back" } else { "Rollout" };
        let (state, to, detail) = (rollout.state.replace('_', " "), &rollout.to, &rollout.detail);
        lines.push((what, format!("to {to}: {state}; {detail}")));
        if rollout.state != "aborted" {
            let (done, left, now) = (rollout.done, rollout.left, rollout.unavailable);
            let most = rollout.unavailable_max;
            lines.push((
                "Nodes",
                format!("{done} new, {left} to do, {now} uncovered or to prove (at most {most})"),
            ));
        }
        let skipped = rollout.skipped.iter().map(|(host, why)| ("Left out", format!("{host}: {why}")));
        lines.extend(skipped.take(LINES_MAX));
    }
    if let Some(held) = &all.held {
        lines.push(("Launches", format!("held back but for one at a time: {}", held.failure)));
    }
    if !all.advice.is_empty() {
        lines.push(("Advice", all.advice.clone()));
    }
    lines
}

fn attention(view: &View) -> Vec<Attention> {
    let mut all = Vec::new();
    for file in &view.file_problems {
        let text = match file.problems.first() {
            Some(first) => format!("line {}: {}", first.line, first.message),
            None => file.reason.clone(),
        };
        all.push(Attention { place: file.path.clone(), text, link: "config".into() });
    }
    if let Some(held) = &view.rollout.held {
        let text = format!("fail on {} nodes, so only one at a time is tried: {}", held.agents, held.failure);
        all.push(Attention { place: "launches".into(), text, link: "#rollout".into() });
    }
    for orphan in &view.status.orphans {
        let (place, text) = (format!("framework {}", orphan.framework_id), orphan.reason.clone());
        all.push(Attention { place, text, link: "nodes".into() });
    }
    for problem in &view.status.reservation_problems {
        all.push(Attention { place: "reservations".into(), text: problem.clone(), link: "nodes".into() });
    }
    for node in &view.nodes {
        let at = |text: String| Attention {
            place: node.host.clone(),
            text,
            link: super::nodes::link(view, &node.agent_id),
        };
        if node.coverage.is_missing() {
            all.push(at(format!("{}: {}", super::nodes::coverage_text(node.coverage), node.reason)));
        }
        all.extend(node_troubles(node).into_iter().map(at));
    }
    all
}

fn node_troubles(node: &Node) -> Vec<String> {
    let failures =
        node.failures.iter().map(|failure| format!("{} not applied: {}", failure.key, failure.reason));
    let docker =
        node.docker.iter().filter(|d| !d.reachable).map(|d| format!("Docker is not reachable: {}", d.detail));
    let containers = node
        .containers
        .iter()
        .filter(|c| c.state == ContainerState::Error)
        .map(|c| format!("container {}: {}", c.name, c.reason));
    let pipelines = node
        .pipelines
        .iter()
        .filter(|p| *p.state == *"failed")
        .map(|p| format!("pipeline {} failed: {}", p.id, p.reason));
    failures.chain(docker).chain(containers).chain(pipelines).collect()
}

#[cfg(test)]
mod tests {
    use super::without_tag;

    #[test]
    fn a_pattern_to_start_from_has_no_tag() {
        for (image, name) in [
            ("nginx", "nginx"),
            ("web/nginx:1.27", "web/nginx"),
            ("host:5000/team/app", "host:5000/team/app"),
            ("host:5000/team/app:1@sha256:12", "host:5000/team/app"),
            ("sha256:12ab", "sha256:12ab"),
        ] {
            assert_eq!(without_tag(image), name);
        }
    }
}
