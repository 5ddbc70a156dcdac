//! Speaks with a Redis server: RESP2 over TCP, TLS, or a socket of this machine.
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use memchr::memmem;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::lang::kinds::Password;
use crate::listening::Stream;

/// The longest text of an answer; Redis itself has none longer.
const TEXT_MAX: usize = 512 << 20;
/// The most items of an answer.
const ITEMS_MAX: usize = 1 << 20;
/// The deepest nesting of an answer.
const DEPTH_MAX: usize = 8;
/// How much is read at once.
const READ_BYTES: usize = 64 << 10;
/// After how much silence it is looked whether the server is still there, and how often then.
const SILENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// Where a server is, and who asks.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) place: Place,
    /// The name of the one who asks; without one there is only a password.
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Password>,
    /// The number of the database.
    pub(crate) database: u32,
    /// How long connecting, or an answer, may take.
    pub(crate) patience: Duration,
}

/// How a server is reached.
#[derive(Clone)]
pub(crate) enum Place {
    Tcp {
        host: String,
        port: u16,
        tls: Option<Arc<ClientConfig>>,
    },
    /// A socket of this machine.
    Unix(PathBuf),
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// A word: `OK`.
    Word(String),
    /// What went wrong.
    Error(String),
    Integer(i64),
    Text(Bytes),
    /// There is nothing.
    Nil,
    List(Vec<Reply>),
}

