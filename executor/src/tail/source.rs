//! Reads a file of a container into its spool until the container or the wish to read it ends.
use super::archive::{FirstFile, FromPosition, Part};
use super::exec::{Exec, Reader, THERE_NOW, Wanted, kill_by_host_pid};
use super::opening::{Opening, RENAMED, Verdict, Word, one_line, says_source_starts_anew, says_whether_open};
use super::{Life, Shared, TailState, told_to_stop};
use crate::spool::SpoolError;
use bollard::Docker;
use bollard::container::LogOutput;
use bollard::query_parameters::DownloadFromContainerOptionsBuilder;
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

/// How much output is written to the spool at once.
const BATCH: usize = 256 * 1024;
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How long the output of an exec may take to end after its container did.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// A `tail` that cannot open its file says so at once; one that runs and has said nothing for so long has it open.
const COMPLAINS_WITHIN: Duration = Duration::from_secs(2);
/// A file that has lost its name is read until nothing came of it for so long: an application may write to it until it opens the
/// new one. It is longer than busybox' `tail` waits between two looks.
const QUIET: Duration = Duration::from_secs(3);
/// How long its bytes are waited for, all together, where something is written to it again and again: then somebody never opens
/// the new one, which is not to wait for ever.
const RENAMED_MAX: Duration = Duration::from_secs(300);
/// The longest line of complaint that is looked at.
const COMPLAINT_MAX: usize = 4096;

/// How one exec ended.
#[derive(Debug)]
enum Outcome {
    /// We wanted it.
    Stopped,
    /// What comes next is another file.
    StartsAnew,
    /// It is to be read once more from where it was left: now the file is there.
    Again,
    /// The container has no `sh`.
    NoShell,
    /// It ended without being told to, or did not start.
    Ended {
        /// Why.
        reason: String,
        /// Whether it had delivered anything.
        delivered: bool,
    },
}

/// Reads until `life` says otherwise; after the container's end, the rest of the file too.
pub(super) async fn read_source(shared: Arc<Shared>, docker: Docker, mut life: watch::Receiver<Life>) {
    end_leftover(&shared, &docker).await;
    let (mut reader, mut pause) = (Reader::Guarded, PAUSE_MIN);
    // Reads the file that has taken the name of the one that is read, so that it is not lost when it is renamed, too.
    let mut next = None;
    while *life.borrow_and_update() == Life::Reading {
        match read_once(&shared, &docker, reader, &mut next, &mut life).await {
            Ok(Outcome::Stopped | Outcome::Again) => {}
            Ok(Outcome::StartsAnew) => {
                tracing::info!(path = shared.path, container = shared.container, "the file starts anew");
                if let Err(error) = shared.spool(|s| s.source_starts_anew()).await {
                    shared.note_failure(&error);
                }
            }
            Ok(Outcome::NoShell) => {
                tracing::info!(container = shared.container, "no sh in the container: tail runs unguarded");
                reader = Reader::Direct;
            }
            Ok(Outcome::Ended { reason, delivered }) => {
                pause = if delivered { PAUSE_MIN } else { pause };
                shared.set_state(TailState::NotReading(reason));
                wait(pause, &mut life).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
            Err(error) => {
                shared.note_failure(&error);
                wait(PAUSE_MAX, &mut life).await;
            }
        }
    }
    if let Some(exec) = next {
        exec.stop().await;
    }
    if *life.borrow() == Life::ContainerEnded {
        shared.set_state(TailState::Ended);
        if let Err(reason) = read_rest(&shared, &docker, &life).await {
            tracing::info!(
                path = shared.path,
                container = shared.container,
                reason,
                "no last look at a file"
            );
        }
        shared.source_ended();
    }
}

async fn wait(pause: Duration, life: &mut watch::Receiver<Life>) {
    tokio::select! {
        () = sleep_until(Instant::now() + pause) => {}
        _ = life.changed() => life.mark_changed(),
    }
}

/// Ends the unguarded process that an executor before us may have left, if it was killed.
async fn end_leftover(shared: &Shared, docker: &Docker) {
    if let Ok(exec) = std::fs::read_to_string(&shared.exec_file) {
        kill_by_host_pid(docker, exec.trim()).await;
        remove(&shared.exec_file);
    }
}

fn remove(path: &std::path::Path) {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "a file could not be removed");
    }
}

