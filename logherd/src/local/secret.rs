//! Keeps the secret by which the scheduler and the embedded master know each other: without one, any user of this
//! machine could have programs started as the one who runs it.
use anyhow::{Context as _, ensure};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The principal that the scheduler of `logherd local` is.
pub(super) const PRINCIPAL: &str = "logherd";

/// A secret, and the file of the data directory that holds it.
pub(super) struct Shared {
    pub(super) file: PathBuf,
    pub(super) text: String,
}

/// Reads the secret of last time, or makes one that only this user can read.
pub(super) fn shared(data_dir: &Path) -> anyhow::Result<Shared> {
    let file = data_dir.join("mesos.secret");
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file);
    match made {
        Ok(mut opened) => {
            let text = random().context("make a secret for the embedded Mesos")?;
            opened.write_all(text.as_bytes()).with_context(|| format!("write `{}`", file.display()))?;
            Ok(Shared { file, text })
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let text =
                std::fs::read_to_string(&file).with_context(|| format!("read `{}`", file.display()))?;
            let whole = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
            ensure!(whole, "`{}` does not hold a secret; remove it, and a new one is made", file.display());
            let mode =
                std::fs::metadata(&file).with_context(|| format!("look at `{}`", file.display()))?.mode();
            ensure!(
                mode & 0o077 == 0,
                "`{}` can be read by others; remove it, and a new one is made",
                file.display()
            );
            Ok(Shared { file, text })
        }
        Err(error) => Err(error).with_context(|| format!("make `{}`", file.display())),
    }
}

fn random() -> std::io::Result<String> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_secret_stays_the_same_and_is_for_this_user_only() {
        let dir = tempfile::tempdir().unwrap();
        let first = shared(dir.path()).unwrap();
        assert_eq!(std::fs::metadata(&first.file).unwrap().mode() & 0o777, 0o600);
        assert_eq!(shared(dir.path()).unwrap().text, first.text);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(shared(other.path()).unwrap().text, first.text);
    }

    #[test]
    fn a_secret_that_is_cut_or_open_to_others_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = shared(dir.path()).unwrap().file;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(shared(dir.path()).err().unwrap().to_string().contains("can be read by others"));
        std::fs::write(&file, "ab").unwrap();
        assert!(shared(dir.path()).err().unwrap().to_string().contains("does not hold a secret"));
    }
}
