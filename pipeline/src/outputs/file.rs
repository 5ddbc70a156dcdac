//! Appends events to files whose paths may depend on the event.
use crate::codec::{Encode, encoder};
use crate::event::Event;
use crate::lang::kinds::{CodecCall, Placed};
use crate::lang::problems::Problems;
use crate::plugins::OutputOptions;
use crate::runtime::load::{Failure, Load, Output};
use crate::runtime::supervise::panic_reason;
use crate::spec::{plugin, words};
use crate::template::Template;
use crate::topology::OutputSite;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::future::BoxFuture;
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, Weak};
use tokio::task::spawn_blocking;
use tracing::warn;

plugin! {
    /// Appends events to files. Directories are made when they are missing; a file that was renamed or removed is made
    /// anew. A batch is written at once, so that lines of several pipelines in one file stay whole.
    ///
    /// ```
    /// output { file { path => "/var/log/all/%{host}-%{+YYYY-MM-dd}.log" codec => line { format => "%{message}" } } }
    /// ```
    output "file" => pub(crate) struct FileOptions {
        /// The path of the file; it may hold `%{field}` and `%{+yyyy-MM-dd}`, but not at its very beginning. An event
        /// whose fields would lead out of the fixed first directories, or to a file that cannot be, goes to the file of `filename_failure` in them.
        path: Placed<Template>,
        /// How an event is written.
        codec: CodecCall = "json_lines",
        /// The name of the file for events whose path leads elsewhere.
        filename_failure: String = "_filepath_failures",
        /// Whether lines must be on the disk, and not only with the system, before they count as delivered: then they
        /// survive a power failure too.
        fsync: bool = false,
        /// Whether what is written is compressed: each batch is a whole part, which `gunzip` reads one after the other.
        gzip: bool = false,
        /// What becomes of what a file holds.
        write_behavior: Behavior = "append",
        /// Whether a file that is not there is made. If not, its events go to the file of `filename_failure`.
        create_if_deleted: bool = true,
        /// The access rights of files that are made, before the umask: octal, such as `0640`.
        file_mode: Option<Placed<String>>,
        /// The access rights of directories that are made, before the umask: octal, such as `0750`.
        dir_mode: Option<Placed<String>>,
    }
    accepted {
        "flush_interval" => "every batch is written at once",
        "stale_cleanup_interval" => "files that are not used are closed",
    }
    validate = check
}

words! {
    /// What becomes of what a file holds.
    pub(crate) enum Behavior {
        /// It stays: events are appended.
        Append = "append",
        /// It is replaced: the file holds the last event.
        Overwrite = "overwrite",
    }
}

/// Access rights: octal when they begin with 0, as people write them; -1 is none.
fn mode(text: &str) -> Result<Option<u32>, ()> {
    let mode = match text.trim() {
        "-1" => return Ok(None),
        octal if octal.starts_with('0') => u32::from_str_radix(octal.trim_start_matches("0o"), 8),
        decimal => decimal.parse(),
    };
    mode.ok().filter(|mode| *mode <= 0o7777).map(Some).ok_or(())
}

fn check(options: &FileOptions, problems: &mut Problems) {
    for given in [&options.file_mode, &options.dir_mode].into_iter().flatten() {
        if mode(given).is_err() {
            problems
                .error(given.span, "these are no access rights")
                .hint("write them in octal, such as 0640");
        }
    }

    if !options.path.literal_start().starts_with('/') {
        problems
            .error(options.path.span, "the path does not begin with a fixed absolute directory")
            .hint("write it like \"/var/log/out/%{host}.log\"");
    }
    if options.filename_failure.is_empty() || options.filename_failure.contains(['/', '\0']) {
        problems.error(options.path.span, "`filename_failure` is not the name of a file");
    }
}

