//! Reads values from JSON, sharing the text that they were read from, and writes events as JSON into reused buffers.
use crate::value::{Map, Marks, Name, Text, Value};
use memchr::memchr_iter;
use numbers::Numbers;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;

mod iso8601;
mod moment;
mod numbers;
mod string;
mod write;

pub(crate) use moment::{parse_time, push_time};
pub(crate) use string::write_str;
pub(crate) use write::{EventWriter, write_event, write_time, write_value};

/// The most commas of a document, and so, but for a small factor, the most values: a value takes many times the bytes that it
/// was written in.
const COMMAS_MAX: usize = 4_000_000;

/// Refuses a document of too many values.
fn check_size(text: &str) -> Result<(), serde_json::Error> {
    if text.len() > COMMAS_MAX && memchr_iter(b',', text.as_bytes()).count() > COMMAS_MAX {
        return Err(Error::custom("the document has too many values"));
    }
    Ok(())
}

/// Reads one JSON value; long strings without escapes are slices of `text`.
pub(crate) fn parse(text: &Text) -> Result<Value, serde_json::Error> {
    check_size(text)?;
    let numbers = Numbers::of(text);
    let mut reader = serde_json::Deserializer::from_str(text);
    let sharing = Sharing { text, numbers: &numbers, fractions: false, room: DOCUMENT_ROOM };
    let value = sharing.deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// Reads the JSON value that a text starts with, as Logstash's codecs do: what follows it counts for nothing.
pub(crate) fn parse_first(text: &Text) -> Result<Value, serde_json::Error> {
    check_size(text)?;
    let numbers = Numbers::of(text);
    let mut reader = serde_json::Deserializer::from_str(text);
    Sharing { text, numbers: &numbers, fractions: false, room: DOCUMENT_ROOM }.deserialize(&mut reader)
}

/// Reads JSON as Logstash's filter does: numbers with a fraction keep all their digits, and of several values in a row the last
/// one counts.
pub(crate) fn parse_exactly(text: &Text) -> Result<Value, serde_json::Error> {
    let text = &text.part(text.trim_start_matches('\u{feff}'));
    check_size(text)?;
    let numbers = Numbers::of(text);
    let mut reader = serde_json::Deserializer::from_str(text);
    let sharing = Sharing { text, numbers: &numbers, fractions: true, room: DOCUMENT_ROOM };
    let mut value = sharing.deserialize(&mut reader)?;
    while reader.end().is_err() {
        value = sharing.deserialize(&mut reader)?;
    }
    Ok(value)
}

/// From here on whole numbers do not fit into 64 bits with a sign.
const BEYOND_64_BITS: f64 = 9.2e18;

/// For how many fields a document has room at first, with those that are added to it.
const DOCUMENT_ROOM: usize = 16;

#[derive(Clone, Copy)]
struct Sharing<'t> {
    text: &'t Text,
    numbers: &'t Numbers<'t>,
    /// Whether numbers with a fraction keep all their digits.
    fractions: bool,
    /// For how many fields a map has room at first.
    room: usize,
}

impl Sharing<'_> {
    /// For what is inside.
    fn inside(self) -> Self {
        Self { room: 0, ..self }
    }
}

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
        self.numbers.pass();
        Ok(Value::Int(i))
    }

    fn visit_u64<E: Error>(self, u: u64) -> Result<Value, E> {
        match i64::try_from(u) {
            Ok(i) => self.visit_i64(i),
            Err(_) => self.visit_f64(u as f64),
        }
    }

    fn visit_f64<E>(self, x: f64) -> Result<Value, E> {
        self.numbers.pass();
        let exact = if self.fractions || x.abs() >= BEYOND_64_BITS { self.numbers.exact() } else { None };
        Ok(match exact {
            Some(number) if self.fractions || number.is_whole() => Value::Number(number),
            _ => Value::Float(x),
        })
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Value, E> {
        Ok(Value::Str(self.text.part(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Str(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self.inside())? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::with_capacity(self.room);
        let mut marks = Marks::default();
        while let Some(name) = entries.next_key_seed(NameSeed)? {
            let value = entries.next_value_seed(self.inside())?;
            if marks.may_have(&name) {
                map.insert(name, value);
            } else {
                marks.add(&name);
                map.push_new(name, value);
            }
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
