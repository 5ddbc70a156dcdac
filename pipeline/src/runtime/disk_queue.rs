//! Keeps what inputs brought on disk until every output has acknowledged it, for senders that cannot send it again.
//!
//! Invariants: an input is told that its events arrived only when they are on disk, synced as the settings say; an event
//! leaves the disk only after every output has acknowledged it; the queue never takes more than `max_bytes` (and one
//! batch), and inputs wait while it is full; bytes that are torn or changed cost the events that they hit, and
//! neither reading nor writing ever waits for them ([`crate::journal`]).
//!
//! Format: a journal of events ([`crate::event::stored`]) in `queue/PIPELINE` of the data directory. The file `checkpoint`
//! beside holds the number of the last event that was acknowledged with all before it, and its CRC-32 in hex; when it
//! cannot be read, everything that is there is delivered, some of it once more.
use super::budget::Budget;
use super::lines::{BYTES_MAX, Cut, LINES_MAX};
use super::source::{Acked, Arrival, Frame, Source};
use super::supervise::panic_reason;
use super::tally::{Health, Tally, count};
use crate::event::{Event, stored};
use crate::journal::{Journal, PAYLOAD_MAX, Reader};
use crate::positions::{file_name, replace};
use crate::value::Timestamp;
use bytes::Bytes;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How a pipeline's disk queue is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// The most bytes it takes on disk. Full: the inputs wait.
    pub max_bytes: u64,
    /// The most events it holds; 0 is no limit.
    pub max_events: u64,
    /// How large one file becomes; smaller when `max_bytes` is.
    pub page_bytes: u64,
    /// After how many events at most they are synced, and their senders told; they are sooner when no more wait. 0:
    /// senders are told at once, and events are synced each `checkpoint`, so that a crash of the machine may lose some.
    pub sync_events: usize,
    /// How often it is saved what was acknowledged.
    pub checkpoint: Duration,
    /// Whether a pipeline that is stopped delivers everything first.
    pub drain: bool,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            max_bytes: 1 << 30,
            max_events: 0,
            page_bytes: 64 << 20,
            sync_events: 1024,
            checkpoint: Duration::from_secs(1),
            drain: false,
        }
    }
}

/// How full a disk queue is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueLevel {
    /// Events that were not acknowledged yet.
    pub events: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// The most bytes there may be.
    pub max_bytes: u64,
}

/// [`QueueLevel`] while it changes.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    events: AtomicU64,
    bytes: AtomicU64,
    max_bytes: AtomicU64,
}

impl Gauge {
    /// The level now.
    pub(crate) fn read(&self) -> QueueLevel {
        let get = |value: &AtomicU64| value.load(Ordering::Relaxed);
        QueueLevel { events: get(&self.events), bytes: get(&self.bytes), max_bytes: get(&self.max_bytes) }
    }
}

/// The pause after a failure to read or write.
const PAUSE: Duration = Duration::from_millis(500);
/// A file is this part of the queue at most, so that there is room again before all is acknowledged.
const PAGES: u64 = 8;
/// How many frames wait to be written.
const FRAMES_MAX: usize = 4;
/// How many frames are written together at most.
const FRAMES_TOGETHER: usize = 64;
/// What troubles of the queue are filed under.
const PART: &str = "queue";

/// What the writing and the reading end tell each other.
#[derive(Clone, Copy, Debug, Default)]
struct Written {
    /// The number of the last event on disk.
    last: u64,
    /// Whether there will be no more.
    closed: bool,
}

/// The two ends of a queue; each is a task.
pub(crate) struct DiskQueue {
    pub(crate) writer: Writer,
    reading: Reading,
}

/// What a queue is made with.
pub(crate) struct QueueSite<'a> {
    pub(crate) data_dir: &'a Path,
    pub(crate) pipeline: &'a str,
    pub(crate) settings: QueueSettings,
    pub(crate) tally: Arc<Tally>,
    pub(crate) health: Arc<Health>,
}

/// Writes what inputs bring, and removes what was acknowledged.
pub(crate) struct Writer {
    id: String,
    settings: QueueSettings,
    /// Away while it is written.
    journal: Option<Journal>,
    checkpoint: PathBuf,
    /// What the file says.
    saved: u64,
    acked: watch::Receiver<u64>,
    written: watch::Sender<Written>,
    tally: Arc<Tally>,
    health: Arc<Health>,
    pub(crate) gauge: Arc<Gauge>,
    /// Whether something was appended and not synced.
    unsynced: bool,
}

