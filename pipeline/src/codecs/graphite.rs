//! Reads and writes lines of Carbon's plaintext protocol.
use crate::codec::Charset;
use crate::codec::{Codec, Decode, Encode, Framing, Maker, to_text};
use crate::event::Event;
use crate::lang::kinds::{Hash, Placed};
use crate::lang::problems::Problems;
use crate::outputs::graphite::{Metrics, Selection};
use crate::plugins::CodecOptions;
use crate::ruby::{Dot, Groups, Ruby, to_f, to_i};
use crate::spec::plugin;
use crate::template::Template;
use crate::value::{Map, Timestamp, Value};
use bytes::Bytes;

/// The tag of an event whose line names no metric.
const FAILURE: &str = "_graphiteparsefailure";

plugin! {
    /// Reads lines of Carbon's plaintext protocol, `name value seconds`, and writes numbers of events as such lines.
    ///
    /// ```
    /// input { udp { port => 2003 codec => graphite } }
    /// ```
    ///
    /// A line becomes an event with the metric's name as a field. An event without any number to write writes nothing.
    /// A line that has no three words becomes a message with the tag `_graphiteparsefailure`.
    codec "graphite" => pub(crate) struct GraphiteOptions {
        /// Names of metrics, and their values. Both may be templates.
        metrics: Hash<Template> = {},
        /// Write the fields of the event, in place of `metrics`.
        fields_are_metrics: bool = false,
        /// Regular expressions of which one must match the name.
        include_metrics: Vec<Placed<String>> = [".*"],
        /// Regular expressions of which none may match the name.
        exclude_metrics: Vec<Placed<String>> = ["%[{][^}]+[}]"],
        /// How a name is written: `*` stands for it, and `%{field}` is filled in.
        metrics_format: Template = "*",
    }
    validate = check
}

fn check(options: &GraphiteOptions, problems: &mut Problems) {
    for pattern in options.include_metrics.iter().chain(&options.exclude_metrics) {
        if let Err(mistake) = Ruby::compile(pattern, Dot::NotNewline) {
            mistake.report(pattern, problems);
        }
    }
}

impl CodecOptions for GraphiteOptions {
    fn build(&self) -> Result<Codec, String> {
        let selection = Selection {
            metrics: self.metrics.clone(),
            fields_are_metrics: self.fields_are_metrics,
            include: self.include_metrics.clone(),
            exclude: self.exclude_metrics.clone(),
            format: self.metrics_format.clone(),
            ..Selection::default()
        };
        Ok(Codec::both(Graphite { metrics: Metrics::new(selection)? }))
    }
}

struct Graphite {
    metrics: Metrics,
}

impl Decode for Graphite {
    fn decode(&self, line: Bytes, events: &mut Maker<'_>) {
        let text = to_text(line, Charset::Utf8);
        let mut words = text.split_ascii_whitespace();
        let Some(name) = words.next() else {
            return events.failed(text, FAILURE);
        };
        // What is missing counts as 0.
        let (value, time) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let at = match to_i(time) {
            Value::Int(seconds) => Timestamp::from_second(seconds).ok(),
            _ => None,
        };
        let mut fields = Map::new();
        fields.insert(name, Value::Float(to_f(value)));
        fields.insert("@timestamp", Value::Time(at.unwrap_or_else(|| events.now())));
        events.fields(fields);
    }

    fn framing(&self) -> Option<Framing> {
        Some(Framing::lines())
    }
}

impl Encode for Graphite {
    fn encode(&self, event: &Event, out: &mut Vec<u8>) {
        let mut lines = String::new();
        self.metrics.write(event, &mut Groups::new(), &mut lines);
        out.extend_from_slice(lines.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use crate::trial::codecs::{encoded, shown};

    #[test]
    fn a_line_is_a_number_with_a_name_and_a_moment() {
        assert_eq!(
            shown("graphite", &[b"web.load 1.5 1767323045", b"web.up 1 1767323045"]),
            [
                r#"{"@timestamp":"2026-01-02T03:04:05.000Z","web.load":1.5}"#,
                r#"{"@timestamp":"2026-01-02T03:04:05.000Z","web.up":1.0}"#
            ]
        );
        // What is missing is 0.
        assert_eq!(shown("graphite", &[b"x 1", b"y"]), [r#"{"x":1.0}"#, r#"{"y":0.0}"#]);
        assert_eq!(shown("graphite", &[b" "]), [r#"{"message":" ","tags":["_graphiteparsefailure"]}"#]);
    }

    #[test]
    fn numbers_of_events_are_written() {
        let event = r#"{"@timestamp":"2026-01-02T03:04:05Z","host":"web","load":1.5}"#;
        let written = |codec: &str| String::from_utf8(encoded(codec, event)).unwrap();
        let codec = "graphite { metrics => { '%{host}.load' => '%{load}' } metrics_format => 'a.*.b' }";
        assert_eq!(written(codec), "a.web.load.b 1.5 1767323045\n");
        let codec = "graphite { fields_are_metrics => true include_metrics => ['^l'] }";
        assert_eq!(written(codec), "load 1.5 1767323045\n");
        assert_eq!(written("graphite { metrics => { '%{none}' => '1' } }"), "");
    }
}
