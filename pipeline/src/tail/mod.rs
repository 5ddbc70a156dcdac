//! Follows files: finds them, reads what is new in them, and notices when they are rotated, replaced or cut off.
//!
//! Invariants: a file is its device and inode, not its path; a file that was renamed is read to its end under its new
//! name; one whose first bytes have changed, or that became shorter than what was read of it, is read from its
//! beginning. Everything here is plain blocking code that takes `now`, so that tests can drive it.
use self::done::Done;
use self::packed::Packed;
use crate::own_output;
use crate::positions::{FileKey, Ledger, Position};
use crate::runtime::lines::{Cut, Lines};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io;
use std::ops::Bound;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

mod done;
pub(crate) mod glob;
mod packed;
pub(crate) mod wake;

/// How much is read of a file at once, and of all files in a round.
const READ_BYTES: usize = 128 << 10;
const ROUND_BYTES: usize = 1 << 20;
/// The most bytes of the beginning of a file by which it is known again.
const HEAD_BYTES: u64 = 256;
/// How long a file that has lost its name may grow no more before it is closed.
const CLOSE_AFTER: Duration = Duration::from_secs(30);

/// What to follow, and how.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) patterns: Vec<String>,
    /// Patterns of names of files that are left out.
    pub(crate) exclude: Vec<String>,
    /// Whether files that are there at first and are not known are read from their beginning.
    pub(crate) from_beginning: bool,
    /// Whether positions are remembered.
    pub(crate) remember: bool,
    pub(crate) delimiter: Vec<u8>,
    /// Whether each file is done when its end is reached; then files are read one after the other, and packed ones unpacked.
    pub(crate) to_the_end: bool,
    /// Whether that is the end of all when every file is done.
    pub(crate) exits: bool,
    /// Files that are not known and were not written to for so long are left alone until they are.
    pub(crate) ignore_older: Option<Duration>,
    /// Which file comes first, when they are read one after the other.
    pub(crate) order: Order,
}

/// Which file is read first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    /// By path, and not by the time of the last change.
    pub(crate) by_path: bool,
    pub(crate) descending: bool,
}

/// Lines of one file.
pub(crate) struct Read {
    pub(crate) key: FileKey,
    pub(crate) path: PathBuf,
    /// Grows when the file is begun anew; an acknowledgement counts for its own epoch only.
    pub(crate) epoch: u64,
    pub(crate) cuts: Vec<Cut>,
}

/// What a round brought.
#[derive(Default)]
pub(crate) struct Round {
    pub(crate) reads: Vec<Read>,
    /// There may be more at once.
    pub(crate) more: bool,
    /// Files that were closed: nothing more comes from them.
    pub(crate) closed: Vec<Ended>,
    /// What did not work, for people.
    pub(crate) trouble: Option<String>,
    /// How many files were looked at.
    pub(crate) looked_at: usize,
}

/// A file that was closed.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) key: FileKey,
    pub(crate) path: PathBuf,
    /// Up to where it was read.
    pub(crate) offset: u64,
    /// Whether that was all of it.
    pub(crate) whole: bool,
}

/// The reading of one round.
struct Reading {
    /// How many bytes may still be read.
    room: usize,
    now: Instant,
    now_s: u64,
    /// Files from which nothing more comes.
    over: Vec<FileKey>,
}

/// The files that are followed.
pub(crate) struct Tail {
    wanted: Wanted,
    ledger: Arc<Ledger>,
    input: String,
    files: BTreeMap<FileKey, Followed>,
    /// Files that were read to their end, in `to_the_end`.
    done: BTreeMap<FileKey, Done>,
    /// Files that are too old to be read, with the size that they had.
    ignored: BTreeMap<FileKey, u64>,
    looked_before: bool,
    /// Whose turn it is to be read first.
    turn: Option<FileKey>,
}

struct Followed {
    file: File,
    /// What is in it, if it is packed.
    packed: Option<Packed>,
    /// When it was written to last, when it was opened.
    modified: SystemTime,
    /// It cannot be read any further.
    broken: bool,
    path: PathBuf,
    /// Up to where it was read.
    offset: u64,
    head_len: u64,
    head_crc: u32,
    lines: Lines,
    epoch: u64,
    /// Whether everything there was has been read.
    at_end: bool,
    /// No pattern finds it any more.
    nameless: bool,
    grew_at: Instant,
}

impl Tail {
    /// Follows nothing yet.
    pub(crate) fn new(wanted: Wanted, ledger: Arc<Ledger>) -> Self {
        let input = wanted.patterns.join(",");
        let (files, done, ignored) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { wanted, ledger, input, files, done, ignored, looked_before: false, turn: None }
    }

