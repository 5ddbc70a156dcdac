//! Writes events for the disk, and reads them back exactly: with `@metadata`, and every value of its own type.
//!
//! Format: the version (one byte), then three values: `@timestamp`, the fields, `@metadata`. A value is a byte that says what it
//! is and what belongs to it; lengths are LEB128, other numbers little-endian.
use super::Event;
use crate::value::{Decimal, Map, Name, Text, Timestamp, Value};
use bytes::Bytes;

const VERSION: u8 = 1;
/// How deep values may stand in each other; deeper ones are refused, because reading them could exhaust the stack.
const DEPTH_MAX: usize = 500;

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const INT: u8 = 3;
const FLOAT: u8 = 4;
const STR: u8 = 5;
const TIME: u8 = 6;
const LIST: u8 = 7;
const MAP: u8 = 8;
const WHOLE: u8 = 9;
const FRACTION: u8 = 10;

/// Why bytes are no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoEvent {
    #[error("it was written by another version")]
    Version,
    #[error("it ends too early or holds what no event has")]
    Content,
}

/// Adds an event to `out`.
pub(crate) fn write(event: &Event, out: &mut Vec<u8>) {
    out.push(VERSION);
    write_value(&event.timestamp, out);
    write_map(&event.fields, out);
    write_map(event.metadata(), out);
}

/// Reads an event; its long strings are slices of `bytes`.
pub(crate) fn read(bytes: &Bytes) -> Result<Event, NoEvent> {
    let mut bytes = bytes.clone();
    let mut rest = Rest(&mut bytes);
    if rest.byte()? != VERSION {
        return Err(NoEvent::Version);
    }
    let timestamp = rest.value(0)?;
    let (Value::Map(fields), Value::Map(metadata)) = (rest.value(0)?, rest.value(0)?) else {
        return Err(NoEvent::Content);
    };
    if !matches!(timestamp, Value::Time(_) | Value::Null) {
        return Err(NoEvent::Content);
    }
    if !rest.0.is_empty() {
        return Err(NoEvent::Content);
    }
    let metadata = (!metadata.is_empty()).then(|| Box::new(Value::Map(metadata)));
    Ok(Event { place: 0, timestamp, fields, metadata })
}

fn write_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(NULL),
        Value::Bool(false) => out.push(FALSE),
        Value::Bool(true) => out.push(TRUE),
        Value::Int(number) => {
            out.push(INT);
            out.extend_from_slice(&number.to_le_bytes());
        }
        Value::Float(number) => {
            out.push(FLOAT);
            out.extend_from_slice(&number.to_bits().to_le_bytes());
        }
        Value::Number(number) => {
            out.push(if number.is_whole() { WHOLE } else { FRACTION });
            write_text(number.as_str(), out);
        }
        Value::Str(text) => {
            out.push(STR);
            write_text(text, out);
        }
        Value::Time(at) => {
            out.push(TIME);
            out.extend_from_slice(&at.as_second().to_le_bytes());
            out.extend_from_slice(&at.subsec_nanosecond().to_le_bytes());
        }
        Value::List(items) => {
            out.push(LIST);
            write_length(items.len(), out);
            items.iter().for_each(|item| write_value(item, out));
        }
        Value::Map(map) => write_map(map, out),
    }
}

fn write_map(map: &Map, out: &mut Vec<u8>) {
    out.push(MAP);
    write_length(map.len(), out);
    for (name, value) in map.iter() {
        write_text(name, out);
        write_value(value, out);
    }
}

/// Adds a text with its length.
fn write_text(text: &str, out: &mut Vec<u8>) {
    write_length(text.len(), out);
    out.extend_from_slice(text.as_bytes());
}