impl OutputOptions for FileOptions {
    fn build(&self, _site: OutputSite) -> Result<Box<dyn Output>, String> {
        let writer = Writer {
            paths: Paths::new(self.path.value.clone(), &self.filename_failure),
            encode: encoder(&self.codec)?,
            way: Way {
                fsync: self.fsync,
                lines: !self.gzip,
                overwrite: self.write_behavior == Behavior::Overwrite,
                file_mode: self.file_mode.as_ref().and_then(|given| mode(given).ok()?),
                dir_mode: self.dir_mode.as_ref().and_then(|given| mode(given).ok()?),
            },
            create: self.create_if_deleted,
            gzip: self.gzip,
            open: HashMap::new(),
            batches: 0,
        };
        Ok(Box::new(Files { writer: Some(writer) }))
    }
}

struct Files {
    /// Away while a thread writes.
    writer: Option<Writer>,
}

impl Output for Files {
    fn deliver<'a>(&'a mut self, load: &'a Load) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let Some(mut writer) = self.writer.take() else {
                return Err(Failure::whole("the state of the files is lost"));
            };
            let load = load.clone();
            let work = spawn_blocking(move || {
                let written = writer.write(&load);
                (writer, written)
            });
            let (writer, written) = work.await.map_err(|error| Failure::whole(panic_reason(error)))?;
            self.writer = Some(writer);
            written
        })
    }
}

/// The most bytes of a path, and of a name in it.
const PATH_MAX: usize = 4095;
const NAME_MAX: usize = 255;

/// Whether an error says that there can be no such file: another try would end the same way.
fn is_for_good(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let never = [Errno::ISDIR, Errno::NOTDIR, Errno::EXIST, Errno::NAMETOOLONG, Errno::LOOP, Errno::INVAL];
    Errno::from_io_error(error).is_some_and(|errno| never.contains(&errno))
}

/// The paths of events.
struct Paths {
    template: Template,
    /// The directory that no event leaves.
    root: PathBuf,
    failures: PathBuf,
}

impl Paths {
    fn new(template: Template, failure_name: &str) -> Self {
        let fixed = template.literal_start();
        let root = PathBuf::from(
            fixed.rsplit_once('/').map_or("/", |(root, _)| if root.is_empty() { "/" } else { root }),
        );
        let failures = root.join(failure_name);
        Self { template, root, failures }
    }

    fn of(&self, event: &Event) -> PathBuf {
        let rendered = self.template.render(event);
        if self.template.has_fields() { self.checked(&rendered) } else { PathBuf::from(rendered.as_str()) }
    }

    /// Whether events whose path fields have chosen go elsewhere after this error.
    fn gives_up(&self, path: &Path, error: &io::Error) -> bool {
        self.template.has_fields() && path != self.failures && is_for_good(error)
    }

    /// The path, if it stays within the fixed directories.
    fn checked(&self, rendered: &str) -> PathBuf {
        let path = Path::new(rendered);
        let leads_up = path.components().any(|part| part == Component::ParentDir);
        let is_name = !rendered.ends_with('/') && !rendered.contains('\0');
        let names_fit =
            rendered.len() <= PATH_MAX && path.components().all(|part| part.as_os_str().len() <= NAME_MAX);
        if !leads_up && is_name && names_fit && path.starts_with(&self.root) && path != self.root {
            path.to_owned()
        } else {
            self.failures.clone()
        }
    }
}

/// How many files stay open, and for how many batches one stays open that is not used.
const OPEN_MAX: usize = 128;
const UNUSED_MAX: u64 = 1000;

/// How files are written.
#[derive(Clone, Copy, Debug, Default)]
struct Way {
    fsync: bool,
    /// Whether they hold lines.
    lines: bool,
    overwrite: bool,
    file_mode: Option<u32>,
    dir_mode: Option<u32>,
}

struct Writer {
    paths: Paths,
    encode: Arc<dyn Encode>,
    way: Way,
    /// Whether files are made that are not there.
    create: bool,
    gzip: bool,
    open: HashMap<PathBuf, (Arc<Mutex<Shared>>, u64)>,
    batches: u64,
}

