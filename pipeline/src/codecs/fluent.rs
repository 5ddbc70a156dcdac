//! Reads and writes what Fluentd and Fluent Bit forward to each other.
use super::msgpack::all_fields;
use crate::codec::{Codec, Decode, Encode, Framing, Maker};
use crate::event::Event;
use crate::field::FieldRef;
use crate::msgpack;
use crate::plugins::CodecOptions;
use crate::spec::plugin;
use crate::unpack::{Packing, unpack};
use crate::value::{Map, Timestamp, Value};
use bytes::Bytes;

/// The tag of an event whose message is nothing that Fluentd forwards.
const FAILURE: &str = "_fluentparsefailure";
/// The most bytes that packed entries may become.
const UNPACKED_MAX: usize = 64 << 20;
/// The most events of one message.
const EVENTS_MAX: usize = 100_000;
/// The type of a moment with nanoseconds.
const EVENT_TIME: i8 = 0;

plugin! {
    /// Reads what Fluentd and Fluent Bit forward, and writes events in their format.
    ///
    /// ```
    /// input { udp { port => 24224 codec => fluent } }
    /// ```
    ///
    /// All four ways are read: one event, an array of events, packed events, and packed events compressed by gzip (up to
    /// 64 MiB and 100,000 events each). The tag becomes a tag of the event. Moments may have nanoseconds. Chunks are not acknowledged and a
    /// shared key is not asked for, as in Logstash: leave `require_ack_response` and `shared_key` out on the other side.
    /// What is none of it becomes the message of an event with the tag `_fluentparsefailure`.
    codec "fluent" => pub(crate) struct FluentOptions {
        /// Write moments with nanoseconds. They are read in any case.
        nanosecond_precision: bool = false,
        /// The field to put the record into; the event itself when left out.
        target: Option<FieldRef>,
    }
    accepted {
        "ecs_compatibility" => "fields go where `target` says",
    }
}

impl CodecOptions for FluentOptions {
    fn build(&self) -> Result<Codec, String> {
        Ok(Codec::both(Fluent { nanoseconds: self.nanosecond_precision, target: self.target.clone() }))
    }
}

struct Fluent {
    nanoseconds: bool,
    target: Option<FieldRef>,
}

/// A message is not as it should be.
struct Unknown;

impl Decode for Fluent {
    fn decode(&self, message: Bytes, events: &mut Maker<'_>) {
        let mut rest: &[u8] = &message;
        while !rest.is_empty() {
            let Ok(item) = msgpack::read(&mut rest) else {
                return events.failed(msgpack::bytes_shown(message), FAILURE);
            };
            let mut made = Vec::new();
            let read = self.forwarded(&item, events, &mut made);
            if read.is_ok() || made.len() < EVENTS_MAX {
                made.into_iter().for_each(|event| events.event(event));
            }
            if read.is_err() {
                let mut event = Event::new(events.now());
                event.fields_mut().insert("message", msgpack::value(item));
                event.add_tag(FAILURE);
                events.event(event);
            }
        }
    }

    fn framing(&self) -> Option<Framing> {
        Some(Framing::Msgpack)
    }
}

impl Fluent {
    /// Adds the events of one message: a tag, and what was seen of it.
    fn forwarded(&self, item: &rmpv::Value, now: &Maker<'_>, out: &mut Vec<Event>) -> Result<(), Unknown> {
        let [tag, seen, rest @ ..] = item.as_array().map_or(&[][..], Vec::as_slice) else {
            return Err(Unknown);
        };
        let mut add = |time: &rmpv::Value, record: &rmpv::Value| {
            if out.len() >= EVENTS_MAX {
                return Err(Unknown);
            }
            out.push(self.event(tag, time, record, now)?);
            Ok(())
        };
        match seen {
            rmpv::Value::Array(entries) => entries.iter().try_for_each(|pair| entry(pair, &mut add)),
            rmpv::Value::String(_) | rmpv::Value::Binary(_) => {
                let packed = seen.as_slice().unwrap_or_default();
                let option = |name: &str| rest.first().and_then(|options| find(options, name));
                let unpacked = match option("compressed").and_then(rmpv::Value::as_str) {
                    Some("gzip") => unpack(packed, Packing::Gzip, UNPACKED_MAX).map_err(|_| Unknown)?,
                    _ => packed.to_vec(),
                };
                let mut left = unpacked.as_slice();
                while !left.is_empty() {
                    let pair = msgpack::read(&mut left).map_err(|_| Unknown)?;
                    entry(&pair, &mut add)?;
                }
                Ok(())
            }
            time => add(time, rest.first().ok_or(Unknown)?),
        }
    }

