//! Speaks with a Redis server: RESP2 over TCP, TLS, or a socket of this machine.
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use memchr::memmem;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
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
    buffer: Vec<u8>,
    patience: Duration,
}

impl Client {
    /// Connects, says who asks, and chooses the database.
    pub(crate) async fn connect(server: &Server) -> Result<Self, Fault> {
        let stream = timeout(server.patience, open(&server.place)).await.map_err(|_| Fault::TooLong)??;
        let mut client = Self { stream, buffer: Vec::new(), patience: server.patience };
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
            replies.push(timeout(self.patience, self.next()).await.map_err(|_| Fault::TooLong)??);
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

    /// The next answer, which may take so long.
    pub(crate) async fn answer(&mut self, patience: Duration) -> Result<Reply, Fault> {
        match timeout(patience, self.next()).await.map_err(|_| Fault::TooLong)?? {
            Reply::Error(reason) => Err(Fault::Refused(reason)),
            reply => Ok(reply),
        }
    }

    /// The next that the server says, whenever that is.
    pub(crate) async fn next(&mut self) -> Result<Reply, Fault> {
        loop {
            if let Some((reply, length)) = read(&self.buffer, 0)? {
                self.buffer.drain(..length);
                return Ok(reply);
            }
            let mut chunk = vec![0; READ_BYTES];
            let length = self.stream.read(&mut chunk).await?;
            if length == 0 {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
            }
            self.buffer.extend_from_slice(chunk.get(..length).unwrap_or_default());
        }
    }
}

async fn open(place: &Place) -> std::io::Result<Box<dyn Stream>> {
    let (host, port, tls) = match place {
        Place::Unix(path) => return Ok(Box::new(UnixStream::connect(path).await?)),
        Place::Tcp { host, port, tls } => (host, *port, tls),
    };
    let stream = TcpStream::connect((host.as_str(), port)).await?;
    stream.set_nodelay(true)?;
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

/// The answer that `bytes` begin with, and its length, if all of it is there.
pub(crate) fn read(bytes: &[u8], depth: usize) -> Result<Option<(Reply, usize)>, Fault> {
    if depth > DEPTH_MAX {
        return Err(Fault::Malformed("it nests too deep"));
    }
    let Some(end) = memmem::find(bytes, b"\r\n") else {
        return if bytes.len() > READ_BYTES && !matches!(bytes.first(), Some(b'+' | b'-')) {
            Err(Fault::Malformed("a length does not end"))
        } else {
            Ok(None)
        };
    };
    let (kind, line) = match bytes.get(..end).and_then(<[u8]>::split_first) {
        Some((kind, line)) => (*kind, String::from_utf8_lossy(line).into_owned()),
        None => return Err(Fault::Malformed("an empty line")),
    };
    let head = end + 2;
    match kind {
        b'+' => Ok(Some((Reply::Word(line), head))),
        b'-' => Ok(Some((Reply::Error(line), head))),
        b':' => Ok(Some((Reply::Integer(number(&line)?), head))),
        b'$' => {
            let Some(length) = length(&line, TEXT_MAX)? else { return Ok(Some((Reply::Nil, head))) };
            let Some(text) = bytes.get(head..head + length) else { return Ok(None) };
            match bytes.get(head + length..head + length + 2) {
                None => Ok(None),
                Some(b"\r\n") => Ok(Some((Reply::Text(Bytes::copy_from_slice(text)), head + length + 2))),
                Some(_) => Err(Fault::Malformed("a text is longer than it says")),
            }
        }
        b'*' => {
            let Some(count) = length(&line, ITEMS_MAX)? else { return Ok(Some((Reply::Nil, head))) };
            let mut items = Vec::new();
            let mut at = head;
            for _ in 0..count {
                let rest = bytes.get(at..).unwrap_or_default();
                let Some((item, length)) = read(rest, depth + 1)? else { return Ok(None) };
                items.push(item);
                at += length;
            }
            Ok(Some((Reply::List(items), at)))
        }
        _ => Err(Fault::Malformed("an answer of an unknown kind")),
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
        fn answers_are_read_when_all_of_them_is_there(reply in any_reply()) {
            let bytes = written(&reply);
            prop_assert_eq!(read(&bytes, 0).unwrap(), Some((reply, bytes.len())));
            for cut in 0..bytes.len() {
                prop_assert!(read(&bytes[..cut], 0).unwrap().is_none());
            }
        }

        #[test]
        fn any_bytes_are_an_answer_or_an_error(
            bytes in proptest::collection::vec(prop_oneof![Just(b'*'), Just(b'$'), Just(b'1'), Just(b'\r'), Just(b'\n'), any::<u8>()], 0..60),
        ) {
            let _either = read(&bytes, 0);
        }
    }

    #[test]
    fn what_is_too_large_or_too_deep_is_refused() {
        assert!(matches!(read(b"$99999999999\r\n", 0), Err(Fault::Malformed(_))));
        assert!(matches!(read(b"*99999999\r\n", 0), Err(Fault::Malformed(_))));
        assert!(matches!(read(&b"*1\r\n".repeat(20), 0), Err(Fault::Malformed(_))));
    }

    #[test]
    fn commands_are_written_with_their_lengths() {
        let mut out = Vec::new();
        write(&[b"LPOP", b"a key", b"10"], &mut out);
        assert_eq!(out, b"*3\r\n$4\r\nLPOP\r\n$5\r\na key\r\n$2\r\n10\r\n");
    }
}
