//! Takes over from the executor before on this node: waits until the data directory is free, and copies positions and spools
//! that it kept in another one, which is how they outlive a sandbox.
use crate::Error;
use crate::lock::Lock;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long another executor may go on using the data directory. Longer than the grace of an end.
const LOCK_PATIENCE: Duration = Duration::from_secs(300);
/// How long the executor before may still use its own; it had ended when this one was launched.
const PREDECESSOR_PATIENCE: Duration = Duration::from_secs(30);
/// What is not handed over.
const LOCK_FILE: &str = "lock";

/// The executor before on this node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Predecessor {
    /// Where it kept its data, if that is known.
    pub(crate) data: Option<PathBuf>,
    /// Whether it works on until this one is up: nothing is begun before it has let go of its data.
    pub(crate) works: bool,
}

/// Waits for the right to use `dir`, and fills it with the data of a predecessor if it holds none. `waits` hears when
/// another executor is in the way. `None` when told to give up.
pub(crate) async fn take_over(
    dir: PathBuf,
    predecessor: Predecessor,
    waits: Arc<Notify>,
    give_up: CancellationToken,
) -> Result<Option<Lock>, Error> {
    let Predecessor { data, works } = predecessor;
    let lock = Lock::acquire(dir.clone(), &waits, give_up.clone());
    let Some(lock) = within(LOCK_PATIENCE, works, lock).await else {
        return Err(Error::Occupied { dir, waited: LOCK_PATIENCE });
    };
    let Some(lock) = lock? else { return Ok(None) };
    if works && data.is_none() && !lock.waited() {
        // It works somewhere else, and nobody said where: when it lets go of its data cannot be seen.
        return Err(Error::BesideUnknown { dir });
    }
    let Some(before) = data.filter(|before| *before != dir) else { return Ok(Some(lock)) };
    let held = match within(PREDECESSOR_PATIENCE, works, lock_of(&before, &waits, &give_up)).await {
        Some(Ok(Some(held))) => held,
        Some(Ok(None)) => return Ok(None),
        // Two at once would ship lines twice and lose positions.
        Some(Err(error)) if works => {
            return Err(Error::Beside { before, source: Box::new(error) });
        }
        Some(Err(error)) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(before = %before.display(), error,
                "the data of the executor before cannot be reached; starting without them");
            return Ok(Some(lock));
        }
        None => {
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

/// What comes of it in time; `None`: nothing. One that comes up beside a working executor has all the time: whoever launched
/// it decides how long that takes.
async fn within<T>(patience: Duration, works: bool, what: impl Future<Output = T>) -> Option<T> {
    if works { Some(what.await) } else { timeout(patience, what).await.ok() }
}

/// The right to use a directory that has to be there.
async fn lock_of(dir: &Path, waits: &Notify, give_up: &CancellationToken) -> Result<Option<Lock>, Error> {
    match fs::metadata(dir) {
        Ok(_) => Lock::acquire(dir.to_owned(), waits, give_up.clone()).await,
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
        let before = Predecessor { data: Some(from.to_owned()), works: false };
        take_over(to.to_owned(), before, Arc::default(), CancellationToken::new()).await.unwrap()
    }

    fn beside(
        to: &Path,
        from: &Path,
        waits: &Arc<Notify>,
    ) -> impl Future<Output = Result<Option<Lock>, Error>> {
        let before = Predecessor { data: Some(from.to_owned()), works: true };
        take_over(to.to_owned(), before, Arc::clone(waits), CancellationToken::new())
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
        let held =
            Lock::acquire(before.path().to_owned(), &Notify::new(), CancellationToken::new()).await.unwrap();
        assert!(take(now.path(), before.path()).await.is_some());
        assert_eq!(files_in(now.path()).unwrap(), 0);
        drop(held);
        assert!(take(now.path(), before.path()).await.is_some());
        assert_eq!(files_in(now.path()).unwrap(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_data_directory_that_stays_in_use_is_an_error_that_says_so() {
        let dir = used();
        let _held =
            Lock::acquire(dir.path().to_owned(), &Notify::new(), CancellationToken::new()).await.unwrap();
        let nobody = Predecessor::default();
        let taken = take_over(dir.path().to_owned(), nobody, Arc::default(), CancellationToken::new());
        let failed = taken.await.unwrap_err();
        assert!(failed.to_string().contains("another executor"), "{failed}");
    }

    #[tokio::test(start_paused = true)]
    async fn beside_a_working_executor_its_data_are_waited_for_as_long_as_it_works_and_then_taken_over() {
        let (before, now) = (used(), tempfile::tempdir().unwrap());
        let held =
            Lock::acquire(before.path().to_owned(), &Notify::new(), CancellationToken::new()).await.unwrap();
        let waits = Arc::new(Notify::new());
        let mut taken = Box::pin(beside(now.path(), before.path(), &waits));
        assert!(timeout(LOCK_PATIENCE * 2, &mut taken).await.is_err(), "it waits longer");
        waits.notified().await;
        assert_eq!(files_in(now.path()).unwrap(), 0);
        drop(held);
        assert!(taken.await.unwrap().is_some());
        assert_eq!(fs::read_to_string(now.path().join("pipelines/positions")).unwrap(), "7");
    }

    #[tokio::test(start_paused = true)]
    async fn beside_a_working_executor_the_same_directory_is_waited_for_as_long() {
        let dir = used();
        let held =
            Lock::acquire(dir.path().to_owned(), &Notify::new(), CancellationToken::new()).await.unwrap();
        let waits = Arc::new(Notify::new());
        let mut taken = Box::pin(beside(dir.path(), dir.path(), &waits));
        assert!(timeout(LOCK_PATIENCE * 2, &mut taken).await.is_err());
        drop(held);
        assert!(taken.await.unwrap().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn beside_an_executor_of_which_nobody_says_where_its_data_are_nothing_is_begun_unless_they_were_here()
     {
        let dir = used();
        let besides = || {
            let before = Predecessor { data: None, works: true };
            take_over(dir.path().to_owned(), before, Arc::default(), CancellationToken::new())
        };
        let failed = besides().await.unwrap_err();
        assert!(failed.to_string().contains("--rollout-overlap"), "{failed}");
        let nobody = Notify::new();
        let held = Lock::acquire(dir.path().to_owned(), &nobody, CancellationToken::new()).await.unwrap();
        let mut waits = Box::pin(besides());
        assert!(timeout(LOCK_PATIENCE, &mut waits).await.is_err());
        drop(held);
        assert!(waits.await.unwrap().is_some());
    }

    #[tokio::test]
    async fn beside_an_executor_whose_data_cannot_be_seen_nothing_is_begun() {
        let now = tempfile::tempdir().unwrap();
        let failed = beside(now.path(), Path::new("/nowhere/at/all"), &Arc::default()).await.unwrap_err();
        assert!(failed.to_string().contains("--rollout-overlap"), "{failed}");
    }
}
