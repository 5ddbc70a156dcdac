//! Receives messages of syslog, over UDP and TCP.
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::tcp::READ_BYTES;
use super::udp::{Datagram, receive, take};
use crate::batch::{Batch, Filter};
use crate::ecs::Ecs;
use crate::event::Event;
use crate::field::FieldRef;
use crate::lang::ast::{Name, Node, Raw, Setting, Span};
use crate::lang::kinds::Placed;
use crate::lang::problems::Problems;
use crate::listening::{self, Door, Peer, Stream, proxied};
use crate::plan::CommonFilter;
use crate::plugins::{Build, InputOptions, Shared, find};
use crate::ruby::to_i;
use crate::runtime::source::{Input, InputError, Intake};
use crate::spec::{Kind, plugin};
use crate::syslog::{Messages, Rfc5424};
use crate::value::Value;

/// The tag of an event whose message is no syslog.
const FAILURE: &str = "_grokparsefailure_sysloginput";
/// The longest datagram.
const DATAGRAM_MAX: usize = 65_535;
/// How many messages wait for the pipeline.
const QUEUE: usize = 2000;

plugin! {
    /// Receives messages of syslog over UDP and TCP, on the same port, and takes them apart.
    ///
    /// ```
    /// input { syslog { port => 5514 timezone => "Europe/Berlin" } }
    /// ```
    ///
    /// Messages are those of RFC 3164, with dates as there or of ISO 8601, or of RFC 5424. Over TCP they end with the end of a
    /// line, which stays part of the message as in Logstash, or begin with their length (octet counting). Each event has the
    /// fields `host` (the sender's address), `priority`, `facility`, `severity` and their labels, and what the message has of
    /// `timestamp`, `logsource`, `program`, `pid`; the date becomes `@timestamp`. A message that is none of it is kept, with the
    /// tag `_grokparsefailure_sysloginput`. Over UDP, what comes while the pipeline is full is lost.
    input "syslog" => pub(crate) struct SyslogOptions {
        /// The address to listen on. `0.0.0.0` is reachable from everywhere.
        host: String = "0.0.0.0",
        /// The port to listen on. Those below 1024 need a privilege.
        port: u16 = 514,
        /// The field that holds the message, if the codec puts it elsewhere.
        syslog_field: String = "message",
        /// The pattern that takes messages apart, where they differ from RFC 3164. Messages of RFC 5424 are then left to it, too.
        grok_pattern: Option<Placed<String>>,
        /// Whether each connection begins with a header of the PROXY protocol, version 1.
        proxy_protocol: bool = false,
        /// Whether there are labels for facility and severity.
        use_labels: bool = true,
        /// The labels of facilities, from 0.
        facility_labels: Vec<String> = ["kernel", "user-level", "mail", "system", "security/authorization", "syslogd", "line printer", "network news", "UUCP", "clock", "security/authorization", "FTP", "NTP", "log audit", "log alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"],
        /// The labels of severities, from 0.
        severity_labels: Vec<String> = ["Emergency", "Alert", "Critical", "Error", "Warning", "Notice", "Informational", "Debug"],
        /// The zone of dates that do not name one, such as `Europe/Berlin`; this machine's when left out.
        timezone: Option<Placed<String>>,
        /// The language of names of months.
        locale: Option<Placed<String>>,
        /// With `ecs_compatibility`: the value of `[service][type]`.
        service_type: String = "system",
        /// How many may be connected; further ones wait.
        max_connections: usize = 4096,
        /// With `v1` or `v8` the fields are those of the Elastic Common Schema: `[log][syslog][priority]`, `[host][ip]` and so on.
        ecs_compatibility: Ecs = "disabled",
    }
    validate = check
}

fn check(options: &SyslogOptions, problems: &mut Problems) {
    for plugin in options.plugins() {
        let Some(found) = find(Kind::Filter, plugin.name) else { continue };
        let _reported = (found.load)(plugin.span, &plugin.settings, problems);
    }
}

/// A filter that takes part in the work, as a configuration would have it.
struct Part {
    name: &'static str,
    span: Span,
    settings: Vec<Setting>,
}

fn setting(name: &str, value: Node) -> Setting {
    Setting { key: Name { text: name.to_owned(), span: value.span }, value }
}

