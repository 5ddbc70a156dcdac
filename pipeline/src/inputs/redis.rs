//! Takes events from lists and channels of a Redis server.
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tracing::{info, warn};

use crate::client::chain;
use crate::codec::Codec;
use crate::codecs::json::Json;
use crate::event::Event;
use crate::field::FieldRef;
use crate::lang::kinds::{Hash, Password, Placed};
use crate::lang::problems::Problems;
use crate::plugins::InputOptions;
use crate::redis::{Client, Fault, Place, Reply, Server};
use crate::runtime::source::{Closed, Input, InputError, Intake, Source};
use crate::spec::{plugin, words};
use crate::tls::{Tls, Verification};
use crate::value::Value;

plugin! {
    /// Takes events from a list of a Redis server, or from channels.
    ///
    /// ```
    /// input { redis { host => "redis.example.com" data_type => list key => "logs" password => "${REDIS_PASSWORD}" } }
    /// ```
    ///
    /// Values are JSON, unless there is another `codec`. What was taken from a list is gone from Redis: it is delivered even when the
    /// pipeline is stopped, and lost when the process dies before. While the pipeline is full nothing is taken. What is published
    /// on a channel while nobody listens, or faster than it can be taken, is lost, as always with Redis; its events have the name of
    /// the channel in `[@metadata][redis_channel]`.
    input "redis" => pub(crate) struct RedisOptions {
        /// The server.
        host: String = "127.0.0.1",
        /// Its port.
        port: u16 = 6379,
        /// A socket of this machine, in place of `host` and `port`.
        path: Option<String>,
        /// The number of the database.
        db: u32 = 0,
        /// The name of the user, where the server has several (ACL).
        user: Option<String>,
        /// The password.
        password: Option<Password>,
        /// What `key` is the name of.
        data_type: DataType,
        /// The name of a list or of a channel, or a pattern of names of channels.
        key: String,
        /// How many values are taken from a list at once.
        batch_count: Placed<usize> = 125,
        /// How long connecting and an answer may take.
        timeout: Duration = "5 seconds",
        /// Commands that have other names on this server.
        command_map: Hash<String> = {},
        /// Whether there is TLS.
        ssl: bool = false,
        /// Files with the authorities to trust, in PEM form; those of the system when left out.
        ssl_certificate_authorities: Vec<String> = [],
        /// How the certificate of the server is checked.
        ssl_verification_mode: Verification = "full",
    }
    accepted {
        "threads" => "one connection takes as much as the pipeline can take",
    }
    unsupported {
        "shuffle_hosts" => "remove it: there is one server",
        "queue" => "use `data_type => list` and `key`",
        "name" => "use `key`",
    }
    validate = check
}

words! {
    /// What events are taken from.
    pub(crate) enum DataType {
        /// A list; each event goes to one of those who take from it.
        List = "list",
        /// A channel; each event goes to all who listen.
        Channel = "channel",
        /// All channels whose names fit a pattern.
        PatternChannel = "pattern_channel",
    }
}

fn check(options: &RedisOptions, problems: &mut Problems) {
    if options.batch_count.value == 0 {
        problems.error(options.batch_count.span, "nothing would be taken").hint("write 1 or more");
    }
}

impl InputOptions for RedisOptions {
    fn build(&self) -> Result<Box<dyn Input>, String> {
        let authorities = self.ssl_certificate_authorities.iter().map(PathBuf::from).collect();
        let tls = Tls { authorities, ..Tls::default() };
        let tls = if self.ssl { Some(tls.client(self.ssl_verification_mode)?) } else { None };
        let place = match &self.path {
            Some(path) => Place::Unix(path.into()),
            None => Place::Tcp { host: self.host.clone(), port: self.port, tls },
        };
        let server = Server {
            place,
            user: self.user.clone(),
            password: self.password.clone(),
            database: self.db,
            patience: self.timeout,
        };
        Ok(Box::new(Redis { server, options: self.clone() }))
    }
}

struct Redis {
    server: Server,
    options: RedisOptions,
}

/// How long to wait before connecting again.
const CONNECT_PAUSE: Duration = Duration::from_secs(1);
/// How many seconds an empty list is waited for at once.
const LIST_WAIT_S: u64 = 1;

