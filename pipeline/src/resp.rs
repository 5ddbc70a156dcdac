//! Speaks the protocol of Redis: commands go out, several at once, and their replies come back in order.
use crate::link::{Duplex, Server};
use std::fmt;
use std::io::{self, ErrorKind};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// The most bytes of one reply.
const REPLY_MAX: usize = 512 << 20;
/// How deep replies may stand in each other.
const DEPTH_MAX: usize = 16;

/// What Redis replies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Status(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Nothing,
    List(Vec<Reply>),
}

/// A command: its name and its arguments.
pub(crate) type Command<'a> = Vec<&'a [u8]>;

/// Adds a command to `out`.
pub(crate) fn write_command(command: &[&[u8]], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n", command.len()).as_bytes());
    for part in command {
        out.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
}

/// Reads the reply that `bytes` begins with, and how long it is; `None` when it is not there whole.
pub(crate) fn read_reply(bytes: &[u8]) -> io::Result<Option<(Reply, usize)>> {
    read_at(bytes, 0, 0)
}

fn read_at(bytes: &[u8], at: usize, depth: usize) -> io::Result<Option<(Reply, usize)>> {
    let rest = bytes.get(at..).unwrap_or_default();
    let Some(end) = memchr::memmem::find(rest, b"\r\n") else {
        return if rest.len() > REPLY_MAX { Err(broken("a line is too long")) } else { Ok(None) };
    };
    let Some((kind, line)) = rest.get(..end).and_then(|line| line.split_first()) else {
        return Err(broken("a line is empty"));
    };
    let after = at + end + 2;
    let text = || String::from_utf8_lossy(line).into_owned();
    let number = || text().parse::<i64>().map_err(|_| broken("a number cannot be read"));
    Ok(Some(match kind {
        b'+' => (Reply::Status(text()), after),
        b'-' => (Reply::Error(text()), after),
        b':' => (Reply::Integer(number()?), after),
        b'_' => (Reply::Nothing, after),
        b'$' => match usize::try_from(number()?) {
            Err(_) => (Reply::Nothing, after),
            Ok(length) if length > REPLY_MAX => return Err(broken("a reply is too long")),
            Ok(length) => match bytes.get(after..after + length + 2) {
                None => return Ok(None),
                Some(bulk) if !bulk.ends_with(b"\r\n") => return Err(broken("a text does not end")),
                Some(bulk) => {
                    (Reply::Bulk(bulk.get(..length).unwrap_or_default().to_vec()), after + length + 2)
                }
            },
        },
        b'*' | b'>' | b'~' => match usize::try_from(number()?) {
            Err(_) => (Reply::Nothing, after),
            Ok(_) if depth >= DEPTH_MAX => return Err(broken("lists stand too deep in each other")),
            Ok(count) => {
                let (mut items, mut at) = (Vec::new(), after);
                for _ in 0..count {
                    let Some((item, next)) = read_at(bytes, at, depth + 1)? else { return Ok(None) };
                    items.push(item);
                    at = next;
                }
                (Reply::List(items), at)
            }
        },
        _ => return Err(broken("it is no reply of Redis")),
    }))
}

fn broken(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.to_owned())
}

/// Who logs in, and which database is used.
#[derive(Clone, Default)]
pub(crate) struct Login {
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) db: u32,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "database {}", self.db)
    }
}

/// A connection.
pub(crate) struct Redis {
    stream: Box<dyn Duplex>,
    buffer: Vec<u8>,
    patience: Duration,
}

impl Redis {
    /// Connects and logs in; each step, and each exchange later, may take as long as `patience`.
    pub(crate) async fn connect(server: &Server, login: &Login, patience: Duration) -> io::Result<Self> {
        let stream = in_time(patience, server.duplex()).await?;
        let mut redis = Self { stream, buffer: Vec::new(), patience };
        if let Some(password) = &login.password {
            let mut command: Command<'_> = vec![b"AUTH"];
            command.extend(login.user.as_ref().map(String::as_bytes));
            command.push(password.as_bytes());
            redis.must(command).await?;
        }
        if login.db > 0 {
            redis.must(vec![b"SELECT", login.db.to_string().as_bytes()]).await?;
        }
        Ok(redis)
    }

    async fn must(&mut self, command: Command<'_>) -> io::Result<()> {
        match self.ask(&[command]).await?.pop() {
            Some(Reply::Error(why)) => Err(io::Error::new(ErrorKind::PermissionDenied, why)),
            _ => Ok(()),
        }
    }

    /// Sends commands and reads a reply for each. After an error the connection is of no use.
    pub(crate) async fn ask(&mut self, commands: &[Command<'_>]) -> io::Result<Vec<Reply>> {
        let mut out = Vec::new();
        commands.iter().for_each(|command| write_command(command, &mut out));
        let patience = self.patience;
        in_time(patience, async {
            self.stream.write_all(&out).await?;
            self.stream.flush().await
        })
        .await?;
        let mut replies = Vec::with_capacity(commands.len());
        while replies.len() < commands.len() {
            replies.push(in_time(patience, self.reply()).await?);
        }
        Ok(replies)
    }

    /// The next reply.
    async fn reply(&mut self) -> io::Result<Reply> {
        loop {
            if let Some((reply, length)) = read_reply(&self.buffer)? {
                self.buffer.drain(..length);
                return Ok(reply);
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::Error::new(ErrorKind::UnexpectedEof, "the server closed the connection"));
            }
        }
    }
}

async fn in_time<T>(patience: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let done = timeout(patience, work).await;
    done.unwrap_or_else(|_| Err(io::Error::new(ErrorKind::TimedOut, "it took too long")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn commands_and_replies_are_written_and_read_as_redis_does() {
        let mut out = Vec::new();
        write_command(&[b"RPUSH", b"k", b"a\r\nb"], &mut out);
        assert_eq!(out, b"*3\r\n$5\r\nRPUSH\r\n$1\r\nk\r\n$4\r\na\r\nb\r\n");
        let text = b"*4\r\n+OK\r\n:-7\r\n$-1\r\n$2\r\n\r\n\r\n-ERR no\r\n";
        let list =
            [Reply::Status("OK".into()), Reply::Integer(-7), Reply::Nothing, Reply::Bulk(b"\r\n".to_vec())];
        let (reply, length) = read_reply(text).unwrap().unwrap();
        assert_eq!(reply, Reply::List(list.to_vec()));
        assert_eq!(read_reply(&text[length..]).unwrap(), Some((Reply::Error("ERR no".into()), 9)));
        for cut in 0..length {
            assert_eq!(read_reply(&text[..cut]).unwrap(), None, "{cut}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_a_reply_or_an_error_or_not_whole(
            bytes in proptest::collection::vec(prop_oneof![Just(b'*'), Just(b'$'), Just(b'\r'), Just(b'\n'), Just(b'1'), any::<u8>()], 0..60),
        ) {
            if let Ok(Some((_, length))) = read_reply(&bytes) {
                prop_assert!(length <= bytes.len());
            }
        }
    }
}
