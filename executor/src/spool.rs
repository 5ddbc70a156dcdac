//! Keeps what was read from a source and is not yet acknowledged, in one file with a cap.
//!
//! # Invariants
//!
//! 1. A byte that was pushed stays until it is acknowledged, or dropped by policy and counted: never silently less.
//! 2. Positions only grow. Position `p` is byte `p - origin` of the source; `origin` moves when the source starts anew.
//! 3. `acked <= cursor <= end`: acknowledged, handed out, pushed. `cursor` is not stored: after a reopen it is `acked`.
//! 4. The file never holds more than the cap of records (plus 12 KiB), unless it held more when the cap was lowered.
//! 5. After a crash at any point the spool opens with some earlier `end` and some earlier `acked`, and the bytes between
//!    them are right: the source is read again from that `end`. Bytes may come twice, none is missing.
//!
//! # Format (version 1)
//!
//! | offset | what |
//! |---|---|
//! | 0 | identity: `logherd-spool 1 CRC32`, a line of JSON ([`Identity`]), newlines up to 8192 |
//! | 8192 | slot A: positions, place of the first record, newest source bytes, CRC32; 512 bytes |
//! | 8704 | slot B, the same: they are written in turn, the valid one with the higher sequence counts |
//! | 12288 | the ring of records |
//!
//! A record is `length u32, crc u32, after u64, position u64, payload`, little endian. `after` is the end of the record
//! before it, so records chain; a record of an earlier lap cannot, its `after` is too small. Where fewer than 25 bytes
//! are left before the ring's end, the next record is at its start.
//!
//! # Operation
//!
//! Pushing writes a record; acknowledging writes a slot, then frees records. Opening reads the slots and follows the chain
//! until a record does not fit. Dropping, and changing the cap, write a new file beside the old one and rename it.
mod dropping;
mod format;
#[cfg(test)]
mod tests;

pub(crate) use format::Identity;

use bytes::Bytes;
use dropping::Piece;
use format::{IDENTITY, RECENT, RECORD, RING, RecordHead, SLOT, Slot};
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The smallest cap; a smaller one is raised to this.
pub(crate) const CAP_MIN: u64 = 4096;
const PAYLOAD_MAX: u64 = 1 << 20;

/// What a spool cannot do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpoolError {
    /// The file system refused.
    #[error("{operation} spool `{}`", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The spool file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is there, but is not a spool, or both slots are damaged, or it belongs to another source.
    #[error("spool `{}` is damaged: {reason}", path.display())]
    Damaged {
        /// The spool file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The names are too long to be written into the file.
    #[error("the path of a source is too long for a spool: {0} bytes")]
    TooLong(usize),
}

/// A stretch of source bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// The bytes.
    pub(crate) bytes: Bytes,
    /// The position just after them.
    pub(crate) end: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    after: u64,
    position: u64,
    length: u64,
    /// Where its head is, counted from the start of the ring.
    offset: u64,
    /// What it occupies of the ring: head, payload, and what was skipped before it at the ring's end.
    size: u64,
}

impl Entry {
    fn end(&self) -> u64 {
        self.position + self.length
    }
}

/// One open spool. See the head of this file.
#[derive(Debug)]
pub(crate) struct Spool {
    file: File,
    path: PathBuf,
    identity: Identity,
    slot: Slot,
    entries: VecDeque<Entry>,
    used: u64,
    head: u64,
    end: u64,
    cursor: u64,
    recent: Vec<u8>,
}

impl Spool {
    /// Opens the spool at `path`, or makes a new one whose first byte is `start` of the source.
    pub(crate) fn open(path: &Path, identity: &Identity, cap: u64, start: u64) -> Result<Self, SpoolError> {
        let ring = cap.max(CAP_MIN);
        if !path.exists() {
            let slot = Slot { ring, acked: start, first_after: start, recent_end: start, ..Slot::default() };
            return create(path, identity, slot, &[]);
        }
        let mut spool = Self::recover(path)?;
        if (&spool.identity.container, &spool.identity.path) != (&identity.container, &identity.path) {
            return Err(SpoolError::Damaged {
                path: path.to_owned(),
                reason: "it belongs to another source",
            });
        }
        if spool.slot.ring != ring || spool.identity != *identity {
            spool.identity = identity.clone();
            let pieces = spool.pieces(spool.slot.acked)?;
            let needed: u64 = pieces.iter().map(|p| p.payload.len() as u64 + RECORD).sum();
            let end = spool.end;
            spool.rewrite(ring.max(needed), &pieces)?;
            spool.end = end;
            spool.save()?;
        }
        Ok(spool)
    }

