//! Cuts a stream of bytes into whole lines, whatever the borders of its chunks, and knows where each cut is.
use crate::value::Text;
use bytes::Bytes;
use memchr::{memchr_iter, memmem};
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// The most lines that travel together.
pub(crate) const LINES_MAX: usize = 2048;
/// The most bytes of lines that travel together, and the longest line: a longer one becomes several.
pub(crate) const BYTES_MAX: usize = 1 << 20;

/// Whole lines of one source, in order, without their delimiters; all in one buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    whole: Whole,
    /// Where the lines are.
    places: Vec<Range<u32>>,
    /// Every byte of the source before this position is in this cut or in an earlier one. It is always just after a
    /// delimiter, or the end of the source.
    pub(crate) end: u64,
    /// How many bytes the lines have.
    pub(crate) size: usize,
}

/// The buffer that lines lie in.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Whole {
    /// All of it is UTF-8.
    Text(Arc<String>),
    Bytes(Bytes),
}

impl Whole {
    fn new(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self::Text(Arc::new(text)),
            Err(error) => Self::Bytes(error.into_bytes().into()),
        }
    }
}

/// A line without its delimiter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Text(Text),
    Bytes(Bytes),
}

impl Cut {
    /// Lines that end at `end`.
    pub(crate) fn of(lines: &[Bytes], end: u64) -> Self {
        let size = lines.iter().map(Bytes::len).sum();
        let mut bytes = Vec::with_capacity(size);
        let mut places = Vec::with_capacity(lines.len());
        for line in lines {
            let start = bytes.len();
            bytes.extend_from_slice(line);
            places.push(range(start, bytes.len()));
        }
        let mut whole = Whole::new(bytes);
        // Bytes of two lines may happen to make a character.
        if let Whole::Text(text) = &whole
            && !places.iter().all(|place| text.is_char_boundary(place.start as usize))
        {
            whole = Whole::Bytes(Bytes::copy_from_slice(text.as_bytes()));
        }
        Self { whole, places, end, size }
    }

    /// No lines, in place of those of `size` bytes that were decoded already.
    pub(crate) fn without_lines(size: usize, end: u64) -> Self {
        Self { size, ..Self::of(&[], end) }
    }

    /// How many lines it has.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// The lines. Those in a buffer that is UTF-8 are texts.
    pub(crate) fn lines(&self) -> impl ExactSizeIterator<Item = Line> {
        self.places.iter().map(|place| match &self.whole {
            Whole::Text(text) => Line::Text(Text::slice(text, place.clone())),
            Whole::Bytes(bytes) => Line::Bytes(bytes.slice(place.start as usize..place.end as usize)),
        })
    }
}

fn range(start: usize, end: usize) -> Range<u32> {
    // A buffer is not much longer than `BYTES_MAX` and what is read at once.
    let small = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    small(start)..small(end)
}

/// The state of the cutting of one source.
pub(crate) struct Lines {
    delimiter: Box<[u8]>,
    finder: memmem::Finder<'static>,
    /// The start of a line whose end has not come yet.
    partial: Vec<u8>,
    /// Where the line that is not whole yet begins.
    line_start: u64,
    /// Where the next byte is expected.
    next: u64,
}

impl Lines {
    /// Starts at position `from` of a source.
    pub(crate) fn new(delimiter: &[u8], from: u64) -> Self {
        debug_assert!(!delimiter.is_empty());
        Self {
            delimiter: delimiter.into(),
            finder: memmem::Finder::new(delimiter).into_owned(),
            partial: Vec::new(),
            line_start: from,
            next: from,
        }
    }

    /// Takes a chunk that ends at `end` of the source, and adds what became whole to `out`. A gap or a step back
    /// before the chunk ends the line that was not whole.
    pub(crate) fn push(&mut self, chunk: &[u8], end: u64, out: &mut Vec<Cut>) {
        let start = end.saturating_sub(chunk.len() as u64);
        let filled = self.fill(start, chunk.len(), out, |buffer| {
            buffer.extend_from_slice(chunk);
            Ok(())
        });
        debug_assert!(filled.is_ok());
    }

