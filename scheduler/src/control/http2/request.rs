//! What is in the head of a request and of a response, as far as it matters (HPACK, RFC 7541).
//!
//! There is one request in the life of a connection, and of that only the path is looked at. So nothing has to be kept between
//! heads, and no text has to be decoded: there is only one way to compress a text, and the one that is expected is known.
use super::frame::PAYLOAD_MAX;
use http::HeaderMap;

const PATH: &[u8] = b"/logherd.control.v1.Control/Attach";
/// The same by the code of RFC 7541, appendix B.
const PATH_CODED: &[u8] = &[
    0x62, 0x83, 0xcd, 0x39, 0x6c, 0x91, 0x72, 0x1e, 0xa4, 0xd8, 0x7a, 0x17, 0xee, 0x15, 0xef, 0x1e, 0xa4,
    0xd8, 0x7a, 0x18, 0x85, 0x29, 0x19, 0x27,
];
/// The name of the field that holds it, plain and by the code.
const NAME: &[u8] = b":path";
const NAME_CODED: &[u8] = &[0xb9, 0x58, 0xd3, 0x3f];
/// The entries of the static table that are paths: `/` and `/index.html`.
const NAMED_PATH: std::ops::RangeInclusive<usize> = 4..=5;
/// The entry `:status: 200`, as a whole field.
const STATUS_200: u8 = 0x80 | 8;

/// Whether these fields ask for what is served here; `None` if they make no sense.
pub(super) fn is_attach(fields: &[u8]) -> Option<bool> {
    let mut rest = fields;
    while let Some(first) = rest.first() {
        let name = match first {
            0x80.. => {
                if NAMED_PATH.contains(&integer(&mut rest, 7)?) {
                    return Some(false);
                }
                continue;
            }
            0x40.. => integer(&mut rest, 6)?,
            // The size of a table that is not kept.
            0x20.. => {
                integer(&mut rest, 5)?;
                continue;
            }
            _ => integer(&mut rest, 4)?,
        };
        let is_path = match name {
            0 => matches!(text(&mut rest)?, (false, NAME) | (true, NAME_CODED)),
            name => NAMED_PATH.contains(&name),
        };
        let value = text(&mut rest)?;
        if is_path {
            return Some(matches!(value, (false, PATH) | (true, PATH_CODED)));
        }
    }
    Some(false)
}

/// An integer whose first byte leaves it so many bits.
fn integer(rest: &mut &[u8], bits: u32) -> Option<usize> {
    let (first, mut after) = rest.split_first()?;
    let most = (1usize << bits) - 1;
    let mut number = usize::from(*first) & most;
    if number == most {
        // Two more bytes: nothing in a frame is longer than 16 kB.
        for shift in [0, 7, 14] {
            let (next, more) = after.split_first()?;
            after = more;
            number += usize::from(next & 0x7f) << shift;
            if next & 0x80 == 0 {
                *rest = after;
                return Some(number);
            }
        }
        return None;
    }
    *rest = after;
    Some(number)
}

/// A text, and whether it is compressed.
fn text<'a>(rest: &mut &'a [u8]) -> Option<(bool, &'a [u8])> {
    let compressed = rest.first()? & 0x80 != 0;
    let length = integer(rest, 7)?;
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some((compressed, text))
}

/// The fields of a response, `first` of one or its trailers. A field for which there is no room is left out.
pub(in super::super) fn fields(first: bool, map: &HeaderMap) -> Vec<u8> {
    let mut out = if first { vec![STATUS_200] } else { Vec::new() };
    for (name, value) in map {
        // A literal that is not to be kept, with a new name.
        let mut field = vec![0];
        for text in [name.as_str().as_bytes(), value.as_bytes()] {
            write_length(&mut field, text.len());
            field.extend(text);
        }
        if out.len() + field.len() <= PAYLOAD_MAX {
            out.extend(field);
        }
    }
    out
}

/// The length of a text that is not compressed.
fn write_length(out: &mut Vec<u8>, length: usize) {
    let Some(mut more) = length.checked_sub(0x7f) else {
        out.extend(u8::try_from(length));
        return;
    };
    out.push(0x7f);
    while more >= 0x80 {
        out.extend(u8::try_from(more & 0x7f | 0x80));
        more >>= 7;
    }
    out.extend(u8::try_from(more));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_path_is_found_in_each_way_to_write_it() {
        let coded = [&[0x80 | PATH_CODED.len() as u8], PATH_CODED].concat();
        let plain = [&[PATH.len() as u8], PATH].concat();
        for value in [coded, plain] {
            for name in [vec![0x04], vec![0x44], vec![0x14], vec![0x05]] {
                // `:method: POST`, a table of no size, `te: trailers` by an unknown name, and the path.
                let before = [&[0x83, 0x20, 0x00, 2][..], b"te", &[8], b"trailers"].concat();
                assert_eq!(is_attach(&[&before[..], &name, &value].concat()), Some(true));
            }
            let named = [&[0x00, NAME.len() as u8], NAME, &value].concat();
            assert_eq!(is_attach(&named), Some(true));
            let named = [&[0x00, 0x80 | NAME_CODED.len() as u8], NAME_CODED, &value].concat();
            assert_eq!(is_attach(&named), Some(true));
        }
    }

    #[test]
    fn another_path_or_none_is_not_ours_and_half_a_field_is_nothing() {
        assert_eq!(is_attach(&[0x83, 0x84]), Some(false));
        assert_eq!(is_attach(&[]), Some(false));
        assert_eq!(is_attach(&[0x04, 2, b'/', b'x']), Some(false));
        for half in [&[0x04][..], &[0x04, 5, b'/'], &[0x00, 0x7f], &[0x00, 0x7f, 0xff, 0xff, 0xff]] {
            assert_eq!(is_attach(half), None, "{half:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_judged(fields in prop::collection::vec(any::<u8>(), 0..80)) {
            is_attach(&fields);
        }

        #[test]
        fn a_length_is_read_as_it_was_written(length in 0..200_000usize) {
            let mut written = Vec::new();
            write_length(&mut written, length);
            prop_assert_eq!(integer(&mut &written[..], 7), Some(length));
        }
    }
}
