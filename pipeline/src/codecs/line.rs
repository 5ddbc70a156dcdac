//! Takes a line as the message, and writes an event as a line.
use super::plain::Plain;
use crate::codec::{Charset, Codec, Decode, Encode, Framing, Maker};
use crate::ecs::Ecs;
use crate::event::Event;
use crate::lang::kinds::Placed;
use crate::lang::problems::Problems;
use crate::plugins::CodecOptions;
use crate::spec::plugin;
use crate::template::Template;
use crate::value::Text;
use bytes::Bytes;

plugin! {
    /// Takes a line as the message; writes an event as a line.
    ///
    /// ```
    /// input { udp { port => 5000 codec => line { charset => "Windows-1252" } } }
    /// ```
    codec "line" => pub(crate) struct LineOptions {
        /// The character set of what is read, by Ruby's name: `UTF-8`, `ISO-8859-15`, `Windows-1252`, `Shift_JIS` and others.
        charset: Charset = "UTF-8",
        /// What ends a line: just these characters, unless escapes such as `\n` are asked for
        /// (`config.support_escapes`).
        delimiter: Placed<String> = "\n",
        /// How an event is written. When left out: time, host and message.
        format: Option<Template>,
        /// With `v1` or `v8` the field `[event][original]` holds the message, too.
        ecs_compatibility: Ecs = "disabled",
    }
    validate = check
}

fn check(options: &LineOptions, problems: &mut Problems) {
    if options.delimiter.is_empty() {
        problems.error(options.delimiter.span, "the delimiter is empty");
    }
}

impl CodecOptions for LineOptions {
    fn build(&self) -> Result<Codec, String> {
        let original = self.ecs_compatibility.original();
        let plain = Plain { charset: self.charset, format: self.format.clone(), original };
        Ok(Codec::both(Line { plain, delimiter: self.delimiter.as_bytes().to_vec() }))
    }
}

/// The line codec, which inputs of streams have when they are given none.
pub(crate) struct Line {
    pub(crate) plain: Plain,
    pub(crate) delimiter: Vec<u8>,
}

impl Decode for Line {
    fn decode(&self, line: Bytes, events: &mut Maker<'_>) {
        self.plain.decode(line, events);
    }

    fn decode_text(&self, line: Text, events: &mut Maker<'_>) {
        self.plain.decode_text(line, events);
    }

    fn framing(&self) -> Option<Framing> {
        Some(Framing::Delimited(self.delimiter.clone()))
    }
}

impl Encode for Line {
    fn encode(&self, event: &Event, out: &mut Vec<u8>) {
        self.plain.encode(event, out);
        out.extend_from_slice(&self.delimiter);
    }
}
