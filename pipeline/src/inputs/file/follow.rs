//! Follows the files of this machine: reads when there is something new, and sees off what was read to its end.
use super::origin;
use crate::ecs::Ecs;
use crate::positions::FileKey;
use crate::runtime::lines::Cut;
use crate::runtime::source::{Closed, InputError, Intake, Source};
use crate::runtime::supervise::panic_reason;
use crate::tail::wake::Wake;
use crate::tail::{Ended, Read, Round, Tail, Wanted};
use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tracing::warn;

/// What is done with files that were read.
pub(super) struct Completed {
    /// Where their paths are written.
    pub(super) log: Option<String>,
    pub(super) delete: bool,
}

impl Completed {
    /// Does it for the file with this key; returns whether that was removed.
    fn apply(&self, path: &Path, key: &FileKey) -> std::io::Result<bool> {
        if let Some(log) = &self.log {
            let mut log = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
            log.write_all(format!("{}\n", path.display()).as_bytes())?;
        }
        if !self.delete {
            return Ok(false);
        }
        let named = std::fs::metadata(path)?;
        // Another one may have taken its name.
        let is_it = (named.dev(), named.ino()) == (key.device, key.inode);
        if is_it {
            std::fs::remove_file(path)?;
        }
        Ok(is_it)
    }
}

/// A file that was read, and not yet delivered as a whole.
struct Leaving {
    key: FileKey,
    path: PathBuf,
    /// Up to where it has to be acknowledged.
    end: u64,
    acked: Arc<AtomicU64>,
}

/// How long a busy tail waits before it looks again, and how long it counts as busy.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
const BUSY_FOR: Duration = Duration::from_millis(500);
/// How long it waits at most, however many files there are.
const BUSY_PAUSE_MAX: Duration = Duration::from_millis(250);
/// What it costs to look at a file and to read from one, roughly, and the part of a processor that this may take.
const LOOK_COST: Duration = Duration::from_micros(1);
const READ_COST: Duration = Duration::from_micros(5);
const SHARE: u32 = 50;

/// How long a tail waits that has looked at so many files and has read from so many of them: the more of them there are,
/// the more comes together meanwhile.
fn pause_after(looked_at: usize, read: usize) -> Duration {
    let times = |cost: Duration, n: usize| cost.saturating_mul(u32::try_from(n).unwrap_or(u32::MAX));
    let cost = times(LOOK_COST, looked_at).saturating_add(times(READ_COST, read));
    cost.saturating_mul(SHARE).clamp(BUSY_PAUSE, BUSY_PAUSE_MAX)
}

/// A file that is read.
struct Reader {
    epoch: u64,
    source: Arc<Source>,
    /// Up to where it was acknowledged.
    acked: Arc<AtomicU64>,
}

/// The files of this machine.
pub(super) struct Follow {
    tail: Tail,
    sources: BTreeMap<FileKey, Reader>,
    wake: Wake,
    intake: Arc<Intake>,
    every: Duration,
    /// When to look for other files.
    look_at: Instant,
    /// Until when more is expected soon.
    busy_until: Instant,
    /// How long to wait then.
    pause: Duration,
    ecs: Ecs,
    completed: Option<Completed>,
    /// Files that something is to be done with when all of them has been delivered.
    leaving: Vec<Leaving>,
    /// What did not work the last time.
    trouble: Option<String>,
}

/// What comes after a round of reading.
enum Next {
    /// Another one at once.
    Round,
    /// There is nothing more to read now.
    Quiet,
    /// There will be nothing more.
    Over,
    /// The pipeline has to take what was read first.
    Full(BoxFuture<'static, Result<(), Closed>>, Box<Next>),
}

/// How long the reading thread waits for the pipeline. Then it is given up: many pipelines whose outputs take nothing must
/// not hold all threads that there are.
const SOON: Duration = Duration::from_millis(5);

impl Follow {
    /// Follows nothing yet.
    pub(super) fn new(
        wanted: Wanted,
        intake: Arc<Intake>,
        every: Duration,
        ecs: Ecs,
        completed: Option<Completed>,
    ) -> Self {
        Self {
            tail: Tail::new(wanted, intake.ledger.clone()),
            sources: BTreeMap::new(),
            wake: Wake::new(),
            intake,
            every,
            look_at: Instant::now(),
            busy_until: Instant::now(),
            pause: BUSY_PAUSE,
            ecs,
            completed,
            leaving: Vec::new(),
            trouble: None,
        }
    }

    /// Reads until the end, or until the intake is to stop.
    pub(super) async fn run(mut self) -> Result<(), InputError> {
        loop {
            let handle = Handle::current();
            // One thread reads as long as there is something to read; none waits.
            let read = spawn_blocking(move || {
                let next = self.read(&handle);
                (self, next)
            });
            let (follow, mut next) = read.await.map_err(|error| InputError(panic_reason(error)))?;
            self = follow;
            if let Next::Full(sending, then) = next {
                next = if sending.await.is_ok() { *then } else { Next::Over };
            }
            if self.intake.stop.is_cancelled() {
                return Ok(());
            }
            match next {
                Next::Over => return Ok(()),
                Next::Quiet if self.wait().await.is_err() => return Ok(()),
                _ => {}
            }
        }
    }

