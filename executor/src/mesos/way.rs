//! Knows the way to the agent: its Unix socket where there is one, else TCP, with TLS when the environment says so.
use config::settings::{LibprocessTls, MesosEnvironment};
use proto::tls::{Believed, Cause, Files, NoTls, Tls, TlsError};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

const PATH: &str = "/api/v1/executor";
/// The agent is on this machine, so it answers quickly or not at all.
const CONNECT_WITHIN: Duration = Duration::from_millis(500);
const SHAKE_WITHIN: Duration = Duration::from_secs(2);
/// The address of a Unix socket has room for so many bytes, the last of which is zero.
const SOCKET_PATH_MAX: usize = 107;
/// Where systems keep the authorities that they believe, for agents that name none.
const SYSTEM_AUTHORITIES: &[&str] =
    &["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// Why TLS to the agent cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AgentTlsError {
    /// The certificate is to be verified, and nobody said by what.
    #[error(
        "the agent's certificate is to be verified, but there is no authority; set `LIBPROCESS_SSL_CA_FILE` for executors"
    )]
    NoAuthority,
    /// A directory of authorities cannot be read.
    #[error("`{}` (`LIBPROCESS_SSL_CA_DIR`) cannot be read: {why}", path.display())]
    Directory {
        /// Which one.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// A file is not what it should be.
    #[error(transparent)]
    Files(#[from] TlsError),
}

/// A byte stream both ways.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum NoWay {
    /// Nobody is there, for now.
    Away(String),
    /// Somebody is there that we cannot talk to.
    Strange(String),
}

/// How to reach the agent.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    /// `ip:port`.
    endpoint: String,
    /// The Unix socket, and the path there: on a socket, the agent answers only to its own name.
    socket: Option<(PathBuf, String)>,
    tls: Option<Tls>,
}

impl Way {
    /// The way that the agent names in the environment.
    pub(crate) fn new(environment: &MesosEnvironment) -> Result<Self, AgentTlsError> {
        let endpoint = environment.mesos_agent_endpoint.clone();
        let pid = environment.mesos_slave_pid.as_deref().unwrap_or("slave(1)@");
        let name = pid.split_once('@').map_or(pid, |(name, _)| name);
        let socket = environment.mesos_domain_socket.clone();
        let socket = socket.map(|socket| (socket, format!("/{name}{PATH}")));
        let enabled = environment.libprocess_tls.is_enabled();
        let tls = enabled.then(|| tls(&environment.libprocess_tls, &endpoint)).transpose()?;
        Ok(Self { endpoint, socket, tls })
    }

    /// What to call the agent in the `Host` header.
    pub(super) fn host(&self) -> &str {
        &self.endpoint
    }

    /// Connects; gives also the path to post to.
    pub(super) async fn open(&self) -> Result<(Box<dyn Duplex>, &str), NoWay> {
        // A container with a file system of its own does not have the socket unless it is mounted.
        if let Some((socket, path)) = &self.socket
            && socket.exists()
        {
            let connecting = timeout(CONNECT_WITHIN, connect_unix(socket)).await;
            let stream = connecting.map_err(|_| away("no answer"))?.map_err(away)?;
            return Ok((Box::new(stream), path));
        }
        let connecting = timeout(CONNECT_WITHIN, TcpStream::connect(&self.endpoint)).await;
        let stream = connecting.map_err(|_| away("no answer"))?.map_err(away)?;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let Some(tls) = &self.tls else { return Ok((Box::new(stream), PATH)) };
        let shaking = timeout(SHAKE_WITHIN, tls.connect(host(&self.endpoint), stream)).await;
        let stream = shaking.map_err(|_| away("no answer to a TLS handshake"))?;
        Ok((Box::new(stream.map_err(|error| explained(&error))?), PATH))
    }
}

fn away(error: impl ToString) -> NoWay {
    NoWay::Away(error.to_string())
}

/// Why a handshake failed, with what is usually behind it.
fn explained(error: &NoTls) -> NoWay {
    let hint = match error.cause {
        Cause::NoCommonCipher => {
            "; Mesos' default ciphers are too old: set LIBPROCESS_SSL_CIPHERS on the agents, see docs/tls.md"
        }
        Cause::CertificateWanted => {
            "; the agent wants a certificate: set LIBPROCESS_SSL_CERT_FILE and LIBPROCESS_SSL_KEY_FILE for executors"
        }
        Cause::UnknownSigner => "; LIBPROCESS_SSL_CA_FILE does not hold what signed the agent's certificate",
        Cause::NotTls => {
            "; the agent does not seem to talk TLS, but LIBPROCESS_SSL_ENABLED is set for executors"
        }
        // A connection that breaks, as when an agent ends just now.
        Cause::Other if !error.said.contains("ertificate") => return away(error),
        Cause::Other => "",
    };
    NoWay::Strange(format!("{error}{hint}"))
}

async fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    if path.as_os_str().len() <= SOCKET_PATH_MAX {
        return UnixStream::connect(path).await;
    }
    // A long path is named by the descriptor of its directory.
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from(io::ErrorKind::InvalidFilename));
    };
    let directory = File::open(parent)?;
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    UnixStream::connect(short).await
}

/// The host of `host:port`.
fn host(endpoint: &str) -> &str {
    let host = endpoint.rsplit_once(':').map_or(endpoint, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

fn tls(wanted: &LibprocessTls, endpoint: &str) -> Result<Tls, AgentTlsError> {
    let shown = wanted.libprocess_ssl_cert_file.as_deref().zip(wanted.libprocess_ssl_key_file.as_deref());
    if !wanted.verifies() {
        tracing::warn!(
            "the agent's certificate is not verified, as is Mesos' default; LIBPROCESS_SSL_VERIFY_SERVER_CERT changes it"
        );
        return Ok(Tls::read(Files { believed: Believed::Any, shown }, &[])?);
    }
    let authorities = authorities(wanted)?;
    let names = match wanted.libprocess_ssl_hostname_validation_scheme.as_str() {
        "openssl" => Vec::new(),
        _ => own_names(host(endpoint)),
    };
    Ok(Tls::read(Files { believed: Believed::SignedBy(&authorities), shown }, &names)?)
}

fn authorities(wanted: &LibprocessTls) -> Result<Vec<PathBuf>, AgentTlsError> {
    let mut found: Vec<PathBuf> = wanted.libprocess_ssl_ca_file.iter().cloned().collect();
    if let Some(dir) = &wanted.libprocess_ssl_ca_dir {
        let failed = |why: io::Error| AgentTlsError::Directory { path: dir.clone(), why: why.to_string() };
        for entry in std::fs::read_dir(dir).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.is_file() {
                found.push(path);
            }
        }
    }
    if found.is_empty() && wanted.libprocess_ssl_ca_file.is_none() && wanted.libprocess_ssl_ca_dir.is_none() {
        found.extend(SYSTEM_AUTHORITIES.iter().map(PathBuf::from).find(|path| path.is_file()));
    }
    if found.is_empty() { Err(AgentTlsError::NoAuthority) } else { Ok(found) }
}

/// The names that this machine, which is the agent's, has for itself and for the agent's address.
fn own_names(address: &str) -> Vec<String> {
    let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let mut names = named_in(&hosts, address);
    names.push(node);
    names
}

/// The names of an address in a hosts file.
fn named_in(hosts: &str, address: &str) -> Vec<String> {
    let lines = hosts.lines().map(|line| line.split('#').next().unwrap_or_default());
    lines
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some(address)).then(|| words.map(str::to_owned).collect::<Vec<_>>())
        })
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_an_address_are_found_in_the_hosts_file() {
        let hosts =
            "127.0.0.1 localhost\n# 10.0.0.7 old\n10.0.0.7\tnode-7.example node-7 # rack 2\n10.0.0.70 other";
        assert_eq!(named_in(hosts, "10.0.0.7"), ["node-7.example", "node-7"]);
        assert!(named_in(hosts, "10.0.0.8").is_empty());
        assert_eq!((host("10.0.0.7:5051"), host("[::1]:5051")), ("10.0.0.7", "::1"));
    }

    #[test]
    fn what_cannot_be_verified_is_refused_with_the_variable_to_set() {
        let wanted = LibprocessTls {
            libprocess_ssl_verify_cert: Some("1".into()),
            libprocess_ssl_ca_dir: Some(tempfile::tempdir().unwrap().path().join("none")),
            ..LibprocessTls::default()
        };
        let error = tls(&wanted, "127.0.0.1:5051").unwrap_err().to_string();
        assert!(error.contains("LIBPROCESS_SSL_CA_DIR"), "{error}");
        let empty = tempfile::tempdir().unwrap();
        let wanted = LibprocessTls { libprocess_ssl_ca_dir: Some(empty.path().into()), ..wanted };
        let error = tls(&wanted, "127.0.0.1:5051").unwrap_err().to_string();
        assert!(error.contains("LIBPROCESS_SSL_CA_FILE"), "{error}");
    }
}
