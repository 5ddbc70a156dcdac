//! Sends events to topics of Kafka.
use crate::codec::{Encode, encoder};
use crate::dead_letter::DeadLetters;
use crate::kafka::wire::{Part, Record, batch, murmur2};
use crate::kafka::{Kafka, Login, Manner, Mechanism};
use crate::lang::kinds::{CodecCall, Hash, Password, Placed};
use crate::lang::problems::Problems;
use crate::link::Way;
use crate::plugins::OutputOptions;
use crate::runtime::load::{Failure, Load, Output};
use crate::spec::{plugin, words};
use crate::template::Template;
use crate::tls::{Tls, Verification};
use crate::topology::OutputSite;
use crate::value::Timestamp;
use futures_util::future::BoxFuture;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

plugin! {
    /// Sends events to topics of Kafka (brokers from 1.0 on).
    ///
    /// ```
    /// output { kafka { bootstrap_servers => "kafka-1:9092,kafka-2:9092" topic_id => "logs-%{type}" message_key => "%{host}" acks => "all" codec => "json" } }
    /// ```
    ///
    /// An event with `message_key` goes to the partition that Kafka's own clients choose for that key; those without go
    /// together to a partition of chance. What a broker has not acknowledged is sent again; an event that no broker will ever
    /// take (it is too large, its topic cannot be) becomes a dead letter.
    output "kafka" => pub(crate) struct KafkaOptions {
        /// The brokers to begin with: `host:port`, with commas between them.
        bootstrap_servers: Placed<String> = "localhost:9092",
        /// The topic of each event; a template.
        topic_id: Template,
        /// The key of each event; a template.
        message_key: Option<Template>,
        /// Headers of each event; values are templates.
        message_headers: Hash<Template> = {},
        /// How an event is written.
        codec: CodecCall = "plain",
        /// Who has to have an event before it counts as delivered: nobody, the leader, or all that follow it.
        acks: Acks = "1",
        /// How batches are compressed: `none` or `gzip`.
        compression_type: Placed<String> = "none",
        /// The most bytes of one batch; a single event may exceed it.
        max_request_size: usize = 1000000,
        /// What this client calls itself.
        client_id: String = "logstash",
        /// How brokers are spoken to.
        security_protocol: Placed<Protocol> = "PLAINTEXT",
        /// The mechanism of the login: `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
        sasl_mechanism: Option<Placed<String>>,
        /// The login, as Java has it: `… required username="…" password="…";`.
        sasl_jaas_config: Option<Placed<Password>>,
        /// Files with the certificates (PEM) of the authorities to trust, instead of those of the system.
        ssl_certificate_authorities: Vec<String> = [],
        /// How long a broker may take to answer, in milliseconds.
        request_timeout_ms: u64 = 40000,
        /// The first pause after a failure, in milliseconds; it doubles up to 10 seconds.
        retry_backoff_ms: u64 = 100,
    }
    accepted {
        "batch_size" => "events that wait are sent together",
        "buffer_memory" => "what waits is limited for all outputs together",
        "client_dns_lookup" => "all addresses of a host are tried",
        "connections_max_idle_ms" => "connections that were closed are made anew",
        "key_serializer" => "keys are texts",
        "linger_ms" => "events are sent at once",
        "metadata_fetch_timeout_ms" => "`request_timeout_ms` says how long an answer may take",
        "metadata_max_age_ms" => "brokers are asked anew when a leader has changed",
        "partitioner" => "keys choose partitions; events without keys go together to one of chance",
        "receive_buffer_bytes" => "the system chooses",
        "reconnect_backoff_max_ms" => "pauses between attempts grow to 10 seconds",
        "reconnect_backoff_ms" => "`retry_backoff_ms` is the first pause",
        "retries" => "events are sent until they are taken",
        "send_buffer_bytes" => "the system chooses",
        "ssl_endpoint_identification_algorithm" => "the server's name is always checked",
        "value_serializer" => "the codec says how events are written",
    }
    unsupported {
        "jaas_path" => "give user and password in `sasl_jaas_config`",
        "kerberos_config" => "Kerberos is not spoken; use SCRAM, or SASL PLAIN with TLS",
        "sasl_kerberos_service_name" => "Kerberos is not spoken; use SCRAM, or SASL PLAIN with TLS",
        "ssl_key_password" => "certificates of clients are not shown",
        "ssl_keystore_location" => "certificates of clients are not shown",
        "ssl_keystore_password" => "certificates of clients are not shown",
        "ssl_keystore_type" => "certificates of clients are not shown",
        "ssl_truststore_location" => "give certificates in PEM form: `ssl_certificate_authorities`",
        "ssl_truststore_password" => "give certificates in PEM form: `ssl_certificate_authorities`",
        "ssl_truststore_type" => "give certificates in PEM form: `ssl_certificate_authorities`",
    }
    validate = check
}