impl Writer {
    /// Appends the events; on a failure, what is left are the events of the files that were not written.
    fn write(&mut self, load: &Load) -> Result<(), Failure> {
        self.batches += 1;
        let mut pages: Vec<Page> = Vec::new();
        for (nth, event) in load.iter().enumerate() {
            let mut path = self.paths.of(event);
            if !self.create && !path.exists() {
                path.clone_from(&self.paths.failures);
            }
            // Most events go where the one before went.
            let at = match pages.iter().rposition(|page| page.path == path) {
                Some(at) => at,
                None => {
                    pages.push(Page { path, text: Vec::new(), events: Vec::new() });
                    pages.len() - 1
                }
            };
            if let Some(page) = pages.get_mut(at) {
                if self.way.overwrite {
                    page.text.clear();
                }
                self.encode.encode(event, &mut page.text);
                page.events.push(nth);
            }
        }
        let mut failed: Option<(String, Vec<usize>)> = None;
        for mut page in pages {
            let mut written = self.pack(&mut page).and_then(|()| self.append(&page));
            if let Some(error) = written.as_ref().err().filter(|error| self.paths.gives_up(&page.path, error))
            {
                let path = page.path.display();
                warn!(%path, %error, "there can be no such file; the events go into the file of `filename_failure`");
                page.path.clone_from(&self.paths.failures);
                written = self.append(&page);
            }
            if let Err(error) = written {
                let reason = format!("write `{}`: {error}", page.path.display());
                failed.get_or_insert_with(|| (reason, Vec::new())).1.extend(page.events);
            }
        }
        self.close_unused();
        let Some((reason, mut left)) = failed else { return Ok(()) };
        left.sort_unstable();
        Err(Failure::partly(reason, load.keep(|nth| left.binary_search(&nth).is_ok())))
    }

    fn pack(&self, page: &mut Page) -> io::Result<()> {
        if self.gzip {
            let mut packed = GzEncoder::new(Vec::new(), Compression::default());
            packed.write_all(&page.text)?;
            page.text = packed.finish()?;
        }
        Ok(())
    }

    fn append(&mut self, page: &Page) -> io::Result<()> {
        let batch = self.batches;
        let shared = match self.open.get_mut(&page.path) {
            Some((shared, used)) => {
                *used = batch;
                shared.clone()
            }
            None => {
                let shared = Shared::of(&page.path);
                self.open.insert(page.path.clone(), (shared.clone(), batch));
                shared
            }
        };
        let mut shared = shared.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        shared.append(&page.path, &page.text, self.way)
    }

    fn close_unused(&mut self) {
        let now = self.batches;
        self.open.retain(|_, (_, used)| now - *used < UNUSED_MAX);
        while self.open.len() > OPEN_MAX {
            let Some(oldest) =
                self.open.iter().min_by_key(|(_, (_, used))| *used).map(|(path, _)| path.clone())
            else {
                return;
            };
            self.open.remove(&oldest);
        }
    }
}

/// What goes into one file.
struct Page {
    path: PathBuf,
    text: Vec<u8>,
    /// The numbers of the events.
    events: Vec<usize>,
}

/// An open file, shared by every pipeline of this process that writes to it.
#[derive(Default)]
struct Shared {
    file: Option<File>,
    /// The file ended within a line when it was opened.
    torn: bool,
}

static SHARED: LazyLock<Mutex<HashMap<PathBuf, Weak<Mutex<Shared>>>>> = LazyLock::new(Mutex::default);

impl Shared {
    fn of(path: &Path) -> Arc<Mutex<Self>> {
        let mut all = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        all.retain(|_, shared| shared.strong_count() > 0);
        if let Some(shared) = all.get(path).and_then(Weak::upgrade) {
            return shared;
        }
        let shared = Arc::new(Mutex::new(Self::default()));
        all.insert(path.to_owned(), Arc::downgrade(&shared));
        shared
    }

