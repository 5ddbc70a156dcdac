//! Watches a directory of configs: what appears, changes or goes there is an edit like any other.
//!
//! `docker/web/nginx.conf` and `docker/web%2Fnginx.conf` both mean the image config `web/nginx`; `host/all.conf` means the
//! host config `all`. A file with an error changes nothing that runs; its problems are shown until it is right. Files that
//! are all gone at once delete nothing: a directory that was not mounted looks just like that.
mod files;

use crate::revisions::{FileEdit, Published};
use crate::state::{Origin, SeenFile, StoredFleet};
use config::document::{Key, Kind};
use files::{Found, Listing, read};
use notify::Watcher;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use web::edit::{Edit, Expect, Refused};
use web::view::FileProblem;

/// How often the directory is read without any sign of a change: the watch may have missed one.
const RESCAN: Duration = Duration::from_secs(10);
/// Editors write in several steps; so long after a sign of a change the directory is read.
const SETTLE: Duration = Duration::from_millis(100);

/// What a scan means.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Meant {
    /// What is to be edited, and by which file.
    pub(crate) edits: Vec<(Edit, SeenFile)>,
    /// Files that cannot even be tried, and folders that cannot be believed: path and why.
    pub(crate) unusable: Vec<(String, String)>,
    /// Files that are as they were when they were last tried.
    pub(crate) known: BTreeSet<String>,
}

/// Decides what files mean. `tried` holds the hash of each file when it was last taken in or refused for its text.
///
/// A config that a person deletes while its file stays is put again when the file changes, or when the scheduler starts
/// anew: the file is still what the directory says.
pub(crate) fn meaning(found: &[Found], stored: &StoredFleet, tried: &BTreeMap<String, String>) -> Meant {
    let mut meant = Meant::default();
    let mut claimed: BTreeMap<&Key, &str> = BTreeMap::new();
    for file in found {
        let (key, text) = match (&file.key, &file.text) {
            (Ok(key), Ok(text)) => (key, text),
            (Err(why), _) | (_, Err(why)) => {
                meant.unusable.push((file.path.clone(), why.clone()));
                continue;
            }
        };
        if let Some(other) = claimed.get(key) {
            meant
                .unusable
                .push((file.path.clone(), format!("`{other}` is about the same config; remove one of them")));
            continue;
        }
        claimed.insert(key, &file.path);
        let seen = SeenFile { path: file.path.clone(), hash: hash(text) };
        let taken_in = stored.origins.get(key).and_then(Origin::file) == Some(&seen);
        if taken_in || tried.get(&file.path) == Some(&seen.hash) {
            meant.known.insert(file.path.clone());
            continue;
        }
        let edit = Edit::Put { key: key.clone(), text: text.clone(), expect: Expect::Any };
        meant.edits.push((edit, seen));
    }
    let there: BTreeSet<&str> = found.iter().map(|file| file.path.as_str()).collect();
    for (key, origin) in &stored.origins {
        let Origin::File(seen) = origin else { continue };
        let document = stored.fleet.documents.get(key);
        if let Some(document) =
            document.filter(|_| !there.contains(seen.path.as_str()) && !claimed.contains_key(key))
        {
            let edit = Edit::Delete { key: key.clone(), expect: Expect::At(document.revision) };
            meant.edits.push((edit, seen.clone()));
        }
    }
    meant
}

/// Takes back the deletions of a kind whose folder is gone, or whose files are all gone at once: that is how a directory
/// looks that is not mounted. A single file that is gone was removed.
pub(crate) fn doubt(mut meant: Meant, listing: &Listing) -> Meant {
    for kind in [Kind::Docker, Kind::Host] {
        let deletes = |edit: &Edit| matches!(edit, Edit::Delete { key, .. } if key.kind == kind);
        let count = meant.edits.iter().filter(|(edit, _)| deletes(edit)).count();
        let below = format!("{kind}/");
        let why = if count == 0 {
            continue;
        } else if !listing.folders.contains(&kind) {
            "is gone; is it mounted? To delete them, make it again, empty but for what is to stay"
        } else if count > 1 && !listing.files.iter().any(|file| file.path.starts_with(&below)) {
            "has lost all its files at once; is it mounted? To delete them, do so on the page or with the REST API"
        } else {
            continue;
        };
        meant.edits.retain(|(edit, _)| !deletes(edit));
        let configs = if count == 1 { "config" } else { "configs" };
        meant
            .unusable
            .push((below, format!("{count} {configs} from files stay as they were: this folder {why}")));
    }
    meant
}

