//! Keeps events that an output was refused for good, each with what refused it, why and when, in a room of limited size.
//!
//! Invariants: an event counts as kept only after it is on disk; the segments of one pipeline never have more than
//! `max_bytes`; what goes when there is no room, or when it is too old, is counted as dropped. What is torn or changed on
//! disk costs the letters that it hits and no others ([`crate::journal`]). Several processes may write letters of one
//! pipeline, and remove some, at the same time: each locks the directory and looks first what the others did.
//!
//! Format: a journal in `dead_letter_queue/PIPELINE` of the data directory. Each record is an event as
//! [`crate::event::stored`] writes it; what is known of its refusal stands in `[@metadata][dead_letter_queue]`. The file
//! `pipeline` beside holds the id of the pipeline.
use crate::event::{Event, stored};
use crate::field::FieldRef;
use crate::journal::{self, Journal, PAYLOAD_MAX, Reader};
use crate::json;
use crate::positions::file_name;
use crate::runtime::tally::{Tally, count};
use crate::value::{Map, Timestamp, Value};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// The directory of all dead letters below a data directory.
const DIRECTORY: &str = "dead_letter_queue";
/// The file that says whose the letters beside it are.
const OWNER: &str = "pipeline";
/// Locked while letters are written or removed.
const LOCK: &str = "lock";
/// Where an event says why it is a dead letter.
const FIELD: [&str; 2] = ["@metadata", "dead_letter_queue"];
/// A segment is this part of the room, at most this large, and open for this part of the time that letters are kept.
const SEGMENTS: u64 = 8;
const SEGMENT_BYTES_MAX: u64 = 10 << 20;
/// More than a record has beside its letter.
const RECORD_BYTES: u64 = 64;

/// How much is kept of dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadLetterLimits {
    /// The most bytes of one pipeline's letters.
    pub max_bytes: u64,
    /// How long a letter is kept; without end when absent.
    pub retain: Option<Duration>,
    /// What goes when there is no room.
    pub when_full: WhenFull,
}

/// What goes when there is no room for a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// The new letter.
    DropNewer,
    /// The oldest letters.
    DropOlder,
}

impl Default for DeadLetterLimits {
    fn default() -> Self {
        Self { max_bytes: 128 << 20, retain: None, when_full: WhenFull::DropOlder }
    }
}

/// The dead letters of one pipeline.
#[derive(Debug)]
pub(crate) struct Letterbox {
    pipeline: String,
    dir: PathBuf,
    limits: DeadLetterLimits,
    tally: Arc<Tally>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    /// Opened with the first letter.
    journal: Option<Journal>,
    /// When the current segment was begun.
    since: Option<Timestamp>,
}

/// What one output puts dead letters into.
#[derive(Clone, Debug)]
pub(crate) struct DeadLetters {
    letterbox: Arc<Letterbox>,
    /// The name of the plugin, and its id.
    plugin: &'static str,
    id: String,
}

impl DeadLetters {
    /// Keeps events with their reasons; returns when they are on disk.
    pub(crate) fn keep<'e>(
        &self,
        now: Timestamp,
        refused: impl IntoIterator<Item = (&'e Event, &'e str)>,
    ) -> io::Result<()> {
        let letters: Vec<Vec<u8>> =
            refused.into_iter().map(|(event, reason)| self.letter(now, event, reason)).collect();
        if letters.is_empty() { Ok(()) } else { self.letterbox.put(now, &letters) }
    }

    /// Counts events that were refused and that nobody wants to keep.
    pub(crate) fn count_dropped(&self, events: usize) {
        count(&self.letterbox.tally.dropped_lines, events);
    }

    fn letter(&self, now: Timestamp, event: &Event, reason: &str) -> Vec<u8> {
        let mut event = event.clone();
        let about = [
            ("entry_time", Value::Time(now)),
            ("plugin_type", self.plugin.into()),
            ("plugin_id", self.id.as_str().into()),
            ("reason", reason.into()),
        ];
        // `@metadata` is always a map.
        let _set = event.set(&FieldRef::from_names(&FIELD), Value::Map(about.into_iter().collect::<Map>()));
        let mut out = Vec::with_capacity(1024);
        stored::write(&event, &mut out);
        out
    }
}

