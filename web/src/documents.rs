//! Serves the documents of the fleet: `/configs` and `/host-configs`.
use crate::app::App;
use crate::body;
use crate::conditional;
use crate::edit::{Done, Edit, Expect, Refused};
use crate::names;
use crate::problem::Problem;
use axum::Router;
use axum::extract::{OriginalUri, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use config::diagnostic::Diagnostic;
use config::document::{Document, Key, Kind, NAME_MAX, Revision, TEXT_MAX};
use http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use http::{StatusCode, Uri};
use serde::{Deserialize, Serialize};

/// The routes of one kind of documents.
pub(crate) fn routes(kind: Kind) -> Router<App> {
    let base = base(kind);
    let named = get(move |app, request| read(kind, app, request))
        .put(move |app, uri, request| write(kind, app, uri, request))
        .delete(move |app, request| remove(kind, app, request));
    let all = named.clone().post(move |app, uri, request| create(kind, app, uri, request));
    Router::new()
        .route(base, all.clone())
        .route(&format!("{base}/"), all)
        .route(&format!("{base}/{{*name}}"), named)
}

/// Where the documents of a kind are.
pub(crate) fn base(kind: Kind) -> &'static str {
    match kind {
        Kind::Docker => "/configs",
        Kind::Host => "/host-configs",
    }
}

/// A document as the API shows it.
#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    input: &'a str,
    /// Warnings about the text, after an edit.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    diagnostics: &'a [Diagnostic],
}

/// A document as the API takes it. Members that it does not know are ignored, so that what was read can be sent back.
#[derive(Deserialize)]
struct Sent {
    name: Option<String>,
    input: String,
}

async fn read(kind: Kind, State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let view = app.now();
    let Some(name) = name_of(kind, request.uri())? else {
        let of_kind = view.documents.iter().filter(|(key, _)| key.kind == kind);
        let list: Vec<Shown<'_>> = of_kind
            .map(|(key, document)| Shown { name: &key.name, input: &document.text, diagnostics: &[] })
            .collect();
        return conditional::json(request.headers(), &list);
    };
    let key = Key { kind, name };
    let document = view.documents.get(&key).ok_or_else(|| not_found(&key))?;
    let body = shown(&key, &document.text, &[]);
    conditional::tagged_json(request.headers(), &conditional::document_tag(document.revision), body)
}

async fn create(
    kind: Kind,
    State(app): State<App>,
    OriginalUri(uri): OriginalUri,
    request: Request,
) -> Result<Response, Problem> {
    let sent: Sent = body::json(request).await?;
    let name = sent.name.ok_or_else(|| Problem::bad_request("the body has no `name`"))?;
    let key = valid_key(kind, name)?;
    let text = fitting(sent.input)?;
    match put(&app, &uri, Write { key: &key, text, expect: Expect::Absent }).await? {
        Ok(response) => Ok(response),
        Err(Refused::Exists) => {
            Err(Problem::new(StatusCode::CONFLICT, format!("the {key} exists already; use PUT to change it")))
        }
        Err(other) => Err(refusal(other, &key, Expect::Absent)),
    }
}

async fn write(
    kind: Kind,
    State(app): State<App>,
    OriginalUri(uri): OriginalUri,
    request: Request,
) -> Result<Response, Problem> {
    let name = name_of(kind, request.uri())?.ok_or_else(nameless)?;
    let key = valid_key(kind, name)?;
    let headers = request.headers().clone();
    let sent: Sent = body::json(request).await?;
    if let Some(other) = sent.name.filter(|name| *name != key.name) {
        return Err(Problem::bad_request(format!(
            "the body names `{other}`, the address `{}`; to rename a config, create the new one and delete the old one",
            key.name
        )));
    }
    let expect = conditional::expectation(&headers, current(&app, &key))?;
    let text = fitting(sent.input)?;
    put(&app, &uri, Write { key: &key, text, expect })
        .await?
        .map_err(|refused| refusal(refused, &key, expect))
}

async fn remove(kind: Kind, State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let name = name_of(kind, request.uri())?.ok_or_else(nameless)?;
    let key = Key { kind, name };
    let expect = conditional::expectation(request.headers(), current(&app, &key))?;
    match app.ask(Edit::Delete { key: key.clone(), expect }).await? {
        Ok(_) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(refused) => Err(refusal(refused, &key, expect)),
    }
}

