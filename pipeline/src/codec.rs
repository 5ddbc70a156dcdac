//! Turns lines into events and events into bytes: what codecs have in common.
pub(crate) use crate::charset::{Charset, from_text, to_text};
use crate::event::Event;
use crate::field::FieldRef;
use crate::join::Joining;
use crate::lang::kinds::CodecCall;
use crate::runtime::cutter::Cutter;
use crate::runtime::lines::{Cut, Line};
use crate::value::{Map, Text, Timestamp, Value};
use bytes::Bytes;
use std::sync::Arc;

/// Turns one message into events: usually one.
pub(crate) trait Decode: Send + Sync {
    /// Adds the events of a message: a line of a stream, or all that came at once.
    fn decode(&self, message: Bytes, events: &mut Maker<'_>);

    /// Adds the events of a message that is known to be UTF-8: the same events.
    fn decode_text(&self, message: Text, events: &mut Maker<'_>) {
        self.decode(Bytes::copy_from_slice(message.as_bytes()), events);
    }

    /// How a stream of bytes is cut into messages, if the codec says so.
    fn framing(&self) -> Option<Framing> {
        None
    }

    /// What puts lines together to messages before they are decoded.
    fn joining(&self) -> Option<Arc<Joining>> {
        None
    }

    /// A decoder of its own for one more source, if it remembers something of the messages before. Its messages are
    /// decoded in their order.
    fn for_source(&self) -> Option<Arc<dyn Decode>> {
        None
    }
}

/// How a stream of bytes is cut into messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Each ends with these bytes, which are no part of it.
    Delimited(Vec<u8>),
    /// Each is one value of MessagePack.
    Msgpack,
}

impl Framing {
    /// Lines.
    pub(crate) fn lines() -> Self {
        Self::Delimited(b"\n".to_vec())
    }
}

/// Turns an event into bytes.
pub(crate) trait Encode: Send + Sync {
    /// Adds the event to `out`, with what ends it.
    fn encode(&self, event: &Event, out: &mut Vec<u8>);
}

/// What a codec can do.
#[derive(Clone, Default)]
pub(crate) struct Codec {
    pub(crate) decode: Option<Arc<dyn Decode>>,
    pub(crate) encode: Option<Arc<dyn Encode>>,
}

impl Codec {
    /// The codec of inputs that were given none: a line is a message.
    pub(crate) fn lines() -> Self {
        Self::both(crate::codecs::plain::Plain::default())
    }

    /// A codec for both ways.
    pub(crate) fn both(codec: impl Decode + Encode + 'static) -> Self {
        let codec = Arc::new(codec);
        Self { decode: Some(codec.clone()), encode: Some(codec) }
    }
}

/// The writing half of a codec.
pub(crate) fn encoder(call: &CodecCall) -> Result<Arc<dyn Encode>, String> {
    crate::plugins::build_codec(&call.0)?
        .encode
        .ok_or_else(|| format!("the codec `{}` can only read", call.0.spec.name))
}

/// Makes the events of a batch, each with the fields of its source.
pub(crate) struct Maker<'a> {
    now: Timestamp,
    source: &'a Map,
    events: &'a mut Vec<Event>,
    /// Events that nobody needs any more: their memory is used again.
    old: Vec<Event>,
    /// How many events there may be; there are no more, but it is remembered that there were to be.
    most: usize,
    is_over: bool,
}

impl<'a> Maker<'a> {
    /// Makes events of this moment with these fields.
    pub(crate) fn new(now: Timestamp, source: &'a Map, events: &'a mut Vec<Event>) -> Self {
        Self { now, source, events, old: Vec::new(), most: usize::MAX, is_over: false }
    }

    /// Makes them in the memory of `old` ones, as long as there are any.
    pub(crate) fn of_old(self, old: Vec<Event>) -> Self {
        Self { old, ..self }
    }

    /// Gives back the old events that were not needed.
    pub(crate) fn into_old(self) -> Vec<Event> {
        self.old
    }

