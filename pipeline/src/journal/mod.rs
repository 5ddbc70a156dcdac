//! Keeps numbered records on disk in segments that survive a crash at any time; dead letters and disk queues are made of it.
//!
//! Invariants: a record that [`Journal::sync`] has returned for is found again, unless its own bytes are changed on
//! disk; bytes that are torn or changed cost the records that they belong to and no others, and never stop the reading.
//! Numbers only grow. Nothing is ever appended to a segment of an earlier process, so that what is torn at its end
//! stays there and harms nobody.
//!
//! Format: a directory with segments named by the number of their first record (`00000000000000000042.seg`). A record is a
//! marker of 4 bytes, the length of its payload (u32), its number (u64), the CRC-32 of these two and the payload
//! (u32), and the payload; numbers are little-endian. After bytes that are no record the next one is found by its marker
//! and its checksum.
mod reader;
mod record;

pub(crate) use reader::{Reader, Record};
pub(crate) use record::PAYLOAD_MAX;

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The ending of the names of segments.
const ENDING: &str = "seg";

/// A file with records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// The number of its first record.
    pub(crate) first: u64,
    /// How many bytes it has.
    pub(crate) bytes: u64,
}

/// Records that are to be written together.
#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    /// The number of the first one.
    first: Option<u64>,
}

/// The writing end.
#[derive(Debug)]
pub(crate) struct Journal {
    dir: PathBuf,
    segment_bytes: u64,
    /// All that are there, by number; the last one is written when `file` is there.
    segments: VecDeque<Segment>,
    file: Option<File>,
    /// The number of the next record.
    next: u64,
    unsynced: bool,
}

fn segment_path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.{ENDING}"))
}

/// The segments in a directory, by number; none when there is no such directory.
pub(crate) fn segments(dir: &Path) -> io::Result<Vec<Segment>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        let (Some(first), Some(ENDING)) = (number, path.extension().and_then(|e| e.to_str())) else {
            continue;
        };
        match fs::metadata(&path) {
            Ok(metadata) => found.push(Segment { first, bytes: metadata.len() }),
            // Whoever reads beside the writer may see it go.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    found.sort_by_key(|segment| segment.first);
    Ok(found)
}

impl Journal {
    /// Opens a journal; it is made with the first record. `after` is a number that all new ones are greater than.
    pub(crate) fn open(dir: &Path, segment_bytes: u64, after: u64) -> io::Result<Self> {
        let segments = VecDeque::from(segments(dir)?);
        let mut last = after;
        if let Some(segment) = segments.back() {
            let bytes = fs::read(segment_path(dir, segment.first))?;
            // An empty one keeps its number for the record that it was made for.
            let used = if bytes.is_empty() { segment.first.saturating_sub(1) } else { segment.first };
            last = last.max(used).max(record::last_number(&bytes).unwrap_or(0));
        }
        Ok(Self {
            dir: dir.to_owned(),
            segment_bytes,
            segments,
            file: None,
            next: last.saturating_add(1),
            unsynced: false,
        })
    }

    /// Appends records; returns the number of the last one. They are safe after the next [`sync`](Self::sync). After an
    /// error none of them counts, though some may be found again. Where nothing could be written, as on a full disk, nothing is
    /// used up either: neither numbers nor segments, however often it is tried.
    pub(crate) fn append<P: AsRef<[u8]>>(&mut self, payloads: &[P]) -> io::Result<u64> {
        let mut buffer = Buffer::default();
        for payload in payloads {
            let payload = payload.as_ref();
            if payload.len() > PAYLOAD_MAX {
                let what = format!("a record of {} bytes is longer than {PAYLOAD_MAX}", payload.len());
                return Err(io::Error::new(ErrorKind::InvalidInput, what));
            }
            let full = self.current_bytes() + buffer.bytes.len() as u64 >= self.segment_bytes;
            if full {
                self.write(&mut buffer)?;
                self.seal()?;
            }
            if self.file.is_none() {
                self.begin()?;
            }
            buffer.first.get_or_insert(self.next);
            record::encode(self.next, payload, &mut buffer.bytes);
            self.next += 1;
        }
        self.write(&mut buffer)?;
        Ok(self.next - 1)
    }

    fn current_bytes(&self) -> u64 {
        match (&self.file, self.segments.back()) {
            (Some(_), Some(segment)) => segment.bytes,
            _ => 0,
        }
    }

