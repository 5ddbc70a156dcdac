//! Keeps a connection to a server that takes bytes and answers nothing: a TCP stream, plain or with TLS, or datagrams.
//!
//! What was written to a stream counts as delivered: such protocols acknowledge nothing. Before each write it is looked whether the
//! server has closed the connection, so that at most what is on its way at that moment can be lost.
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tracing::warn;

/// How long connecting may take, with what belongs to it: looking the name up, shaking hands. Writing has no limit of time: a
/// server that reads slowly, or not at all for a while, is waited for, and the system ends a connection whose other side is gone.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is told at most that datagrams are lost.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// How much is read at most to find the end of what a server said.
const READS_MAX: usize = 64;

/// Where to and how.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) way: Way,
}

/// How bytes travel.
#[derive(Clone)]
pub(crate) enum Way {
    Tcp,
    Tls(Arc<ClientConfig>),
    Udp,
}

enum Open {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Udp(UdpSocket),
}

/// A connection that is made when it is needed, and made anew when it broke.
pub(crate) struct Link {
    server: Server,
    open: Option<Open>,
    /// When it was last told that datagrams are lost.
    told: Option<Instant>,
}

impl Link {
    pub(crate) fn to(server: Server) -> Self {
        Self { server, open: None, told: None }
    }

    /// Writes all of `pieces`, each a datagram of its own where there are datagrams. Returns how many datagrams could not be
    /// sent: each stands for itself, and the others are sent all the same. The reason of a failure is for people.
    pub(crate) async fn send(&mut self, pieces: &[Vec<u8>]) -> Result<usize, String> {
        let sent = self.try_send(pieces).await;
        if sent.is_err() {
            self.open = None;
        }
        let (lost, why) = sent.map_err(|error| format!("send to {}: {error}", self.place()))?;
        if let Some(error) = why {
            // The way there, or the address, may have changed.
            self.open = None;
            self.tell(lost, &error);
        }
        Ok(lost)
    }

    fn place(&self) -> String {
        format!("{}:{}", self.server.host, self.server.port)
    }

    fn tell(&mut self, lost: usize, error: &io::Error) {
        let now = Instant::now();
        if self.told.is_none_or(|told| now.duration_since(told) >= TELL_EVERY) {
            self.told = Some(now);
            warn!(server = self.place(), lost, %error, "datagrams could not be sent; they are counted as dropped");
        }
    }

    /// How many datagrams were lost, and why the first one was.
    async fn try_send(&mut self, pieces: &[Vec<u8>]) -> io::Result<(usize, Option<io::Error>)> {
        if self.open.as_mut().is_some_and(Open::is_closed) {
            self.open = None;
        }
        let open = match &mut self.open {
            Some(open) => open,
            none => {
                let connected = timeout(PATIENCE, self.server.connect()).await;
                none.insert(connected.unwrap_or_else(|_| Err(too_long()))?)
            }
        };
        match open {
            Open::Udp(socket) => return Ok(send_datagrams(socket, pieces).await),
            Open::Tcp(stream) => {
                stream.write_all(&pieces.concat()).await?;
                stream.flush().await?;
            }
            Open::Tls(stream) => {
                stream.write_all(&pieces.concat()).await?;
                stream.flush().await?;
            }
        }
        Ok((0, None))
    }
}

fn too_long() -> io::Error {
    io::Error::new(ErrorKind::TimedOut, "connecting took too long")
}

async fn send_datagrams(socket: &UdpSocket, pieces: &[Vec<u8>]) -> (usize, Option<io::Error>) {
    let (mut lost, mut why) = (0, None);
    for piece in pieces {
        let mut sent = socket.send(piece).await;
        if sent.as_ref().is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused) {
            // It was an earlier datagram that found nobody; this one was not sent yet.
            sent = socket.send(piece).await;
        }
        if let Err(error) = sent {
            lost += 1;
            why.get_or_insert(error);
        }
    }
    (lost, why)
}

