//! Speaks as much HTTP/2 (RFC 9113) as a server needs whose clients open one stream each, with one kind of request on it.
//!
//! A general implementation keeps some 35 kB for each connection that is silent, which with ten thousand executors is most of what
//! a scheduler has. This one keeps nothing but a few numbers: frames are taken where they lie, and only one that came in
//! parts is put together. It does no input and output itself: bytes that came go in, bytes to be written come out.
mod frame;
mod request;

use bytes::Bytes;
use frame::{Flags, Head, Kind};
use std::collections::VecDeque;

pub(super) use request::fields;

/// What a client says before anything else.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How much either side may send before it is told to go on, unless settings say otherwise; ours do not.
const WINDOW: i64 = 65_535;
/// The most that a window can be.
const WINDOW_MAX: i64 = (1 << 31) - 1;
/// While more than this waits to be written, nothing is taken in: who asks has to hear the answers.
const UNWRITTEN_MAX: usize = 64 << 10;
/// The settings that mean something here, RFC 9113, 6.5.2.
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
/// Error codes of RFC 9113, 7.
const NO_ERROR: u32 = 0;
const PROTOCOL_ERROR: u32 = 1;
const STREAM_CLOSED: u32 = 5;
const REFUSED_STREAM: u32 = 7;

/// What makes a connection useless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Broken(&'static str);

/// The one stream of a connection.
#[derive(Clone, Copy, Debug)]
struct Stream {
    id: u32,
    /// Whether it asks for what is served here.
    known: bool,
    /// Nothing more comes from the client.
    ended: bool,
    /// The client wants to hear nothing more.
    reset: bool,
    /// The head of the response is on its way.
    answered: bool,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    greeted: bool,
    /// The frame of which only a part came.
    begun: Vec<u8>,
    stream: Option<Stream>,
    /// What came on the stream and was not taken out; the client's windows limit it.
    inbox: VecDeque<Bytes>,
    /// How much the client may still send.
    room: i64,
    /// How much was taken out since the client heard so.
    taken: usize,
    /// How much may be sent, on the connection and on the stream, and what streams begin with.
    window: i64,
    stream_window: i64,
    initial_window: i64,
    /// What waits to be written, and how much of it is.
    out: Vec<u8>,
    written: usize,
    /// What is to be sent on the stream as soon as there is a window for it.
    sending: Bytes,
}

impl Connection {
    pub(super) fn new() -> Self {
        Self {
            greeted: false,
            begun: Vec::new(),
            stream: None,
            inbox: VecDeque::new(),
            room: WINDOW,
            taken: 0,
            window: WINDOW,
            stream_window: WINDOW,
            initial_window: WINDOW,
            out: Vec::new(),
            written: 0,
            sending: Bytes::new(),
        }
    }

    /// Takes what came, in whatever parts.
    pub(super) fn receive(&mut self, mut data: &[u8]) -> Result<(), Broken> {
        while !data.is_empty() {
            if self.begun.is_empty()
                && let Some(length) = self.unit(data)?
                && let Some((unit, rest)) = data.split_at_checked(length)
            {
                self.take(unit)?;
                data = rest;
                continue;
            }
            let wanted = self.unit(&self.begun)?.unwrap_or(Head::LENGTH).saturating_sub(self.begun.len());
            let (part, rest) = data.split_at(wanted.min(data.len()));
            self.begun.extend_from_slice(part);
            data = rest;
            if self.unit(&self.begun)? == Some(self.begun.len()) {
                let unit = std::mem::take(&mut self.begun);
                self.take(&unit)?;
            }
        }
        Ok(())
    }

    /// How long what begins here is, preface or frame, as soon as that can be known.
    fn unit(&self, bytes: &[u8]) -> Result<Option<usize>, Broken> {
        if !self.greeted {
            let alike = bytes.iter().zip(PREFACE).all(|(came, expected)| came == expected);
            return if alike { Ok(Some(PREFACE.len())) } else { Err(Broken("it is not HTTP/2 what came")) };
        }
        match Head::of(bytes) {
            Some((head, _)) if head.length > frame::PAYLOAD_MAX => Err(Broken("a frame is too long")),
            head => Ok(head.map(|(head, _)| Head::LENGTH + head.length)),
        }
    }