fn text(text: &str, span: Span) -> Node {
    // Its offsets are not those of what was written.
    Node { substituted: true, ..Node::new(Raw::Text(text.to_owned()), span) }
}

fn list(items: &[&str]) -> Node {
    let items = items.iter().map(|item| text(item, Span::default())).collect();
    Node::new(Raw::List(items), Span::default())
}

impl SyslogOptions {
    /// The patterns and the dates.
    fn plugins(&self) -> [Part; 2] {
        let ecs = self.ecs_compatibility;
        let own = self.grok_pattern.as_ref().map(|pattern| (pattern.value.as_str(), pattern.span));
        let stock = ecs.choose(
            "<%{POSINT:priority}>%{SYSLOGLINE}",
            "<%{POSINT:[log][syslog][priority]:int}>%{SYSLOGLINE}",
        );
        let (pattern, span) = own.unwrap_or((stock, Span::default()));
        let field = || text(&self.syslog_field, span);
        let matches = Node::new(Raw::Hash(vec![(field(), text(pattern, span))]), span);
        let grok = vec![
            setting("match", matches),
            setting("overwrite", field()),
            setting("tag_on_failure", list(&[FAILURE])),
            setting("ecs_compatibility", text(ecs.choose("disabled", "v1"), span)),
        ];
        let forms = ["timestamp", "MMM dd HH:mm:ss", "MMM  d HH:mm:ss", "MMM d HH:mm:ss", "ISO8601"];
        let mut date = vec![setting("match", list(&forms))];
        for (name, given) in [("timezone", &self.timezone), ("locale", &self.locale)] {
            date.extend(given.as_ref().map(|given| setting(name, text(&given.value, given.span))));
        }
        let of_date =
            self.timezone.as_ref().or(self.locale.as_ref()).map_or(Span::default(), |given| given.span);
        [Part { name: "grok", span, settings: grok }, Part { name: "date", span: of_date, settings: date }]
    }
}

impl Part {
    fn build(&self) -> Result<Box<dyn Filter>, String> {
        let mut problems = Problems::of("");
        let plugin = find(Kind::Filter, self.name).ok_or("a filter is missing")?;
        let options = (plugin.load)(self.span, &self.settings, &mut problems);
        let options = options.ok_or_else(|| format!("the options of `{}` do not fit", self.name))?;
        match plugin.build {
            Build::Filter(build) => {
                build(&options, &Arc::new(CommonFilter::default()), &mut Shared::default())
            }
            _ => Err(format!("`{}` is no filter", self.name)),
        }
    }
}

impl InputOptions for SyslogOptions {
    fn build(&self) -> Result<Box<dyn Input>, String> {
        let [grok, date] = self.plugins();
        let relay = Relay {
            names: Names::new(self.ecs_compatibility),
            grok: grok.build()?,
            date: date.build()?,
            options: self.clone(),
        };
        Ok(Box::new(Syslog { relay }))
    }
}

/// What the fields of events are called.
struct Names {
    host: FieldRef,
    priority: FieldRef,
    facility: FieldRef,
    severity: FieldRef,
    facility_label: FieldRef,
    severity_label: FieldRef,
    timestamp: FieldRef,
}

impl Names {
    fn new(ecs: Ecs) -> Self {
        let name = |old: &str, new: &[&str]| ecs.choose(FieldRef::top(old), FieldRef::from_names(new));
        Self {
            host: name("host", &["host", "ip"]),
            priority: name("priority", &["log", "syslog", "priority"]),
            facility: name("facility", &["log", "syslog", "facility", "code"]),
            severity: name("severity", &["log", "syslog", "severity", "code"]),
            facility_label: name("facility_label", &["log", "syslog", "facility", "name"]),
            severity_label: name("severity_label", &["log", "syslog", "severity", "name"]),
            timestamp: FieldRef::top("timestamp"),
        }
    }
}

/// Takes messages apart.
struct Relay {
    options: SyslogOptions,
    names: Names,
    grok: Box<dyn Filter>,
    date: Box<dyn Filter>,
}

/// Sets a field; where something else stands in its way the event goes without.
fn set(event: &mut Event, field: &FieldRef, value: impl Into<Value>) {
    let _set = event.set(field, value);
}

