//! Sends events to Redis: to lists, or to channels.
use crate::client::chain;
use crate::codec::{Encode, encoder};
use crate::dead_letter::DeadLetters;
use crate::lang::kinds::{CodecCall, Password, Placed};
use crate::lang::problems::Problems;
use crate::plugins::OutputOptions;
use crate::redis::{Client, Command, Fault, Place, Reply, Server};
use crate::runtime::load::{Failure, Load, Output};
use crate::spec::{plugin, words};
use crate::template::Template;
use crate::tls::{Protocol, Tls, Verification};
use crate::topology::OutputSite;
use crate::value::Timestamp;
use futures_util::future::BoxFuture;
use rand::seq::SliceRandom;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

plugin! {
    /// Sends events to Redis: appends them to lists, or publishes them on channels.
    ///
    /// ```
    /// output { redis { host => ["redis-1", "redis-2:6380"] data_type => "list" key => "logs-%{type}" batch => true } }
    /// ```
    ///
    /// Commands are sent together and each is acknowledged by its reply; what was not acknowledged is sent again, to the next
    /// server. A key that is no list (`WRONGTYPE`) makes dead letters of its events. Redis hands what is published to who
    /// listens at that moment; nobody may.
    output "redis" => pub(crate) struct RedisOptions {
        /// The servers: `host` or `host:port`. One is used at a time; the next one when it does not answer.
        host: Placed<Vec<String>> = ["127.0.0.1"],
        /// The port of servers that are given without one.
        port: u16 = 6379,
        /// Whether the servers are tried in an order of chance.
        shuffle_hosts: bool = true,
        /// Which database is used.
        db: u32 = 0,
        /// The name of the user; without it, Redis' default user.
        username: Option<String>,
        /// The password.
        password: Option<Password>,
        /// The list or the channel of each event.
        key: Template,
        /// What `key` names.
        data_type: Placed<DataType>,
        /// Append several events by one command.
        batch: Placed<bool> = false,
        /// The most events of one command with `batch`.
        batch_events: usize = 50,
        /// A list that is longer gets no more until it is shorter; 0 looks at no list.
        congestion_threshold: u64 = 0,
        /// How long to wait until the length of such a list is looked at again.
        congestion_interval: Duration = 1,
        /// How long to wait for a connection, and for replies.
        timeout: Duration = 5,
        /// The first pause after a failure; it doubles up to 10 seconds.
        reconnect_interval: Duration = 1,
        /// How an event is written.
        codec: CodecCall = "json",
        /// Speak TLS.
        ssl_enabled: Placed<bool> = false,
        /// Files with the certificates (PEM) of the authorities to trust, instead of those of the system.
        ssl_certificate_authorities: Vec<String> = [],
        /// A file with the certificate (PEM) to show.
        ssl_certificate: Option<Placed<String>>,
        /// A file with the key (PEM) of that certificate.
        ssl_key: Option<Placed<String>>,
        /// How the server's certificate is checked.
        ssl_verification_mode: Verification = "full",
        /// The versions of TLS to use.
        ssl_supported_protocols: Vec<Protocol> = ["TLSv1.2", "TLSv1.3"],
        /// The cipher suites to use; all safe ones when left out.
        ssl_cipher_suites: Vec<String> = [],
    }
    accepted {
        "batch_timeout" => "events that wait are sent at once, together",
    }
    unsupported {
        "name" => "give the plugin an `id`",
        "queue" => "it is called `key`, with `data_type => list`",
        "ssl_key_passphrase" => "give a key without a passphrase, in a file that only Logherd can read",
    }
    validate = check
}

words! {
    /// What a key names.
    pub(crate) enum DataType {
        /// A list: events are appended (`RPUSH`).
        List = "list",
        /// A channel: events are published (`PUBLISH`).
        Channel = "channel",
    }
}

/// How many commands are sent before their replies are read.
const COMMANDS_MAX: usize = 1000;

fn check(options: &RedisOptions, problems: &mut Problems) {
    if options.host.value.is_empty() {
        problems.error(options.host.span, "there are no servers");
    }
    for host in &options.host.value {
        if address(host, options.port).is_none() {
            problems
                .error(options.host.span, "a server is neither `host` nor `host:port`")
                .hint("write it like \"redis-1:6379\"; a password stands in `password`");
        }
    }
    if options.batch.value && options.data_type.value == DataType::Channel {
        problems
            .error(options.batch.span, "only lists are appended to by batches")
            .hint("leave `batch` out, or write `data_type => list`");
    }
    crate::client::both_or_none(options.ssl_certificate.as_ref(), options.ssl_key.as_ref(), problems);
}

/// A host and its port.
fn address(text: &str, port: u16) -> Option<(String, u16)> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse().ok()?),
        _ => (text, port),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let strange = |c: char| c.is_whitespace() || matches!(c, '/' | '@');
    (!host.is_empty() && !host.contains(strange)).then(|| (host.to_owned(), port))
}

