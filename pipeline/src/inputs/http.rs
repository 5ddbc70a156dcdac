//! Receives events as bodies of HTTP requests.
mod names;
mod room;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use names::{Names, headers_of};
use room::{Bodies, Body, Waits};

use crate::codec::{Charset, Decode, decode_at_most, to_text};
use crate::ecs::Ecs;
use crate::event::Event;
use crate::field::FieldRef;
use crate::lang::kinds::{ByteSize, CodecCall, Hash, Password, Placed};
use crate::lang::problems::Problems;
use crate::listening::{self, Door, Peer, Stream};
use crate::plugins::{InputOptions, build_codec};
use crate::runtime::delivery::{self, Counter};
use crate::runtime::source::{Input, InputError, Intake};
use crate::spec::plugin;
use crate::tls::{ClientAuthentication, Protocol, Tls};
use crate::unpack::{Packing, unpack};
use crate::value::Map;

plugin! {
    /// Receives events as bodies of HTTP requests of any method, at any path.
    ///
    /// ```
    /// input {
    ///   http {
    ///     port => 8080
    ///     user => "shipper"
    ///     password => "${HTTP_PASSWORD}"
    ///     additional_codecs => { "application/json" => "json" "text/csv" => "csv" }
    ///   }
    /// }
    /// ```
    ///
    /// A request is answered when every output has its events, so that whoever got an answer need not send again. What is sent
    /// while too many requests wait, while the bodies that are read have several hundred MiB together, or while the pipeline has
    /// taken nothing for 10 seconds, is answered with 429: send it later. A body that comes with less than 64 KiB in 30 seconds is
    /// answered with 408, one of more than 100,000 events with 413.
    /// Bodies may be compressed (`Content-Encoding: gzip` or `deflate`). Each event has the fields `host`, the sender's address, and
    /// `headers`, with `request_method`, `request_path` and `http_version` among them.
    input "http" => pub(crate) struct HttpOptions {
        /// The address to listen on. `0.0.0.0` is reachable from everywhere.
        host: String = "0.0.0.0",
        /// The port to listen on.
        port: u16 = 8080,
        /// The name that those who send have to give, with `password`.
        user: Option<Placed<String>>,
        /// The password that those who send have to give.
        password: Option<Placed<Password>>,
        /// Codecs for types of bodies (`Content-Type`); other bodies are left to `codec`, which is `plain` when left out.
        additional_codecs: Hash<CodecCall> = ["application/json", "json", "application/x-ndjson", "json_lines"],
        /// The status of an answer when all is well: 200, 201, 202 or 204.
        response_code: Placed<u16> = 200,
        /// Headers of answers.
        response_headers: Hash<Placed<String>> = ["Content-Type", "text/plain"],
        /// The field for the sender's address: `host`, or `[host][ip]` with `ecs_compatibility => v1`, when left out.
        remote_host_target_field: Option<FieldRef>,
        /// The field for the headers: `headers`, or `[@metadata][input][http][request][headers]` with `ecs_compatibility => v1`,
        /// when left out.
        request_headers_target_field: Option<FieldRef>,
        /// The longest body, unpacked.
        max_content_length: ByteSize = "100 MiB",
        /// How many requests may wait for the pipeline; further ones are answered with 429.
        max_pending_requests: usize = 200,
        /// How many may be connected; further ones wait.
        max_connections: usize = 4096,
        /// Whether there is TLS.
        ssl_enabled: Placed<bool> = false,
        /// The file with the certificate to show, in PEM form; with those who signed it after it.
        ssl_certificate: Option<String>,
        /// The file with its key, in PEM form and not encrypted.
        ssl_key: Option<String>,
        /// Files with the authorities to trust.
        ssl_certificate_authorities: Vec<String> = [],
        /// Whether those who connect have to show a certificate.
        ssl_client_authentication: Placed<ClientAuthentication> = "none",
        /// The versions of TLS to use.
        ssl_supported_protocols: Vec<Protocol> = ["TLSv1.2", "TLSv1.3"],
        /// The cipher suites to use; all safe ones when left out.
        ssl_cipher_suites: Vec<String> = [],
        /// How many milliseconds shaking hands may take.
        ssl_handshake_timeout: u64 = 10000,
        /// With `v1` or `v8` the fields are those of the Elastic Common Schema: `[http][method]`, `[url][path]` and so on.
        ecs_compatibility: Ecs = "disabled",
    }
    accepted {
        "threads" => "each connection has a task of its own",
    }
    unsupported {
        "ssl" => "use `ssl_enabled`",
        "ssl_verify_mode" => "use `ssl_client_authentication`",
        "verify_mode" => "use `ssl_client_authentication`",
        "cipher_suites" => "use `ssl_cipher_suites`",
        "tls_min_version" => "use `ssl_supported_protocols`",
        "tls_max_version" => "use `ssl_supported_protocols`",
        "keystore" => "write certificate and key as PEM files: `ssl_certificate` and `ssl_key`",
        "keystore_password" => "write certificate and key as PEM files: `ssl_certificate` and `ssl_key`",
        "ssl_keystore_path" => "write certificate and key as PEM files: `ssl_certificate` and `ssl_key`",
        "ssl_keystore_password" => "write certificate and key as PEM files: `ssl_certificate` and `ssl_key`",
        "ssl_keystore_type" => "write certificate and key as PEM files: `ssl_certificate` and `ssl_key`",
        "ssl_truststore_path" => "write the authorities as PEM files: `ssl_certificate_authorities`",
        "ssl_truststore_password" => "write the authorities as PEM files: `ssl_certificate_authorities`",
        "ssl_truststore_type" => "write the authorities as PEM files: `ssl_certificate_authorities`",
        "ssl_key_passphrase" => "write the key without encryption: `openssl pkey -in old.key -out new.key`",
    }
    validate = check
}

