//! Tries codecs as configurations name them; for tests.
use crate::check::{Scope, compile};
use crate::codec::{Codec, Maker};
use crate::event::Event;
use crate::outputs::stdout::StdoutOptions;
use crate::plan::{PluginCall, Step};
use crate::plugins::build_codec;
use crate::spec::Options;
use crate::value::{Map, Timestamp};
use bytes::Bytes;

/// The moment of events that tell none.
pub(crate) const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn call(codec: &str) -> PluginCall {
    let text = format!("output {{ stdout {{ codec => {codec} }} }}");
    let plan =
        compile(Scope::Run, &text, &|_| None).unwrap_or_else(|problems| panic!("{text}: {problems:?}"));
    let Step::Plugin(call) = &plan.outputs[0] else { panic!("{text}") };
    call.options.downcast_ref::<StdoutOptions>().unwrap().codec.0.clone()
}

/// The codec of `json { target => x }` and the like.
pub(crate) fn codec(codec: &str) -> Codec {
    build_codec(&call(codec)).unwrap()
}

/// The options of a codec.
pub(crate) fn codec_options<O: Options + Clone>(codec: &str) -> O {
    call(codec).options.downcast_ref::<O>().unwrap().clone()
}

/// The events of these messages, one after the other.
pub(crate) fn decoded(codec: &str, messages: &[&[u8]]) -> Vec<Event> {
    let whole = self::codec(codec).decode.unwrap();
    let decode = whole.for_source().unwrap_or(whole);
    let mut events = Vec::new();
    for message in messages {
        decode.decode(Bytes::copy_from_slice(message), &mut Maker::new(NOW, &Map::new(), &mut events));
    }
    events
}

/// The events of these messages as JSON, without `@version` and `@timestamp`.
pub(crate) fn shown(codec: &str, messages: &[&[u8]]) -> Vec<String> {
    let json = |mut event: Event| {
        event.fields_mut().remove("@version");
        let json = event.to_json();
        json.replace("\"@timestamp\":\"1970-01-01T00:00:00.000Z\",", "")
            .replace("\"@timestamp\":\"1970-01-01T00:00:00.000Z\"", "")
    };
    decoded(codec, messages).into_iter().map(json).collect()
}

/// What a codec writes of the event that this JSON is.
pub(crate) fn encoded(codec: &str, event: &str) -> Vec<u8> {
    let mut events = decoded("json", &[event.as_bytes()]);
    let mut out = Vec::new();
    self::codec(codec).encode.unwrap().encode(&events.remove(0), &mut out);
    out
}
