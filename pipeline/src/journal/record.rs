//! Writes one record of a journal, and finds the records among bytes that may be torn or changed.
use memchr::memmem;

/// What each record begins with: bytes that text does not have.
const MARKER: [u8; 4] = [0xF5, b'L', 0xFF, b'H'];
/// The bytes before the payload: marker, length, number, checksum.
pub(super) const HEAD: usize = 20;
/// The longest payload.
pub(crate) const PAYLOAD_MAX: usize = 256 << 20;

/// What stands at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A record: its number, and where its payload is. The next one begins where that ends.
    Record { number: u64, payload: std::ops::Range<usize> },
    /// No record, but there may be one from here on.
    Damage { next: usize },
    /// What is there may be the start of one whose rest is missing.
    Incomplete,
}

/// Adds a record to `out`. The payload is no longer than [`PAYLOAD_MAX`].
pub(super) fn encode(number: u64, payload: &[u8], out: &mut Vec<u8>) {
    debug_assert!(payload.len() <= PAYLOAD_MAX);
    let length = (payload.len() as u32).to_le_bytes();
    let number = number.to_le_bytes();
    out.extend_from_slice(&MARKER);
    out.extend_from_slice(&length);
    out.extend_from_slice(&number);
    out.extend_from_slice(&checksum(&length, &number, payload).to_le_bytes());
    out.extend_from_slice(payload);
}

fn checksum(length: &[u8], number: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(length);
    hasher.update(number);
    hasher.update(payload);
    hasher.finalize()
}

/// What stands at `at`.
pub(super) fn look(bytes: &[u8], at: usize) -> Found {
    let rest = bytes.get(at..).unwrap_or_default();
    let marker = MARKER.get(..rest.len().min(MARKER.len())).unwrap_or_default();
    if !rest.starts_with(marker) {
        return Found::Damage { next: at + next_marker(rest) };
    }
    let Some((head, after)) = rest.split_first_chunk::<HEAD>() else { return Found::Incomplete };
    let [_, _, _, _, l0, l1, l2, l3, number @ .., c0, c1, c2, c3] = *head;
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if length > PAYLOAD_MAX {
        return Found::Damage { next: at + next_marker(rest) };
    }
    let Some(payload) = after.get(..length) else { return Found::Incomplete };
    if checksum(&[l0, l1, l2, l3], &number, payload) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Found::Damage { next: at + next_marker(rest) };
    }
    let start = at + HEAD;
    Found::Record { number: u64::from_le_bytes(number), payload: start..start + length }
}

/// Where a marker, or the start of one at the very end, stands in `rest` after its first byte.
fn next_marker(rest: &[u8]) -> usize {
    let tail = rest.get(1..).unwrap_or_default();
    if let Some(found) = memmem::find(tail, &MARKER) {
        return found + 1;
    }
    let partly = (1..MARKER.len()).rev().find(|n| tail.ends_with(MARKER.get(..*n).unwrap_or_default()));
    rest.len() - partly.unwrap_or(0)
}

/// Whether a whole record stands anywhere after `at`: then what is at `at` will never become whole.
pub(super) fn is_followed(bytes: &[u8], at: usize) -> bool {
    let mut at = at + next_marker(bytes.get(at..).unwrap_or_default());
    while at < bytes.len() {
        match look(bytes, at) {
            Found::Record { .. } => return true,
            Found::Damage { next } => at = next,
            Found::Incomplete => at += next_marker(bytes.get(at..).unwrap_or_default()),
        }
    }
    false
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < bytes.len() {
            match look(bytes, at) {
                Found::Record { number, payload } => {
                    at = payload.end;
                    return Some(number);
                }
                Found::Damage { next } => at = next,
                Found::Incomplete => at += next_marker(bytes.get(at..).unwrap_or_default()),
            }
        }
        None
    })
}

/// The greatest number of a record in a whole segment.
pub(super) fn last_number(bytes: &[u8]) -> Option<u64> {
    numbers(bytes).max()
}

/// How many records of a whole segment can be read.
pub(super) fn how_many(bytes: &[u8]) -> usize {
    numbers(bytes).count()
}
