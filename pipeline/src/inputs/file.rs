//! Reads lines from files: of this machine by itself, of containers through feeds.
use crate::codec::{Framing, delimiter_bytes};
use crate::ecs::Ecs;
use crate::field::FieldRef;
use crate::lang::kinds::{Paths, Placed};
use crate::lang::problems::Problems;
use crate::plan::StartFrom;
use crate::plugins::InputOptions;
use crate::positions::FileKey;
use crate::runtime::lines::Lines;
use crate::runtime::source::{Closed, Feed, Input, InputError, Intake, Source};
use crate::runtime::supervise::panic_reason;
use crate::spec::{plugin, words};
use crate::tail::wake::Wake;
use crate::tail::{Read, Round, Tail, Wanted};
use crate::value::Value;
use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::runtime::Handle;
use tokio::task::{JoinSet, spawn_blocking};
use tracing::warn;

plugin! {
    /// Reads lines from files, and follows them as they grow, are rotated, replaced or cut off.
    ///
    /// How far a file has been delivered is remembered in the data directory: after a restart, reading goes on at the
    /// byte. A file is known by its device and inode and its first bytes, not by its path. Each event has the fields
    /// `path` and `host`.
    input "file" => pub(crate) struct FileOptions {
        /// Files of this machine; `*`, `?`, `[…]`, `{a,b}` and `**` are understood.
        path: Placed<Paths> = [],
        /// Files of the node, as `path`.
        host_path ("host-path"): Paths = [],
        /// Files inside of each container that the configuration applies to.
        docker_path ("docker-path"): Paths = [],
        /// Names of files that are left out; `*`, `?` and `[…]` are understood.
        exclude: Vec<String> = [],
        /// Where to begin in files that are there at first and were never read. Files that come later are read from
        /// their beginning. When it is not given: `end` for files of this machine, `beginning` for `docker-path`.
        start_position: Option<StartFrom>,
        /// `tail` goes on for ever, `read` ends when the end of every file is reached.
        mode: Mode = "tail",
        /// What ends a line; `\n`, `\r`, `\t` and `\0` are understood.
        delimiter: Placed<String> = "\n",
        /// How often to look for changes when the system does not tell of them.
        stat_interval: Duration = "1 second",
        /// `/dev/null` forgets positions; anything else is refused, because they are kept in the data directory.
        sincedb_path: Option<Placed<String>>,
        /// With `v1` or `v8` the fields are `[log][file][path]` and `[host][name]` in place of `path` and `host`.
        ecs_compatibility: Ecs = "disabled",
    }
    unsupported {
        "sincedb_write_interval" => "positions are saved every second, and at the end",
        "sincedb_clean_after" => "files that were not seen for 14 days are forgotten",
        "discover_interval" => "new files are looked for every `stat_interval`",
        "close_older" => "files that lost their name and do not grow any more are closed",
        "ignore_older" => "leave files out by `exclude`",
        "max_open_files" => "up to 4096 files are open for each path",
        "file_chunk_count" => "every file gets its turn",
        "file_chunk_size" => "every file gets its turn",
        "file_sort_by" => "files are read side by side",
        "file_completed_action" => "files are never deleted",
        "file_completed_log_path" => "files are never deleted",
        "exit_after_read" => "`mode => read` does that",
    }
    validate = check
}

words! {
    /// When reading ends.
    pub(crate) enum Mode {
        /// Never.
        Tail = "tail",
        /// At the end of every file.
        Read = "read",
    }
}

fn check(options: &FileOptions, problems: &mut Problems) {
    let paths = [&options.path.value, &options.host_path, &options.docker_path];
    if paths.iter().all(|paths| paths.0.is_empty()) {
        problems
            .error(options.path.span, "this input reads no file")
            .missing("path|host-path|docker-path")
            .hint("add `path => \"/var/log/app/*.log\"`, or `docker-path` for a file inside of a container");
    }
    if options.delimiter.is_empty() {
        problems.error(options.delimiter.span, "the delimiter is empty");
    }
    if let Some(path) = &options.sincedb_path
        && path.as_str() != "/dev/null"
    {
        problems
            .error(path.span, "positions are kept in the data directory")
            .hint("leave `sincedb_path` out, or set it to \"/dev/null\" to forget positions");
    }
}

impl InputOptions for FileOptions {
    fn build(&self) -> Result<Box<dyn Input>, String> {
        let wanted = Wanted {
            patterns: self.path.value.0.iter().chain(&self.host_path.0).cloned().collect(),
            exclude: self.exclude.clone(),
            // In `read`, a file is read whole.
            from_beginning: self.start_position == Some(StartFrom::Beginning) || self.mode == Mode::Read,
            remember: self.sincedb_path.is_none(),
            delimiter: Vec::new(),
            to_the_end: self.mode == Mode::Read,
        };
        let delimiter = delimiter_bytes(&self.delimiter);
        Ok(Box::new(Files { wanted, delimiter, every: self.stat_interval, ecs: self.ecs_compatibility }))
    }
}

