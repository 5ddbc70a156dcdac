//! Renders the page: what is the same everywhere, and which address shows which part.
//!
//! Every link is relative, so that the page works under any prefix. Parts with `data-live` are replaced by the script
//! when the view changes: it reads the same address again.
use crate::app::App;
use crate::assets;
use crate::problem::Problem;
use crate::view::View;
use askama::Template;
use axum::Router;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use std::time::{SystemTime, UNIX_EPOCH};

mod config_list;
mod dashboard;
mod editor;
mod nodes;

/// The routes.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/", get(dashboard::show))
        .route("/dashboard", get(dashboard::show))
        .route("/nodes", get(nodes::show))
        .route("/config", get(config_list::show))
        .route("/edit", get(editor::show))
}

/// What every part of the page shows around itself.
struct Shell {
    /// Which part it is.
    here: &'static str,
    title: String,
    assets: &'static str,
    version: &'static str,
    phase: String,
    detail: String,
    /// Where the scheduler that leads serves its page; empty: here.
    leader: String,
    /// `good`, `wait` or `bad`.
    tone: &'static str,
}

impl Shell {
    fn new(here: &'static str, title: impl Into<String>, view: &View) -> Self {
        let status = &view.status;
        let phase = if status.phase.is_empty() { "starting" } else { &status.phase };
        let tone = match phase {
            "subscribed" => "good",
            "standby" if status.leader.is_some() => "good",
            "failed" | "superseded" => "bad",
            _ => "wait",
        };
        Self {
            here,
            title: title.into(),
            assets: &assets::VERSION,
            version: env!("CARGO_PKG_VERSION"),
            phase: phase.to_owned(),
            detail: status.detail.clone(),
            leader: status.leader.clone().unwrap_or_default(),
            tone,
        }
    }

    fn current(&self, part: &str) -> &'static str {
        if self.here == part { "page" } else { "false" }
    }
}

fn render(page: &impl Template) -> Result<Response, Problem> {
    let html = page.render().map_err(|error| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the page cannot be rendered: {error}"))
    })?;
    Ok(Html(html).into_response())
}

/// The time as the page and the metrics count it.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis().try_into().unwrap_or(u64::MAX)
}