impl Letterbox {
    /// The dead letters of a pipeline; their directory is made when there is the first.
    pub(crate) fn new(data_dir: &Path, pipeline: &str, limits: DeadLetterLimits, tally: Arc<Tally>) -> Self {
        let dir = directory(&data_dir.join(DIRECTORY), pipeline);
        Self { pipeline: pipeline.to_owned(), dir, limits, tally, open: Mutex::default() }
    }

    /// What the output with this name and id puts its letters into.
    pub(crate) fn of(self: &Arc<Self>, plugin: &'static str, id: &str) -> DeadLetters {
        DeadLetters { letterbox: self.clone(), plugin, id: id.to_owned() }
    }

    fn put(&self, now: Timestamp, letters: &[Vec<u8>]) -> io::Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let open = &mut *open;
        let _lock = locked(&self.dir)?;
        let journal = self.current(&mut open.journal)?;
        self.remove_old(journal, now)?;
        if let (Some(retain), Some(since)) = (self.limits.retain, open.since)
            && now.duration_since(since).unsigned_abs() > retain / SEGMENTS as u32
        {
            journal.seal()?;
            open.since = None;
        }
        open.since.get_or_insert(now);
        let mut dropped = 0;
        for letter in letters {
            if self.make_room(journal, letter.len())? {
                journal.append(&[letter])?;
            } else {
                dropped += 1;
            }
        }
        journal.sync()?;
        if dropped > 0 {
            tracing::warn!(pipeline = %self.pipeline, count = dropped, "no room for dead letters; events are dropped");
        }
        count(&self.tally.dropped_lines, dropped);
        count(&self.tally.dead_letters, letters.len() - dropped);
        Ok(())
    }

    /// Whether there is room for a letter of so many bytes, once older ones were dropped where that is wanted.
    fn make_room(&self, journal: &mut Journal, letter: usize) -> io::Result<bool> {
        let needed = letter as u64 + RECORD_BYTES;
        if needed > self.limits.max_bytes || letter > PAYLOAD_MAX {
            return Ok(false);
        }
        while journal.bytes() > 0 && journal.bytes() + needed > self.limits.max_bytes {
            if self.limits.when_full == WhenFull::DropNewer {
                return Ok(false);
            }
            count(&self.tally.dropped_lines, journal.drop_oldest()?);
        }
        Ok(true)
    }

    /// The journal as it is now: others may have written to it, or removed some of it.
    fn current<'o>(&self, open: &'o mut Option<Journal>) -> io::Result<&'o mut Journal> {
        let overtaken = open.take_if(|journal| journal.is_overtaken().unwrap_or(true));
        let journal = match open {
            Some(journal) => journal,
            none => none.insert(self.begin(overtaken.map_or(0, |journal| journal.last()))?),
        };
        journal.refresh()?;
        Ok(journal)
    }

    /// Opens the journal; new letters get numbers greater than `after`.
    fn begin(&self, after: u64) -> io::Result<Journal> {
        fs::write(self.dir.join(OWNER), &self.pipeline)?;
        let segment = (self.limits.max_bytes / SEGMENTS).clamp(1, SEGMENT_BYTES_MAX);
        Journal::open(&self.dir, segment, after)
    }

    /// Drops letters that are older than they are kept for; to be called now and then.
    pub(crate) fn forget_old(&self, now: Timestamp) -> io::Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if self.limits.retain.is_none() || !self.dir.exists() {
            return Ok(());
        }
        let _lock = locked(&self.dir)?;
        self.remove_old(self.current(&mut open.journal)?, now)
    }

    fn remove_old(&self, journal: &mut Journal, now: Timestamp) -> io::Result<()> {
        let Some(retain) = self.limits.retain else { return Ok(()) };
        let is_old =
            |written: SystemTime| SystemTime::from(now).duration_since(written).is_ok_and(|age| age > retain);
        while journal.oldest_written().is_some_and(is_old) {
            count(&self.tally.dropped_lines, journal.drop_oldest()?);
        }
        Ok(())
    }
}

/// Makes the directory of a pipeline's letters if it is not there, and locks it until the file is dropped.
fn locked(dir: &Path) -> io::Result<File> {
    fs::create_dir_all(dir)?;
    let lock = File::options().create(true).truncate(false).write(true).open(dir.join(LOCK))?;
    lock.lock()?;
    Ok(lock)
}

