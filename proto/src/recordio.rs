//! Frames and unframes the records of Mesos' event streams: a decimal length, a newline, that many bytes.
//!
//! Invariants:
//! - Chunk borders mean nothing: a record may come in any number of pieces and a piece may hold any number of records.
//! - What is buffered is at most one unfinished record plus the last chunk pushed; a length announced but not yet
//!   received reserves nothing.
//! - Garbage is fatal. There is nothing to resynchronise on, so after an error the decoder only repeats that error and
//!   its owner has to drop the connection.

use bytes::{Buf, Bytes, BytesMut};

/// More digits than any `u64` has are not a length.
const MAX_HEADER: usize = 20;

/// The largest record that is accepted unless the owner says otherwise: 256 MiB.
pub const DEFAULT_MAX_RECORD: u64 = 256 * 1024 * 1024;

/// How much of something unexpected an error quotes.
const QUOTED: usize = 64;

/// What a [`Decoder`] accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest record, in bytes, without its header.
    pub max_record: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { max_record: DEFAULT_MAX_RECORD }
    }
}

/// Why a stream cannot be read any further.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Something other than a digit or the newline stood where the length of the next record belongs.
    #[error(
        "record {record} at byte {offset} does not start with its length: expected digits and a newline, saw `{seen}`"
    )]
    NotALength {
        /// Which record, counted from 0.
        record: u64,
        /// Where its header starts in the stream.
        offset: u64,
        /// The first bytes seen there, escaped.
        seen: String,
    },
    /// The length is larger than the limit.
    #[error(
        "record {record} at byte {offset} announces {announced} bytes, more than the {limit} that are accepted"
    )]
    TooLong {
        /// Which record, counted from 0.
        record: u64,
        /// Where its header starts in the stream.
        offset: u64,
        /// The digits of its header.
        announced: String,
        /// The largest length accepted.
        limit: u64,
    },
    /// The stream ended inside a record.
    #[error("the stream ended inside record {record} at byte {offset}: {missing}")]
    Truncated {
        /// Which record, counted from 0.
        record: u64,
        /// Where its header starts in the stream.
        offset: u64,
        /// What had not come yet.
        missing: String,
    },
}

/// Frames one record.
pub fn encode(record: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(record.len().saturating_add(MAX_HEADER + 1));
    encode_into(record, &mut out);
    out.freeze()
}

/// Frames one record at the end of `out`.
pub fn encode_into(record: &[u8], out: &mut BytesMut) {
    let header = record.len().to_string();
    out.reserve(header.len() + 1 + record.len());
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(b"\n");
    out.extend_from_slice(record);
}

/// Takes chunks in, gives records out.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    buffer: BytesMut,
    /// The length of the record whose header has been read.
    awaited: Option<Awaited>,
    /// How many records have been given out.
    records: u64,
    /// Where in the stream `buffer` starts.
    offset: u64,
    failed: Option<RecordError>,
}

#[derive(Debug, Clone, Copy)]
struct Awaited {
    length: usize,
    header_at: u64,
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new(limits: Limits) -> Self {
        Decoder { limits, buffer: BytesMut::new(), awaited: None, records: 0, offset: 0, failed: None }
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
    }

    /// Takes the next bytes of the stream, without a copy when nothing is buffered and nobody else holds them.
    pub fn push_bytes(&mut self, chunk: Bytes) {
        if !self.buffer.is_empty() {
            return self.push(&chunk);
        }
        match chunk.try_into_mut() {
            Ok(owned) => self.buffer = owned,
            Err(shared) => self.push(&shared),
        }
    }

    /// The next whole record, or `None` until more has been pushed.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator that ends may not go on; this goes on after a push"
    )]
    pub fn next(&mut self) -> Result<Option<Bytes>, RecordError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        match self.advance() {
            Ok(record) => Ok(record),
            Err(error) => {
                self.buffer = BytesMut::new();
                self.failed = Some(error.clone());
                Err(error)
            }
        }
    }

    /// Says whether the stream may end here: an error if it would cut a record.
    pub fn finish(&self) -> Result<(), RecordError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        match self.awaited {
            None if self.buffer.is_empty() => Ok(()),
            None => Err(RecordError::Truncated {
                record: self.records,
                offset: self.offset,
                missing: format!("only `{}` of its length had come", escaped(&self.buffer)),
            }),
            Some(Awaited { length, header_at }) => Err(RecordError::Truncated {
                record: self.records,
                offset: header_at,
                missing: format!("{} of its {length} bytes had come", self.buffer.len()),
            }),
        }
    }

    fn advance(&mut self) -> Result<Option<Bytes>, RecordError> {
        let Awaited { length, .. } = match self.awaited {
            Some(awaited) => awaited,
            None => match self.header()? {
                Some(awaited) => *self.awaited.insert(awaited),
                None => return Ok(None),
            },
        };
        if self.buffer.len() < length {
            return Ok(None);
        }
        self.awaited = None;
        self.records += 1;
        self.offset += length as u64;
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    /// Reads the length line if it is all there.
    fn header(&mut self) -> Result<Option<Awaited>, RecordError> {
        let digits = self.buffer.iter().take(MAX_HEADER + 1).take_while(|byte| byte.is_ascii_digit()).count();
        if digits > MAX_HEADER {
            return Err(self.not_a_length());
        }
        match self.buffer.get(digits) {
            None => return Ok(None),
            Some(b'\n') if digits > 0 => {}
            Some(_) => return Err(self.not_a_length()),
        }
        let header_at = self.offset;
        let text: String = self.buffer.iter().take(digits).map(|&byte| char::from(byte)).collect();
        let length = text.parse::<u64>().ok().filter(|&length| length <= self.limits.max_record);
        let Some(length) = length.and_then(|length| usize::try_from(length).ok()) else {
            let limit = self.limits.max_record;
            return Err(RecordError::TooLong {
                record: self.records,
                offset: header_at,
                announced: text,
                limit,
            });
        };
        self.buffer.advance(digits + 1);
        self.offset += digits as u64 + 1;
        Ok(Some(Awaited { length, header_at }))
    }

    fn not_a_length(&self) -> RecordError {
        RecordError::NotALength { record: self.records, offset: self.offset, seen: escaped(&self.buffer) }
    }
}

fn escaped(bytes: &[u8]) -> String {
    let (head, more) = match bytes.get(..QUOTED) {
        Some(head) if bytes.len() > QUOTED => (head, "…"),
        _ => (bytes, ""),
    };
    format!("{}{more}", head.escape_ascii())
}

#[cfg(test)]
mod tests;
