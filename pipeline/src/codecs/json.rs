//! Reads a line as a JSON document, and writes an event as one, without an end.
use crate::codec::{Charset, Codec, Decode, Encode, Maker, from_text, to_text};
use crate::event::Event;
use crate::field::FieldRef;
use crate::plugins::CodecOptions;
use crate::spec::plugin;
use crate::value::{Map, Text, Value};
use bytes::Bytes;

/// The tag of an event whose message was to be JSON and is not.
pub(crate) const FAILURE: &str = "_jsonparsefailure";

plugin! {
    /// Reads each line as a JSON document: an object becomes an event, an array an event for each object in it.
    ///
    /// What is no JSON becomes an event with the line as its message and the tag `_jsonparsefailure`. Whole numbers
    /// that do not fit in 64 bits with sign become floating-point numbers. Blank lines are skipped.
    /// An event is written as one JSON object, without anything after it.
    codec "json" => pub(crate) struct JsonOptions {
        /// The character set of what is read.
        charset: Charset = "UTF-8",
        /// The field to put the document into; the event itself when left out.
        target: Option<FieldRef>,
    }
}

impl CodecOptions for JsonOptions {
    fn build(&self) -> Codec {
        Codec::both(Json { charset: self.charset, target: self.target.clone() })
    }
}

/// The json codec, which `json_lines` builds on.
pub(crate) struct Json {
    pub(crate) charset: Charset,
    pub(crate) target: Option<FieldRef>,
}

impl Json {
    fn add(&self, fields: Map, events: &mut Maker<'_>) {
        match &self.target {
            None => events.fields(fields),
            Some(target) => events.fields_in(target, fields),
        }
    }
}

impl Decode for Json {
    fn decode(&self, line: Bytes, events: &mut Maker<'_>) {
        self.read(to_text(line, self.charset), events);
    }

    fn decode_text(&self, line: Text, events: &mut Maker<'_>) {
        self.read(from_text(line, self.charset), events);
    }
}

impl Json {
    fn read(&self, text: Text, events: &mut Maker<'_>) {
        if text.trim_ascii().is_empty() {
            return;
        }
        match crate::json::parse(&text) {
            Ok(Value::Map(fields)) => self.add(fields, events),
            Ok(Value::List(items)) => {
                for item in items {
                    match item {
                        Value::Map(fields) => self.add(fields, events),
                        other => events.failed(other.to_text(), FAILURE),
                    }
                }
            }
            Ok(_) | Err(_) => events.failed(text, FAILURE),
        }
    }
}

impl Encode for Json {
    fn encode(&self, event: &Event, out: &mut Vec<u8>) {
        event.write_json(out);
    }
}