/// The directory and what is known of its files.
pub(crate) struct ConfigDir {
    pub(crate) root: PathBuf,
    pub(crate) published: watch::Receiver<Arc<Published>>,
    pub(crate) edits: mpsc::Sender<FileEdit>,
    pub(crate) problems: watch::Sender<Vec<FileProblem>>,
}

impl ConfigDir {
    /// Watches until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let (changed, mut changes) = mpsc::channel(1);
        let _watcher = watch_directory(&self.root, changed);
        let mut rescan = interval(RESCAN);
        rescan.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tried = BTreeMap::new();
        let mut refused = BTreeMap::new();
        loop {
            let noticed = tokio::select! {
                () = stop.cancelled() => return,
                _ = rescan.tick() => false,
                noticed = changes.recv() => noticed.is_some(),
            };
            if noticed {
                tokio::time::sleep(SETTLE).await;
                while changes.try_recv().is_ok() {}
            }
            let scanning = tokio::select! {
                () = stop.cancelled() => return,
                done = self.scan(&mut tried, &mut refused) => done,
            };
            let problems = scanning.unwrap_or_else(|why| {
                let path = self.root.display().to_string();
                vec![FileProblem { path, reason: why, problems: Vec::new() }]
            });
            self.problems.send_replace(problems);
        }
    }

    /// Reads the directory once and has every edit made that it means.
    async fn scan(
        &self,
        tried: &mut BTreeMap<String, String>,
        refused: &mut BTreeMap<String, FileProblem>,
    ) -> Result<Vec<FileProblem>, String> {
        let root = self.root.clone();
        let reading = tokio::task::spawn_blocking(move || read(&root)).await;
        let listing = reading.map_err(|e| e.to_string())??;
        tried.retain(|path, _| listing.files.iter().any(|file| file.path == *path));
        let stored = self.published.borrow().stored.clone();
        let meant = doubt(meaning(&listing.files, &stored, tried), &listing);
        refused.retain(|path, _| meant.known.contains(path));
        for (edit, file) in meant.edits {
            let (path, hash) = (file.path.clone(), file.hash.clone());
            let (reply, answer) = oneshot::channel();
            let asked = self.edits.send(FileEdit { edit, file, reply }).await;
            let result = match (asked, answer.await) {
                (Ok(()), Ok(result)) => result,
                _ => return Err("the scheduler is stopping".to_owned()),
            };
            match result {
                Ok(_) => drop(tried.insert(path, hash)),
                Err(Refused::Invalid(problems)) => {
                    tried.insert(path.clone(), hash);
                    let reason = "the text has errors; what ran before still runs".to_owned();
                    refused.insert(path.clone(), FileProblem { path, reason, problems });
                }
                // Nothing about the text: the next scan tries again.
                Err(other) => {
                    let reason = format!("{other}; trying again");
                    refused.insert(path.clone(), FileProblem { path, reason, problems: Vec::new() });
                }
            }
        }
        let unusable = meant.unusable.into_iter();
        let unusable = unusable.map(|(path, reason)| FileProblem { path, reason, problems: Vec::new() });
        Ok(refused.values().cloned().chain(unusable).collect())
    }
}

/// Says that something changed below `root`, at most once until it is heard. Without a watch there are the rescans.
fn watch_directory(root: &Path, changed: mpsc::Sender<()>) -> Option<notify::RecommendedWatcher> {
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access())
            && let Err(mpsc::error::TrySendError::Closed(())) = changed.try_send(())
        {
            tracing::debug!("nobody listens to changes of the config directory any more");
        }
    });
    let watching = watcher.and_then(|mut watcher| {
        watcher.watch(root, notify::RecursiveMode::Recursive)?;
        Ok(watcher)
    });
    watching
        .map_err(|error| tracing::warn!(dir = %root.display(), %error, "cannot watch the config directory; reading it every few seconds"))
        .ok()
}

fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
