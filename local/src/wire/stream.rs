//! Streams records to one client: a bounded queue between who decides and the connection.
//!
//! A queue that is full means a client that does not read: its stream is broken, as if its connection had been lost.

use super::body::Body;
use super::content::Encoding;
use super::reflect;
use crate::chance::Chance;
use crate::settings::Chunking;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use proto::recordio;
use std::collections::VecDeque;
use std::io;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

/// So many records wait for a slow client.
/// (A reconciliation of everything answers with one for each task at once.)
const WAITING_RECORDS: usize = 65_536;

enum Piece {
    Record(Bytes),
    End,
}

/// The sending side of a stream. Dropping it breaks the stream; `end` ends it in order.
pub(crate) struct Feed {
    pieces: mpsc::Sender<Piece>,
    broken: CancellationToken,
    encoding: Encoding,
    message: &'static str,
    _break_on_drop: DropGuard,
}

struct Source {
    pieces: mpsc::Receiver<Piece>,
    broken: CancellationToken,
    chunking: Chunking,
    cut: VecDeque<Bytes>,
    chance: Option<Chance>,
    /// The end was read along with records that are not cut yet.
    ended_in_order: bool,
    ended: bool,
}

/// A stream of messages of one kind (`message`, its full name) and the body that carries it.
pub(crate) fn open(message: &'static str, encoding: Encoding, chunking: Chunking) -> (Feed, Body) {
    let (pieces, waiting) = mpsc::channel(WAITING_RECORDS);
    let broken = CancellationToken::new();
    let chance = match chunking {
        Chunking::Random(seed) => Some(Chance::new(seed)),
        Chunking::Records | Chunking::Bytes(_) => None,
    };
    let cut = VecDeque::new();
    let source = Source {
        pieces: waiting,
        broken: broken.clone(),
        chunking,
        cut,
        chance,
        ended_in_order: false,
        ended: false,
    };
    let body = StreamBody::new(stream::unfold(source, |mut source| async move {
        let next = source.next().await?;
        Some((next.map(Frame::data), source))
    }));
    let feed = Feed { pieces, encoding, message, _break_on_drop: broken.clone().drop_guard(), broken };
    (feed, BodyExt::boxed_unsync(body))
}

impl Feed {
    /// Queues one message; breaks the stream when the client is too slow.
    pub(crate) fn send<M: prost::Message>(&self, message: &M) {
        match reflect::encode(self.message, self.encoding, message) {
            Ok(record) => self.queue(Piece::Record(recordio::encode(&record))),
            Err(problem) => tracing::error!(message = self.message, problem, "cannot encode an event"),
        }
    }

    /// Queues one record of any content.
    pub(crate) fn send_raw(&self, record: &[u8]) {
        self.queue(Piece::Record(recordio::encode(record)));
    }

    /// Ends the stream after what is queued.
    pub(crate) fn end(self) {
        self.queue(Piece::End);
        self._break_on_drop.disarm();
    }

    fn queue(&self, piece: Piece) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.pieces.try_send(piece) {
            tracing::warn!(message = self.message, "a client does not read its events: stream broken");
            self.broken.cancel();
        }
    }

    /// Ends when nobody reads any more.
    pub(crate) fn closed(&self) -> impl Future<Output = ()> + Send + 'static {
        let pieces = self.pieces.clone();
        async move { pieces.closed().await }
    }
}

impl Source {
    async fn next(&mut self) -> Option<Result<Bytes, io::Error>> {
        if self.ended {
            return None;
        }
        if let Some(chunk) = self.cut.pop_front() {
            return Some(Ok(chunk));
        }
        if self.ended_in_order {
            return None;
        }
        let piece = tokio::select! {
            piece = self.pieces.recv() => piece,
            () = self.broken.cancelled() => None,
        };
        match piece {
            Some(Piece::Record(record)) => {
                self.cut = match &mut self.chance {
                    Some(chance) => {
                        let (records, ended) = together(record, &mut self.pieces);
                        self.ended_in_order = ended;
                        cut_anywhere(records, chance)
                    }
                    None => cut(record, self.chunking),
                };
                self.cut.pop_front().map(Ok)
            }
            Some(Piece::End) => None,
            None => {
                self.ended = true;
                Some(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "stream broken")))
            }
        }
    }
}

/// A record with those that wait behind it, and whether the stream ends after them.
fn together(record: Bytes, pieces: &mut mpsc::Receiver<Piece>) -> (Bytes, bool) {
    let mut records = record.to_vec();
    loop {
        match pieces.try_recv() {
            Ok(Piece::Record(next)) => records.extend_from_slice(&next),
            Ok(Piece::End) => return (records.into(), true),
            Err(_) => return (records.into(), false),
        }
    }
}

/// Chunks of any size: single bytes, some hundred, or tens of thousands.
fn cut_anywhere(mut records: Bytes, chance: &mut Chance) -> VecDeque<Bytes> {
    const LONGEST: [usize; 3] = [3, 600, 70_000];
    let mut chunks = VecDeque::new();
    while !records.is_empty() {
        let longest = LONGEST.get(chance.below(LONGEST.len())).copied().unwrap_or(1);
        let length = (1 + chance.below(longest)).min(records.len());
        chunks.push_back(records.split_to(length));
    }
    chunks
}

fn cut(mut record: Bytes, chunking: Chunking) -> VecDeque<Bytes> {
    let mut chunks = VecDeque::new();
    if let Chunking::Bytes(most) = chunking {
        while record.len() > most.max(1) {
            chunks.push_back(record.split_to(most.max(1)));
        }
    }
    chunks.push_back(record);
    chunks
}
