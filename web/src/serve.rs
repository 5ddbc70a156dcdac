//! Puts routes and layers together, and serves them until told to stop.
use crate::app::{App, Requests};
use crate::artifact::{self, Artifact};
use crate::connections::Limited;
use crate::guard::{self, Reach};
use crate::view::View;
use crate::{
    assets, check, documents, events, metrics, pages, prior, problem, rollout, standby, status, teardown, why,
};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use config::document::Kind;
use http::StatusCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

/// How long open requests may take after a stop; event streams end at once.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// Why serving ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The listener has no address, so that it cannot be listened on.
    #[error("read the address of the listener for the page")]
    Address(#[source] std::io::Error),
    /// The server broke.
    #[error("serve the page")]
    Serve(#[source] std::io::Error),
}

/// Serves the REST API, the page and, if there is one, the artifact on `listener` until `stop`, then for a few seconds more
/// what was asked before.
pub async fn serve(
    listener: TcpListener,
    view: watch::Receiver<Arc<View>>,
    keeper: Requests,
    artifact: Option<Artifact>,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let address = listener.local_addr().map_err(ServeError::Address)?;
    let app = App::new(view, keeper, stop.clone()).serving(artifact);
    let router = router(app, Reach::of(address));
    let stopping = stop.clone();
    let server = axum::serve(Limited::new(listener), router).with_graceful_shutdown(stop.cancelled_owned());
    let deadline = async {
        stopping.cancelled().await;
        tokio::time::sleep(STOP_DEADLINE).await;
    };
    tokio::select! {
        served = server.into_future() => served.map_err(ServeError::Serve),
        () = deadline => {
            tracing::info!("left requests unanswered that took longer than the stop deadline");
            Ok(())
        }
    }
}

/// All routes with the layers around them; the last layer is the outermost.
pub(crate) fn router(app: App, reach: Reach) -> Router {
    let documents = documents::routes(Kind::Docker).merge(documents::routes(Kind::Host));
    Router::new()
        .merge(documents.clone())
        .nest("/api", documents.clone())
        .nest("/api/v1", documents)
        .merge(prior::routes())
        .merge(status::routes())
        .merge(why::routes())
        .merge(rollout::routes())
        .merge(teardown::routes())
        .route("/api/v1/check", post(check::check))
        .route("/api/v1/events", get(events::stream))
        .route("/metrics", get(metrics::metrics))
        .merge(pages::routes())
        .merge(assets::routes())
        .merge(artifact::routes())
        .fallback(|| async { StatusCode::NOT_FOUND })
        .layer(from_fn_with_state(app.clone(), standby::to_leader))
        .layer(DefaultBodyLimit::max(crate::body::BODY_MAX))
        .layer(from_fn_with_state(reach, guard::refuse_strangers))
        .layer(CatchPanicLayer::new())
        .layer(from_fn(problem::make_problems))
        .layer(from_fn(guard::strict_headers))
        .layer(from_fn_with_state(app.clone(), metrics::count))
        .with_state(app)
}