    /// Whether files are read to their end only, and all of them were.
    pub(crate) fn is_done(&self) -> bool {
        self.wanted.exits && self.looked_before && self.files.is_empty()
    }

    /// Forgets a file that was removed: another one may get its inode.
    pub(crate) fn forget(&mut self, key: &FileKey) {
        self.done.remove(key);
        self.ledger.forget(key);
    }

    /// The directories in which something may change.
    pub(crate) fn directories(&self) -> std::collections::BTreeSet<PathBuf> {
        let fixed = self.wanted.patterns.iter().map(|p| glob::fixed_directory(p));
        let open = self.files.values().filter_map(|f| f.path.parent().map(Path::to_owned));
        fixed.chain(open).collect()
    }

    /// Looks which files there are; opens new ones.
    pub(crate) fn look(&mut self, now: Instant, now_s: u64, round: &mut Round) {
        let mut named = std::collections::BTreeSet::new();
        for pattern in self.wanted.patterns.clone() {
            let paths = glob::files(&pattern);
            if paths.len() > glob::FILES_MAX {
                round.trouble = Some(format!("`{pattern}` names more than {} files", glob::FILES_MAX));
            }
            for path in paths.into_iter().take(glob::FILES_MAX) {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                if self.wanted.exclude.iter().any(|pattern| glob::matches_name(pattern, &name)) {
                    continue;
                }
                match self.meet(&path, now, now_s) {
                    Ok(key) => named.extend(key),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => round.trouble = Some(format!("open `{}`: {error}", path.display())),
                }
            }
        }
        for (key, followed) in &mut self.files {
            followed.nameless = !named.contains(key);
        }
        self.done.retain(|key, _| named.contains(key));
        self.looked_before = true;
    }

    /// Opens the file at `path` unless it is open already. One that this process writes to is left alone.
    fn meet(&mut self, path: &Path, now: Instant, now_s: u64) -> io::Result<Option<FileKey>> {
        let found = fs::metadata(path)?;
        if own_output::is_own(&found) {
            return Ok(None);
        }
        let key = FileKey { input: self.input.clone(), device: found.dev(), inode: found.ino() };
        if let Some(followed) = self.files.get_mut(&key) {
            if followed.path != path {
                path.clone_into(&mut followed.path);
            }
            self.ledger.seen(&key, now_s);
            return Ok(Some(key));
        }
        if let Some(done) = self.done.get_mut(&key) {
            if done.is_still(&found, path)? {
                self.ledger.seen(&key, now_s);
                return Ok(Some(key));
            }
            self.done.remove(&key);
        }
        if self.is_too_old(&key, &found, now_s) {
            self.ignored.insert(key, found.len());
            return Ok(None);
        }
        let file = File::open(path)?;
        let opened = file.metadata()?;
        // Between the two looks another file may have taken the name.
        let key = FileKey { device: opened.dev(), inode: opened.ino(), ..key };
        let known = self.ledger.get(&key).filter(|_| self.wanted.remember);
        let packed = self.wanted.to_the_end && Packed::is_one(path);
        let ignored = self.ignored.remove(&key).filter(|_| !self.wanted.to_the_end);
        let offset = match &known {
            Some(position) if packed => resume(&file, u64::MAX, position)?,
            Some(position) => resume(&file, opened.len(), position)?,
            None if let Some(size) = ignored => size.min(opened.len()),
            None if self.looked_before || self.wanted.from_beginning || self.ledger.is_distrusted() => 0,
            None => opened.len(),
        };
        let (head_len, head_crc) = head(&file, opened.len().min(HEAD_BYTES))?;
        let epoch = self.enter(&key, position(path, offset, (head_len, head_crc), now_s));
        let lines = Lines::new(&self.wanted.delimiter, offset);
        let path = path.to_owned();
        let packed = if packed { Some(Packed::open(&file, offset)?) } else { None };
        let followed = Followed {
            file,
            packed,
            modified: opened.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            broken: false,
            path,
            offset,
            head_len,
            head_crc,
            lines,
            epoch,
            at_end: false,
            nameless: false,
            grew_at: now,
        };
        self.files.insert(key.clone(), followed);
        Ok(Some(key))
    }

    fn is_too_old(&self, key: &FileKey, found: &Metadata, now_s: u64) -> bool {
        let Some(limit) = self.wanted.ignore_older else { return false };
        let changed_s = u64::try_from(found.mtime()).unwrap_or(0);
        let known = self.wanted.remember && self.ledger.get(key).is_some();
        !known && now_s.saturating_sub(changed_s) > limit.as_secs()
    }