/// Why taking ended.
enum End {
    /// The pipeline takes no more.
    Closed,
    Fault(Fault),
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Closed> for End {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

impl Input for Redis {
    fn codec(&self) -> Codec {
        Codec::both(Json::default())
    }

    fn run(self: Box<Self>, intake: Intake) -> BoxFuture<'static, Result<(), InputError>> {
        Box::pin(async move {
            let source = intake.fleeting(Vec::new());
            while !intake.stop.is_cancelled() {
                let end = match self.options.data_type {
                    DataType::List => self.take(&source, &intake).await,
                    DataType::Channel => self.listen("SUBSCRIBE", &source, &intake).await,
                    DataType::PatternChannel => self.listen("PSUBSCRIBE", &source, &intake).await,
                };
                let Err(End::Fault(fault)) = end else { break };
                let reason = chain(&fault);
                warn!(input = %intake.id, reason, "the connection to Redis is made anew");
                intake.health.trouble(&intake.id, reason);
                if intake.pause(CONNECT_PAUSE).await.is_err() {
                    break;
                }
            }
            Ok(())
        })
    }
}

impl Redis {
    /// What a command is called on this server.
    fn name<'a>(&'a self, command: &'a str) -> &'a [u8] {
        let renamed = self.options.command_map.0.iter().find(|(name, _)| name.eq_ignore_ascii_case(command));
        renamed.map_or(command, |(_, name)| name).as_bytes()
    }

    /// A connection; `None` at the stop.
    async fn connect(&self, intake: &Intake) -> Result<Option<Client>, End> {
        let client = tokio::select! {
            client = Client::connect(&self.server) => client?,
            () = intake.stop.cancelled() => return Ok(None),
        };
        intake.health.works(&intake.id);
        info!(input = %intake.id, key = self.options.key, "connected to Redis");
        Ok(Some(client))
    }

    /// Takes from the list. What was taken is sent on even at a stop.
    async fn take(&self, source: &Arc<Source>, intake: &Intake) -> Result<(), End> {
        let Some(mut client) = self.connect(intake).await? else { return Ok(()) };
        while !intake.stop.is_cancelled() {
            let values = self.batch(&mut client).await?;
            let values = if values.is_empty() { self.wait(&mut client).await? } else { values };
            if !values.is_empty() {
                let size = values.iter().map(Bytes::len).sum();
                let events = values.into_iter().flat_map(|value| intake.decoded(source, value)).collect();
                intake.send_events_last(source, events, size, 0).await?;
            }
        }
        Ok(())
    }

    /// Takes what is there, up to a batch, in one transaction.
    async fn batch(&self, client: &mut Client) -> Result<Vec<Bytes>, Fault> {
        let key = self.options.key.as_bytes();
        let count = self.options.batch_count.value;
        let (last, next) = ((count - 1).to_string(), count.to_string());
        let commands = [
            vec![self.name("MULTI")],
            vec![self.name("LRANGE"), key, b"0", last.as_bytes()],
            vec![self.name("LTRIM"), key, next.as_bytes(), b"-1"],
            vec![self.name("EXEC")],
        ];
        client.send(&commands).await?;
        for _ in 1..commands.len() {
            client.answer(self.server.patience).await?;
        }
        match client.answer(self.server.patience).await? {
            Reply::List(mut answers) if !answers.is_empty() => match answers.swap_remove(0) {
                Reply::List(values) => Ok(texts(values)),
                Reply::Error(reason) => Err(Fault::Refused(reason)),
                _ => Err(Fault::Malformed("a list has other things than values")),
            },
            _ => Err(Fault::Malformed("a transaction has no answers")),
        }
    }

    /// Waits a while for the next value of an empty list.
    async fn wait(&self, client: &mut Client) -> Result<Vec<Bytes>, Fault> {
        let seconds = LIST_WAIT_S.to_string();
        client.send(&[vec![self.name("BLPOP"), self.options.key.as_bytes(), seconds.as_bytes()]]).await?;
        match client.answer(self.server.patience + Duration::from_secs(LIST_WAIT_S)).await? {
            // The name of the list, and the value.
            Reply::List(mut answer) => Ok(texts(answer.split_off(answer.len().min(1)))),
            _ => Ok(Vec::new()),
        }
    }

