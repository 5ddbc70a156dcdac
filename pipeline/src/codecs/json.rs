//! Reads a message as a JSON document, and writes an event as one, without an end.
use super::plain::keep_original;
use crate::codec::{Charset, Codec, Decode, Encode, Maker, from_text, to_text};
use crate::ecs::Ecs;
use crate::event::Event;
use crate::field::FieldRef;
use crate::plugins::CodecOptions;
use crate::spec::plugin;
use crate::value::{Map, Text, Timestamp, Value};
use bytes::Bytes;

/// The tag of an event whose message was to be JSON and is not.
pub(crate) const FAILURE: &str = "_jsonparsefailure";

plugin! {
    /// Reads each message as a JSON document: an object becomes an event, an array an event for each object in it.
    ///
    /// ```
    /// input { udp { port => 8080 codec => json } }
    /// ```
    ///
    /// What is neither becomes an event with the text as its message and the tag `_jsonparsefailure`. Whole numbers
    /// that do not fit in 64 bits with sign become floating-point numbers. Blank messages are skipped. A stream of bytes
    /// (`stdin`, `tcp`, `unix`) is read line by line. An event is written as one JSON object, without anything after it.
    codec "json" => pub(crate) struct JsonOptions {
        /// The character set of what is read, by Ruby's name.
        charset: Charset = "UTF-8",
        /// The field to put the document into; the event itself when left out.
        target: Option<FieldRef>,
        /// With `v1` or `v8` the field `[event][original]` holds the text, too, where it made one event.
        ecs_compatibility: Ecs = "disabled",
    }
}

impl CodecOptions for JsonOptions {
    fn build(&self) -> Result<Codec, String> {
        let original = self.ecs_compatibility.original();
        Ok(Codec::both(Json { charset: self.charset, target: self.target.clone(), original }))
    }
}

/// The json codec, which `json_lines` builds on.
pub(crate) struct Json {
    pub(crate) charset: Charset,
    pub(crate) target: Option<FieldRef>,
    /// The field that gets the text of a document.
    pub(crate) original: Option<FieldRef>,
}

impl Default for Json {
    fn default() -> Self {
        Self { charset: Charset::Utf8, target: None, original: None }
    }
}

impl Json {
    fn add(&self, fields: Map, text: Option<&Text>, events: &mut Maker<'_>) {
        let mut event = events.targeted(self.target.as_ref(), fields);
        if let (Some(original), Some(text)) = (&self.original, text) {
            keep_original(&mut event, original, text.clone());
        }
        events.event(event);
    }
}

impl Decode for Json {
    fn decode(&self, message: Bytes, events: &mut Maker<'_>) {
        self.read(to_text(message, self.charset), events);
    }

    fn decode_text(&self, message: Text, events: &mut Maker<'_>) {
        self.read(from_text(message, self.charset), events);
    }
}

impl Json {
    fn read(&self, text: Text, events: &mut Maker<'_>) {
        if text.trim_ascii().is_empty() {
            return;
        }
        match crate::json::parse_first(&text) {
            Ok(_) if self.target.as_ref().is_some_and(|target| !takes_maps(target)) => {
                events.failed(text, FAILURE)
            }
            Ok(Value::Map(fields)) => self.add(fields, Some(&text), events),
            Ok(Value::List(items)) if items.iter().all(|item| item.as_map().is_some()) => {
                let only = (items.len() == 1).then_some(&text);
                for item in items {
                    if let Value::Map(fields) = item {
                        self.add(fields, only, events);
                    }
                    if events.is_over() {
                        return;
                    }
                }
            }
            Ok(_) | Err(_) => events.failed(text, FAILURE),
        }
    }
}

/// Whether the decoded fields can stand there: not in the place of tags.
fn takes_maps(target: &FieldRef) -> bool {
    Event::new(Timestamp::UNIX_EPOCH).set(target, Value::Map(Map::new())).is_ok()
}

impl Encode for Json {
    fn encode(&self, event: &Event, out: &mut Vec<u8>) {
        event.write_json(out);
    }
}

#[cfg(test)]
mod tests {
    use crate::trial::codecs::shown;

    #[test]
    fn objects_and_arrays_of_objects_become_events() {
        assert_eq!(shown("json", &[b"{\"a\":1}"]), [r#"{"a":1}"#]);
        assert_eq!(
            shown("json", &[b"[{\"a\":1},{\"b\":[null,1.5]}]"]),
            [r#"{"a":1}"#, r#"{"b":[null,1.5]}"#]
        );
        assert_eq!(shown("json", &[b"[]", b" \n", b""]), [""; 0]);
        assert_eq!(shown("json { target => '[x][y]' }", &[b"{\"a\":1}"]), [r#"{"x":{"y":{"a":1}}}"#]);
    }

    #[test]
    fn what_follows_the_first_value_counts_for_nothing() {
        assert_eq!(shown("json", &[b"{\"a\":1}\n{\"b\":2}", b"{\"c\":3} x"]), [r#"{"a":1}"#, r#"{"c":3}"#]);
    }

    #[test]
    fn what_its_target_cannot_take_is_kept_as_it_is_and_tagged() {
        let wanted = [r#"{"message":"[{\"a\":1},{\"b\":2}]","tags":["_jsonparsefailure"]}"#];
        assert_eq!(shown("json { target => tags }", &[b"[{\"a\":1},{\"b\":2}]"]), wanted);
    }

    #[test]
    fn what_is_no_json_is_kept_as_it_is_and_tagged() {
        for text in ["random_message", "5", "\"a\"", "null", "[1]", "[{\"a\":1},2]", "{\"a\":"] {
            let message = text.replace('"', "\\\"");
            let event = format!(r#"{{"message":"{message}","tags":["_jsonparsefailure"]}}"#);
            assert_eq!(shown("json", &[text.as_bytes()]), [event], "{text}");
        }
    }

    #[test]
    fn a_document_of_millions_of_values_is_kept_as_text() {
        let document = format!("[{}{{}}]", "{},".repeat(4_000_001));
        let events = shown("json", &[document.as_bytes()]);
        assert_eq!(events.len(), 1);
        assert!(events[0].ends_with("\"tags\":[\"_jsonparsefailure\"]}"));
    }

    #[test]
    fn the_original_is_kept_where_ecs_is_wanted() {
        let codec = "json { ecs_compatibility => v8 }";
        assert_eq!(shown(codec, &[b"{\"a\":1}"]), [r#"{"a":1,"event":{"original":"{\"a\":1}"}}"#]);
        assert_eq!(shown(codec, &[b"[{\"a\":1},{\"a\":2}]"]), [r#"{"a":1}"#, r#"{"a":2}"#]);
        let own = r#"{"event":{"original":"mine"}}"#;
        assert_eq!(shown(codec, &[own.as_bytes()]), [own]);
    }

    #[test]
    fn the_bytes_are_read_in_their_character_set() {
        let codec = "json { charset => 'ISO-8859-1' }";
        assert_eq!(shown(codec, &[b"{\"a\":\"\xe4\"}"]), [r#"{"a":"ä"}"#]);
    }
}