impl OutputOptions for RedisOptions {
    fn build(&self, site: OutputSite) -> Result<Box<dyn Output>, String> {
        let tls = match self.ssl_enabled.value {
            false => None,
            true => {
                let authorities = self.ssl_certificate_authorities.iter().map(PathBuf::from).collect();
                let own = crate::client::identity(self.ssl_certificate.as_ref(), self.ssl_key.as_ref());
                let (protocols, suites) =
                    (self.ssl_supported_protocols.clone(), self.ssl_cipher_suites.clone());
                let tls = Tls { authorities, own, protocols, suites, ..Tls::default() };
                Some(tls.client(self.ssl_verification_mode)?)
            }
        };
        let places = self.host.value.iter().filter_map(|host| address(host, self.port));
        let server = |(host, port): (String, u16)| Named {
            place: format!("{host}:{port}"),
            server: Server {
                place: Place::Tcp { host, port, tls: tls.clone() },
                user: self.username.clone(),
                password: self.password.clone(),
                database: self.db,
                patience: self.timeout,
            },
        };
        let mut servers: Vec<Named> = places.map(server).collect();
        if self.shuffle_hosts {
            servers.shuffle(&mut rand::rng());
        }
        Ok(Box::new(ToRedis {
            servers,
            turn: 0,
            redis: None,
            encode: encoder(&self.codec)?,
            dead_letters: site.dead_letters,
            options: self.clone(),
        }))
    }
}

/// A server, and where it is, for people.
struct Named {
    place: String,
    server: Server,
}

struct ToRedis {
    servers: Vec<Named>,
    /// Which server is used.
    turn: usize,
    redis: Option<Client>,
    encode: Arc<dyn Encode>,
    dead_letters: DeadLetters,
    options: RedisOptions,
}

impl Output for ToRedis {
    fn deliver<'a>(&'a mut self, load: &'a Load) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let pushes = self.pushes(load);
            let mut done = 0;
            match self.send(load, &pushes, &mut done).await {
                Ok(()) => Ok(()),
                Err(why) => Err(Failure::partly(why, load.keep(|nth| nth >= done))),
            }
        })
    }

    fn pauses(&self) -> (Option<Duration>, Option<Duration>) {
        (Some(self.options.reconnect_interval), None)
    }
}

/// One command to be: events that follow each other and have one key.
struct Push {
    key: String,
    payloads: Vec<Vec<u8>>,
}

impl ToRedis {
    fn pushes(&self, load: &Load) -> Vec<Push> {
        let together = if self.options.batch.value { self.options.batch_events.max(1) } else { 1 };
        let mut pushes: Vec<Push> = Vec::new();
        for event in load.iter() {
            let key = self.options.key.render(event);
            let mut payload = Vec::new();
            self.encode.encode(event, &mut payload);
            match pushes.last_mut() {
                Some(last) if last.key == key.as_str() && last.payloads.len() < together => {
                    last.payloads.push(payload);
                }
                _ => pushes.push(Push { key: key.as_str().to_owned(), payloads: vec![payload] }),
            }
        }
        pushes
    }

    /// Sends everything; `done` counts the events that were acknowledged.
    async fn send(&mut self, load: &Load, pushes: &[Push], done: &mut usize) -> Result<(), String> {
        let Some(Named { place, server }) = self.servers.get(self.turn % self.servers.len().max(1)) else {
            return Err("there are no servers".to_owned());
        };
        let mut redis = match self.redis.take() {
            Some(redis) => redis,
            None => match Client::connect(server).await {
                Ok(redis) => redis,
                Err(error) => {
                    self.turn = self.turn.wrapping_add(1);
                    return Err(format!("connect to {place}: {}", chain(&error)));
                }
            },
        };
        let looked = look_at_lengths(&self.options, &mut redis, pushes).await;
        looked.map_err(|error| format!("ask {place}: {}", chain(&error)))??;
        for some in pushes.chunks(COMMANDS_MAX) {
            let commands: Vec<Command<'_>> = some.iter().map(|push| self.command(push)).collect();
            let replies = match redis.ask_all(&commands).await {
                Ok(replies) => replies,
                Err(error) => {
                    self.turn = self.turn.wrapping_add(1);
                    return Err(format!("send to {place}: {}", chain(&error)));
                }
            };
            for (push, reply) in some.iter().zip(replies) {
                match reply {
                    Reply::Error(why) if why.starts_with("WRONGTYPE") => {
                        let dead = load.iter().skip(*done).take(push.payloads.len());
                        let dead = dead.map(|event| (event, why.as_str()));
                        let kept = self.dead_letters.keep(Timestamp::now(), dead);
                        kept.map_err(|error| format!("keep dead letters: {error}"))?;
                    }
                    // What comes after it was taken all the same, and comes again: better twice than never.
                    Reply::Error(why) => return Err(format!("{place} refuses: {why}")),
                    _ => {}
                }
                *done += push.payloads.len();
            }
        }
        self.redis = Some(redis);
        Ok(())
    }

    fn command<'a>(&self, push: &'a Push) -> Command<'a> {
        let name: &[u8] = match self.options.data_type.value {
            DataType::List => b"RPUSH",
            DataType::Channel => b"PUBLISH",
        };
        let mut command: Command<'_> = vec![name, push.key.as_bytes()];
        command.extend(push.payloads.iter().map(Vec::as_slice));
        command
    }
}

/// Waits a while when a list is too long; the inner error says so.
async fn look_at_lengths(
    options: &RedisOptions,
    redis: &mut Client,
    pushes: &[Push],
) -> Result<Result<(), String>, Fault> {
    let longest = options.congestion_threshold;
    if longest == 0 || options.data_type.value != DataType::List {
        return Ok(Ok(()));
    }
    let keys: BTreeSet<&str> = pushes.iter().map(|push| push.key.as_str()).collect();
    for key in keys {
        let reply = redis.ask_all(&[vec![b"LLEN", key.as_bytes()]]).await?.pop();
        if let Some(Reply::Integer(length)) = reply
            && u64::try_from(length).is_ok_and(|length| length > longest)
        {
            tokio::time::sleep(options.congestion_interval).await;
            return Ok(Err(format!("the list `{key}` is longer than {longest} (`congestion_threshold`)")));
        }
    }
    Ok(Ok(()))
}

#[cfg(test)]
mod tests;