impl Relay {
    /// Works on events whose messages are as they came.
    fn work(&mut self, events: Vec<Event>) -> Vec<Event> {
        let mut batch = Batch::new(events);
        let ecs = self.options.ecs_compatibility.choose(false, true);
        let message =
            FieldRef::parse(&self.options.syslog_field).unwrap_or_else(|_| FieldRef::top("message"));
        let modern: Vec<bool> =
            batch.events_mut().iter_mut().map(|event| self.modern(event, &message)).collect();
        if ecs {
            self.keep_original(&mut batch, &message);
        }
        let mut of_old = batch.part(2, |event| usize::from(modern.get(event.place as usize) == Some(&true)));
        if let Some(old) = of_old.first_mut() {
            self.grok.run(old);
        }
        batch.rejoin(of_old);
        for event in batch.events_mut() {
            if ecs {
                self.service(event);
            }
            let priority = match event.get(&self.names.priority).map(|value| to_i(&value.to_text())) {
                Some(Value::Int(priority)) => priority,
                _ => 0,
            };
            set(event, &self.names.priority, Value::Int(priority));
            set(event, &self.names.severity, Value::Int(priority & 7));
            set(event, &self.names.facility, Value::Int(priority >> 3));
            if let Some(exact) = event.fields().get("timestamp8601").cloned().filter(|_| !ecs) {
                event.fields_mut().insert("timestamp", exact);
            }
        }
        self.date.run(&mut batch);
        for event in batch.events_mut() {
            if ecs {
                event.remove(&self.names.timestamp);
            }
            if self.options.use_labels {
                self.label(event);
            }
        }
        batch.into_events()
    }

    /// Takes a message of RFC 5424 apart; tells whether it is one.
    fn modern(&self, event: &mut Event, message: &FieldRef) -> bool {
        if self.options.grok_pattern.is_some() {
            return false;
        }
        let Some(text) = event.get(message).map(Value::to_text) else { return false };
        let Some(parts) = Rfc5424::read(&text) else { return false };
        let ecs = self.options.ecs_compatibility;
        let mut put = |old: &str, new: &[&str], value: Option<Value>| {
            if let Some(value) = value {
                set(event, &ecs.choose(FieldRef::top(old), FieldRef::from_names(new)), value);
            }
        };
        let part = |part: Option<&str>| part.map(|part| Value::Str(text.part(part)));
        put("priority", &["log", "syslog", "priority"], Some(Value::Int(parts.priority)));
        put("syslog5424_ver", &["system", "syslog", "version"], Some(Value::from(parts.version)));
        put("timestamp", &["timestamp"], part(parts.timestamp));
        put("logsource", &["host", "hostname"], part(parts.host));
        put("program", &["process", "name"], part(parts.program));
        let pid = match (ecs, part(parts.pid)) {
            (Ecs::V1 | Ecs::V8, Some(pid)) => Some(to_i(&pid.to_text())),
            (_, pid) => pid,
        };
        put("pid", &["process", "pid"], pid);
        put("msgid", &["event", "code"], part(parts.id));
        put("structured_data", &["system", "syslog", "structured_data"], part(parts.data));
        if ecs.choose(false, true) {
            set(event, &FieldRef::from_names(&["event", "original"]), text.clone());
        }
        set(event, message, text.part(parts.message));
        true
    }

    fn keep_original(&self, batch: &mut Batch, message: &FieldRef) {
        let original = FieldRef::from_names(&["event", "original"]);
        for event in batch.events_mut() {
            if let Some(text) = event.get(message).cloned()
                && !event.has(&original)
            {
                set(event, &original, text);
            }
        }
    }

    fn service(&self, event: &mut Event) {
        let field = FieldRef::from_names(&["service", "type"]);
        if !self.options.service_type.is_empty() && !event.has(&field) {
            set(event, &field, self.options.service_type.as_str());
        }
    }

    fn label(&self, event: &mut Event) {
        let label = |event: &Event, code: &FieldRef, labels: &[String]| {
            let Some(Value::Int(code)) = event.get(code) else { return None };
            labels.get(usize::try_from(*code).ok()?).cloned()
        };
        let options = &self.options;
        if let Some(label) = label(event, &self.names.facility, &options.facility_labels) {
            set(event, &self.names.facility_label, label);
        }
        if let Some(label) = label(event, &self.names.severity, &options.severity_labels) {
            set(event, &self.names.severity_label, label);
        }
    }
}

