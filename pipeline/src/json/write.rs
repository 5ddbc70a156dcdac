//! Writes values as JSON into reused buffers.
use super::moment::push_moment;
use super::string::write_str;
use crate::value::{Map, Name, Timestamp, Value};
use std::io::Write;

/// Adds an event to `out`: `@timestamp` first, then the fields in their order.
pub(crate) fn write_event(timestamp: Option<Timestamp>, fields: &Map, out: &mut Vec<u8>) {
    match timestamp {
        Some(at) => {
            out.extend_from_slice(b"{\"@timestamp\":");
            write_time(at, out);
            write_entries(b',', fields, out);
        }
        None => write_entries(b'{', fields, out),
    }
}

/// Adds entries to `out`, the first behind `before`, and the bracket that ends them.
fn write_entries(mut before: u8, map: &Map, out: &mut Vec<u8>) {
    for part in map.parts() {
        before = write_part(before, part, out);
    }
    if before == b'{' {
        out.push(b'{');
    }
    out.push(b'}');
}

/// Adds entries to `out`, the first behind `before`; tells what is before the next one.
fn write_part(mut before: u8, part: &[(Name, Value)], out: &mut Vec<u8>) -> u8 {
    for (name, value) in part {
        out.push(before);
        write_str(name, out);
        out.push(b':');
        write_value(value, out);
        before = b',';
    }
    before
}

/// Writes many events: what they have in common only once.
#[derive(Debug, Default)]
pub(crate) struct EventWriter {
    /// A map that has nothing but the entries that events share.
    shared: Map,
    /// How they are written: the first one, and those that are behind the first own one.
    shared_first: Vec<u8>,
    shared_rest: Vec<u8>,
    /// The last moment, and how it is written.
    moment: Option<Timestamp>,
    moment_text: Vec<u8>,
}

impl EventWriter {
    /// Adds an event to `out`, as [`write_event`] does.
    pub(crate) fn write(&mut self, timestamp: Option<Timestamp>, fields: &Map, out: &mut Vec<u8>) {
        let Some(at) = timestamp.filter(|_| self.knows(fields)) else {
            return write_event(timestamp, fields, out);
        };
        if self.moment != Some(at) {
            self.moment = Some(at);
            self.moment_text.clear();
            write_time(at, &mut self.moment_text);
        }
        let [_, own_first, _, own_rest] = fields.parts();
        out.extend_from_slice(b"{\"@timestamp\":");
        out.extend_from_slice(&self.moment_text);
        out.extend_from_slice(&self.shared_first);
        write_part(b',', own_first, out);
        out.extend_from_slice(&self.shared_rest);
        write_part(b',', own_rest, out);
        out.push(b'}');
    }

    /// Whether what `fields` shares is known now how to be written.
    fn knows(&mut self, fields: &Map) -> bool {
        if fields.shares_with(&self.shared) {
            return true;
        }
        let Some(shared) = fields.only_shared() else { return false };
        self.shared = shared;
        let [first, _, rest, _] = self.shared.parts();
        for (part, text) in [(first, &mut self.shared_first), (rest, &mut self.shared_rest)] {
            text.clear();
            write_part(b',', part, text);
        }
        true
    }
}

/// Adds a value to `out`.
pub(crate) fn write_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Int(i) => write_int(*i, out),
        Value::Float(x) if x.is_finite() => {
            // Writing into a vector cannot fail.
            let _ok = write!(out, "{x:?}");
        }
        Value::Float(_) => out.extend_from_slice(b"null"),
        Value::Number(number) => out.extend_from_slice(number.as_str().as_bytes()),
        Value::Str(text) => write_str(text, out),
        Value::Time(at) => write_time(*at, out),
        Value::List(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_value(item, out);
            }
            out.push(b']');
        }
        Value::Map(map) => write_entries(b'{', map, out),
    }
}

fn write_int(i: i64, out: &mut Vec<u8>) {
    let mut digits = [0_u8; 20];
    let mut rest = i.unsigned_abs();
    let mut used = 0;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (rest % 10) as u8;
        rest /= 10;
        used += 1;
        if rest == 0 {
            break;
        }
    }
    if i < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(digits.get(digits.len() - used..).unwrap_or_default());
}

/// Adds a moment in ISO 8601 with its quotes to `out`.
pub(crate) fn write_time(at: Timestamp, out: &mut Vec<u8>) {
    out.push(b'"');
    push_moment(out, at);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn events_are_written_together_as_each_by_itself(
            shared in proptest::collection::vec(proptest::collection::btree_map("[a-d]", 0_i64..9, 0..4), 1..3),
            events in proptest::collection::vec((0_usize..4, 0_i64..2, proptest::collection::btree_map("[c-f]|message", "[a\"]", 0..5)), 0..12),
        ) {
            let maps = |pairs: &std::collections::BTreeMap<String, i64>| -> Map {
                pairs.iter().map(|(name, value)| (name.as_str(), Value::Int(*value))).collect()
            };
            let shared: Vec<Map> = shared.iter().map(|pairs| maps(pairs).into_shared()).collect();
            let mut writer = EventWriter::default();
            for (source, second, own) in &events {
                let mut fields = match shared.get(*source) {
                    Some(shared) => Map::beside(shared, Name::new("message"), Value::Null, Map::new()).unwrap_or_default(),
                    None => Map::new(),
                };
                own.iter().for_each(|(name, text)| drop(fields.insert(name.as_str(), Value::from(text.as_str()))));
                let at = Some(Timestamp::from_second(*second).unwrap()).filter(|_| *source != 3);
                let (mut together, mut alone) = (Vec::new(), Vec::new());
                writer.write(at, &fields, &mut together);
                write_event(at, &fields, &mut alone);
                prop_assert_eq!(String::from_utf8(together), String::from_utf8(alone));
            }
        }
    }
}
