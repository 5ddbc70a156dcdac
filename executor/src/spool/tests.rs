//! Checks a spool against a model of the source that it reads.
use super::*;
use proptest::prelude::*;

/// The source: byte `p` is always the same, with a newline every few bytes.
fn source(from: u64, to: u64) -> Vec<u8> {
    (from..to).map(|p| if p % 7 == 6 || p % 31 == 30 { b'\n' } else { b'a' + (p % 23) as u8 }).collect()
}

fn identity() -> Identity {
    Identity {
        container: "c0ffee".into(),
        name: "web".into(),
        image: "nginx:1".into(),
        path: "/var/log/access.log".into(),
        nth: 0,
    }
}

fn open(dir: &tempfile::TempDir, cap: u64) -> Spool {
    Spool::open(&dir.path().join("x.spool"), &identity(), cap, 0).unwrap()
}

fn text(spool: &mut Spool) -> String {
    let mut out = Vec::new();
    while let Some(stretch) = spool.take(1000).unwrap() {
        out.extend_from_slice(&stretch.bytes);
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn what_was_pushed_and_not_acknowledged_is_there_after_a_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(&dir, 5000);
    assert_eq!(spool.push(b"one\ntwo\nthr").unwrap(), 11);
    assert_eq!(text(&mut spool), "one\ntwo\nthr");
    spool.ack(4).unwrap();
    drop(spool);
    let mut spool = open(&dir, 5000);
    assert_eq!((spool.acked(), spool.end(), spool.held()), (4, 11, 7));
    assert_eq!(spool.recent(), b"one\ntwo\nthr");
    assert_eq!(text(&mut spool), "two\nthr");
}

#[test]
fn a_full_spool_takes_no_more_until_something_is_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(&dir, CAP_MIN);
    let taken = spool.push(&source(0, 10_000)).unwrap() as u64;
    assert_eq!(taken, CAP_MIN - RECORD);
    assert_eq!(spool.push(b"x").unwrap(), 0);
    assert!(spool.drop_oldest().unwrap() > 0);
    while spool.take(100).unwrap().is_some() {}
    spool.ack(taken).unwrap();
    assert!(spool.push(b"x").unwrap() > 0);
    assert!(std::fs::metadata(dir.path().join("x.spool")).unwrap().len() <= RING + CAP_MIN);
}

#[test]
fn dropping_takes_whole_lines_and_counts_them_and_leaves_what_was_handed_out() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(&dir, CAP_MIN);
    let line = format!("{}\n", "x".repeat(99));
    while spool.push(line.as_bytes()).unwrap() == line.len() {}
    let before = spool.end();
    let first = spool.take(150).unwrap().unwrap();
    assert_eq!(first.end, 100);
    let lines = spool.drop_oldest().unwrap();
    assert!(lines >= 10, "a quarter of the cap at least: {lines}");
    assert_eq!((spool.dropped_lines(), spool.end(), spool.acked()), (lines, before, 0));
    let rest = text(&mut spool);
    assert!(rest.starts_with('x'));
    assert_eq!(before - 100, rest.len() as u64 + lines * 100);
    drop(spool);
    assert_eq!(open(&dir, CAP_MIN).dropped_lines(), lines);
}

#[test]
fn a_line_longer_than_the_spool_does_not_stop_it_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(&dir, CAP_MIN);
    spool.push(&vec![b'x'; 9000]).unwrap();
    assert!(!spool.release_overlong_line().unwrap(), "not handed out yet");
    while spool.take(1000).unwrap().is_some() {}
    assert!(spool.release_overlong_line().unwrap());
    assert!(spool.push(b"rest\nnext").unwrap() > 0);
    while spool.take(1000).unwrap().is_some() {}
    assert!(!spool.release_overlong_line().unwrap(), "its end can be acknowledged");
}

#[test]
fn a_source_that_starts_anew_has_positions_that_still_grow() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(&dir, CAP_MIN);
    spool.push(b"old\n").unwrap();
    spool.source_starts_anew().unwrap();
    assert_eq!((spool.origin(), spool.recent()), (4, b"".as_slice()));
    spool.push(b"new\n").unwrap();
    assert_eq!(spool.recent(), b"new\n");
    drop(spool);
    let mut spool = open(&dir, CAP_MIN);
    assert_eq!((spool.origin(), spool.end(), spool.recent()), (4, 8, b"new\n".as_slice()));
    assert_eq!(text(&mut spool), "old\nnew\n");
}

#[test]
fn a_changed_cap_keeps_what_is_held() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(&dir, 20_000);
    spool.push(&source(0, 9000)).unwrap();
    spool.ack(100).unwrap();
    drop(spool);
    let mut spool = open(&dir, CAP_MIN);
    assert_eq!((spool.acked(), spool.end()), (100, 9000));
    assert_eq!(text(&mut spool).as_bytes(), source(100, 9000));
}

#[test]
fn a_damaged_file_and_a_foreign_one_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.spool");
    std::fs::write(&path, "hello").unwrap();
    let error = Spool::open(&path, &identity(), CAP_MIN, 0).unwrap_err();
    assert!(error.to_string().contains("it is too short"), "{error}");
    std::fs::remove_file(&path).unwrap();
    drop(open(&dir, CAP_MIN));
    let other = Identity { path: "/other".into(), ..identity() };
    let error = Spool::open(&path, &other, CAP_MIN, 0).unwrap_err();
    assert!(error.to_string().contains("another source"), "{error}");
}