async fn read_once(
    shared: &Arc<Shared>,
    docker: &Docker,
    reader: Reader,
    next: &mut Option<Exec>,
    life: &mut watch::Receiver<Life>,
) -> Result<Outcome, SpoolError> {
    let (wanted, overlap) = shared.wanted().await;
    // What was begun for the file as it is now is of use only from its first byte on.
    let begun = match next.take() {
        Some(exec) if wanted.known == 0 => Some(exec),
        Some(exec) => {
            exec.stop().await;
            None
        }
        None => None,
    };
    let started = match begun {
        Some(exec) => Ok(exec),
        None => Exec::start(docker, reader, &wanted).await,
    };
    let exec = match started {
        Ok(exec) => exec,
        Err(error) => return Ok(Outcome::Ended { reason: error.to_string(), delivered: false }),
    };
    let opening = match reader {
        Reader::Guarded => Opening::guarded(overlap),
        Reader::Direct => {
            if let Err(error) = std::fs::write(&shared.exec_file, &exec.id) {
                tracing::warn!(%error, "the id of an exec could not be noted");
            }
            Opening::direct(overlap)
        }
    };
    let mut stream = Output {
        shared,
        exec,
        opening,
        reader,
        delivered: false,
        opened: false,
        said: BytesMut::new(),
        complaint: String::new(),
        pending: BytesMut::new(),
        renamed: false,
        next: None,
    };
    let outcome = stream.run(docker, life).await;
    let Output { exec, renamed, next: begun, .. } = stream;
    *next = begun;
    let outcome = match outcome {
        // Nothing more comes of it, and the file of its name is another one.
        Ok(Outcome::Ended { .. } | Outcome::Stopped) if renamed && *life.borrow() != Life::Stop => {
            Ok(Outcome::StartsAnew)
        }
        other => other,
    };
    match (&outcome, reader) {
        (Ok(Outcome::Ended { .. } | Outcome::NoShell | Outcome::Again), _) => {}
        (_, Reader::Guarded) => exec.stop().await,
        (_, Reader::Direct) => exec.kill().await,
    }
    if reader == Reader::Direct {
        remove(&shared.exec_file);
    }
    outcome
}

/// The output of one exec on its way into the spool.
struct Output<'a> {
    shared: &'a Arc<Shared>,
    exec: Exec,
    opening: Opening,
    reader: Reader,
    delivered: bool,
    /// Whether it is known if `tail` has the file open: the state says which.
    opened: bool,
    /// The beginning of a line of complaint.
    said: BytesMut,
    complaint: String,
    pending: BytesMut,
    /// Whether the file has lost its name to another one.
    renamed: bool,
    /// Reads that one; nothing of it is taken yet.
    next: Option<Exec>,
}

