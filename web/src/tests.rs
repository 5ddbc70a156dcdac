//! The whole server against two channels: a view that is watched, and a keeper that answers edits.
use crate::app::{App, Requests};
use crate::edit::{Done, Edit, EditRequest, Expect, Refused};
use crate::guard::Reach;
use crate::order::{OrderDone, OrderRequest};
use crate::serve::router;
use crate::view::*;
use axum::Router;
use axum::body::Body;
use config::diagnostic::Diagnostic;
use config::document::{Document, Key, Kind, Revision};
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

mod api;
mod pages;

/// A server whose keeper keeps documents in memory, and finds an error wherever `oops` is written.
struct World {
    router: Router,
    view: Arc<watch::Sender<Arc<View>>>,
    stop: CancellationToken,
    _keeper: JoinSet<()>,
}

struct Answer {
    status: StatusCode,
    headers: http::HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    /// Asserts that it is a problem with this status, and returns its detail.
    fn problem(&self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.header(header::CONTENT_TYPE), "application/problem+json", "{}", self.text);
        assert_eq!(self.json()["status"], status);
        self.json()["detail"].as_str().unwrap().to_owned()
    }
}

impl World {
    fn new() -> Self {
        let mut start = View::default();
        start.status.phase = "subscribed".into();
        start.status.writable = true;
        Self::seeing(start)
    }

    fn seeing(start: View) -> Self {
        let view = Arc::new(watch::Sender::new(Arc::new(start)));
        let (edits, requests) = mpsc::channel(16);
        let stop = CancellationToken::new();
        let (orders, ordered) = mpsc::channel(16);
        let app = App::new(view.subscribe(), Requests { edits, orders }, stop.clone());
        let router = router(app, Reach::Loopback);
        let mut keeper = JoinSet::new();
        keeper.spawn(keep(requests, Arc::clone(&view)));
        keeper.spawn(obey(ordered));
        Self { router, view, stop, _keeper: keeper }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    async fn with(&self, method: Method, path: &str, body: Value) -> Answer {
        self.send(request(method, path, body, &[])).await
    }

    fn change(&self, change: impl FnOnce(&mut View)) {
        self.view.send_modify(|view| change(Arc::make_mut(view)));
    }
}

fn request(method: Method, path: &str, body: Value, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(if body.is_null() { Body::empty() } else { Body::from(body.to_string()) }).unwrap()
}

/// Carries out nothing, and says that it was done.
async fn obey(mut ordered: mpsc::Receiver<OrderRequest>) {
    while let Some(OrderRequest { order, reply }) = ordered.recv().await {
        reply.send(Ok(OrderDone::Done(format!("{order:?}")))).ok();
    }
}

async fn keep(mut requests: mpsc::Receiver<EditRequest>, view: Arc<watch::Sender<Arc<View>>>) {
    while let Some(EditRequest { edit, reply }) = requests.recv().await {
        let mut answer = Err(Refused::NotFound);
        view.send_modify(|view| answer = carry_out(edit, Arc::make_mut(view)));
        reply.send(answer).ok();
    }
}

fn carry_out(edit: Edit, view: &mut View) -> Result<Done, Refused> {
    let next = Revision(view.status.revision.0 + 1);
    match edit {
        Edit::Check { text, .. } => match problems(&text) {
            found if found.is_empty() => Ok(Done::Checked(found)),
            found => Err(Refused::Invalid(found)),
        },
        Edit::Put { key, text, expect } => {
            let old = view.documents.get(&key).cloned();
            met(expect, old.as_ref())?;
            if text.contains("unstorable") {
                return Err(Refused::NotStored("the disk is full".into()));
            }
            let found = problems(&text);
            if !found.is_empty() {
                return Err(Refused::Invalid(found));
            }
            if let Some(old) = old.as_ref().filter(|old| old.text == text) {
                return Ok(Done::Unchanged(old.revision, Vec::new()));
            }
            view.status.revision = next;
            Arc::make_mut(&mut view.documents).insert(key, Document { text, revision: next });
            Ok(if old.is_some() { Done::Changed(next, Vec::new()) } else { Done::Created(next, Vec::new()) })
        }
        Edit::Delete { key, expect } => {
            let old = view.documents.get(&key).cloned();
            old.as_ref().ok_or(Refused::NotFound)?;
            met(expect, old.as_ref())?;
            Arc::make_mut(&mut view.documents).remove(&key);
            view.status.revision = next;
            Ok(Done::Deleted(next))
        }
    }
}

fn met(expect: Expect, old: Option<&Document>) -> Result<(), Refused> {
    match (expect, old) {
        (Expect::Absent, Some(_)) => Err(Refused::Exists),
        (Expect::Present | Expect::At(_), None) => Err(Refused::NotFound),
        (Expect::At(revision), Some(old)) if old.revision != revision => Err(Refused::Conflict(old.revision)),
        _ => Ok(()),
    }
}

fn problems(text: &str) -> Vec<Diagnostic> {
    text.match_indices("oops")
        .map(|(at, word)| {
            Diagnostic::error(text, at, at + word.len(), "there is no plugin `oops`").with_hint("use grok")
        })
        .collect()
}

fn key(kind: Kind, name: &str) -> Key {
    Key { kind, name: name.into() }
}

fn node(host: &str, coverage: Coverage) -> Node {
    Node {
        agent_id: format!("agent-{host}"),
        host: host.into(),
        coverage,
        reason: "because".into(),
        attached: coverage == Coverage::Running,
        ..Node::default()
    }
}

fn container(name: &str, image: &str, state: ContainerState) -> Container {
    Container {
        id: "0123456789abcdef".into(),
        name: name.into(),
        image: image.into(),
        state,
        reason: Text::default(),
        config: Text::default(),
        tails: Box::default(),
    }
}
