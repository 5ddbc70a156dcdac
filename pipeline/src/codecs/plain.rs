//! Takes a line as the message, and writes an event as a text without an end.
use crate::codec::{Charset, Codec, Decode, Encode, Maker, from_text, to_text, write_plain};
use crate::event::Event;
use crate::plugins::CodecOptions;
use crate::spec::plugin;
use crate::template::Template;
use crate::value::Text;
use bytes::Bytes;

plugin! {
    /// Takes a line as the message; writes an event as a text, without anything after it.
    codec "plain" => pub(crate) struct PlainOptions {
        /// The character set of what is read.
        charset: Charset = "UTF-8",
        /// How an event is written. When left out: time, host and message.
        format: Option<Template>,
    }
}

impl CodecOptions for PlainOptions {
    fn build(&self) -> Codec {
        Codec::both(Plain { charset: self.charset, format: self.format.clone() })
    }
}

/// The plain codec, which other codecs and inputs build on.
pub(crate) struct Plain {
    pub(crate) charset: Charset,
    pub(crate) format: Option<Template>,
}

impl Decode for Plain {
    fn decode(&self, line: Bytes, events: &mut Maker<'_>) {
        events.message(to_text(line, self.charset));
    }

    fn decode_text(&self, line: Text, events: &mut Maker<'_>) {
        events.message(from_text(line, self.charset));
    }
}

impl Encode for Plain {
    fn encode(&self, event: &Event, out: &mut Vec<u8>) {
        match &self.format {
            Some(format) => out.extend_from_slice(format.render(event).as_bytes()),
            None => write_plain(event, out),
        }
    }
}