fn check(options: &HttpOptions, problems: &mut Problems) {
    if ![200, 201, 202, 204].contains(&options.response_code.value) {
        problems
            .error(options.response_code.span, "no status that says that all is well")
            .hint("write 200, 201, 202 or 204");
    }
    for (name, value) in &options.response_headers.0 {
        if HeaderName::try_from(name.as_str()).is_err() || HeaderValue::try_from(value.as_str()).is_err() {
            problems.error(value.span, format!("`{name}` is no header with such a value"));
        }
    }
    let span = options.ssl_enabled.span;
    if options.ssl_enabled.value && (options.ssl_certificate.is_none() || options.ssl_key.is_none()) {
        problems
            .error(span, "TLS needs a certificate and its key")
            .hint("add `ssl_certificate => \"/…\"` and `ssl_key => \"/…\"`");
    }
    let clients = &options.ssl_client_authentication;
    if clients.value != ClientAuthentication::None && options.ssl_certificate_authorities.is_empty() {
        problems
            .error(clients.span, "there is nobody to trust")
            .hint("add `ssl_certificate_authorities => [\"/…\"]`");
    }
    let alone = match (&options.user, &options.password) {
        (Some(user), None) => Some((user.span, "`user`", "`password`")),
        (None, Some(password)) => Some((password.span, "`password`", "`user`")),
        _ => None,
    };
    if let Some((span, given, missing)) = alone {
        // Nobody would be asked for either.
        problems.error(span, format!("{given} is given without {missing}")).hint(format!("add {missing}"));
    }
}

impl InputOptions for HttpOptions {
    fn build(&self) -> Result<Box<dyn Input>, String> {
        let own = self.ssl_certificate.as_ref().zip(self.ssl_key.as_ref());
        let tls = Tls {
            own: own.map(|(certificate, key)| (certificate.into(), key.into())),
            chain: Vec::new(),
            authorities: self.ssl_certificate_authorities.iter().map(PathBuf::from).collect(),
            protocols: self.ssl_supported_protocols.clone(),
            suites: self.ssl_cipher_suites.clone(),
        };
        let clients = self.ssl_client_authentication.value;
        let tls = if self.ssl_enabled.value { Some(tls.server(clients)?) } else { None };
        let mut codecs = BTreeMap::new();
        for (kind, codec) in &self.additional_codecs.0 {
            let name = codec.0.spec.name;
            let decode =
                build_codec(&codec.0)?.decode.ok_or_else(|| format!("the codec `{name}` can only write"))?;
            codecs.insert(kind.to_ascii_lowercase(), decode);
        }
        Ok(Box::new(Http { options: self.clone(), tls, codecs }))
    }
}

struct Http {
    options: HttpOptions,
    tls: Option<Arc<rustls::ServerConfig>>,
    codecs: BTreeMap<String, Arc<dyn Decode>>,
}

/// How long the pipeline may take nothing before requests are refused.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the head of a request may take, and how long so much of a body.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);
const BODY_PATIENCE: Duration = Duration::from_secs(30);
const BODY_STEP: usize = 64 << 10;
/// How long the answers to the last requests may take after a stop.
const LAST_ANSWER: Duration = Duration::from_secs(1);
/// The most events of a request, and the most headers that they have together beside those that they share.
const EVENTS_MAX: usize = 100_000;
const HEADERS_MAX: usize = 1_000_000;

