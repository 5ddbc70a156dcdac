//! Writes values as JSON into reused buffers.
use super::moment::push_moment;
use crate::value::{Map, Timestamp, Value};
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
    for (name, value) in map.parts().into_iter().flatten() {
        out.push(before);
        write_str(name, out);
        out.push(b':');
        write_value(value, out);
        before = b',';
    }
    if before == b'{' {
        out.push(b'{');
    }
    out.push(b'}');
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

/// How many bytes there are before the first one that needs an escape; looks at many at once.
fn plain_start(bytes: &[u8]) -> usize {
    let (blocks, _) = bytes.as_chunks::<32>();
    let mut at = 32 * blocks.iter().take_while(|block| is_plain(block)).count();
    let (words, rest) = bytes.get(at..).unwrap_or_default().as_chunks::<8>();
    for word in words {
        if let Some(first) = first_escape(*word) {
            return at + first;
        }
        at += 8;
    }
    if rest.is_empty() {
        return at;
    }
    // The bytes that are left, behind some that are plain.
    let last = match bytes.last_chunk::<8>() {
        Some(last) => *last,
        None => {
            let mut last = [b' '; 8];
            last.iter_mut().rev().zip(rest.iter().rev()).for_each(|(to, from)| *to = *from);
            last
        }
    };
    first_escape(last).map_or(bytes.len(), |first| (bytes.len() + first).saturating_sub(8))
}

/// Whether nothing in a block needs an escape; without branches, so that it is done with wide registers.
fn is_plain(block: &[u8; 32]) -> bool {
    let needs = |byte: &u8| u8::from(*byte < 0x20) | u8::from(*byte == b'"') | u8::from(*byte == b'\\');
    block.iter().fold(0, |any, byte| any | needs(byte)) == 0
}

/// Where the first byte is that needs an escape.
fn first_escape(word: [u8; 8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let zero = |x: u64| x.wrapping_sub(ONES) & !x & HIGHS;
    let x = u64::from_le_bytes(word);
    let below_space = x.wrapping_sub(ONES * 0x20) & !x & HIGHS;
    let found = below_space | zero(x ^ (ONES * 0x22)) | zero(x ^ (ONES * 0x5c));
    // The lowest byte that is found is right; those above it may be found by a borrow only.
    (found != 0).then(|| (found.trailing_zeros() / 8) as usize)
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
        fn strings_are_written_as_by_a_plain_loop(
            text in "[a-z\"\\\\\\x00-\\x1f\u{7f}é]{0,20}|[a-z ]{0,100}(\"|é|\\x01)?[a-z]{0,40}|\\PC{0,80}",
        ) {
            let mut out = Vec::new();
            write_str(&text, &mut out);
            let mut plainly = vec![b'"'];
            for byte in text.bytes() {
                match escape(byte) {
                    0 => plainly.push(byte),
                    b'u' => plainly.extend(format!("\\u{byte:04x}").into_bytes()),
                    short => plainly.extend([b'\\', short]),
                }
            }
            plainly.push(b'"');
            prop_assert_eq!(&out, &plainly);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }
}
