//! Reads what came out: files of events, and the numbers in them.

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A file that an output writes.
pub(crate) struct Output {
    pub(crate) path: PathBuf,
}

/// What became of lines numbered 1, 2, 3, …
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Lines that hold a number.
    pub(crate) lines: usize,
    /// Numbers seen at least once.
    pub(crate) distinct: usize,
    /// Lines beyond the first for a number.
    pub(crate) duplicates: usize,
    /// Lines without a number where one was expected: torn by a kill in the middle of a write.
    pub(crate) torn: usize,
    /// Whether each number is greater than the one before it.
    pub(crate) ascending: bool,
    /// The first number from 1 to `distinct` that is missing.
    pub(crate) first_missing: Option<usize>,
}

impl Output {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.path).unwrap_or_default()).into_owned()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.text().lines().map(str::to_owned).collect()
    }

    /// How many whole lines there are, without holding the file in memory.
    pub(crate) fn count(&self) -> usize {
        let Ok(file) = std::fs::File::open(&self.path) else { return 0 };
        let mut reader = std::io::BufReader::with_capacity(1 << 20, file);
        let mut count = 0;
        loop {
            let buffer = std::io::BufRead::fill_buf(&mut reader).unwrap();
            if buffer.is_empty() {
                return count;
            }
            count += buffer.iter().filter(|&&byte| byte == b'\n').count();
            let taken = buffer.len();
            std::io::BufRead::consume(&mut reader, taken);
        }
    }

    /// The events of a file with one JSON object per line.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.text()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect()
    }

    /// Whether a line holds this text.
    pub(crate) fn holds(&self, text: &str) -> Result<(), String> {
        if self.lines().iter().any(|line| line.contains(text)) {
            return Ok(());
        }
        let lines = self.lines();
        let end = lines.iter().rev().take(3).cloned().collect::<Vec<_>>().join("\n    ");
        Err(format!("{} lines in {}, none with `{text}`; the last: {end}", lines.len(), self.path.display()))
    }

    /// Counts the numbers that lines hold between `before` and `after`, for lines that are whole.
    pub(crate) fn tally(&self, before: &str, after: &str) -> Tally {
        tally(&self.text(), before, after)
    }
}

/// Counts the numbers that the lines of a text hold between `before` and `after`.
pub(crate) fn tally(text: &str, before: &str, after: &str) -> Tally {
    let mut seen: BTreeMap<usize, usize> = BTreeMap::new();
    let mut tally = Tally { ascending: true, ..Tally::default() };
    let mut last = 0;
    for line in text.lines() {
        let number = line.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
        let Some(number) = number.and_then(|number| number.parse::<usize>().ok()) else {
            tally.torn += 1;
            continue;
        };
        tally.lines += 1;
        tally.ascending &= number > last;
        last = number;
        *seen.entry(number).or_default() += 1;
    }
    tally.distinct = seen.len();
    tally.duplicates = tally.lines - tally.distinct;
    tally.first_missing = (1..=tally.distinct).find(|number| !seen.contains_key(number));
    tally
}

/// The output that a path names.
pub(crate) fn output(path: &Path) -> Output {
    Output { path: path.to_path_buf() }
}

#[test]
fn a_tally_tells_duplicates_gaps_and_torn_lines() {
    let counted = tally("<1>\n<2>\n<2>\n<4\n<4>\n", "<", ">");
    let expected =
        Tally { lines: 4, distinct: 3, duplicates: 1, torn: 1, ascending: false, first_missing: Some(3) };
    assert_eq!(counted, expected);
}