struct Syslog {
    relay: Relay,
}

impl Input for Syslog {
    fn run(self: Box<Self>, intake: Intake) -> BoxFuture<'static, Result<(), InputError>> {
        Box::pin(async move {
            let SyslogOptions { host, port, proxy_protocol, max_connections, .. } =
                self.relay.options.clone();
            let socket = listening::udp(&host, port, None)?;
            let door = Door {
                listener: listening::tcp(&host, port)?,
                tls: None,
                handshake: Duration::ZERO,
                keep_alive: false,
                most: max_connections,
            };
            let (queue_in, queue) = mpsc::channel(QUEUE);
            let stop = intake.stop.clone();
            let of_connections = queue_in.clone();
            let until = stop.clone();
            // The socket goes with it: somebody else may take its place.
            let datagrams = async move {
                tokio::select! {
                    () = receive(&socket, DATAGRAM_MAX, queue_in) => {}
                    () = until.cancelled() => {}
                }
            };
            let until = stop.clone();
            let serve = move |stream, peer: Peer| {
                let (queue, stop) = (of_connections.clone(), until.clone());
                async move {
                    let address = peer.address;
                    if let Err(reason) = connection(stream, peer, proxy_protocol, &queue, &stop).await {
                        warn!(from = %address, reason, "a connection was closed");
                    }
                }
            };
            let connections = door.serve(&stop, serve);
            // The first two end at a stop, and with them the third, once it has sent what waits.
            tokio::join!(datagrams, connections, self.send(queue, &intake));
            Ok(())
        })
    }
}

/// Receives the messages of a connection. The reason of a failure is for people.
async fn connection(
    mut stream: Box<dyn Stream>,
    peer: Peer,
    has_proxy: bool,
    queue: &mpsc::Sender<Datagram>,
    stop: &CancellationToken,
) -> Result<(), String> {
    let from = match has_proxy {
        false => peer.ip(),
        true => tokio::select! {
            proxied = proxied(&mut stream) => proxied?.client.parse().unwrap_or_else(|_| peer.ip()),
            () = stop.cancelled() => return Ok(()),
        },
    };
    let mut messages = Messages::default();
    let mut buffer = vec![0; READ_BYTES];
    let ended = loop {
        let read = tokio::select! {
            read = stream.read(&mut buffer) => read,
            () = stop.cancelled() => break Ok(()),
        };
        let chunk = match read {
            Ok(0) => break Ok(()),
            Ok(length) => buffer.get(..length).unwrap_or_default(),
            Err(error) => break Err(format!("read: {error}")),
        };
        // What was read cannot be read again: it goes out even when the pipeline is stopped.
        if !pass_on(messages.push(chunk), from, queue).await {
            return Ok(());
        }
    };
    pass_on(messages.finish(), from, queue).await;
    ended
}

/// Puts messages into the queue; returns whether anybody is there who takes them.
async fn pass_on(
    messages: impl IntoIterator<Item = Bytes>,
    from: IpAddr,
    queue: &mpsc::Sender<Datagram>,
) -> bool {
    for message in messages {
        if queue.send((message, from)).await.is_err() {
            return false;
        }
    }
    true
}

impl Syslog {
    async fn send(mut self, mut queue: mpsc::Receiver<Datagram>, intake: &Intake) {
        let source = intake.fleeting(Vec::new());
        loop {
            let messages = take(&mut queue).await;
            if messages.is_empty() {
                return;
            }
            let size = messages.iter().map(|(bytes, _)| bytes.len()).sum();
            let decoded = |(bytes, from): (Bytes, IpAddr)| {
                let mut events = intake.decoded(&source, bytes);
                events.iter_mut().for_each(|event| set(event, &self.relay.names.host, from.to_string()));
                events
            };
            let events = messages.into_iter().flat_map(decoded).collect();
            let events = self.relay.work(events);
            // Whoever sent them cannot send them again: they go out even when the pipeline is stopped.
            if intake.send_events_last(&source, events, size, 0).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
