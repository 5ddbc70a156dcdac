//! Reads and writes values in MessagePack, and cuts streams of them.
use bytes::Bytes;
use rmpv::{Integer, Utf8String};

use crate::charset::{Charset, to_text};
use crate::runtime::lines::{BYTES_MAX, Cut, LINES_MAX};
use crate::value::{Decimal, Map, Text, Value};

/// The deepest nesting that is read.
const DEPTH_MAX: usize = 100;
/// The most values in one: each takes many times the byte that it may be.
const VALUES_MAX: u64 = 1_000_000;
/// The longest value of a stream. A longer one cannot be skipped: the stream ends.
pub(crate) const VALUE_MAX: usize = 32 << 20;

/// Why bytes are no value.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Malformed {
    /// They end too soon, nest too deep, or have a byte that begins nothing.
    #[error("the bytes are no MessagePack")]
    Value(#[from] rmpv::decode::Error),
    /// A value in a stream is too long.
    #[error("a value is longer than {VALUE_MAX} bytes")]
    TooLong,
    /// A value holds too many others.
    #[error("a value holds more than {VALUES_MAX} others")]
    TooMany,
    /// A byte that begins no value.
    #[error("the byte {0:#04x} begins no value of MessagePack")]
    Marker(u8),
}

/// Reads one value from the start of `bytes`, which then begin after it.
pub(crate) fn read(bytes: &mut &[u8]) -> Result<rmpv::Value, Malformed> {
    // A short one cannot hold as many.
    if bytes.len() as u64 > VALUES_MAX {
        count_values(bytes)?;
    }
    Ok(rmpv::decode::read_value_with_max_depth(bytes, DEPTH_MAX)?)
}

/// Looks whether the first value holds no more others than it may.
fn count_values(mut bytes: &[u8]) -> Result<(), Malformed> {
    let (mut seen, mut open) = (0_u64, 1_u64);
    while open > 0
        && let Some((length, children)) = step(bytes)?
    {
        bytes = bytes.get(length..).unwrap_or_default();
        open = open.saturating_sub(1).saturating_add(children);
        seen += 1;
        if seen > VALUES_MAX {
            return Err(Malformed::TooMany);
        }
    }
    Ok(())
}

/// A value of MessagePack as one of ours. Bytes become text; what is of an extension's type becomes its bytes as text.
pub(crate) fn value(from: rmpv::Value) -> Value {
    match from {
        rmpv::Value::Nil => Value::Null,
        rmpv::Value::Boolean(b) => Value::Bool(b),
        rmpv::Value::Integer(number) => integer(number),
        rmpv::Value::F32(x) => Value::Float(f64::from(x)),
        rmpv::Value::F64(x) => Value::Float(x),
        rmpv::Value::String(text) => Value::Str(string(text)),
        rmpv::Value::Binary(bytes) | rmpv::Value::Ext(_, bytes) => Value::Str(bytes_shown(bytes.into())),
        rmpv::Value::Array(items) => Value::List(items.into_iter().map(value).collect()),
        rmpv::Value::Map(entries) => Value::Map(map(entries)),
    }
}

/// Bytes without a character set: each is one of the first 256 characters, as Logstash shows them.
pub(crate) fn bytes_shown(bytes: Bytes) -> Text {
    to_text(bytes, Charset::Latin1)
}

fn integer(number: Integer) -> Value {
    match number.as_i64() {
        Some(number) => Value::Int(number),
        None => Decimal::whole(&number.to_string())
            .map_or(Value::Float(number.as_f64().unwrap_or(f64::MAX)), Value::Number),
    }
}

fn string(text: Utf8String) -> Text {
    Text::lossy(text.into_bytes().into())
}

/// Entries as fields; names that are no texts are written as texts.
pub(crate) fn map(entries: Vec<(rmpv::Value, rmpv::Value)>) -> Map {
    entries.into_iter().map(|(name, item)| (value(name).to_text().to_name(), value(item))).collect()
}