/// A write of a document.
struct Write<'a> {
    key: &'a Key,
    text: String,
    expect: Expect,
}

/// Carries out a write and answers it; the inner error says why it was refused.
async fn put(app: &App, uri: &Uri, write: Write<'_>) -> Result<Result<Response, Refused>, Problem> {
    let Write { key, text, expect } = write;
    let done = match app.ask(Edit::Put { key: key.clone(), text: text.clone(), expect }).await? {
        Ok(done) => done,
        Err(refused) => return Ok(Err(refused)),
    };
    let (status, revision, warnings) = match done {
        Done::Created(revision, warnings) => (StatusCode::CREATED, revision, warnings),
        Done::Changed(revision, warnings) | Done::Unchanged(revision, warnings) => {
            (StatusCode::OK, revision, warnings)
        }
        Done::Deleted(revision) => (StatusCode::OK, revision, Vec::new()),
        Done::Checked(warnings) => (StatusCode::OK, Revision::default(), warnings),
    };
    let json = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    let mut response = (status, json, shown(key, &text, &warnings)).into_response();
    conditional::set_tag(&mut response, &conditional::document_tag(revision));
    if status == StatusCode::CREATED
        && let Ok(location) = HeaderValue::from_str(&location(uri, key))
    {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(Ok(response))
}

/// The address of a document, below the same prefix as the request.
fn location(uri: &Uri, key: &Key) -> String {
    let (prefix, _) = split_prefix(uri.path());
    format!("{prefix}{}/{}", base(key.kind), names::encode(&key.name))
}

/// What becomes of a refused edit.
pub(crate) fn refusal(refused: Refused, key: &Key, expect: Expect) -> Problem {
    match refused {
        Refused::NotFound if matches!(expect, Expect::Present | Expect::At(_)) => conditional::changed(None),
        Refused::NotFound => not_found(key),
        Refused::Exists => Problem::new(StatusCode::PRECONDITION_FAILED, format!("the {key} exists already")),
        Refused::Conflict(revision) => conditional::changed(Some(revision)),
        Refused::Invalid(diagnostics) => {
            let errors = diagnostics.len();
            let s = if errors == 1 { "" } else { "s" };
            Problem::invalid(
                format!("the text of the {key} has {errors} problem{s}; nothing was changed"),
                &diagnostics,
            )
        }
        Refused::NotStored(reason) => {
            Problem::unavailable(format!("the edit could not be stored, and nothing was changed: {reason}"))
        }
    }
}

fn current(app: &App, key: &Key) -> Option<Revision> {
    app.now().documents.get(key).map(|document: &Document| document.revision)
}

/// Takes what the same documents are also below off a path.
fn split_prefix(path: &str) -> (&'static str, &str) {
    let below = |prefix: &'static str| Some((prefix, path.strip_prefix(prefix)?));
    below("/api/v1").or_else(|| below("/api")).unwrap_or(("", path))
}

fn name_of(kind: Kind, uri: &Uri) -> Result<Option<String>, Problem> {
    let (_, path) = split_prefix(uri.path());
    let bad = |error: names::BadName| Problem::bad_request(error.to_string());
    if let Some(name) = names::in_path(path, base(kind)).map_err(bad)? {
        return Ok(Some(name));
    }
    names::in_query(uri.query().unwrap_or(""), "name").map_err(bad)
}

/// Makes a key of a name that somebody wants to write.
pub(crate) fn valid_key(kind: Kind, name: String) -> Result<Key, Problem> {
    Key::new(kind, name)
        .map_err(|error| Problem::invalid(error.to_string(), &[]).with("name_max", NAME_MAX.into()))
}

/// Refuses a text that is too long to be stored.
pub(crate) fn fitting(text: String) -> Result<String, Problem> {
    if text.len() > TEXT_MAX {
        let detail = format!("the text has {} bytes; at most {TEXT_MAX} are allowed", text.len());
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    Ok(text)
}

fn nameless() -> Problem {
    Problem::bad_request("which config? Name it in the address: `/configs/NAME` or `?name=NAME`")
}

fn not_found(key: &Key) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is no {key}"))
}

fn shown(key: &Key, text: &str, diagnostics: &[Diagnostic]) -> Vec<u8> {
    // Writing strings as JSON into memory cannot fail.
    serde_json::to_vec(&Shown { name: &key.name, input: text, diagnostics }).unwrap_or_default()
}
