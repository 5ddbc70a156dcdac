//! Reads the records of a journal in order, while it is written or after it was torn.
use super::record::{Found, is_followed, look};
use super::{segment_path, segments};
use bytes::Bytes;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// How much is read at once.
const CHUNK: usize = 256 << 10;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Greater than that of the record before it.
    pub(crate) number: u64,
    pub(crate) payload: Bytes,
}

/// The reading end; any number of them may read what one [`Journal`](super::Journal) writes.
#[derive(Debug)]
pub(crate) struct Reader {
    dir: PathBuf,
    /// The number of the record that was read last, or is not wanted.
    after: u64,
    open: Option<Open>,
    /// Bytes that belong to no record.
    damaged: u64,
}

#[derive(Debug)]
struct Open {
    first: u64,
    file: File,
    /// What was read of the file and not yet given out, from `at` on.
    buffer: Vec<u8>,
    at: usize,
    /// The length of the buffer at which it was found incomplete; more has to come first.
    incomplete: usize,
}

impl Reader {
    /// Reads the records with numbers greater than `after`.
    pub(crate) fn new(dir: &Path, after: u64) -> Self {
        Self { dir: dir.to_owned(), after, open: None, damaged: 0 }
    }

    /// How many bytes were no records so far.
    pub(crate) fn damaged(&self) -> u64 {
        self.damaged
    }

    /// The next record; `None` when there is none yet.
    pub(crate) fn next(&mut self) -> io::Result<Option<Record>> {
        loop {
            if self.open.is_none() && !self.open_segment()? {
                return Ok(None);
            }
            if let Some(record) = self.next_of_segment()? {
                return Ok(Some(record));
            }
            // A segment with a follower gets no more bytes. The follower is looked for first and the rest read after it.
            if !self.has_follower()? {
                return Ok(None);
            }
            if let Some(record) = self.next_of_segment()? {
                return Ok(Some(record));
            }
            self.leave_segment();
        }
    }

    /// Opens the segment that has the next record.
    fn open_segment(&mut self) -> io::Result<bool> {
        let all = segments(&self.dir)?;
        let wanted = self.after.saturating_add(1);
        let holding = all.iter().rev().find(|segment| segment.first <= wanted).or(all.first());
        let Some(segment) = holding else { return Ok(false) };
        self.open_file(segment.first)
    }

    fn open_file(&mut self, first: u64) -> io::Result<bool> {
        let file = match File::open(segment_path(&self.dir, first)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        self.open = Some(Open { first, file, buffer: Vec::new(), at: 0, incomplete: 0 });
        Ok(true)
    }

    fn follower(&self) -> io::Result<Option<u64>> {
        let Some(open) = &self.open else { return Ok(None) };
        Ok(segments(&self.dir)?.iter().map(|segment| segment.first).find(|first| *first > open.first))
    }

    fn has_follower(&self) -> io::Result<bool> {
        Ok(self.follower()?.is_some())
    }

    fn leave_segment(&mut self) {
        if let Some(open) = self.open.take() {
            self.damaged += open.buffer.len().saturating_sub(open.at) as u64;
            // What has not been read of it cannot be read: go on after it.
            if let Ok(all) = segments(&self.dir)
                && let Some(next) = all.iter().map(|segment| segment.first).find(|first| *first > open.first)
            {
                self.after = self.after.max(next.saturating_sub(1));
            }
        }
    }

    fn next_of_segment(&mut self) -> io::Result<Option<Record>> {
        let Some(open) = &mut self.open else { return Ok(None) };
        loop {
            if open.buffer.len() > open.at && open.buffer.len() > open.incomplete {
                match look(&open.buffer, open.at) {
                    Found::Record { number, payload } => {
                        let bytes = open.buffer.get(payload.clone()).unwrap_or_default();
                        let record = (number > self.after)
                            .then(|| Record { number, payload: Bytes::copy_from_slice(bytes) });
                        open.at = payload.end;
                        if let Some(record) = record {
                            self.after = number;
                            return Ok(Some(record));
                        }
                        continue;
                    }
                    Found::Damage { next } => {
                        self.damaged += (next - open.at) as u64;
                        open.at = next;
                        continue;
                    }
                    Found::Incomplete => open.incomplete = open.buffer.len(),
                }
            }
            if open.fill()? {
                continue;
            }
            // At its end: what is incomplete will never be whole when whole ones come after it.
            if open.at < open.buffer.len() && is_followed(&open.buffer, open.at) {
                self.damaged += 1;
                open.at += 1;
                open.incomplete = 0;
                continue;
            }
            return Ok(None);
        }
    }
}

impl Open {
    /// Reads more of the file; returns whether there was more.
    fn fill(&mut self) -> io::Result<bool> {
        if self.at > CHUNK.max(self.buffer.len() / 2) || self.at == self.buffer.len() {
            self.buffer.drain(..self.at);
            self.incomplete = self.incomplete.saturating_sub(self.at);
            self.at = 0;
        }
        // Read from the current place of the file, no more than a chunk.
        let before = self.buffer.len();
        (&mut self.file).take(CHUNK as u64).read_to_end(&mut self.buffer)?;
        Ok(self.buffer.len() > before)
    }
}
