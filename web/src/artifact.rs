//! Serves the program itself, under a name that holds its hash, so that agents can fetch it onto their nodes.
//!
//! A Mesos fetcher asks HEAD for the length first, then GET, and never asks again for what it has: a name must never stand
//! for another content.
use crate::app::App;
use crate::conditional;
use crate::problem::Problem;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path as InPath, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use tokio::io::AsyncReadExt as _;
use tokio_util::io::ReaderStream;

/// How much is read at once.
const CHUNK: usize = 256 << 10;
/// How much of the hash is in the name.
const HASH_BYTES: usize = 12;

/// A file that is served under the hash of its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    file: PathBuf,
    name: String,
    length: u64,
}

impl Artifact {
    /// Reads `file` once, to name it `stem` and its hash. The file must stay as it is from then on. Blocks.
    pub fn of(file: &Path, stem: &str) -> io::Result<Self> {
        let mut source = File::open(file)?;
        let (mut hash, mut length, mut chunk) = (Sha256::new(), 0, vec![0; CHUNK]);
        loop {
            let read = source.read(&mut chunk)?;
            let Some(part) = chunk.get(..read).filter(|part| !part.is_empty()) else { break };
            hash.update(part);
            length += part.len() as u64;
        }
        let hash: String =
            hash.finalize().iter().take(HASH_BYTES).map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { file: file.to_owned(), name: format!("{stem}-{hash}"), length })
    }

    /// Where it is served, below the address of the page.
    pub fn path(&self) -> String {
        format!("artifacts/{}", self.name)
    }
}

/// The routes.
pub(crate) fn routes() -> Router<App> {
    Router::new().route("/artifacts/{name}", get(send))
}

