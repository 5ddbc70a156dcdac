//! Receives events of Filebeat and the other Beats.
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::tcp::READ_BYTES;
use crate::codec::{Decode, decode_whole};
use crate::codecs::json::FAILURE;
use crate::ecs::Ecs;
use crate::event::Event;
use crate::field::FieldRef;
use crate::lang::kinds::{ByteSize, Placed};
use crate::lang::problems::Problems;
use crate::listening::{self, Door, Peer, Stream, TlsPeer};
use crate::lumberjack::{Message, Reader, Window, acknowledgement};
use crate::plugins::InputOptions;
use crate::runtime::decorate::Decorate;
use crate::runtime::delivery::{self, Counter};
use crate::runtime::source::{Closed, Input, InputError, Intake};
use crate::spec::{plugin, words};
use crate::tls::{ClientAuthentication, Protocol, Tls};
use crate::value::{Map, Text, Timestamp, Value};

plugin! {
    /// Receives events of Filebeat, Metricbeat and the other Beats, and of whatever speaks their protocol (Lumberjack, versions
    /// 1 and 2).
    ///
    /// ```
    /// input {
    ///   beats {
    ///     port => 5044
    ///     ssl_enabled => true
    ///     ssl_certificate => "/etc/logherd/tls.crt"
    ///     ssl_key => "/etc/logherd/tls.key"
    ///     ssl_client_authentication => required
    ///     ssl_certificate_authorities => ["/etc/logherd/ca.crt"]
    ///   }
    /// }
    /// ```
    ///
    /// Filebeat has `output.logstash` with `hosts: ["this-machine:5044"]` for it. Events are acknowledged when every output has
    /// them: what was not, Filebeat sends again. Until then it is told every five seconds that its events are in work. An event
    /// whose `message` went through the codec has the tag `beats_input_codec_plain_applied` (or the name of that codec), one without
    /// a message `beats_input_raw_event`. The address of the sender stands in `[@metadata][ip_address]`.
    input "beats" => pub(crate) struct BeatsOptions {
        /// The address to listen on. `0.0.0.0` is reachable from everywhere.
        host: String = "0.0.0.0",
        /// The port to listen on.
        port: u16,
        /// What is added to events: `source_metadata` (the address of the sender), `codec_metadata` (the tag that tells the codec),
        /// `ssl_peer_metadata` (of the certificate that the sender showed), `all` or `none`. The first two when it is left out.
        enrich: Option<Placed<Vec<Enrichment>>>,
        /// The older way to leave out the tag that tells the codec.
        include_codec_tag: Option<bool>,
        /// Put `[beat][hostname]` into the field `host`.
        add_hostname: bool = false,
        /// After how long without an event a connection is closed.
        client_inactivity_timeout: Duration = 60,
        /// The longest frame, unpacked.
        max_frame_size: ByteSize = "100 MiB",
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
        /// Whether those who connect have to show a certificate: `required` if there are `ssl_certificate_authorities`, when left
        /// out.
        ssl_client_authentication: Option<Placed<ClientAuthentication>>,
        /// The versions of TLS to use.
        ssl_supported_protocols: Vec<Protocol> = ["TLSv1.2", "TLSv1.3"],
        /// The cipher suites to use; all safe ones when left out.
        ssl_cipher_suites: Vec<String> = [],
        /// How many milliseconds shaking hands may take.
        ssl_handshake_timeout: u64 = 10000,
        /// With `v1` or `v8` metadata stands under `[@metadata][input][beats]`.
        ecs_compatibility: Ecs = "disabled",
    }
    accepted {
        "executor_threads" => "each connection has a task of its own",
        "event_loop_threads" => "each connection has a task of its own",
    }
    unsupported {
        "ssl" => "use `ssl_enabled`",
        "ssl_verify_mode" => "use `ssl_client_authentication`",
        "ssl_peer_metadata" => "use `enrich => [\"ssl_peer_metadata\"]`, with what else is wanted",
        "cipher_suites" => "use `ssl_cipher_suites`",
        "tls_min_version" => "use `ssl_supported_protocols`",
        "tls_max_version" => "use `ssl_supported_protocols`",
        "ssl_key_passphrase" => "write the key without encryption: `openssl pkey -in old.key -out new.key`",
        "congestion_threshold" => "remove it: what cannot be taken is not read",
        "target_field_for_codec" => "remove it: it is always `message`",
    }
    validate = check
}

words! {
    /// What is added to events.
    pub(crate) enum Enrichment {
        /// The address of the sender.
        Source = "source_metadata",
        /// The tag that tells the codec.
        Codec = "codec_metadata",
        /// What TLS tells of the sender.
        Tls = "ssl_peer_metadata",
        /// All of it.
        All = "all",
        /// Nothing.
        None = "none",
    }
}