/// One of our values as one of MessagePack; moments are texts.
pub(crate) fn written(value: &Value) -> rmpv::Value {
    match value {
        Value::Null => rmpv::Value::Nil,
        Value::Bool(b) => rmpv::Value::Boolean(*b),
        Value::Int(i) => rmpv::Value::from(*i),
        Value::Float(x) => rmpv::Value::F64(*x),
        Value::Number(number) => match number.as_str().parse::<u64>() {
            Ok(whole) => rmpv::Value::from(whole),
            Err(_) => rmpv::Value::F64(number.to_f64()),
        },
        Value::Str(text) => rmpv::Value::from(text.as_str()),
        Value::Time(_) => rmpv::Value::from(value.to_text().as_str()),
        Value::List(items) => rmpv::Value::Array(items.iter().map(written).collect()),
        Value::Map(map) => rmpv::Value::Map(entries(map)),
    }
}

/// Fields as entries.
pub(crate) fn entries(map: &Map) -> Vec<(rmpv::Value, rmpv::Value)> {
    map.iter().map(|(name, value)| (rmpv::Value::from(name.as_str()), written(value))).collect()
}

/// Adds a value to `out`.
pub(crate) fn write(value: &rmpv::Value, out: &mut Vec<u8>) {
    // Writing into memory does not fail.
    let _ok = rmpv::encode::write_value(out, value);
}

/// Cuts a stream into values, whatever the borders of its chunks.
#[derive(Debug, Default)]
pub(crate) struct Values {
    buffer: Vec<u8>,
    /// Up to where the buffer was looked at.
    seen: usize,
    /// How many values are still open: the one that is looked at, and those inside of it.
    open: u64,
}

impl Values {
    /// Takes a chunk that ends at `end` of the stream, and adds the values that became whole to `out`.
    pub(crate) fn push(&mut self, chunk: &[u8], end: u64, out: &mut Vec<Cut>) -> Result<(), Malformed> {
        self.buffer.extend_from_slice(chunk);
        let begin = end.saturating_sub(self.buffer.len() as u64);
        let (mut done, mut size, mut values) = (0, 0, Vec::new());
        while let Some(whole) = self.next_end()? {
            let bytes = Bytes::copy_from_slice(self.buffer.get(done..whole).unwrap_or_default());
            size += bytes.len();
            values.push(bytes);
            done = whole;
            if values.len() >= LINES_MAX || size >= BYTES_MAX {
                out.push(Cut::of(&values, begin + done as u64));
                values.clear();
                size = 0;
            }
        }
        if !values.is_empty() {
            out.push(Cut::of(&values, begin + done as u64));
        }
        self.buffer.drain(..done);
        self.seen -= done;
        if self.buffer.len() > VALUE_MAX { Err(Malformed::TooLong) } else { Ok(()) }
    }

    /// Where the next value ends, if all of it is there.
    fn next_end(&mut self) -> Result<Option<usize>, Malformed> {
        loop {
            let rest = self.buffer.get(self.seen..).unwrap_or_default();
            let Some((length, children)) = step(rest)? else {
                return if rest.len() > VALUE_MAX { Err(Malformed::TooLong) } else { Ok(None) };
            };
            self.seen += length;
            self.open = self.open.max(1) - 1 + children;
            if self.open == 0 {
                return Ok(Some(self.seen));
            }
        }
    }
}

