//! Says what went wrong as `application/problem+json` (RFC 9457), for every error that leaves the server.
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use config::diagnostic::Diagnostic;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{StatusCode, Uri};
use serde_json::{Map, Value, json};

/// An error on its way out.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: String,
    more: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
/// How much of a foreign error's text is taken over.
const DETAIL_MAX: usize = 4096;

impl Problem {
    /// Makes a problem; `detail` says what is wrong with which input, and what to do.
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), more: Map::new(), headers: Vec::new() }
    }

    /// The request makes no sense.
    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// Not now, but maybe soon.
    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            .with_header(RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// The text has errors.
    pub(crate) fn invalid(detail: impl Into<String>, diagnostics: &[Diagnostic]) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail).with("diagnostics", json!(diagnostics))
    }

    /// Adds a member.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: Value) -> Self {
        self.more.insert(name.to_owned(), value);
        self
    }

    /// Adds a header.
    #[must_use]
    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = Map::new();
        body.insert("type".into(), json!("about:blank"));
        body.insert("title".into(), json!(self.status.canonical_reason().unwrap_or("Error")));
        body.insert("status".into(), json!(self.status.as_u16()));
        body.insert("detail".into(), json!(self.detail));
        body.extend(self.more);
        let mut response = (self.status, Value::Object(body).to_string()).into_response();
        response.headers_mut().insert(CONTENT_TYPE, PROBLEM_JSON);
        response.headers_mut().extend(self.headers);
        response
    }
}

/// Turns every error that is not yet a problem into one: unknown paths, wrong methods, the framework's own rejections.
pub(crate) async fn make_problems(request: Request, next: Next) -> Response {
    let uri = request.uri().clone();
    let method = request.method().clone();
    let response = next.run(request).await;
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    if !is_error || response.headers().get(CONTENT_TYPE) == Some(&PROBLEM_JSON) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let detail = match status {
        StatusCode::NOT_FOUND => format!("there is nothing at `{}`", shown(&uri)),
        StatusCode::METHOD_NOT_ALLOWED => format!("`{}` does not take {method}; see Allow", shown(&uri)),
        _ => text_of(body).await.unwrap_or_else(|| format!("{method} `{}` failed", shown(&uri))),
    };
    let problem = Problem::new(status, detail).into_response();
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.insert(CONTENT_TYPE, PROBLEM_JSON);
    Response::from_parts(parts, problem.into_body())
}

fn shown(uri: &Uri) -> String {
    uri.path().chars().take(200).collect()
}

async fn text_of(body: Body) -> Option<String> {
    let bytes = axum::body::to_bytes(body, DETAIL_MAX).await.ok()?;
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    (!text.is_empty()).then_some(text)
}
