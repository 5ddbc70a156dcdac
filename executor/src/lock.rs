//! Locks the data directory, so that two executors never write the same spools: the newer one waits.
use crate::Error;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The right to use a data directory. It ends with this process, however that ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
    waited: bool,
}

impl Lock {
    /// Waits until no other executor uses `dir`, and says so at the beginning; `None` when told to give up.
    pub(crate) async fn acquire(
        dir: PathBuf,
        waits: &Notify,
        give_up: CancellationToken,
    ) -> Result<Option<Self>, Error> {
        let path = dir.join("lock");
        let failed = |source| Error::DataDir { path: path.clone(), source };
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        let mut waited = false;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK | Errno::INTR) => {}
                Err(error) => return Err(failed(error.into())),
            }
            if !waited {
                tracing::info!(dir = %dir.display(), "another executor uses the data directory; waiting for its end");
                waited = true;
                waits.notify_one();
            }
            tokio::select! {
                () = sleep_until(Instant::now() + LOOK_EVERY) => {}
                () = give_up.cancelled() => return Ok(None),
            }
        }
        // For people who wonder; nobody reads it back.
        let noted = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        noted.map_err(failed)?;
        Ok(Some(Self { _file: file, waited }))
    }

    /// Whether another executor had it before.
    pub(crate) fn waited(&self) -> bool {
        self.waited
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_second_one_says_that_it_waits_and_waits_for_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let (never, waits) = (CancellationToken::new(), Notify::new());
        let first = Lock::acquire(dir.path().to_owned(), &waits, never.clone()).await.unwrap().unwrap();
        assert!(tokio::time::timeout(LOOK_EVERY, waits.notified()).await.is_err(), "nobody was waited for");
        let given_up = CancellationToken::new();
        given_up.cancel();
        let nobody = Notify::new();
        assert!(Lock::acquire(dir.path().to_owned(), &nobody, given_up).await.unwrap().is_none());
        let second = Lock::acquire(dir.path().to_owned(), &waits, never);
        let mut second = Box::pin(second);
        assert!(tokio::time::timeout(LOOK_EVERY * 2, &mut second).await.is_err());
        waits.notified().await;
        drop(first);
        assert!(second.await.unwrap().is_some());
    }
}
