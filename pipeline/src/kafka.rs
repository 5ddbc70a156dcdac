//! Hands records to Kafka: finds out which broker leads which partition, and asks it to store them.
pub(crate) mod scram;
pub(crate) mod wire;

use crate::link::{Duplex, Server, Way};
use scram::{Hash, Scram};
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, ErrorKind};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use wire::{Api, Metadata, Part, Rest};

/// The longest answer, in bytes.
const ANSWER_MAX: usize = 64 << 20;

/// How brokers are spoken to.
#[derive(Clone)]
pub(crate) struct Manner {
    pub(crate) way: Way,
    pub(crate) client_id: String,
    pub(crate) login: Option<Login>,
    /// How long each exchange may take.
    pub(crate) patience: Duration,
}

/// Who logs in, and how.
#[derive(Clone)]
pub(crate) struct Login {
    pub(crate) mechanism: Mechanism,
    pub(crate) user: String,
    pub(crate) password: String,
}

/// The mechanisms of logins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mechanism {
    Plain,
    Scram(Hash),
}

impl Mechanism {
    /// Its name, as SASL has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Scram(Hash::Sha256) => "SCRAM-SHA-256",
            Self::Scram(Hash::Sha512) => "SCRAM-SHA-512",
        }
    }

    /// The one of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let all = [Self::Plain, Self::Scram(Hash::Sha256), Self::Scram(Hash::Sha512)];
        all.into_iter().find(|mechanism| mechanism.name() == name)
    }
}

impl fmt::Debug for Manner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client `{}`", self.client_id)
    }
}

struct Connection {
    stream: Box<dyn Duplex>,
    correlation: i32,
}

/// What became of the records of a partition.
pub(crate) struct Stored {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    /// 0 is none.
    pub(crate) error: i16,
}

/// Brokers, and what is known of them.
pub(crate) struct Kafka {
    manner: Manner,
    /// The brokers to begin with.
    seeds: Vec<(String, u16)>,
    turn: usize,
    pub(crate) metadata: Metadata,
    /// Connections by the numbers of brokers.
    connections: BTreeMap<i32, Connection>,
}

impl Connection {
    async fn open(place: &(String, u16), manner: &Manner) -> io::Result<Self> {
        let server = Server { host: place.0.clone(), port: place.1, way: manner.way.clone() };
        let stream = server.duplex().await?;
        let mut connection = Self { stream, correlation: 0 };
        if let Some(login) = &manner.login {
            connection.log_in(login, manner).await?;
        }
        Ok(connection)
    }

    async fn log_in(&mut self, login: &Login, manner: &Manner) -> io::Result<()> {
        let Login { mechanism, user, password } = login;
        let name = mechanism.name();
        let answer = self.ask(wire::SASL_HANDSHAKE, manner, &wire::handshake_body(name)).await?;
        if Rest(&answer).i16().map_err(unreadable)? != 0 {
            return Err(denied(format!("the broker does not know SASL {name}")));
        }
        let Mechanism::Scram(hash) = mechanism else {
            let words = format!("\0{user}\0{password}");
            return self.authenticate(&words, manner).await.map(drop);
        };
        let scram = Scram::begin(*hash, user, password, &uuid::Uuid::new_v4().simple().to_string());
        let challenge = self.authenticate(&scram.first(), manner).await?;
        // The rounds take their time: they are made where they hold up nobody.
        let proof = tokio::task::spawn_blocking(move || scram.answer(&challenge)).await;
        let proof = proof.map_err(io::Error::other)?.map_err(denied)?;
        let last = self.authenticate(&proof.message, manner).await?;
        proof.check(&last).map_err(denied)
    }

    /// Says these words of a login; answers what the broker says to them.
    async fn authenticate(&mut self, words: &str, manner: &Manner) -> io::Result<String> {
        let answer = self.ask(wire::SASL_AUTHENTICATE, manner, &wire::words_body(words)).await?;
        let mut rest = Rest(&answer);
        let error = rest.i16().map_err(unreadable)?;
        let why = rest.text().map_err(unreadable)?;
        if error != 0 {
            return Err(denied(why.unwrap_or_else(|| "the login was refused".to_owned())));
        }
        let said = rest.bytes().map_err(unreadable)?;
        Ok(String::from_utf8_lossy(said).into_owned())
    }

