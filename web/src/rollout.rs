//! Takes orders about executors: `/api/v1/rollout`.
use crate::app::App;
use crate::order::{Order, OrderDone, OrderRefused};
use crate::problem::Problem;
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use http::StatusCode;
use serde_json::{Value, json};

/// The routes.
pub(crate) fn routes() -> Router<App> {
    Router::new().route("/api/v1/rollout/resume", post(resume))
}

async fn resume(State(app): State<App>) -> Result<Json<Value>, Problem> {
    carry_out(&app, Order::Resume).await
}

/// Gives an order; the answer says what became of it.
pub(crate) async fn carry_out(app: &App, order: Order) -> Result<Json<Value>, Problem> {
    match app.order(order).await? {
        Ok(OrderDone::Done(text)) => Ok(Json(json!({ "status": "ok", "detail": text }))),
        Err(refused @ OrderRefused::NotNow(_)) => {
            Err(Problem::new(StatusCode::CONFLICT, refused.to_string()))
        }
        Err(refused @ OrderRefused::NotStored(_)) => Err(Problem::unavailable(refused.to_string())),
    }
}