    /// Whether there are more events than are allowed: it is of no use to make any more.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    fn add(&mut self, event: Event) {
        if self.events.len() < self.most {
            self.events.push(event);
        } else {
            self.is_over = true;
        }
    }

    /// The moment of events that tell none.
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// Adds an event; the fields of the source are added where they are absent.
    pub(crate) fn event(&mut self, mut event: Event) {
        event.add_absent(self.source);
        self.add(event);
    }

    /// Adds an event with a message.
    pub(crate) fn message(&mut self, message: Text) {
        let old = self.old.pop();
        self.add(Event::with_fields_of(self.now, self.source, message, old));
    }

    /// Adds an event with a message that could not be decoded, and the tag that says so.
    pub(crate) fn failed(&mut self, message: Text, tag: &str) {
        let old = self.old.pop();
        let mut event = Event::with_fields_of(self.now, self.source, message, old);
        event.add_tag(tag);
        self.add(event);
    }

    /// Adds an event of decoded fields; those of the source are added where they are absent.
    pub(crate) fn fields(&mut self, fields: Map) {
        self.event(Event::from_map(self.now, fields));
    }

    /// The event of decoded fields, which stand in `target` if there is one.
    pub(crate) fn targeted(&self, target: Option<&FieldRef>, fields: Map) -> Event {
        let Some(target) = target else { return Event::from_map(self.now, fields) };
        let mut event = Event::new(self.now);
        if event.set(target, Value::Map(fields)).is_err() {
            event.add_tag(crate::codecs::json::FAILURE);
        }
        event
    }
}

/// The events of a message that came whole. A codec for streams finds several messages in it; what follows the last one is
/// one, too.
pub(crate) fn decode_whole(decode: &dyn Decode, fields: &Map, message: Bytes) -> Vec<Event> {
    decode_at_most(usize::MAX, decode, fields, message).unwrap_or_default()
}

/// How much of a message is cut at once: the places of all its lines may take more memory than the lines.
const CUT_BYTES: usize = 64 << 10;

/// The events of a message as [`decode_whole`] makes them; `None` when they are more than `most`.
pub(crate) fn decode_at_most(
    most: usize,
    decode: &dyn Decode,
    fields: &Map,
    message: Bytes,
) -> Option<Vec<Event>> {
    let mut events = Vec::new();
    let mut maker = Maker::new(Timestamp::now(), fields, &mut events);
    maker.most = most;
    match decode.framing() {
        None => decode.decode(message, &mut maker),
        Some(framing) => decode_pieces(&framing, decode, message, &mut maker),
    }
    if maker.is_over() { None } else { Some(events) }
}

fn decode_pieces(framing: &Framing, decode: &dyn Decode, message: Bytes, maker: &mut Maker<'_>) {
    let (mut cutter, mut end) = (Cutter::new(framing, 0), 0);
    for piece in message.chunks(CUT_BYTES) {
        end += piece.len() as u64;
        let mut cuts = Vec::new();
        let cut = cutter.push(piece, end, &mut cuts);
        decode_lines(decode, &cuts, maker);
        if cut.is_err() {
            return decode.decode(message, maker);
        }
        if maker.is_over() {
            return;
        }
    }
    decode_lines(decode, &cutter.finish(), maker);
}

fn decode_lines(decode: &dyn Decode, cuts: &[Cut], maker: &mut Maker<'_>) {
    for line in cuts.iter().flat_map(Cut::lines) {
        match line {
            Line::Text(line) => decode.decode_text(line, maker),
            Line::Bytes(line) => decode.decode(line, maker),
        }
    }
}

/// Adds `%{@timestamp} %{host} %{message}`: an event as Logstash prints it when nobody said how.
pub(crate) fn write_plain(event: &Event, out: &mut Vec<u8>) {
    let mut text = String::new();
    match event.timestamp() {
        Some(at) => crate::json::push_time(&mut text, at),
        None => text.push_str("%{@timestamp}"),
    }
    for (name, written) in [("host", " %{host}"), ("message", " %{message}")] {
        match event.fields().get(name) {
            Some(value) => {
                text.push(' ');
                crate::template::push_shown(value, &mut text);
            }
            None => text.push_str(written),
        }
    }
    out.extend_from_slice(text.as_bytes());
}
