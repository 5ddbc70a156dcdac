//! Remembers in the data directory when an executor last watched the containers of this node.
//!
//! A container that ended after that, and of which there is no spool, was missed: nobody watched from its start to its end.
use jiff::Timestamp;
use std::io;
use std::path::Path;

const NAME: &str = "alive";

/// When the executor before us last watched; `None` when there was none in this directory, or nobody can tell.
pub(crate) fn last(dir: &Path) -> Option<Timestamp> {
    match std::fs::read_to_string(dir.join(NAME)) {
        Ok(text) => match text.trim().parse() {
            Ok(last) => Some(last),
            Err(error) => {
                tracing::warn!(%error, "when an executor last ran is not known: containers that it missed are not looked for");
                None
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            tracing::warn!(%error, "when an executor last ran cannot be read");
            None
        }
    }
}

/// Notes that the containers are watched now.
pub(crate) fn note(dir: &Path, now: Timestamp) {
    let (path, new) = (dir.join(NAME), dir.join("alive.new"));
    let noted = std::fs::write(&new, format!("{now}\n")).and_then(|()| std::fs::rename(&new, &path));
    if let Err(error) = noted {
        tracing::warn!(path = %path.display(), %error, "a sign of life could not be left");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_sign_of_life_is_known_and_there_is_none_at_first() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(last(dir.path()), None);
        let now: Timestamp = "2026-01-02T03:04:05.5Z".parse().unwrap();
        note(dir.path(), now);
        assert_eq!(last(dir.path()), Some(now));
        std::fs::write(dir.path().join(NAME), "odd").unwrap();
        assert_eq!(last(dir.path()), None);
    }
}
