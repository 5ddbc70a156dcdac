//! Keeps events that an output was refused for good, each with the reason, in a file that cannot grow without limit.
//!
//! Invariants: an event counts as kept only after its line is on disk; one file never has more than `FILE_MAX` bytes
//! and there are two at most, the current one and the one before it. When both are full the older is replaced, and
//! the lines that go with it are counted as dropped.
//!
//! Format: one JSON object per line: `time`, `pipeline`, `output`, `reason`, `event`.
use crate::event::Event;
use crate::json;
use crate::runtime::tally::{Tally, count};
use crate::value::Timestamp;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// The most bytes of one file.
const FILE_MAX: u64 = 64 << 20;

/// The dead letters of one pipeline.
#[derive(Debug)]
pub(crate) struct DeadLetters {
    pipeline: String,
    path: PathBuf,
    tally: Arc<Tally>,
    file_max: u64,
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    file: File,
    size: u64,
}

impl DeadLetters {
    /// Dead letters in a file at `path`, which is made when there is the first.
    pub(crate) fn new(path: PathBuf, pipeline: &str, tally: Arc<Tally>) -> Self {
        Self { pipeline: pipeline.to_owned(), path, tally, file_max: FILE_MAX, open: Mutex::new(None) }
    }

    /// Keeps events with their reasons; returns when they are on disk.
    pub(crate) fn keep<'e>(
        &self,
        output: &str,
        now: Timestamp,
        refused: impl IntoIterator<Item = (&'e Event, &'e str)>,
    ) -> io::Result<()> {
        let start = self.start(output, now);
        let mut lines = Vec::new();
        let mut kept = 0;
        for (event, reason) in refused {
            lines.extend_from_slice(&start);
            json::write_str(reason, &mut lines);
            lines.extend_from_slice(b",\"event\":");
            event.write_json(&mut lines);
            lines.extend_from_slice(b"}\n");
            kept += 1;
        }
        if kept == 0 {
            return Ok(());
        }
        let mut open = self.open.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let appended = self.append(&mut open, &lines);
        if appended.is_err() {
            // It is opened anew the next time.
            *open = None;
        }
        appended?;
        count(&self.tally.dead_letters, kept);
        Ok(())
    }

    /// What every line of these begins with.
    fn start(&self, output: &str, now: Timestamp) -> Vec<u8> {
        let mut out = b"{\"time\":".to_vec();
        json::write_time(now, &mut out);
        out.extend_from_slice(b",\"pipeline\":");
        json::write_str(&self.pipeline, &mut out);
        out.extend_from_slice(b",\"output\":");
        json::write_str(output, &mut out);
        out.extend_from_slice(b",\"reason\":");
        out
    }

    fn append(&self, open: &mut Option<Open>, lines: &[u8]) -> io::Result<()> {
        if open.as_ref().is_some_and(|o| o.size > 0 && o.size + lines.len() as u64 > self.file_max) {
            *open = None;
            let older = self.path.with_extension("1.jsonl");
            let dropped = fs::read(&older).map_or(0, |old| memchr::memchr_iter(b'\n', &old).count());
            count(&self.tally.dropped_lines, dropped);
            fs::rename(&self.path, &older)?;
        }
        if open.is_none() {
            if let Some(dir) = self.path.parent() {
                fs::create_dir_all(dir)?;
            }
            let file = OpenOptions::new().create(true).append(true).open(&self.path)?;
            let size = file.metadata()?.len();
            *open = Some(Open { file, size });
        }
        let Some(current) = open else { return Ok(()) };
        current.file.write_all(lines)?;
        current.file.sync_data()?;
        current.size += lines.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Text;
    use expect_test::expect;

    #[test]
    fn a_dead_letter_has_its_reason_and_its_event() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dead/p.jsonl");
        let tally = Arc::new(Tally::default());
        let letters = DeadLetters::new(path.clone(), "p", tally.clone());
        let now: Timestamp = "2026-01-02T03:04:05.006Z".parse().unwrap();
        let event = Event::with_message(now, Text::from("hello"));
        letters.keep("es", now, [(&event, "mapper_parsing_exception: \"no\"")]).unwrap();
        expect![[r#"
            {"time":"2026-01-02T03:04:05.006Z","pipeline":"p","output":"es","reason":"mapper_parsing_exception: \"no\"","event":{"@timestamp":"2026-01-02T03:04:05.006Z","@version":"1","message":"hello"}}
        "#]]
        .assert_eq(&fs::read_to_string(path).unwrap());
        assert_eq!(tally.read().dead_letters, 1);
    }

    #[test]
    fn the_oldest_are_dropped_and_counted_when_there_are_too_many() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.jsonl");
        let tally = Arc::new(Tally::default());
        let mut letters = DeadLetters::new(path.clone(), "p", tally.clone());
        letters.file_max = 1000;
        let event = Event::with_message(Timestamp::UNIX_EPOCH, Text::from("x".repeat(200)));
        for _ in 0..20 {
            letters.keep("es", Timestamp::UNIX_EPOCH, [(&event, "no")]).unwrap();
        }
        let lines = |path: PathBuf| fs::read_to_string(path).unwrap().lines().count() as u64;
        let kept = lines(path.clone()) + lines(path.with_extension("1.jsonl"));
        let counters = tally.read();
        assert_eq!(counters.dead_letters, 20);
        assert_eq!(kept + counters.dropped_lines, 20);
        assert!(counters.dropped_lines > 0);
    }
}
