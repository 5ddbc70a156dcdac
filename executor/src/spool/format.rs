//! Encodes and decodes what a spool file is made of: identity block, header slots, record headers.
use serde::{Deserialize, Serialize};

/// Bytes of the identity block.
pub(super) const IDENTITY: usize = 8192;
/// Bytes of one header slot; there are two.
pub(super) const SLOT: usize = 512;
/// Where the ring begins in the file.
pub(super) const RING: u64 = 12 * 1024;
/// Bytes in front of each record's payload.
pub(super) const RECORD: u64 = 24;
/// How many of the newest source bytes are remembered, to recognise the source.
pub(super) const RECENT: usize = 64;
const FIRST_LINE: &str = "logherd-spool 1 ";
const SLOT_MAGIC: &[u8; 4] = b"LHs1";

/// What a spool belongs to. It stands readable at the start of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// The container's full id.
    pub container: String,
    /// The container's name, for people and for spools that outlive their container.
    pub name: String,
    /// The container's image.
    pub image: String,
    /// The file in the container.
    pub path: String,
    /// Which of several feeds of that path, from 0.
    pub nth: usize,
}

impl Identity {
    /// Renders the identity block; `None` when it does not fit.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let json = serde_json::to_string(self).ok()?;
        let mut block =
            format!("{FIRST_LINE}{:08x}\n{json}\n", crc32fast::hash(json.as_bytes())).into_bytes();
        if block.len() > IDENTITY {
            return None;
        }
        block.resize(IDENTITY, b'\n');
        Some(block)
    }

    /// Reads an identity block; `None` when it is not one or is damaged.
    pub(super) fn decode(block: &[u8]) -> Option<Self> {
        let text = block.strip_prefix(FIRST_LINE.as_bytes())?;
        let crc = u32::from_str_radix(std::str::from_utf8(text.get(..8)?).ok()?, 16).ok()?;
        let rest = text.get(9..)?;
        let json = rest.get(..memchr::memchr(b'\n', rest)?)?;
        if crc32fast::hash(json) != crc {
            return None;
        }
        serde_json::from_slice(json).ok()
    }
}

/// The part of the state that changes in place; the valid slot with the highest `sequence` counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) sequence: u64,
    pub(super) ring: u64,
    pub(super) acked: u64,
    pub(super) first_offset: u64,
    pub(super) first_after: u64,
    pub(super) origin: u64,
    pub(super) dropped_lines: u64,
    pub(super) dropped_bytes: u64,
    pub(super) recent_end: u64,
    pub(super) recent: Vec<u8>,
}

impl Slot {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SLOT);
        out.extend_from_slice(SLOT_MAGIC);
        for number in self.numbers() {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.push(self.recent.len().min(RECENT) as u8);
        out.extend(self.recent.iter().take(RECENT));
        out.resize(SLOT - 4, 0);
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    fn numbers(&self) -> [u64; 9] {
        [
            self.sequence,
            self.ring,
            self.acked,
            self.first_offset,
            self.first_after,
            self.origin,
            self.dropped_lines,
            self.dropped_bytes,
            self.recent_end,
        ]
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, crc) = bytes.get(..SLOT)?.split_at_checked(SLOT - 4)?;
        if crc32fast::hash(body) != u32::from_le_bytes(crc.try_into().ok()?) {
            return None;
        }
        let mut rest = body.strip_prefix(SLOT_MAGIC.as_slice())?;
        let mut next = || -> Option<u64> {
            let (number, tail) = rest.split_first_chunk::<8>()?;
            rest = tail;
            Some(u64::from_le_bytes(*number))
        };
        let mut slot = Slot {
            sequence: next()?,
            ring: next()?,
            acked: next()?,
            first_offset: next()?,
            first_after: next()?,
            origin: next()?,
            dropped_lines: next()?,
            dropped_bytes: next()?,
            recent_end: next()?,
            recent: Vec::new(),
        };
        let (length, bytes) = rest.split_first()?;
        slot.recent = bytes.get(..usize::from(*length))?.to_vec();
        Some(slot)
    }
}

/// What stands in front of a record's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHead {
    pub(super) length: u32,
    pub(super) crc: u32,
    /// The end of the record before; less than `position` where lines were dropped.
    pub(super) after: u64,
    /// The position of the first byte of the payload.
    pub(super) position: u64,
}

impl RecordHead {
    pub(super) fn of(after: u64, position: u64, payload: &[u8]) -> Self {
        let length = payload.len() as u32;
        Self { length, crc: checksum(length, after, position, payload), after, position }
    }

    pub(super) fn encode(&self) -> [u8; RECORD as usize] {
        let mut out = [0; RECORD as usize];
        for (place, byte) in out.iter_mut().zip(
            self.length
                .to_le_bytes()
                .into_iter()
                .chain(self.crc.to_le_bytes())
                .chain(self.after.to_le_bytes())
                .chain(self.position.to_le_bytes()),
        ) {
            *place = byte;
        }
        out
    }

    pub(super) fn decode(bytes: &[u8; RECORD as usize]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (crc, rest) = rest.split_first_chunk::<4>()?;
        let (after, rest) = rest.split_first_chunk::<8>()?;
        let (position, _) = rest.split_first_chunk::<8>()?;
        Some(Self {
            length: u32::from_le_bytes(*length),
            crc: u32::from_le_bytes(*crc),
            after: u64::from_le_bytes(*after),
            position: u64::from_le_bytes(*position),
        })
    }

    pub(super) fn fits(&self, payload: &[u8]) -> bool {
        payload.len() as u64 == u64::from(self.length)
            && checksum(self.length, self.after, self.position, payload) == self.crc
    }
}

fn checksum(length: u32, after: u64, position: u64, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length.to_le_bytes());
    hasher.update(&after.to_le_bytes());
    hasher.update(&position.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}
