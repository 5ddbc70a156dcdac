//! Reads the files of the config directory, whatever lies there.
use config::document::{Key, Kind, TEXT_MAX};
use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How many folders are read at most: a link may lead to the root of the file system.
const FOLDERS_MAX: usize = 10_000;

/// A file that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Relative to the directory.
    pub(crate) path: String,
    /// What it is about, or why that cannot be told.
    pub(crate) key: Result<Key, String>,
    /// What it says, or why it cannot be read.
    pub(crate) text: Result<String, String>,
}

/// What the directory holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    /// The files, by path.
    pub(crate) files: Vec<Found>,
    /// The kinds whose folder is there.
    pub(crate) folders: BTreeSet<Kind>,
}

/// Reads every config file. A directory that cannot be read is an error, never "no files".
pub(super) fn read(root: &Path) -> Result<Listing, String> {
    fs::read_dir(root).map_err(|e| format!("the config directory cannot be read: {e}"))?;
    let mut listing = Listing::default();
    for kind in [Kind::Docker, Kind::Host] {
        let mut folder = Folder { root, kind, visited: BTreeSet::new(), found: Vec::new() };
        if folder.read()? {
            listing.folders.insert(kind);
        }
        listing.files.append(&mut folder.found);
    }
    listing.files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(listing)
}

/// `docker/` or `host/` while it is read.
struct Folder<'a> {
    root: &'a Path,
    kind: Kind,
    /// The directories that were read: device and inode. A link back to one of them would never end.
    visited: BTreeSet<(u64, u64)>,
    found: Vec<Found>,
}

impl Folder<'_> {
    /// Reads all that is below; says whether it is there. Links to directories come last, so that a directory that is
    /// also reached by a link keeps its own name.
    fn read(&mut self) -> Result<bool, String> {
        let top = self.root.join(self.kind.to_string());
        let mut links = Vec::new();
        let there = self.read_from(top, &mut links)?;
        while let Some(link) = links.pop() {
            self.read_from(link, &mut links)?;
        }
        Ok(there)
    }

    fn read_from(&mut self, top: PathBuf, links: &mut Vec<PathBuf>) -> Result<bool, String> {
        let mut there = false;
        let mut open = vec![top];
        while let Some(dir) = open.pop() {
            let wrong = |e| format!("`{}` cannot be read: {e}", dir.display());
            if self.visited.len() >= FOLDERS_MAX {
                return Err(format!(
                    "more than {FOLDERS_MAX} folders lie below `{}/`; is there a link to too much?",
                    self.kind
                ));
            }
            let entries = match fs::metadata(&dir).and_then(|about| Ok((about, fs::read_dir(&dir)?))) {
                Ok((about, entries)) => {
                    there = true;
                    if !self.visited.insert((about.dev(), about.ino())) {
                        self.refuse(&dir, "this folder is read already under another name");
                        continue;
                    }
                    entries
                }
                Err(e) if e.kind() == ErrorKind::NotFound => continue,
                Err(e) => return Err(wrong(e)),
            };
            let mut paths = Vec::new();
            for entry in entries {
                paths.push(entry.map_err(wrong)?.path());
            }
            paths.sort_unstable_by(|a, b| b.cmp(a));
            for path in paths {
                self.take(path, &mut open, links);
            }
        }
        Ok(there)
    }

    fn take(&mut self, path: PathBuf, open: &mut Vec<PathBuf>, links: &mut Vec<PathBuf>) {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with('.') {
            return;
        }
        if path.is_dir() {
            match self.kind {
                Kind::Docker if path.is_symlink() => links.push(path),
                Kind::Docker => open.push(path),
                Kind::Host => {}
            }
        } else if name.ends_with(".conf") {
            let relative = self.relative(&path);
            let key = key_of(self.kind, &relative);
            self.found.push(Found { path: relative, key, text: read_text(&path) });
        }
    }

    fn refuse(&mut self, path: &Path, why: &str) {
        let path = self.relative(path);
        self.found.push(Found { path, key: Err(why.to_owned()), text: Err(why.to_owned()) });
    }

    fn relative(&self, path: &Path) -> String {
        path.strip_prefix(self.root).unwrap_or(path).to_string_lossy().into_owned()
    }
}

/// What a file says. What is no regular file is not opened: a pipe without a writer would never answer.
fn read_text(path: &Path) -> Result<String, String> {
    let wrong = |e: std::io::Error| format!("it cannot be read: {e}");
    let about = fs::metadata(path).map_err(wrong)?;
    if !about.is_file() {
        return Err("it is not a regular file; put a text file there, or remove it".to_owned());
    }
    let most = u64::try_from(TEXT_MAX).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(wrong)?;
    // It may grow while it is read.
    file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(wrong)?;
    if bytes.len() > TEXT_MAX {
        let size = about.len().max(most.saturating_add(1));
        return Err(format!("it has {size} bytes; at most {TEXT_MAX} are allowed"));
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())
}

/// The config that a file is about: its path below `docker/` or `host/` without `.conf`, percent-decoded.
pub(super) fn key_of(kind: Kind, relative: &str) -> Result<Key, String> {
    let name = relative.split_once('/').map_or(relative, |(_, name)| name);
    let name = name.strip_suffix(".conf").unwrap_or(name);
    let decoded =
        percent_decoded(name).ok_or_else(|| format!("the name `{name}` has a wrong percent escape"))?;
    Key::new(kind, decoded).map_err(|e| e.to_string())
}

pub(super) fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let value = digit()? * 16 + digit()?;
        bytes.push(u8::try_from(value).ok()?);
    }
    String::from_utf8(bytes).ok()
}