    /// Listens to channels.
    async fn listen(&self, how: &str, source: &Arc<Source>, intake: &Intake) -> Result<(), End> {
        let Some(mut client) = self.connect(intake).await? else { return Ok(()) };
        client.ask(&[self.name(how), self.options.key.as_bytes()]).await?;
        let field = FieldRef::from_names(&["@metadata", "redis_channel"]);
        loop {
            let said = tokio::select! {
                said = client.next() => said?,
                () = intake.stop.cancelled() => return Ok(()),
            };
            let Some((channel, value)) = published(said) else { continue };
            let size = value.len();
            let mut events: Vec<Event> = intake.decoded(source, value);
            for event in &mut events {
                // There is nothing in its way.
                let _set = event.set(&field, Value::from(String::from_utf8_lossy(&channel).as_ref()));
            }
            intake.send_events_last(source, events, size, 0).await?;
        }
    }
}

fn texts(replies: Vec<Reply>) -> Vec<Bytes> {
    let text = |reply| match reply {
        Reply::Text(text) => Some(text),
        _ => None,
    };
    replies.into_iter().filter_map(text).collect()
}

/// What was published, and on which channel.
fn published(said: Reply) -> Option<(Bytes, Bytes)> {
    let Reply::List(parts) = said else { return None };
    match texts(parts).as_slice() {
        [word, channel, value] if word.as_ref() == b"message" => Some((channel.clone(), value.clone())),
        [word, _, channel, value] if word.as_ref() == b"pmessage" => Some((channel.clone(), value.clone())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::trial::inputs::Trial;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    /// Reads commands until `last` is among them, and answers.
    async fn play(stream: &mut TcpStream, last: &str, answer: &[u8]) -> String {
        let mut heard = Vec::new();
        while !String::from_utf8_lossy(&heard).contains(last) {
            let mut chunk = [0; 1024];
            let length = stream.read(&mut chunk).await.unwrap();
            assert!(length > 0, "{}", String::from_utf8_lossy(&heard));
            heard.extend_from_slice(&chunk[..length]);
        }
        stream.write_all(answer).await.unwrap();
        String::from_utf8_lossy(&heard).into_owned()
    }

    async fn started(options: &str) -> (Trial, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (Trial::start(&format!("redis {{ port => {port} key => logs {options} }}")), listener)
    }

    #[tokio::test]
    async fn values_of_a_list_are_taken_in_batches_and_waited_for_and_the_connection_is_made_anew() {
        let (mut trial, listener) = started("data_type => list password => p user => u db => 3").await;
        let (mut stream, _) = listener.accept().await.unwrap();
        let heard = play(&mut stream, "AUTH\r\n$1\r\nu\r\n$1\r\np\r\n", b"+OK\r\n").await;
        assert!(!heard.contains("MULTI"));
        play(&mut stream, "SELECT\r\n$1\r\n3\r\n", b"+OK\r\n").await;
        let two = b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n*2\r\n$7\r\n{\"n\":1}\r\n$1\r\nx\r\n+OK\r\n";
        play(&mut stream, "EXEC", two).await;
        let events = trial.events(2).await;
        assert_eq!((&events[0]["n"], &events[1]["tags"][0]), (&1.into(), &"_jsonparsefailure".into()));
        play(&mut stream, "EXEC", b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n*0\r\n+OK\r\n").await;
        play(&mut stream, "BLPOP", b"*2\r\n$4\r\nlogs\r\n$7\r\n{\"n\":2}\r\n").await;
        trial.events(3).await;
        drop(stream);
        let (mut stream, _) = listener.accept().await.unwrap();
        play(&mut stream, "AUTH", b"+OK\r\n").await;
    }

    #[tokio::test]
    async fn what_is_published_is_an_event_with_its_channel() {
        let options = "data_type => pattern_channel add_field => { c => '%{[@metadata][redis_channel]}' }";
        let (mut trial, listener) = started(options).await;
        let (mut stream, _) = listener.accept().await.unwrap();
        play(&mut stream, "PSUBSCRIBE\r\n$4\r\nlogs\r\n", b"*3\r\n$10\r\npsubscribe\r\n$4\r\nlogs\r\n:1\r\n")
            .await;
        let message = b"*4\r\n$8\r\npmessage\r\n$4\r\nlogs\r\n$3\r\nweb\r\n$7\r\n{\"n\":1}\r\n";
        stream.write_all(message).await.unwrap();
        let events = trial.events(1).await;
        assert_eq!((&events[0]["n"], &events[0]["c"]), (&1.into(), &"web".into()));
        trial.stop().await;
    }
}
