//! Receives streams over TCP, from those who connect or from a server.
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::ecs::Ecs;
use crate::field::FieldRef;
use crate::host_names;
use crate::lang::kinds::Placed;
use crate::lang::problems::Problems;
use crate::listening::{self, Door, Peer, Proxied, Stream, TlsPeer, proxied};
use crate::plugins::InputOptions;
use crate::runtime::cutter::Cutter;
use crate::runtime::source::{Input, InputError, Intake, Source};
use crate::spec::{plugin, words};
use crate::tls::{ClientAuthentication, Protocol, Tls, Verification};
use crate::value::Value;

plugin! {
    /// Receives lines, or what the codec makes of a stream, over TCP.
    ///
    /// ```
    /// input {
    ///   tcp {
    ///     port => 5000
    ///     codec => json_lines
    ///     ssl_enabled => true
    ///     ssl_certificate => "/etc/logherd/tls.crt"
    ///     ssl_key => "/etc/logherd/tls.key"
    ///     ssl_client_authentication => none
    ///   }
    /// }
    /// ```
    ///
    /// Each event has the fields `host` and `port` of the other side, and its address in `[@metadata][ip_address]`. While the
    /// pipeline is full nothing is read, so that the other side waits. A line may have up to 1 MiB; a longer one becomes several
    /// events. The protocol acknowledges nothing: what was read and not delivered when the process dies is lost.
    input "tcp" => pub(crate) struct TcpOptions {
        /// The address to listen on, or the server to connect to.
        host: String = "0.0.0.0",
        /// The port to listen on, or to connect to.
        port: u16,
        /// Whether to listen or to connect. A client connects again when the connection ends.
        mode: Mode = "server",
        /// Whether each connection begins with a header of the PROXY protocol, version 1. The fields are then those of the one
        /// behind the proxy, and `proxy_host` and `proxy_port` are where the proxy was reached.
        proxy_protocol: bool = false,
        /// Whether there is TLS.
        ssl_enabled: Placed<bool> = false,
        /// The file with the certificate to show, in PEM form; with those who signed it after it.
        ssl_certificate: Option<String>,
        /// The file with its key, in PEM form and not encrypted.
        ssl_key: Option<String>,
        /// Files with further certificates to show.
        ssl_extra_chain_certs: Vec<String> = [],
        /// Files with the authorities to trust. A client trusts those of the system when it is left out.
        ssl_certificate_authorities: Vec<String> = [],
        /// Whether those who connect have to show a certificate: `required`, unless there are no `ssl_certificate_authorities`.
        ssl_client_authentication: Option<Placed<ClientAuthentication>>,
        /// How a client checks the certificate of the server.
        ssl_verification_mode: Option<Placed<Verification>>,
        /// The versions of TLS to use; 1.2 and 1.3 when left out.
        ssl_supported_protocols: Vec<Protocol> = [],
        /// The cipher suites to use; all safe ones when left out.
        ssl_cipher_suites: Vec<String> = [],
        /// How long shaking hands may take.
        ssl_handshake_timeout: Duration = "10 seconds",
        /// Whether the system looks from time to time if the other side is still there.
        tcp_keep_alive: bool = false,
        /// Whether the name of the other side is looked up, for the field `host`.
        dns_reverse_lookup_enabled: bool = true,
        /// How many may be connected; further ones wait.
        max_connections: usize = 4096,
        /// With `v1` or `v8` the fields are those under `[@metadata][input][tcp]`.
        ecs_compatibility: Ecs = "disabled",
    }
    unsupported {
        "ssl_enable" => "use `ssl_enabled`",
        "ssl_verify" => "use `ssl_client_authentication`, or `ssl_verification_mode` for a client",
        "ssl_cert" => "use `ssl_certificate`",
        "ssl_key_passphrase" => "write the key without encryption: `openssl pkey -in old.key -out new.key`",
        "data_timeout" => "remove it: a connection may be silent as long as it wants",
    }
    validate = check
}

words! {
    /// Who connects.
    pub(crate) enum Mode {
        /// The others.
        Server = "server",
        /// This input.
        Client = "client",
    }
}

fn check(options: &TcpOptions, problems: &mut Problems) {
    let span = options.ssl_enabled.span;
    match (&options.ssl_certificate, &options.ssl_key) {
        (Some(_), None) => {
            problems.error(span, "there is a certificate without its key").hint("add `ssl_key => \"/…\"`");
        }
        (None, Some(_)) => {
            problems
                .error(span, "there is a key without its certificate")
                .hint("add `ssl_certificate => \"/…\"`");
        }
        (None, None) if options.ssl_enabled.value && options.mode == Mode::Server => {
            problems
                .error(span, "TLS needs a certificate")
                .hint("add `ssl_certificate => \"/…\"` and `ssl_key => \"/…\"`");
        }
        _ => {}
    }
    match (options.mode, &options.ssl_client_authentication, &options.ssl_verification_mode) {
        (Mode::Client, Some(given), _) => {
            problems
                .error(given.span, "nobody connects to a client")
                .hint("use `ssl_verification_mode` for how it checks the server");
        }
        (Mode::Server, _, Some(given)) => {
            problems
                .error(given.span, "a server checks no server")
                .hint("use `ssl_client_authentication` for those who connect");
        }
        (Mode::Server, Some(given), _)
            if given.value != ClientAuthentication::None
                && options.ssl_certificate_authorities.is_empty() =>
        {
            problems
                .error(given.span, "there is nobody to trust")
                .hint("add `ssl_certificate_authorities => [\"/…\"]`");
        }
        _ => {}
    }
}

