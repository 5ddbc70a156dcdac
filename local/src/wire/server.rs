//! Serves HTTP/1.1 on one address, and can play a server that starts, is not the leader, or does not answer.

use super::body::{self, Answer};
use http::Request;
use http::header::{HeaderMap, ORIGIN};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How a server behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As it should.
    Up,
    /// The process has just started: 404 for everything.
    Starting,
    /// It is reading its records: 503 for everything.
    Recovering,
    /// A master that is not the leader: 307 to this `host:port`.
    NotLeader(String),
    /// A master that knows no leader: 503.
    NoLeader,
    /// It answers as it should, but so much later.
    Slow(Duration),
    /// It takes connections and requests and never answers.
    Silent,
    /// What it is told takes effect, and instead of an answer the connection breaks.
    LostAnswers,
}

/// Pages that a master shows without leading.
const OF_ITSELF: [&str; 5] = ["/health", "/version", "/flags", "/metrics/snapshot", "/master/health"];

/// Who answers requests.
pub(crate) trait Handler: Clone + Send + Sync + 'static {
    /// What it calls itself: `Master` or `Agent`.
    const NAME: &'static str;

    /// Answers one request.
    fn answer(&self, request: Request<Incoming>) -> impl Future<Output = Answer> + Send;
}

/// Where connections come from.
pub(crate) trait Accept: Send + Sync + 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Waits for the next one.
    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<TcpStream> {
        let (stream, _) = self.accept().await?;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        Ok(stream)
    }
}

impl Accept for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<UnixStream> {
        Ok(self.accept().await?.0)
    }
}

/// Serves until told to stop; then every connection is broken.
pub(crate) async fn serve<L: Accept, H: Handler>(
    listener: L,
    handler: H,
    mode: watch::Receiver<Mode>,
    stop: CancellationToken,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.next() => accepted,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
        };
        match accepted {
            Ok(stream) => {
                connections.spawn(connection(stream, handler.clone(), mode.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::task::yield_now().await;
            }
        }
    }
    connections.shutdown().await;
}

async fn connection<S, H>(stream: S, handler: H, mode: watch::Receiver<Mode>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
{
    let service = service_fn(|request: Request<Incoming>| {
        let (handler, mode) = (handler.clone(), mode.borrow().clone());
        async move {
            let lost = mode == Mode::LostAnswers;
            let answer = answer(handler, mode, request).await;
            if lost { Err(io::Error::other("the answer is to be lost")) } else { Ok(answer) }
        }
    });
    let served =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection broke");
    }
}

/// Whether a page in a browser makes this request. Whoever may call a master may start programs, and a page of any site
/// can reach the loopback addresses of its reader, under a name of its own too. Only browsers send these headers, and
/// for everything that changes something they send the first.
fn is_of_a_browser(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN) || headers.contains_key("sec-fetch-site")
}

async fn answer<H: Handler>(handler: H, mode: Mode, request: Request<Incoming>) -> Answer {
    if is_of_a_browser(request.headers()) {
        return body::text(
            403,
            "403 Forbidden. Pages of browsers may not call this; programs send no Origin.",
        );
    }
    match mode {
        Mode::Up | Mode::LostAnswers => handler.answer(request).await,
        Mode::Slow(late) => {
            tokio::time::sleep(late).await;
            handler.answer(request).await
        }
        Mode::Starting => body::text(404, "404 Not Found."),
        Mode::Recovering => body::text(503, format!("{} has not finished recovery", H::NAME)),
        // What every master tells of itself, whoever leads.
        Mode::NotLeader(_) | Mode::NoLeader if OF_ITSELF.contains(&request.uri().path()) => {
            handler.answer(request).await
        }
        Mode::NotLeader(leader) => {
            let path = request.uri().path();
            match path.strip_prefix("/master").unwrap_or(path) {
                "/redirect" => body::redirect(&format!("//{leader}")),
                path => body::redirect(&format!("//{leader}/master{path}")),
            }
        }
        Mode::NoLeader => body::text(503, "No leader elected"),
        Mode::Silent => std::future::pending().await,
    }
}
