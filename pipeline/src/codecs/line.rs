//! Takes a line as the message, and writes an event as a line.
use super::plain::Plain;
use crate::codec::{Charset, Codec, Decode, Encode, Maker, delimiter_bytes};
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
    codec "line" => pub(crate) struct LineOptions {
        /// The character set of what is read.
        charset: Charset = "UTF-8",
        /// What ends a line; `\n`, `\r`, `\t` and `\0` are understood.
        delimiter: Placed<String> = "\n",
        /// How an event is written. When left out: time, host and message.
        format: Option<Template>,
    }
    validate = check
}

fn check(options: &LineOptions, problems: &mut Problems) {
    if options.delimiter.is_empty() {
        problems.error(options.delimiter.span, "the delimiter is empty");
    }
}

impl CodecOptions for LineOptions {
    fn build(&self) -> Codec {
        let plain = Plain { charset: self.charset, format: self.format.clone() };
        Codec::both(Line { plain, delimiter: delimiter_bytes(&self.delimiter) })
    }
}

struct Line {
    plain: Plain,
    delimiter: Vec<u8>,
}

impl Decode for Line {
    fn decode(&self, line: Bytes, events: &mut Maker<'_>) {
        self.plain.decode(line, events);
    }

    fn decode_text(&self, line: Text, events: &mut Maker<'_>) {
        self.plain.decode_text(line, events);
    }

    fn delimiter(&self) -> Option<&[u8]> {
        Some(&self.delimiter)
    }
}

impl Encode for Line {
    fn encode(&self, event: &Event, out: &mut Vec<u8>) {
        self.plain.encode(event, out);
        out.extend_from_slice(&self.delimiter);
    }
}