    fn event(
        &self,
        tag: &rmpv::Value,
        time: &rmpv::Value,
        record: &rmpv::Value,
        now: &Maker<'_>,
    ) -> Result<Event, Unknown> {
        let at = moment(time).ok_or(Unknown)?;
        let rmpv::Value::Map(entries) = record else { return Err(Unknown) };
        let mut event = now.targeted(self.target.as_ref(), msgpack::map(entries.clone()));
        // A moment always fits.
        let _set = event.set(&FieldRef::top("@timestamp"), Value::Time(at));
        event.add_tag(&msgpack::value(tag.clone()).to_text());
        Ok(event)
    }
}

/// A moment and a record; Fluent Bit's newer versions put the moment into an array with metadata.
fn entry(
    pair: &rmpv::Value,
    add: &mut impl FnMut(&rmpv::Value, &rmpv::Value) -> Result<(), Unknown>,
) -> Result<(), Unknown> {
    let [time, record, ..] = pair.as_array().map_or(&[][..], Vec::as_slice) else { return Err(Unknown) };
    let time = time.as_array().and_then(|with_metadata| with_metadata.first()).unwrap_or(time);
    add(time, record)
}

fn find<'a>(options: &'a rmpv::Value, name: &str) -> Option<&'a rmpv::Value> {
    options.as_map()?.iter().find(|(key, _)| key.as_str() == Some(name)).map(|(_, value)| value)
}

fn moment(time: &rmpv::Value) -> Option<Timestamp> {
    match time {
        rmpv::Value::Integer(seconds) => Timestamp::from_second(seconds.as_i64()?).ok(),
        rmpv::Value::Ext(EVENT_TIME, bytes) => {
            let (words, _) = bytes.as_chunks::<4>();
            let [seconds, nanos] = words else { return None };
            let (seconds, nanos) = (u32::from_be_bytes(*seconds), u32::from_be_bytes(*nanos));
            Timestamp::new(i64::from(seconds), i32::try_from(nanos).ok()?).ok()
        }
        _ => None,
    }
}

impl Encode for Fluent {
    fn encode(&self, event: &Event, out: &mut Vec<u8>) {
        let tag = match event.fields().get("tags") {
            None | Some(Value::Null) => "log".to_owned(),
            Some(Value::List(tags)) => {
                tags.iter().map(|tag| tag.to_text().to_string()).collect::<Vec<_>>().join(".")
            }
            Some(other) => other.to_text().to_string(),
        };
        let at = event.timestamp().unwrap_or(Timestamp::UNIX_EPOCH);
        let time = if self.nanoseconds { event_time(at) } else { rmpv::Value::from(at.as_second()) };
        let fields: Map = all_fields(event);
        let record = rmpv::Value::Map(msgpack::entries(&fields));
        msgpack::write(&rmpv::Value::Array(vec![rmpv::Value::from(tag), time, record]), out);
    }
}

