//! A tail over real files that are written, renamed, cut off and replaced under it.
use super::*;
use crate::runtime::lines::Line;
use std::io::Write;

struct World {
    dir: tempfile::TempDir,
    ledger: Arc<Ledger>,
    tail: Tail,
    now: Instant,
}

impl World {
    fn new(pattern: &str, change: impl FnOnce(&mut Wanted)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Arc::new(Ledger::open(dir.path().join("positions"), "p").unwrap());
        let mut wanted = Wanted {
            patterns: vec![dir.path().join(pattern).display().to_string()],
            exclude: Vec::new(),
            from_beginning: true,
            remember: true,
            delimiter: b"\n".to_vec(),
            to_the_end: false,
            exits: false,
            ignore_older: None,
            order: Order { by_path: false, descending: false },
        };
        change(&mut wanted);
        let tail = Tail::new(wanted, ledger.clone());
        Self { dir, ledger, tail, now: Instant::now() }
    }

    fn append(&self, name: &str, text: &str) {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(self.path(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Looks, reads all there is, acknowledges it, and returns the lines.
    fn lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut round = Round::default();
        self.tail.look(self.now, 1, &mut round);
        loop {
            self.tail.read(self.now, 1, &mut round);
            assert_eq!(round.trouble, None);
            for read in std::mem::take(&mut round.reads) {
                for cut in read.cuts {
                    lines.extend(cut.lines().map(|line| match line {
                        Line::Text(text) => text.to_string(),
                        Line::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                    }));
                    self.ledger.advance(&read.key, read.epoch, cut.end, 1);
                }
            }
            if !std::mem::take(&mut round.more) {
                return lines;
            }
        }
    }

    /// As after a restart of the process.
    fn restart(&mut self) {
        self.ledger.save(1).unwrap();
        self.ledger = Arc::new(Ledger::open(self.path("positions"), "p").unwrap());
        self.tail = Tail::new(self.tail.wanted.clone(), self.ledger.clone());
    }
}

#[test]
fn a_file_that_this_process_writes_its_log_to_is_not_read_under_any_name() {
    let mut world = World::new("*.log*", |_| {});
    world.append("own.log", "a line of ours\n");
    own_output::keep_out(&fs::metadata(world.path("own.log")).unwrap());
    world.append("app.log", "a line of theirs\n");
    assert_eq!(world.lines(), ["a line of theirs"]);
    fs::rename(world.path("own.log"), world.path("own.log.1")).unwrap();
    world.append("own.log.1", "another\n");
    assert!(world.lines().is_empty());
    own_output::let_in(&fs::metadata(world.path("own.log.1")).unwrap());
    assert_eq!(world.lines(), ["a line of ours", "another"]);
}

#[test]
fn only_whole_lines_are_read_and_the_rest_when_it_is_whole() {
    let mut world = World::new("*.log", |_| {});
    world.append("a.log", "one\ntw");
    assert_eq!(world.lines(), ["one"]);
    world.append("a.log", "o\n");
    assert_eq!(world.lines(), ["two"]);
    assert_eq!(world.lines(), [""; 0]);
}

#[test]
fn a_renamed_file_is_read_to_its_end_and_the_new_one_from_its_beginning() {
    let mut world = World::new("a.log", |w| w.from_beginning = false);
    world.append("a.log", "old\n");
    assert_eq!(world.lines(), [""; 0]);
    world.append("a.log", "one\n");
    fs::rename(world.path("a.log"), world.path("a.log.1")).unwrap();
    world.append("a.log.1", "two\n");
    world.append("a.log", "three\n");
    let mut lines = world.lines();
    lines.sort();
    assert_eq!(lines, ["one", "three", "two"]);
    world.append("a.log.1", "late\n");
    assert_eq!(world.lines(), ["late"]);
    world.append("a.log.1", "no end");
    world.now += CLOSE_AFTER;
    assert_eq!(world.lines(), [""; 0]);
    world.now += CLOSE_AFTER * 2;
    assert_eq!(world.lines(), ["no end"]);
    assert_eq!(world.tail.files.len(), 1);
}

#[test]
fn a_file_that_is_cut_off_is_read_from_its_beginning() {
    let mut world = World::new("a.log", |_| {});
    world.append("a.log", "first line\nand a piece");
    assert_eq!(world.lines(), ["first line"]);
    fs::write(world.path("a.log"), "new\n").unwrap();
    assert_eq!(world.lines(), ["and a piece", "new"]);
    world.restart();
    assert_eq!(world.lines(), [""; 0]);
}

#[test]
fn a_file_that_was_copied_and_written_anew_is_known_by_its_first_bytes() {
    let mut world = World::new("a.log", |_| {});
    world.append("a.log", "first line\n");
    assert_eq!(world.lines(), ["first line"]);
    fs::write(world.path("a.log"), "quite another line, and longer\n").unwrap();
    assert_eq!(world.lines(), ["quite another line, and longer"]);
}

#[test]
fn acknowledgements_of_what_was_cut_off_do_not_count() {
    let mut world = World::new("a.log", |_| {});
    world.append("a.log", "first line\n");
    let mut round = Round::default();
    world.tail.look(world.now, 1, &mut round);
    world.tail.read(world.now, 1, &mut round);
    let before = round.reads.remove(0);
    fs::write(world.path("a.log"), "new\n").unwrap();
    assert_eq!(world.lines(), ["new"]);
    world.ledger.advance(&before.key, before.epoch, before.cuts[0].end, 1);
    assert_eq!(world.ledger.get(&before.key).unwrap().offset, 4);
}

#[test]
fn reading_goes_on_at_the_byte_after_a_restart_even_under_another_name() {
    let mut world = World::new("a.log*", |_| {});
    world.append("a.log", "one\ntwo\nthr");
    assert_eq!(world.lines(), ["one", "two"]);
    fs::rename(world.path("a.log"), world.path("a.log.1")).unwrap();
    world.append("a.log.1", "ee\n");
    world.restart();
    assert_eq!(world.lines(), ["three"]);
}

#[test]
fn an_inode_that_was_used_again_is_another_file() {
    let mut world = World::new("a.log", |_| {});
    world.append("a.log", "one\n");
    assert_eq!(world.lines(), ["one"]);
    world.restart();
    // The same inode with other content, which is what a removed and remade file may look like.
    fs::write(world.path("a.log"), "other\n").unwrap();
    assert_eq!(world.lines(), ["other"]);
}

#[test]
fn files_that_come_later_are_read_from_their_beginning_and_excluded_ones_not_at_all() {
    let mut world = World::new("*.log", |w| {
        w.from_beginning = false;
        w.exclude = vec!["x*".to_owned()];
    });
    world.append("a.log", "old\n");
    assert_eq!(world.lines(), [""; 0]);
    world.append("b.log", "new\n");
    world.append("x.log", "excluded\n");
    assert_eq!(world.lines(), ["new"]);
}

#[test]
fn reading_to_the_end_gives_the_last_line_too_and_is_done_then() {
    let mut world = World::new("*.log", |w| (w.to_the_end, w.exits) = (true, true));
    world.append("a.log", "one\ntwo");
    world.append("b.log", "three\n");
    assert!(!world.tail.is_done());
    let mut lines = world.lines();
    lines.sort();
    assert_eq!(lines, ["one", "three", "two"]);
    assert!(world.tail.is_done());
    world.restart();
    assert_eq!(world.lines(), [""; 0]);
}

#[test]
fn a_busy_file_does_not_keep_others_from_their_turn() {
    let mut world = World::new("*.log", |_| {});
    for i in 0..8 {
        world.append(&format!("{i}.log"), &"x".repeat(READ_BYTES * 4));
    }
    let mut round = Round::default();
    world.tail.look(world.now, 1, &mut round);
    for _ in 0..4 {
        world.tail.read(world.now, 1, &mut round);
    }
    assert!(world.tail.files.values().all(|f| f.offset > 0));
}

#[test]
fn a_round_that_has_read_every_file_to_its_end_asks_for_no_other() {
    let mut world = World::new("*.log", |_| {});
    let mut round = Round::default();
    for nth in 0..3 {
        world.append(&format!("{nth}.log"), "one\ntwo\n");
    }
    world.tail.look(world.now, 1, &mut round);
    world.tail.read(world.now, 1, &mut round);
    assert_eq!((round.reads.len(), round.looked_at, round.more), (3, 3, false));
}

#[test]
fn old_files_are_left_alone_until_they_are_written_to_again() {
    let mut world = World::new("*.log", |w| w.ignore_older = Some(Duration::from_secs(60)));
    world.append("a.log", "old\n");
    let written = fs::metadata(world.path("a.log")).unwrap().mtime();
    let late = u64::try_from(written).unwrap() + 100;
    let mut round = Round::default();
    world.tail.look(world.now, late, &mut round);
    world.tail.read(world.now, late, &mut round);
    assert!(round.reads.is_empty());
    world.append("a.log", "new\n");
    assert_eq!(world.lines(), ["new"]);
}

#[test]
fn files_are_read_one_after_the_other_and_packed_ones_unpacked() {
    use flate2::Compression;
    use flate2::write::GzEncoder;
    let by_path = Order { by_path: true, descending: true };
    let mut world = World::new("*.log*", |w| (w.to_the_end, w.exits, w.order) = (true, true, by_path));
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    let many = "y\n".repeat(READ_BYTES);
    gzip.write_all(many.as_bytes()).unwrap();
    fs::write(world.path("b.log.gz"), gzip.finish().unwrap()).unwrap();
    world.append("a.log", "x\n");
    world.append("c.log", &"z\n".repeat(READ_BYTES));
    let lines = world.lines();
    assert_eq!(lines.len(), 2 * READ_BYTES + 1);
    assert!(lines.is_sorted_by(|one, other| one >= other), "c, then b, then a");
    assert!(world.tail.is_done());
    world.restart();
    assert!(world.lines().is_empty(), "all of it was read before");
}

#[test]
fn a_packed_file_that_is_damaged_does_not_keep_others_waiting() {
    let mut world = World::new("*.log*", |w| (w.to_the_end, w.exits) = (true, true));
    world.append("a.log.gz", "this is not packed");
    world.append("b.log", "x\n");
    let mut round = Round::default();
    world.tail.look(world.now, 1, &mut round);
    world.tail.read(world.now, 1, &mut round);
    assert!(round.trouble.is_some_and(|trouble| trouble.contains("a.log.gz")));
    let whole: Vec<bool> = round.closed.iter().map(|ended| ended.whole).collect();
    assert_eq!(whole.iter().filter(|whole| **whole).count(), 1);
    assert!(world.tail.is_done());
}

#[test]
fn a_file_that_takes_the_inode_of_one_that_was_read_is_read_too() {
    let mut world = World::new("*.log", |w| w.to_the_end = true);
    world.append("a.log", "one\n");
    assert_eq!(world.lines(), ["one"]);
    assert!(world.lines().is_empty(), "it was read");
    // The same inode under another name and with other content, as after removing one and making another.
    fs::rename(world.path("a.log"), world.path("b.log")).unwrap();
    fs::write(world.path("b.log"), "two\n").unwrap();
    assert_eq!(world.lines(), ["two"]);
}

#[test]
fn a_file_that_is_like_one_that_was_removed_is_read_too() {
    let mut world = World::new("*.log", |w| w.to_the_end = true);
    world.append("a.log", "same\n");
    assert_eq!(world.lines(), ["same"]);
    let found = fs::metadata(world.path("a.log")).unwrap();
    let key = FileKey { input: world.tail.input.clone(), device: found.dev(), inode: found.ino() };
    world.tail.forget(&key);
    assert_eq!(world.lines(), ["same"]);
}

#[test]
fn a_file_that_was_empty_is_read_when_it_is_filled() {
    let mut world = World::new("*.log", |w| w.to_the_end = true);
    world.append("a.log", "");
    assert!(world.lines().is_empty());
    world.append("a.log", "one\n");
    assert_eq!(world.lines(), ["one"]);
}
