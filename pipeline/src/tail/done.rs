//! Knows files again that were read to their end.
use super::head;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A file that was read to its end, and by what it is known: its inode may become that of another file.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) len: u64,
    /// In seconds and nanoseconds; `None` as long as it was not looked at since.
    pub(super) modified: Option<(i64, i64)>,
    pub(super) head: (u64, u32),
}

impl Done {
    /// Whether the file that was found is still that one.
    pub(super) fn is_still(&mut self, found: &Metadata, path: &Path) -> io::Result<bool> {
        let modified = Some((found.mtime(), found.mtime_nsec()));
        if (found.len(), modified) == (self.len, self.modified) {
            return Ok(true);
        }
        let begins_the_same = || Ok::<_, io::Error>(head(&File::open(path)?, self.head.0)? == self.head);
        // Nothing is known of one that was empty.
        let same = found.len() >= self.len && (self.head.0 > 0 || found.len() == 0) && begins_the_same()?;
        if same {
            (self.len, self.modified) = (found.len(), modified);
        }
        Ok(same)
    }
}