words! {
    /// Who has to have an event.
    pub(crate) enum Acks {
        /// Nobody.
        None = "0",
        /// The leader of the partition.
        Leader = "1",
        /// All that follow the leader.
        All = "all",
    }
}

words! {
    /// How brokers are spoken to.
    pub(crate) enum Protocol {
        /// As it is.
        Plain = "PLAINTEXT",
        /// In TLS.
        Tls = "SSL",
        /// With a login.
        SaslPlain = "SASL_PLAINTEXT",
        /// In TLS, with a login.
        SaslTls = "SASL_SSL",
    }
}

fn check(options: &KafkaOptions, problems: &mut Problems) {
    if seeds(&options.bootstrap_servers).is_none() {
        problems
            .error(options.bootstrap_servers.span, "these are no brokers")
            .hint("write them like \"kafka-1:9092,kafka-2:9092\"");
    }
    let compression = &options.compression_type;
    if !["none", "gzip"].contains(&compression.value.as_str()) {
        problems
            .error(compression.span, format!("`{}` is not known here", compression.value))
            .hint("there are `none` and `gzip`");
    }
    let protocol = &options.security_protocol;
    if matches!(protocol.value, Protocol::SaslPlain | Protocol::SaslTls) {
        match &options.sasl_mechanism {
            Some(mechanism) if Mechanism::named(&mechanism.value).is_some() => {}
            Some(mechanism) => {
                problems
                    .error(mechanism.span, "this mechanism is not spoken")
                    .hint("use `SCRAM-SHA-512`, `SCRAM-SHA-256`, or `PLAIN` with TLS");
            }
            None => {
                problems
                    .error(protocol.span, "there is no mechanism for the login")
                    .hint("add `sasl_mechanism => \"SCRAM-SHA-512\"`, or `PLAIN`");
            }
        }
        if options.credentials().is_none() {
            let span = options.sasl_jaas_config.as_ref().map_or(protocol.span, |given| given.span);
            problems
                .error(span, "the login names no user and password")
                .hint("add `sasl_jaas_config => 'org.apache.kafka.common.security.plain.PlainLoginModule required username=\"u\" password=\"${KAFKA_PASSWORD}\";'`");
        }
    }
}

/// Hosts and ports.
fn seeds(text: &str) -> Option<Vec<(String, u16)>> {
    let place = |text: &str| {
        let text = text.trim();
        let (host, port) = text.rsplit_once(':').unwrap_or((text, "9092"));
        let host = host.trim_start_matches('[').trim_end_matches(']');
        (!host.is_empty() && !host.contains('/')).then_some(())?;
        Some((host.to_owned(), port.parse().ok()?))
    };
    text.split(',').map(place).collect()
}

impl KafkaOptions {
    /// Who logs in, and how.
    fn login(&self) -> Option<Login> {
        let mechanism = Mechanism::named(&self.sasl_mechanism.as_ref()?.value)?;
        let (user, password) = self.credentials()?;
        Some(Login { mechanism, user, password })
    }

    /// The user and the password in the login that is written as Java has it.
    fn credentials(&self) -> Option<(String, String)> {
        let text = self.sasl_jaas_config.as_ref()?.value.reveal();
        let value = |name: &str| {
            let (_, rest) = text.split_once(&format!("{name}="))?;
            let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
            rest.get(1..)?.split(quote).next().map(str::to_owned)
        };
        Some((value("username")?, value("password")?))
    }
}

impl OutputOptions for KafkaOptions {
    fn build(&self, site: OutputSite) -> Result<Box<dyn Output>, String> {
        let way = match self.security_protocol.value {
            Protocol::Plain | Protocol::SaslPlain => Way::Tcp,
            Protocol::Tls | Protocol::SaslTls => {
                let authorities = self.ssl_certificate_authorities.iter().map(PathBuf::from).collect();
                Way::Tls(Tls { authorities, ..Tls::default() }.client(Verification::Full)?)
            }
        };
        let login = match self.security_protocol.value {
            Protocol::Plain | Protocol::Tls => None,
            Protocol::SaslPlain | Protocol::SaslTls => self.login(),
        };
        let patience = Duration::from_millis(self.request_timeout_ms);
        let manner = Manner { way, client_id: self.client_id.clone(), login, patience };
        let seeds = seeds(&self.bootstrap_servers).ok_or("there are no brokers")?;
        Ok(Box::new(ToKafka {
            kafka: Kafka::new(seeds, manner),
            encode: encoder(&self.codec)?,
            dead_letters: site.dead_letters,
            options: self.clone(),
        }))
    }
}

struct ToKafka {
    kafka: Kafka,
    encode: Arc<dyn Encode>,
    dead_letters: DeadLetters,
    options: KafkaOptions,
}

