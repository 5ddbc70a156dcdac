//! Takes over from the executor before on this node: waits until the data directory is free, and copies positions and spools
//! that it kept in another one, which is how they outlive a sandbox.
use crate::Error;
use crate::lock::Lock;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long another executor may go on using the data directory. Longer than the grace of an end.
const LOCK_PATIENCE: Duration = Duration::from_secs(300);
/// How long the executor before may still use its own; it had ended when this one was launched.
const PREDECESSOR_PATIENCE: Duration = Duration::from_secs(30);
/// What is not handed over.
const LOCK_FILE: &str = "lock";

/// Waits for the right to use `dir`, and fills it with the data of a predecessor if it holds none. `None` when told to
/// give up.
pub(crate) async fn take_over(
    dir: PathBuf,
    predecessor: Option<PathBuf>,
    give_up: CancellationToken,
) -> Result<Option<Lock>, Error> {
    let Ok(lock) = timeout(LOCK_PATIENCE, Lock::acquire(dir.clone(), give_up.clone())).await else {
        return Err(Error::Occupied { dir, waited: LOCK_PATIENCE });
    };
    let Some(lock) = lock? else { return Ok(None) };
    let Some(before) = predecessor.filter(|before| *before != dir) else { return Ok(Some(lock)) };
    let freed = timeout(PREDECESSOR_PATIENCE, lock_of(&before, &give_up));
    let held = match freed.await {
        Ok(Ok(Some(held))) => held,
        Ok(Ok(None)) => return Ok(None),
        Ok(Err(error)) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(before = %before.display(), error,
                "the data of the executor before cannot be reached; starting without them");
            return Ok(Some(lock));
        }
        Err(_) => {
            tracing::warn!(before = %before.display(),
                "the data of the executor before are still in use; starting without them");
            return Ok(Some(lock));
        }
    };
    let (from, to) = (before.clone(), dir);
    let copied = tokio::task::spawn_blocking(move || inherit(&from, &to)).await.map_err(Error::Task)?;
    drop(held);
    match copied {
        Ok(0) => tracing::info!(before = %before.display(), "no data were taken over"),
        Ok(files) => tracing::info!(before = %before.display(), files, "took over positions and spools"),
        Err(error) => tracing::warn!(before = %before.display(), error = &error as &dyn std::error::Error,
            "the data of the executor before cannot be copied; starting without them"),
    }
    Ok(Some(lock))
}

/// The right to use a directory that has to be there.
async fn lock_of(dir: &Path, give_up: &CancellationToken) -> Result<Option<Lock>, Error> {
    match fs::metadata(dir) {
        Ok(_) => Lock::acquire(dir.to_owned(), give_up.clone()).await,
        Err(source) => Err(Error::DataDir { path: dir.to_owned(), source }),
    }
}

/// Copies what is in `from` to `to`, if there is nothing yet; gives how many files. What was copied before a failure is
/// removed again: half a spool would be worse than none.
fn inherit(from: &Path, to: &Path) -> io::Result<u64> {
    if files_in(to)? > 0 {
        return Ok(0);
    }
    copy_all(from, to).inspect_err(|_| {
        if let Err(error) = clear(to) {
            tracing::error!(dir = %to.display(), %error, "what was copied in part cannot be removed");
        }
    })
}

fn files_in(dir: &Path) -> io::Result<u64> {
    let mut count = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            count += files_in(&entry.path())?;
        } else if entry.file_name() != LOCK_FILE {
            count += 1;
        }
    }
    Ok(count)
}

/// Directories and plain files only: nothing else was ever written there.
fn copy_all(from: &Path, to: &Path) -> io::Result<u64> {
    let mut count = 0;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            if !target.is_dir() {
                fs::create_dir(&target)?;
            }
            fs::set_permissions(&target, entry.metadata()?.permissions())?;
            count += copy_all(&entry.path(), &target)?;
        } else if kind.is_file() && entry.file_name() != LOCK_FILE {
            fs::copy(entry.path(), &target)?;
            count += 1;
        }
    }
    Ok(count)
}

fn clear(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            clear(&entry.path())?;
        } else if entry.file_name() != LOCK_FILE {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A data directory with a spool and a position.
    fn used() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("spools/one")).unwrap();
        fs::create_dir_all(dir.path().join("pipelines")).unwrap();
        fs::write(dir.path().join("spools/one/data"), "a line\n").unwrap();
        fs::write(dir.path().join("pipelines/positions"), "7").unwrap();
        fs::write(dir.path().join(LOCK_FILE), "1").unwrap();
        dir
    }

    async fn take(to: &Path, from: &Path) -> Option<Lock> {
        take_over(to.to_owned(), Some(from.to_owned()), CancellationToken::new()).await.unwrap()
    }

    #[tokio::test]
    async fn positions_and_spools_of_another_sandbox_are_gone_on_with() {
        let (before, now) = (used(), tempfile::tempdir().unwrap());
        fs::create_dir(now.path().join("spools")).unwrap();
        assert!(take(now.path(), before.path()).await.is_some());
        assert_eq!(fs::read_to_string(now.path().join("spools/one/data")).unwrap(), "a line\n");
        assert_eq!(fs::read_to_string(now.path().join("pipelines/positions")).unwrap(), "7");
        assert_ne!(fs::read_to_string(now.path().join(LOCK_FILE)).unwrap(), "1");
    }

    #[tokio::test]
    async fn a_directory_that_holds_data_keeps_them() {
        let (before, now) = (used(), tempfile::tempdir().unwrap());
        fs::write(now.path().join("assignment"), "ours").unwrap();
        assert!(take(now.path(), before.path()).await.is_some());
        assert!(!now.path().join("pipelines").exists());
    }

    #[tokio::test]
    async fn data_that_are_gone_or_cannot_be_copied_keep_nobody_from_starting() {
        let now = tempfile::tempdir().unwrap();
        assert!(take(now.path(), Path::new("/nowhere/at/all")).await.is_some());
        let before = used();
        fs::remove_file(before.path().join("spools/one/data")).unwrap();
        fs::create_dir(now.path().join("spools")).unwrap();
        // A file cannot take the place of this directory.
        fs::create_dir_all(now.path().join("pipelines/positions")).unwrap();
        assert!(take(now.path(), before.path()).await.is_some());
        assert_eq!(files_in(now.path()).unwrap(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn data_that_are_in_use_are_waited_for_and_then_left_alone() {
        let (before, now) = (used(), tempfile::tempdir().unwrap());
        let held = Lock::acquire(before.path().to_owned(), CancellationToken::new()).await.unwrap();
        assert!(take(now.path(), before.path()).await.is_some());
        assert_eq!(files_in(now.path()).unwrap(), 0);
        drop(held);
        assert!(take(now.path(), before.path()).await.is_some());
        assert_eq!(files_in(now.path()).unwrap(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_data_directory_that_stays_in_use_is_an_error_that_says_so() {
        let dir = used();
        let _held = Lock::acquire(dir.path().to_owned(), CancellationToken::new()).await.unwrap();
        let failed = take_over(dir.path().to_owned(), None, CancellationToken::new()).await.unwrap_err();
        assert!(failed.to_string().contains("another executor"), "{failed}");
    }
}
