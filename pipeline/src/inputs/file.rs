//! Reads lines from files: of this machine by itself, of containers through feeds.
mod follow;

use self::follow::{Completed, Follow};
use crate::codec::Framing;
use crate::ecs::Ecs;
use crate::field::FieldRef;
use crate::lang::kinds::{Paths, Placed};
use crate::lang::problems::Problems;
use crate::plan::StartFrom;
use crate::plugins::InputOptions;
use crate::runtime::lines::Lines;
use crate::runtime::source::{Feed, Input, InputError, Intake};
use crate::runtime::supervise::panic_reason;
use crate::spec::{plugin, words};
use crate::tail::{Order, Wanted};
use crate::value::Value;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

plugin! {
    /// Reads lines from files, and follows them as they grow, are rotated, replaced or cut off.
    ///
    /// ```
    /// input { file { path => ["/var/log/*.log", "/srv/**/app.log"] exclude => "*.gz" start_position => beginning } }
    /// ```
    ///
    /// How far a file has been delivered is remembered in the data directory: after a restart, reading goes on at the
    /// byte. A file is known by its device and inode and its first bytes, not by its path. Each event has the fields
    /// `path` and `host`, and both in `[@metadata]`, too.
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
        /// `tail` goes on for ever. `read` takes files to be complete: each is read to its end, one after the other; those whose
        /// names end in `.gz` or `.gzip` are unpacked.
        mode: Mode = "tail",
        /// Whether the input ends when every file was read, in the mode `read`. With `false` it waits for further files, which is
        /// what Logstash does when this is left out.
        exit_after_read: bool = true,
        /// What is done with a file that was read to its end, when all of it has been delivered, in the mode `read`. Nothing when it
        /// is left out; Logstash would delete it.
        file_completed_action: Option<Placed<CompletedAction>>,
        /// The file that gets the paths of such files, one on each line.
        file_completed_log_path: Option<String>,
        /// Which file is read first in the mode `read`: by the time of its last change, or by its path.
        file_sort_by: SortBy = "last_modified",
        /// Whether the first or the last of that order comes first.
        file_sort_direction: Direction = "asc",
        /// Leave files alone that were not written to for so long, and not read before, until they are written to again.
        ignore_older: Option<Duration>,
        /// What ends a line: just these characters, unless escapes such as `\n` are asked for
        /// (`config.support_escapes`).
        delimiter: Placed<String> = "\n",
        /// How often to look for changes when the system does not tell of them.
        stat_interval: Duration = "1 second",
        /// `/dev/null` forgets positions; any other path is passed over, because they are kept in the data directory.
        sincedb_path: Option<Placed<String>>,
        /// With `v1` or `v8` the fields are `[log][file][path]` and `[host][name]` in place of `path` and `host`.
        ecs_compatibility: Ecs = "disabled",
    }
    accepted {
        "sincedb_write_interval" => "positions are saved every second, and at the end",
        "sincedb_clean_after" => "files that were not seen for 14 days are forgotten",
        "discover_interval" => "new files are looked for every `stat_interval`",
        "close_older" => "a file that stays open costs nothing but a descriptor, and is read at once when it grows; one that lost its name, so that it still takes room on the disk, is closed 30 seconds after it last grew",
        "max_open_files" => "up to 4096 files are open for each path; a limit would let the others wait, and lose what is rotated away meanwhile",
        "file_chunk_count" => "every file gets its turn",
        "file_chunk_size" => "every file gets its turn",
        "check_archive_validity" => "a damaged archive is told, and what could be unpacked is kept",
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

words! {
    /// What is done with files that were read.
    pub(crate) enum CompletedAction {
        /// They are removed.
        Delete = "delete",
        /// Their paths are written down.
        Log = "log",
        /// Both.
        LogAndDelete = "log_and_delete",
    }
}

words! {
    /// By what files are sorted.
    pub(crate) enum SortBy {
        /// By the time of the last change.
        LastModified = "last_modified",
        /// By path.
        Path = "path",
    }
}

words! {
    /// What comes first.
    pub(crate) enum Direction {
        /// The least.
        Ascending = "asc",
        /// The greatest.
        Descending = "desc",
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
        && !matches!(path.as_str(), "/dev/null" | "NUL")
    {
        problems
            .warning(path.span, "positions are kept in the data directory")
            .hint("leave `sincedb_path` out, or set it to \"/dev/null\" to forget positions");
    }
    if let Some(action) = &options.file_completed_action
        && action.value != CompletedAction::Delete
        && options.file_completed_log_path.is_none()
    {
        problems
            .error(action.span, "it is not said where to write the paths")
            .hint("add `file_completed_log_path => \"/…\"`");
    }
}

impl FileOptions {
    /// Whether it is kept how far files were read.
    pub(crate) fn remembers(&self) -> bool {
        self.sincedb_path.as_ref().is_none_or(|path| !matches!(path.as_str(), "/dev/null" | "NUL"))
    }
}

impl InputOptions for FileOptions {
    fn build(&self) -> Result<Box<dyn Input>, String> {
        let wanted = Wanted {
            patterns: self.path.value.0.iter().chain(&self.host_path.0).cloned().collect(),
            exclude: self.exclude.clone(),
            // In `read`, a file is read whole.
            from_beginning: self.start_position == Some(StartFrom::Beginning) || self.mode == Mode::Read,
            remember: self.remembers(),
            delimiter: Vec::new(),
            to_the_end: self.mode == Mode::Read,
            exits: self.mode == Mode::Read && self.exit_after_read,
            ignore_older: self.ignore_older,
            order: Order {
                by_path: self.file_sort_by == SortBy::Path,
                descending: self.file_sort_direction == Direction::Descending,
            },
        };
        let completed =
            self.file_completed_action.as_ref().filter(|_| self.mode == Mode::Read).map(|action| {
                let log =
                    self.file_completed_log_path.clone().filter(|_| action.value != CompletedAction::Delete);
                Completed { log, delete: action.value != CompletedAction::Log }
            });
        let delimiter = self.delimiter.as_bytes().to_vec();
        Ok(Box::new(Files {
            wanted,
            delimiter,
            every: self.stat_interval,
            ecs: self.ecs_compatibility,
            completed,
        }))
    }
}

struct Files {
    wanted: Wanted,
    delimiter: Vec<u8>,
    every: Duration,
    ecs: Ecs,
    completed: Option<Completed>,
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
                let follow = Follow::new(wanted, intake, self.every, ecs, self.completed);
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
    let metadata = |name| FieldRef::from_names(&["@metadata", name]);
    let (name, path) = (Value::Str(intake.host.clone()), Value::from(path));
    vec![(metadata("host"), name.clone()), (metadata("path"), path.clone()), (host, name), (field, path)]
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
