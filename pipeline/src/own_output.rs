//! Remembers which files this process writes its own output to. No input reads them: every line would make another one.
use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::{LazyLock, Mutex, PoisonError};

/// Device and inode.
type Identity = (u64, u64);

/// At first, the files that standard output and standard error are, if they are any.
static OWN: LazyLock<Mutex<BTreeSet<Identity>>> = LazyLock::new(|| {
    let files = [io::stdout().as_fd().try_clone_to_owned(), io::stderr().as_fd().try_clone_to_owned()];
    let known = files.into_iter().filter_map(|file| File::from(file.ok()?).metadata().ok());
    Mutex::new(known.filter(Metadata::is_file).map(|file| identity(&file)).collect())
});

/// A file that this process writes its own log to: no input reads it, whatever name it gets.
pub fn keep_out(file: &Metadata) {
    OWN.lock().unwrap_or_else(PoisonError::into_inner).insert(identity(file));
}

/// A file that was kept out is gone, and its inode may become another's.
pub fn let_in(file: &Metadata) {
    OWN.lock().unwrap_or_else(PoisonError::into_inner).remove(&identity(file));
}

/// Whether this process writes its own output to a file.
pub(crate) fn is_own(file: &Metadata) -> bool {
    OWN.lock().unwrap_or_else(PoisonError::into_inner).contains(&identity(file))
}

fn identity(file: &Metadata) -> Identity {
    (file.dev(), file.ino())
}
