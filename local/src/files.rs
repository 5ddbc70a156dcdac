//! Writes files so that a crash leaves the old content or the new, and reads them so that damage is noticed.
//!
//! Invariants: a checked file is its magic bytes, the CRC-32 of the payload (little endian), the payload; nothing else
//! passes. A file is replaced by writing beside it, syncing, and renaming.

use crate::error::Error;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

/// Reads the payload of a checked file; `None` when there is no file.
pub(crate) fn read_checked(path: &Path, magic: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::File { doing: "read", path: path.to_owned(), source }),
    };
    let damaged = |problem: &str| Error::Damaged { path: path.to_owned(), problem: problem.to_owned() };
    let rest = bytes.strip_prefix(magic).ok_or_else(|| damaged("it does not start as it should"))?;
    let (sum, payload) = rest.split_first_chunk::<4>().ok_or_else(|| damaged("it is too short"))?;
    if crc32fast::hash(payload) != u32::from_le_bytes(*sum) {
        return Err(damaged("the checksum does not match"));
    }
    Ok(Some(payload.to_vec()))
}

/// Replaces a checked file.
pub(crate) fn write_checked(path: &Path, magic: &[u8], payload: &[u8]) -> Result<(), Error> {
    let mut bytes = Vec::with_capacity(magic.len() + 4 + payload.len());
    bytes.extend_from_slice(magic);
    bytes.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    bytes.extend_from_slice(payload);
    replace(path, &bytes)
}

/// Replaces a file as a whole.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed = |doing: &'static str| move |source| Error::File { doing, path: path.to_owned(), source };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed("create the directory of"))?;
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let mut file = File::create(&beside).map_err(failed("create a new"))?;
    file.write_all(bytes).and_then(|()| file.sync_data()).map_err(failed("write"))?;
    fs::rename(&beside, path).map_err(failed("replace"))
}