fn event_time(at: Timestamp) -> rmpv::Value {
    let seconds = u32::try_from(at.as_second()).unwrap_or(0).to_be_bytes();
    // Logstash writes microseconds here.
    let nanos = at.subsec_nanosecond().unsigned_abs().to_be_bytes();
    rmpv::Value::Ext(EVENT_TIME, [seconds, nanos].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::codecs::{encoded, shown};
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use std::io::Write;

    fn packed(value: &rmpv::Value) -> Vec<u8> {
        let mut out = Vec::new();
        msgpack::write(value, &mut out);
        out
    }

    fn array(items: &[rmpv::Value]) -> rmpv::Value {
        rmpv::Value::Array(items.to_vec())
    }

    fn record(name: &str) -> rmpv::Value {
        rmpv::Value::Map(vec![(rmpv::Value::from("name"), rmpv::Value::from(name))])
    }

    const AT: &str = "\"@timestamp\":\"2026-01-02T03:04:05.000Z\"";

    fn expected(name: &str) -> String {
        format!("{{{AT},\"name\":\"{name}\",\"tags\":[\"app.web\"]}}")
    }

    #[test]
    fn all_ways_of_forwarding_are_read() {
        let (tag, time) = (rmpv::Value::from("app.web"), rmpv::Value::from(1_767_323_045_u64));
        let exact = rmpv::Value::Ext(0, [1_767_323_045_u32.to_be_bytes(), [0; 4]].concat());
        let with_metadata = array(&[exact.clone(), rmpv::Value::Map(Vec::new())]);
        let entries = [
            array(&[time.clone(), record("a")]),
            array(&[exact.clone(), record("b")]),
            array(&[with_metadata, record("c")]),
        ];
        let stream: Vec<u8> = entries.iter().flat_map(packed).collect();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&stream).unwrap();
        let compressed = rmpv::Value::Map(vec![("compressed".into(), "gzip".into())]);
        let all = [expected("a"), expected("b"), expected("c")];
        for (way, message) in [
            ("array", array(&[tag.clone(), array(&entries)])),
            ("packed as bytes", array(&[tag.clone(), rmpv::Value::Binary(stream.clone())])),
            ("compressed", array(&[tag.clone(), rmpv::Value::Binary(gzip.finish().unwrap()), compressed])),
        ] {
            assert_eq!(shown("fluent", &[&packed(&message)]), all, "{way}");
        }
        let one = packed(&array(&[tag.clone(), time, record("a")]));
        assert_eq!(shown("fluent", &[&one]), [expected("a")]);
        assert_eq!(shown("fluent", &[&[one.clone(), one].concat()]).len(), 2);
        let exact = packed(&array(&[tag, exact, record("x"), rmpv::Value::Nil]));
        assert_eq!(shown("fluent { nanosecond_precision => true }", &[&exact]), [expected("x")]);
    }

    #[test]
    fn a_few_bytes_do_not_become_events_without_end() {
        let entry = packed(&array(&[rmpv::Value::from(1), rmpv::Value::Map(Vec::new())]));
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(&entry.repeat(EVENTS_MAX + 1)).unwrap();
        let compressed = rmpv::Value::Map(vec![("compressed".into(), "gzip".into())]);
        let bomb = array(&["t".into(), rmpv::Value::Binary(gzip.finish().unwrap()), compressed]);
        let events = shown("fluent", &[&packed(&bomb)]);
        assert_eq!(events.len(), 1);
        assert!(events[0].contains(FAILURE));
    }

    #[test]
    fn what_is_nothing_of_it_is_kept_and_tagged() {
        let failed = |message: rmpv::Value| shown("fluent", &[&packed(&message)]).remove(0);
        assert_eq!(failed(rmpv::Value::from(5)), r#"{"message":5,"tags":["_fluentparsefailure"]}"#);
        assert_eq!(
            failed(array(&["t".into(), 1.into(), "no map".into()])),
            r#"{"message":["t",1,"no map"],"tags":["_fluentparsefailure"]}"#
        );
        assert!(shown("fluent", &[b"\xc1"])[0].contains(FAILURE));
    }

    #[test]
    fn events_are_written_with_their_tags_and_moment() {
        let event = r#"{"name":"x","@timestamp":"2026-01-02T03:04:05.006Z","tags":["a","b"]}"#;
        let bytes = encoded("fluent", event);
        let read = msgpack::value(msgpack::read(&mut bytes.as_slice()).unwrap());
        let Value::List(items) = read else { panic!("{read:?}") };
        assert_eq!(items[..2], [Value::from("a.b"), Value::Int(1_767_323_045)]);
        assert_eq!(items[2].as_map().unwrap().get("@timestamp"), Some(&"2026-01-02T03:04:05.006Z".into()));
        let bytes = encoded(
            "fluent { nanosecond_precision => true }",
            "{\"@timestamp\":\"2026-01-02T03:04:05.006Z\"}",
        );
        let item = msgpack::read(&mut bytes.as_slice()).unwrap();
        assert_eq!(item[0], "log".into());
        assert_eq!(moment(&item[1]), "2026-01-02T03:04:05.006Z".parse().ok());
    }

    proptest! {
        #[test]
        fn no_bytes_upset_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            shown("fluent", &[&bytes]);
        }
    }
}