#[derive(Clone, Debug)]
enum Step {
    Push(usize),
    Take(usize),
    Ack(f64),
    Rewind,
    Reopen,
    TornTail(f64),
    Drop,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1usize..3000).prop_map(Step::Push),
        4 => (1usize..2000).prop_map(Step::Take),
        3 => (0.0..=1.0).prop_map(Step::Ack),
        1 => Just(Step::Rewind),
        1 => Just(Step::Reopen),
        1 => (0.0..=1.0).prop_map(Step::TornTail),
        1 => Just(Step::Drop),
    ]
}

/// What must be true of a spool that reads [`source`].
struct Model {
    dir: tempfile::TempDir,
    spool: Spool,
    cap: u64,
    acked: u64,
    cursor: u64,
    dropped: Vec<(u64, u64)>,
}

impl Model {
    fn check_stretch(&mut self, stretch: &Stretch) {
        let start = stretch.end - stretch.bytes.len() as u64;
        assert_eq!(stretch.bytes, source(start, stretch.end));
        if start != self.cursor {
            assert!(
                self.dropped.iter().any(|(from, to)| *from <= self.cursor && start <= *to)
                    || self.chain_of_drops(start)
            );
            assert!(self.cursor == 0 || source(self.cursor - 1, self.cursor) == b"\n");
        }
        self.cursor = stretch.end;
    }

    fn chain_of_drops(&self, start: u64) -> bool {
        let mut at = self.cursor;
        while let Some((_, to)) = self.dropped.iter().find(|(from, to)| *from <= at && at < *to) {
            at = *to;
        }
        at >= start
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Push(n) => {
                let end = self.spool.end();
                let taken = self.spool.push(&source(end, end + *n as u64)).unwrap() as u64;
                assert_eq!(self.spool.end(), end + taken);
            }
            Step::Take(max) => {
                if let Some(stretch) = self.spool.take(*max).unwrap() {
                    self.check_stretch(&stretch);
                }
            }
            Step::Ack(part) => {
                let mut to = self.acked + ((self.cursor.saturating_sub(self.acked)) as f64 * part) as u64;
                while to > self.acked && source(to - 1, to) != b"\n" {
                    to -= 1;
                }
                self.spool.ack(to).unwrap();
                self.acked = self.acked.max(to);
            }
            Step::Rewind => {
                self.spool.rewind();
                self.cursor = self.acked;
            }
            Step::Reopen => {
                let before = (self.spool.held(), self.spool.dropped_lines(), self.spool.recent().to_vec());
                self.reopen();
                assert_eq!(before.0, self.spool.held());
                assert_eq!(before.1, self.spool.dropped_lines());
            }
            Step::TornTail(part) => {
                let file =
                    std::fs::OpenOptions::new().write(true).open(self.dir.path().join("x.spool")).unwrap();
                let length = file.metadata().unwrap().len().max(RING);
                file.set_len(RING + ((length - RING) as f64 * part) as u64).unwrap();
                self.reopen();
            }
            Step::Drop => {
                let (held, count) = (self.spool.pieces(self.acked).unwrap(), self.spool.dropped_lines());
                let lines = self.spool.drop_oldest().unwrap();
                assert_eq!(self.spool.dropped_lines(), count + lines);
                let after = self.spool.pieces(self.acked).unwrap();
                let bytes = |p: &[Piece]| p.iter().flat_map(|p| p.payload.to_vec()).collect::<Vec<u8>>();
                let newlines = |b: &[u8]| b.iter().filter(|b| **b == b'\n').count() as u64;
                assert_eq!(newlines(&bytes(&held)), newlines(&bytes(&after)) + lines);
                let kept: std::collections::BTreeSet<u64> =
                    after.iter().flat_map(|p| p.position..p.position + p.payload.len() as u64).collect();
                for p in held.iter().flat_map(|p| p.position..p.position + p.payload.len() as u64) {
                    if !kept.contains(&p) {
                        self.dropped.push((p, p + 1));
                    }
                }
            }
        }
        assert_eq!(self.spool.acked(), self.acked);
        assert!(self.spool.acked() <= self.spool.end());
        let size = std::fs::metadata(self.dir.path().join("x.spool")).unwrap().len();
        assert!(size <= RING + self.cap, "{size}");
    }

    fn reopen(&mut self) {
        let end = self.spool.end();
        self.spool = Spool::open(&self.dir.path().join("x.spool"), &identity(), self.cap, 0).unwrap();
        assert!(self.spool.end() <= end);
        let recent = self.spool.recent();
        assert_eq!(recent, source(self.spool.end() - recent.len() as u64, self.spool.end()));
        self.cursor = self.acked;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_spool_hands_out_the_source_in_order_whatever_happens(
        cap in CAP_MIN..9000,
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let spool = open(&dir, cap);
        let mut model = Model { dir, spool, cap, acked: 0, cursor: 0, dropped: Vec::new() };
        for step in &steps {
            model.run(step);
        }
        while let Some(stretch) = model.spool.take(777).unwrap() {
            model.check_stretch(&stretch);
        }
    }

    #[test]
    fn damaged_bytes_never_give_wrong_lines(
        at in 0u64..4000,
        value in any::<u8>(),
        pushes in proptest::collection::vec(1usize..500, 1..10),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = open(&dir, CAP_MIN);
        for n in pushes {
            let end = spool.end();
            spool.push(&source(end, end + n as u64)).unwrap();
        }
        let end = spool.end();
        drop(spool);
        let file = std::fs::OpenOptions::new().write(true).open(dir.path().join("x.spool")).unwrap();
        file.write_all_at(&[value], RING + at).unwrap();
        let mut spool = open(&dir, CAP_MIN);
        prop_assert!(spool.end() <= end);
        let out = text(&mut spool).into_bytes();
        prop_assert_eq!(out, source(0, spool.end()));
    }

    #[test]
    fn any_bytes_as_identity_or_slot_are_refused_or_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = Identity::decode(&bytes);
        let _ = Slot::decode(&bytes);
    }
}
