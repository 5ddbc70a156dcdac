//! Speaks the REST API as a person with curl would.

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use std::sync::Once;
use std::time::Duration;

/// A client of HTTP servers of this machine, to be finished.
pub(crate) fn http_client() -> reqwest::ClientBuilder {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10))
}

/// A client of one Logherd's REST API.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) url: String,
    client: reqwest::Client,
}

impl Api {
    pub(crate) fn new(port: u16) -> Self {
        Api { url: format!("http://127.0.0.1:{port}"), client: http_client().build().unwrap() }
    }

    /// Sends a request; the error says what could not be reached.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Response, String> {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if let Some(body) = body {
            request = request.json(&body);
        }
        request.send().await.map_err(|error| format!("{path}: {error}"))
    }

    /// The JSON of a resource.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, String> {
        let response = self.send(Method::GET, path, None).await?;
        let status = response.status();
        let text = response.text().await.map_err(|error| format!("{path}: {error}"))?;
        if !status.is_success() {
            return Err(format!("{path}: {status}: {text}"));
        }
        serde_json::from_str(&text).map_err(|error| format!("{path}: {error}: {text}"))
    }

    /// Whether every known node is covered, or what is missing.
    pub(crate) async fn ready(&self) -> Result<(), String> {
        let response = self.send(Method::GET, "/ready", None).await?;
        if response.status() == StatusCode::OK {
            return Ok(());
        }
        Err(response.text().await.unwrap_or_default())
    }

    /// Writes a document and panics when it is refused. `kind` is `configs` or `host-configs`.
    pub(crate) async fn put(&self, kind: &str, name: &str, text: &str) {
        let (status, answer) = self.try_put(kind, name, text).await;
        assert!(status.is_success(), "PUT /{kind}/{name}: {status}: {answer:#}");
    }

    /// Writes a document and returns the answer.
    pub(crate) async fn try_put(&self, kind: &str, name: &str, text: &str) -> (StatusCode, Value) {
        let body = json!({"name": name, "input": text});
        let response = self
            .send(Method::PUT, &format!("/{kind}/{}", name.replace('/', "%2F")), Some(body))
            .await
            .unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// The nodes as the page shows them.
    pub(crate) async fn nodes(&self) -> Result<Vec<Value>, String> {
        let nodes = self.get("/api/v1/nodes").await?;
        Ok(nodes["nodes"].as_array().cloned().unwrap_or_default())
    }

    /// What all nodes say of the containers whose image name begins with `image`.
    pub(crate) async fn containers(&self, image: &str) -> Result<Vec<Value>, String> {
        let of_node = |node: Value| node["containers"].as_array().cloned().unwrap_or_default();
        let all = self.nodes().await?.into_iter().flat_map(of_node);
        Ok(all
            .filter(|container| container["image"].as_str().is_some_and(|name| name.starts_with(image)))
            .collect())
    }

    /// Whether the newest revision is applied, without failures, on every node.
    pub(crate) async fn applied(&self) -> Result<(), String> {
        let newest = self.get("/api/v1/status").await?["revision"].clone();
        for node in self.nodes().await? {
            let failures = node["failures"].as_array().is_some_and(|failures| !failures.is_empty());
            if node["revision"] != newest || failures {
                return Err(format!(
                    "{} is at {} of {newest}, failures: {}",
                    node["host"], node["revision"], node["failures"]
                ));
            }
        }
        Ok(())
    }
}
