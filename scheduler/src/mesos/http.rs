//! Posts calls to a master over one HTTP/1.1 connection.
use super::Access;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, LOCATION};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustix::net::sockopt;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long a master may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a master may take to answer: as long as five heartbeats.
pub(super) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(75);
/// After so long without a word a connection is asked whether it still stands, and again so often: calls may be many minutes
/// apart, and what stands between this machine and the masters forgets connections that carry nothing.
const ASKED_AFTER: Duration = Duration::from_secs(60);
const ASKED_EVERY: Duration = Duration::from_secs(15);
const ASKED_TIMES: u32 = 4;
/// How much of an error's text is read.
const ERROR_TEXT: usize = 4096;
const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
const STREAM_ID: &str = "mesos-stream-id";

/// Why a call was not answered as it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HttpError {
    /// No connection, or it broke.
    #[error("{master} cannot be reached: {why}")]
    Broken { master: String, why: String },
    /// No answer within the deadline.
    #[error("{master} did not answer within {} s", within.as_secs())]
    Silent { master: String, within: Duration },
    /// The master is not the leader; the leader is there.
    #[error("{master} is not the leader; {leader} is")]
    NotLeader { master: String, leader: String },
    /// Any other status.
    #[error("{master} answered {status}: {text}")]
    Status { master: String, status: StatusCode, text: String },
}

/// A byte stream both ways, with TLS or without.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// One connection. It ends when this is dropped.
pub(super) struct Connection {
    master: String,
    sender: SendRequest<Full<Bytes>>,
    credentials: Option<super::Credentials>,
    /// Owns the task that drives the connection.
    _driver: JoinSet<()>,
}

impl Connection {
    /// Connects to a master, given as `host:port`.
    pub(super) async fn open(master: &str, access: Access) -> Result<Self, HttpError> {
        let broken = |why: String| HttpError::Broken { master: master.to_owned(), why };
        let silent = || HttpError::Silent { master: master.to_owned(), within: CONNECT_TIMEOUT };
        let connecting = timeout(CONNECT_TIMEOUT, TcpStream::connect(master)).await;
        let socket = connecting.map_err(|_| silent())?.map_err(|e| broken(e.to_string()))?;
        socket.set_nodelay(true).map_err(|e| broken(e.to_string()))?;
        if let Err(error) = keep_alive(&socket) {
            tracing::debug!(%error, "an idle connection to the master may be forgotten");
        }
        let io: Box<dyn Duplex> = match &access.tls {
            None => Box::new(socket),
            Some(tls) => {
                let shaking = timeout(CONNECT_TIMEOUT, super::tls::connect(tls, master, socket)).await;
                Box::new(shaking.map_err(|_| silent())?.map_err(broken)?)
            }
        };
        let (sender, connection) = handshake(TokioIo::new(io)).await.map_err(|e| broken(e.to_string()))?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to the master ended");
            }
        });
        Ok(Self { master: master.to_owned(), sender, credentials: access.credentials, _driver: driver })
    }

    /// Posts one call and gives the response of a success, its body unread.
    pub(super) async fn post(
        &mut self,
        path: &str,
        stream: Option<&str>,
        body: Vec<u8>,
    ) -> Result<Response<Incoming>, HttpError> {
        let request = self.request(path, stream, body)?;
        // The connection may need a moment after an answer was read; it takes nothing before it is ready.
        let answer = timeout(RESPONSE_TIMEOUT, async {
            self.sender.ready().await?;
            self.sender.send_request(request).await
        })
        .await;
        let response = answer
            .map_err(|_| HttpError::Silent { master: self.master.clone(), within: RESPONSE_TIMEOUT })?
            .map_err(|e| self.broken(&e))?;
        if response.status().is_success() {
            return Ok(response);
        }
        if response.status() == StatusCode::TEMPORARY_REDIRECT
            && let Some(leader) =
                response.headers().get(LOCATION).and_then(|l| l.to_str().ok()).and_then(leader_in)
        {
            return Err(HttpError::NotLeader { master: self.master.clone(), leader });
        }
        let status = response.status();
        let text = Limited::new(response.into_body(), ERROR_TEXT).collect().await;
        let text =
            text.map(|body| String::from_utf8_lossy(&body.to_bytes()).trim().to_owned()).unwrap_or_default();
        Err(HttpError::Status { master: self.master.clone(), status, text })
    }

    /// Posts one call and reads the whole answer, which may hold up to `limit` bytes.
    pub(super) async fn ask(
        &mut self,
        path: &str,
        stream: Option<&str>,
        body: Vec<u8>,
        limit: usize,
    ) -> Result<Bytes, HttpError> {
        let response = self.post(path, stream, body).await?;
        let reading = timeout(RESPONSE_TIMEOUT, Limited::new(response.into_body(), limit).collect()).await;
        let body = reading
            .map_err(|_| HttpError::Silent { master: self.master.clone(), within: RESPONSE_TIMEOUT })?;
        body.map(http_body_util::Collected::to_bytes)
            .map_err(|e| HttpError::Broken { master: self.master.clone(), why: e.to_string() })
    }

    fn request(
        &self,
        path: &str,
        stream: Option<&str>,
        body: Vec<u8>,
    ) -> Result<Request<Full<Bytes>>, HttpError> {
        let mut request = Request::post(path)
            .header(HOST, &self.master)
            .header(ACCEPT, PROTOBUF)
            .header(CONTENT_TYPE, PROTOBUF);
        if let Some(stream) = stream {
            request = request.header(STREAM_ID, stream);
        }
        if let Some(credentials) = &self.credentials {
            request = request.header(AUTHORIZATION, credentials.basic());
        }
        request.body(Full::new(Bytes::from(body))).map_err(|e| self.broken(&e))
    }

    fn broken(&self, why: &dyn std::error::Error) -> HttpError {
        HttpError::Broken { master: self.master.clone(), why: why.to_string() }
    }
}