    /// Appends whole lines; a piece of a line that did not fit on the disk is taken back.
    fn append(&mut self, path: &Path, text: &[u8], way: Way) -> io::Result<()> {
        let (file, torn) = self.current(path, way)?;
        if way.overwrite {
            file.set_len(0)?;
        }
        if std::mem::take(torn) && way.lines && !way.overwrite && text.ends_with(b"\n") {
            // Whoever wrote it was killed. That event comes again; here it must not spoil the next one.
            file.write_all(b"\n")?;
        }
        let before = file.metadata()?.len();
        let mut written = 0;
        let outcome = loop {
            match file.write(text.get(written..).unwrap_or_default()) {
                Ok(n) if written + n >= text.len() => {
                    break if way.fsync { file.sync_data() } else { Ok(()) };
                }
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => written += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        if outcome.is_err() {
            // Only if nobody else has appended since.
            if written > 0 && file.metadata().is_ok_and(|m| m.len() == before + written as u64) {
                file.set_len(before)?;
            }
            self.file = None;
        }
        outcome
    }

    /// The file that has this path now: rotation may have put another in its place.
    fn current(&mut self, path: &Path, way: Way) -> io::Result<(&mut File, &mut bool)> {
        let same = match (&self.file, fs::metadata(path)) {
            (Some(file), Ok(named)) => {
                let open = file.metadata()?;
                (open.dev(), open.ino()) == (named.dev(), named.ino())
            }
            _ => false,
        };
        if !same {
            if let Some(directory) = path.parent() {
                let mut maker = fs::DirBuilder::new();
                way.dir_mode.map(|mode| maker.mode(mode));
                maker.recursive(true).create(directory)?;
            }
            let mut opener = OpenOptions::new();
            way.file_mode.map(|mode| opener.mode(mode));
            let file = opener.create(true).append(true).open(path)?;
            self.torn = ends_within_a_line(path, file.metadata()?.len());
            self.file = Some(file);
        }
        match &mut self.file {
            Some(file) => Ok((file, &mut self.torn)),
            None => Err(io::Error::other("the file is not open")),
        }
    }
}

/// Whether the last byte of a file is none that ends a line. What cannot be read (a pipe, a file that may only be written)
/// is taken for whole.
fn ends_within_a_line(path: &Path, size: u64) -> bool {
    let mut last = [b'\n'];
    let Some(at) = size.checked_sub(1) else { return false };
    File::open(path).and_then(|file| file.read_exact_at(&mut last, at)).is_ok() && last != [b'\n']
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::{Text, Timestamp};
    use proptest::prelude::*;

    const LINES: Way = Way { fsync: false, lines: true, overwrite: false, file_mode: None, dir_mode: None };

    fn path_of(template: &str, message: &str) -> String {
        let event = Event::with_message(Timestamp::UNIX_EPOCH, Text::from(message));
        Paths::new(Template::parse(template), "_bad").of(&event).to_str().unwrap().to_owned()
    }

    #[test]
    fn a_line_that_a_killed_process_left_unfinished_does_not_spoil_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        fs::write(&path, "whole\nha").unwrap();
        let mut shared = Shared::default();
        shared.append(&path, b"again\n", LINES).unwrap();
        shared.append(&path, b"next\n", LINES).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole\nha\nagain\nnext\n");
        fs::write(&path, "plain").unwrap();
        Shared::default().append(&path, b" text", LINES).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "plain text");
    }

    #[test]
    fn fields_choose_files_but_never_lead_out_of_the_fixed_directory() {
        for (template, message, path) in [
            ("/out/%{message}.log", "a", "/out/a.log"),
            ("/out/%{message}.log", "a/b", "/out/a/b.log"),
            ("/out/%{message}.log", "../etc/passwd", "/out/_bad"),
            ("/out/%{message}.log", "a/../../x", "/out/_bad"),
            ("/out/%{message}", "", "/out/_bad"),
            ("/out/%{message}", "a\0b", "/out/_bad"),
            ("/out/x-%{message}", "/../../etc", "/out/_bad"),
            ("/out/%{+yyyy-MM-dd}.log", "../x", "/out/1970-01-01.log"),
            ("/%{message}", "x", "/x"),
        ] {
            assert_eq!(path_of(template, message), path, "{template} {message}");
        }
    }