impl InputOptions for TcpOptions {
    fn build(&self) -> Result<Box<dyn Input>, String> {
        let own = self.ssl_certificate.as_ref().zip(self.ssl_key.as_ref());
        let paths = |names: &[String]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        let tls = Tls {
            own: own.map(|(certificate, key)| (certificate.into(), key.into())),
            chain: paths(&self.ssl_extra_chain_certs),
            authorities: paths(&self.ssl_certificate_authorities),
            protocols: self.ssl_supported_protocols.clone(),
            suites: self.ssl_cipher_suites.clone(),
        };
        let enabled = self.ssl_enabled.value;
        let names = Arc::new(Names::new(self));
        if self.mode == Mode::Client {
            let verification =
                self.ssl_verification_mode.as_ref().map_or(Verification::Full, |mode| mode.value);
            let tls = if enabled { Some(tls.client(verification)?) } else { None };
            return Ok(Box::new(Client { host: self.host.clone(), port: self.port, tls, names }));
        }
        let clients = match &self.ssl_client_authentication {
            Some(given) => given.value,
            None if tls.authorities.is_empty() => ClientAuthentication::None,
            None => ClientAuthentication::Required,
        };
        let tls = if enabled { Some(tls.server(clients)?) } else { None };
        Ok(Box::new(Server { options: self.clone(), tls, names }))
    }
}

/// What the fields of events are called.
struct Names {
    host: FieldRef,
    ip: FieldRef,
    port: FieldRef,
    proxy_host: FieldRef,
    proxy_port: FieldRef,
    subject: FieldRef,
    proxied: bool,
    look_up: bool,
}

impl Names {
    fn new(options: &TcpOptions) -> Self {
        let name = |old: FieldRef, ecs: &[&str]| {
            let ecs = [&["@metadata", "input", "tcp"], ecs].concat();
            options.ecs_compatibility.choose(old, FieldRef::from_names(&ecs))
        };
        Self {
            host: name(FieldRef::top("host"), &["source", "name"]),
            ip: name(FieldRef::from_names(&["@metadata", "ip_address"]), &["source", "ip"]),
            port: name(FieldRef::top("port"), &["source", "port"]),
            proxy_host: name(FieldRef::top("proxy_host"), &["proxy", "ip"]),
            proxy_port: name(FieldRef::top("proxy_port"), &["proxy", "port"]),
            subject: name(FieldRef::top("sslsubject"), &["tls", "client", "subject"]),
            proxied: options.proxy_protocol,
            look_up: options.dns_reverse_lookup_enabled,
        }
    }

    /// The source that a connection is.
    async fn source(&self, peer: &Peer, behind: Option<Proxied>, intake: &Intake) -> Arc<Source> {
        let text = |field: &FieldRef, text: String| (field.clone(), Value::from(text));
        let mut fields = match behind {
            None => {
                let (ip, port) = (peer.ip(), Value::Int(peer.address.port().into()));
                let host = self.name_of(ip).await;
                vec![text(&self.host, host), text(&self.ip, ip.to_string()), (self.port.clone(), port)]
            }
            Some(behind) => {
                let host = match behind.client.parse() {
                    Ok(ip) => self.name_of(ip).await,
                    Err(_) => behind.client.clone(),
                };
                vec![
                    text(&self.host, host),
                    text(&self.ip, behind.client),
                    text(&self.port, behind.client_port),
                    text(&self.proxy_host, behind.proxy),
                    text(&self.proxy_port, behind.proxy_port),
                ]
            }
        };
        if let Some(TlsPeer { subject: Some(subject), .. }) = &peer.tls {
            fields.push(text(&self.subject, subject.clone()));
        }
        intake.fleeting(fields)
    }

    /// The name of a host, or its address.
    async fn name_of(&self, ip: IpAddr) -> String {
        let name = if self.look_up { host_names::name_of(ip).await } else { None };
        name.unwrap_or_else(|| ip.to_string())
    }
}

/// How much is read at once.
pub(super) const READ_BYTES: usize = 64 << 10;

/// Waits for others to connect.
struct Server {
    options: TcpOptions,
    tls: Option<Arc<rustls::ServerConfig>>,
    names: Arc<Names>,
}

