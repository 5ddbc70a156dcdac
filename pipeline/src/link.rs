//! Keeps a connection to a server that takes bytes and answers nothing: a TCP stream, plain or with TLS, or datagrams.
//!
//! What was written to a stream counts as delivered: such protocols acknowledge nothing. Before each write it is looked whether the
//! server has closed the connection, so that at most what is on its way at that moment can be lost.
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long connecting, and writing one piece, may take.
const PATIENCE: Duration = Duration::from_secs(30);

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
}

impl Link {
    pub(crate) fn to(server: Server) -> Self {
        Self { server, open: None }
    }

    /// Writes all of `pieces`, each a datagram of its own where there are datagrams. The reason of a failure is for people.
    pub(crate) async fn send(&mut self, pieces: &[Vec<u8>]) -> Result<(), String> {
        let place = format!("{}:{}", self.server.host, self.server.port);
        let sent = timeout(PATIENCE, self.try_send(pieces)).await;
        let sent = sent.unwrap_or_else(|_| Err(io::Error::new(ErrorKind::TimedOut, "it took too long")));
        if sent.is_err() {
            self.open = None;
        }
        sent.map_err(|error| format!("send to {place}: {error}"))
    }

    async fn try_send(&mut self, pieces: &[Vec<u8>]) -> io::Result<()> {
        if self.open.as_mut().is_some_and(Open::is_closed) {
            self.open = None;
        }
        let open = match &mut self.open {
            Some(open) => open,
            none => none.insert(self.server.connect().await?),
        };
        match open {
            Open::Udp(socket) => {
                for piece in pieces {
                    socket.send(piece).await?;
                }
                Ok(())
            }
            Open::Tcp(stream) => {
                stream.write_all(&pieces.concat()).await?;
                stream.flush().await
            }
            Open::Tls(stream) => {
                stream.write_all(&pieces.concat()).await?;
                stream.flush().await
            }
        }
    }
}

impl Open {
    /// Whether the other side has closed it. What it says otherwise is passed over.
    fn is_closed(&mut self) -> bool {
        let mut scratch = [0; 1024];
        let stream = match self {
            Self::Tcp(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
            Self::Udp(_) => return false,
        };
        match stream.try_read(&mut scratch) {
            Ok(read) => read == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        }
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

/// What TLS is made with; files in PEM form.
#[derive(Clone, Debug, Default)]
pub(crate) struct Certificates {
    /// The authorities to trust.
    pub(crate) authorities: Vec<PathBuf>,
    /// The certificate to show, with its key.
    pub(crate) own: Option<(PathBuf, PathBuf)>,
}

impl Certificates {
    /// The set-up of a client.
    pub(crate) fn client(&self) -> Result<Arc<ClientConfig>, String> {
        let mut roots = RootCertStore::empty();
        for path in &self.authorities {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| format!("read `{}`: {error}", path.display()))?;
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("set TLS up: {error}"))?
            .with_root_certificates(roots);
        let config = match &self.own {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let name = key.display();
                let key =
                    PrivateKeyDer::from_pem_file(key).map_err(|error| format!("read `{name}`: {error}"))?;
                config
                    .with_client_auth_cert(certificates(certificate)?, key)
                    .map_err(|error| format!("use the certificate: {error}"))?
            }
        };
        Ok(Arc::new(config))
    }
}

fn certificates(path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |error: rustls::pki_types::pem::Error| format!("read `{}`: {error}", path.display());
    let found: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(wrong)?.collect::<Result<_, _>>().map_err(wrong)?;
    if found.is_empty() {
        return Err(format!("`{}` holds no certificate in PEM form", path.display()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

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
