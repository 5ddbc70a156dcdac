//! Reads the dead letters of a pipeline as events.
use crate::dead_letter::{self, DeadLetter};
use crate::journal::{self, Reader};
use crate::json::parse_time;
use crate::lang::kinds::Placed;
use crate::lang::problems::Problems;
use crate::plan::{Common, CommonInput, PluginCall};
use crate::plugins::InputOptions;
use crate::positions::{FileKey, Ledger, Position};
use crate::runtime::lines::{BYTES_MAX, Cut, LINES_MAX};
use crate::runtime::source::{Input, InputError, Intake};
use crate::runtime::supervise::panic_reason;
use crate::spec::{Options, plugin};
use crate::value::Timestamp;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::task::spawn_blocking;

plugin! {
    /// Reads the events that outputs of a pipeline were refused for good, and goes on reading as more come.
    ///
    /// ```
    /// input {
    ///   dead_letter_queue {
    ///     path => "/var/lib/logherd/dead_letter_queue"
    ///     start_timestamp => "2026-11-20T12:00:00Z"
    ///   }
    /// }
    /// ```
    ///
    /// The events are as the output got them, with `@metadata`. In `[@metadata][dead_letter_queue]` stand `entry_time`,
    /// `plugin_type`, `plugin_id` and `reason`.
    input "dead_letter_queue" => pub(crate) struct DeadLetterQueueOptions {
        /// The directory `dead_letter_queue` in the data directory of the pipeline.
        path: Placed<String>,
        /// The id of the pipeline.
        pipeline_id: String = "main",
        /// Whether to go on after a restart where reading ended.
        commit_offsets: bool = true,
        /// Whether to remove letters from the disk once every output has acknowledged them.
        clean_consumed: Placed<bool> = false,
        /// Leaves out letters from before this time, such as `2026-11-20T12:00:00Z`.
        start_timestamp: Option<Placed<String>>,
        /// Whether to end when every letter that is there was read.
        stop_at_end: bool = false,
    }
    accepted {
        "sincedb_path" => "how far was read is kept in the data directory",
    }
    validate = check
}

fn check(options: &DeadLetterQueueOptions, problems: &mut Problems) {
    if !options.path.value.starts_with('/') {
        problems
            .error(options.path.span, "the path is relative")
            .hint("write an absolute path: start it with `/`");
    }
    if let Some(start) = &options.start_timestamp
        && parse_time(&start.value).is_none()
    {
        problems
            .error(start.span, "this is no time")
            .hint("write it like \"2026-11-20T12:00:00Z\" or \"2026-11-20T12:00:00+01:00\"");
    }
    if options.clean_consumed.value && !options.commit_offsets {
        problems
            .error(options.clean_consumed.span, "`clean_consumed` needs `commit_offsets`")
            .hint("leave `commit_offsets => false` out");
    }
}

/// Reads the letters of a pipeline through a number once, and removes what arrived as far as whole files of them can go. Where it
/// ended is not remembered: whoever has it run decides what becomes of the rest.
pub(crate) struct Replay {
    dir: PathBuf,
    until: u64,
}

impl Replay {
    /// The input for a plan.
    pub(crate) fn call(letters: &Path, until: u64) -> PluginCall {
        PluginCall {
            spec: DeadLetterQueueOptions::SPEC,
            id: "dlq-replay".to_owned(),
            line: 0,
            options: Arc::new(Self { dir: letters.to_owned(), until }),
            common: Common::Input(Arc::new(CommonInput::default())),
        }
    }

    pub(crate) fn build(&self) -> Box<dyn Input> {
        let (dir, until) = (self.dir.clone(), Some(self.until));
        Box::new(DeadLetterQueue { dir, commit: false, clean: true, from: None, stop_at_end: true, until })
    }
}

impl InputOptions for DeadLetterQueueOptions {
    fn build(&self) -> Result<Box<dyn Input>, String> {
        Ok(Box::new(DeadLetterQueue {
            dir: dead_letter::directory(Path::new(&self.path.value), &self.pipeline_id),
            commit: self.commit_offsets,
            clean: self.clean_consumed.value,
            from: self.start_timestamp.as_ref().and_then(|start| parse_time(&start.value)),
            stop_at_end: self.stop_at_end,
            until: None,
        }))
    }
}

/// How often it is looked for new letters.
const LOOK_EVERY: Duration = Duration::from_millis(500);