    fn take(&mut self, unit: &[u8]) -> Result<(), Broken> {
        if !self.greeted {
            self.greeted = true;
            let mut settings = MAX_CONCURRENT_STREAMS.to_be_bytes().to_vec();
            settings.extend(1u32.to_be_bytes());
            frame::write(&mut self.out, Kind::SETTINGS, Flags::NONE, 0, &settings);
            return Ok(());
        }
        let Some((head, payload)) = Head::of(unit) else { return Err(Broken("a frame has no head")) };
        match head.kind {
            Kind::DATA => self.data(head, payload),
            Kind::HEADERS => self.headers(head, payload),
            Kind::RST_STREAM => {
                if let Some(stream) = self.stream.as_mut().filter(|stream| stream.id == head.stream) {
                    (stream.ended, stream.reset) = (true, true);
                    self.sending = Bytes::new();
                }
                Ok(())
            }
            Kind::SETTINGS => self.settings(head, payload),
            Kind::PING => self.ping_came(head, payload),
            Kind::WINDOW_UPDATE => self.window_update(head, payload),
            Kind::PUSH_PROMISE => Err(Broken("a client promised something")),
            Kind::CONTINUATION => Err(Broken("the head of a request goes on in a second frame")),
            // Priorities, that the client is about to go, and what is unknown: nothing to do.
            _ => Ok(()),
        }
    }

    fn data(&mut self, head: Head, payload: &[u8]) -> Result<(), Broken> {
        let all = payload.len();
        self.room -= i64::try_from(all).unwrap_or(i64::MAX);
        if self.room < 0 {
            return Err(Broken("more came than was allowed"));
        }
        let Some(stream) = self.stream.as_mut().filter(|stream| stream.id == head.stream && !stream.ended)
        else {
            self.give_room(all);
            self.reset(head.stream, STREAM_CLOSED);
            return Ok(());
        };
        let content = head.unpadded(payload).ok_or(Broken("a frame is shorter than its padding"))?;
        stream.ended = head.flags.has(Flags::END_STREAM);
        if !content.is_empty() {
            self.inbox.push_back(Bytes::copy_from_slice(content));
        }
        self.give_room(all - content.len());
        Ok(())
    }

    fn headers(&mut self, head: Head, payload: &[u8]) -> Result<(), Broken> {
        if !head.flags.has(Flags::END_HEADERS) {
            return Err(Broken("the head of a request goes on in a second frame"));
        }
        let ended = head.flags.has(Flags::END_STREAM);
        match self.stream.as_mut() {
            // Trailers of a request say nothing.
            Some(stream) if stream.id == head.stream => stream.ended |= ended,
            Some(_) => self.reset(head.stream, REFUSED_STREAM),
            None if head.stream.is_multiple_of(2) => {
                return Err(Broken("the number of a stream cannot be a client's"));
            }
            None => {
                let fields = head.unpadded(payload).ok_or(Broken("a frame is shorter than its padding"))?;
                let fields = if head.flags.has(Flags::PRIORITY) { fields.get(5..) } else { Some(fields) };
                let fields = fields.ok_or(Broken("a frame has no priority"))?;
                let known =
                    request::is_attach(fields).ok_or(Broken("the head of a request cannot be read"))?;
                self.stream = Some(Stream { id: head.stream, known, ended, reset: false, answered: false });
                self.stream_window = self.initial_window;
            }
        }
        Ok(())
    }

    fn settings(&mut self, head: Head, payload: &[u8]) -> Result<(), Broken> {
        let (settings, rest) = payload.as_chunks::<6>();
        if !rest.is_empty() {
            return Err(Broken("settings have a wrong length"));
        }
        if head.flags.has(Flags::ACK) {
            return Ok(());
        }
        for [name_1, name_2, value @ ..] in settings {
            if u16::from_be_bytes([*name_1, *name_2]) == INITIAL_WINDOW_SIZE {
                let initial = i64::from(u32::from_be_bytes(*value));
                self.stream_window += initial - self.initial_window;
                self.initial_window = initial;
            }
        }
        if self.initial_window > WINDOW_MAX || self.stream_window > WINDOW_MAX {
            return Err(Broken("a window is too large"));
        }
        frame::write(&mut self.out, Kind::SETTINGS, Flags::ACK, 0, &[]);
        Ok(())
    }

    fn ping_came(&mut self, head: Head, payload: &[u8]) -> Result<(), Broken> {
        if payload.len() != 8 {
            return Err(Broken("a ping has a wrong length"));
        }
        if !head.flags.has(Flags::ACK) {
            frame::write(&mut self.out, Kind::PING, Flags::ACK, 0, payload);
        }
        Ok(())
    }

    fn window_update(&mut self, head: Head, payload: &[u8]) -> Result<(), Broken> {
        let more = payload.try_into().map(|more| i64::from(u32::from_be_bytes(more) & 0x7fff_ffff));
        let more = more.ok().filter(|more| *more > 0).ok_or(Broken("a window grows by nothing"))?;
        let window = match self.stream {
            _ if head.stream == 0 => &mut self.window,
            Some(stream) if stream.id == head.stream => &mut self.stream_window,
            _ => return Ok(()),
        };
        *window += more;
        if *window > WINDOW_MAX { Err(Broken("a window is too large")) } else { Ok(()) }
    }