/// Where the letters of a pipeline are, below the directory of all letters.
pub(crate) fn directory(all: &Path, pipeline: &str) -> PathBuf {
    all.join(file_name(pipeline))
}

/// An event that was refused, with what is known of its refusal.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// Its number; later ones have greater numbers.
    pub number: u64,
    /// When it was refused.
    pub time: Timestamp,
    /// The name of the plugin that it was refused by.
    pub plugin_type: String,
    /// The id of that plugin.
    pub plugin_id: String,
    /// Why.
    pub reason: String,
    /// The event itself.
    pub event: Event,
}

impl DeadLetter {
    /// The letter as one JSON object: `entry_time`, `plugin_type`, `plugin_id`, `reason`, `event`.
    pub fn to_json(&self) -> String {
        let mut out = b"{\"entry_time\":".to_vec();
        json::write_time(self.time, &mut out);
        for (name, text) in [
            (",\"plugin_type\":", &self.plugin_type),
            (",\"plugin_id\":", &self.plugin_id),
            (",\"reason\":", &self.reason),
        ] {
            out.extend_from_slice(name.as_bytes());
            json::write_str(text, &mut out);
        }
        out.extend_from_slice(b",\"event\":");
        self.event.write_json(&mut out);
        out.push(b'}');
        String::from_utf8_lossy(&out).into_owned()
    }

    /// Reads a letter; `None` when it is none.
    pub(crate) fn read(record: &journal::Record) -> Option<Self> {
        let event = stored::read(&record.payload).ok()?;
        let about = event.get(&FieldRef::from_names(&FIELD))?.as_map()?;
        let text = |name: &str| match about.get(name) {
            Some(Value::Str(text)) => text.as_str().to_owned(),
            _ => String::new(),
        };
        let time = match about.get("entry_time") {
            Some(Value::Time(time)) => *time,
            _ => Timestamp::UNIX_EPOCH,
        };
        let (plugin_type, plugin_id, reason) = (text("plugin_type"), text("plugin_id"), text("reason"));
        Some(Self { number: record.number, time, plugin_type, plugin_id, reason, event })
    }
}

/// What there is of one pipeline's dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterSummary {
    /// The id of the pipeline.
    pub pipeline: String,
    /// How many letters can be read.
    pub letters: u64,
    /// How many bytes they have on disk.
    pub bytes: u64,
    /// How many bytes were torn or changed on disk.
    pub damaged_bytes: u64,
    /// When the first was refused, and the last.
    pub first_and_last: Option<(Timestamp, Timestamp)>,
    /// The number of the last one; 0 when there is none.
    pub last_number: u64,
}

/// Tells what dead letters there are in a data directory, by pipeline.
pub fn dead_letter_summaries(data_dir: &Path) -> io::Result<Vec<DeadLetterSummary>> {
    let entries = match fs::read_dir(data_dir.join(DIRECTORY)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let Ok(pipeline) = fs::read_to_string(entry?.path().join(OWNER)) else { continue };
        let mut summary = DeadLetterSummary {
            letters: 0,
            bytes: journal::segments(&dead_letter_directory(data_dir, &pipeline))?
                .iter()
                .map(|segment| segment.bytes)
                .sum(),
            damaged_bytes: 0,
            first_and_last: None,
            last_number: 0,
            pipeline,
        };
        let mut letters = dead_letters(data_dir, &summary.pipeline);
        for letter in letters.by_ref() {
            let letter = letter?;
            summary.letters += 1;
            let first = summary.first_and_last.map_or(letter.time, |(first, _)| first);
            summary.first_and_last = Some((first, letter.time));
            summary.last_number = letter.number;
        }
        summary.damaged_bytes = letters.reader.damaged();
        found.push(summary);
    }
    found.sort_by(|a, b| a.pipeline.cmp(&b.pipeline));
    Ok(found)
}

/// The dead letters of a pipeline in their order; see [`dead_letters`].
#[derive(Debug)]
pub struct DeadLetterList {
    reader: Reader,
}

/// Sets the letters that a pipeline has now apart from those that come later, so that [`remove_dead_letters`] can remove all of
/// them and no others, also beside a process that writes letters. Returns the number of the last one, 0 when there is none.
pub fn set_dead_letters_apart(data_dir: &Path, pipeline: &str) -> io::Result<u64> {
    let dir = dead_letter_directory(data_dir, pipeline);
    if !dir.exists() {
        return Ok(0);
    }
    let _lock = locked(&dir)?;
    journal::begin_segment(&dir)
}