impl Output for ToKafka {
    fn deliver<'a>(&'a mut self, load: &'a Load) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(self.send(load))
    }

    fn pauses(&self) -> (Option<Duration>, Option<Duration>) {
        (Some(Duration::from_millis(self.options.retry_backoff_ms)), None)
    }
}

/// Records of one partition that are sent together, with the numbers of their events.
#[derive(Default)]
struct Group {
    events: Vec<usize>,
    bytes: usize,
}

const NO_TOPIC: &str = "the name of the topic cannot be one";

/// Whether a topic can have this name, by Kafka's rules: 1 to 249 letters of ASCII, digits, dots, dashes and underscores.
fn is_topic(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (1..=249).contains(&name.len()) && !matches!(name, "." | "..") && name.chars().all(fits)
}

/// The errors of brokers that say that a record will never be taken.
fn is_for_good(error: i16) -> Option<&'static str> {
    Some(match error {
        10 | 18 => "the message is too large for the broker",
        17 => NO_TOPIC,
        32 => "the time of the message is refused",
        76 => "the broker does not know the compression",
        87 => "the broker refuses the record",
        _ => return None,
    })
}

impl ToKafka {
    async fn send(&mut self, load: &Load) -> Result<(), Failure> {
        let mut records: Vec<(String, Record)> = Vec::with_capacity(load.len());
        for event in load.iter() {
            let mut value = Vec::new();
            self.encode.encode(event, &mut value);
            let headers = self.options.message_headers.0.iter();
            let headers = headers.map(|(name, of)| (name.clone(), of.render(event).as_bytes().to_vec()));
            let key = self.options.message_key.as_ref().map(|key| key.render(event).as_bytes().to_vec());
            let time_ms = event.timestamp().unwrap_or_else(Timestamp::now).as_millisecond();
            let record = Record { key, value, headers: headers.collect(), time_ms };
            records.push((self.options.topic_id.render(event).as_str().to_owned(), record));
        }
        let topics: BTreeSet<&str> =
            records.iter().map(|(topic, _)| topic.as_str()).filter(|topic| is_topic(topic)).collect();
        let is_known = |topic: &&str| self.kafka.metadata.topics.get(*topic).is_some_and(|t| t.error == 0);
        if !topics.iter().all(is_known) {
            self.kafka.learn(topics.iter().copied()).await.map_err(Failure::whole)?;
        }
        let mut dead: Vec<(usize, &'static str)> = Vec::new();
        let mut left: Vec<usize> = Vec::new();
        let mut reason = None;
        let groups = self.groups(&records, &mut dead, &mut left, &mut reason);
        for ((node, topic, partition), groups) in groups {
            for group in groups {
                let mut parts = vec![group.events];
                while let Some(events) = parts.pop() {
                    match self.store((node, &topic, partition), &events, &records).await {
                        Ok(()) => {}
                        Err((_, Some("the message is too large for the broker"))) if events.len() > 1 => {
                            let (first, second) = events.split_at(events.len() / 2);
                            parts.extend([second.to_vec(), first.to_vec()]);
                        }
                        Err((_, Some(why))) => dead.extend(events.iter().map(|nth| (*nth, why))),
                        Err((why, None)) => {
                            left.extend(events);
                            reason = Some(why);
                            // A leader may have changed.
                            self.kafka.metadata.topics.remove(&topic);
                        }
                    }
                }
            }
        }
        dead.sort_unstable();
        if let Err(error) = self.keep_dead(load, &dead) {
            left.extend(dead.iter().map(|(nth, _)| *nth));
            reason = Some(format!("keep dead letters: {error}"));
        }
        match reason {
            None => Ok(()),
            Some(why) => {
                left.sort_unstable();
                Err(Failure::partly(why, load.keep(|nth| left.binary_search(&nth).is_ok())))
            }
        }
    }

    /// The records by leader, topic and partition, in groups that are not too large.
    fn groups(
        &self,
        records: &[(String, Record)],
        dead: &mut Vec<(usize, &'static str)>,
        left: &mut Vec<usize>,
        reason: &mut Option<String>,
    ) -> BTreeMap<(i32, String, i32), Vec<Group>> {
        let chance = rand::random::<u32>();
        let mut groups: BTreeMap<(i32, String, i32), Vec<Group>> = BTreeMap::new();
        for (nth, (name, record)) in records.iter().enumerate() {
            if !is_topic(name) {
                dead.push((nth, NO_TOPIC));
                continue;
            }
            let topic = self.kafka.metadata.topics.get(name);
            if let Some(why) = topic.and_then(|topic| is_for_good(topic.error)) {
                dead.push((nth, why));
                continue;
            }
            let leaders = topic.map(|topic| &topic.leaders).filter(|leaders| !leaders.is_empty());
            let chosen = leaders.and_then(|leaders| {
                let hash = record.key.as_ref().map_or(chance, |key| murmur2(key)) & 0x7FFF_FFFF;
                let (partition, leader) = leaders.iter().nth(hash as usize % leaders.len())?;
                Some(((*leader)?, *partition))
            });
            let Some((node, partition)) = chosen else {
                left.push(nth);
                *reason = Some(format!("the topic `{name}` has no leader for now"));
                continue;
            };
            let of_partition = groups.entry((node, name.clone(), partition)).or_default();
            let bytes = record.value.len() + record.key.as_ref().map_or(0, Vec::len) + 64;
            match of_partition.last_mut() {
                Some(group) if group.bytes + bytes <= self.options.max_request_size => {
                    group.events.push(nth);
                    group.bytes += bytes;
                }
                _ => of_partition.push(Group { events: vec![nth], bytes }),
            }
        }
        groups
    }

    /// Has records stored; an error is why not, and whether that is for good.
    async fn store(
        &mut self,
        (node, topic, partition): (i32, &str, i32),
        events: &[usize],
        records: &[(String, Record)],
    ) -> Result<(), (String, Option<&'static str>)> {
        let acks = match self.options.acks {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        };
        let some: Vec<&Record> =
            events.iter().filter_map(|nth| records.get(*nth)).map(|(_, record)| record).collect();
        let gzip = self.options.compression_type.value == "gzip";
        let part = Part { topic: topic.to_owned(), partition, batch: batch(&some, gzip) };
        let stored = self.kafka.store(node, acks, &[part]).await.map_err(|why| (why, None))?;
        let error = stored.iter().find(|s| s.topic == topic && s.partition == partition).map(|s| s.error);
        match error {
            Some(0) => Ok(()),
            Some(error) => {
                Err((format!("the broker refuses records of `{topic}` (error {error})"), is_for_good(error)))
            }
            None => Err((format!("the broker said nothing of `{topic}`"), None)),
        }
    }

    fn keep_dead(&self, load: &Load, dead: &[(usize, &'static str)]) -> std::io::Result<()> {
        let mut reasons = dead.iter().peekable();
        let dead = load.iter().enumerate().filter_map(|(nth, event)| {
            let (_, reason) = reasons.next_if(|(at, _)| *at == nth)?;
            Some((event, *reason))
        });
        self.dead_letters.keep(Timestamp::now(), dead)
    }
}

#[cfg(test)]
mod tests {
    use crate::runtime::{Surroundings, run_to_end};
    use crate::{Scope, compile};
    use std::time::Duration;
    use tokio_util::sync::CancellationToken;

    fn told(options: &str) -> Vec<String> {
        let text = format!("input {{ stdin {{ }} }} output {{ kafka {{ topic_id => t {options} }} }}");
        match compile(Scope::Run, &text, &|_| None) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.into_iter().map(|problem| problem.message).collect(),
        }
    }

    #[test]
    fn what_cannot_work_is_told() {
        assert_eq!(told("bootstrap_servers => 'a:1, b' acks => 'all' compression_type => gzip"), [""; 0]);
        assert_eq!(told("bootstrap_servers => 'a:x'"), ["these are no brokers"]);
        assert_eq!(told("compression_type => zstd"), ["`zstd` is not known here"]);
        let login = "sasl_mechanism => PLAIN sasl_jaas_config => 'x required username=\"u\" password=\"p\";'";
        assert_eq!(told(&format!("security_protocol => SASL_PLAINTEXT {login}")), [""; 0]);
        let scram = login.replace("PLAIN", "'SCRAM-SHA-512'");
        assert_eq!(told(&format!("security_protocol => SASL_SSL {scram}")), [""; 0]);
        let unknown = login.replace("PLAIN", "GSSAPI");
        assert_eq!(
            told(&format!("security_protocol => SASL_SSL {unknown}")),
            ["this mechanism is not spoken"]
        );
        assert_eq!(
            told("security_protocol => SASL_PLAINTEXT"),
            ["there is no mechanism for the login", "the login names no user and password"]
        );
    }

    #[tokio::test]
    async fn an_event_whose_topic_cannot_be_is_a_dead_letter_and_keeps_no_broker_busy() {
        let dir = tempfile::tempdir().unwrap();
        let long = "x".repeat(40_000);
        let text = format!(
            "input {{ generator {{ count => 1 lines => ['{long}', 'a b', '..', ''] }} }}
             output {{ kafka {{ bootstrap_servers => '127.0.0.1:1' topic_id => '%{{message}}' }} }}"
        );
        let plan = compile(Scope::Run, &text, &|_| None).unwrap();
        let around = Surroundings::new(dir.path(), "h", "p");
        let limit = Duration::from_secs(20);
        let counters = run_to_end(plan, around, CancellationToken::new(), limit).await.unwrap();
        assert_eq!((counters.events_out, counters.dead_letters), (4, 4));
    }
}