fn write_length(mut length: usize, out: &mut Vec<u8>) {
    while length >= 0x80 {
        out.push((length & 0x7F) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

struct Rest<'b>(&'b mut Bytes);

impl Rest<'_> {
    fn take(&mut self, n: usize) -> Result<Bytes, NoEvent> {
        if n > self.0.len() { Err(NoEvent::Content) } else { Ok(self.0.split_to(n)) }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], NoEvent> {
        self.take(N)?.as_ref().try_into().map_err(|_| NoEvent::Content)
    }

    fn byte(&mut self) -> Result<u8, NoEvent> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn length(&mut self) -> Result<usize, NoEvent> {
        let mut length = 0_usize;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            length |= usize::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(length);
            }
        }
        Err(NoEvent::Content)
    }

    fn text(&mut self) -> Result<Text, NoEvent> {
        let length = self.length()?;
        let bytes = self.take(length)?;
        if std::str::from_utf8(&bytes).is_err() {
            return Err(NoEvent::Content);
        }
        Ok(Text::lossy(bytes))
    }

    fn value(&mut self, depth: usize) -> Result<Value, NoEvent> {
        if depth > DEPTH_MAX {
            return Err(NoEvent::Content);
        }
        Ok(match self.byte()? {
            NULL => Value::Null,
            FALSE => Value::Bool(false),
            TRUE => Value::Bool(true),
            INT => Value::Int(i64::from_le_bytes(self.array()?)),
            FLOAT => Value::Float(f64::from_bits(u64::from_le_bytes(self.array()?))),
            WHOLE => Value::Number(Decimal::whole(&self.text()?).ok_or(NoEvent::Content)?),
            FRACTION => Value::Number(Decimal::fraction(&self.text()?).ok_or(NoEvent::Content)?),
            STR => Value::Str(self.text()?),
            TIME => {
                let (second, nano) = (i64::from_le_bytes(self.array()?), i32::from_le_bytes(self.array()?));
                Value::Time(Timestamp::new(second, nano).map_err(|_| NoEvent::Content)?)
            }
            LIST => {
                let mut items = Vec::new();
                for _ in 0..self.length()? {
                    items.push(self.value(depth + 1)?);
                }
                Value::List(items)
            }
            MAP => {
                let mut map = Map::new();
                for _ in 0..self.length()? {
                    let name: Name = self.text()?.to_name();
                    let value = self.value(depth + 1)?;
                    map.insert(name, value);
                }
                Value::Map(map)
            }
            _ => return Err(NoEvent::Content),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn a_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            (-1e300..1e300).prop_map(Value::Float),
            "-?[1-9][0-9]{20,30}".prop_map(|text| Value::Number(Decimal::whole(&text).unwrap())),
            "[0-9]{1,5}[.][0-9]{1,5}(e-?[0-9]{1,3})?"
                .prop_map(|text| Value::Number(Decimal::fraction(&text).unwrap())),
            "\\PC{0,60}".prop_map(Value::from),
            (-377_705_023_201_i64..253_402_207_200, 0..1_000_000_000_i32)
                .prop_map(|(s, n)| Value::Time(Timestamp::new(s.max(0), n).unwrap())),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
                proptest::collection::vec(("\\PC{0,30}", inner), 0..6)
                    .prop_map(|pairs| Value::Map(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn events_come_back_as_they_were_written(
            fields in proptest::collection::vec(("[a-z]{1,40}", a_value()), 0..40),
            metadata in proptest::collection::vec(("[a-z]{1,4}", a_value()), 0..4),
            timeless in any::<bool>(),
        ) {
            let mut event = Event::new("2026-01-02T03:04:05.123456789Z".parse().unwrap());
            fields.into_iter().for_each(|(name, value)| drop(event.fields.insert(name, value)));
            event.metadata = Some(Box::new(Value::Map(metadata.into_iter().collect())));
            if timeless {
                event.timestamp = Value::Null;
            }
            let mut out = Vec::new();
            write(&event, &mut out);
            prop_assert_eq!(read(&Bytes::from(out)).unwrap(), event);
        }

        #[test]
        fn arbitrary_bytes_are_an_event_or_an_error(bytes in proptest::collection::vec(0_u8..12, 0..300)) {
            let _either = read(&Bytes::from([&[VERSION], bytes.as_slice()].concat()));
        }
    }

    #[test]
    fn what_is_nested_too_deep_is_refused() {
        let mut bytes = vec![VERSION, NULL, MAP, 1, 1, b'a'];
        bytes.extend([LIST, 1].repeat(100_000));
        assert_eq!(read(&bytes.into()), Err(NoEvent::Content));
    }
}
