//! Writes this process's own log so that it fills no sandbox, whatever happens: `stderr` there is never rotated.
//!
//! Everything goes into `logherd.log` in the sandbox, which is rotated and kept once; `stderr` gets the first of it and then
//! no more. A message that comes again and again is written some times in a minute and then counted. No input of this
//! process reads these files.
mod repeats;

use repeats::Repeats;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// The file's name in the sandbox.
const NAME: &str = "logherd.log";
/// The most bytes of the file; as many are kept of the one before.
const FILE_MAX: u64 = 4 << 20;
/// The most bytes of the log that `stderr` gets.
const STDERR_MAX: u64 = 1 << 20;
/// The most bytes of `stdout`, to which outputs may print events: beyond, it is emptied.
const STDOUT_MAX: u64 = 16 << 20;

/// The log of this process. Clones write to the same.
#[derive(Clone, Debug)]
pub struct OwnLog(Arc<Mutex<Log>>);

impl OwnLog {
    /// Opens the log in a sandbox. Where that cannot be written, there is only `stderr`.
    pub fn open(sandbox: &Path) -> Self {
        Self::with(sandbox, Box::new(io::stderr()), FILE_MAX, STDERR_MAX)
    }

    fn with(dir: &Path, stderr: Box<dyn Write + Send>, file_max: u64, stderr_max: u64) -> Self {
        let file = match Rotated::open(dir.join(NAME), file_max) {
            Ok(file) => Some(file),
            Err(error) => {
                // There is no other place to say it.
                drop(writeln!(&mut io::stderr(), "no log can be written in `{}`: {error}", dir.display()));
                None
            }
        };
        let log = Log { repeats: Repeats::default(), file, stderr, stderr_left: Some(stderr_max) };
        Self(Arc::new(Mutex::new(log)))
    }

    fn write_at(&self, now: Instant, text: &[u8]) {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for line in log.repeats.admit(now, text) {
            log.put(&line);
        }
    }
}

impl Write for OwnLog {
    /// Takes one message, whole.
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.write_at(Instant::now(), text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Log {
    repeats: Repeats,
    file: Option<Rotated>,
    stderr: Box<dyn Write + Send>,
    /// How many bytes `stderr` still gets; `None` once it was told where the rest is.
    stderr_left: Option<u64>,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("stderr_left", &self.stderr_left).finish_non_exhaustive()
    }
}

impl Log {
    /// Writes a line to both places as far as they take it. A log that cannot be written is no reason to stop.
    fn put(&mut self, line: &[u8]) {
        let length = line.len() as u64;
        let in_file = self.file.as_mut().is_some_and(|file| file.put(line).is_ok());
        match self.stderr_left {
            Some(left) if length <= left => {
                self.stderr_left = Some(left - length);
                drop(self.stderr.write_all(line));
            }
            Some(_) => {
                self.stderr_left = None;
                let rest = if in_file { NAME } else { "no file: it cannot be written here" };
                drop(writeln!(
                    self.stderr,
                    "this file gets no more, so that it does not grow for ever; the rest is in {rest}"
                ));
            }
            None => {}
        }
    }
}

/// A file that makes room for itself.
#[derive(Debug)]
struct Rotated {
    path: PathBuf,
    file: File,
    length: u64,
    max: u64,
}

impl Rotated {
    fn open(path: PathBuf, max: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let found = file.metadata()?;
        pipeline::own_output::keep_out(&found);
        Ok(Self { path, file, length: found.len(), max })
    }

    fn put(&mut self, line: &[u8]) -> io::Result<()> {
        let length = line.len() as u64;
        if self.length > 0 && self.length + length > self.max {
            let before = self.path.with_extension("log.1");
            if let Ok(gone) = fs::metadata(&before) {
                pipeline::own_output::let_in(&gone);
            }
            fs::rename(&self.path, &before)?;
            *self = Self::open(self.path.clone(), self.max)?;
        }
        self.file.write_all(line)?;
        self.length += length;
        Ok(())
    }
}

/// Empties `stdout` when it is a file that has become too large. Answers how many bytes are gone.
pub(crate) fn trim_stdout() -> Option<u64> {
    let file = File::from(io::stdout().as_fd().try_clone_to_owned().ok()?);
    trim(&file, STDOUT_MAX)
}

/// Writers of a sandbox's files append, so what comes next begins at the beginning.
fn trim(file: &File, max: u64) -> Option<u64> {
    let found = file.metadata().ok().filter(fs::Metadata::is_file)?;
    (found.len() > max && file.set_len(0).is_ok()).then_some(found.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// A `stderr` to look at.
    #[derive(Clone, Default)]
    struct Shown(Arc<Mutex<Vec<u8>>>);

    impl Write for Shown {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(text);
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Shown {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    fn size(dir: &Path) -> u64 {
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
    }

    #[test]
    fn a_flood_of_different_messages_over_days_stays_within_its_room() {
        let dir = tempfile::tempdir().unwrap();
        let shown = Shown::default();
        let log = OwnLog::with(dir.path(), Box::new(shown.clone()), 10_000, 2_000);
        let began = Instant::now();
        for n in 0..200_000_u64 {
            let word: String = n.to_string().bytes().map(|digit| char::from(digit + 49)).collect();
            let line = format!("2026-01-01T00:00:00Z WARN {word} does not work\n");
            // Three days of it.
            log.write_at(began + Duration::from_millis(n * 1296), line.as_bytes());
        }
        assert!(size(dir.path()) <= 20_000, "{}", size(dir.path()));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        let text = shown.text();
        assert!(text.len() < 2_200 && text.ends_with("the rest is in logherd.log\n"), "{text}");
        let newest = fs::read_to_string(dir.path().join(NAME)).unwrap();
        assert!(newest.lines().last().unwrap().contains("does not work"), "the newest is there: {newest}");
    }

    #[test]
    fn a_message_that_comes_again_and_again_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let log = OwnLog::with(dir.path(), Box::new(Shown::default()), 1 << 20, 1 << 20);
        let began = Instant::now();
        for n in 0..5_000 {
            let line = format!("2026-01-01T00:00:{n:05} WARN container {n} cannot be read\n");
            log.write_at(began + Duration::from_millis(n), line.as_bytes());
        }
        log.write_at(began + Duration::from_secs(61), b"INFO another\n");
        let text = fs::read_to_string(dir.path().join(NAME)).unwrap();
        assert!(text.lines().count() < 30, "{text}");
        assert!(text.contains("4980 more like"), "{text}");
        assert!(text.ends_with("INFO another\n"), "{text}");
    }

    #[test]
    fn a_sandbox_that_cannot_be_written_leaves_stderr() {
        let shown = Shown::default();
        let mut log = OwnLog::with(Path::new("/nowhere/at/all"), Box::new(shown.clone()), 100, 100);
        log.write_all(b"INFO here\n").unwrap();
        log.write_all(&[b'x'; 100]).unwrap();
        log.write_all(b"INFO gone\n").unwrap();
        assert!(shown.text().starts_with("INFO here\nthis file gets no more"), "{}", shown.text());
        assert!(!shown.text().contains("gone"));
    }

    #[test]
    fn a_standard_output_that_is_a_file_is_emptied_when_it_is_too_large_and_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stdout");
        let mut file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
        file.write_all(&[b'x'; 50]).unwrap();
        assert_eq!(trim(&file, 50), None);
        file.write_all(b"y").unwrap();
        assert_eq!(trim(&file, 50), Some(51));
        file.write_all(b"next").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "next");
    }
}