struct Files {
    wanted: Wanted,
    delimiter: Vec<u8>,
    every: Duration,
    ecs: Ecs,
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

impl Input for Files {
    fn framing(&self) -> Option<Framing> {
        (self.delimiter != b"\n").then(|| Framing::Delimited(self.delimiter.clone()))
    }

    fn run(self: Box<Self>, mut intake: Intake) -> BoxFuture<'static, Result<(), InputError>> {
        Box::pin(async move {
            let feeds = std::mem::take(&mut intake.feeds);
            let intake = Arc::new(intake);
            let mut parts = JoinSet::new();
            let ecs = self.ecs;
            for feed in feeds {
                let intake = intake.clone();
                parts.spawn(async move {
                    read_feed(feed, ecs, &intake).await;
                    Ok(())
                });
            }
            if !self.wanted.patterns.is_empty() {
                let wanted = Wanted { delimiter: intake.delimiter().to_vec(), ..self.wanted };
                let tail = Tail::new(wanted, intake.ledger.clone());
                let follow = Follow {
                    tail,
                    sources: BTreeMap::new(),
                    wake: Wake::new(),
                    intake,
                    every: self.every,
                    look_at: Instant::now(),
                    busy_until: Instant::now(),
                    pause: BUSY_PAUSE,
                    ecs,
                    trouble: None,
                };
                parts.spawn(follow.run());
            }
            while let Some(part) = parts.join_next().await {
                part.map_err(|error| InputError(panic_reason(error)))??;
            }
            Ok(())
        })
    }
}

/// The fields of a file.
fn origin(path: &str, ecs: Ecs, intake: &Intake) -> Vec<(FieldRef, Value)> {
    let host = ecs.choose(FieldRef::top("host"), FieldRef::from_names(&["host", "name"]));
    let field = ecs.choose(FieldRef::top("path"), FieldRef::from_names(&["log", "file", "path"]));
    vec![(host, Value::Str(intake.host.clone())), (field, Value::from(path))]
}

/// Reads a feed until it is closed.
async fn read_feed(mut feed: Feed, ecs: Ecs, intake: &Intake) {
    let source = intake.source(origin(&feed.path, ecs, intake), true, feed.acked.clone());
    let mut lines = None;
    loop {
        let chunk = tokio::select! {
            chunk = feed.chunks.recv() => chunk,
            // What was not read comes again.
            () = intake.stop.cancelled() => return,
        };
        let Some(chunk) = chunk else { break };
        let start = chunk.end.saturating_sub(chunk.bytes.len() as u64);
        let lines = lines.get_or_insert_with(|| Lines::new(intake.delimiter(), start));
        let mut cuts = Vec::new();
        lines.push(&chunk.bytes, chunk.end, &mut cuts);
        if intake.send(&source, cuts).await.is_err() {
            return;
        }
    }
    if let Some(mut lines) = lines {
        intake.send_last(&source, lines.finish()).await;
    }
}

/// The files of this machine.
struct Follow {
    tail: Tail,
    sources: BTreeMap<FileKey, (u64, Arc<Source>)>,
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
    /// What did not work the last time.
    trouble: Option<String>,
}

/// Why a round of reading ended.
enum Pause {
    /// There is nothing more to read now.
    Quiet,
    /// There will be nothing more, or the pipeline takes no more.
    Over,
}

impl Follow {
    async fn run(mut self) -> Result<(), InputError> {
        loop {
            let handle = Handle::current();
            // One thread reads as long as there is something to read; none waits.
            let read = spawn_blocking(move || {
                let pause = self.read(&handle);
                (self, pause)
            });
            let (follow, pause) = read.await.map_err(|error| InputError(panic_reason(error)))?;
            self = follow;
            match pause {
                Pause::Over => return Ok(()),
                Pause::Quiet if self.wait().await.is_err() => return Ok(()),
                Pause::Quiet => {}
            }
        }
    }

    /// Reads until there is nothing more.
    fn read(&mut self, handle: &Handle) -> Pause {
        loop {
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
            if !cuts.is_empty() && handle.block_on(self.intake.send_all(cuts)).is_err() {
                return Pause::Over;
            }
            for key in round.closed {
                self.sources.remove(&key);
            }
            if self.tail.is_done() || self.intake.stop.is_cancelled() {
                return Pause::Over;
            }
            if !round.more {
                return Pause::Quiet;
            }
        }
    }

    /// Waits until there may be something new.
    async fn wait(&mut self) -> Result<(), Closed> {
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
        if let Some((epoch, source)) = self.sources.get(&read.key)
            && *epoch == read.epoch
        {
            return source.clone();
        }
        let (ledger, key, epoch) = (self.intake.ledger.clone(), read.key.clone(), read.epoch);
        let acked = Arc::new(move |offset| ledger.advance(&key, epoch, offset, seconds()));
        let source =
            self.intake.source(origin(&read.path.to_string_lossy(), self.ecs, &self.intake), true, acked);
        self.sources.insert(read.key.clone(), (read.epoch, source.clone()));
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
