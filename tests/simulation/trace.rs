//! What happened, line by line: the newest lines for people, a hash of all of them to compare runs by.
use std::collections::VecDeque;
use std::fmt::Arguments;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// So many lines are kept.
const KEPT: usize = 400;

pub(crate) struct Trace {
    lines: VecDeque<String>,
    hash: DefaultHasher,
    began: Duration,
    /// Print each line as it is made.
    pub(crate) aloud: bool,
}

impl Trace {
    pub(crate) fn new(began: Duration) -> Self {
        Self { lines: VecDeque::new(), hash: DefaultHasher::new(), began, aloud: false }
    }

    pub(crate) fn add(&mut self, now: Duration, what: Arguments<'_>) {
        let since = (now - self.began).as_secs_f64();
        let line = format!("{since:>10.3} {what}");
        line.hash(&mut self.hash);
        if self.aloud {
            eprintln!("{line}");
        }
        if self.lines.len() >= KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash.finish()
    }

    /// The newest lines, oldest first.
    pub(crate) fn last(&self, count: usize) -> impl Iterator<Item = &str> {
        self.lines.iter().skip(self.lines.len().saturating_sub(count)).map(String::as_str)
    }
}