/// Why there is no answer. Never holds a password.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The server cannot be reached, or went away.
    #[error("the connection to Redis failed")]
    Connection(#[from] std::io::Error),
    /// It took too long.
    #[error("Redis does not answer")]
    TooLong,
    /// What the server says about it.
    #[error("Redis refuses: {0}")]
    Refused(String),
    /// The answer is none that Redis gives.
    #[error("the answer is no RESP: {0}")]
    Malformed(&'static str),
}

/// A command: its name and its arguments.
pub(crate) type Command<'a> = Vec<&'a [u8]>;

/// A connection to a server.
pub(crate) struct Client {
    stream: Box<dyn Stream>,
    replies: Replies,
    patience: Duration,
}

impl Client {
    /// Connects, says who asks, and chooses the database.
    pub(crate) async fn connect(server: &Server) -> Result<Self, Fault> {
        let stream = timeout(server.patience, open(&server.place)).await.map_err(|_| Fault::TooLong)??;
        let mut client = Self { stream, replies: Replies::default(), patience: server.patience };
        if let Some(password) = &server.password {
            let password = password.reveal().as_bytes();
            match &server.user {
                Some(user) => client.ask(&[b"AUTH", user.as_bytes(), password]).await?,
                None => client.ask(&[b"AUTH", password]).await?,
            };
        }
        if server.database != 0 {
            client.ask(&[b"SELECT", server.database.to_string().as_bytes()]).await?;
        }
        Ok(client)
    }

    /// Sends a command and waits for its answer; one that tells of an error is an error.
    pub(crate) async fn ask(&mut self, command: &[&[u8]]) -> Result<Reply, Fault> {
        self.send(&[command.to_vec()]).await?;
        self.answer(self.patience).await
    }

    /// Sends commands together and reads an answer for each; those that tell of errors are among the answers.
    pub(crate) async fn ask_all(&mut self, commands: &[Command<'_>]) -> Result<Vec<Reply>, Fault> {
        self.send(commands).await?;
        let mut replies = Vec::with_capacity(commands.len());
        while replies.len() < commands.len() {
            replies.push(self.reply(self.patience).await?);
        }
        Ok(replies)
    }

    /// Sends commands without waiting for their answers.
    pub(crate) async fn send(&mut self, commands: &[Command<'_>]) -> Result<(), Fault> {
        let mut bytes = Vec::new();
        commands.iter().for_each(|command| write(command, &mut bytes));
        let sent = timeout(self.patience, async {
            self.stream.write_all(&bytes).await?;
            self.stream.flush().await
        });
        Ok(sent.await.map_err(|_| Fault::TooLong)??)
    }

    /// The next answer, unless it tells of an error. Nothing of it may come for so long; all of a large one may take longer.
    pub(crate) async fn answer(&mut self, patience: Duration) -> Result<Reply, Fault> {
        match self.reply(patience).await? {
            Reply::Error(reason) => Err(Fault::Refused(reason)),
            reply => Ok(reply),
        }
    }

    async fn reply(&mut self, patience: Duration) -> Result<Reply, Fault> {
        loop {
            if let Some(reply) = self.replies.next()? {
                return Ok(reply);
            }
            timeout(patience, self.receive()).await.map_err(|_| Fault::TooLong)??;
        }
    }

    /// The next that the server says, whenever that is.
    pub(crate) async fn next(&mut self) -> Result<Reply, Fault> {
        loop {
            if let Some(reply) = self.replies.next()? {
                return Ok(reply);
            }
            self.receive().await?;
        }
    }

    /// Reads some of an answer.
    async fn receive(&mut self) -> Result<(), Fault> {
        let mut chunk = vec![0; READ_BYTES];
        let length = self.stream.read(&mut chunk).await?;
        if length == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
        self.replies.push(chunk.get(..length).unwrap_or_default());
        Ok(())
    }
}

async fn open(place: &Place) -> std::io::Result<Box<dyn Stream>> {
    let (host, port, tls) = match place {
        Place::Unix(path) => return Ok(Box::new(UnixStream::connect(path).await?)),
        Place::Tcp { host, port, tls } => (host, *port, tls),
    };
    let stream = TcpStream::connect((host.as_str(), port)).await?;
    stream.set_nodelay(true)?;
    // Whoever only listens does not notice otherwise that the server is gone.
    let alive = TcpKeepalive::new().with_time(SILENCE).with_interval(LOOK_EVERY);
    SockRef::from(&stream).set_tcp_keepalive(&alive)?;
    let Some(config) = tls else { return Ok(Box::new(stream)) };
    let name = ServerName::try_from(host.clone()).map_err(std::io::Error::other)?;
    Ok(Box::new(TlsConnector::from(config.clone()).connect(name, stream).await?))
}

/// Adds a command to `out`.
fn write(command: &[&[u8]], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n", command.len()).as_bytes());
    for word in command {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// Reads answers from a stream, whatever the borders of its chunks. Each byte is read once, however long an answer is.
#[derive(Default)]
pub(crate) struct Replies {
    buffer: Vec<u8>,
    /// Up to where the buffer was read.
    at: usize,
    /// How many bytes there have to be from there on before it is worth looking again.
    needed: usize,
    /// The lists that are not whole yet, each in the one before it.
    open: Vec<Open>,
}

/// A list that is not whole yet.
struct Open {
    items: Vec<Reply>,
    /// How many items are missing.
    missing: usize,
}

/// What stands at a place.
enum Part {
    Whole(Reply),
    /// A list of so many items.
    List(usize),
}

impl Replies {
    /// Takes a chunk, to be read by [`next`](Self::next).
    pub(crate) fn push(&mut self, chunk: &[u8]) {
        if self.at == self.buffer.len() || self.at > READ_BYTES.max(self.buffer.len() / 2) {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
        self.buffer.extend_from_slice(chunk);
    }

    /// The next answer, if all of it is there.
    pub(crate) fn next(&mut self) -> Result<Option<Reply>, Fault> {
        while let Some(part) = self.part()? {
            let whole = match part {
                Part::Whole(reply) => reply,
                Part::List(0) => Reply::List(Vec::new()),
                Part::List(_) if self.open.len() >= DEPTH_MAX => {
                    return Err(Fault::Malformed("it nests too deep"));
                }
                Part::List(missing) => {
                    self.open.push(Open { items: Vec::new(), missing });
                    continue;
                }
            };
            if let Some(reply) = self.add(whole) {
                return Ok(Some(reply));
            }
        }
        Ok(None)
    }

    /// Adds an item to the list that it is in; returns what is in no other list any more.
    fn add(&mut self, mut reply: Reply) -> Option<Reply> {
        while let Some(list) = self.open.last_mut() {
            list.items.push(reply);
            list.missing -= 1;
            if list.missing > 0 {
                return None;
            }
            reply = Reply::List(self.open.pop()?.items);
        }
        Some(reply)
    }

    /// What stands at the place, if it is there; then goes on behind it.
    fn part(&mut self) -> Result<Option<Part>, Fault> {
        let bytes = self.buffer.get(self.at..).unwrap_or_default();
        if bytes.len() < self.needed {
            return Ok(None);
        }
        let Some(end) = memmem::find(bytes, b"\r\n") else {
            return if bytes.len() > READ_BYTES {
                Err(Fault::Malformed("a line does not end"))
            } else {
                Ok(None)
            };
        };
        let (kind, line) = match bytes.get(..end).and_then(<[u8]>::split_first) {
            Some((kind, line)) => (*kind, String::from_utf8_lossy(line)),
            None => return Err(Fault::Malformed("an empty line")),
        };
        let mut used = end + 2;
        let part = match kind {
            b'+' => Part::Whole(Reply::Word(line.into_owned())),
            b'-' => Part::Whole(Reply::Error(line.into_owned())),
            b':' => Part::Whole(Reply::Integer(number(&line)?)),
            b'$' => match length(&line, TEXT_MAX)? {
                None => Part::Whole(Reply::Nil),
                Some(length) => {
                    let rest = bytes.get(used..).unwrap_or_default();
                    let Some((text, [b'\r', b'\n', ..])) = rest.split_at_checked(length) else {
                        if rest.len() >= length + 2 {
                            return Err(Fault::Malformed("a text is longer than it says"));
                        }
                        self.needed = used + length + 2;
                        return Ok(None);
                    };
                    used += length + 2;
                    Part::Whole(Reply::Text(Bytes::copy_from_slice(text)))
                }
            },
            b'*' => match length(&line, ITEMS_MAX)? {
                None => Part::Whole(Reply::Nil),
                Some(count) => Part::List(count),
            },
            _ => return Err(Fault::Malformed("an answer of an unknown kind")),
        };
        self.at += used;
        self.needed = 0;
        Ok(Some(part))
    }
}

fn number(line: &str) -> Result<i64, Fault> {
    line.parse().map_err(|_| Fault::Malformed("a number that is none"))
}

/// A length; `None` stands for nothing at all.
fn length(line: &str, most: usize) -> Result<Option<usize>, Fault> {
    match usize::try_from(number(line)?) {
        Err(_) => Ok(None),
        Ok(length) if length <= most => Ok(Some(length)),
        Ok(_) => Err(Fault::Malformed("a length that is too large")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_reply() -> impl Strategy<Value = Reply> {
        let leaf = prop_oneof![
            "[a-z ]{0,10}".prop_map(Reply::Word),
            "[a-z ]{0,10}".prop_map(Reply::Error),
            any::<i64>().prop_map(Reply::Integer),
            proptest::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| Reply::Text(bytes.into())),
            Just(Reply::Nil),
        ];
        leaf.prop_recursive(3, 20, 5, |inner| proptest::collection::vec(inner, 0..5).prop_map(Reply::List))
    }

    fn written(reply: &Reply) -> Vec<u8> {
        match reply {
            Reply::Word(word) => format!("+{word}\r\n").into_bytes(),
            Reply::Error(reason) => format!("-{reason}\r\n").into_bytes(),
            Reply::Integer(number) => format!(":{number}\r\n").into_bytes(),
            Reply::Text(bytes) => [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat(),
            Reply::Nil => b"$-1\r\n".to_vec(),
            Reply::List(items) => {
                let mut out = format!("*{}\r\n", items.len()).into_bytes();
                items.iter().for_each(|item| out.extend(written(item)));
                out
            }
        }
    }

    proptest! {
        #[test]
        fn answers_are_read_whatever_the_borders_of_their_chunks(
            all in proptest::collection::vec(any_reply(), 0..4),
            size in 1_usize..30,
        ) {
            let bytes: Vec<u8> = all.iter().flat_map(written).collect();
            let (mut replies, mut found) = (Replies::default(), Vec::new());
            for chunk in bytes.chunks(size) {
                replies.push(chunk);
                while let Some(reply) = replies.next().unwrap() {
                    found.push(reply);
                }
            }
            prop_assert_eq!(found, all);
            prop_assert!(replies.open.is_empty() && replies.at == replies.buffer.len());
        }

        #[test]
        fn any_bytes_are_answers_or_an_error(
            bytes in proptest::collection::vec(prop_oneof![Just(b'*'), Just(b'$'), Just(b'1'), Just(b'\r'), Just(b'\n'), any::<u8>()], 0..60),
        ) {
            let mut replies = Replies::default();
            replies.push(&bytes);
            while let Ok(Some(_)) = replies.next() {}
        }
    }

    #[test]
    fn what_is_too_large_or_too_deep_is_refused() {
        let read = |bytes: &[u8]| {
            let mut replies = Replies::default();
            replies.push(bytes);
            replies.next()
        };
        assert!(matches!(read(b"$99999999999\r\n"), Err(Fault::Malformed(_))));
        assert!(matches!(read(b"*99999999\r\n"), Err(Fault::Malformed(_))));
        assert!(matches!(read(&b"*1\r\n".repeat(20)), Err(Fault::Malformed(_))));
        assert!(matches!(read(b"$1\r\nab\r\n"), Err(Fault::Malformed(_))));
    }

    #[test]
    fn an_item_of_a_long_answer_is_read_once() {
        let mut replies = Replies::default();
        replies.push(b"*2\r\n$3\r\nabc\r\n$5000\r\n");
        assert!(replies.next().unwrap().is_none());
        assert_eq!((replies.open[0].items.len(), replies.needed), (1, 7 + 5000 + 2));
        replies.push(&[b'x'; 4000]);
        assert!(replies.next().unwrap().is_none());
        replies.push(&[&[b'x'; 1000][..], b"\r\n+OK\r\n"].concat());
        let long = Reply::Text(Bytes::from(vec![b'x'; 5000]));
        let list = Reply::List(vec![Reply::Text(Bytes::from("abc")), long]);
        assert_eq!(replies.next().unwrap(), Some(list));
        assert_eq!(replies.next().unwrap(), Some(Reply::Word("OK".to_owned())));
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_answer_may_come_slowly_as_long_as_it_comes() {
        let (ours, mut theirs) = tokio::io::duplex(1 << 10);
        let patience = Duration::from_secs(5);
        let mut client = Client { stream: Box::new(ours), replies: Replies::default(), patience };
        let slowly = async {
            for part in [&b"*2\r\n$1\r\na"[..], b"\r\n$2\r\n", b"bc", b"\r\n"] {
                tokio::time::advance(Duration::from_secs(4)).await;
                theirs.write_all(part).await.unwrap();
            }
            theirs
        };
        let (answer, theirs) = tokio::join!(client.answer(patience), slowly);
        assert!(matches!(answer.unwrap(), Reply::List(items) if items.len() == 2));
        assert!(matches!(client.answer(patience).await, Err(Fault::TooLong)));
        drop(theirs);
    }

    #[test]
    fn commands_are_written_with_their_lengths() {
        let mut out = Vec::new();
        write(&[b"LPOP", b"a key", b"10"], &mut out);
        assert_eq!(out, b"*3\r\n$4\r\nLPOP\r\n$5\r\na key\r\n$2\r\n10\r\n");
    }
}