impl Input for Server {
    fn run(self: Box<Self>, intake: Intake) -> BoxFuture<'static, Result<(), InputError>> {
        Box::pin(async move {
            let door = Door {
                listener: listening::tcp(&self.options.host, self.options.port)?,
                tls: self.tls,
                handshake: self.options.ssl_handshake_timeout,
                keep_alive: self.options.tcp_keep_alive,
                most: self.options.max_connections,
            };
            let (intake, names) = (Arc::new(intake), self.names);
            let stop = intake.stop.clone();
            let serve = move |stream, peer: Peer| {
                let (intake, names) = (intake.clone(), names.clone());
                async move {
                    let address = peer.address;
                    if let Err(reason) = receive(stream, peer, &names, &intake).await {
                        warn!(from = %address, reason, "a connection was closed");
                    }
                }
            };
            door.serve(&stop, serve).await;
            Ok(())
        })
    }
}

/// Receives all of a connection. The reason of a failure is for people.
async fn receive(
    mut stream: Box<dyn Stream>,
    peer: Peer,
    names: &Names,
    intake: &Intake,
) -> Result<(), String> {
    let behind = match names.proxied {
        false => None,
        true => Some(tokio::select! {
            proxied = proxied(&mut stream) => proxied?,
            () = intake.stop.cancelled() => return Ok(()),
        }),
    };
    let source = names.source(&peer, behind, intake).await;
    stream_to(stream, &source, None, intake).await
}

/// How long a connection may be silent, if not for ever.
pub(super) type Idle = Option<Duration>;

/// Waits as long as a connection may be silent.
async fn silence(idle: Idle) {
    match idle {
        Some(patience) => tokio::time::sleep(patience).await,
        None => std::future::pending().await,
    }
}

/// Sends on what comes, until the end, or the stop. The reason of a failure is for people.
pub(super) async fn stream_to(
    mut stream: Box<dyn Stream>,
    source: &Arc<Source>,
    idle: Idle,
    intake: &Intake,
) -> Result<(), String> {
    let mut messages = Cutter::new(&intake.framing, 0);
    let mut buffer = vec![0; READ_BYTES];
    let mut end = 0;
    let ended = loop {
        let read = tokio::select! {
            read = stream.read(&mut buffer) => read,
            () = silence(idle) => break Err("it was silent for too long".to_owned()),
            () = intake.stop.cancelled() => break Ok(()),
        };
        let chunk = match read {
            Ok(0) => break Ok(()),
            Ok(length) => buffer.get(..length).unwrap_or_default(),
            Err(error) => break Err(format!("read: {error}")),
        };
        end += chunk.len() as u64;
        let mut cuts = Vec::new();
        let cut = messages.push(chunk, end, &mut cuts);
        // What was read cannot be read again: it goes out even when the pipeline is stopped.
        intake.send_last(source, cuts).await;
        if let Err(error) = cut {
            break Err(format!("read: {error}"));
        }
    };
    intake.send_last(source, messages.finish()).await;
    ended
}

/// Connects to a server, again and again.
struct Client {
    host: String,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
    names: Arc<Names>,
}

/// How long to wait before connecting again.
const CONNECT_PAUSE: Duration = Duration::from_secs(1);
/// How long connecting may take.
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);

impl Input for Client {
    fn run(self: Box<Self>, intake: Intake) -> BoxFuture<'static, Result<(), InputError>> {
        Box::pin(async move {
            let place = format!("{}:{}", self.host, self.port);
            while !intake.stop.is_cancelled() {
                let received = match self.connect(&intake.stop).await {
                    Ok(None) => break,
                    Ok(Some((stream, peer))) => {
                        intake.health.works(&intake.id);
                        debug!(server = place, "connected");
                        receive(stream, peer, &self.names, &intake).await
                    }
                    Err(reason) => Err(reason),
                };
                if let Err(reason) = received {
                    warn!(server = place, reason, "the connection is made anew");
                    intake.health.trouble(&intake.id, reason);
                }
                if intake.pause(CONNECT_PAUSE).await.is_err() {
                    break;
                }
            }
            Ok(())
        })
    }
}

impl Client {
    /// A connection; `None` at the stop.
    async fn connect(&self, stop: &CancellationToken) -> Result<Option<(Box<dyn Stream>, Peer)>, String> {
        tokio::select! {
            made = tokio::time::timeout(CONNECT_PATIENCE, self.try_connect()) => {
                made.unwrap_or_else(|_| Err("connecting took too long".to_owned())).map(Some)
            }
            () = stop.cancelled() => Ok(None),
        }
    }

    async fn try_connect(&self) -> Result<(Box<dyn Stream>, Peer), String> {
        let wrong = |error: std::io::Error| format!("connect to {}:{}: {error}", self.host, self.port);
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(wrong)?;
        let peer = Peer { address: stream.peer_addr().map_err(wrong)?, tls: None };
        let Some(config) = &self.tls else { return Ok((Box::new(stream), peer)) };
        let name = ServerName::try_from(self.host.clone()).map_err(|error| error.to_string())?;
        let stream = TlsConnector::from(config.clone()).connect(name, stream).await.map_err(wrong)?;
        Ok((Box::new(stream), peer))
    }
}

#[cfg(test)]
mod tests;