/// Hands what is on disk on to the filters.
pub(crate) struct Reading {
    settings: QueueSettings,
    reader: Reader,
    after: u64,
    written: watch::Receiver<Written>,
    source: Arc<Source>,
    health: Arc<Health>,
}

impl DiskQueue {
    /// Opens the queue of a pipeline; what it holds from before is delivered first.
    pub(crate) fn open(site: QueueSite<'_>) -> io::Result<Self> {
        let QueueSite { data_dir, pipeline, settings, tally, health } = site;
        let dir = data_dir.join("queue").join(file_name(pipeline));
        let checkpoint = dir.join("checkpoint");
        let saved = read_checkpoint(&checkpoint)?;
        let page = settings.page_bytes.min(settings.max_bytes / PAGES).max(1);
        let journal = Journal::open(&dir, page, saved)?;
        let gauge = Arc::new(Gauge::default());
        gauge.max_bytes.store(settings.max_bytes, Ordering::Relaxed);
        let last = journal.last();
        let (written, written_here) = watch::channel(Written { last, closed: false });
        let (acked_in, acked) = watch::channel(saved);
        let tell: Acked = Arc::new(move |number| {
            acked_in.send_if_modified(|acked| {
                let more = number > *acked;
                *acked = number.max(*acked);
                more
            });
        });
        if last > saved {
            info!(pipeline, events = last - saved, "the disk queue holds events from before");
        }
        let writer = Writer {
            id: pipeline.to_owned(),
            settings,
            journal: Some(journal),
            checkpoint,
            saved,
            acked,
            written,
            tally,
            health: health.clone(),
            gauge,
            unsynced: false,
        };
        let reading = Reading {
            settings,
            reader: Reader::new(&dir, saved),
            after: saved,
            written: written_here,
            source: Source::stored(tell),
            health,
        };
        Ok(Self { writer, reading })
    }
}

impl DiskQueue {
    /// Starts both ends in front of the filters that read `frames`; what is returned is for the inputs.
    pub(crate) fn between(
        self,
        stages: &mut JoinSet<Result<(), String>>,
        frames: mpsc::Sender<Frame>,
        stop: &CancellationToken,
    ) -> mpsc::Sender<Frame> {
        let (to_queue, from_inputs) = mpsc::channel(FRAMES_MAX);
        stages.spawn(self.writer.run(from_inputs, stop.clone()));
        stages.spawn(self.reading.run(frames, stop.clone()));
        to_queue
    }
}

fn read_checkpoint(path: &Path) -> io::Result<u64> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {
            return Ok(0);
        }
        Err(error) => return Err(error),
    };
    let number = parse_checkpoint(&text);
    if number.is_none() {
        warn!(path = %path.display(), "the checkpoint of the disk queue is damaged; all that is there is delivered");
    }
    Ok(number.unwrap_or(0))
}

fn checkpoint_text(number: u64) -> String {
    format!("{number} {:08x}\n", crc32fast::hash(number.to_string().as_bytes()))
}

fn parse_checkpoint(text: &str) -> Option<u64> {
    let number = text.split_once(' ')?.0.parse().ok()?;
    (checkpoint_text(number) == text).then_some(number)
}

