//! Lets others in: opens sockets, accepts connections, and shakes hands where there is TLS.
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::runtime::source::InputError;
use crate::runtime::supervise::panic_reason;
use crate::tls::subject;

/// How many connections wait to be accepted.
const BACKLOG: i32 = 1024;
/// How long to wait after the system could not accept a connection: too many files are open.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// The longest header of the PROXY protocol, and how long it may take.
const PROXY_MAX: usize = 107;
const PROXY_PATIENCE: Duration = Duration::from_secs(10);

/// A socket for datagrams.
pub(crate) fn udp(host: &str, port: u16, buffer: Option<usize>) -> Result<UdpSocket, InputError> {
    let open = |address: SocketAddr| {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if let Some(bytes) = buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        UdpSocket::from_std(socket.into())
    };
    first(host, port, open)
}

/// A socket for connections.
pub(crate) fn tcp(host: &str, port: u16) -> Result<TcpListener, InputError> {
    let open = |address: SocketAddr| {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    first(host, port, open)
}

/// Opens a socket at the first address of a host at which that is possible.
fn first<T>(host: &str, port: u16, open: impl Fn(SocketAddr) -> std::io::Result<T>) -> Result<T, InputError> {
    use std::net::ToSocketAddrs;
    let wrong = |error: std::io::Error| InputError(format!("listen on {host}:{port}: {error}"));
    let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the host has no address");
    for address in (host, port).to_socket_addrs().map_err(wrong)? {
        match open(address) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(wrong(last))
}

/// Bytes in both directions.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// One who connected.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<TlsPeer>,
}

impl Peer {
    /// Its address; that of an IPv4 host is never written as IPv6.
    pub(crate) fn ip(&self) -> IpAddr {
        self.address.ip().to_canonical()
    }
}

/// What was agreed by TLS.
#[derive(Clone, Debug)]
pub(crate) struct TlsPeer {
    /// The subject of the certificate that was shown.
    pub(crate) subject: Option<String>,
    /// `TLSv1.3`
    pub(crate) protocol: String,
    pub(crate) suite: String,
}

/// Where others connect.
pub(crate) struct Door {
    pub(crate) listener: TcpListener,
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// How long shaking hands may take.
    pub(crate) handshake: Duration,
    pub(crate) keep_alive: bool,
    /// How many connections there may be; further ones wait.
    pub(crate) most: usize,
}

impl Door {
    /// Serves each connection by `serve`, which ends by itself at the stop. One that fails does not disturb the others.
    pub(crate) async fn serve<F: Future<Output = ()> + Send + 'static>(
        self,
        stop: &CancellationToken,
        serve: impl Fn(Box<dyn Stream>, Peer) -> F + Clone + Send + 'static,
    ) {
        let room = Arc::new(Semaphore::new(self.most));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = accept(&self.listener, room.clone()) => accepted,
                Some(ended) = connections.join_next() => {
                    told(ended);
                    continue;
                }
                () = stop.cancelled() => break,
            };
            let Some((stream, address, place)) = accepted else { continue };
            let (serve, tls, handshake) = (serve.clone(), self.tls.clone(), self.handshake);
            if self.keep_alive
                && let Err(error) = SockRef::from(&stream).set_keepalive(true)
            {
                debug!(%error, "keep a connection alive");
            }
            connections.spawn(async move {
                let _place = place;
                match secured(stream, address, tls, handshake).await {
                    Ok((stream, peer)) => serve(stream, peer).await,
                    Err(reason) => warn!(from = %address, reason, "a connection was refused"),
                }
            });
        }
        // Somebody else may take its place while the last connections end.
        drop(self.listener);
        while let Some(ended) = connections.join_next().await {
            told(ended);
        }
    }
}

fn told(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        warn!(reason = panic_reason(error), "a connection ended by itself");
    }
}

type Accepted = (TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit);

