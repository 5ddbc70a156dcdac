//! Serves the node API of a pipeline process: JSON at the paths that Logstash has, for reading only.
use axum::Router;
use axum::extract::{Query, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What there is at a path; nothing where there is none.
pub type NodeAnswers = Arc<dyn Fn(&str) -> Option<Json> + Send + Sync>;

/// Serves answers until `stop`.
pub async fn serve_node_api(
    listener: TcpListener,
    answers: NodeAnswers,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new().fallback(answer).with_state(answers);
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

/// How an answer is written.
#[derive(Debug, Deserialize)]
struct Form {
    /// On several lines; also when it has no value.
    pretty: Option<String>,
}

async fn answer(
    State(answers): State<NodeAnswers>,
    method: Method,
    uri: Uri,
    Query(form): Query<Form>,
) -> Response {
    let (status, body) = match method {
        Method::GET | Method::HEAD => match answers(uri.path()) {
            Some(answer) => (StatusCode::OK, answer),
            None => (
                StatusCode::NOT_FOUND,
                json!({ "path": uri.path(), "status": 404, "error": { "message": "Not Found" } }),
            ),
        },
        _ => (
            StatusCode::METHOD_NOT_ALLOWED,
            json!({ "path": uri.path(), "status": 405, "error": { "message": "Method Not Allowed" } }),
        ),
    };
    let text = match form.pretty.as_deref() {
        Some("" | "true") => serde_json::to_string_pretty(&body),
        _ => serde_json::to_string(&body),
    };
    // A JSON value can always be written.
    (status, [(header::CONTENT_TYPE, "application/json")], text.unwrap_or_default()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt;

    async fn ask(method: &str, uri: &str) -> (u16, String) {
        let answers: NodeAnswers = Arc::new(|path| (path == "/_node").then(|| json!({ "a": 1 })));
        let router = Router::new().fallback(answer).with_state(answers);
        let request = Request::builder().method(method).uri(uri).body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        (status, String::from_utf8(to_bytes(response.into_body(), 1000).await.unwrap().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn what_is_there_is_answered_and_everything_else_is_not_found() {
        assert_eq!(ask("GET", "/_node").await, (200, "{\"a\":1}".to_owned()));
        assert_eq!(ask("GET", "/_node?pretty").await, (200, "{\n  \"a\": 1\n}".to_owned()));
        assert_eq!(ask("GET", "/x").await.0, 404);
        assert_eq!(ask("PUT", "/_node").await.0, 405);
    }
}
