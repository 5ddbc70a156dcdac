//! Sends requests to the REST API, and makes errors of its problem documents.
use anyhow::{Context as _, bail};
use config::document::Kind;
use config::settings::ClientSettings;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::Value;

/// A connection to the API.
pub(crate) struct Api {
    client: Client,
    base: String,
}

impl Api {
    /// Makes one; nothing is sent yet.
    pub(crate) fn new(settings: &ClientSettings) -> anyhow::Result<Self> {
        let mut builder = Client::builder().timeout(settings.api_timeout);
        // A proxy for the outside world does not know our loopback.
        if settings.api.host_str().is_some_and(|host| host == "localhost" || host.starts_with("127.")) {
            builder = builder.no_proxy();
        }
        let client = builder.build().context("make an HTTP client")?;
        Ok(Self { client, base: settings.api.as_str().trim_end_matches('/').to_owned() })
    }

    /// Sends a request; the answer may be an error of the API.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Response> {
        let url = format!("{}{path}", self.base);
        let mut request = self.client.request(method, &url);
        if let Some(body) = body {
            request = request.json(body);
        }
        request.send().await.with_context(|| {
            format!(
                "reach the scheduler at {}: is it running there? Another address can be set with --api",
                self.base
            )
        })
    }

    /// Reads something as JSON.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let response = self.send(Method::GET, path, None).await?;
        accepted(response, &format!("read `{path}`")).await
    }
}

/// The body of an answer, or its problem as an error.
pub(crate) async fn accepted(response: Response, what: &str) -> anyhow::Result<Value> {
    let status = response.status();
    if status == StatusCode::NO_CONTENT {
        return Ok(Value::Null);
    }
    let text = response.text().await.with_context(|| format!("{what}: the answer broke off"))?;
    let body: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    if status.is_success() {
        return Ok(body);
    }
    let detail = body.get("detail").and_then(Value::as_str).unwrap_or(text.trim());
    bail!("{what}: {detail} ({})", status.as_u16());
}

/// The address of a config.
pub(crate) fn config_path(kind: Kind, name: &str) -> String {
    let base = match kind {
        Kind::Docker => "/configs",
        Kind::Host => "/host-configs",
    };
    format!("{base}/{}", utf8_percent_encode(name, NON_ALPHANUMERIC))
}

/// A member as text; nothing when it is not there.
pub(crate) fn text(value: &Value, member: &str) -> String {
    match value.get(member) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => match number.as_f64() {
            Some(float) if !number.is_u64() && !number.is_i64() => format!("{float:.1}"),
            _ => number.to_string(),
        },
        Some(other) => other.to_string(),
    }
}

/// A member that is a list.
pub(crate) fn list<'a>(value: &'a Value, member: &str) -> &'a [Value] {
    value.get(member).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