impl Input for Http {
    fn run(self: Box<Self>, intake: Intake) -> BoxFuture<'static, Result<(), InputError>> {
        Box::pin(async move {
            let Self { options, tls, codecs } = *self;
            let door = Door {
                listener: listening::tcp(&options.host, options.port)?,
                tls,
                handshake: Duration::from_millis(options.ssl_handshake_timeout),
                keep_alive: true,
                most: options.max_connections,
            };
            let (counter, lots) = delivery::counter(1);
            let stop = intake.stop.clone();
            let site = Arc::new(Site {
                room: Semaphore::new(options.max_pending_requests.max(1)),
                bodies: Bodies::new(longest(&options)),
                waits: Waits::default(),
                stop: stop.clone(),
                names: Names::new(&options),
                token: token(&options),
                codec: intake.decode.clone(),
                codecs,
                counter,
                options,
            });
            let serve = move |stream, peer: Peer| connection(stream, peer, site.clone());
            tokio::join!(door.serve(&stop, serve), delivery::work(lots, &intake, Vec::new(), false));
            Ok(())
        })
    }
}

/// What `Authorization` has to be.
fn token(options: &HttpOptions) -> Option<String> {
    let (user, password) = options.user.as_ref().zip(options.password.as_ref())?;
    Some(format!("Basic {}", STANDARD.encode(format!("{}:{}", user.value, password.value.reveal()))))
}

/// What all connections have together.
struct Site {
    options: HttpOptions,
    names: Names,
    token: Option<String>,
    codec: Arc<dyn Decode>,
    codecs: BTreeMap<String, Arc<dyn Decode>>,
    counter: Counter,
    /// Places for requests that wait.
    room: Semaphore,
    bodies: Bodies,
    waits: Waits,
    stop: CancellationToken,
}

fn longest(options: &HttpOptions) -> usize {
    usize::try_from(options.max_content_length.0).unwrap_or(usize::MAX)
}

async fn connection(stream: Box<dyn Stream>, peer: Peer, site: Arc<Site>) {
    let (from, stop) = (peer.address, site.stop.clone());
    // Held by each request while it is worked on.
    let in_work = Arc::new(());
    let counted = in_work.clone();
    let service = service_fn(move |request| {
        let (site, from, counted) = (site.clone(), peer.ip().to_string(), counted.clone());
        async move {
            let _counted = counted;
            Ok::<_, Infallible>(site.answer(request, from).await)
        }
    });
    let mut serving = std::pin::pin!(
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_PATIENCE)
            .serve_connection(TokioIo::new(stream), service)
    );
    let served = tokio::select! {
        served = serving.as_mut() => served,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            loop {
                tokio::select! {
                    served = serving.as_mut() => break served,
                    // Whoever has sent half a head, or does not take its answer, is not waited for.
                    () = tokio::time::sleep(LAST_ANSWER) => if Arc::strong_count(&in_work) <= 2 { return },
                }
            }
        }
    };
    if let Err(error) = served {
        debug!(%from, %error, "a connection was closed");
    }
}

/// Why a request is refused.
enum Refusal {
    NoToken,
    WrongToken,
    Busy,
    TooLong,
    TooSlow,
    Unreadable(String),
    Over,
}

impl Site {
    async fn answer(&self, request: Request<Incoming>, from: String) -> Response<Full<Bytes>> {
        match self.take(request, from).await {
            Ok(()) => self.well(),
            Err(refusal) => refusal.answer(),
        }
    }

