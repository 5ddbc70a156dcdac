//! Keeps how far the files of a pipeline have been acknowledged, in a file that survives a crash at any time.
//!
//! Invariants: a position that was read back was acknowledged by every output once; a file that is torn, changed or of
//! another pipeline is never half believed: it is set aside, and its files are read from their beginning, because
//! reading twice is better than never. The file is replaced as a whole (write beside, fsync, rename, fsync of the
//! directory).
//!
//! Format: one line of JSON (`{"version":1,"pipeline":…,"files":[…]}`), and a line with the CRC-32 of the first in hex.
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

const VERSION: u32 = 1;
/// The most files that are remembered; those seen last are kept.
const FILES_MAX: usize = 10_000;
/// How many seconds a file that is no longer seen is remembered: 14 days.
const FORGET_AFTER_S: u64 = 14 * 24 * 3600;

/// What tells one file from another, for one input.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct FileKey {
    /// The input that reads it, by the paths that it reads.
    pub(crate) input: String,
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

/// How far a file has been acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// Every byte before it was acknowledged.
    pub(crate) offset: u64,
    /// The first bytes of the file, by number and CRC-32: an inode may be used again for another file.
    pub(crate) head_len: u32,
    pub(crate) head_crc: u32,
    /// Where the file was; for people.
    pub(crate) path: String,
    /// When it was seen last, in seconds since 1970.
    pub(crate) seen_s: u64,
    /// Grows each time reading begins anew; acknowledgements of an older epoch do not count.
    #[serde(skip)]
    pub(crate) epoch: u64,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    #[serde(flatten)]
    key: FileKey,
    #[serde(flatten)]
    position: Position,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    version: u32,
    pipeline: String,
    files: Vec<Entry>,
}

/// Why saved positions cannot be believed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unbelievable {
    #[error("the checksum is missing or wrong")]
    Checksum,
    #[error("the content cannot be read")]
    Content(#[source] serde_json::Error),
    #[error("version {0} is not known")]
    Version(u32),
    #[error("it belongs to the pipeline `{0}`")]
    Foreign(String),
}

type Files = BTreeMap<FileKey, Position>;

fn encode(pipeline: &str, files: &Files) -> Result<String, serde_json::Error> {
    let entry =
        |(key, position): (&FileKey, &Position)| Entry { key: key.clone(), position: position.clone() };
    let saved =
        Saved { version: VERSION, pipeline: pipeline.to_owned(), files: files.iter().map(entry).collect() };
    let json = serde_json::to_string(&saved)?;
    let crc = crc32fast::hash(json.as_bytes());
    Ok(format!("{json}\n{crc:08x}\n"))
}

fn decode(pipeline: &str, text: &[u8]) -> Result<Files, Unbelievable> {
    let text = std::str::from_utf8(text).map_err(|_| Unbelievable::Checksum)?;
    let (json, rest) = text.split_once('\n').ok_or(Unbelievable::Checksum)?;
    if rest.strip_suffix('\n') != Some(&format!("{:08x}", crc32fast::hash(json.as_bytes()))) {
        return Err(Unbelievable::Checksum);
    }
    let saved: Saved = serde_json::from_str(json).map_err(Unbelievable::Content)?;
    if saved.version != VERSION {
        return Err(Unbelievable::Version(saved.version));
    }
    if saved.pipeline != pipeline {
        return Err(Unbelievable::Foreign(saved.pipeline));
    }
    Ok(saved.files.into_iter().map(|entry| (entry.key, entry.position)).collect())
}

/// The positions of one pipeline while it runs.
#[derive(Debug)]
pub(crate) struct Ledger {
    pipeline: String,
    path: PathBuf,
    state: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    files: Files,
    changed: bool,
    /// What was saved could not be believed.
    distrusted: bool,
}