    /// Lets `read` append bytes of the source from `start` on, at most `room`, and adds what became whole to `out`.
    pub(crate) fn fill(
        &mut self,
        start: u64,
        room: usize,
        out: &mut Vec<Cut>,
        read: impl FnOnce(&mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<usize> {
        if start != self.next {
            self.end_partial(out);
            self.line_start = start;
            self.next = start;
        }
        let before = self.partial.len();
        self.partial.reserve_exact(room);
        let outcome = read(&mut self.partial);
        let filled = self.partial.len().saturating_sub(before);
        self.next = start + filled as u64;
        // A delimiter of several bytes may have begun in the partial line.
        self.cut_whole(before.saturating_sub(self.delimiter.len() - 1), out);
        outcome.map(|()| filled)
    }

    /// Ends the source: what is left is a line.
    pub(crate) fn finish(&mut self) -> Vec<Cut> {
        let mut out = Vec::new();
        self.end_partial(&mut out);
        out
    }

    /// Cuts off the lines that are whole. No delimiter begins before `from`.
    fn cut_whole(&mut self, from: usize, out: &mut Vec<Cut>) {
        let new = self.partial.get(from..).unwrap_or_default();
        let mut ends: Vec<usize> = Vec::with_capacity(new.len() / 128);
        match self.delimiter.as_ref() {
            [only] => ends.extend(memchr_iter(*only, new).map(|at| from + at)),
            _ => ends.extend(self.finder.find_iter(new).map(|at| from + at)),
        }
        let Some(last) = ends.last() else { return self.shorten_partial(out) };
        let base = self.next.saturating_sub(self.partial.len() as u64);
        let rest = self.partial.get(last + self.delimiter.len()..).unwrap_or_default().to_vec();
        let mut whole = std::mem::replace(&mut self.partial, rest);
        whole.truncate(last + self.delimiter.len());
        let mut group = Group { whole: Whole::new(whole), places: Vec::with_capacity(ends.len()), size: 0 };
        let mut start = 0;
        for end in ends {
            while end - start > BYTES_MAX {
                // The position moves with the last piece only.
                let border = start + group.border(start, BYTES_MAX);
                group.add(start, border);
                group.flush(self.line_start, out);
                start = border;
            }
            group.add(start, end);
            start = end + self.delimiter.len();
            self.line_start = base + start as u64;
            if group.is_full() {
                group.flush(self.line_start, out);
            }
        }
        group.flush(self.line_start, out);
        self.shorten_partial(out);
    }

    fn end_partial(&mut self, out: &mut Vec<Cut>) {
        if !self.partial.is_empty() {
            let line = std::mem::take(&mut self.partial);
            self.line_start = self.next;
            out.push(Cut::one(line, self.next));
        }
    }

    /// Lets the start of a line that is too long go, in pieces; the position stays before the line.
    fn shorten_partial(&mut self, out: &mut Vec<Cut>) {
        while self.partial.len() > BYTES_MAX {
            let rest = self.partial.split_off(char_border(&self.partial, BYTES_MAX));
            let piece = std::mem::replace(&mut self.partial, rest);
            out.push(Cut::one(piece, self.line_start));
        }
    }
}

impl Cut {
    fn one(line: Vec<u8>, end: u64) -> Self {
        let (places, size) = (vec![range(0, line.len())], line.len());
        Self { whole: Whole::new(line), places, end, size }
    }
}

/// Lines of one buffer that go into the next cut.
struct Group {
    whole: Whole,
    places: Vec<Range<u32>>,
    size: usize,
}

impl Group {
    fn add(&mut self, start: usize, end: usize) {
        self.places.push(range(start, end));
        self.size += end - start;
    }

    fn is_full(&self) -> bool {
        self.places.len() >= LINES_MAX || self.size >= BYTES_MAX
    }

    fn flush(&mut self, end: u64, out: &mut Vec<Cut>) {
        if !self.places.is_empty() {
            let places = std::mem::take(&mut self.places);
            out.push(Cut { whole: self.whole.clone(), places, end, size: std::mem::take(&mut self.size) });
        }
    }

    /// How many bytes from `start` on, at most `max`, end with a character.
    fn border(&self, start: usize, max: usize) -> usize {
        let bytes = match &self.whole {
            Whole::Text(text) => text.as_bytes(),
            Whole::Bytes(bytes) => bytes,
        };
        char_border(bytes.get(start..).unwrap_or_default(), max)
    }
}

/// The last place up to `max` that is not inside of a UTF-8 character.
fn char_border(bytes: &[u8], max: usize) -> usize {
    let inside = |at: &usize| bytes.get(*at).is_some_and(|b| b & 0b1100_0000 == 0b1000_0000);
    (max.saturating_sub(3)..=max).rev().find(|at| !inside(at)).unwrap_or(max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Cuts `text` in chunks that end at `borders`; returns the lines and the ends of the cuts.
    fn cut(text: &[u8], borders: &[usize], delimiter: &[u8]) -> (Vec<Vec<u8>>, Vec<u64>) {
        let mut lines = Lines::new(delimiter, 0);
        let mut cuts = Vec::new();
        let mut from = 0;
        let mut borders: Vec<usize> = borders.iter().map(|b| b % (text.len() + 1)).collect();
        borders.push(text.len());
        borders.sort_unstable();
        for to in borders {
            lines.push(&text[from..to], to as u64, &mut cuts);
            from = to;
        }
        cuts.extend(lines.finish());
        let ends = cuts.iter().map(|c| c.end).collect();
        (cuts.iter().flat_map(bytes).collect(), ends)
    }

    fn bytes(cut: &Cut) -> Vec<Vec<u8>> {
        cut.lines()
            .map(|line| match line {
                Line::Text(text) => text.as_bytes().to_vec(),
                Line::Bytes(bytes) => bytes.to_vec(),
            })
            .collect()
    }

    fn whole(text: &[u8], delimiter: u8) -> Vec<Vec<u8>> {
        let mut lines: Vec<Vec<u8>> = text.split(|b| *b == delimiter).map(<[u8]>::to_vec).collect();
        if lines.last().is_some_and(Vec::is_empty) {
            lines.pop();
        }
        lines
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_chunk_borders(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'a'), any::<u8>()], 0..400),
            borders in proptest::collection::vec(any::<usize>(), 0..40),
        ) {
            let (lines, ends) = cut(&text, &borders, b"\n");
            prop_assert_eq!(lines, whole(&text, b'\n'));
            prop_assert!(ends.is_sorted());
            for end in ends {
                let end = usize::try_from(end).unwrap();
                prop_assert!(end == text.len() || text[end - 1] == b'\n');
            }
        }

        #[test]
        fn delimiters_of_several_bytes_may_be_split_by_chunks(
            text in "[ab\r\n]{0,60}",
            borders in proptest::collection::vec(any::<usize>(), 0..20),
        ) {
            let (lines, _) = cut(text.as_bytes(), &borders, b"\r\n");
            let mut expected: Vec<Vec<u8>> = text.split("\r\n").map(|l| l.as_bytes().to_vec()).collect();
            if expected.last().is_some_and(Vec::is_empty) {
                expected.pop();
            }
            prop_assert_eq!(lines, expected);
        }
    }

