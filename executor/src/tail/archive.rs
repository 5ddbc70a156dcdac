//! Reads what is left of a file of a container that has ended: there is no exec any more, but its files are still there.
use bytes::{Buf, Bytes, BytesMut};

const BLOCK: usize = 512;

/// What a piece of a tar stream holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The size of the file that follows.
    Size(u64),
    /// Bytes of that file.
    Bytes(Bytes),
    /// It is no regular file.
    NotAFile,
}

/// Takes the first regular file out of a tar stream that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct FirstFile {
    held: BytesMut,
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Header,
    /// An extended header's body, with padding.
    Skip(u64),
    Body(u64),
    Over,
}

impl FirstFile {
    /// Takes the next piece of the stream.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<Part> {
        self.held.extend_from_slice(bytes);
        let mut parts = Vec::new();
        loop {
            match &mut self.state {
                State::Over => break,
                State::Header => {
                    let Some(header) = self.held.get(..BLOCK) else { break };
                    let (kind, size) = (header.get(156).copied().unwrap_or_default(), number(header));
                    self.held.advance(BLOCK);
                    self.state = match (kind, size) {
                        (b'x' | b'g' | b'L' | b'K', Some(size)) => {
                            State::Skip(size.div_ceil(BLOCK as u64) * BLOCK as u64)
                        }
                        (b'0' | 0, Some(size)) => {
                            parts.push(Part::Size(size));
                            State::Body(size)
                        }
                        _ => {
                            parts.push(Part::NotAFile);
                            State::Over
                        }
                    };
                }
                State::Skip(left) => {
                    let now = (*left).min(self.held.len() as u64);
                    self.held.advance(now as usize);
                    *left -= now;
                    if *left > 0 {
                        break;
                    }
                    self.state = State::Header;
                }
                State::Body(left) => {
                    let now = (*left).min(self.held.len() as u64);
                    if now > 0 {
                        parts.push(Part::Bytes(self.held.split_to(now as usize).freeze()));
                    }
                    *left -= now;
                    if *left > 0 {
                        break;
                    }
                    self.state = State::Over;
                }
            }
        }
        parts
    }
}

/// The size field of a header: octal digits, or base 256 for large files.
fn number(header: &[u8]) -> Option<u64> {
    let field = header.get(124..136)?;
    if field.first()? & 0x80 != 0 {
        return field.get(4..)?.try_into().ok().map(u64::from_be_bytes);
    }
    let text = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok() }
}

/// Drops the bytes before a position from a file that comes in pieces, and keeps those just before it for comparison.
#[derive(Debug)]
pub(super) struct FromPosition {
    skip: u64,
    overlap: BytesMut,
    expected: Bytes,
}

impl FromPosition {
    /// Wants the bytes from `position` on, which must come after `expected`.
    pub(super) fn new(position: u64, expected: Bytes) -> Self {
        Self { skip: position - (expected.len() as u64).min(position), overlap: BytesMut::new(), expected }
    }

    /// Takes the next bytes of the file; `Err` when it is not the file that was read before.
    pub(super) fn take(&mut self, mut bytes: Bytes) -> Result<Bytes, ()> {
        let skipped = self.skip.min(bytes.len() as u64);
        bytes.advance(skipped as usize);
        self.skip -= skipped;
        let missing = (self.expected.len() - self.overlap.len()).min(bytes.len());
        self.overlap.extend_from_slice(&bytes.split_to(missing));
        if self.expected.get(..self.overlap.len()) != Some(&self.overlap) {
            return Err(());
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(kind: u8, size: usize) -> Vec<u8> {
        let mut header = vec![0; BLOCK];
        header[..3].copy_from_slice(b"log");
        header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
        header[156] = kind;
        header
    }

    fn archive(content: &[u8]) -> Vec<u8> {
        let mut tar = header(b'x', 20);
        tar.resize(BLOCK * 2, b'p');
        tar.extend(header(b'0', content.len()));
        tar.extend_from_slice(content);
        tar.resize(tar.len().div_ceil(BLOCK) * BLOCK + 2 * BLOCK, 0);
        tar
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_bytes_after_the_position(
            content in proptest::collection::vec(any::<u8>(), 0..2000),
            at in 0.0..=1.0f64,
            size in 1usize..900,
        ) {
            let at = (content.len() as f64 * at) as usize;
            let expected = Bytes::copy_from_slice(&content[at.saturating_sub(64)..at]);
            let (mut file, mut from) = (FirstFile::default(), FromPosition::new(at as u64, expected));
            let mut got = Vec::new();
            for piece in archive(&content).chunks(size) {
                for part in file.take(piece) {
                    match part {
                        Part::Size(n) => prop_assert_eq!(n, content.len() as u64),
                        Part::Bytes(b) => got.extend_from_slice(&from.take(b).unwrap()),
                        Part::NotAFile => prop_assert!(false),
                    }
                }
            }
            prop_assert_eq!(got, content[at..].to_vec());
        }

        #[test]
        fn garbage_is_taken_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
            FirstFile::default().take(&bytes);
        }
    }

    #[test]
    fn a_link_is_no_file_and_another_file_is_noticed() {
        assert_eq!(FirstFile::default().take(&header(b'2', 0)), [Part::NotAFile]);
        let mut from = FromPosition::new(4, Bytes::from_static(b"abcd"));
        assert_eq!(from.take(Bytes::from_static(b"abXdef")), Err(()));
    }
}