fn keep_alive(socket: &TcpStream) -> rustix::io::Result<()> {
    sockopt::set_tcp_keepidle(socket, ASKED_AFTER)?;
    sockopt::set_tcp_keepintvl(socket, ASKED_EVERY)?;
    sockopt::set_tcp_keepcnt(socket, ASKED_TIMES)?;
    sockopt::set_socket_keepalive(socket, true)
}

/// The stream id in the answer to SUBSCRIBE.
pub(super) fn stream_id(response: &Response<Incoming>) -> Option<String> {
    response.headers().get(STREAM_ID).and_then(|id| id.to_str().ok()).map(str::to_owned)
}

/// The `host:port` of a `Location`, which Mesos sends without a scheme: `//leader:5050/master/api/v1/scheduler`.
fn leader_in(location: &str) -> Option<String> {
    let rest = location.split_once("//").map(|(_, rest)| rest)?;
    let authority = rest.split('/').next().filter(|authority| !authority.is_empty())?;
    authority.contains(':').then(|| authority.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_leader_is_read_out_of_a_location_with_and_without_a_scheme() {
        let leader = Some("master.example:5050".to_owned());
        assert_eq!(leader_in("//master.example:5050/master/api/v1/scheduler"), leader);
        assert_eq!(leader_in("http://master.example:5050/api/v1/scheduler"), leader);
        assert_eq!(leader_in("/api/v1/scheduler"), None);
        assert_eq!(leader_in("//"), None);
    }

    #[tokio::test]
    async fn an_idle_connection_is_asked_every_minute_whether_it_stands() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        keep_alive(&socket).unwrap();
        assert!(sockopt::socket_keepalive(&socket).unwrap());
        assert_eq!(sockopt::tcp_keepidle(&socket).unwrap(), ASKED_AFTER);
        assert_eq!(sockopt::tcp_keepcnt(&socket).unwrap(), ASKED_TIMES);
    }

    proptest! {
        #[test]
        fn any_location_is_read_or_refused(location in ".{0,40}") {
            if let Some(leader) = leader_in(&location) {
                prop_assert!(location.contains(&leader));
            }
        }
    }
}
