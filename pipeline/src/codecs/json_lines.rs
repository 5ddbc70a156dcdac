//! Reads each line as a JSON document, and writes each event as one on a line of its own.
use super::json::Json;
use crate::codec::{Charset, Codec, Decode, Encode, Framing, Maker};
use crate::event::Event;
use crate::field::FieldRef;
use crate::lang::kinds::Placed;
use crate::lang::problems::Problems;
use crate::plugins::CodecOptions;
use crate::spec::plugin;
use crate::value::Text;
use bytes::Bytes;

plugin! {
    /// Reads each line as a JSON document, as the codec `json` does; writes each event as a JSON object on a line of
    /// its own.
    ///
    /// ```
    /// input { stdin { codec => json_lines } }
    /// output { file { path => "/tmp/events.jsonl" codec => json_lines } }
    /// ```
    codec "json_lines" => pub(crate) struct JsonLinesOptions {
        /// The character set of what is read, by Ruby's name.
        charset: Charset = "UTF-8",
        /// What ends a line: just these characters, unless escapes such as `\n` are asked for
        /// (`config.support_escapes`).
        delimiter: Placed<String> = "\n",
        /// The field to put the document into; the event itself when left out.
        target: Option<FieldRef>,
    }
    accepted {
        "decode_size_limit_bytes" => "a line of more than 1 MiB becomes several, so that no line fills the memory",
        "ecs_compatibility" => "fields go where `target` says",
    }
    validate = check
}

fn check(options: &JsonLinesOptions, problems: &mut Problems) {
    if options.delimiter.is_empty() {
        problems.error(options.delimiter.span, "the delimiter is empty");
    }
}

impl CodecOptions for JsonLinesOptions {
    fn build(&self) -> Result<Codec, String> {
        let json = Json { charset: self.charset, target: self.target.clone(), original: None };
        Ok(Codec::both(JsonLines { json, delimiter: self.delimiter.as_bytes().to_vec() }))
    }
}

struct JsonLines {
    json: Json,
    delimiter: Vec<u8>,
}

impl Decode for JsonLines {
    fn decode(&self, line: Bytes, events: &mut Maker<'_>) {
        self.json.decode(line, events);
    }

    fn decode_text(&self, line: Text, events: &mut Maker<'_>) {
        self.json.decode_text(line, events);
    }

    fn framing(&self) -> Option<Framing> {
        Some(Framing::Delimited(self.delimiter.clone()))
    }
}

impl Encode for JsonLines {
    fn encode(&self, event: &Event, out: &mut Vec<u8>) {
        self.json.encode(event, out);
        out.extend_from_slice(&self.delimiter);
    }
}