    #[test]
    fn a_line_that_is_too_long_becomes_several_and_moves_the_position_at_its_end_only() {
        let mut lines = Lines::new(b"\n", 0);
        let mut cuts = Vec::new();
        let long = vec![b'x'; BYTES_MAX + 10];
        lines.push(b"ab\n", 3, &mut cuts);
        lines.push(&long, 3 + long.len() as u64, &mut cuts);
        lines.push(b"yz\n", 6 + long.len() as u64, &mut cuts);
        let ends: Vec<u64> = cuts.iter().map(|c| c.end).collect();
        assert_eq!(ends, [3, 3, 6 + long.len() as u64]);
        let sizes: Vec<usize> = cuts.iter().map(|c| c.size).collect();
        assert_eq!(sizes, [2, BYTES_MAX, 12]);
    }

    #[test]
    fn a_step_back_ends_the_line_that_was_not_whole() {
        let mut lines = Lines::new(b"\n", 100);
        let mut cuts = Vec::new();
        lines.push(b"one\ntw", 106, &mut cuts);
        lines.push(b"new\n", 4, &mut cuts);
        let got: Vec<(Vec<Vec<u8>>, u64)> = cuts.iter().map(|c| (bytes(c), c.end)).collect();
        let one = |line: &[u8]| vec![line.to_vec()];
        assert_eq!(got, [(one(b"one"), 104), (one(b"tw"), 106), (one(b"new"), 4)]);
    }
}
