//! Looks through the spools of containers that are not there any more, or do not run.
use crate::spool::{Identity, Spool};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The extension of the note that a spool is unwanted; when it was made says since when.
const UNWANTED: &str = "unwanted";
/// How long the spool of a container that is gone is kept while no pipeline wants what is in it.
pub(crate) const KEEP_UNWANTED: Duration = Duration::from_secs(24 * 60 * 60);

/// A spool whose container does not run.
#[derive(Clone, Debug)]
pub(crate) struct Leftover {
    /// What it belongs to.
    pub(crate) identity: Identity,
    /// How many bytes in it are not acknowledged.
    pub(crate) held: u64,
    /// How long it has been unwanted, over restarts.
    pub(crate) unwanted_for: Option<Duration>,
    file: PathBuf,
}

impl Leftover {
    /// Notes beside the spool that nobody wants what is in it, unless that is noted already.
    pub(crate) fn note_unwanted(&self) {
        if self.unwanted_for.is_none()
            && let Err(error) = std::fs::write(self.file.with_extension(UNWANTED), "")
        {
            tracing::warn!(file = %self.file.display(), %error, "that a spool is unwanted cannot be noted");
        }
    }

    /// Takes that note away.
    pub(crate) fn note_wanted(&self) {
        if self.unwanted_for.is_some() {
            remove(&self.file.with_extension(UNWANTED));
        }
    }

    /// How many lines are lost when it is removed.
    pub(crate) fn lines(&self) -> u64 {
        let Ok(mut spool) = Spool::recover(&self.file) else { return 0 };
        let (mut lines, mut partial) = (0, false);
        while let Ok(Some(stretch)) = spool.take(64 * 1024) {
            lines += memchr::memchr_iter(b'\n', &stretch.bytes).count() as u64;
            partial = stretch.bytes.last() != Some(&b'\n');
        }
        lines + u64::from(partial)
    }

    /// Removes the spool, with the position in it.
    pub(crate) fn remove(&self) {
        remove(&self.file);
        for extension in ["exec", "new", UNWANTED] {
            remove(&self.file.with_extension(extension));
        }
    }
}

fn remove(file: &Path) {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(file = %file.display(), %error, "a spool could not be removed");
        }
        _ => {}
    }
}

/// How long ago the note beside a spool was made; a clock that was set back counts as no time.
fn unwanted_for(spool: &Path) -> Option<Duration> {
    let noted = std::fs::metadata(spool.with_extension(UNWANTED)).ok()?.modified().ok()?;
    Some(noted.elapsed().unwrap_or_default())
}

/// The spools in `dir`, except those of containers for which `skip` holds. Those that cannot be read are left alone: the
/// tail that needs them sets them aside.
pub(crate) fn survey(dir: &Path, skip: impl Fn(&str) -> bool) -> Vec<Leftover> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::warn!(dir = %dir.display(), %error, "the spools cannot be listed");
            return Vec::new();
        }
    };
    let files = entries.flatten().map(|entry| entry.path());
    files
        .filter(|file| file.extension().is_some_and(|extension| extension == "spool"))
        .filter(|file| Spool::identity_of(file).is_some_and(|identity| !skip(&identity.container)))
        .filter_map(|file| {
            let spool = Spool::recover(&file).ok()?;
            let (identity, held) = (spool.identity().clone(), spool.held());
            Some(Leftover { identity, held, unwanted_for: unwanted_for(&file), file })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spools_are_found_by_what_is_written_in_them_and_others_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        for (name, held) in [("gone", "line\n"), ("here", "")] {
            let identity = Identity {
                container: name.into(),
                name: "n".into(),
                image: "i".into(),
                path: "/x".into(),
                nth: 0,
            };
            let mut spool =
                Spool::open(&dir.path().join(format!("{name}.spool")), &identity, 10_000, 0).unwrap();
            spool.push(held.as_bytes()).unwrap();
        }
        std::fs::write(dir.path().join("odd.spool"), "odd").unwrap();
        let found = survey(dir.path(), |container| container == "here");
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].identity.container.as_str(), found[0].held), ("gone", 5));
        found[0].remove();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