struct DeadLetterQueue {
    dir: PathBuf,
    commit: bool,
    clean: bool,
    from: Option<Timestamp>,
    stop_at_end: bool,
    /// The number of the last letter to read, if that is known before.
    until: Option<u64>,
}

impl Input for DeadLetterQueue {
    fn run(self: Box<Self>, intake: Intake) -> BoxFuture<'static, Result<(), InputError>> {
        Box::pin(async move {
            let key =
                FileKey { input: format!("dead_letter_queue:{}", self.dir.display()), device: 0, inode: 0 };
            let ledger = self.commit.then(|| intake.ledger.clone());
            let there = last_number(&self.dir)?;
            let known = ledger.as_ref().and_then(|ledger| ledger.get(&key)).map_or(0, |known| known.offset);
            // Numbers that began anew: somebody has removed the directory.
            let after = if known > there { 0 } else { known };
            let epoch = ledger.as_ref().map_or(0, |ledger| ledger.set(&key, position(&self.dir, after)));
            let source = intake.stored_source(self.acked(ledger.clone(), &key, epoch));
            let until = self.until.unwrap_or(if self.stop_at_end { there } else { u64::MAX });
            let reader = Reader::new(&self.dir, after);
            let mut letters = Letters { reader, last: after, until, from: self.from };
            loop {
                let (back, read) = spawn_blocking(move || {
                    let read = letters.read();
                    (letters, read)
                })
                .await
                .map_err(|error| InputError(panic_reason(error)))?;
                letters = back;
                let cut =
                    read.map_err(|error| InputError(format!("read `{}`: {error}", self.dir.display())))?;
                match cut {
                    Some(cut) => {
                        if intake.send(&source, vec![cut]).await.is_err() {
                            return Ok(());
                        }
                    }
                    None if self.stop_at_end => return Ok(()),
                    None => {
                        if let Some(ledger) = &ledger {
                            ledger.seen(&key, now_s());
                        }
                        if intake.pause(LOOK_EVERY).await.is_err() {
                            return Ok(());
                        }
                    }
                }
            }
        })
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn position(dir: &Path, offset: u64) -> Position {
    Position { offset, path: dir.display().to_string(), seen_s: now_s(), ..Position::default() }
}

fn last_number(dir: &Path) -> Result<u64, InputError> {
    let failed = |error| InputError(format!("read `{}`: {error}", dir.display()));
    Ok(journal::Journal::open(dir, u64::MAX, 0).map_err(failed)?.last())
}

/// Letters that are read in order.
struct Letters {
    reader: Reader,
    /// The number of the last one that was given out, or passed over.
    last: u64,
    /// The number of the last one to read.
    until: u64,
    from: Option<Timestamp>,
}

impl Letters {
    /// Reads up to a frame of letters; no cut when there are none for now. The cut never ends after a letter that was not looked
    /// at, or that is behind the last one to read: what is acknowledged counts as delivered.
    fn read(&mut self) -> std::io::Result<Option<Cut>> {
        let (mut letters, mut size, before) = (Vec::<Bytes>::new(), 0, self.last);
        while letters.len() < LINES_MAX && size < BYTES_MAX && self.last < self.until {
            let Some(record) = self.reader.next()? else { break };
            if record.number > self.until {
                // The last one to read cannot be read.
                self.until = self.last;
                break;
            }
            self.last = record.number;
            let is_wanted = DeadLetter::read(&record)
                .is_some_and(|letter| self.from.is_none_or(|from| letter.time >= from));
            if is_wanted {
                size += record.payload.len();
                letters.push(record.payload);
            }
        }
        Ok((self.last > before).then(|| Cut::of(&letters, self.last)))
    }
}

impl DeadLetterQueue {
    fn acked(
        &self,
        ledger: Option<Arc<Ledger>>,
        key: &FileKey,
        epoch: u64,
    ) -> Arc<dyn Fn(u64) + Send + Sync> {
        let (key, dir, clean) = (key.clone(), self.dir.clone(), self.clean);
        Arc::new(move |number| {
            if let Some(ledger) = &ledger {
                ledger.advance(&key, epoch, number, now_s());
            }
            if clean && let Err(error) = journal::remove_through(&dir, number) {
                tracing::warn!(dir = %dir.display(), %error, "delivered dead letters could not be removed");
            }
        })
    }
}

#[cfg(test)]
mod tests;