impl Open {
    /// Whether the other side has closed it. What it says otherwise is passed over.
    fn is_closed(&mut self) -> bool {
        let mut scratch = [0; 1024];
        for _ in 0..READS_MAX {
            let read = match self {
                Self::Tcp(stream) => stream.read(&mut scratch).now_or_never(),
                // The end may be said within TLS, behind what else the server said.
                Self::Tls(stream) => stream.read(&mut scratch).now_or_never(),
                Self::Udp(_) => None,
            };
            match read {
                None => return false,
                Some(Ok(0) | Err(_)) => return true,
                Some(Ok(_)) => {}
            }
        }
        false
    }
}

/// Bytes both ways.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Duplex for T {}

impl Server {
    /// A connection that is read from, too.
    pub(crate) async fn duplex(&self) -> io::Result<Box<dyn Duplex>> {
        Ok(match self.connect().await? {
            Open::Tcp(stream) => Box::new(stream),
            Open::Tls(stream) => stream,
            Open::Udp(_) => return Err(io::Error::new(ErrorKind::Unsupported, "datagrams are no stream")),
        })
    }

    async fn connect(&self) -> io::Result<Open> {
        let place = (self.host.as_str(), self.port);
        match &self.way {
            Way::Udp => {
                let mut last = io::Error::new(ErrorKind::NotFound, "the host has no address");
                for address in tokio::net::lookup_host(place).await? {
                    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                    let socket = UdpSocket::bind(any).await?;
                    match socket.connect(address).await {
                        Ok(()) => return Ok(Open::Udp(socket)),
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
            Way::Tcp => Ok(Open::Tcp(stream(place).await?)),
            Way::Tls(config) => {
                let name = ServerName::try_from(self.host.clone())
                    .map_err(|error| io::Error::new(ErrorKind::InvalidInput, error))?;
                let connector = TlsConnector::from(config.clone());
                Ok(Open::Tls(Box::new(connector.connect(name, stream(place).await?).await?)))
            }
        }
    }
}

async fn stream(place: (&str, u16)) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(place).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::RootCertStore;
    use rustls::pki_types::PrivateKeyDer;
    use tokio::io::Interest;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    fn server(port: u16, way: Way) -> Server {
        Server { host: "127.0.0.1".to_owned(), port, way }
    }

    #[tokio::test]
    async fn a_connection_that_was_closed_is_made_anew() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut link = Link::to(server(listener.local_addr().unwrap().port(), Way::Tcp));
        for text in ["one\n", "two\n"] {
            let (sent, accepted) = tokio::join!(async { link.send(&[text.into()]).await }, listener.accept());
            sent.unwrap();
            let mut got = vec![0; 4];
            let (mut stream, _) = accepted.unwrap();
            stream.read_exact(&mut got).await.unwrap();
            assert_eq!(got, text.as_bytes());
            drop(stream);
            // The end of the connection has arrived when nothing but it can be read.
            if let Some(Open::Tcp(stream)) = &link.open {
                stream.readable().await.unwrap();
            }
        }
    }

    /// Waits until everything has come that the other side will ever say.
    async fn other_side_is_done(open: &Open) {
        let stream = match open {
            Open::Tcp(stream) => stream,
            Open::Tls(stream) => stream.get_ref().0,
            Open::Udp(_) => return,
        };
        while !stream.ready(Interest::READABLE).await.unwrap().is_read_closed() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_server_that_says_something_and_closes_has_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut link = Link::to(server(listener.local_addr().unwrap().port(), Way::Tcp));
        let (sent, accepted) = tokio::join!(async { link.send(&[b"one".to_vec()]).await }, listener.accept());
        sent.unwrap();
        let mut stream = accepted.unwrap().0;
        stream.read_exact(&mut [0; 3]).await.unwrap();
        stream.write_all(&[b'.'; 3000]).await.unwrap();
        drop(stream);
        let open = link.open.as_mut().unwrap();
        other_side_is_done(open).await;
        assert!(open.is_closed());
    }

    #[tokio::test]
    async fn a_server_that_ends_tls_in_order_has_closed() {
        let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::try_from(signed.signing_key.serialize_der()).unwrap();
        let acceptor = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![signed.cert.der().clone()], key)
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(signed.cert.der().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let way = Way::Tls(Arc::new(config));
        let mut link = Link::to(Server { host: "localhost".to_owned(), port, way });
        let serve = async {
            let stream = listener.accept().await.unwrap().0;
            let mut stream = TlsAcceptor::from(Arc::new(acceptor)).accept(stream).await.unwrap();
            stream.read_exact(&mut [0; 3]).await.unwrap();
            stream
        };
        let (sent, mut stream) = tokio::join!(async { link.send(&[b"one".to_vec()]).await }, serve);
        sent.unwrap();
        let open = link.open.as_mut().unwrap();
        assert!(!open.is_closed());
        stream.shutdown().await.unwrap();
        drop(stream);
        other_side_is_done(open).await;
        assert!(open.is_closed());
    }

    #[tokio::test]
    async fn a_server_that_reads_nothing_for_long_is_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut link = Link::to(server(listener.local_addr().unwrap().port(), Way::Tcp));
        let (sent, accepted) = tokio::join!(async { link.send(&[b"one".to_vec()]).await }, listener.accept());
        sent.unwrap();
        let mut stream = accepted.unwrap().0;
        stream.read_exact(&mut [0; 3]).await.unwrap();
        tokio::time::pause();
        let pieces = [vec![b'x'; 32 << 20]];
        let read_late = async {
            tokio::time::advance(PATIENCE * 10).await;
            let mut got = vec![0; 32 << 20];
            stream.read_exact(&mut got).await.unwrap();
            got
        };
        let (sent, got) = tokio::join!(link.send(&pieces), read_late);
        assert_eq!(sent, Ok(0));
        assert!(got == pieces[0], "each byte comes once");
    }

