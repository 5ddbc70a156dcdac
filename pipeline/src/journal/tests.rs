use super::record::encode;
use super::*;
use proptest::prelude::*;

fn all(dir: &Path, after: u64) -> Vec<(u64, Vec<u8>)> {
    let mut reader = Reader::new(dir, after);
    std::iter::from_fn(|| reader.next().unwrap()).map(|r| (r.number, r.payload.to_vec())).collect()
}

fn numbers(dir: &Path) -> Vec<u64> {
    all(dir, 0).into_iter().map(|(number, _)| number).collect()
}

#[test]
fn records_come_back_in_order_over_segments_and_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("deep/er");
    for round in 0..3_u8 {
        let mut journal = Journal::open(&dir, 100, 0).unwrap();
        for n in 0..10_u8 {
            journal.append(&[vec![round; 9], vec![n; 30]]).unwrap();
        }
        journal.sync().unwrap();
    }
    let found = all(&dir, 0);
    assert_eq!(found.len(), 60);
    assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0));
    assert_eq!(found[59].1, vec![9; 30]);
    assert_eq!(all(&dir, found[29].0).len(), 30);
    assert!(segments(&dir).unwrap().len() > 10);
}

#[test]
fn a_reader_sees_what_is_appended_later() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(dir.path(), 60, 0).unwrap();
    let mut reader = Reader::new(dir.path(), 0);
    assert_eq!(reader.next().unwrap(), None);
    for n in 1..20_u64 {
        journal.append(&[n.to_le_bytes()]).unwrap();
        assert_eq!(reader.next().unwrap().unwrap().number, n);
        assert_eq!(reader.next().unwrap(), None);
    }
}

#[test]
fn acknowledged_segments_go_and_numbers_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(dir.path(), 60, 0).unwrap();
    for n in 1..10_u64 {
        journal.append(&[n.to_le_bytes()]).unwrap();
    }
    journal.trim(4).unwrap();
    let left = numbers(dir.path());
    assert!(left.contains(&5) && !left.contains(&2), "{left:?}");
    journal.seal().unwrap();
    journal.trim(9).unwrap();
    assert_eq!((numbers(dir.path()), journal.bytes()), (vec![], 0));
    drop(journal);
    let mut journal = Journal::open(dir.path(), 60, 9).unwrap();
    assert_eq!(journal.append(&[[1]]).unwrap(), 10);
}

#[test]
fn the_oldest_segment_can_be_dropped_and_its_records_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(dir.path(), 50, 0).unwrap();
    for n in 1..6_u64 {
        journal.append(&[n.to_le_bytes()]).unwrap();
    }
    let mut dropped = 0;
    while journal.bytes() > 0 {
        dropped += journal.drop_oldest().unwrap();
    }
    assert_eq!(dropped, 5);
    let mut again = Journal::open(dir.path(), 50, 0).unwrap();
    assert_eq!(
        (again.append(&[[7]]).unwrap(), numbers(dir.path())),
        (6, vec![6]),
        "numbers never begin anew"
    );
    drop(again);
    remove_all_through(dir.path(), 6).unwrap();
    assert!(numbers(dir.path()).is_empty());
    assert_eq!(Journal::open(dir.path(), 50, 0).unwrap().append(&[[8]]).unwrap(), 7);
}

/// Three records in one segment, and what the whole file is.
fn three() -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in 1..4_u64 {
        encode(number, format!("payload {number}").as_bytes(), &mut bytes);
    }
    bytes
}

fn in_a_segment(bytes: &[u8]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(segment_path(dir.path(), 1), bytes).unwrap();
    dir
}

#[test]
fn a_cut_at_each_byte_costs_only_what_it_cuts_and_writing_goes_on() {
    let whole = three();
    let one = whole.len() / 3;
    for cut in 0..whole.len() {
        let dir = in_a_segment(&whole[..cut]);
        let kept: Vec<u64> = (1..=(cut / one) as u64).collect();
        assert_eq!(numbers(dir.path()), kept, "cut at {cut}");
        let mut journal = Journal::open(dir.path(), 1000, 0).unwrap();
        let new = journal.append(&[b"new"]).unwrap();
        assert!(kept.iter().all(|number| *number < new));
        assert_eq!(numbers(dir.path()), [kept, vec![new]].concat(), "cut at {cut}");
    }
}

#[test]
fn a_flip_of_each_byte_costs_no_more_than_its_record() {
    let whole = three();
    let one = whole.len() / 3;
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            let dir = in_a_segment(&bytes);
            let kept: Vec<u64> = (0..3).filter(|n| *n != at / one).map(|n| n as u64 + 1).collect();
            assert_eq!(numbers(dir.path()), kept, "flipped at {at}");
            let mut journal = Journal::open(dir.path(), 1000, 0).unwrap();
            let new = journal.append(&[b"new"]).unwrap();
            assert_eq!(numbers(dir.path()), [kept, vec![new]].concat(), "flipped at {at}");
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_between_records_are_passed_over(
        parts in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..80)), 0..12),
    ) {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for (number, (is_record, part)) in (1_u64..).zip(parts) {
            if is_record {
                encode(number, &part, &mut bytes);
                expected.push((number, part));
            } else {
                // What may look like the start of a record is the business of the next test.
                bytes.extend(part.into_iter().filter(|byte| *byte != 0xF5));
            }
        }
        let dir = in_a_segment(&bytes);
        prop_assert_eq!(all(dir.path(), 0), expected);
    }

    #[test]
    fn whatever_a_file_holds_reading_ends_and_writing_goes_on(
        bytes in proptest::collection::vec(prop_oneof![Just(0xF5), Just(b'L'), Just(0xFF), Just(b'H'), Just(0), any::<u8>()], 0..400),
    ) {
        let dir = in_a_segment(&bytes);
        let before = all(dir.path(), 0);
        let mut journal = Journal::open(dir.path(), 1000, 0).unwrap();
        let new = journal.append(&[b"new"]).unwrap();
        let after = all(dir.path(), 0);
        prop_assert_eq!(after.len(), before.len() + 1);
        prop_assert_eq!(after.last().unwrap().0, new);
    }

    #[test]
    fn records_of_any_size_come_back_whatever_the_segments(
        sizes in proptest::collection::vec(0_usize..400_000, 1..8), segment in 1_u64..900_000,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path(), segment, 0).unwrap();
        let payloads: Vec<Vec<u8>> = sizes.iter().map(|size| vec![0xF5; *size]).collect();
        journal.append(&payloads).unwrap();
        let found: Vec<Vec<u8>> = all(dir.path(), 0).into_iter().map(|(_, payload)| payload).collect();
        prop_assert_eq!(found, payloads);
    }
}
