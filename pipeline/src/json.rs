//! Reads values from JSON, sharing the text that they were read from, and writes events as JSON into reused buffers.
use crate::value::{Map, Name, Text, Timestamp, Value};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Reads one JSON value; long strings without escapes are slices of `text`.
pub(crate) fn parse(text: &Text) -> Result<Value, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Sharing(text).deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// Reads an ISO 8601 moment as Logstash writes it; without a zone it is UTC.
pub(crate) fn parse_time(text: &str) -> Option<Timestamp> {
    if let Ok(at) = text.parse() {
        return Some(at);
    }
    let civil: jiff::civil::DateTime = text.parse().ok()?;
    civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

#[derive(Clone, Copy)]
struct Sharing<'t>(&'t Text);

impl<'de> DeserializeSeed<'de> for Sharing<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Sharing<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, b: bool) -> Result<Value, E> {
        Ok(Value::Bool(b))
    }

    fn visit_i64<E>(self, i: i64) -> Result<Value, E> {
        Ok(Value::Int(i))
    }

    fn visit_u64<E>(self, u: u64) -> Result<Value, E> {
        Ok(i64::try_from(u).map_or(Value::Float(u as f64), Value::Int))
    }

    fn visit_f64<E>(self, x: f64) -> Result<Value, E> {
        Ok(Value::Float(x))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Value, E> {
        Ok(Value::Str(self.0.part(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Str(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = entries.next_key_seed(NameSeed)? {
            let value = entries.next_value_seed(self)?;
            map.insert(name, value);
        }
        Ok(Value::Map(map))
    }
}

struct NameSeed;

impl<'de> DeserializeSeed<'de> for NameSeed {
    type Value = Name;
    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Name, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Name, E> {
        Ok(Name::new(text))
    }
}

/// Adds an event to `out`: `@timestamp` first, then the fields in their order.
pub(crate) fn write_event(timestamp: Option<Timestamp>, fields: &Map, out: &mut Vec<u8>) {
    out.push(b'{');
    if let Some(at) = timestamp {
        out.extend_from_slice(b"\"@timestamp\":");
        write_time(at, out);
    }
    let mut first = timestamp.is_none();
    for (name, value) in fields.iter() {
        write_entry(&mut first, name, value, out);
    }
    out.push(b'}');
}

fn write_entry(first: &mut bool, name: &str, value: &Value, out: &mut Vec<u8>) {
    if !std::mem::replace(first, false) {
        out.push(b',');
    }
    write_str(name, out);
    out.push(b':');
    write_value(value, out);
}

/// Adds a value to `out`.
pub(crate) fn write_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Int(i) => write_int(*i, out),
        Value::Float(x) if x.is_finite() => out.extend_from_slice(format!("{x:?}").as_bytes()),
        Value::Float(_) => out.extend_from_slice(b"null"),
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
        Value::Map(map) => {
            out.push(b'{');
            let mut first = true;
            for (name, value) in map.iter() {
                write_entry(&mut first, name, value, out);
            }
            out.push(b'}');
        }
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

/// What a byte of a JSON string becomes: 0 itself, `u` a `\u00XX`, anything else a backslash and that.
fn escape(byte: u8) -> u8 {
    match byte {
        0x08 => b'b',
        0x09 => b't',
        0x0a => b'n',
        0x0c => b'f',
        0x0d => b'r',
        0x00..=0x1f => b'u',
        b'"' | b'\\' => byte,
        _ => 0,
    }
}

/// Adds a string with its quotes to `out`; runs without escapes are copied whole.
pub(crate) fn write_str(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let hex = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let (plain, tail) = rest.split_at(plain_start(rest));
        out.extend_from_slice(plain);
        let Some((byte, after)) = tail.split_first() else { break };
        match escape(*byte) {
            b'u' => out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte & 15)]),
            short => out.extend_from_slice(&[b'\\', short]),
        }
        rest = after;
    }
    out.push(b'"');
}

/// How many bytes there are before the first one that needs an escape; looks at eight at once.
fn plain_start(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let zero = |x: u64| x.wrapping_sub(ONES) & !x & HIGHS;
    let (words, _) = bytes.as_chunks::<8>();
    let mut at = 0;
    for word in words {
        let x = u64::from_le_bytes(*word);
        let below_space = x.wrapping_sub(ONES * 0x20) & !x & HIGHS;
        let found = below_space | zero(x ^ (ONES * 0x22)) | zero(x ^ (ONES * 0x5c));
        if found != 0 {
            // The lowest byte that is found is right; those above it may be found by a borrow only.
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|b| escape(*b) != 0).unwrap_or(rest.len())
}

/// Adds a moment in ISO 8601 with its quotes to `out`.
pub(crate) fn write_time(at: Timestamp, out: &mut Vec<u8>) {
    out.push(b'"');
    let (text, len) = time_text(at);
    out.extend_from_slice(text.get(..len).unwrap_or_default());
    out.push(b'"');
}

/// Adds a moment in ISO 8601 to `out`.
pub(crate) fn push_time(out: &mut String, at: Timestamp) {
    let (text, len) = time_text(at);
    out.push_str(std::str::from_utf8(text.get(..len).unwrap_or_default()).unwrap_or_default());
}

/// A moment as Logstash writes it, `2026-01-02T03:04:05.678Z`: milliseconds, and as many of the nine digits as are
/// needed if there are finer parts.
fn time_text(at: Timestamp) -> ([u8; 32], usize) {
    let civil = jiff::tz::Offset::UTC.to_datetime(at);
    let mut text = [0_u8; 32];
    let mut len = 0;
    let mut put = |byte: u8| {
        if let Some(slot) = text.get_mut(len) {
            *slot = byte;
            len += 1;
        }
    };
    let nanos = civil.subsec_nanosecond().unsigned_abs();
    let (fraction, places) = match nanos {
        n if n % 1_000_000 == 0 => (n / 1_000_000, 3),
        n if n % 1_000 == 0 => (n / 1_000, 6),
        n => (n, 9),
    };
    if civil.year() < 0 {
        put(b'-');
    }
    let parts = [
        (u32::from(civil.year().unsigned_abs()), 4, b'-'),
        (u32::from(civil.month().unsigned_abs()), 2, b'-'),
        (u32::from(civil.day().unsigned_abs()), 2, b'T'),
        (u32::from(civil.hour().unsigned_abs()), 2, b':'),
        (u32::from(civil.minute().unsigned_abs()), 2, b':'),
        (u32::from(civil.second().unsigned_abs()), 2, b'.'),
        (fraction, places, b'Z'),
    ];
    for (number, digits, after) in parts {
        for place in (0..digits).rev() {
            put(b'0' + (number / 10_u32.pow(place) % 10) as u8);
        }
        put(after);
    }
    (text, len)
}
