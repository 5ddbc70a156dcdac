//! Reads and writes events as maps of MessagePack.
use crate::codec::{Codec, Decode, Encode, Framing, Maker};
use crate::event::Event;
use crate::field::FieldRef;
use crate::msgpack;
use crate::plugins::CodecOptions;
use crate::spec::plugin;
use crate::template::Template;
use crate::value::{Map, Value};
use bytes::Bytes;

/// The tag of an event whose message is no map of MessagePack.
const FAILURE: &str = "_msgpackparsefailure";

plugin! {
    /// Reads a map of MessagePack as an event, and writes an event as one.
    ///
    /// ```
    /// input { udp { port => 5000 codec => msgpack } }
    /// ```
    ///
    /// A stream may hold one after the other, each of up to 32 MiB. What is no map becomes the message of an event with
    /// the tag `_msgpackparsefailure`.
    codec "msgpack" => pub(crate) struct MsgpackOptions {
        /// The message of events that have none.
        format: Option<Template>,
        /// The field to put the map into; the event itself when left out.
        target: Option<FieldRef>,
    }
    accepted {
        "ecs_compatibility" => "fields go where `target` says",
    }
}

impl CodecOptions for MsgpackOptions {
    fn build(&self) -> Result<Codec, String> {
        Ok(Codec::both(Msgpack { format: self.format.clone(), target: self.target.clone() }))
    }
}

struct Msgpack {
    format: Option<Template>,
    target: Option<FieldRef>,
}

impl Decode for Msgpack {
    fn decode(&self, message: Bytes, events: &mut Maker<'_>) {
        let mut rest: &[u8] = &message;
        let Ok(rmpv::Value::Map(entries)) = msgpack::read(&mut rest) else {
            return events.failed(msgpack::bytes_shown(message), FAILURE);
        };
        if !rest.is_empty() {
            return events.failed(msgpack::bytes_shown(message), FAILURE);
        }
        let mut event = events.targeted(self.target.as_ref(), msgpack::map(entries));
        if let Some(format) = &self.format
            && event.fields().get("message").is_none_or(|message| *message == Value::Null)
        {
            let message = Value::Str(format.render(&event));
            event.fields_mut().insert("message", message);
        }
        events.event(event);
    }

    fn framing(&self) -> Option<Framing> {
        Some(Framing::Msgpack)
    }
}

impl Encode for Msgpack {
    fn encode(&self, event: &Event, out: &mut Vec<u8>) {
        msgpack::write(&rmpv::Value::Map(msgpack::entries(&all_fields(event))), out);
    }
}

/// The fields of an event with its moment.
pub(crate) fn all_fields(event: &Event) -> Map {
    let at = event.timestamp().map(|at| ("@timestamp".into(), Value::Time(at)));
    let fields = event.fields().iter().map(|(name, value)| (name.clone(), value.clone()));
    at.into_iter().chain(fields).collect()
}

#[cfg(test)]
mod tests {
    use crate::trial::codecs::{encoded, shown};

    #[test]
    fn what_is_written_is_read_back() {
        let event = r#"{"a":1,"b":[true,null,-2.5],"c":{"d":"ü"},"@timestamp":"2026-01-02T03:04:05.006Z"}"#;
        let bytes = encoded("msgpack", event);
        let read = shown("msgpack", &[&bytes]);
        assert_eq!(
            read,
            [r#"{"@timestamp":"2026-01-02T03:04:05.006Z","a":1,"b":[true,null,-2.5],"c":{"d":"ü"}}"#]
        );
    }

    #[test]
    fn what_is_no_map_is_kept_and_tagged() {
        assert_eq!(shown("msgpack", &[b"x"]), [r#"{"message":"x","tags":["_msgpackparsefailure"]}"#]);
        let followed = [&encoded("msgpack", "{}")[..], b"x"].concat();
        assert!(shown("msgpack", &[&followed])[0].contains("_msgpackparsefailure"));
    }

    #[test]
    fn a_format_makes_a_message_where_there_is_none() {
        let codec = "msgpack { format => '%{a} of %{b}' }";
        assert_eq!(
            shown(codec, &[b"\x82\xa1a\x01\xa1b\xc2"]),
            [r#"{"a":1,"b":false,"message":"1 of false"}"#]
        );
        assert_eq!(shown(codec, &[b"\x81\xa7message\xa1m"]), [r#"{"message":"m"}"#]);
        assert_eq!(shown("msgpack { target => '[t]' }", &[b"\x81\xa1a\x01"]), [r#"{"t":{"a":1}}"#]);
    }
}