    /// Opens an existing spool as it is.
    pub(crate) fn recover(path: &Path) -> Result<Self, SpoolError> {
        let io = |operation| move |source| SpoolError::Io { operation, path: path.to_owned(), source };
        let damaged = |reason| SpoolError::Damaged { path: path.to_owned(), reason };
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(io("open"))?;
        let mut block = vec![0; IDENTITY + 2 * SLOT];
        file.read_exact_at(&mut block, 0).map_err(|_| damaged("it is too short"))?;
        let (identity, slots) = block.split_at_checked(IDENTITY).ok_or(damaged("it is too short"))?;
        let identity = Identity::decode(identity).ok_or(damaged("its identity cannot be read"))?;
        let slot = slots
            .chunks(SLOT)
            .filter_map(Slot::decode)
            .max_by_key(|s| s.sequence)
            .ok_or(damaged("neither of its header slots is valid"))?;
        let mut spool = Self {
            file,
            path: path.to_owned(),
            identity,
            entries: VecDeque::new(),
            used: 0,
            head: slot.first_offset,
            end: slot.first_after.max(slot.acked),
            cursor: slot.acked,
            recent: slot.recent.clone(),
            slot,
        };
        spool.follow_the_chain().map_err(io("read"))?;
        Ok(spool)
    }

    /// What the spool at `path` belongs to; `None` when that cannot be read.
    pub(crate) fn identity_of(path: &Path) -> Option<Identity> {
        let mut block = vec![0; IDENTITY];
        File::open(path).ok()?.read_exact_at(&mut block, 0).ok()?;
        Identity::decode(&block)
    }

    fn follow_the_chain(&mut self) -> io::Result<()> {
        let mut expected = self.slot.first_after;
        let mut fresh = (self.slot.recent_end, self.slot.recent.clone());
        while let Some((offset, room)) = self.place(1) {
            let mut head = [0; RECORD as usize];
            if self.file.read_exact_at(&mut head, RING + offset).is_err() {
                break;
            }
            let Some(head) = RecordHead::decode(&head) else { break };
            let length = u64::from(head.length);
            if length == 0 || length > room || head.after != expected || head.position < head.after {
                break;
            }
            let mut payload = vec![0; head.length as usize];
            if self.file.read_exact_at(&mut payload, RING + offset + RECORD).is_err() || !head.fits(&payload)
            {
                break;
            }
            self.append_entry(head.after, head.position, length, offset);
            expected = self.end;
            if self.end > fresh.0 {
                let new = (self.end - fresh.0).min(length) as usize;
                let new = payload.get(payload.len() - new..).unwrap_or_default();
                if head.position > fresh.0 {
                    fresh.1.clear();
                }
                remember(&mut fresh.1, new);
                fresh.0 = self.end;
            }
        }
        // What the slot remembers may be newer than what survived: then it says nothing about the bytes before `end`.
        self.recent = if fresh.0 == self.end { fresh.1 } else { Vec::new() };
        Ok(())
    }

    /// Where the next record of at least `least` payload bytes goes, and how many payload bytes fit there.
    fn place(&self, least: u64) -> Option<(u64, u64)> {
        let to_end = self.slot.ring.saturating_sub(self.head);
        let (offset, skipped) = if to_end < RECORD + 1 { (0, to_end) } else { (self.head, 0) };
        let free = self.slot.ring.checked_sub(self.used + skipped)?;
        let room = free.min(self.slot.ring - offset).checked_sub(RECORD)?;
        (room >= least).then_some((offset, room))
    }

