//! Writes a dot for each event.
use crate::codec::{Codec, Encode};
use crate::event::Event;
use crate::plugins::CodecOptions;
use crate::spec::plugin;
use std::sync::Arc;

plugin! {
    /// Writes a dot for each event, to see how fast they come. It cannot read.
    ///
    /// ```
    /// output { stdout { codec => dots } }
    /// ```
    codec "dots" => pub(crate) struct DotsOptions {}
}

impl CodecOptions for DotsOptions {
    fn build(&self) -> Result<Codec, String> {
        Ok(Codec { decode: None, encode: Some(Arc::new(Dots)) })
    }
}

struct Dots;

impl Encode for Dots {
    fn encode(&self, _event: &Event, out: &mut Vec<u8>) {
        out.push(b'.');
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_event_is_a_dot() {
        assert_eq!(crate::trial::codecs::encoded("dots", "{\"a\":1}"), b".");
    }
}
