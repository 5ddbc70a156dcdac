//! Sends to the scheduler that leads whatever a scheduler that stands by cannot answer: changes, and how the nodes are.
use crate::app::App;
use crate::problem::Problem;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{LOCATION, RETRY_AFTER};
use http::{HeaderValue, Method, StatusCode, Uri};

/// The phase of a scheduler that could lead and does not.
pub(crate) const PHASE: &str = "standby";
/// How long a leader may take to be elected, in seconds.
const ELECTED_WITHIN: HeaderValue = HeaderValue::from_static("5");

/// Answers with 307 to the leader, or with 503 while there is none, when only a leader can answer.
pub(crate) async fn to_leader(State(app): State<App>, request: Request, next: Next) -> Response {
    let view = app.now();
    if view.status.phase != PHASE || !only_a_leader_can(request.method(), request.uri()) {
        return next.run(request).await;
    }
    let Some(leader) = &view.status.leader else {
        let problem = Problem::unavailable("no scheduler leads at the moment; try again in a few seconds");
        let mut response = problem.into_response();
        response.headers_mut().insert(RETRY_AFTER, ELECTED_WITHIN);
        return response;
    };
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    match HeaderValue::from_str(&format!("{leader}{path}")) {
        Ok(location) => (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, location)]).into_response(),
        Err(_) => {
            Problem::unavailable(format!("`{leader}` leads, which is no address; check --advertise there"))
                .into_response()
        }
    }
}

fn only_a_leader_can(method: &Method, uri: &Uri) -> bool {
    let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    let path = uri.path();
    let of_nodes = matches!(path, "/api/v1/nodes" | "/api/v1/documents" | "/api/v1/rollout")
        || path.starts_with("/api/v1/nodes/");
    // A text can be checked anywhere.
    if reads { of_nodes } else { uri.path() != "/api/v1/check" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_and_nodes_are_for_the_leader_and_all_else_is_answered_here() {
        for (method, path, leader) in [
            (Method::PUT, "/configs/nginx", true),
            (Method::POST, "/api/host-config", true),
            (Method::DELETE, "/host-configs/out", true),
            (Method::GET, "/api/v1/nodes", true),
            (Method::GET, "/api/v1/nodes/a-1/why", true),
            (Method::GET, "/configs/nginx", false),
            (Method::GET, "/health", false),
            (Method::POST, "/api/v1/check", false),
        ] {
            assert_eq!(only_a_leader_can(&method, &path.parse().unwrap()), leader, "{method} {path}");
        }
    }
}
