//! Decides, from the first bytes of a tail's output, whether they are what was asked for.
use bytes::{Buf, Bytes, BytesMut};

/// The first line of the guard script's output when it is about to run `tail`.
pub(super) const READY: &[u8] = b"logherd:ready\n";
/// The same, when the file is not there or may not be read: `tail` waits for it.
pub(super) const ABSENT: &[u8] = b"logherd:absent\n";
/// The first line when the file is shorter than what was already read of it.
pub(super) const SHORTER: &[u8] = b"logherd:shorter\n";

/// What the guard script says, among complaints, when the file has lost its name to another one.
pub(super) const RENAMED: &str = "logherd:renamed";
/// The same, when it has lost its name to none, and when it has it again.
const NAMELESS: &str = "logherd:nameless";
const NAMED: &str = "logherd:named";

/// What the output turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// More output is needed to tell.
    Wait,
    /// Bytes of the file, from the wanted position on; may be empty.
    Bytes(Bytes),
    /// The file is shorter than the wanted position, or gone: it was truncated or replaced.
    Shorter,
    /// The bytes just before the wanted position are not those that were read there: it is another file.
    Different,
    /// The program was not started; this is what came instead of output.
    NotStarted(String),
}

/// Reads the beginning of the output: a marker line (guard script only), the bytes before the wanted position, the rest.
#[derive(Debug)]
pub(super) struct Opening {
    marker: bool,
    there: bool,
    overlap: Bytes,
    held: BytesMut,
}

impl Opening {
    /// Expects the guard script's marker line, then `overlap`.
    pub(super) fn guarded(overlap: Bytes) -> Self {
        Self { marker: true, there: false, overlap, held: BytesMut::new() }
    }

    /// Expects `overlap` at once.
    pub(super) fn direct(overlap: Bytes) -> Self {
        Self { marker: false, there: false, overlap, held: BytesMut::new() }
    }

    /// Whether all that follows are bytes of the file.
    pub(super) fn is_over(&self) -> bool {
        !self.marker && self.overlap.is_empty()
    }

    /// Whether the guard found the file there and readable.
    pub(super) fn file_was_there(&self) -> bool {
        self.there
    }

    /// Takes the next piece of output.
    pub(super) fn take(&mut self, bytes: Bytes) -> Verdict {
        if self.is_over() {
            return Verdict::Bytes(bytes);
        }
        self.held.extend_from_slice(&bytes);
        if self.marker {
            if self.held.starts_with(SHORTER) {
                return Verdict::Shorter;
            }
            if self.held.starts_with(READY) {
                self.held.advance(READY.len());
                (self.marker, self.there) = (false, true);
            } else if self.held.starts_with(ABSENT) {
                self.held.advance(ABSENT.len());
                self.marker = false;
            } else if [READY, SHORTER, ABSENT].iter().any(|marker| marker.starts_with(&self.held)) {
                return Verdict::Wait;
            } else {
                return Verdict::NotStarted(one_line(&self.held));
            }
        }
        let known = self.overlap.len().min(self.held.len());
        if self.overlap.get(..known) != self.held.get(..known) {
            return Verdict::Different;
        }
        self.held.advance(known);
        self.overlap.advance(known);
        if self.overlap.is_empty() { Verdict::Bytes(self.held.split().freeze()) } else { Verdict::Wait }
    }
}

/// The beginning of what a program said, as one line for people.
pub(super) fn one_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect()
}

/// Whether a line of `tail`'s complaints says that from now on it reads another file, or the same one from its start.
/// Both GNU's and busybox's words; the locale is set to C.
pub(super) fn says_source_starts_anew(complaint: &str) -> bool {
    ["file truncated", "has been replaced;", "has appeared;"].iter().any(|words| complaint.contains(words))
}

/// What a whole line of `tail`'s complaints says about whether it has the file open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// It has.
    Open,
    /// It has not, and goes on trying; why.
    NotOpen(String),
    /// Nothing about that.
    Other,
}