impl Ledger {
    /// Reads what was saved at `path`. What cannot be believed is set aside, with a warning.
    pub(crate) fn open(path: PathBuf, pipeline: &str) -> io::Result<Self> {
        let mut book = Book::default();
        match fs::read(&path) {
            Ok(bytes) => match decode(pipeline, &bytes) {
                Ok(files) => book.files = files,
                Err(error) => {
                    let aside = path.with_extension("unreadable");
                    tracing::warn!(
                        path = %path.display(), aside = %aside.display(), error = &error as &dyn std::error::Error,
                        "saved positions cannot be used; files are read from their beginning"
                    );
                    fs::rename(&path, &aside)?;
                    book.distrusted = true;
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(Self { pipeline: pipeline.to_owned(), path, state: Mutex::new(book) })
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// What is known of a file.
    pub(crate) fn get(&self, key: &FileKey) -> Option<Position> {
        self.book().files.get(key).cloned()
    }

    /// Whether positions were lost, so that an unknown file may be one that was read before.
    pub(crate) fn is_distrusted(&self) -> bool {
        self.book().distrusted
    }

    /// Sets all that is known of a file, and begins a new epoch of it, which is returned.
    pub(crate) fn set(&self, key: &FileKey, mut position: Position) -> u64 {
        let mut book = self.book();
        position.epoch = book.files.get(key).map_or(0, |old| old.epoch) + 1;
        let epoch = position.epoch;
        book.files.insert(key.clone(), position);
        book.changed = true;
        epoch
    }

    /// Forgets a file that was removed.
    pub(crate) fn forget(&self, key: &FileKey) {
        let mut book = self.book();
        book.changed |= book.files.remove(key).is_some();
    }

    /// Sets the first bytes by which a file is known again.
    pub(crate) fn set_head(&self, key: &FileKey, head_len: u64, head_crc: u32) {
        let mut book = self.book();
        if let Some(position) = book.files.get_mut(key) {
            position.head_len = u32::try_from(head_len).unwrap_or(0);
            position.head_crc = head_crc;
            book.changed = true;
        }
    }

    /// A file is still there. That alone is not worth saving.
    pub(crate) fn seen(&self, key: &FileKey, seen_s: u64) {
        if let Some(position) = self.book().files.get_mut(key) {
            position.seen_s = seen_s;
        }
    }

    /// Moves the offset of a file that is known, if it is still read in the same epoch.
    pub(crate) fn advance(&self, key: &FileKey, epoch: u64, offset: u64, seen_s: u64) {
        let mut book = self.book();
        if let Some(position) = book.files.get_mut(key)
            && position.epoch == epoch
        {
            position.offset = offset;
            position.seen_s = seen_s;
            book.changed = true;
        }
    }

    /// Whether there is anything to save.
    pub(crate) fn is_changed(&self) -> bool {
        self.book().changed
    }

    /// Saves the positions if they have changed since they were saved last.
    pub(crate) fn save(&self, now_s: u64) -> io::Result<()> {
        let text = {
            let mut book = self.book();
            if !book.changed {
                return Ok(());
            }
            forget_old(&mut book.files, now_s);
            book.changed = false;
            encode(&self.pipeline, &book.files).map_err(io::Error::other)?
        };
        let saved = replace(&self.path, text.as_bytes());
        if saved.is_err() {
            self.book().changed = true;
        }
        saved
    }
}

fn forget_old(files: &mut Files, now_s: u64) {
    files.retain(|_, position| position.seen_s + FORGET_AFTER_S > now_s);
    if files.len() > FILES_MAX {
        let mut seen: Vec<u64> = files.values().map(|p| p.seen_s).collect();
        seen.sort_unstable_by(|a, b| b.cmp(a));
        let oldest = seen.get(FILES_MAX - 1).copied().unwrap_or(0);
        files.retain(|_, position| position.seen_s >= oldest);
    }
}

/// The path with an ending more. Names that differ behind their last dot stay different.
pub(crate) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

/// Replaces the file at `path` as a whole: after a crash there is the old content or the new.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let dir = path.parent().ok_or_else(|| io::Error::other("the path has no directory"))?;
    fs::create_dir_all(dir)?;
    let beside = with_ending(path, "new");
    let mut file = File::create(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(dir)?.sync_all()
}

/// A name for the files of a pipeline: readable, short, and different for different ids.
pub(crate) fn file_name(id: &str) -> String {
    let readable: String = id
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-.".contains(c) { c } else { '_' })
        .take(80)
        .collect();
    // FNV-1a: stable over releases, which the hasher of the standard library is not.
    let hash =
        id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    format!("{readable}-{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(inode: u64) -> FileKey {
        FileKey { input: "/var/log/*.log".into(), device: 3, inode }
    }

    fn position(offset: u64, seen_s: u64) -> Position {
        Position { offset, seen_s, path: "/var/log/a.log".into(), ..Position::default() }
    }

    #[test]
    fn positions_come_back_as_they_were_saved() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/er/p");
        let ledger = Ledger::open(path.clone(), "p").unwrap();
        ledger.set(&key(1), position(10, 100));
        let epoch = ledger.set(&key(1), position(12, 100));
        ledger.advance(&key(1), epoch, 25, 100);
        ledger.advance(&key(1), epoch - 1, 99, 100);
        ledger.advance(&key(2), epoch, 9, 100);
        ledger.save(100).unwrap();
        let again = Ledger::open(path, "p").unwrap();
        assert_eq!(again.get(&key(1)), Some(position(25, 100)));
        assert_eq!(again.get(&key(2)), None);
        assert!(!again.is_distrusted());
    }

    #[test]
    fn positions_of_another_pipeline_are_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p");
        let ledger = Ledger::open(path.clone(), "p").unwrap();
        ledger.set(&key(1), position(10, 100));
        ledger.save(100).unwrap();
        let other = Ledger::open(path.clone(), "q").unwrap();
        assert!(other.is_distrusted());
        assert_eq!(other.get(&key(1)), None);
        assert!(path.with_extension("unreadable").exists());
    }

    #[test]
    fn files_not_seen_for_two_weeks_are_forgotten() {
        let mut files: Files =
            [(key(1), position(1, 1000)), (key(2), position(1, 1000 + FORGET_AFTER_S))].into();
        forget_old(&mut files, 1001 + FORGET_AFTER_S);
        assert_eq!(files.keys().map(|k| k.inode).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn names_of_files_are_safe_and_differ() {
        assert!(!file_name("a/b\0c").contains(['/', '\0']));
        assert_ne!(file_name("a/b"), file_name("a_b"));
        assert!(file_name(&"x".repeat(5000)).len() < 128);
    }

    proptest! {
        #[test]
        fn torn_or_changed_positions_are_never_believed(
            offsets in proptest::collection::vec(any::<u64>(), 0..5),
            at in any::<prop::sample::Index>(),
            flip in 1_u8..,
            cut in any::<bool>(),
        ) {
            let files: Files = offsets.iter().enumerate().map(|(i, o)| (key(i as u64), position(*o, 5))).collect();
            let mut bytes = encode("p", &files).unwrap().into_bytes();
            prop_assert_eq!(&decode("p", &bytes).unwrap(), &files);
            let at = at.index(bytes.len());
            if cut {
                bytes.truncate(at);
            } else {
                bytes[at] ^= flip;
            }
            prop_assert!(decode("p", &bytes).is_err());
        }

        #[test]
        fn garbage_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(decode("p", &bytes).is_err());
        }
    }
}
