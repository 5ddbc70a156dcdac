//! Answers what runs where and how well: nodes, status, documents' progress, health and readiness.
use crate::app::App;
use crate::conditional;
use crate::paging::Wanted;
use crate::problem::Problem;
use crate::standby;
use crate::view::{Applied, Cause, Coverage, View};
use axum::Json;
use axum::Router;
use axum::extract::{Query, State};
use axum::response::Response;
use axum::routing::get;
use config::document::{Kind, Revision};
use http::header::LINK;
use http::{HeaderMap, HeaderValue};
use serde::Serialize;
use serde_json::{Value, json};

/// How many nodes there are in one answer, unless it is asked for more or fewer.
const NODES: usize = 1000;
/// How many nodes without a running executor are named.
const MISSING_MAX: usize = 100;

/// The routes.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/api/v1/nodes", get(nodes))
        .route("/api/v1/status", get(status))
        .route("/api/v1/documents", get(documents))
        .route("/health", get(health))
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/version", get(version))
}

async fn nodes(
    State(app): State<App>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let view = app.now();
    let page = wanted.page(&view, NODES)?;
    let next = page.next.map(|query| format!("/api/v1/nodes?{query}"));
    let body = json!({ "nodes": page.nodes, "matching": page.matching, "next": next });
    let mut response = conditional::json(&headers, &body)?;
    if let Some(link) = next.and_then(|next| HeaderValue::from_str(&format!("<{next}>; rel=\"next\"")).ok()) {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}

async fn status(State(app): State<App>, headers: HeaderMap) -> Result<Response, Problem> {
    let view = app.now();
    let mut body = json!(view.status);
    if let Value::Object(members) = &mut body {
        members.insert("file_problems".into(), json!(view.file_problems));
        members.insert("rollout".into(), json!(view.rollout));
        members.insert("missing".into(), json!(missing(&view)));
    }
    conditional::json(&headers, &body)
}

/// A document and how far it is applied.
#[derive(Serialize)]
struct Progress<'a> {
    kind: Kind,
    name: &'a str,
    revision: Revision,
    bytes: usize,
    #[serde(flatten)]
    applied: Applied,
}

async fn documents(State(app): State<App>, headers: HeaderMap) -> Result<Response, Problem> {
    let view = app.now();
    let all: Vec<Progress<'_>> = view
        .documents
        .iter()
        .map(|(key, document)| Progress {
            kind: key.kind,
            name: &key.name,
            revision: document.revision,
            bytes: document.text.len(),
            applied: view.applied.get(key).cloned().unwrap_or_default(),
        })
        .collect();
    conditional::json(&headers, &json!({ "documents": all }))
}

async fn live() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

async fn version() -> Json<Value> {
    Json(json!({ "name": "logherd", "version": env!("CARGO_PKG_VERSION") }))
}

/// Healthy means that restarting this process would not help: not that all is well in the cluster.
async fn health(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let view = app.now();
    let status = &view.status;
    if app.keeper_is_gone() {
        return Err(Problem::unavailable("the scheduler has stopped"));
    }
    if status.phase == "failed" {
        return Err(Problem::unavailable(format!("the scheduler has failed: {}", status.detail)));
    }
    Ok(Json(json!({ "status": "ok", "phase": status.phase, "detail": status.detail })))
}

async fn ready(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let view = app.now();
    let status = &view.status;
    if status.phase == standby::PHASE && status.leader.is_some() {
        return Ok(Json(json!({ "status": "standby", "leader": status.leader, "detail": status.detail })));
    }
    let missing = missing(&view);
    let (known, covered) = (status.nodes_known, status.nodes_covered);
    if known > 0 && covered >= known && missing.is_empty() {
        return Ok(Json(json!({ "status": "ready", "nodes_known": known, "nodes_covered": covered })));
    }
    let detail = match known {
        0 if status.detail.is_empty() => format!("no node is known yet; the scheduler is {}", phase(&view)),
        0 => format!("no node is known yet; the scheduler is {}: {}", phase(&view), status.detail),
        _ => format!("{covered} of {known} nodes are covered"),
    };
    let problem = Problem::unavailable(detail);
    Err(problem
        .with("nodes_known", json!(known))
        .with("nodes_covered", json!(covered))
        .with("missing", json!(missing)))
}

fn phase(view: &View) -> &str {
    if view.status.phase.is_empty() { "starting" } else { &view.status.phase }
}

/// A node without a running executor.
#[derive(Serialize)]
struct Missing<'a> {
    agent_id: &'a str,
    host: &'a str,
    coverage: Coverage,
    cause: Cause,
    reason: &'a str,
    since_ms: u64,
}

/// The first of them: after a large failure there may be thousands.
fn missing(view: &View) -> Vec<Missing<'_>> {
    let uncovered = view.nodes.iter().filter(|node| node.coverage.is_missing());
    uncovered
        .take(MISSING_MAX)
        .map(|node| Missing {
            agent_id: &node.agent_id,
            host: &node.host,
            coverage: node.coverage,
            cause: node.cause,
            reason: &node.reason,
            since_ms: node.since_ms,
        })
        .collect()
}