impl Writer {
    /// Writes until the inputs have ended and everything handed on is acknowledged or given up.
    pub(crate) async fn run(
        mut self,
        mut frames: mpsc::Receiver<Frame>,
        stop: CancellationToken,
    ) -> Result<(), String> {
        let mut tick = tokio::time::interval(self.settings.checkpoint.max(Duration::from_millis(1)));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut more_frames, mut more_acks) = (true, true);
        let mut waiting = Vec::new();
        while more_frames || more_acks || !waiting.is_empty() {
            let room = self.has_room();
            // Whoever is told to stop waits for no room: what was taken over is written all the same.
            if !waiting.is_empty() && (room || stop.is_cancelled() || !more_acks) {
                let mut together = std::mem::take(&mut waiting);
                if self.settings.sync_events == 1 {
                    waiting = together.split_off(1);
                }
                self.write(together).await?;
                continue;
            }
            tokio::select! {
                n = frames.recv_many(&mut waiting, FRAMES_TOGETHER), if more_frames && waiting.is_empty() => {
                    if n == 0 {
                        more_frames = false;
                        self.written.send_modify(|written| written.closed = true);
                    }
                }
                changed = self.acked.changed(), if more_acks => {
                    more_acks = changed.is_ok();
                    self.free().await;
                }
                _ = tick.tick() => self.save().await,
                () = stop.cancelled(), if !waiting.is_empty() => {}
            }
        }
        self.free().await;
        self.save().await;
        Ok(())
    }

    fn has_room(&self) -> bool {
        let Some(journal) = &self.journal else { return false };
        let events = journal.last().saturating_sub(*self.acked.borrow());
        journal.bytes() < self.settings.max_bytes
            && (self.settings.max_events == 0 || events < self.settings.max_events)
    }

    /// Writes frames and tells their sources; tries until it works. Meanwhile what is acknowledged gets off the disk, which may be
    /// what there is no room for.
    async fn write(&mut self, frames: Vec<Frame>) -> Result<(), String> {
        let mut arrivals = Vec::with_capacity(frames.len());
        let mut permits = Vec::with_capacity(frames.len());
        let tally = self.tally.clone();
        let frames: Vec<Frame> = frames
            .into_iter()
            .map(|mut frame| {
                arrivals.extend(frame.arrivals());
                permits.push(frame.permit.take());
                frame
            })
            .collect();
        let events = spawn_blocking(move || {
            let now = Timestamp::now();
            frames.into_iter().flat_map(|frame| stored(frame, now, &tally)).collect::<Vec<_>>()
        });
        // A codec that panics ends the pipeline, as without a queue: what comes after must not be acknowledged before it.
        let mut left = events.await.map_err(panic_reason)?;
        while !left.is_empty() {
            let Some(mut journal) = self.journal.take() else { return Ok(()) };
            let together = match self.settings.sync_events {
                0 => left.len(),
                limit => left.len().min(limit),
            };
            let sync = self.settings.sync_events > 0;
            let written = spawn_blocking(move || {
                let result = journal.append(left.get(..together).unwrap_or_default());
                let result = if sync { result.and_then(|_| journal.sync()) } else { result.map(drop) };
                if result.is_ok() {
                    left.drain(..together);
                }
                (journal, left, result)
            });
            let (journal, rest, result) = written.await.map_err(panic_reason)?;
            left = rest;
            self.unsynced |= !sync;
            let last = journal.last();
            self.journal = Some(journal);
            match result {
                Ok(()) => {
                    self.health.works(PART);
                    self.written.send_modify(|written| written.last = last);
                    self.show();
                }
                Err(error) => {
                    warn!(pipeline = %self.id, %error, "the disk queue cannot be written; it is tried again");
                    self.health.trouble(PART, format!("it cannot be written: {error}"));
                    tokio::time::sleep(PAUSE).await;
                    self.make_room().await;
                }
            }
        }
        arrivals.iter().for_each(Arrival::tell);
        Ok(())
    }

    /// Removes what was acknowledged, also from the segment that is written if that is all of it.
    async fn make_room(&mut self) {
        let acked = *self.acked.borrow();
        if let Some(journal) = self.journal.as_mut().filter(|journal| acked >= journal.last())
            && let Err(error) = journal.seal()
        {
            warn!(pipeline = %self.id, %error, "the disk queue could not be synced");
        }
        self.free().await;
        self.save().await;
    }

    fn show(&self) {
        let Some(journal) = &self.journal else { return };
        let events = journal.last().saturating_sub(*self.acked.borrow());
        self.gauge.events.store(events, Ordering::Relaxed);
        self.gauge.bytes.store(journal.bytes(), Ordering::Relaxed);
    }

    /// Removes what was acknowledged.
    async fn free(&mut self) {
        let acked = *self.acked.borrow();
        if let Some(journal) = &mut self.journal
            && let Err(error) = journal.trim(acked)
        {
            warn!(pipeline = %self.id, %error, "what was acknowledged could not be removed from the disk queue");
        }
        self.show();
    }

    /// Syncs what was not, and saves what was acknowledged.
    async fn save(&mut self) {
        let Some(mut journal) = self.journal.take() else { return };
        let (acked, saved, path) = (*self.acked.borrow(), self.saved, self.checkpoint.clone());
        let unsynced = self.unsynced;
        let work = spawn_blocking(move || {
            let synced = if unsynced { journal.sync() } else { Ok(()) };
            let saved =
                if acked > saved { replace(&path, checkpoint_text(acked).as_bytes()) } else { Ok(()) };
            (journal, synced.and(saved))
        });
        let Ok((journal, result)) = work.await else { return };
        self.journal = Some(journal);
        match result {
            Ok(()) => (self.saved, self.unsynced) = (acked, false),
            Err(error) => {
                warn!(pipeline = %self.id, %error, "the checkpoint of the disk queue could not be saved");
                self.health.trouble(PART, format!("its checkpoint cannot be saved: {error}"));
            }
        }
        self.show();
    }
}