    fn well(&self) -> Response<Full<Bytes>> {
        let code = StatusCode::from_u16(self.options.response_code.value).unwrap_or(StatusCode::OK);
        let body = if code == StatusCode::NO_CONTENT { "" } else { "ok" };
        let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
        *response.status_mut() = code;
        for (name, value) in &self.options.response_headers.0 {
            let name = HeaderName::try_from(name.as_str());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value.as_str())) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }

    async fn take(&self, request: Request<Incoming>, from: String) -> Result<(), Refusal> {
        let given = request.headers().get(AUTHORIZATION);
        match (&self.token, given) {
            (None, _) => {}
            (Some(_), None) => return Err(Refusal::NoToken),
            (Some(token), Some(given)) if given.as_bytes() == token.as_bytes() => {}
            (Some(_), Some(_)) => return Err(Refusal::WrongToken),
        }
        if self.room.available_permits() == 0 || self.waits.is_too_long() {
            return Err(Refusal::Busy);
        }
        let (head, incoming) = request.into_parts();
        let body = tokio::select! {
            body = self.body(&head, incoming) => body?,
            // Whoever has not sent all of it by now is not waited for.
            () = self.stop.cancelled() => return Err(Refusal::Over),
        };
        let Ok(_place) = self.room.try_acquire() else { return Err(Refusal::Busy) };
        self.deliver(&head, body, &from).await
    }

    /// Reads a body, and unpacks it.
    async fn body(&self, head: &Parts, mut incoming: Incoming) -> Result<Body<'_>, Refusal> {
        let longest = longest(&self.options);
        if incoming.size_hint().lower() > longest as u64 {
            return Err(Refusal::TooLong);
        }
        let mut body = self.bodies.begin();
        let (mut due, mut due_at) = (Instant::now() + BODY_PATIENCE, BODY_STEP);
        let mut bytes = Vec::new();
        loop {
            let frame = timeout_at(due, incoming.frame()).await.map_err(|_| Refusal::TooSlow)?;
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|error| Refusal::Unreadable(error.to_string()))?;
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len() + data.len() > longest {
                return Err(Refusal::TooLong);
            }
            body.grow(data.len())?;
            bytes.extend_from_slice(&data);
            if bytes.len() >= due_at {
                (due, due_at) = (Instant::now() + BODY_PATIENCE, bytes.len() + BODY_STEP);
            }
        }
        let encoding =
            head.headers.get(hyper::header::CONTENT_ENCODING).and_then(|value| value.to_str().ok());
        if let Some(packing) = Packing::named(encoding.unwrap_or("identity")) {
            bytes = unpack(&bytes, packing, longest).map_err(|error| {
                if error.is_limit() { Refusal::TooLong } else { Refusal::Unreadable(error.to_string()) }
            })?;
            body.grow(bytes.len())?;
        }
        body.bytes = bytes.into();
        Ok(body)
    }

    fn decoded(&self, headers: &HeaderMap, body: Bytes) -> Result<Vec<Event>, Refusal> {
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let (kind, parameters) = kind.split_once(';').unwrap_or((kind, ""));
        let codec = self.codecs.get(&kind.trim().to_ascii_lowercase()).unwrap_or(&self.codec);
        let charset = parameters.split(';').find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"').to_owned())
        });
        let body = match charset.and_then(|name| Charset::named(&name)) {
            None | Some(Charset::Utf8) => body,
            Some(other) => Bytes::copy_from_slice(to_text(body, other).as_bytes()),
        };
        decode_at_most(EVENTS_MAX, codec.as_ref(), &Map::new(), body).ok_or(Refusal::TooLong)
    }

    /// Sends the events of a body on, and waits until they have arrived.
    async fn deliver(&self, head: &Parts, body: Body<'_>, from: &str) -> Result<(), Refusal> {
        // There are events only when there is room for them.
        let waits = self.waits.begin();
        let place = self.counter.place().await.map_err(|_| Refusal::Over)?;
        drop(waits);
        let size = body.bytes.len();
        let mut events = self.decoded(&head.headers, body.bytes)?;
        drop(body.held);
        let headers = headers_of(head).into_shared();
        if events.len().saturating_mul(headers.own_len()) > HEADERS_MAX {
            return Err(Refusal::TooLong);
        }
        events.iter_mut().for_each(|event| self.names.set(event, &headers, from));
        place.put(events, size).await.map_err(|_| Refusal::Over)
    }
}

impl Refusal {
    fn answer(self) -> Response<Full<Bytes>> {
        let (status, reason) = match self {
            Self::NoToken | Self::WrongToken => (StatusCode::UNAUTHORIZED, String::new()),
            Self::Busy => (StatusCode::TOO_MANY_REQUESTS, String::new()),
            Self::TooLong => (StatusCode::PAYLOAD_TOO_LARGE, String::new()),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, String::new()),
            Self::Unreadable(ref reason) => (StatusCode::BAD_REQUEST, reason.clone()),
            Self::Over => (StatusCode::SERVICE_UNAVAILABLE, String::new()),
        };
        if !reason.is_empty() {
            warn!(reason, "a request cannot be read");
        }
        let mut response = Response::new(Full::new(Bytes::from(reason)));
        *response.status_mut() = status;
        if matches!(self, Self::NoToken) {
            let realm = HeaderValue::from_static("Basic realm=\"Logherd HTTP input\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, realm);
        }
        response
    }
}

#[cfg(test)]
mod tests;