fn check(options: &BeatsOptions, problems: &mut Problems) {
    let span = options.ssl_enabled.span;
    if options.ssl_enabled.value && (options.ssl_certificate.is_none() || options.ssl_key.is_none()) {
        problems
            .error(span, "TLS needs a certificate and its key")
            .hint("add `ssl_certificate => \"/…\"` and `ssl_key => \"/…\"`");
    }
    if let Some(clients) = &options.ssl_client_authentication
        && clients.value != ClientAuthentication::None
        && options.ssl_certificate_authorities.is_empty()
    {
        problems
            .error(clients.span, "there is nobody to trust")
            .hint("add `ssl_certificate_authorities => [\"/…\"]`");
    }
    if let Some(enrich) = &options.enrich {
        let whole = |one: &Enrichment| matches!(one, Enrichment::All | Enrichment::None);
        if enrich.value.len() > 1 && enrich.value.iter().any(whole) {
            problems.error(enrich.span, "`all` and `none` stand alone").hint("name what is wanted");
        }
        if options.include_codec_tag.is_some() {
            problems
                .error(enrich.span, "`include_codec_tag` is the older way to say that")
                .hint("use only `enrich`");
        }
    }
}

impl InputOptions for BeatsOptions {
    fn build(&self) -> Result<Box<dyn Input>, String> {
        let own = self.ssl_certificate.as_ref().zip(self.ssl_key.as_ref());
        let tls = Tls {
            own: own.map(|(certificate, key)| (certificate.into(), key.into())),
            chain: Vec::new(),
            authorities: self.ssl_certificate_authorities.iter().map(PathBuf::from).collect(),
            protocols: self.ssl_supported_protocols.clone(),
            suites: self.ssl_cipher_suites.clone(),
        };
        let clients = match &self.ssl_client_authentication {
            Some(given) => given.value,
            None if tls.authorities.is_empty() => ClientAuthentication::None,
            None => ClientAuthentication::Required,
        };
        let tls = if self.ssl_enabled.value { Some(tls.server(clients)?) } else { None };
        Ok(Box::new(Beats { options: self.clone(), tls }))
    }
}

impl BeatsOptions {
    fn adds(&self, what: Enrichment) -> bool {
        match &self.enrich {
            _ if what == Enrichment::Codec && self.include_codec_tag.is_some() => {
                self.include_codec_tag == Some(true)
            }
            None => what != Enrichment::Tls,
            Some(wanted) => wanted.value.contains(&what) || wanted.value.contains(&Enrichment::All),
        }
    }
}

struct Beats {
    options: BeatsOptions,
    tls: Option<Arc<rustls::ServerConfig>>,
}

/// How often a sender is told that its events are in work.
const IN_WORK_EVERY: Duration = Duration::from_secs(5);
/// How long telling a sender may take.
const TELL_PATIENCE: Duration = Duration::from_secs(30);
/// How many windows of a connection may be in work.
const IN_WORK_MAX: usize = 4;

impl Input for Beats {
    fn run(self: Box<Self>, intake: Intake) -> BoxFuture<'static, Result<(), InputError>> {
        Box::pin(async move {
            let Self { options, tls } = *self;
            if intake.decode.joining().is_some() {
                return Err(InputError(
                    "lines are put together by the sender: use `multiline` of Filebeat, and not the codec"
                        .to_owned(),
                ));
            }
            let door = Door {
                listener: listening::tcp(&options.host, options.port)?,
                tls,
                handshake: Duration::from_millis(options.ssl_handshake_timeout),
                keep_alive: true,
                most: options.max_connections,
            };
            let (counter, lots) = delivery::counter(1);
            let site = Arc::new(Site {
                names: Names::new(&options),
                codec: intake.decode.clone(),
                codec_name: intake.codec_name,
                decorate: intake.decorate.clone(),
                counter,
                options,
            });
            let stop = intake.stop.clone();
            let until = stop.clone();
            let serve = move |stream, peer: Peer| {
                let (site, until) = (site.clone(), until.clone());
                async move {
                    let from = peer.address;
                    match site.connection(stream, peer, until).await {
                        Ok(()) => debug!(%from, "a connection ended"),
                        Err(reason) => warn!(%from, reason, "a connection was closed"),
                    }
                }
            };
            tokio::join!(door.serve(&stop, serve), delivery::work(lots, &intake, Vec::new(), true));
            Ok(())
        })
    }
}

