//! Takes a message as it is, and writes an event as a text without an end.
use crate::codec::{Charset, Codec, Decode, Encode, Maker, from_text, to_text, write_plain};
use crate::ecs::Ecs;
use crate::event::Event;
use crate::field::FieldRef;
use crate::plugins::CodecOptions;
use crate::spec::plugin;
use crate::template::Template;
use crate::value::Text;
use bytes::Bytes;

plugin! {
    /// Takes what comes as the message; writes an event as a text, without anything after it.
    ///
    /// ```
    /// output { stdout { codec => plain { format => "%{host} %{message}; " } } }
    /// ```
    codec "plain" => pub(crate) struct PlainOptions {
        /// The character set of what is read, by Ruby's name: `UTF-8`, `ISO-8859-15`, `Windows-1252`, `Shift_JIS` and others.
        charset: Charset = "UTF-8",
        /// How an event is written. When left out: time, host and message.
        format: Option<Template>,
        /// With `v1` or `v8` the field `[event][original]` holds the message, too.
        ecs_compatibility: Ecs = "disabled",
    }
}

impl CodecOptions for PlainOptions {
    fn build(&self) -> Result<Codec, String> {
        let original = self.ecs_compatibility.original();
        Ok(Codec::both(Plain { charset: self.charset, format: self.format.clone(), original }))
    }
}

/// The plain codec, which other codecs and inputs build on.
pub(crate) struct Plain {
    pub(crate) charset: Charset,
    pub(crate) format: Option<Template>,
    /// The field that gets the message a second time.
    pub(crate) original: Option<FieldRef>,
}

impl Default for Plain {
    fn default() -> Self {
        Self { charset: Charset::Utf8, format: None, original: None }
    }
}

impl Decode for Plain {
    fn decode(&self, message: Bytes, events: &mut Maker<'_>) {
        self.take(to_text(message, self.charset), events);
    }

    fn decode_text(&self, message: Text, events: &mut Maker<'_>) {
        self.take(from_text(message, self.charset), events);
    }
}

impl Plain {
    fn take(&self, message: Text, events: &mut Maker<'_>) {
        match &self.original {
            None => events.message(message),
            Some(original) => {
                let mut event = Event::with_message(events.now(), message.clone());
                keep_original(&mut event, original, message);
                events.event(event);
            }
        }
    }
}

/// Puts what was read into `original`, unless the event has something there.
pub(crate) fn keep_original(event: &mut Event, original: &FieldRef, text: Text) {
    if !event.has(original) {
        // Where something else stands in its way the event goes without.
        let _set = event.set(original, text);
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
