//! Shows how generations and a rollout stand, and takes orders about them: `/api/v1/rollout`.
use crate::app::App;
use crate::body;
use crate::conditional;
use crate::order::{Canary, Order, OrderDone, OrderRefused, Upgrade};
use crate::problem::Problem;
use axum::body::HttpBody as _;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use http::header::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

/// The routes.
pub(crate) fn routes() -> Router<App> {
    let order =
        |order: Order| post(move |State(app): State<App>| async move { carry_out(&app, order).await });
    Router::new()
        .route("/api/v1/rollout", get(show).post(upgrade))
        .route("/api/v1/rollout/pause", order(Order::Pause))
        .route("/api/v1/rollout/resume", order(Order::Resume))
        .route("/api/v1/rollout/abort", order(Order::Abort))
        .route("/api/v1/rollout/rollback", order(Order::RollBack))
}

async fn show(State(app): State<App>, headers: HeaderMap) -> Result<Response, Problem> {
    conditional::json(&headers, &json!(app.now().rollout))
}

/// How an upgrade is asked for; all of it may be left out.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Sent {
    /// A number, or a text like `"10%"`.
    max_unavailable: Option<Value>,
    canary: Option<String>,
    canary_count: Option<usize>,
    pause_after_canary: bool,
    dry_run: bool,
}

async fn upgrade(State(app): State<App>, request: Request) -> Result<Json<Value>, Problem> {
    let sent =
        if request.body().is_end_stream() { Sent::default() } else { body::json::<Sent>(request).await? };
    carry_out(&app, Order::Upgrade(sent.upgrade()?)).await
}

impl Sent {
    fn upgrade(self) -> Result<Upgrade, Problem> {
        let wrong = |error: crate::order::OrderTextError| Problem::bad_request(error.to_string());
        let mut upgrade = Upgrade { dry_run: self.dry_run, ..Upgrade::default() };
        if let Some(limit) = self.max_unavailable {
            let text = limit.as_str().map_or_else(|| limit.to_string(), str::to_owned);
            upgrade.max_unavailable = text.parse().map_err(wrong)?;
        }
        upgrade.canary = match (self.canary, self.canary_count) {
            (Some(_), Some(_)) => {
                return Err(Problem::bad_request("give `canary` or `canary_count`, not both"));
            }
            (_, Some(0)) => return Err(Problem::bad_request("`canary_count` is at least 1")),
            (Some(text), None) => Some(text.parse().map_err(wrong)?),
            (None, count) => count.map(Canary::Count),
        };
        if self.pause_after_canary && upgrade.canary.is_none() {
            return Err(Problem::bad_request("`pause_after_canary` needs `canary` or `canary_count`"));
        }
        upgrade.pause_after_canary = self.pause_after_canary;
        Ok(upgrade)
    }
}

/// Gives an order; the answer says what became of it.
pub(crate) async fn carry_out(app: &App, order: Order) -> Result<Json<Value>, Problem> {
    match app.order(order).await? {
        Ok(OrderDone::Done(text)) => Ok(Json(json!({ "status": "ok", "detail": text }))),
        Ok(OrderDone::Planned(plan)) => Ok(Json(json!({ "status": "planned", "plan": plan }))),
        Err(refused @ OrderRefused::NotNow(_)) => {
            Err(Problem::new(StatusCode::CONFLICT, refused.to_string()))
        }
        Err(refused @ (OrderRefused::NotTaken(_) | OrderRefused::NotStored(_))) => {
            Err(Problem::unavailable(refused.to_string()))
        }
    }
}