impl Output<'_> {
    async fn run(
        &mut self,
        docker: &Docker,
        life: &mut watch::Receiver<Life>,
    ) -> Result<Outcome, SpoolError> {
        let mut last_words: Option<Instant> = None;
        let (mut quiet_since, mut waited) = (Instant::now(), Duration::ZERO);
        let silent_until = Instant::now() + COMPLAINS_WITHIN;
        loop {
            if self.renamed && self.next.is_none() {
                self.begin_next(docker).await;
            }
            let waits_from = Instant::now();
            let left_at = self
                .renamed
                .then(|| (quiet_since + QUIET).min(waits_from + RENAMED_MAX.saturating_sub(waited)));
            let item = tokio::select! {
                // What came is taken before anything is decided by the time.
                biased;
                item = self.exec.output.next() => item,
                () = sleep_until(left_at.unwrap_or_else(Instant::now)), if left_at.is_some() => {
                    return Ok(Outcome::StartsAnew);
                }
                _ = life.changed(), if last_words.is_none() => {
                    match *life.borrow_and_update() {
                        Life::Reading => continue,
                        Life::Stop => return Ok(Outcome::Stopped),
                        Life::ContainerEnded => last_words = Some(Instant::now() + LAST_WORDS),
                    }
                    continue;
                }
                () = sleep_until(silent_until), if !self.opened => {
                    self.opened = true;
                    if self.exec.is_running().await == Some(true) {
                        self.shared.set_state(TailState::Reading(String::new()));
                    }
                    continue;
                }
                () = sleep_until(last_words.unwrap_or_else(Instant::now)), if last_words.is_some() => {
                    return Ok(Outcome::Stopped);
                }
            };
            if self.renamed {
                waited += waits_from.elapsed();
            }
            let mut next = item;
            loop {
                let over = match next {
                    Some(Ok(item)) => self.take(item).await?,
                    Some(Err(error)) => Some(self.ended(&error.to_string()).await),
                    None => Some(self.ended("").await),
                };
                if over.is_some() || self.pending.len() >= BATCH {
                    self.flush(life).await?;
                }
                if let Some(outcome) = over {
                    return Ok(outcome);
                }
                match self.exec.output.next().now_or_never() {
                    Some(more) => next = more,
                    None => break,
                }
            }
            self.flush(life).await?;
            quiet_since = Instant::now();
            if *life.borrow() == Life::Stop {
                return Ok(Outcome::Stopped);
            }
            if waited >= RENAMED_MAX {
                return Ok(Outcome::StartsAnew);
            }
        }
    }

    /// Begins to read the file that has the name now. If that does not work it is begun when its turn comes.
    async fn begin_next(&mut self, docker: &Docker) {
        let (container, path) = (self.shared.container.clone(), self.shared.path.clone());
        let wanted = Wanted { container, path, from: 0, known: 0 };
        match Exec::start(docker, self.reader, &wanted).await {
            Ok(exec) => self.next = Some(exec),
            Err(error) => tracing::debug!(%error, "the new file of a name is not read yet"),
        }
    }

    async fn take(&mut self, item: LogOutput) -> Result<Option<Outcome>, SpoolError> {
        match item {
            LogOutput::StdOut { message } => {
                if !self.delivered && self.reader == Reader::Direct && !self.direct_runs(&message).await {
                    let reason = format!("neither `sh` nor `tail` can be run there: {}", one_line(&message));
                    return Ok(Some(Outcome::Ended { reason, delivered: false }));
                }
                self.take_output(message).await
            }
            LogOutput::StdErr { message } => {
                self.complaint = one_line(&message);
                if says_source_starts_anew(&self.complaint) {
                    // The two streams have no order. `tail` complains before it goes on, so what came just now and is not
                    // pushed yet most likely belongs to the other file. If not, the next start finds other bytes than
                    // it expects, and reads the file from its start: lines come twice, none is lost.
                    self.shared
                        .spool(|s| if s.end() > s.origin() { s.source_starts_anew() } else { Ok(()) })
                        .await?;
                }
                self.take_complaint(&message);
                Ok(None)
            }
            // Not ours: the stream was cut within a frame. What was cut off is read again.
            LogOutput::Console { .. } | LogOutput::StdIn { .. } => Ok(None),
        }
    }

    /// Shows what whole lines of complaint say; they may come in pieces.
    fn take_complaint(&mut self, message: &[u8]) {
        self.said.extend_from_slice(message);
        while let Some(end) = memchr::memchr(b'\n', &self.said) {
            let line = one_line(&self.said.split_to(end + 1));
            if line == RENAMED {
                tracing::debug!(path = self.shared.path, "a file was renamed; it is read to its end");
                self.renamed = true;
                self.now(TailState::Reading(String::new()));
                continue;
            }
            match says_whether_open(&line) {
                // What the guard says is for us; `tail` has words for people.
                Word::Open if line.starts_with("logherd:") => self.now(TailState::Reading(String::new())),
                Word::Open => self.now(TailState::Reading(line)),
                Word::NotOpen(why) => self.now(TailState::Waiting(why)),
                Word::Other => {}
            }
        }
        if self.said.len() > COMPLAINT_MAX {
            self.said.clear();
        }
    }

    fn now(&mut self, state: TailState) {
        self.opened = true;
        self.shared.set_state(state);
    }

    async fn take_output(&mut self, message: Bytes) -> Result<Option<Outcome>, SpoolError> {
        match self.opening.take(message) {
            Verdict::Wait => {}
            Verdict::Bytes(bytes) => {
                self.delivered |= !bytes.is_empty();
                self.pending.extend_from_slice(&bytes);
            }
            Verdict::Shorter | Verdict::Different => return Ok(Some(Outcome::StartsAnew)),
            Verdict::NotStarted(said) if self.reader == Reader::Guarded => {
                tracing::debug!(container = self.shared.container, said, "sh did not start");
                let missing = said.contains("executable file not found") || said.contains("no such file");
                return Ok(Some(if missing {
                    Outcome::NoShell
                } else {
                    Outcome::Ended { reason: said, delivered: false }
                }));
            }
            Verdict::NotStarted(reason) => return Ok(Some(Outcome::Ended { reason, delivered: false })),
        }
        // A complaint may come before this; then it tells more.
        let opened = self.opening.is_over() && (self.delivered || self.opening.file_was_there());
        if opened && !self.opened {
            self.now(TailState::Reading(String::new()));
        }
        Ok(None)
    }

    /// Whether the unguarded program runs: a start failure comes as output too.
    async fn direct_runs(&mut self, message: &[u8]) -> bool {
        if self.exec.is_running().await == Some(true) {
            if !self.opened {
                self.now(TailState::Reading("unguarded: there is no sh".to_owned()));
            }
            return true;
        }
        let code = self.exec.exit_code().await;
        !(matches!(code, Some(126 | 127)) && message.starts_with(b"OCI runtime exec failed"))
    }

    async fn ended(&mut self, error: &str) -> Outcome {
        let code = match self.exec.exit_code().await {
            Some(THERE_NOW) if self.reader == Reader::Guarded => return Outcome::Again,
            Some(code) => format!("tail ended with exit code {code}"),
            None => "the stream ended".to_owned(),
        };
        let said = if error.is_empty() { self.complaint.as_str() } else { error };
        let reason = if said.is_empty() { code } else { format!("{code}: {said}") };
        Outcome::Ended { reason, delivered: self.delivered }
    }

    async fn flush(&mut self, life: &watch::Receiver<Life>) -> Result<(), SpoolError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.shared.push_all(self.pending.split().freeze(), life).await
    }
}

