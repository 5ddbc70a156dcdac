//! Streams one file of one container through its spool to a pipeline.
//!
//! ```text
//! docker exec tail ─▶ source.rs ─▶ spool ─▶ feed ─▶ pipeline
//!                                    ▲                 │ acknowledged position
//!                                    └──── save_acks ──┘
//! ```
//! The spool belongs to the tail; reading goes on while a pipeline is replaced. When the spool is full, the source is not
//! read (or, by policy, the oldest whole lines are dropped and counted); when the pipeline is slow, the feed waits.
mod archive;
mod exec;
mod opening;
mod source;

use crate::spool::{Identity, Spool, SpoolError};
use bollard::Docker;
use bytes::Bytes;
use config::settings::SpoolFull;
use exec::Wanted;
use pipeline::{Chunk, Feed};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// How many bytes a chunk has at most.
const CHUNK: usize = 64 * 1024;
/// How many chunks wait for a pipeline; when there are that many, the feed waits.
const CHUNKS: usize = 4;
/// How long to wait before a spool that could not be read is read again, at first and at most.
const FEED_PAUSE_MIN: Duration = Duration::from_millis(200);
const FEED_PAUSE_MAX: Duration = Duration::from_secs(10);

/// What a tail should be doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// Read.
    Reading,
    /// Its container has ended: read what is left, then say that the source is over.
    ContainerEnded,
    /// Stop reading now, and leave nothing in the container.
    Stop,
}

/// What a tail is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum TailState {
    /// Its program is being started.
    #[default]
    Starting,
    /// It has the file open; with the last complaint of `tail`, e.g. that the file was truncated.
    Reading(String),
    /// The spool is full.
    WaitingForRoom,
    /// There is no such file yet, or it may not be read; `tail` goes on trying. Why, in its words.
    Waiting(String),
    /// It is tried again soon; why.
    NotReading(String),
    /// The container has ended; what was read is shipped.
    Ended,
}

impl fmt::Display for TailState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TailState::Starting => f.write_str("starting"),
            TailState::Reading(said) if said.is_empty() => f.write_str("reading"),
            TailState::Reading(said) => write!(f, "reading; tail says: {said}"),
            TailState::WaitingForRoom => f.write_str("waiting for room in the spool"),
            TailState::Waiting(why) => write!(f, "waiting for the file: {why}"),
            TailState::NotReading(reason) => write!(f, "not reading: {reason}"),
            TailState::Ended => f.write_str("the container ended"),
        }
    }
}

/// What a tail is doing, for the report. Positions are offsets in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TailStatus {
    pub(crate) path: String,
    pub(crate) state: TailState,
    pub(crate) read_position: u64,
    pub(crate) acknowledged_position: u64,
    pub(crate) spool_bytes: u64,
    pub(crate) dropped_lines: u64,
    /// Why what was read does not go on to the pipeline at present; empty: it does.
    pub(crate) held_up: String,
}

/// How spools are kept.
#[derive(Clone, Debug)]
pub(crate) struct SpoolRules {
    /// The directory of the spool files.
    pub(crate) dir: PathBuf,
    /// The most bytes in one spool.
    pub(crate) cap: u64,
    /// What happens when one is full.
    pub(crate) full: SpoolFull,
}

impl SpoolRules {
    /// The spool file of a source: a hash, since neither ids nor paths are file names.
    pub(crate) fn file(&self, identity: &Identity) -> PathBuf {
        use sha2::{Digest, Sha256};
        let mut hasher = Sha256::new();
        for part in [&identity.container, &identity.path, &identity.nth.to_string()] {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        let name: String = hasher.finalize().iter().take(12).map(|b| format!("{b:02x}")).collect();
        self.dir.join(format!("{name}.spool"))
    }
}

/// One file of one container, being read.
#[derive(Debug)]
pub(crate) struct Tail {
    shared: Arc<Shared>,
    life: watch::Sender<Life>,
    tasks: JoinSet<()>,
    acks_over: CancellationToken,
    feed: Option<(CancellationToken, JoinSet<()>)>,
}

impl Tail {
    /// Opens the spool and, when there is a daemon to ask, starts reading into it. Without one, it only hands out what the
    /// spool holds and then says that the source is over.
    pub(crate) async fn start(
        identity: Identity,
        rules: &SpoolRules,
        docker: Option<Docker>,
        from_end: bool,
    ) -> Result<Self, SpoolError> {
        let file = rules.file(&identity);
        let mut start = 0;
        if let (true, false, Some(docker)) = (from_end, file.exists(), &docker) {
            start = match exec::file_size(docker, &identity.container, &identity.path).await {
                Ok(size) => size,
                Err(reason) => {
                    tracing::warn!(
                        path = identity.path,
                        reason,
                        "the size is unknown: reading from the start"
                    );
                    0
                }
            };
        }
        let cap = rules.cap;
        let opened = {
            let (file, identity) = (file.clone(), identity.clone());
            blocking(move || open_or_set_aside(&file, &identity, cap, start)).await?
        };
        let shared = Arc::new(Shared::new(opened, identity, file.with_extension("exec"), rules.full));
        let (life, watch_life) = watch::channel(Life::Reading);
        let acks_over = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(save_acks(shared.clone(), acks_over.clone()));
        match docker {
            Some(docker) => {
                tasks.spawn(source::read_source(shared.clone(), docker, watch_life));
            }
            None => {
                shared.source_ended();
            }
        }
        Ok(Self { shared, life, tasks, acks_over, feed: None })
    }