    async fn send(&mut self, api: Api, manner: &Manner, body: &[u8]) -> io::Result<()> {
        self.correlation = self.correlation.wrapping_add(1);
        self.stream.write_all(&wire::request(api, self.correlation, &manner.client_id, body)).await?;
        self.stream.flush().await
    }

    async fn ask(&mut self, api: Api, manner: &Manner, body: &[u8]) -> io::Result<Vec<u8>> {
        self.send(api, manner, body).await?;
        let length = usize::try_from(self.stream.read_i32().await?).unwrap_or(usize::MAX);
        if !(4..=ANSWER_MAX).contains(&length) {
            return Err(io::Error::new(ErrorKind::InvalidData, "it does not answer as Kafka does"));
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer).await?;
        let (correlation, answer) = answer.split_at_checked(4).unwrap_or_default();
        if correlation != self.correlation.to_be_bytes() {
            return Err(io::Error::new(ErrorKind::InvalidData, "an answer belongs to another request"));
        }
        Ok(answer.to_vec())
    }
}

fn denied(why: String) -> io::Error {
    io::Error::new(ErrorKind::PermissionDenied, why)
}

fn unreadable(error: wire::Unreadable) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

impl Kafka {
    pub(crate) fn new(seeds: Vec<(String, u16)>, manner: Manner) -> Self {
        Self { manner, seeds, turn: 0, metadata: Metadata::default(), connections: BTreeMap::new() }
    }

    /// Learns where topics are, from whichever broker answers first. The reason of a failure is for people.
    pub(crate) async fn learn<'t>(
        &mut self,
        topics: impl ExactSizeIterator<Item = &'t str> + Clone,
    ) -> Result<(), String> {
        let known = self.metadata.brokers.values().cloned();
        let places: Vec<(String, u16)> = self.seeds.iter().cloned().chain(known).collect();
        let mut why = "there are no brokers".to_owned();
        for n in 0..places.len() {
            let Some(place) = places.get(self.turn.wrapping_add(n) % places.len()) else { break };
            let asked = timeout(self.manner.patience, async {
                let mut connection = Connection::open(place, &self.manner).await?;
                let body = wire::metadata_body(topics.clone());
                let answer = connection.ask(wire::METADATA, &self.manner, &body).await?;
                wire::read_metadata(&answer).map_err(unreadable)
            });
            match asked.await {
                Ok(Ok(metadata)) => {
                    self.turn = self.turn.wrapping_add(n);
                    self.connections
                        .retain(|node, _| metadata.brokers.get(node) == self.metadata.brokers.get(node));
                    self.metadata = metadata;
                    return Ok(());
                }
                Ok(Err(error)) => why = format!("ask {}:{}: {error}", place.0, place.1),
                Err(_) => why = format!("ask {}:{}: it took too long", place.0, place.1),
            }
        }
        Err(why)
    }

    /// Asks the broker `node` to store these; with `acks` 0 nobody answers.
    pub(crate) async fn store(
        &mut self,
        node: i32,
        acks: i16,
        parts: &[Part],
    ) -> Result<Vec<Stored>, String> {
        let Some(place) = self.metadata.brokers.get(&node).cloned() else {
            return Err(format!("the broker {node} is not known"));
        };
        let mut connection = self.connections.remove(&node);
        let patience = self.manner.patience;
        let patience_ms = i32::try_from(patience.as_millis()).unwrap_or(i32::MAX);
        let exchange = timeout(patience, async {
            let mut open = match connection.take() {
                Some(open) => open,
                None => Connection::open(&place, &self.manner).await?,
            };
            let body = wire::produce_body(acks, patience_ms, parts);
            if acks == 0 {
                open.send(wire::PRODUCE, &self.manner, &body).await?;
                let all = parts.iter().map(|part| (part.topic.clone(), part.partition, 0)).collect();
                return Ok((open, all));
            }
            let answer = open.ask(wire::PRODUCE, &self.manner, &body).await?;
            Ok::<_, io::Error>((open, wire::read_produce(&answer).map_err(unreadable)?))
        });
        let shown = format!("{}:{}", place.0, place.1);
        match exchange.await {
            Ok(Ok((open, stored))) => {
                self.connections.insert(node, open);
                let stored = stored.into_iter();
                Ok(stored.map(|(topic, partition, error)| Stored { topic, partition, error }).collect())
            }
            Ok(Err(error)) => Err(format!("send to {shown}: {error}")),
            Err(_) => Err(format!("send to {shown}: it took too long")),
        }
    }
}

#[cfg(test)]
mod tests;