/// What the fields of events are called.
struct Names {
    host: FieldRef,
    ip: FieldRef,
    protocol: FieldRef,
    subject: FieldRef,
    suite: FieldRef,
}

impl Names {
    fn new(options: &BeatsOptions) -> Self {
        let name = |old: &[&str], new: &[&str]| {
            let new = [&["@metadata", "input", "beats"], new].concat();
            options.ecs_compatibility.choose(FieldRef::from_names(old), FieldRef::from_names(&new))
        };
        Self {
            host: name(&["host"], &["host", "name"]),
            ip: name(&["@metadata", "ip_address"], &["host", "ip"]),
            protocol: name(&["@metadata", "tls_peer", "protocol"], &["tls", "version_protocol"]),
            subject: name(&["@metadata", "tls_peer", "subject"], &["tls", "client", "subject"]),
            suite: name(&["@metadata", "tls_peer", "cipher_suite"], &["tls", "cipher"]),
        }
    }
}

/// What all connections have together.
struct Site {
    options: BeatsOptions,
    names: Names,
    codec: Arc<dyn Decode>,
    codec_name: &'static str,
    decorate: Option<Arc<Decorate>>,
    counter: Counter,
}

impl Site {
    /// Receives what one sends, and tells it what has arrived. The reason of a failure is for people.
    async fn connection(
        &self,
        stream: Box<dyn Stream>,
        peer: Peer,
        stop: CancellationToken,
    ) -> Result<(), String> {
        let (mut incoming, mut outgoing) = tokio::io::split(stream);
        let mut reader = Reader::new(usize::try_from(self.options.max_frame_size.0).unwrap_or(usize::MAX));
        let mut buffer = vec![0; READ_BYTES];
        let mut in_work: FuturesOrdered<BoxFuture<'_, Result<(u8, u32), Closed>>> = FuturesOrdered::new();
        let mut version = b'2';
        let mut tell_at = Instant::now() + IN_WORK_EVERY;
        let mut close_at = Instant::now() + self.options.client_inactivity_timeout;
        let mut open = true;
        while open || !in_work.is_empty() {
            let (busy, room) = (!in_work.is_empty(), in_work.len() < IN_WORK_MAX);
            tokio::select! {
                Some(arrived) = in_work.next() => {
                    // What will never arrive is not acknowledged: it is sent again.
                    let (version, last) = arrived.map_err(|_: Closed| "the pipeline takes no more".to_owned())?;
                    tell(&mut outgoing, version, last).await?;
                    tell_at = Instant::now() + IN_WORK_EVERY;
                    close_at = Instant::now() + self.options.client_inactivity_timeout;
                }
                window = receive(&mut incoming, &mut reader, &mut buffer), if open && room => {
                    match window? {
                        Received::Window(window) => {
                            version = window.version;
                            in_work.push_back(Box::pin(self.deliver(window, &peer)));
                        }
                        Received::Part => {}
                        Received::End => {
                            open = false;
                            continue;
                        }
                    }
                    close_at = Instant::now() + self.options.client_inactivity_timeout;
                }
                () = tokio::time::sleep_until(tell_at) => {
                    // The first version has no word for it.
                    if busy && version == b'2' {
                        tell(&mut outgoing, version, 0).await?;
                    }
                    tell_at = Instant::now() + IN_WORK_EVERY;
                }
                () = tokio::time::sleep_until(close_at), if open && !busy => {
                    debug!(from = %peer.address, "a connection was silent for too long");
                    return Ok(());
                }
                // What is in work is still acknowledged; what was not read is sent again.
                () = stop.cancelled(), if open => open = false,
            }
        }
        Ok(())
    }

    /// Delivers a window; what is to be acknowledged when all of it has arrived.
    async fn deliver(&self, window: Window, peer: &Peer) -> Result<(u8, u32), Closed> {
        let Window { version, last, messages, size } = window;
        // There are events only when there is room for them.
        let place = self.counter.place().await?;
        let events = messages.into_iter().flat_map(|message| self.events(message, peer)).collect();
        place.put(events, size).await.map_err(|_| Closed)?;
        Ok((version, last))
    }

