//! Wakes a tail that waits when something changes in its directories.
//!
//! It is only a hint: directories that cannot be watched (too many watches, a network file system) are polled as
//! before. It is armed only while a tail has nothing to do, so that a busy log costs no notifications.
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::BTreeSet;
use std::path::PathBuf;
use tokio::sync::mpsc;
use tracing::debug;

/// The most directories that are watched.
const WATCHED_MAX: usize = 64;

/// A watch on directories.
pub(crate) struct Wake {
    watcher: Option<RecommendedWatcher>,
    armed: BTreeSet<PathBuf>,
    changes: mpsc::Receiver<()>,
}

impl Wake {
    /// A watch on nothing yet.
    pub(crate) fn new() -> Self {
        // One change that waits is as good as many.
        let (changed, changes) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let worth = event.map_or(true, |event| !matches!(event.kind, EventKind::Access(_)));
            if worth {
                let _full_or_gone = changed.try_send(());
            }
        });
        if let Err(error) = &watcher {
            debug!(%error, "no notifications about files; they are polled");
        }
        Self { watcher: watcher.ok(), armed: BTreeSet::new(), changes }
    }

    /// Watches these directories and no others. Returns whether that is news: then something may have changed before.
    pub(crate) fn arm(&mut self, directories: BTreeSet<PathBuf>) -> bool {
        let wanted: BTreeSet<PathBuf> = directories.into_iter().take(WATCHED_MAX).collect();
        if wanted == self.armed {
            return false;
        }
        let Some(watcher) = &mut self.watcher else { return false };
        for gone in self.armed.difference(&wanted) {
            // A directory that is gone is no longer watched anyway.
            let _gone = watcher.unwatch(gone);
        }
        for new in wanted.difference(&self.armed) {
            if let Err(error) = watcher.watch(new, RecursiveMode::NonRecursive) {
                debug!(directory = %new.display(), %error, "directory cannot be watched; it is polled");
            }
        }
        self.armed = wanted;
        true
    }

    /// Waits for a change; for ever if nothing can be watched.
    pub(crate) async fn changed(&mut self) {
        if self.changes.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}