    /// Tells the client that it may send so much more, if that is worth a frame.
    fn give_room(&mut self, bytes: usize) {
        self.taken += bytes;
        let taken = i64::try_from(self.taken).unwrap_or(i64::MAX);
        if taken < WINDOW / 2 {
            return;
        }
        self.room += taken;
        self.taken = 0;
        let more = u32::try_from(taken).unwrap_or(u32::MAX).to_be_bytes();
        frame::write(&mut self.out, Kind::WINDOW_UPDATE, Flags::NONE, 0, &more);
        if let Some(stream) = self.stream.filter(|stream| !stream.ended) {
            frame::write(&mut self.out, Kind::WINDOW_UPDATE, Flags::NONE, stream.id, &more);
        }
    }

    fn reset(&mut self, stream: u32, why: u32) {
        frame::write(&mut self.out, Kind::RST_STREAM, Flags::NONE, stream, &why.to_be_bytes());
    }

    /// Whether the request is one for what is served here, once there is one.
    pub(super) fn asked(&self) -> Option<bool> {
        self.stream.map(|stream| stream.known)
    }

    /// The next part of what came on the stream.
    pub(super) fn came(&mut self) -> Option<Bytes> {
        let part = self.inbox.pop_front()?;
        if self.inbox.is_empty() {
            self.inbox = VecDeque::new();
        }
        self.give_room(part.len());
        Some(part)
    }

    /// Whether nothing more will come on the stream.
    pub(super) fn has_ended(&self) -> bool {
        self.stream.is_some_and(|stream| stream.ended)
    }

    /// Whether more may be taken in now.
    pub(super) fn takes_more(&self) -> bool {
        self.out.len() - self.written < UNWRITTEN_MAX
    }

    /// Begins the response: these fields, as `fields` writes them.
    pub(super) fn answer(&mut self, fields: &[u8]) {
        if let Some(stream) = self.stream.as_mut() {
            stream.answered = true;
            frame::write(&mut self.out, Kind::HEADERS, Flags::END_HEADERS, stream.id, fields);
        }
    }

    /// Sends this on the stream; what was to be sent before must be on its way.
    pub(super) fn send(&mut self, message: Bytes) {
        debug_assert!(self.sending.is_empty(), "one message after the other");
        self.sending = message;
    }

    /// Whether everything is written, or will never be asked for.
    pub(super) fn is_sent(&self) -> bool {
        self.sending.is_empty() && self.out.is_empty()
    }

    /// Asks whether the client is still there.
    pub(super) fn ping(&mut self) {
        frame::write(&mut self.out, Kind::PING, Flags::NONE, 0, b"logherd.");
    }

    /// Ends stream and connection: with these fields, as trailers or as the whole of a response.
    pub(super) fn end(&mut self, fields: &[u8]) {
        self.sending = Bytes::new();
        let last = self.stream.map_or(0, |stream| stream.id);
        if let Some(stream) = self.stream.filter(|stream| !stream.reset) {
            let flags = Flags::END_HEADERS.and(Flags::END_STREAM);
            frame::write(&mut self.out, Kind::HEADERS, flags, stream.id, fields);
            if !stream.ended {
                self.reset(stream.id, NO_ERROR);
            }
        }
        self.go_away(last, NO_ERROR, "");
    }

    /// Says what is wrong with what came; there is no going on.
    pub(super) fn give_up(&mut self, why: Broken) {
        self.sending = Bytes::new();
        self.go_away(0, PROTOCOL_ERROR, why.0);
    }

    fn go_away(&mut self, last: u32, code: u32, text: &str) {
        let mut payload = last.to_be_bytes().to_vec();
        payload.extend(code.to_be_bytes());
        payload.extend(text.as_bytes());
        frame::write(&mut self.out, Kind::GOAWAY, Flags::NONE, 0, &payload);
    }

    /// What is to be written next.
    pub(super) fn unwritten(&mut self) -> &[u8] {
        if self.out.is_empty() {
            self.fill();
        }
        self.out.get(self.written..).unwrap_or_default()
    }

    /// So much of it was written.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.written += bytes;
        if self.written >= self.out.len() {
            (self.out, self.written) = (Vec::new(), 0);
        }
    }

    /// Makes a frame of what is to be sent, as far as the windows allow.
    fn fill(&mut self) {
        let Some(stream) = self.stream.filter(|stream| stream.answered) else { return };
        let window = usize::try_from(self.window.min(self.stream_window)).unwrap_or(0);
        let length = self.sending.len().min(window).min(frame::PAYLOAD_MAX);
        if length == 0 {
            return;
        }
        let part = self.sending.split_to(length);
        if self.sending.is_empty() {
            // It would hold on to what many share.
            self.sending = Bytes::new();
        }
        let sent = i64::try_from(length).unwrap_or(i64::MAX);
        self.window -= sent;
        self.stream_window -= sent;
        frame::write(&mut self.out, Kind::DATA, Flags::NONE, stream.id, &part);
    }
}

#[cfg(test)]
mod tests;