    /// Reads until there is nothing more, or the pipeline is full.
    fn read(&mut self, handle: &Handle) -> Next {
        loop {
            let (cuts, next) = self.read_round();
            if !cuts.is_empty() {
                let intake = self.intake.clone();
                let mut sending: BoxFuture<'static, _> = Box::pin(async move { intake.send_all(cuts).await });
                match handle.block_on(async { tokio::time::timeout(SOON, &mut sending).await }) {
                    Ok(Ok(())) => {}
                    Ok(Err(Closed)) => return Next::Over,
                    Err(_) => return Next::Full(sending, Box::new(next)),
                }
            }
            if !matches!(next, Next::Round) || self.intake.stop.is_cancelled() {
                return next;
            }
        }
    }

    /// Reads of each file some; tells what comes after.
    fn read_round(&mut self) -> (Vec<(Arc<Source>, Cut)>, Next) {
        let now = Instant::now();
        let look = now >= self.look_at;
        if look {
            self.look_at = now + self.every;
        }
        let round = self.round(now, look);
        self.pause = pause_after(round.looked_at, round.reads.len());
        if !round.reads.is_empty() {
            self.busy_until = now + BUSY_FOR;
        }
        let mut cuts = Vec::new();
        for read in round.reads {
            let source = self.source(&read);
            cuts.extend(read.cuts.into_iter().map(|cut| (source.clone(), cut)));
        }
        for ended in round.closed {
            self.close(ended);
        }
        self.see_off();
        let next = match round.more {
            _ if self.tail.is_done() && self.leaving.is_empty() => Next::Over,
            true => Next::Round,
            false => Next::Quiet,
        };
        (cuts, next)
    }

    /// Forgets a file from which nothing more comes; or remembers what is to be done with it.
    fn close(&mut self, ended: Ended) {
        let acked = self.sources.remove(&ended.key).map(|reader| reader.acked);
        if self.completed.is_some() && ended.whole {
            // What was not read now was delivered before.
            let acked = acked.unwrap_or_else(|| Arc::new(AtomicU64::new(ended.offset)));
            self.leaving.push(Leaving { key: ended.key, path: ended.path, end: ended.offset, acked });
        }
    }

    /// Does what is to be done with files that have been delivered.
    fn see_off(&mut self) {
        let Some(completed) = &self.completed else { return };
        self.leaving.retain(|file| {
            let arrived = file.acked.load(Ordering::Acquire) >= file.end;
            if arrived {
                match completed.apply(&file.path, &file.key) {
                    Ok(true) => self.tail.forget(&file.key),
                    Ok(false) => {}
                    Err(error) => {
                        warn!(path = %file.path.display(), %error, "a file was read, and could not be seen off");
                    }
                }
            }
            !arrived
        });
    }

    /// Waits until there may be something new.
    async fn wait(&mut self) -> Result<(), Closed> {
        if !self.leaving.is_empty() {
            return self.intake.pause(BUSY_PAUSE).await;
        }
        if Instant::now() < self.busy_until {
            self.wake.arm(Default::default());
            return self.intake.pause(self.pause.min(self.every)).await;
        }
        if self.wake.arm(self.tail.directories()) {
            // What changed just before is seen only by looking.
            self.look_at = Instant::now();
            return Ok(());
        }
        tokio::select! {
            paused = self.intake.pause(self.look_at.saturating_duration_since(Instant::now())) => paused,
            () = self.wake.changed() => {
                self.look_at = Instant::now();
                Ok(())
            }
        }
    }

    fn round(&mut self, now: Instant, look: bool) -> Round {
        let now_s = seconds();
        let mut round = Round::default();
        if look {
            self.tail.look(now, now_s, &mut round);
        }
        self.tail.read(now, now_s, &mut round);
        if look || round.trouble.is_some() {
            self.tell(&round.trouble);
        }
        round
    }

    fn tell(&mut self, trouble: &Option<String>) {
        if *trouble == self.trouble {
            return;
        }
        match trouble {
            Some(reason) => {
                warn!(input = %self.intake.id, reason, "a file cannot be read; it is tried again");
                self.intake.health.trouble(&self.intake.id, reason.clone());
            }
            None => self.intake.health.works(&self.intake.id),
        }
        self.trouble.clone_from(trouble);
    }

    fn source(&mut self, read: &Read) -> Arc<Source> {
        if let Some(reader) = self.sources.get(&read.key)
            && reader.epoch == read.epoch
        {
            return reader.source.clone();
        }
        let (ledger, key, epoch) = (self.intake.ledger.clone(), read.key.clone(), read.epoch);
        let acked = Arc::new(AtomicU64::new(0));
        let told = acked.clone();
        let tell = Arc::new(move |offset| {
            ledger.advance(&key, epoch, offset, seconds());
            told.fetch_max(offset, Ordering::AcqRel);
        });
        let fields = origin(&read.path.to_string_lossy(), self.ecs, &self.intake);
        let source = self.intake.source(fields, true, tell);
        let reader = Reader { epoch, source: source.clone(), acked };
        self.sources.insert(read.key.clone(), reader);
        source
    }
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_files_there_are_the_longer_a_busy_tail_waits_within_limits() {
        let pauses =
            [(1, 1), (100, 100), (1000, 1000)].map(|(files, reads)| pause_after(files, reads).as_millis());
        assert_eq!(pauses, [20, 30, 250]);
        assert_eq!(pause_after(usize::MAX, usize::MAX), BUSY_PAUSE_MAX);
    }
}