    fn begin(&mut self) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        let path = segment_path(&self.dir, self.next);
        if fs::metadata(&path).is_ok_and(|there| there.len() > 0) {
            // One that was begun and torn: nothing is put after what is in it.
            self.next += 1;
            return self.begin();
        }
        let file = File::options().append(true).create(true).open(path)?;
        if self.segments.back().is_none_or(|last| last.first != self.next) {
            self.segments.push_back(Segment { first: self.next, bytes: 0 });
        }
        self.file = Some(file);
        File::open(&self.dir)?.sync_all()
    }

    fn write(&mut self, buffer: &mut Buffer) -> io::Result<()> {
        let Buffer { bytes, first } = std::mem::take(buffer);
        let (Some(first), Some(file)) = (first, &mut self.file) else { return Ok(()) };
        let before = self.segments.back().map(|segment| segment.bytes);
        let written = file.write_all(&bytes);
        let length = file.metadata().map(|metadata| metadata.len()).ok();
        if let (Some(segment), Some(length)) = (self.segments.back_mut(), length) {
            segment.bytes = length;
        }
        match written {
            Ok(()) => self.unsynced = true,
            Err(_) if length.is_some() && length == before => self.next = first,
            // What was written of it may be torn: nothing is put after it.
            Err(_) => self.file = None,
        }
        written
    }

    /// Makes everything appended safe against a crash of the machine.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        if let (true, Some(file)) = (self.unsynced, &self.file) {
            let synced = file.sync_data();
            if synced.is_err() {
                // The system may have forgotten these bytes: they are appended again elsewhere.
                self.file = None;
            }
            synced?;
        }
        self.unsynced = false;
        Ok(())
    }

    /// Ends the current segment; the next record begins another.
    pub(crate) fn seal(&mut self) -> io::Result<()> {
        self.sync()?;
        self.file = None;
        Ok(())
    }

    /// Whether somebody else has begun a segment behind those that are known here, or removed the one that is written.
    pub(crate) fn is_overtaken(&self) -> io::Result<bool> {
        if let Some(file) = &self.file
            && file.metadata()?.nlink() == 0
        {
            return Ok(true);
        }
        let known = self.segments.back().map_or(0, |last| last.first);
        Ok(segments(&self.dir)?.last().is_some_and(|last| last.first > known))
    }

    /// Notices segments that somebody else has removed.
    pub(crate) fn refresh(&mut self) -> io::Result<()> {
        let there = segments(&self.dir)?;
        let written = self.file.as_ref().and(self.segments.back()).map(|segment| segment.first);
        self.segments.retain(|known| {
            Some(known.first) == written || there.iter().any(|segment| segment.first == known.first)
        });
        Ok(())
    }

    /// How many bytes all segments have.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// The number of the last record.
    pub(crate) fn last(&self) -> u64 {
        self.next - 1
    }

    /// When the oldest segment was written last; `None` when there is none with records.
    pub(crate) fn oldest_written(&self) -> Option<SystemTime> {
        let oldest = self.segments.front().filter(|segment| segment.bytes > 0)?;
        fs::metadata(segment_path(&self.dir, oldest.first)).and_then(|metadata| metadata.modified()).ok()
    }

    /// Removes the segments that have no record after `number`.
    pub(crate) fn trim(&mut self, number: u64) -> io::Result<()> {
        if number >= self.last() && self.segments.len() == 1 && self.bytes() >= self.segment_bytes {
            self.seal()?;
        }
        while let Some(segment) = self.segments.front() {
            let after = self.segments.get(1).map_or(self.next, |next| next.first);
            let is_written = self.segments.len() == 1 && self.file.is_some();
            if after > number.saturating_add(1) || is_written {
                break;
            }
            remove(&self.dir, segment.first)?;
            self.segments.pop_front();
        }
        Ok(())
    }

    /// Removes the oldest segment, and tells how many records that could be read were in it. The last one leaves an
    /// empty one behind, so that numbers never begin anew.
    pub(crate) fn drop_oldest(&mut self) -> io::Result<usize> {
        if self.segments.len() == 1 {
            self.seal()?;
            self.begin()?;
        }
        let Some(segment) = self.segments.front() else { return Ok(0) };
        let held =
            fs::read(segment_path(&self.dir, segment.first)).map_or(0, |bytes| record::how_many(&bytes));
        remove(&self.dir, segment.first)?;
        self.segments.pop_front();
        Ok(held)
    }
}

/// Removes the segments that have no record after `number`, for whoever reads beside the writer. The last one stays: the writer
/// may append to it.
pub(crate) fn remove_through(dir: &Path, number: u64) -> io::Result<()> {
    let all = segments(dir)?;
    for pair in all.windows(2) {
        if let [segment, next] = pair
            && next.first <= number.saturating_add(1)
        {
            remove(dir, segment.first)?;
        }
    }
    Ok(())
}

/// Begins a segment, so that all records that there are can be removed; returns the number of the last one, 0 for none. A
/// writer has to look whether it [was overtaken](Journal::is_overtaken), and may not write meanwhile.
pub(crate) fn begin_segment(dir: &Path) -> io::Result<u64> {
    let last = Journal::open(dir, u64::MAX, 0)?.last();
    if last > 0 {
        // Empty, for the number.
        File::options().append(true).create(true).open(segment_path(dir, last.saturating_add(1)))?;
        File::open(dir)?.sync_all()?;
    }
    Ok(last)
}

/// Removes everything through `number`. A segment that has later records, too, stays as a whole. As with [`begin_segment`],
/// nobody may write meanwhile.
pub(crate) fn remove_all_through(dir: &Path, number: u64) -> io::Result<()> {
    if Journal::open(dir, u64::MAX, 0)?.last() <= number {
        begin_segment(dir)?;
    }
    remove_through(dir, number)
}

/// Removes a segment that is not needed any more, if it is there.
fn remove(dir: &Path, first: u64) -> io::Result<()> {
    match fs::remove_file(segment_path(dir, first)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