    /// Writes three messages with these options; what the files of the directory hold.
    fn written(options: &str, before: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
        written_of(&["a", "b", "c"], options, before)
    }

    fn written_of(messages: &[&str], options: &str, before: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
        let dir = tempfile::tempdir().unwrap();
        before.iter().for_each(|(name, text)| fs::write(dir.path().join(name), text).unwrap());
        let text = format!(
            "input {{ generator {{ count => 1 lines => {messages:?} }} }}
             output {{ file {{ path => '{}/%{{message}}.log' codec => line {{ format => '%{{message}}%{{sequence}}' }} {options} }} }}",
            dir.path().display()
        );
        let plan = crate::compile(crate::Scope::Run, &text, &|_| None).unwrap();
        let around = crate::Surroundings::new(dir.path().join("data"), "h", "p");
        let stop = tokio_util::sync::CancellationToken::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(crate::run_to_end(plan, around, stop, std::time::Duration::from_secs(20))).unwrap();
        let mut found: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap()))
            .collect();
        found.sort();
        found
    }

    #[test]
    fn files_are_appended_to_overwritten_compressed_or_left_unmade_as_is_said() {
        let files = |of: &[(&str, &str)]| -> Vec<(String, Vec<u8>)> {
            of.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
        };
        let all = [("a.log", "old\na0\n"), ("b.log", "b0\n"), ("c.log", "c0\n")];
        assert_eq!(written("", &[("a.log", "old\n")]), files(&all));
        let over = [("a.log", "a0\n"), ("b.log", "b0\n"), ("c.log", "c0\n")];
        assert_eq!(written("write_behavior => overwrite", &[("a.log", "old\n")]), files(&over));
        let unmade = [("_filepath_failures", "b0\nc0\n"), ("a.log", "a0\n")];
        assert_eq!(written("create_if_deleted => false", &[("a.log", "")]), files(&unmade));
        for (name, bytes) in written("gzip => true file_mode => 0600 dir_mode => 0700", &[]) {
            let mut text = String::new();
            io::Read::read_to_string(&mut flate2::read::MultiGzDecoder::new(&*bytes), &mut text).unwrap();
            assert_eq!(format!("{text:?}"), format!("{:?}", name.replace(".log", "0\n")));
        }
    }

    #[test]
    fn events_whose_file_cannot_be_go_elsewhere_and_keep_none_waiting() {
        let deep = "d/".repeat(2500);
        let files = written_of(&["a.log/b", "a", "c", "c.log/d", &deep, "e"], "", &[]);
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["_filepath_failures", "c.log", "e.log"]);
        let failures = String::from_utf8(files[0].1.clone()).unwrap();
        let mut failures: Vec<&str> = failures.lines().collect();
        failures.sort_by_key(|line| line.len());
        // The deep one is too long to be shown.
        assert_eq!(failures[..2], ["a0", "c.log/d0"]);
        assert!(failures[2..] == [format!("{deep}0")]);
    }

    #[test]
    fn access_rights_are_octal_when_they_begin_with_0() {
        assert_eq!([mode("0640"), mode("416"), mode("-1")], [Ok(Some(0o640)), Ok(Some(416)), Ok(None)]);
        assert_eq!([mode("0888"), mode("rw"), mode("070000")], [Err(()), Err(()), Err(())]);
    }

    proptest! {
        #[test]
        fn no_message_leads_out(message in "[a./\0]{0,20}") {
            let path = path_of("/out/dir/%{message}", &message);
            prop_assert!(path.starts_with("/out/dir/"), "{}", path);
            prop_assert!(!Path::new(&path).components().any(|c| c == Component::ParentDir), "{}", path);
        }
    }
}
