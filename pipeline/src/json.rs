//! Reads values from JSON, sharing the text that they were read from, and writes events as JSON into reused buffers.
use crate::value::{Map, Marks, Name, Text, Value};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;

mod iso8601;
mod moment;
mod write;

pub(crate) use moment::{parse_time, push_time};
pub(crate) use write::{write_event, write_str, write_time, write_value};

/// Reads one JSON value; long strings without escapes are slices of `text`.
pub(crate) fn parse(text: &Text) -> Result<Value, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Sharing { text, room: DOCUMENT_ROOM }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// For how many fields a document has room at first, with those that are added to it.
const DOCUMENT_ROOM: usize = 16;

#[derive(Clone, Copy)]
struct Sharing<'t> {
    text: &'t Text,
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
        Ok(Value::Int(i))
    }

    fn visit_u64<E>(self, u: u64) -> Result<Value, E> {
        Ok(i64::try_from(u).map_or(Value::Float(u as f64), Value::Int))
    }

    fn visit_f64<E>(self, x: f64) -> Result<Value, E> {
        Ok(Value::Float(x))
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
