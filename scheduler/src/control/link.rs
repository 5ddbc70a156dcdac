//! Moves bytes between a socket and HTTP/2: whoever waits for something on a connection keeps all of it going meanwhile.
//!
//! Nothing is kept for reading: bytes are read into room on the stack, and taken at once.
use super::http2::{Broken, Connection};
use bytes::Bytes;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Instant;
use tonic::{Code, Status};

/// How much is read at once.
const READ: usize = 8 << 10;

/// Why a connection is of no use any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum Gone {
    #[error("the connection was closed")]
    Closed,
    #[error("nothing was heard or taken on the connection for too long")]
    Silent,
    #[error("the connection failed")]
    Failed(#[from] io::Error),
    #[error("what came cannot be understood")]
    Broken(#[from] Broken),
}

impl From<Gone> for Status {
    fn from(gone: Gone) -> Self {
        let code = if matches!(gone, Gone::Broken(_)) { Code::Internal } else { Code::Unavailable };
        let why = std::error::Error::source(&gone).map(|cause| format!(": {cause}")).unwrap_or_default();
        Self::new(code, format!("{gone}{why}"))
    }
}

/// One connection and its socket.
pub(super) struct Link<T> {
    io: T,
    http2: Connection,
    /// When anything came.
    heard: Instant,
    /// What was written may still be in a buffer below.
    unflushed: bool,
    /// The other side writes no more.
    over: bool,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Link<T> {
    pub(super) fn new(io: T) -> Self {
        Self { io, http2: Connection::new(), heard: Instant::now(), unflushed: false, over: false }
    }

    /// Whether the request is one for what is served here.
    pub(super) async fn asked(&mut self) -> Result<bool, Gone> {
        poll_fn(|cx| {
            self.work(cx)?;
            self.outcome(self.http2.asked())
        })
        .await
    }

    /// The next part of what comes on the stream; `None` at its end. Nothing is lost when this is dropped before it is ready.
    pub(super) async fn came(&mut self) -> Result<Option<Bytes>, Gone> {
        poll_fn(|cx| {
            self.work(cx)?;
            let came = self.http2.came().map(Some);
            let end = self.http2.has_ended().then_some(None);
            self.outcome(came.or(end))
        })
        .await
    }

    /// Sends a message on the stream, until all of it is written.
    pub(super) async fn send(&mut self, message: Bytes) -> Result<(), Gone> {
        self.http2.send(message);
        self.sent().await
    }

    async fn sent(&mut self) -> Result<(), Gone> {
        poll_fn(|cx| {
            self.work(cx)?;
            self.outcome((self.http2.is_sent() && !self.unflushed).then_some(()))
        })
        .await
    }

    /// Keeps the connection going until something else is there.
    pub(super) async fn meanwhile<F: Future>(&mut self, other: F) -> Result<F::Output, Gone> {
        let mut other = pin!(other);
        poll_fn(|cx| {
            self.work(cx)?;
            match other.as_mut().poll(cx) {
                Poll::Ready(output) => Poll::Ready(Ok(output)),
                Poll::Pending => self.outcome(None),
            }
        })
        .await
    }

    /// Begins the response.
    pub(super) fn answer(&mut self, fields: &[u8]) {
        self.http2.answer(fields);
    }

    /// How long nothing came.
    pub(super) fn silent(&self) -> Duration {
        self.heard.elapsed()
    }

    /// Asks the other side for a sign of life.
    pub(super) fn ping(&mut self) {
        self.http2.ping();
    }

    /// Ends stream and connection in good order: with these fields, then waiting until the other side closes, too.
    pub(super) async fn end(mut self, fields: &[u8]) -> Result<(), Gone> {
        self.http2.end(fields);
        self.sent().await?;
        self.io.shutdown().await?;
        loop {
            self.meanwhile(std::future::pending::<()>()).await?;
        }
    }

    /// What to say if this is what there is by now.
    fn outcome<R>(&self, there: Option<R>) -> Poll<Result<R, Gone>> {
        match there {
            Some(there) => Poll::Ready(Ok(there)),
            None if self.over => Poll::Ready(Err(Gone::Closed)),
            None => Poll::Pending,
        }
    }

    /// Writes and reads until neither goes on.
    fn work(&mut self, cx: &mut Context<'_>) -> Result<(), Gone> {
        loop {
            self.write(cx)?;
            match self.read(cx) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(gone) => {
                    if let Gone::Broken(why) = gone {
                        self.http2.give_up(why);
                        self.write(cx)?;
                    }
                    return Err(gone);
                }
            }
        }
    }

    fn write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        loop {
            let bytes = self.http2.unwritten();
            if bytes.is_empty() {
                break;
            }
            match Pin::new(&mut self.io).poll_write(cx, bytes)? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(written) => self.http2.wrote(written),
                Poll::Pending => return Ok(()),
            }
            self.unflushed = true;
        }
        if self.unflushed && Pin::new(&mut self.io).poll_flush(cx)?.is_ready() {
            self.unflushed = false;
        }
        Ok(())
    }

    /// Says whether something came.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, Gone> {
        if self.over || !self.http2.takes_more() {
            return Ok(false);
        }
        let mut room = [const { MaybeUninit::uninit() }; READ];
        let mut read = ReadBuf::uninit(&mut room);
        if Pin::new(&mut self.io).poll_read(cx, &mut read)?.is_pending() {
            return Ok(false);
        }
        if read.filled().is_empty() {
            self.over = true;
            return Ok(false);
        }
        self.heard = Instant::now();
        self.http2.receive(read.filled())?;
        Ok(true)
    }
}