    /// Connects a pipeline, from what is acknowledged on. A pipeline that was connected before gets nothing more.
    pub(crate) async fn attach(&mut self, input: usize) -> Feed {
        self.detach().await;
        if let Err(error) = self.shared.rewind().await {
            self.shared.note_failure(&error);
        }
        let (sender, chunks) = mpsc::channel(CHUNKS);
        let over = CancellationToken::new();
        let mut task = JoinSet::new();
        task.spawn(feed(self.shared.clone(), sender, over.clone()));
        self.feed = Some((over, task));
        let shared = self.shared.clone();
        let acked = Arc::new(move |position| {
            shared.acked.fetch_max(position, Ordering::AcqRel);
            shared.acked_more.notify_one();
        });
        Feed { input, path: self.shared.path.clone(), chunks, acked }
    }

    /// Disconnects the pipeline.
    pub(crate) async fn detach(&mut self) {
        if let Some((over, mut task)) = self.feed.take() {
            over.cancel();
            // Not aborted: a stretch that is being taken is taken before the next pipeline rewinds.
            while task.join_next().await.is_some() {}
        }
    }

    /// Says that the container has ended.
    pub(crate) fn container_ended(&self) {
        self.life.send_if_modified(|life| {
            let ends = *life == Life::Reading;
            if ends {
                *life = Life::ContainerEnded;
            }
            ends
        });
    }

    /// Whether the source is over and everything that was read of it is acknowledged.
    pub(crate) fn is_drained(&self) -> bool {
        self.shared.ended.is_cancelled() && self.status().spool_bytes == 0
    }

    /// Stops reading; what is in the spool is still handed out. [`Tail::stop`] must follow.
    pub(crate) fn stop_reading(&self) {
        self.life.send_replace(Life::Stop);
    }

    /// The file in the container, and which of several feeds of it.
    pub(crate) fn key(&self) -> (&str, usize) {
        (&self.shared.path, self.shared.nth)
    }

    /// What it is doing.
    pub(crate) fn status(&self) -> TailStatus {
        self.shared.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops reading, leaves nothing running in the container, and saves the last acknowledged position.
    pub(crate) async fn stop(mut self) {
        self.stop_reading();
        self.detach().await;
        self.acks_over.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Opens a spool; one that is damaged is set aside, and the source is read from the start again.
fn open_or_set_aside(path: &Path, identity: &Identity, cap: u64, start: u64) -> Result<Spool, SpoolError> {
    match Spool::open(path, identity, cap, start) {
        Err(error @ SpoolError::Damaged { .. }) => {
            let aside = path.with_extension("damaged");
            tracing::warn!(%error, aside = %aside.display(), "a spool was set aside; its file is read again");
            std::fs::rename(path, &aside).map_err(|source| SpoolError::Io {
                operation: "set aside",
                path: path.to_owned(),
                source,
            })?;
            Spool::open(path, identity, cap, start)
        }
        other => other,
    }
}

/// What the tasks of a tail share.
#[derive(Debug)]
struct Shared {
    container: String,
    path: String,
    nth: usize,
    /// Where the id of an unguarded exec is noted.
    exec_file: PathBuf,
    full: SpoolFull,
    /// Locked only on blocking threads.
    spool: Arc<Mutex<Spool>>,
    status: Arc<Mutex<TailStatus>>,
    acked: AtomicU64,
    acked_more: Notify,
    grown: Notify,
    freed: Notify,
    ended: CancellationToken,
}

impl Shared {
    fn new(spool: Spool, identity: Identity, exec_file: PathBuf, full: SpoolFull) -> Self {
        let mut status = TailStatus { path: identity.path.clone(), ..TailStatus::default() };
        status.fill(&spool);
        Self {
            container: identity.container,
            path: identity.path,
            nth: identity.nth,
            exec_file,
            full,
            acked: AtomicU64::new(spool.acked()),
            spool: Arc::new(Mutex::new(spool)),
            status: Arc::new(Mutex::new(status)),
            acked_more: Notify::new(),
            grown: Notify::new(),
            freed: Notify::new(),
            ended: CancellationToken::new(),
        }
    }

    /// Does something with the spool on a thread that may block.
    async fn spool<R: Send + 'static>(&self, act: impl FnOnce(&mut Spool) -> R + Send + 'static) -> R {
        let (spool, status) = (self.spool.clone(), self.status.clone());
        blocking(move || {
            let mut spool = spool.lock().unwrap_or_else(PoisonError::into_inner);
            let result = act(&mut spool);
            // Under the lock of the spool, so that the last figures shown are the last there were.
            status.lock().unwrap_or_else(PoisonError::into_inner).fill(&spool);
            result
        })
        .await
    }

    /// Sets what it is doing, and answers what it was doing before.
    fn set_state(&self, state: TailState) -> TailState {
        std::mem::replace(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner).state, state)
    }

    fn set_held_up(&self, why: String) {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).held_up = why;
    }