    #[tokio::test]
    async fn a_datagram_that_is_too_long_costs_only_itself() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut link = Link::to(server(socket.local_addr().unwrap().port(), Way::Udp));
        let lost = link.send(&[b"a".to_vec(), vec![b'b'; 70_000], b"c".to_vec()]).await;
        assert_eq!(lost, Ok(1));
        let mut got = [0; 10];
        for expected in [b"a", b"c"] {
            let length = socket.recv(&mut got).await.unwrap();
            assert_eq!(got.get(..length), Some(&expected[..]));
        }
    }

    #[tokio::test]
    async fn a_datagram_that_found_nobody_keeps_no_other_from_being_sent() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        drop(socket);
        let mut link = Link::to(server(port, Way::Udp));
        link.send(&[b"lost".to_vec()]).await.unwrap();
        let Some(Open::Udp(open)) = &link.open else { panic!("it stays open") };
        open.ready(Interest::ERROR | Interest::READABLE).await.unwrap();
        let socket = UdpSocket::bind(("127.0.0.1", port)).await.unwrap();
        assert_eq!(link.send(&[b"a".to_vec()]).await, Ok(0));
        let mut got = [0; 10];
        assert_eq!(socket.recv(&mut got).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn each_piece_is_a_datagram() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut link = Link::to(server(socket.local_addr().unwrap().port(), Way::Udp));
        link.send(&[b"a".to_vec(), b"bc".to_vec()]).await.unwrap();
        let mut got = [0; 10];
        assert_eq!(socket.recv(&mut got).await.unwrap(), 1);
        assert_eq!(socket.recv(&mut got).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let error = Link::to(server(port, Way::Tcp)).send(&[b"x".to_vec()]).await.unwrap_err();
        assert!(error.starts_with(&format!("send to 127.0.0.1:{port}: ")), "{error}");
    }
}
