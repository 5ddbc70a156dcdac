//! Writes texts as JSON strings, 16 bytes at a time: each block is copied before it is looked at, and what is not to stay is
//! taken back.

/// What is looked at and copied together.
const BLOCK: usize = 16;

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

/// Adds a string with its quotes to `out`.
#[inline]
pub(crate) fn write_str(text: &str, out: &mut Vec<u8>) {
    out.reserve(text.len() + BLOCK + 2);
    out.push(b'"');
    write_inside(text.as_bytes(), out);
    out.push(b'"');
}

/// Adds what is between the quotes.
#[inline]
fn write_inside(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some((block, behind)) = rest.split_first_chunk::<BLOCK>() {
        rest = match write_block(block, BLOCK, out) {
            None => behind,
            Some(plain) => escaped(rest, plain, out),
        };
    }
    while !rest.is_empty() {
        match write_block(&padded(rest), rest.len(), out) {
            None => break,
            Some(plain) => rest = escaped(rest, plain, out),
        }
    }
}

/// Adds the first `len` bytes of a block up to the first that needs an escape; tells where that is, if there is one.
#[inline]
fn write_block(block: &[u8; BLOCK], len: usize, out: &mut Vec<u8>) -> Option<usize> {
    let before = out.len();
    out.extend_from_slice(block);
    let plain = plain_start(block).min(len);
    out.truncate(before + plain);
    (plain < len).then_some(plain)
}

/// Adds the escape of the byte behind so many plain ones; gives what is behind it.
fn escaped<'t>(text: &'t [u8], plain: usize, out: &mut Vec<u8>) -> &'t [u8] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let hex = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
    let Some((byte, rest)) = text.get(plain..).and_then(<[u8]>::split_first) else { return &[] };
    match escape(*byte) {
        b'u' => out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte & 15)]),
        short => out.extend_from_slice(&[b'\\', short]),
    }
    rest
}

/// Fewer bytes than a block has, with something behind them. Where a part of them is read twice, both readings say the same.
#[inline]
fn padded(text: &[u8]) -> [u8; BLOCK] {
    let len = text.len();
    let bits = if let (Some(first), Some(last)) = (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        u128::from(u64::from_le_bytes(*first)) | u128::from(u64::from_le_bytes(*last)) << (8 * (len - 8))
    } else if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        let (first, last) = (u64::from(u32::from_le_bytes(*first)), u64::from(u32::from_le_bytes(*last)));
        u128::from(first | last << (8 * (len - 4)))
    } else {
        let byte = |at: usize| text.get(at).map_or(0, |byte| u32::from(*byte) << (8 * at));
        u128::from(byte(0) | byte(1) | byte(2))
    };
    bits.to_le_bytes()
}

/// Where the first byte of a block is that needs an escape; its length if there is none.
#[inline]
fn plain_start(block: &[u8; BLOCK]) -> usize {
    let whole = u128::from_le_bytes(*block);
    match (marks(whole as u64), marks((whole >> 64) as u64)) {
        (0, 0) => BLOCK,
        (0, high) => 8 + (high.trailing_zeros() / 8) as usize,
        (low, _) => (low.trailing_zeros() / 8) as usize,
    }
}

/// Marks the highest bit of bytes that need an escape. The lowest that is marked is right; those above it may be marked by a
/// borrow only.
#[inline]
fn marks(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let zero = |x: u64| x.wrapping_sub(ONES) & !x;
    let below_space = word.wrapping_sub(ONES * 0x20) & !word;
    (below_space | zero(word ^ (ONES * 0x22)) | zero(word ^ (ONES * 0x5c))) & HIGHS
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn strings_are_written_as_by_a_plain_loop(
            before in "[a-z]{0,20}",
            text in "[a-z\"\\\\\\x00-\\x1f\u{7f}é]{0,20}|[a-z ]{0,100}(\"|é|\\x01)?[a-z]{0,40}|\\PC{0,80}",
        ) {
            let mut out = before.clone().into_bytes();
            write_str(&text, &mut out);
            let mut plainly = before.clone().into_bytes();
            plainly.push(b'"');
            for byte in text.bytes() {
                match escape(byte) {
                    0 => plainly.push(byte),
                    b'u' => plainly.extend(format!("\\u{byte:04x}").into_bytes()),
                    short => plainly.extend([b'\\', short]),
                }
            }
            plainly.push(b'"');
            prop_assert_eq!(&out, &plainly);
            let read = serde_json::from_slice::<String>(out.get(before.len()..).unwrap_or_default()).unwrap();
            prop_assert_eq!(read, text);
        }
    }
}
