//! Cuts a stream of bytes into whole lines, whatever the borders of its chunks, and knows where each cut is.
use bytes::Bytes;
use memchr::{memchr, memmem};

/// The most lines that travel together.
pub(crate) const LINES_MAX: usize = 1000;
/// The most bytes of lines that travel together, and the longest line: a longer one becomes several.
pub(crate) const BYTES_MAX: usize = 1 << 20;

/// Whole lines of one source, in order, without their delimiters.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) lines: Vec<Bytes>,
    /// Every byte of the source before this position is in this cut or in an earlier one. It is always just after a
    /// delimiter, or the end of the source.
    pub(crate) end: u64,
    /// How many bytes the lines have.
    pub(crate) size: usize,
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
    cut: Cut,
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
            cut: Cut::default(),
        }
    }

    /// Takes a chunk that ends at `end` of the source, and adds what became whole to `out`. A gap or a step back
    /// before the chunk ends the line that was not whole.
    pub(crate) fn push(&mut self, chunk: &Bytes, end: u64, out: &mut Vec<Cut>) {
        let start = end.saturating_sub(chunk.len() as u64);
        if start != self.next {
            self.end_partial(out);
            self.line_start = start;
        }
        self.next = end;
        let joined = if self.partial.is_empty() { 0 } else { self.join(chunk, start, out) };
        let rest = chunk.slice(joined..);
        let rest_start = start + joined as u64;
        let mut from = 0;
        while let Some(at) = self.find(rest.get(from..).unwrap_or_default()) {
            let line = rest.slice(from..from + at);
            from += at + self.delimiter.len();
            self.add_line(line, rest_start + from as u64, out);
        }
        self.partial.extend_from_slice(rest.get(from..).unwrap_or_default());
        self.shorten_partial(out);
        self.flush(out);
    }

    /// Ends the source: what is left is a line.
    pub(crate) fn finish(&mut self) -> Vec<Cut> {
        let mut out = Vec::new();
        self.end_partial(&mut out);
        out
    }

    fn find(&self, bytes: &[u8]) -> Option<usize> {
        match self.delimiter.as_ref() {
            [only] => memchr(*only, bytes),
            _ => self.finder.find(bytes),
        }
    }

    /// Completes the partial line with the start of `chunk`; returns how much of the chunk that took.
    fn join(&mut self, chunk: &Bytes, start: u64, out: &mut Vec<Cut>) -> usize {
        let before = self.partial.len();
        // A delimiter of several bytes may have begun in the partial line.
        let from = before.saturating_sub(self.delimiter.len() - 1);
        let near = match self.delimiter.as_ref() {
            [only] => memchr(*only, chunk).map_or(chunk.len(), |at| at + 1),
            _ => chunk.len(),
        };
        self.partial.extend_from_slice(chunk.get(..near).unwrap_or_default());
        let Some(at) = self.find(self.partial.get(from..).unwrap_or_default()).map(|at| at + from) else {
            return near;
        };
        let joined = (at + self.delimiter.len()).saturating_sub(before);
        self.partial.truncate(at);
        let line = std::mem::take(&mut self.partial);
        self.add_line(line.into(), start + joined as u64, out);
        joined
    }

    fn end_partial(&mut self, out: &mut Vec<Cut>) {
        if !self.partial.is_empty() {
            let line = std::mem::take(&mut self.partial);
            self.add_line(line.into(), self.next, out);
            self.flush(out);
        }
    }

    /// Lets the start of a line that is too long go, in pieces; the position stays before the line.
    fn shorten_partial(&mut self, out: &mut Vec<Cut>) {
        while self.partial.len() > BYTES_MAX {
            let rest = self.partial.split_off(char_border(&self.partial, BYTES_MAX));
            let piece = std::mem::replace(&mut self.partial, rest);
            self.add(piece.into(), out);
        }
    }

    /// Adds a line that ends before `end`; the position moves with the last piece of one that is too long.
    fn add_line(&mut self, mut line: Bytes, end: u64, out: &mut Vec<Cut>) {
        while line.len() > BYTES_MAX {
            let piece = line.split_to(char_border(&line, BYTES_MAX));
            self.add(piece, out);
        }
        self.line_start = end;
        self.add(line, out);
    }

    fn add(&mut self, line: Bytes, out: &mut Vec<Cut>) {
        self.cut.size += line.len();
        self.cut.end = self.line_start;
        self.cut.lines.push(line);
        if self.cut.lines.len() >= LINES_MAX || self.cut.size >= BYTES_MAX {
            self.flush(out);
        }
    }

    fn flush(&mut self, out: &mut Vec<Cut>) {
        if !self.cut.lines.is_empty() {
            let end = self.cut.end;
            out.push(std::mem::replace(&mut self.cut, Cut { end, ..Cut::default() }));
        }
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
            lines.push(&Bytes::copy_from_slice(&text[from..to]), to as u64, &mut cuts);
            from = to;
        }
        cuts.extend(lines.finish());
        let ends = cuts.iter().map(|c| c.end).collect();
        (cuts.into_iter().flat_map(|c| c.lines).map(|l| l.to_vec()).collect(), ends)
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
        let long = Bytes::from(vec![b'x'; BYTES_MAX + 10]);
        lines.push(&Bytes::from_static(b"ab\n"), 3, &mut cuts);
        lines.push(&long, 3 + long.len() as u64, &mut cuts);
        lines.push(&Bytes::from_static(b"yz\n"), 6 + long.len() as u64, &mut cuts);
        let ends: Vec<u64> = cuts.iter().map(|c| c.end).collect();
        assert_eq!(ends, [3, 3, 6 + long.len() as u64]);
        let sizes: Vec<usize> = cuts.iter().map(|c| c.size).collect();
        assert_eq!(sizes, [2, BYTES_MAX, 12]);
    }

    #[test]
    fn a_step_back_ends_the_line_that_was_not_whole() {
        let mut lines = Lines::new(b"\n", 100);
        let mut cuts = Vec::new();
        lines.push(&Bytes::from_static(b"one\ntw"), 106, &mut cuts);
        lines.push(&Bytes::from_static(b"new\n"), 4, &mut cuts);
        let got: Vec<(&[Bytes], u64)> = cuts.iter().map(|c| (c.lines.as_slice(), c.end)).collect();
        let (one, two) = ([Bytes::from_static(b"one")], [Bytes::from_static(b"tw")]);
        assert_eq!(got, [(&one[..], 104), (&two[..], 106), (&[Bytes::from_static(b"new")][..], 4)]);
    }
}