    /// The events of a message: one, unless the codec makes several of its text.
    fn events(&self, message: Message, peer: &Peer) -> Vec<Event> {
        let now = Timestamp::now();
        let mut fields = match message {
            Message::Fields(fields) => {
                let text = |bytes| Text::lossy(bytes);
                fields
                    .into_iter()
                    .map(|(name, value)| (text(name).to_name(), Value::Str(text(value))))
                    .collect()
            }
            Message::Json(json) => {
                let text = Text::lossy(json);
                match crate::json::parse(&text) {
                    Ok(Value::Map(fields)) => fields,
                    _ => {
                        let mut event = Event::with_message(now, text);
                        event.add_tag(FAILURE);
                        return vec![self.whole(event, None, peer)];
                    }
                }
            }
        };
        let text = ["message", "line"].into_iter().find_map(|name| {
            fields.get(name).filter(|value| **value != Value::Null)?;
            fields.remove(name)
        });
        let Some(text) = text.map(|text| text.to_text()) else {
            let tag = self.options.adds(Enrichment::Codec).then(|| "beats_input_raw_event".to_owned());
            return vec![self.whole(Event::from_map(now, fields), tag, peer)];
        };
        let decoded =
            decode_whole(self.codec.as_ref(), &Map::new(), bytes::Bytes::copy_from_slice(text.as_bytes()));
        let merged = decoded.into_iter().map(|event| {
            let tag = self.options.adds(Enrichment::Codec);
            let tag = tag.then(|| format!("beats_input_codec_{}_applied", self.codec_name));
            self.whole(merged(event, fields.clone()), tag, peer)
        });
        merged.collect()
    }

    /// Adds what this input and every input adds.
    fn whole(&self, mut event: Event, tag: Option<String>, peer: &Peer) -> Event {
        let names = &self.names;
        let mut set = |field: &FieldRef, value: String| {
            // Where something else stands in its way the event goes without.
            let _set = event.set(field, Value::from(value));
        };
        if self.options.adds(Enrichment::Source) {
            set(&names.ip, peer.ip().to_string());
        }
        if self.options.adds(Enrichment::Tls)
            && let Some(TlsPeer { subject, protocol, suite }) = &peer.tls
        {
            let status = if subject.is_some() { "verified" } else { "unverified" };
            set(&FieldRef::from_names(&["@metadata", "tls_peer", "status"]), status.to_owned());
            if let Some(subject) = subject {
                set(&names.protocol, protocol.clone());
                set(&names.subject, subject.clone());
                set(&names.suite, suite.clone());
            }
        }
        if self.options.add_hostname
            && !event.has(&names.host)
            && let Some(host) = event.get(&FieldRef::from_names(&["beat", "hostname"])).cloned()
        {
            // Where something else stands in its way the event goes without.
            let _set = event.set(&names.host, host);
        }
        if let Some(decorate) = &self.decorate {
            decorate.apply(&mut event);
        }
        if let Some(tag) = tag {
            event.add_tag(&tag);
        }
        event
    }
}

/// An event of a codec with the fields that came with its text; these win.
fn merged(mut event: Event, fields: Map) -> Event {
    for (name, value) in fields {
        if name == "@timestamp" {
            // What is no moment leaves that at which the event came.
            let _set = event.set(&FieldRef::top("@timestamp"), crate::event::moment(&value));
            continue;
        }
        let field = FieldRef::parse(&name).unwrap_or_else(|_| FieldRef::top(&name));
        match (event.get_mut(&field), value) {
            (Some(Value::Map(old)), Value::Map(new)) => {
                for (name, value) in new {
                    old.insert(name, value);
                }
            }
            (_, value) => {
                // Where something else stands in its way the event goes without.
                let _set = event.set(&field, value);
            }
        }
    }
    event
}

/// What came.
enum Received {
    Window(Window),
    /// A part of a window that is not whole yet.
    Part,
    End,
}

/// The next window; reads some when none is whole.
async fn receive(
    incoming: &mut ReadHalf<Box<dyn Stream>>,
    reader: &mut Reader,
    buffer: &mut [u8],
) -> Result<Received, String> {
    if let Some(window) = reader.next().map_err(|error| crate::client::chain(&error))? {
        return Ok(Received::Window(window));
    }
    match incoming.read(buffer).await {
        Ok(0) if reader.is_amid() => Err("it ended in the middle of a window".to_owned()),
        Ok(0) => Ok(Received::End),
        Ok(length) => {
            reader.push(buffer.get(..length).unwrap_or_default());
            Ok(Received::Part)
        }
        // Whoever goes away without a word has been told of what arrived before.
        Err(error) => Err(format!("read: {error}")),
    }
}

async fn tell(outgoing: &mut WriteHalf<Box<dyn Stream>>, version: u8, number: u32) -> Result<(), String> {
    let told = timeout(TELL_PATIENCE, async {
        outgoing.write_all(&acknowledgement(version, number)).await?;
        outgoing.flush().await
    });
    match told.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("acknowledge: {error}")),
        Err(_) => Err("acknowledging took too long".to_owned()),
    }
}

#[cfg(test)]
mod tests;