/// The length of the value that `bytes` begin with, without the values inside of it, and how many these are. `None`:
/// more bytes are needed.
fn step(bytes: &[u8]) -> Result<Option<(usize, u64)>, Malformed> {
    let Some((marker, rest)) = bytes.split_first() else { return Ok(None) };
    let number = |width: usize| {
        let bytes = rest.get(..width)?;
        Some(bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)))
    };
    // How many bytes tell a length, and how many follow besides those that they tell of.
    let (head, length, children) = match *marker {
        0x00..=0x7f | 0xc0 | 0xc2 | 0xc3 | 0xe0..=0xff => (0, Some(0), 0),
        0x80..=0x8f => (0, Some(0), u64::from(marker & 15) * 2),
        0x90..=0x9f => (0, Some(0), u64::from(marker & 15)),
        0xa0..=0xbf => (0, Some(u64::from(marker & 31)), 0),
        0xc4 | 0xd9 => (1, number(1), 0),
        0xc5 | 0xda => (2, number(2), 0),
        0xc6 | 0xdb => (4, number(4), 0),
        0xc7 => (1, number(1).map(|n| n + 1), 0),
        0xc8 => (2, number(2).map(|n| n + 1), 0),
        0xc9 => (4, number(4).map(|n| n + 1), 0),
        0xca | 0xce | 0xd2 => (0, Some(4), 0),
        0xcb | 0xcf | 0xd3 => (0, Some(8), 0),
        0xcc | 0xd0 => (0, Some(1), 0),
        0xcd | 0xd1 => (0, Some(2), 0),
        0xd4..=0xd8 => (0, Some((1 << (marker - 0xd4)) + 1), 0),
        0xdc => (2, Some(0), number(2).unwrap_or(0)),
        0xdd => (4, Some(0), number(4).unwrap_or(0)),
        0xde => (2, Some(0), number(2).unwrap_or(0) * 2),
        0xdf => (4, Some(0), number(4).unwrap_or(0) * 2),
        other => return Err(Malformed::Marker(other)),
    };
    let whole = length.and_then(|length| usize::try_from(length).ok()).map(|length| 1 + head + length);
    Ok(whole.filter(|whole| *whole <= bytes.len()).map(|whole| (whole, children)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::lines::Line;
    use proptest::prelude::*;

    fn any_value() -> impl Strategy<Value = rmpv::Value> {
        let leaf = prop_oneof![
            Just(rmpv::Value::Nil),
            any::<bool>().prop_map(rmpv::Value::Boolean),
            any::<i64>().prop_map(rmpv::Value::from),
            any::<u64>().prop_map(rmpv::Value::from),
            any::<f32>().prop_map(rmpv::Value::F32),
            ".{0,40}".prop_map(rmpv::Value::from),
            proptest::collection::vec(any::<u8>(), 0..300).prop_map(rmpv::Value::Binary),
            (any::<i8>(), proptest::collection::vec(any::<u8>(), 0..20))
                .prop_map(|(k, b)| rmpv::Value::Ext(k, b)),
        ];
        leaf.prop_recursive(4, 64, 20, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..20).prop_map(rmpv::Value::Array),
                proptest::collection::vec((inner.clone(), inner), 0..20).prop_map(rmpv::Value::Map),
            ]
        })
    }

    #[test]
    fn a_value_of_too_many_others_is_refused_before_it_is_read() {
        let array = |length: u32| [&[0xdd][..], &length.to_be_bytes(), &vec![0xc0; length as usize]].concat();
        assert!(matches!(read(&mut array(1_000_001).as_slice()), Err(Malformed::TooMany)));
        assert!(read(&mut array(999_999).as_slice()).is_ok());
    }

    proptest! {
        #[test]
        fn a_stream_is_cut_into_its_values_whatever_its_chunks(
            values in proptest::collection::vec(any_value(), 0..6),
            size in 1_usize..50,
        ) {
            let written: Vec<Vec<u8>> = values.iter().map(|value| {
                let mut out = Vec::new();
                write(value, &mut out);
                out
            }).collect();
            let stream = written.concat();
            let (mut cutter, mut cuts, mut end) = (Values::default(), Vec::new(), 0);
            for chunk in stream.chunks(size) {
                end += chunk.len() as u64;
                cutter.push(chunk, end, &mut cuts).unwrap();
            }
            prop_assert_eq!(cuts.last().map_or(0, |cut| cut.end), stream.len() as u64);
            let bytes = |line| match line {
                Line::Text(text) => text.as_bytes().to_vec(),
                Line::Bytes(bytes) => bytes.to_vec(),
            };
            let got: Vec<Vec<u8>> = cuts.iter().flat_map(Cut::lines).map(bytes).collect();
            prop_assert_eq!(got, written);
        }

        #[test]
        fn any_bytes_are_values_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _either = Values::default().push(&bytes, bytes.len() as u64, &mut Vec::new());
            if let Ok(read) = read(&mut bytes.as_slice()) {
                value(read);
            }
        }
    }

    #[test]
    fn a_length_that_is_a_lie_takes_no_memory() {
        assert!(read(&mut [0xdd, 0xff, 0xff, 0xff, 0xff].as_slice()).is_err());
        let mut values = Values::default();
        assert!(values.push(&[0xdb, 0xff, 0xff, 0xff, 0xff], 5, &mut Vec::new()).is_ok());
        let chunk = vec![0; VALUE_MAX];
        assert!(matches!(values.push(&chunk, 0, &mut Vec::new()), Err(Malformed::TooLong)));
    }
}