    /// Begins a new epoch of a file at this position.
    fn enter(&self, key: &FileKey, position: Position) -> u64 {
        if self.wanted.remember { self.ledger.set(key, position) } else { 0 }
    }

    /// Reads what is new, of each file some.
    pub(crate) fn read(&mut self, now: Instant, now_s: u64, round: &mut Round) {
        let mut files = std::mem::take(&mut self.files);
        // Where the round before ended, so that busy files do not keep others from their turn.
        let turn = self.turn.take();
        let (before, after) = match &turn {
            Some(turn) => (Some(..turn), (Bound::Included(turn), Bound::Unbounded)),
            None => (None, (Bound::Unbounded, Bound::Unbounded)),
        };
        let mut reading = Reading { room: ROUND_BYTES, now, now_s, over: Vec::new() };
        round.looked_at = files.len();
        if self.wanted.to_the_end {
            self.read_in_order(&mut files, &mut reading, round);
        } else {
            for (key, followed) in files.range_mut::<FileKey, _>(after) {
                self.take_turn(key, followed, &mut reading, round);
            }
            if let Some(before) = before {
                for (key, followed) in files.range_mut::<FileKey, _>(before) {
                    self.take_turn(key, followed, &mut reading, round);
                }
            }
        }
        for key in reading.over {
            if let Some(Followed { path, offset, broken, file, head_len, head_crc, .. }) = files.remove(&key)
            {
                if self.wanted.to_the_end {
                    let len = file.metadata().map_or(offset, |found| found.len());
                    self.done.insert(key.clone(), Done { len, modified: None, head: (head_len, head_crc) });
                }
                round.closed.push(Ended { key, path, offset, whole: !broken });
            }
        }
        self.files = files;
    }

    /// Reads one file after the other, each to its end.
    fn read_in_order(
        &mut self,
        files: &mut BTreeMap<FileKey, Followed>,
        reading: &mut Reading,
        round: &mut Round,
    ) {
        let mut ordered: Vec<(&FileKey, &mut Followed)> = files.iter_mut().collect();
        let Order { by_path, descending } = self.wanted.order;
        ordered.sort_by(|(_, one), (_, other)| {
            let by_time = if by_path { Ordering::Equal } else { one.modified.cmp(&other.modified) };
            let order = by_time.then_with(|| one.path.cmp(&other.path));
            if descending { order.reverse() } else { order }
        });
        for (key, followed) in ordered {
            let over = reading.over.len();
            while reading.over.len() == over {
                if reading.room < READ_BYTES {
                    round.more = true;
                    return;
                }
                self.take_turn(key, followed, reading, round);
            }
        }
    }

    /// Reads from one file, unless this round has read enough.
    fn take_turn(
        &mut self,
        key: &FileKey,
        followed: &mut Followed,
        reading: &mut Reading,
        round: &mut Round,
    ) {
        if reading.room < READ_BYTES {
            round.more = true;
            self.turn.get_or_insert_with(|| key.clone());
            return;
        }
        match self.read_one(key, followed, reading, round) {
            Ok(read) => reading.room -= read.min(reading.room),
            Err(error) => {
                round.trouble = Some(format!("read `{}`: {error}", followed.path.display()));
                if self.wanted.to_the_end {
                    // The others are not kept waiting by it.
                    (followed.broken, followed.at_end) = (true, true);
                }
            }
        }
        let old_and_still = followed.nameless && reading.now.duration_since(followed.grew_at) > CLOSE_AFTER;
        if followed.at_end && (self.wanted.to_the_end || old_and_still) {
            let cuts = followed.lines.finish();
            if !cuts.is_empty() {
                round.reads.push(followed.brought(key, cuts));
            }
            reading.over.push(key.clone());
        }
    }

    fn read_one(
        &self,
        key: &FileKey,
        followed: &mut Followed,
        reading: &Reading,
        round: &mut Round,
    ) -> io::Result<usize> {
        let (now, now_s) = (reading.now, reading.now_s);
        if followed.packed.is_some() {
            return unpacked(key, followed, round);
        }
        let size = followed.file.metadata()?.len();
        if followed.at_end && size == followed.offset {
            return Ok(0);
        }
        round.reads.extend(self.begin_anew(key, followed, size, now_s)?);
        let mut cuts = Vec::new();
        let read = advance(followed, size, now, &mut cuts)?;
        round.more |= !followed.at_end;
        if !cuts.is_empty() {
            round.reads.push(followed.brought(key, cuts));
        }
        Ok(read)
    }