/// Removes the letters of a pipeline through this number, at which they were [set apart](set_dead_letters_apart).
pub fn remove_dead_letters(data_dir: &Path, pipeline: &str, through: u64) -> io::Result<()> {
    let dir = dead_letter_directory(data_dir, pipeline);
    let _lock = locked(&dir)?;
    journal::remove_all_through(&dir, through)
}

/// The directory of the dead letters of a pipeline, below a data directory.
pub fn dead_letter_directory(data_dir: &Path, pipeline: &str) -> PathBuf {
    directory(&data_dir.join(DIRECTORY), pipeline)
}

/// Reads the dead letters of a pipeline, in their order. What cannot be read is passed over.
pub fn dead_letters(data_dir: &Path, pipeline: &str) -> DeadLetterList {
    DeadLetterList { reader: Reader::new(&dead_letter_directory(data_dir, pipeline), 0) }
}

impl Iterator for DeadLetterList {
    type Item = io::Result<DeadLetter>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.reader.next() {
                Ok(Some(record)) => match DeadLetter::read(&record) {
                    Some(letter) => return Some(Ok(letter)),
                    None => continue,
                },
                Ok(None) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Text;

    fn letterbox(dir: &Path, limits: DeadLetterLimits) -> (DeadLetters, Arc<Tally>) {
        let tally = Arc::new(Tally::default());
        let letterbox = Arc::new(Letterbox::new(dir, "p", limits, tally.clone()));
        (letterbox.of("elasticsearch", "es"), tally)
    }

    fn event(text: &str) -> Event {
        Event::with_message(Timestamp::UNIX_EPOCH, Text::from(text))
    }

    fn messages(dir: &Path) -> Vec<String> {
        let text = |letter: DeadLetter| match letter.event.fields().get("message") {
            Some(Value::Str(text)) => text.as_str().to_owned(),
            other => panic!("{other:?}"),
        };
        dead_letters(dir, "p").map(|letter| text(letter.unwrap())).collect()
    }

    #[test]
    fn a_dead_letter_has_its_reason_and_its_event_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let (letters, tally) = letterbox(dir.path(), DeadLetterLimits::default());
        let now: Timestamp = "2026-01-02T03:04:05.006Z".parse().unwrap();
        let mut event = event("hello");
        event.set(&FieldRef::parse("[@metadata][kept]").unwrap(), Value::Float(1.5)).unwrap();
        letters.keep(now, [(&event, "mapper_parsing_exception: \"no\"")]).unwrap();
        let found: Vec<DeadLetter> = dead_letters(dir.path(), "p").collect::<Result<_, _>>().unwrap();
        let [letter] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(
            (letter.time, letter.plugin_id.as_str(), letter.plugin_type.as_str()),
            (now, "es", "elasticsearch")
        );
        assert_eq!(letter.reason, "mapper_parsing_exception: \"no\"");
        assert_eq!(letter.event.metadata().get("kept"), Some(&Value::Float(1.5)));
        assert_eq!(tally.read().dead_letters, 1);
        let summaries = dead_letter_summaries(dir.path()).unwrap();
        assert_eq!(
            (summaries[0].pipeline.as_str(), summaries[0].letters, summaries[0].last_number),
            ("p", 1, 1)
        );
    }

    #[test]
    fn without_room_the_oldest_or_the_newest_are_dropped_and_counted() {
        for when_full in [WhenFull::DropOlder, WhenFull::DropNewer] {
            let dir = tempfile::tempdir().unwrap();
            let limits = DeadLetterLimits { max_bytes: 2000, retain: None, when_full };
            let (letters, tally) = letterbox(dir.path(), limits);
            for n in 0..20 {
                letters.keep(Timestamp::UNIX_EPOCH, [(&event(&format!("{n:0100}")), "no")]).unwrap();
            }
            let kept: Vec<usize> = messages(dir.path()).iter().map(|m| m.parse().unwrap()).collect();
            let expected: Vec<usize> = match when_full {
                WhenFull::DropOlder => (20 - kept.len()..20).collect(),
                WhenFull::DropNewer => (0..kept.len()).collect(),
            };
            assert_eq!(kept, expected);
            assert!((3..18).contains(&kept.len()), "{kept:?}");
            assert_eq!(tally.read().dropped_lines + kept.len() as u64, 20);
            assert!(dead_letter_summaries(dir.path()).unwrap()[0].bytes <= 2000);
        }
    }