/// Understands GNU's and busybox's words; the locale is set to C.
pub(super) fn says_whether_open(line: &str) -> Word {
    const NOT_OPEN: [&str; 7] = [
        "cannot open",
        "can't open",
        "become inaccessible",
        "renamed or deleted",
        "untailable",
        "Is a directory",
        "cannot follow end of this type",
    ];
    match line {
        NAMELESS => return Word::NotOpen("no such file".to_owned()),
        NAMED => return Word::Open,
        _ => {}
    }
    if NOT_OPEN.iter().any(|words| line.contains(words)) {
        let line = line.strip_prefix("tail: ").unwrap_or(line);
        let why = line.rsplit_once(": ").map_or(line, |(_, why)| why);
        return Word::NotOpen(match why {
            "No such file or directory" => "no such file".to_owned(),
            "Permission denied" => "permission denied".to_owned(),
            other => other.to_owned(),
        });
    }
    let open = says_source_starts_anew(line) || line.contains("become accessible");
    if open { Word::Open } else { Word::Other }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn take_all(opening: &mut Opening, output: &[u8], sizes: &[usize]) -> Vec<Verdict> {
        let (mut rest, mut sizes) = (Bytes::copy_from_slice(output), sizes.iter().cycle());
        let mut verdicts = Vec::new();
        while !rest.is_empty() {
            let piece = rest.split_to((*sizes.next().unwrap()).clamp(1, rest.len()));
            verdicts.push(opening.take(piece));
        }
        verdicts
    }

    proptest! {
        #[test]
        fn any_chunking_gives_exactly_the_bytes_after_the_overlap(
            overlap in proptest::collection::vec(any::<u8>(), 0..64),
            data in proptest::collection::vec(any::<u8>(), 0..100),
            sizes in proptest::collection::vec(1usize..40, 1..5),
        ) {
            let mut opening = Opening::guarded(overlap.clone().into());
            let output = [READY, &overlap, &data].concat();
            let mut got = Vec::new();
            for verdict in take_all(&mut opening, &output, &sizes) {
                match verdict {
                    Verdict::Wait => prop_assert!(got.is_empty()),
                    Verdict::Bytes(b) => got.extend_from_slice(&b),
                    other => prop_assert!(false, "{:?}", other),
                }
            }
            prop_assert_eq!(got, data);
            prop_assert!(opening.is_over());
        }
    }

    #[test]
    fn a_start_failure_that_comes_as_output_is_no_log_line() {
        let text =
            b"OCI runtime exec failed: exec failed: \"sh\": executable file not found in $PATH: unknown\r\n";
        let mut opening = Opening::guarded(Bytes::new());
        let Verdict::NotStarted(words) = opening.take(Bytes::from_static(text)) else { panic!() };
        assert!(words.starts_with("OCI runtime exec failed"), "{words}");
    }

    #[test]
    fn another_file_is_recognised_by_the_bytes_before_the_position() {
        let mut opening = Opening::guarded(Bytes::from_static(b"line 1\n"));
        assert_eq!(opening.take(Bytes::from_static(b"logherd:ready\nline")), Verdict::Wait);
        assert_eq!(opening.take(Bytes::from_static(b" 2\n")), Verdict::Different);
        let mut opening = Opening::guarded(Bytes::from_static(b"x"));
        assert_eq!(opening.take(Bytes::from_static(SHORTER)), Verdict::Shorter);
    }

    #[test]
    fn only_complaints_about_another_file_move_the_origin() {
        assert!(says_source_starts_anew("tail: /l: file truncated"));
        assert!(says_source_starts_anew("tail: '/l' has been replaced;  following new file"));
        assert!(says_source_starts_anew("tail: /l has appeared; following end of new file"));
        assert!(!says_source_starts_anew("tail: can't open '/l': No such file or directory"));
        assert!(!says_source_starts_anew("tail: /l has been renamed or deleted"));
    }

    #[test]
    fn whether_the_file_is_open_is_known_from_the_words_of_either_tail() {
        let waits = |why: &str| Word::NotOpen(why.to_owned());
        for (line, word) in [
            ("tail: can't open '/l': No such file or directory", waits("no such file")),
            ("tail: cannot open '/l' for reading: Permission denied", waits("permission denied")),
            ("tail: '/l' has become inaccessible: No such file or directory", waits("no such file")),
            ("tail: /l has been renamed or deleted", waits("/l has been renamed or deleted")),
            ("tail: error reading '/l': Is a directory", waits("Is a directory")),
            ("tail: '/l' has appeared;  following new file", Word::Open),
            ("tail: /l has been replaced; following end of new file", Word::Open),
            ("tail: '/l' has become accessible", Word::Open),
            ("tail: unrecognized file system type", Word::Other),
            ("logherd:nameless", waits("no such file")),
            ("logherd:named", Word::Open),
        ] {
            assert_eq!(says_whether_open(line), word, "{line}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_no_failure_to_start() {
        let mut opening = Opening::guarded(Bytes::new());
        assert_eq!(opening.take(Bytes::from_static(b"logherd:abs")), Verdict::Wait);
        assert_eq!(opening.take(Bytes::from_static(b"ent\nfirst\n")), Verdict::Bytes("first\n".into()));
        assert!(opening.is_over() && !opening.file_was_there());
    }
}