    /// Goes back to the beginning of a file that became shorter or whose first bytes have changed. What was left of
    /// a line belongs to the epoch before, as does every acknowledgement still to come.
    fn begin_anew(
        &self,
        key: &FileKey,
        followed: &mut Followed,
        size: u64,
        now_s: u64,
    ) -> io::Result<Option<Read>> {
        let grew = followed.at_end && size > followed.offset;
        if size >= followed.offset && (!grew || same_head(followed)?) {
            if grew && followed.head_len < HEAD_BYTES {
                (followed.head_len, followed.head_crc) = head(&followed.file, size.min(HEAD_BYTES))?;
                if self.wanted.remember {
                    self.ledger.set_head(key, followed.head_len, followed.head_crc);
                }
            }
            return Ok(None);
        }
        let cuts = followed.lines.finish();
        let cut_off = followed.brought(key, cuts);
        followed.offset = 0;
        followed.at_end = false;
        followed.lines = Lines::new(&self.wanted.delimiter, 0);
        (followed.head_len, followed.head_crc) = head(&followed.file, size.min(HEAD_BYTES))?;
        let head = (followed.head_len, followed.head_crc);
        followed.epoch = self.enter(key, position(&followed.path, 0, head, now_s));
        Ok(Some(cut_off).filter(|read| !read.cuts.is_empty()))
    }
}

impl Followed {
    fn brought(&self, key: &FileKey, cuts: Vec<Cut>) -> Read {
        Read { key: key.clone(), path: self.path.clone(), epoch: self.epoch, cuts }
    }
}

/// Reads the next bytes of what is inside of a packed file; returns how many.
fn unpacked(key: &FileKey, followed: &mut Followed, round: &mut Round) -> io::Result<usize> {
    let Some(packed) = &mut followed.packed else { return Ok(0) };
    let mut cuts = Vec::new();
    let filled =
        followed.lines.fill(followed.offset, READ_BYTES, &mut cuts, |buffer| packed.read(READ_BYTES, buffer));
    if !cuts.is_empty() {
        round.reads.push(followed.brought(key, cuts));
    }
    let read = filled?;
    followed.offset += read as u64;
    followed.at_end = read < READ_BYTES;
    round.more |= !followed.at_end;
    Ok(read)
}

fn position(path: &Path, offset: u64, (head_len, head_crc): (u64, u32), seen_s: u64) -> Position {
    let head_len = u32::try_from(head_len).unwrap_or(0);
    Position { offset, head_len, head_crc, path: path.to_string_lossy().into_owned(), seen_s, epoch: 0 }
}

/// Reads the next bytes of a file of this size; returns how many.
fn advance(followed: &mut Followed, size: u64, now: Instant, cuts: &mut Vec<Cut>) -> io::Result<usize> {
    let left = usize::try_from(size.saturating_sub(followed.offset)).unwrap_or(READ_BYTES);
    let room = READ_BYTES.min(left);
    let (file, offset) = (&followed.file, followed.offset);
    let read = match room {
        0 => 0,
        _ => followed.lines.fill(offset, room, cuts, |buffer| {
            rustix::io::pread(file, rustix::buffer::spare_capacity(buffer), offset)?;
            Ok(())
        })?,
    };
    followed.offset += read as u64;
    // Nothing where there should be something: it was cut off just now, which the next look sees.
    followed.at_end = followed.offset >= size || read == 0;
    if read > 0 {
        followed.grew_at = now;
    }
    Ok(read)
}

fn same_head(followed: &Followed) -> io::Result<bool> {
    Ok(head(&followed.file, followed.head_len)? == (followed.head_len, followed.head_crc))
}

/// Where to go on in a file that was read before: at the position, if it is the same file and has not been cut off.
fn resume(file: &File, size: u64, position: &Position) -> io::Result<u64> {
    let same = head(file, u64::from(position.head_len))? == (u64::from(position.head_len), position.head_crc);
    Ok(if same && position.offset <= size { position.offset } else { 0 })
}

/// The length and checksum of the first `len` bytes of a file, or of as many as there are.
fn head(file: &File, len: u64) -> io::Result<(u64, u32)> {
    let mut bytes = vec![0; usize::try_from(len.min(HEAD_BYTES)).unwrap_or(0)];
    let mut read = 0;
    while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, read as u64)? {
            0 => break,
            n => read += n,
        }
    }
    let bytes = bytes.get(..read).unwrap_or_default();
    Ok((read as u64, crc32fast::hash(bytes)))
}

#[cfg(test)]
mod tests;