async fn accept(listener: &TcpListener, room: Arc<Semaphore>) -> Option<Accepted> {
    let place = room.acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, address)) => Some((stream, address, place)),
        Err(error) => {
            warn!(%error, "accept a connection");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn secured(
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    patience: Duration,
) -> Result<(Box<dyn Stream>, Peer), String> {
    let Some(config) = tls else { return Ok((Box::new(stream), Peer { address, tls: None })) };
    let shaken = timeout(patience, TlsAcceptor::from(config).accept(stream)).await;
    let stream = shaken
        .map_err(|_| "shaking hands took too long".to_owned())?
        .map_err(|error| format!("shake hands: {error}"))?;
    let agreed = stream.get_ref().1;
    let shown = agreed.peer_certificates().and_then(<[_]>::first);
    let protocol = agreed.protocol_version().map_or_else(String::new, |version| format!("{version:?}"));
    let suite = agreed.negotiated_cipher_suite().map_or_else(String::new, |s| format!("{:?}", s.suite()));
    let tls = TlsPeer {
        subject: shown.and_then(subject),
        protocol: protocol.replace("TLSv1_", "TLSv1."),
        suite: suite.replace("TLS13_", "TLS_"),
    };
    debug!(from = %address, protocol = tls.protocol, suite = tls.suite, "a connection has TLS");
    Ok((Box::new(stream), Peer { address, tls: Some(tls) }))
}

/// Who is behind a proxy, by the first version of the PROXY protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proxied {
    pub(crate) client: String,
    pub(crate) client_port: String,
    pub(crate) proxy: String,
    pub(crate) proxy_port: String,
}

/// Reads the header of the PROXY protocol, and not a byte more. The reason of a failure is for people.
pub(crate) async fn proxied(stream: &mut Box<dyn Stream>) -> Result<Proxied, String> {
    let read = timeout(PROXY_PATIENCE, proxy_line(stream)).await;
    header(&read.map_err(|_| "the header of the PROXY protocol took too long".to_owned())??)
}

async fn proxy_line(stream: &mut Box<dyn Stream>) -> Result<String, String> {
    let mut line = Vec::with_capacity(PROXY_MAX);
    while !line.ends_with(b"\r\n") {
        if line.len() >= PROXY_MAX {
            return Err("the header of the PROXY protocol does not end".to_owned());
        }
        let byte = stream.read_u8().await.map_err(|error| format!("read the PROXY header: {error}"))?;
        line.push(byte);
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

fn header(line: &str) -> Result<Proxied, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["PROXY", _, client, proxy, client_port, proxy_port, ..] => Ok(Proxied {
            client: (*client).to_owned(),
            client_port: (*client_port).to_owned(),
            proxy: (*proxy).to_owned(),
            proxy_port: (*proxy_port).to_owned(),
        }),
        _ => Err("the connection does not begin with a header of the PROXY protocol, version 1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_proxy_tells_who_is_behind_it() {
        let proxied = header("PROXY TCP4 1.2.3.4 5.6.7.8 1234 5678\r\n").unwrap();
        assert_eq!((proxied.client.as_str(), proxied.client_port.as_str()), ("1.2.3.4", "1234"));
        assert_eq!((proxied.proxy.as_str(), proxied.proxy_port.as_str()), ("5.6.7.8", "5678"));
        assert!(header("GET / HTTP/1.1\r\n").is_err());
        assert!(header("PROXY UNKNOWN\r\n").is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_does_not_say_who_is_behind_it_is_not_waited_for_without_end() {
        let (silent, _other) = tokio::io::duplex(64);
        let mut silent: Box<dyn Stream> = Box::new(silent);
        assert!(proxied(&mut silent).await.unwrap_err().contains("took too long"));
    }

    proptest! {
        #[test]
        fn any_line_is_a_header_or_an_error(line in "(PROXY )?.{0,60}") {
            let _either = header(&line);
        }
    }
}