/// The events of a frame as they are stored.
fn stored(frame: Frame, now: Timestamp, tally: &Tally) -> Vec<Vec<u8>> {
    let batch = frame.decode(now, tally, &mut Vec::new());
    let write = |event: &Event| {
        let mut out = Vec::with_capacity(512);
        stored::write(event, &mut out);
        out
    };
    let mut events: Vec<Vec<u8>> = batch.events().iter().map(write).collect();
    // It would be refused for ever.
    events.retain(|event| event.len() <= PAYLOAD_MAX);
    let refused = batch.len() - events.len();
    if refused > 0 {
        warn!(refused, "events of more than 256 MiB cannot be kept in the disk queue; they are dropped");
        count(&tally.dropped_lines, refused);
    }
    events
}

impl Reading {
    /// Hands on until everything is read and there will be no more, or until it is told to stop.
    pub(crate) async fn run(
        mut self,
        frames: mpsc::Sender<Frame>,
        stop: CancellationToken,
    ) -> Result<(), String> {
        // The inputs' share may be used up by frames that wait for room in the queue.
        let budget = Budget::of_process();
        let mut reader = self.reader;
        let stop = if self.settings.drain { CancellationToken::new() } else { stop };
        loop {
            let Written { last, closed } = *self.written.borrow_and_update();
            if self.after >= last {
                if closed {
                    return Ok(());
                }
                tokio::select! {
                    changed = self.written.changed() => if changed.is_err() { return Ok(()) },
                    () = stop.cancelled() => return Ok(()),
                }
                continue;
            }
            let damaged = reader.damaged();
            let work = spawn_blocking(move || {
                let cut = next(&mut reader, last);
                (reader, cut)
            });
            let cut = match work.await {
                Ok((back, Ok(cut))) => {
                    reader = back;
                    cut
                }
                Ok((back, Err(error))) => {
                    reader = back;
                    warn!(%error, "the disk queue cannot be read; it is tried again");
                    self.health.trouble(PART, format!("it cannot be read: {error}"));
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                Err(error) => return Err(panic_reason(error)),
            };
            if reader.damaged() > damaged {
                let bytes = reader.damaged() - damaged;
                warn!(bytes, "a part of the disk queue cannot be read any more; its events are lost");
            }
            // Nothing readable through `last`: an empty frame takes the acknowledgement past it.
            let cut = cut.unwrap_or_else(|| Cut::of(&[], last));
            self.after = cut.end;
            let send = async {
                let permit = budget.permit(cut.len(), cut.size).await;
                frames.send(Frame::stored(&self.source, cut, permit)).await
            };
            tokio::select! {
                sent = send => if sent.is_err() { return Ok(()) },
                () = stop.cancelled() => return Ok(()),
                () = frames.closed() => return Ok(()),
            }
        }
    }
}

/// Reads a frame of events with numbers through `last`.
fn next(reader: &mut Reader, last: u64) -> io::Result<Option<Cut>> {
    let (mut events, mut size, mut end) = (Vec::<Bytes>::new(), 0, 0);
    while events.len() < LINES_MAX && size < BYTES_MAX && end < last {
        let Some(record) = reader.next()? else { break };
        end = record.number;
        size += record.payload.len();
        events.push(record.payload);
    }
    Ok((!events.is_empty()).then(|| Cut::of(&events, end)))
}

#[cfg(test)]
mod tests;
