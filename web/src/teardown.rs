//! Takes the order to tear the framework down: `/api/v1/teardown`.
use crate::app::App;
use crate::body;
use crate::order::Order;
use crate::problem::Problem;
use crate::rollout::carry_out;
use axum::extract::{Request, State};
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::Value;

/// The routes.
pub(crate) fn routes() -> Router<App> {
    Router::new().route("/api/v1/teardown", post(tear_down))
}

/// Which framework is meant: whoever names it has looked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    framework_id: String,
}

async fn tear_down(State(app): State<App>, request: Request) -> Result<Json<Value>, Problem> {
    let sent = body::json::<Sent>(request).await?;
    carry_out(&app, Order::TearDown { framework: sent.framework_id }).await
}
