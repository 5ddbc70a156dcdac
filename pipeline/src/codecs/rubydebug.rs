//! Writes events for people to read, as Ruby prints them.
use crate::charset::inspected;
use crate::codec::{Codec, Encode};
use crate::event::Event;
use crate::plugins::CodecOptions;
use crate::spec::plugin;
use crate::value::Value;
use std::sync::Arc;

plugin! {
    /// Writes events for people to read: one field per line, names aligned. It cannot read.
    ///
    /// ```
    /// output { stdout { codec => rubydebug { metadata => true } } }
    /// ```
    codec "rubydebug" => pub(crate) struct RubydebugOptions {
        /// Whether `@metadata` is shown too.
        metadata: bool = false,
    }
}

impl CodecOptions for RubydebugOptions {
    fn build(&self) -> Result<Codec, String> {
        Ok(Codec { decode: None, encode: Some(Arc::new(Rubydebug { metadata: self.metadata })) })
    }
}

struct Rubydebug {
    metadata: bool,
}

impl Encode for Rubydebug {
    fn encode(&self, event: &Event, out: &mut Vec<u8>) {
        let timestamp = event.timestamp().map(Value::Time);
        let metadata =
            (self.metadata && !event.metadata().is_empty()).then(|| Value::Map(event.metadata().clone()));
        let first = timestamp.iter().map(|at| ("@timestamp", at));
        let last = metadata.iter().map(|map| ("@metadata", map));
        let fields = event.fields().iter().map(|(name, value)| (name.as_str(), value));
        let mut text = String::new();
        entries(&first.chain(fields).chain(last).collect::<Vec<_>>(), 0, &mut text);
        text.push('\n');
        out.extend_from_slice(text.as_bytes());
    }
}

const STEP: usize = 4;

fn entries(entries: &[(&str, &Value)], indent: usize, out: &mut String) {
    if entries.is_empty() {
        out.push_str("{}");
        return;
    }
    let names: Vec<String> = entries.iter().map(|(name, _)| inspected(name)).collect();
    let widest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    out.push_str("{\n");
    for (i, (name, (_, value))) in names.iter().zip(entries).enumerate() {
        if i > 0 {
            out.push_str(",\n");
        }
        let pad = indent + STEP + widest - name.chars().count();
        out.extend(std::iter::repeat_n(' ', pad));
        out.push_str(name);
        out.push_str(" => ");
        print(value, indent + STEP, out);
    }
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', indent));
    out.push('}');
}

fn print(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Null => out.push_str("nil"),
        Value::Str(text) => out.push_str(&inspected(text)),
        Value::List(items) if items.is_empty() => out.push_str("[]"),
        Value::List(items) => {
            out.push_str("[\n");
            let width = (items.len() - 1).to_string().len();
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push_str(",\n");
                }
                out.extend(std::iter::repeat_n(' ', indent + STEP));
                out.push_str(&format!("[{i:>width$}] "));
                print(item, indent + STEP, out);
            }
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent));
            out.push(']');
        }
        Value::Map(map) => {
            entries(&map.iter().map(|(n, v)| (n.as_str(), v)).collect::<Vec<_>>(), indent, out);
        }
        other => other.write_text(out),
    }
}

/// Shows one event; for tests and examples.
#[cfg(test)]
pub(crate) fn show(event: &Event) -> String {
    let mut out = Vec::new();
    Rubydebug { metadata: false }.encode(event, &mut out);
    String::from_utf8(out).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::{Map, Text};
    use expect_test::expect;

    #[test]
    fn names_are_aligned_and_nesting_is_indented() {
        let mut event =
            Event::with_message("2026-01-02T03:04:05.678Z".parse().unwrap(), Text::from("a \"b\"\t#{c}"));
        event.fields_mut().insert("tags", Value::List(vec!["one".into(), Value::Int(2)]));
        let inner: Map = [("id", Value::from("x")), ("up", Value::Bool(true))].into_iter().collect();
        event.fields_mut().insert("container", Value::Map(inner));
        expect![[r##"
            {
                "@timestamp" => 2026-01-02T03:04:05.678Z,
                  "@version" => "1",
                   "message" => "a \"b\"\t\#{c}",
                      "tags" => [
                    [0] "one",
                    [1] 2
                ],
                 "container" => {
                    "id" => "x",
                    "up" => true
                }
            }
        "##]]
        .assert_eq(&show(&event));
    }
}
