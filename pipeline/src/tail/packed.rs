//! Reads what is inside of files that were packed by gzip.
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// What is inside of a file.
pub(super) struct Packed(Box<MultiGzDecoder<File>>);

impl Packed {
    /// Starts at a position of what is inside.
    pub(super) fn open(file: &File, offset: u64) -> io::Result<Self> {
        let mut inside = MultiGzDecoder::new(file.try_clone()?);
        io::copy(&mut inside.by_ref().take(offset), &mut io::sink())?;
        Ok(Self(Box::new(inside)))
    }

    /// Whether the name of a file says that it is packed.
    pub(super) fn is_one(path: &Path) -> bool {
        path.extension().is_some_and(|end| end.eq_ignore_ascii_case("gz") || end.eq_ignore_ascii_case("gzip"))
    }

    /// Adds the next bytes to `buffer`; fewer than `room` only at the end.
    pub(super) fn read(&mut self, room: usize, buffer: &mut Vec<u8>) -> io::Result<()> {
        self.0.by_ref().take(room as u64).read_to_end(buffer).map(drop)
    }
}
