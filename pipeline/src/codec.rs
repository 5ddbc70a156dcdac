//! Turns lines into events and events into bytes: what codecs have in common.
use crate::event::Event;
use crate::field::FieldRef;
use crate::lang::kinds::CodecCall;
use crate::value::{Map, Text, Timestamp, Value};
use bytes::Bytes;
use std::sync::Arc;

/// Turns one line into events: usually one.
pub(crate) trait Decode: Send + Sync {
    /// Adds the events of a line.
    fn decode(&self, line: Bytes, events: &mut Maker<'_>);

    /// Adds the events of a line that is known to be UTF-8: the same events.
    fn decode_text(&self, line: Text, events: &mut Maker<'_>) {
        self.decode(Bytes::copy_from_slice(line.as_bytes()), events);
    }

    /// What ends a line, if the codec says so.
    fn delimiter(&self) -> Option<&[u8]> {
        None
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
        Self::both(crate::codecs::plain::Plain { charset: Charset::Utf8, format: None })
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
}

impl<'a> Maker<'a> {
    /// Makes events of this moment with these fields.
    pub(crate) fn new(now: Timestamp, source: &'a Map, events: &'a mut Vec<Event>) -> Self {
        Self { now, source, events }
    }

    /// Adds an event with a message.
    pub(crate) fn message(&mut self, message: Text) {
        self.events.push(Event::with_fields_of(self.now, self.source, message));
    }

    /// Adds an event with a message that could not be decoded, and the tag that says so.
    pub(crate) fn failed(&mut self, message: Text, tag: &str) {
        let mut event = Event::with_fields_of(self.now, self.source, message);
        event.add_tag(tag);
        self.events.push(event);
    }

    /// Adds an event of decoded fields; those of the source are added where they are absent.
    pub(crate) fn fields(&mut self, fields: Map) {
        let mut event = Event::from_map(self.now, fields);
        event.add_absent(self.source);
        self.events.push(event);
    }

    /// Adds an event whose decoded fields stand in `target`.
    pub(crate) fn fields_in(&mut self, target: &FieldRef, fields: Map) {
        let mut event = Event::new(self.now);
        event.add_absent(self.source);
        if event.set(target, Value::Map(fields)).is_err() {
            event.add_tag(crate::codecs::json::FAILURE);
        }
        self.events.push(event);
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
                value.write_text(&mut text);
            }
            None => text.push_str(written),
        }
    }
    out.extend_from_slice(text.as_bytes());
}

/// Reads bytes in a character set.
pub(crate) fn to_text(line: Bytes, charset: Charset) -> Text {
    match charset {
        Charset::Utf8 | Charset::Ascii | Charset::Binary => Text::lossy(line),
        Charset::Latin1 if line.is_ascii() => Text::lossy(line),
        Charset::Latin1 => line.iter().map(|b| char::from(*b)).collect::<String>().into(),
    }
}

/// Reads a text in a character set.
pub(crate) fn from_text(line: Text, charset: Charset) -> Text {
    match charset {
        Charset::Utf8 | Charset::Ascii | Charset::Binary => line,
        Charset::Latin1 if line.is_ascii() => line,
        Charset::Latin1 => to_text(Bytes::copy_from_slice(line.as_bytes()), charset),
    }
}

/// Undoes the escapes that people write in delimiters: `\n`, `\r`, `\t`, `\0`.
pub(crate) fn unescaped(written: &str) -> String {
    written.replace("\\r", "\r").replace("\\n", "\n").replace("\\t", "\t").replace("\\0", "\0")
}

/// The bytes of a delimiter, its escapes undone.
pub(crate) fn delimiter_bytes(written: &str) -> Vec<u8> {
    unescaped(written).into_bytes()
}

crate::spec::words! {
    /// How the bytes of a text are to be read.
    pub(crate) enum Charset {
        /// UTF-8; what is not UTF-8 becomes U+FFFD.
        Utf8 = "UTF-8",
        /// ASCII; read as UTF-8.
        Ascii = "US-ASCII",
        /// Bytes; read as UTF-8.
        Binary = "ASCII-8BIT",
        /// ISO 8859-1.
        Latin1 = "ISO-8859-1",
    }
}