    /// What the next record must come after: less than `end` when the newest lines were dropped.
    fn chain_end(&self) -> u64 {
        self.entries.back().map_or(self.slot.first_after, Entry::end)
    }

    fn append_entry(&mut self, after: u64, position: u64, length: u64, offset: u64) {
        let skipped = if offset == self.head { 0 } else { self.slot.ring - self.head };
        let size = skipped + RECORD + length;
        self.entries.push_back(Entry { after, position, length, offset, size });
        self.used += size;
        self.head = offset + RECORD + length;
        self.end = position + length;
    }

    /// The position just after the last byte pushed.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Everything before this position is acknowledged.
    pub(crate) fn acked(&self) -> u64 {
        self.slot.acked
    }

    /// The position of byte 0 of the source as it is now.
    pub(crate) fn origin(&self) -> u64 {
        self.slot.origin
    }

    /// The number of bytes that are not acknowledged.
    pub(crate) fn held(&self) -> u64 {
        self.entries.iter().map(|e| e.end() - e.position.max(self.slot.acked).min(e.end())).sum()
    }

    /// How many lines were dropped by policy, ever.
    pub(crate) fn dropped_lines(&self) -> u64 {
        self.slot.dropped_lines
    }

    /// What it belongs to.
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The newest source bytes, just before [`Spool::end`]; none right after the source started anew.
    pub(crate) fn recent(&self) -> &[u8] {
        let of_this_source = (self.end - self.slot.origin.min(self.end)).min(RECENT as u64) as usize;
        self.recent.get(self.recent.len() - of_this_source.min(self.recent.len())..).unwrap_or_default()
    }

    /// Takes as many of `bytes` as there is room for, and says how many; 0: full.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<usize, SpoolError> {
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..).filter(|r| !r.is_empty()) {
            let Some((offset, room)) = self.place(1) else { break };
            let length = (rest.len() as u64).min(room).min(PAYLOAD_MAX) as usize;
            let payload = rest.get(..length).unwrap_or_default();
            let (after, position) = (self.chain_end(), self.end);
            let mut record = Vec::with_capacity(RECORD as usize + length);
            record.extend_from_slice(&RecordHead::of(after, position, payload).encode());
            record.extend_from_slice(payload);
            self.file.write_all_at(&record, RING + offset).map_err(|e| self.io("write", e))?;
            self.append_entry(after, position, length as u64, offset);
            remember(&mut self.recent, payload);
            taken += length;
        }
        Ok(taken)
    }

    /// Hands out the next stretch of at most `max` bytes; `None` when everything was handed out.
    pub(crate) fn take(&mut self, max: usize) -> Result<Option<Stretch>, SpoolError> {
        let index = self.entries.partition_point(|e| e.end() <= self.cursor);
        let Some(entry) = self.entries.get(index).copied() else {
            self.cursor = self.end;
            return Ok(None);
        };
        let stretch = self.read(entry, self.cursor.max(entry.position), max)?;
        self.cursor = stretch.end;
        Ok(Some(stretch))
    }

    /// Whether everything was handed out.
    fn is_drained(&self) -> bool {
        self.cursor >= self.end
    }

    /// Starts handing out again after what is acknowledged.
    pub(crate) fn rewind(&mut self) {
        self.cursor = self.slot.acked;
    }

    fn read(&self, entry: Entry, from: u64, max: usize) -> Result<Stretch, SpoolError> {
        let skipped = from - entry.position;
        let length = (entry.length - skipped).min(max as u64);
        let mut bytes = vec![0; length as usize];
        self.file
            .read_exact_at(&mut bytes, RING + entry.offset + RECORD + skipped)
            .map_err(|e| self.io("read", e))?;
        Ok(Stretch { bytes: bytes.into(), end: from + length })
    }

    /// Notes that every byte before `position` is acknowledged, and frees their room. Going back is ignored.
    pub(crate) fn ack(&mut self, position: u64) -> Result<(), SpoolError> {
        let position = position.min(self.end);
        if position <= self.slot.acked {
            return Ok(());
        }
        self.slot.acked = position;
        self.cursor = self.cursor.max(position);
        while let Some(first) = self.entries.front().filter(|e| e.end() <= position) {
            self.used -= first.size;
            self.entries.pop_front();
        }
        match self.entries.front_mut() {
            Some(first) => {
                // What was skipped before it is free now.
                self.used -= first.size - (RECORD + first.length);
                first.size = RECORD + first.length;
            }
            None => (self.used, self.head) = (0, 0),
        }
        self.save()
    }

    /// Notes that the source starts anew: the next byte pushed is its byte 0.
    pub(crate) fn source_starts_anew(&mut self) -> Result<(), SpoolError> {
        self.slot.origin = self.end;
        self.recent.clear();
        self.save()
    }

    fn save(&mut self) -> Result<(), SpoolError> {
        self.slot.sequence += 1;
        (self.slot.first_offset, self.slot.first_after) =
            self.entries.front().map_or((self.head, self.end), |e| (e.offset, e.after));
        self.slot.recent_end = self.end;
        self.slot.recent.clone_from(&self.recent);
        let place = IDENTITY + SLOT * (self.slot.sequence % 2) as usize;
        self.file.write_all_at(&self.slot.encode(), place as u64).map_err(|e| self.io("write", e))
    }

    fn pieces(&self, from: u64) -> Result<Vec<Piece>, SpoolError> {
        let mut pieces = Vec::new();
        for entry in self.entries.iter().filter(|e| e.end() > from) {
            let stretch = self.read(*entry, entry.position.max(from), usize::MAX)?;
            pieces.push(Piece { position: stretch.end - stretch.bytes.len() as u64, payload: stretch.bytes });
        }
        Ok(pieces)
    }

    fn rewrite(&mut self, ring: u64, pieces: &[Piece]) -> Result<(), SpoolError> {
        let slot = Slot {
            ring,
            first_offset: 0,
            first_after: self.slot.acked,
            recent_end: self.end,
            recent: self.recent.clone(),
            ..self.slot.clone()
        };
        let cursor = self.cursor;
        *self = create(&self.path, &self.identity, slot, pieces)?;
        self.cursor = cursor;
        Ok(())
    }

    fn io(&self, operation: &'static str, source: io::Error) -> SpoolError {
        SpoolError::Io { operation, path: self.path.clone(), source }
    }
}

