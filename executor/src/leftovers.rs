//! Looks through the spools of containers that are not there any more, or do not run.
use crate::spool::{Identity, Spool};
use std::path::{Path, PathBuf};

/// A spool whose container does not run.
#[derive(Clone, Debug)]
pub(crate) struct Leftover {
    /// What it belongs to.
    pub(crate) identity: Identity,
    /// How many bytes in it are not acknowledged.
    pub(crate) held: u64,
    file: PathBuf,
}

impl Leftover {
    /// Removes the spool, with the position in it.
    pub(crate) fn remove(&self) {
        for file in [self.file.clone(), self.file.with_extension("exec"), self.file.with_extension("new")] {
            match std::fs::remove_file(&file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!(file = %file.display(), %error, "a spool could not be removed");
                }
                _ => {}
            }
        }
    }
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
            Some(Leftover { identity: spool.identity().clone(), held: spool.held(), file })
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