    #[test]
    fn letters_of_two_processes_are_all_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (one, _) = letterbox(dir.path(), DeadLetterLimits::default());
        let (other, _) = letterbox(dir.path(), DeadLetterLimits::default());
        for n in 0..6 {
            let letters = if n % 3 == 0 { &one } else { &other };
            letters.keep(Timestamp::UNIX_EPOCH, [(&event(&n.to_string()), "no")]).unwrap();
        }
        assert_eq!(messages(dir.path()), ["0", "1", "2", "3", "4", "5"]);
    }

    #[test]
    fn letters_that_come_while_others_are_sent_again_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (letters, tally) = letterbox(dir.path(), DeadLetterLimits::default());
        let keep = |text: &str| letters.keep(Timestamp::UNIX_EPOCH, [(&event(text), "no")]).unwrap();
        assert_eq!(set_dead_letters_apart(dir.path(), "p").unwrap(), 0);
        keep("one");
        keep("two");
        assert_eq!(set_dead_letters_apart(dir.path(), "p").unwrap(), 2);
        keep("three");
        remove_dead_letters(dir.path(), "p", 2).unwrap();
        keep("four");
        assert_eq!(messages(dir.path()), ["three", "four"]);
        remove_dead_letters(dir.path(), "p", 4).unwrap();
        keep("five");
        assert_eq!((messages(dir.path()), tally.read().dead_letters), (vec!["five".to_owned()], 5));
    }

    #[test]
    fn letters_are_kept_after_their_directory_was_removed_and_numbers_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let (letters, _) = letterbox(dir.path(), DeadLetterLimits::default());
        letters.keep(Timestamp::UNIX_EPOCH, [(&event("one"), "no")]).unwrap();
        fs::remove_dir_all(dir.path().join(DIRECTORY)).unwrap();
        letters.keep(Timestamp::UNIX_EPOCH, [(&event("two"), "no")]).unwrap();
        assert_eq!(messages(dir.path()), ["two"]);
        assert_eq!(dead_letters(dir.path(), "p").next().unwrap().unwrap().number, 2);
    }

    #[test]
    fn many_letters_at_once_have_no_more_room_than_there_is() {
        for when_full in [WhenFull::DropOlder, WhenFull::DropNewer] {
            let dir = tempfile::tempdir().unwrap();
            let (letters, tally) =
                letterbox(dir.path(), DeadLetterLimits { max_bytes: 2000, retain: None, when_full });
            let events: Vec<Event> = (0..20).map(|n| event(&format!("{n:0100}"))).collect();
            let huge = event(&"x".repeat(5000));
            let refused = events.iter().chain([&huge]).map(|event| (event, "no"));
            letters.keep(Timestamp::UNIX_EPOCH, refused).unwrap();
            let kept = messages(dir.path()).len() as u64;
            assert!((3..18).contains(&kept), "{kept}");
            assert_eq!(tally.read().dropped_lines + kept, 21);
            assert!(dead_letter_summaries(dir.path()).unwrap()[0].bytes <= 2000);
        }
    }

    #[test]
    fn letters_that_are_too_old_are_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let limits =
            DeadLetterLimits { retain: Some(Duration::from_secs(3600)), ..DeadLetterLimits::default() };
        let (letters, tally) = letterbox(dir.path(), limits);
        let now = Timestamp::now();
        letters.keep(now, [(&event("old"), "no")]).unwrap();
        letters.letterbox.forget_old(now).unwrap();
        assert_eq!(messages(dir.path()), ["old"]);
        let later = now + Duration::from_secs(3700);
        letters.keep(later, [(&event("new"), "no")]).unwrap();
        assert_eq!((messages(dir.path()), tally.read().dropped_lines), (vec!["new".to_owned()], 1));
        letters.letterbox.forget_old(later + Duration::from_secs(7200)).unwrap();
        assert_eq!(messages(dir.path()), [""; 0]);
    }
}