/// Fetches what was written after the last look at the file of a container that has ended.
async fn read_rest(
    shared: &Arc<Shared>,
    docker: &Docker,
    life: &watch::Receiver<Life>,
) -> Result<(), String> {
    let (wanted, overlap) = shared.wanted().await;
    let Wanted { container, path, known, .. } = wanted;
    let options = DownloadFromContainerOptionsBuilder::default().path(&path).build();
    let mut stream = Box::pin(docker.download_from_container(&container, Some(options)));
    let (mut file, mut from) = (FirstFile::default(), FromPosition::new(known, overlap));
    loop {
        let piece = tokio::select! {
            piece = timeout(LAST_WORDS, stream.next()) => piece.map_err(|_| "the daemon does not answer")?,
            () = told_to_stop(life) => return Err("told to stop".to_owned()),
        };
        let Some(piece) = piece else { return Ok(()) };
        for part in file.take(&piece.map_err(|e| e.to_string())?) {
            match part {
                Part::NotAFile => return Err("it is no regular file".to_owned()),
                Part::Size(size) if size == known => return Ok(()),
                Part::Size(size) => {
                    if size < known {
                        shared.spool(|s| s.source_starts_anew()).await.map_err(|e| e.to_string())?;
                        from = FromPosition::new(0, Bytes::new());
                    }
                }
                Part::Bytes(bytes) => {
                    let bytes =
                        from.take(bytes).map_err(|()| "it is another file than the one that was read")?;
                    shared.push_all(bytes, life).await.map_err(|e| e.to_string())?;
                }
            }
        }
    }
}
