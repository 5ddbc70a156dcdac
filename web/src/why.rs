//! Explains a node: `GET /api/v1/nodes/{id}/why`, the chain from the agent to its containers.
use crate::app::App;
use crate::conditional;
use crate::problem::Problem;
use crate::view::{Cause, ContainerState, Coverage, Node, Step};
use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use http::{HeaderMap, StatusCode};
use serde::Serialize;

/// The route.
pub(crate) fn routes() -> Router<App> {
    Router::new().route("/api/v1/nodes/{id}/why", get(why))
}

/// Why a node is in the state it is in.
#[derive(Serialize)]
struct Why<'a> {
    agent_id: &'a str,
    host: &'a str,
    covered: bool,
    coverage: Coverage,
    cause: Cause,
    reason: &'a str,
    since_ms: u64,
    advice: &'static str,
    chain: Vec<Link>,
    /// What happened last, oldest first.
    steps: &'a [Step],
}

/// One link of the chain from an agent to its containers.
#[derive(Debug, Serialize)]
struct Link {
    link: &'static str,
    /// When it was so; none: not at a moment, or not yet.
    at_ms: Option<u64>,
    /// Whether it holds; none: nothing can be said before the links above hold.
    holds: Option<bool>,
    text: String,
}

/// The name of a link, when it was so, and what is to be said of it when it holds.
type Said = (&'static str, Option<u64>, String);

async fn why(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let view = app.now();
    let named = |node: &&Node| node.agent_id == id;
    let node = view.nodes.iter().map(AsRef::as_ref).find(named);
    let node = node.or_else(|| view.nodes.iter().map(AsRef::as_ref).find(|node| node.host == id));
    let Some(node) = node else {
        let detail = format!("there is no node `{id}`; `GET /api/v1/nodes` lists them");
        return Err(Problem::new(StatusCode::NOT_FOUND, detail));
    };
    let why = Why {
        agent_id: &node.agent_id,
        host: &node.host,
        covered: node.coverage == Coverage::Running,
        coverage: node.coverage,
        cause: node.cause,
        reason: &node.reason,
        since_ms: node.since_ms,
        advice: node.cause.advice(),
        chain: chain(node),
        steps: &node.trail.steps,
    };
    conditional::json(&headers, &why)
}

/// The chain; where it breaks, the reason stands.
fn chain(node: &Node) -> Vec<Link> {
    let broken = broken_at(node);
    let links: [fn(&Node) -> Said; 8] =
        [agent, eligible, resources, offer, launch, executor, revision, containers];
    let mut chain = Vec::new();
    for (number, link) in links.iter().enumerate() {
        let (name, at_ms, text) = link(node);
        let (holds, text) = match broken {
            Some(at) if number == at => (Some(false), node.reason.clone()),
            Some(at) if number > at => (None, text),
            _ => (Some(true), text),
        };
        chain.push(Link { link: name, at_ms, holds, text });
    }
    chain
}

/// Which link does not hold.
fn broken_at(node: &Node) -> Option<usize> {
    Some(match node.coverage {
        Coverage::Unreachable | Coverage::Draining | Coverage::Maintenance => 0,
        Coverage::Excluded => 1,
        Coverage::NotOffered => match node.cause {
            Cause::RoleNotAllowed | Cause::NoMultiRole | Cause::Gpus | Cause::RemoteRegion => 1,
            Cause::TooFewResources | Cause::ReservedToOthers => 2,
            Cause::NotStored => 4,
            _ => 3,
        },
        Coverage::BackingOff => 4,
        Coverage::Launching => 5,
        Coverage::Running if node.cause == Cause::NotAttached => 5,
        Coverage::Running if !node.failures.is_empty() => 6,
        Coverage::Running => return None,
    })
}

fn agent(node: &Node) -> Said {
    let text = if node.listed {
        "it is known, and the master lists it"
    } else {
        "it is known by its offers or its executor"
    };
    ("agent", Some(node.trail.known_ms), text.to_owned())
}

fn eligible(_: &Node) -> Said {
    ("eligible", None, "roles and constraints allow an executor".to_owned())
}

fn resources(node: &Node) -> Said {
    let text = match node.trail.needs.as_str() {
        "" => "they are enough, as far as is known".to_owned(),
        needs => needs.to_owned(),
    };
    ("resources", None, text)
}

fn offer(node: &Node) -> Said {
    let text =
        if node.trail.offered_ms.is_some() { "resources were offered" } else { "nothing was offered yet" };
    ("offer", node.trail.offered_ms, text.to_owned())
}

fn launch(node: &Node) -> Said {
    let text = match &node.executor_id {
        Some(executor) => format!("executor {executor} was launched"),
        None => "nothing is launched".to_owned(),
    };
    ("launch", node.trail.launched_ms, text)
}

fn executor(node: &Node) -> Said {
    let text = if node.attached { "it runs and is attached" } else { "it is not attached" };
    ("executor", node.trail.attached_ms, text.to_owned())
}

fn revision(node: &Node) -> Said {
    ("revision", node.trail.applied_ms, format!("revision {} is applied", node.revision))
}

fn containers(node: &Node) -> Said {
    let streaming = node.containers.iter().filter(|c| c.state == ContainerState::Streaming).count();
    ("containers", None, format!("{streaming} of {} are streamed", node.containers.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_holds_up_to_where_the_cause_breaks_it() {
        for (cause, link, holding) in [
            (Cause::Drained, "agent", 0),
            (Cause::Constraint, "eligible", 1),
            (Cause::TooFewResources, "resources", 2),
            (Cause::AwaitingFirstOffer, "offer", 3),
            (Cause::LaunchFailed, "launch", 4),
            (Cause::Starting, "executor", 5),
            (Cause::Runs, "", 8),
        ] {
            let node =
                Node { cause, coverage: cause.coverage(), reason: "because".into(), ..Node::default() };
            let chain = chain(&node);
            assert_eq!(chain.iter().filter(|link| link.holds == Some(true)).count(), holding, "{cause:?}");
            let broken: Vec<_> = chain.iter().filter(|link| link.holds == Some(false)).collect();
            assert_eq!(broken.len(), usize::from(holding < 8));
            assert!(
                broken.iter().all(|broken| broken.link == link && broken.text == "because"),
                "{broken:?}"
            );
        }
    }
}