    fn note_failure(&self, error: &SpoolError) {
        tracing::error!(error = error as &dyn std::error::Error, "a spool cannot be used");
        self.set_state(TailState::NotReading(error.to_string()));
    }

    fn source_ended(&self) {
        self.set_state(TailState::Ended);
        self.ended.cancel();
        self.grown.notify_one();
    }

    /// What to read next, and the bytes just before it.
    async fn wanted(&self) -> (Wanted, Bytes) {
        let (known, recent) =
            self.spool(|s| (s.end() - s.origin().min(s.end()), Bytes::copy_from_slice(s.recent()))).await;
        let from = known - (recent.len() as u64).min(known);
        (Wanted { container: self.container.clone(), path: self.path.clone(), from, known }, recent)
    }

    async fn push_some(&self, bytes: Bytes) -> Result<usize, SpoolError> {
        let taken = self.spool(move |s| s.push(&bytes)).await?;
        self.grown.notify_one();
        Ok(taken)
    }

    /// Hands out again from what is acknowledged on, saved or not.
    async fn rewind(&self) -> Result<(), SpoolError> {
        let position = self.acked.load(Ordering::Acquire);
        self.spool(move |s| {
            let saved = s.ack(position);
            s.rewind();
            saved
        })
        .await
    }

    /// Pushes all of `bytes`; waits while the spool is full, or drops the oldest lines. Gives up when told to stop: what
    /// was not pushed is read again. Nothing is pushed from then on, for it would follow a gap.
    async fn push_all(&self, mut bytes: Bytes, life: &watch::Receiver<Life>) -> Result<(), SpoolError> {
        while *life.borrow() != Life::Stop {
            let taken = self.push_some(bytes.clone()).await?;
            drop(bytes.split_to(taken));
            if bytes.is_empty() {
                return Ok(());
            }
            if self.full == SpoolFull::DropOldest && self.spool(|s| s.drop_oldest()).await? > 0 {
                continue;
            }
            if self.spool(|s| s.release_overlong_line()).await? {
                tracing::warn!(
                    path = self.path,
                    "a line is longer than the spool: its beginning is not kept"
                );
                continue;
            }
            let before = self.set_state(TailState::WaitingForRoom);
            tokio::select! {
                () = self.freed.notified() => self.set_state(before),
                () = told_to_stop(life) => return Ok(()),
            };
        }
        Ok(())
    }
}

/// Waits until the tail is told to stop, or is dropped.
async fn told_to_stop(life: &watch::Receiver<Life>) {
    // An error says that the owner is gone: the same thing.
    drop(life.clone().wait_for(|life| *life == Life::Stop).await);
}

impl TailStatus {
    /// What it is doing, for people.
    pub(crate) fn in_words(&self) -> String {
        if self.held_up.is_empty() {
            self.state.to_string()
        } else {
            format!("{}; {}", self.state, self.held_up)
        }
    }

    fn fill(&mut self, spool: &Spool) {
        self.read_position = spool.end().saturating_sub(spool.origin());
        self.acknowledged_position = spool.acked().saturating_sub(spool.origin());
        self.spool_bytes = spool.held();
        self.dropped_lines = spool.dropped_lines();
    }
}

/// Hands the spool's bytes to a pipeline, in order; closes the channel after the last one of a source that is over. While
/// the spool cannot be read the channel stays open, for its end would make an event of half a line.
async fn feed(shared: Arc<Shared>, sender: mpsc::Sender<Chunk>, over: CancellationToken) {
    let mut pause = FEED_PAUSE_MIN;
    while !over.is_cancelled() {
        let ended = shared.ended.is_cancelled();
        match shared.spool(|s| s.take(CHUNK)).await {
            Ok(Some(stretch)) => {
                if pause != FEED_PAUSE_MIN {
                    tracing::info!(path = shared.path, "a spool can be read again");
                    shared.set_held_up(String::new());
                    pause = FEED_PAUSE_MIN;
                }
                let chunk = Chunk { bytes: stretch.bytes, end: stretch.end };
                tokio::select! {
                    sent = sender.send(chunk) => if sent.is_err() { return },
                    () = over.cancelled() => return,
                }
            }
            Ok(None) if ended => return,
            Ok(None) => {
                tokio::select! {
                    () = shared.grown.notified() => {}
                    () = over.cancelled() => return,
                }
            }
            Err(error) => {
                if pause == FEED_PAUSE_MIN {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, path = shared.path, "a spool cannot be read; trying again");
                }
                let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
                shared.set_held_up(format!("cannot {error}{}", cause.unwrap_or_default()));
                tokio::select! {
                    () = sleep_until(Instant::now() + pause) => {}
                    () = over.cancelled() => return,
                }
                pause = (pause * 2).min(FEED_PAUSE_MAX);
            }
        }
    }
}

