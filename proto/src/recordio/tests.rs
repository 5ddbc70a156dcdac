//! Checks RecordIO: any chunking gives the same records, no bytes make it panic, garbage is named.

use super::*;
use proptest::prelude::*;

fn drain(decoder: &mut Decoder) -> Result<Vec<Bytes>, RecordError> {
    let mut records = Vec::new();
    while let Some(record) = decoder.next()? {
        records.push(record);
    }
    Ok(records)
}

fn decode(chunks: &[&[u8]]) -> Result<Vec<Bytes>, RecordError> {
    let mut decoder = Decoder::new(Limits::default());
    let mut records = Vec::new();
    for chunk in chunks {
        decoder.push(chunk);
        records.extend(drain(&mut decoder)?);
    }
    decoder.finish()?;
    Ok(records)
}

#[test]
fn a_record_is_its_length_a_newline_and_its_bytes() {
    assert_eq!(encode(b"hello"), Bytes::from_static(b"5\nhello"));
    assert_eq!(encode(b""), Bytes::from_static(b"0\n"));
}

#[test]
fn several_records_in_one_chunk_come_out_one_by_one() {
    assert_eq!(decode(&[b"1\na0\n3\nb\nc"]).unwrap(), ["a", "", "b\nc"]);
}

#[test]
fn a_length_line_may_be_split_anywhere() {
    assert_eq!(decode(&[b"1", b"", b"0", b"\n", b"01234", b"56789"]).unwrap(), ["0123456789"]);
}

#[test]
fn leading_zeros_are_tolerated() {
    assert_eq!(decode(&[b"003\nabc"]).unwrap(), ["abc"]);
}

#[test]
fn pushing_bytes_that_nobody_else_holds_copies_nothing() {
    let framed = encode(b"payload");
    let payload_at = framed.slice(2..).as_ptr();
    let mut decoder = Decoder::new(Limits::default());
    decoder.push_bytes(framed);
    assert_eq!(decoder.next().unwrap().unwrap().as_ptr(), payload_at);
}

#[test]
fn a_record_of_exactly_the_limit_is_accepted_and_one_more_byte_is_refused() {
    let limits = Limits { max_record: 3 };
    let mut decoder = Decoder::new(limits);
    decoder.push(b"3\nabc4\n");
    assert_eq!(decoder.next().unwrap().unwrap(), "abc");
    let error = decoder.next().unwrap_err();
    assert_eq!(error, RecordError::TooLong { record: 1, offset: 5, announced: "4".into(), limit: 3 });
    assert_eq!(error.to_string(), "record 1 at byte 5 announces 4 bytes, more than the 3 that are accepted");
}

#[test]
fn a_length_beyond_u64_is_too_long_not_a_panic() {
    let error = decode(&[b"99999999999999999999\n"]).unwrap_err();
    assert!(matches!(error, RecordError::TooLong { record: 0, offset: 0, .. }), "{error}");
}

#[test]
fn twenty_one_digits_are_not_a_length_even_without_their_newline() {
    let error = decode(&[b"000000000000000000001"]).unwrap_err();
    assert!(matches!(error, RecordError::NotALength { .. }), "{error}");
}

#[test]
fn garbage_is_fatal_and_says_what_was_seen() {
    let mut decoder = Decoder::new(Limits::default());
    decoder.push(b"2\nok<html>\xff");
    assert_eq!(decoder.next().unwrap().unwrap(), "ok");
    let error = decoder.next().unwrap_err();
    assert_eq!(
        error.to_string(),
        "record 1 at byte 4 does not start with its length: expected digits and a newline, saw `<html>\\xff`"
    );
    decoder.push(b"2\nok");
    assert_eq!(decoder.next().unwrap_err(), error, "nothing is read after garbage");
}

#[test]
fn an_empty_length_a_sign_and_a_carriage_return_are_garbage() {
    for bytes in [&b"\nabc"[..], b"+1\na", b"-1\na", b"1\r\na", b" 1\na"] {
        assert!(matches!(decode(&[bytes]), Err(RecordError::NotALength { .. })), "{}", bytes.escape_ascii());
    }
}

#[test]
fn a_stream_that_ends_inside_a_record_says_what_is_missing() {
    assert_eq!(
        decode(&[b"1\nx5\nab"]).unwrap_err().to_string(),
        "the stream ended inside record 1 at byte 3: 2 of its 5 bytes had come"
    );
    assert_eq!(
        decode(&[b"12"]).unwrap_err().to_string(),
        "the stream ended inside record 0 at byte 0: only `12` of its length had come"
    );
}

#[test]
fn a_long_unexpected_answer_is_quoted_in_part() {
    let answer = [b'x'; 500];
    let text = decode(&[&answer]).unwrap_err().to_string();
    assert!(text.ends_with("x…`") && text.len() < 200, "{text}");
}

/// Cuts `bytes` at the given places (modulo its length).
fn cut(bytes: &[u8], places: &[usize]) -> Vec<Vec<u8>> {
    let mut places: Vec<usize> = places.iter().map(|place| place % (bytes.len() + 1)).collect();
    places.sort_unstable();
    let mut from = 0;
    let mut pieces = Vec::new();
    for place in places.into_iter().chain([bytes.len()]) {
        pieces.push(bytes[from..place].to_vec());
        from = place;
    }
    pieces
}

proptest! {
    #[test]
    fn records_survive_any_chunking(
        records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20),
        places in prop::collection::vec(any::<usize>(), 0..40),
        shared in any::<bool>(),
    ) {
        let mut framed = BytesMut::new();
        for record in &records {
            encode_into(record, &mut framed);
        }
        let mut decoder = Decoder::new(Limits::default());
        let mut seen = Vec::new();
        for piece in cut(&framed, &places) {
            if shared { decoder.push(&piece) } else { decoder.push_bytes(Bytes::from(piece)) }
            seen.extend(drain(&mut decoder).unwrap());
        }
        decoder.finish().unwrap();
        prop_assert_eq!(seen, records);
    }

    #[test]
    fn no_bytes_make_it_panic_and_chunking_never_changes_the_outcome(
        bytes in prop::collection::vec(prop_oneof![b'0'..=b'9', Just(b'\n'), any::<u8>()], 0..300),
        places in prop::collection::vec(any::<usize>(), 0..20),
    ) {
        let limits = Limits { max_record: 100 };
        let outcome = |pieces: Vec<Vec<u8>>| {
            let mut decoder = Decoder::new(limits);
            let mut seen = Vec::new();
            for piece in pieces {
                decoder.push(&piece);
                loop {
                    match decoder.next() {
                        Ok(Some(record)) => seen.push(record),
                        Ok(None) => break,
                        Err(RecordError::NotALength { record, offset, .. }) => return (seen, Some((record, offset))),
                        Err(RecordError::TooLong { record, offset, .. }) => return (seen, Some((record, offset))),
                        Err(other) => panic!("{other}"),
                    }
                }
            }
            (seen, None)
        };
        prop_assert_eq!(outcome(vec![bytes.clone()]), outcome(cut(&bytes, &places)));
    }
}