async fn send(
    State(app): State<App>,
    InPath(name): InPath<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Some(artifact) = app.artifact.as_deref().filter(|artifact| artifact.name == name) else {
        return Err(Problem::new(StatusCode::NOT_FOUND, none_of(&app, &name)));
    };
    let tag = format!("\"{}\"", artifact.name);
    let wanted = conditional::reads(&headers, &tag)?;
    let mut response = match (wanted, method) {
        (false, _) => StatusCode::NOT_MODIFIED.into_response(),
        (true, Method::HEAD) => Body::empty().into_response(),
        (true, _) => artifact.body().await?.into_response(),
    };
    conditional::set_tag(&mut response, &tag);
    let headers = response.headers_mut();
    if wanted {
        headers.insert(CONTENT_LENGTH, artifact.length.into());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    Ok(response)
}

fn none_of(app: &App, asked: &str) -> String {
    let asked: String = asked.chars().take(200).collect();
    match &app.artifact {
        Some(ours) => format!("there is no `{asked}`: this scheduler's program is `{}`", ours.name),
        None => format!(
            "there is no `{asked}`: this scheduler does not serve its program, as no executor fetches it"
        ),
    }
}

impl Artifact {
    /// The content, read from the disk while it is sent.
    async fn body(&self) -> Result<Body, Problem> {
        let file = tokio::fs::File::open(&self.file).await.map_err(|error| {
            let what = format!("the program cannot be read from `{}`: {error}", self.file.display());
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, what)
        })?;
        Ok(Body::from_stream(ReaderStream::with_capacity(file.take(self.length), CHUNK)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Requests;
    use crate::guard::Reach;
    use crate::serve::router;
    use crate::view::View;
    use http::Request;
    use http::header::{ALLOW, ETAG, IF_NONE_MATCH};
    use http_body_util::BodyExt as _;
    use std::sync::Arc;
    use tokio::sync::{mpsc, watch};
    use tokio_util::sync::CancellationToken;
    use tower::ServiceExt as _;

    /// A file that is longer than what is read at once, and the server of it.
    fn serving() -> (tempfile::NamedTempFile, Vec<u8>, Artifact) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let content: Vec<u8> = (0..CHUNK * 3 + 17).map(|at| (at % 251) as u8).collect();
        std::fs::write(file.path(), &content).unwrap();
        let artifact = Artifact::of(file.path(), "logherd").unwrap();
        (file, content, artifact)
    }

    async fn ask(
        artifact: Option<&Artifact>,
        request: http::request::Builder,
    ) -> (http::response::Parts, Vec<u8>) {
        let view = watch::Sender::new(Arc::new(View::default()));
        let (edits, orders) = (mpsc::channel(1).0, mpsc::channel(1).0);
        let keeper = Requests { edits, orders };
        let app = App::new(view.subscribe(), keeper, CancellationToken::new()).serving(artifact.cloned());
        let request = request.body(Body::empty()).unwrap();
        let (parts, body) = router(app, Reach::Loopback).oneshot(request).await.unwrap().into_parts();
        (parts, body.collect().await.unwrap().to_bytes().to_vec())
    }

    fn uri(artifact: &Artifact) -> String {
        format!("/{}", artifact.path())
    }

    #[tokio::test]
    async fn a_fetcher_learns_the_length_by_head_and_gets_exactly_that() {
        let (_file, content, artifact) = serving();
        let (head, nothing) = ask(Some(&artifact), Request::head(uri(&artifact))).await;
        assert_eq!((head.status, nothing.len()), (StatusCode::OK, 0));
        let (parts, body) = ask(Some(&artifact), Request::get(uri(&artifact))).await;
        assert_eq!(parts.status, StatusCode::OK);
        for headers in [&head.headers, &parts.headers] {
            assert_eq!(headers[CONTENT_LENGTH], content.len().to_string());
            assert_eq!(headers[CACHE_CONTROL], "public, max-age=31536000, immutable");
            assert_eq!(headers[CONTENT_TYPE], "application/octet-stream");
        }
        assert!(body == content);
    }

    #[test]
    fn the_name_changes_with_the_content_and_with_nothing_else() {
        let (file, mut content, artifact) = serving();
        let (_other, _, same) = serving();
        assert_eq!(same.name, artifact.name);
        content[7] ^= 1;
        std::fs::write(file.path(), &content).unwrap();
        assert_ne!(Artifact::of(file.path(), "logherd").unwrap().name, artifact.name);
        let hash = artifact.name.strip_prefix("logherd-").unwrap();
        assert!(hash.len() == 24 && hash.chars().all(|letter| letter.is_ascii_hexdigit()), "{hash}");
    }

    #[tokio::test]
    async fn another_name_is_not_found_and_the_answer_says_which_there_is() {
        let (_file, _, artifact) = serving();
        let (parts, body) = ask(Some(&artifact), Request::get("/artifacts/logherd-0123")).await;
        assert_eq!(parts.status, StatusCode::NOT_FOUND);
        assert!(String::from_utf8(body).unwrap().contains(&artifact.name));
        let (parts, _) = ask(None, Request::get(uri(&artifact))).await;
        assert_eq!(parts.status, StatusCode::NOT_FOUND);
        let (parts, _) = ask(Some(&artifact), Request::put(uri(&artifact))).await;
        assert_eq!(parts.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(parts.headers[ALLOW], "GET,HEAD");
    }

    #[tokio::test]
    async fn whoever_has_it_is_not_sent_it_again() {
        let (_file, _, artifact) = serving();
        let (parts, _) = ask(Some(&artifact), Request::get(uri(&artifact))).await;
        let again = Request::get(uri(&artifact)).header(IF_NONE_MATCH, &parts.headers[ETAG]);
        let (parts, body) = ask(Some(&artifact), again).await;
        assert_eq!((parts.status, body.len()), (StatusCode::NOT_MODIFIED, 0));
    }

    #[tokio::test]
    async fn a_program_that_cannot_be_read_is_an_error_and_no_short_answer() {
        let (file, _, artifact) = serving();
        drop(file);
        let (parts, _) = ask(Some(&artifact), Request::get(uri(&artifact))).await;
        assert_eq!(parts.status, StatusCode::INTERNAL_SERVER_ERROR);
    }
}