/// Saves acknowledged positions as they come; many at once become one.
async fn save_acks(shared: Arc<Shared>, over: CancellationToken) {
    loop {
        let last = tokio::select! {
            () = shared.acked_more.notified() => false,
            () = over.cancelled() => true,
        };
        let position = shared.acked.load(Ordering::Acquire);
        if let Err(error) = shared.spool(move |s| s.ack(position)).await {
            shared.note_failure(&error);
        }
        shared.freed.notify_one();
        if last {
            return;
        }
    }
}

async fn blocking<R: Send + 'static>(act: impl FnOnce() -> R + Send + 'static) -> R {
    match tokio::task::spawn_blocking(act).await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(dir: &Path) -> Shared {
        let identity = Identity {
            container: "c".into(),
            name: "n".into(),
            image: "i".into(),
            path: "/l".into(),
            nth: 0,
        };
        let spool = Spool::open(&dir.join("s.spool"), &identity, 0, 0).unwrap();
        Shared::new(spool, identity, dir.join("s.exec"), SpoolFull::Wait)
    }

    #[tokio::test]
    async fn nothing_follows_the_gap_that_a_stop_leaves_in_a_full_spool() {
        let dir = tempfile::tempdir().unwrap();
        let shared = shared(dir.path());
        let (life, watch_life) = watch::channel(Life::Reading);
        let lines = Bytes::from(b"line\n".repeat(5000));
        let full = shared.push_all(lines.clone(), &watch_life);
        let stop = async { life.send_replace(Life::Stop) };
        let (pushed, _) = tokio::join!(full, stop);
        pushed.unwrap();
        let end = shared.spool(|s| s.end()).await;
        assert!(end < lines.len() as u64);
        shared.spool(move |s| s.ack(end)).await.unwrap();
        shared.push_all(lines, &watch_life).await.unwrap();
        assert_eq!(shared.spool(|s| s.end()).await, end);
    }

    #[tokio::test]
    async fn what_is_acknowledged_is_not_handed_out_again_though_it_is_not_saved_yet() {
        let dir = tempfile::tempdir().unwrap();
        let shared = shared(dir.path());
        shared.push_some(Bytes::from_static(b"one\ntwo\n")).await.unwrap();
        shared.acked.store(4, Ordering::Release);
        shared.rewind().await.unwrap();
        let next = shared.spool(|s| s.take(CHUNK)).await.unwrap().unwrap();
        assert_eq!((&next.bytes[..], next.end), (&b"two\n"[..], 8));
    }

    #[tokio::test]
    async fn a_spool_that_cannot_be_read_for_a_while_holds_its_feed_up_and_does_not_end_it() {
        let dir = tempfile::tempdir().unwrap();
        let shared = Arc::new(shared(dir.path()));
        shared.push_some(Bytes::from_static(b"one\nhalf")).await.unwrap();
        let file = dir.path().join("s.spool");
        let whole = std::fs::read(&file).unwrap();
        std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(9000).unwrap();
        let (sender, mut chunks) = mpsc::channel(CHUNKS);
        let mut tasks = JoinSet::new();
        tasks.spawn(feed(shared.clone(), sender, CancellationToken::new()));
        let ended = tokio::time::timeout(FEED_PAUSE_MIN / 2, chunks.recv()).await;
        assert!(ended.is_err(), "the channel is open and nothing came: {ended:?}");
        let status = shared.status.lock().unwrap().clone();
        assert!(status.in_words().contains("cannot read spool"), "{}", status.in_words());
        std::fs::write(&file, whole).unwrap();
        let chunk = chunks.recv().await.unwrap();
        assert_eq!((&chunk.bytes[..], chunk.end), (&b"one\nhalf"[..], 8));
        assert_eq!(shared.status.lock().unwrap().held_up, "");
        tasks.abort_all();
    }
}