/// Writes a whole spool file beside `path` and renames it there.
fn create(path: &Path, identity: &Identity, slot: Slot, pieces: &[Piece]) -> Result<Spool, SpoolError> {
    let io = |operation| move |source| SpoolError::Io { operation, path: path.to_owned(), source };
    let block = identity.encode().ok_or(SpoolError::TooLong(identity.path.len()))?;
    let new = path.with_extension("new");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)
        .map_err(io("create"))?;
    file.write_all_at(&block, 0).map_err(io("write"))?;
    let mut spool = Spool {
        file,
        path: path.to_owned(),
        identity: identity.clone(),
        entries: VecDeque::new(),
        used: 0,
        head: 0,
        end: slot.first_after,
        cursor: slot.acked,
        recent: slot.recent.clone(),
        slot,
    };
    for piece in pieces {
        let (offset, _) = spool
            .place(piece.payload.len() as u64)
            .ok_or(SpoolError::Damaged { path: path.to_owned(), reason: "its records do not fit" })?;
        let head = RecordHead::of(spool.end, piece.position, &piece.payload);
        spool.file.write_all_at(&head.encode(), RING + offset).map_err(io("write"))?;
        spool.file.write_all_at(&piece.payload, RING + offset + RECORD).map_err(io("write"))?;
        spool.append_entry(head.after, head.position, piece.payload.len() as u64, offset);
    }
    spool.save()?;
    spool.file.sync_data().map_err(io("write"))?;
    std::fs::rename(&new, path).map_err(io("rename"))?;
    Ok(spool)
}

fn remember(recent: &mut Vec<u8>, new: &[u8]) {
    recent.extend_from_slice(new.get(new.len().saturating_sub(RECENT)..).unwrap_or_default());
    let surplus = recent.len().saturating_sub(RECENT);
    recent.drain(..surplus);
}
