//! Keeps the newest assignment of this node on disk, so that it works on without a scheduler after a restart.
//!
//! Format (version 1): a line `logherd-assignment 1 CRC32`, then JSON. Written beside and renamed, so there is always a
//! whole one. It belongs to a framework: another framework's revisions say nothing about this one's.
use config::document::{Document, Key, Revision};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const FIRST_LINE: &str = "logherd-assignment 1 ";
const NAME: &str = "assignment";

/// The documents of the fleet at one revision, as the scheduler sent them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) revision: Revision,
    pub(crate) documents: BTreeMap<Key, Document>,
}

/// What cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The file system refused.
    #[error("{operation} the stored assignment `{}`", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is there, but damaged.
    #[error("the stored assignment `{}` is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
}

#[derive(Serialize, Deserialize)]
struct Stored {
    framework: String,
    revision: Revision,
    documents: Vec<(Key, Document)>,
}

/// Writes the assignment.
pub(crate) fn save(dir: &Path, framework: &str, assignment: &Assignment) -> Result<(), StoreError> {
    let path = dir.join(NAME);
    let io = |operation| {
        let path = path.clone();
        move |source| StoreError::Io { operation, path, source }
    };
    let stored = Stored {
        framework: framework.to_owned(),
        revision: assignment.revision,
        documents: assignment.documents.iter().map(|(k, d)| (k.clone(), d.clone())).collect(),
    };
    let json = serde_json::to_string(&stored).map_err(|e| io("write")(e.into()))?;
    let new = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    // Configs may hold passwords.
    let opened = options.write(true).create(true).truncate(true).mode(0o600).open(&new);
    let mut file = opened.map_err(io("create"))?;
    write!(file, "{FIRST_LINE}{:08x}\n{json}", crc32fast::hash(json.as_bytes())).map_err(io("write"))?;
    file.sync_all().map_err(io("write"))?;
    std::fs::rename(&new, &path).map_err(io("rename"))
}

/// Reads the assignment of a framework; `None` when there is none of it.
pub(crate) fn load(dir: &Path, framework: &str) -> Result<Option<Assignment>, StoreError> {
    let path = dir.join(NAME);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StoreError::Io { operation: "read", path, source }),
    };
    let stored = decode(&bytes).map_err(|reason| StoreError::Damaged { path, reason })?;
    if stored.framework != framework {
        return Ok(None);
    }
    Ok(Some(Assignment { revision: stored.revision, documents: stored.documents.into_iter().collect() }))
}

/// Moves an unusable file out of the way.
pub(crate) fn set_aside(dir: &Path) {
    let path = dir.join(NAME);
    if let Err(error) = std::fs::rename(&path, path.with_extension("damaged")) {
        tracing::warn!(path = %path.display(), %error, "a damaged file could not be set aside");
    }
}

fn decode(bytes: &[u8]) -> Result<Stored, &'static str> {
    let rest = bytes.strip_prefix(FIRST_LINE.as_bytes()).ok_or("it does not begin as one")?;
    let end = memchr::memchr(b'\n', rest).ok_or("it ends in its first line")?;
    let (crc, json) = rest.split_at_checked(end).ok_or("it ends in its first line")?;
    let json = json.get(1..).unwrap_or_default();
    let crc = std::str::from_utf8(crc).ok().and_then(|text| u32::from_str_radix(text, 16).ok());
    if crc != Some(crc32fast::hash(json)) {
        return Err("its checksum is wrong");
    }
    serde_json::from_slice(json).map_err(|_| "its content is not what was written")
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::document::Kind;
    use proptest::prelude::*;
    use std::os::unix::fs::PermissionsExt;

    fn assignment() -> Assignment {
        let key = Key::new(Kind::Docker, "web/nginx").unwrap();
        let document = Document { text: "input { }".into(), revision: Revision(3) };
        Assignment { revision: Revision(7), documents: BTreeMap::from([(key, document)]) }
    }

    #[test]
    fn an_assignment_is_there_after_a_restart_but_not_for_another_framework() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load(dir.path(), "f1").unwrap(), None);
        save(dir.path(), "f1", &assignment()).unwrap();
        assert_eq!(load(dir.path(), "f1").unwrap(), Some(assignment()));
        assert_eq!(load(dir.path(), "f2").unwrap(), None);
        let mode = std::fs::metadata(dir.path().join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "configs may hold passwords");
    }

    proptest! {
        #[test]
        fn a_damaged_file_is_named_and_never_taken(at in 0usize..200, value in any::<u8>()) {
            let dir = tempfile::tempdir().unwrap();
            save(dir.path(), "f1", &assignment()).unwrap();
            let path = dir.path().join(NAME);
            let mut bytes = std::fs::read(&path).unwrap();
            let at = at % bytes.len();
            prop_assume!(bytes[at] != value);
            let upper_case_crc = value.is_ascii_uppercase() && bytes[at] == value.to_ascii_lowercase();
            prop_assume!(!upper_case_crc);
            bytes[at] = value;
            std::fs::write(&path, &bytes).unwrap();
            prop_assert!(load(dir.path(), "f1").is_err());
        }

        #[test]
        fn garbage_is_refused_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(decode(&bytes).is_err());
        }
    }
}
