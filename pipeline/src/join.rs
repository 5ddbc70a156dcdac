//! Puts lines together to messages: a stack trace, a statement of several lines.
use std::time::Duration;

use crate::charset::Charset;
use crate::field::FieldRef;
use crate::grok::matcher::Matcher;
use crate::ruby::Groups;
use crate::value::{Text, Timestamp};

/// How long the pattern may try one line. A line on which it takes longer does not match.
const PATIENCE: Duration = Duration::from_secs(1);

/// How lines are put together.
#[derive(Debug)]
pub(crate) struct Joining {
    pub(crate) pattern: Matcher,
    /// Whether lines that do not match belong to others.
    pub(crate) negate: bool,
    pub(crate) what: What,
    /// More lines than these end a message.
    pub(crate) lines_max: usize,
    /// A message of so many bytes has ended.
    pub(crate) bytes_max: usize,
    /// How long a message waits for more lines, if not for ever.
    pub(crate) patience: Option<Duration>,
    /// The tag of a message of several lines; empty for none.
    pub(crate) tag: String,
    pub(crate) charset: Charset,
    /// The field that gets the message a second time.
    pub(crate) original: Option<FieldRef>,
}

crate::spec::words! {
    /// What a line that matches belongs to.
    pub(crate) enum What {
        /// To the message before it.
        Previous = "previous",
        /// To the message after it.
        Next = "next",
    }
}

/// Lines that make one message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(crate) message: Text,
    /// When its first line came.
    pub(crate) at: Timestamp,
    pub(crate) tags: Vec<String>,
}

/// The lines of one source that wait for more.
#[derive(Debug)]
pub(crate) struct Joiner {
    lines: Vec<Text>,
    bytes: usize,
    at: Timestamp,
}

impl Default for Joiner {
    fn default() -> Self {
        Self { lines: Vec::new(), bytes: 0, at: Timestamp::UNIX_EPOCH }
    }
}

impl Joiner {
    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Takes a line that came `now`; gives a message if one is whole.
    pub(crate) fn push(
        &mut self,
        line: Text,
        now: Timestamp,
        how: &Joining,
        groups: &mut Groups,
    ) -> Option<Joined> {
        let found = how.pattern.matches(&line, PATIENCE, groups).unwrap_or(false);
        let belongs = found != how.negate;
        match how.what {
            What::Previous => {
                let whole = if !belongs || self.is_over(how) { self.flush(how) } else { None };
                self.keep(line, now);
                whole
            }
            What::Next => {
                self.keep(line, now);
                if !belongs || self.is_over(how) { self.flush(how) } else { None }
            }
        }
    }

    /// Copies the lines that wait, so that they do not keep the buffers that they were read into.
    pub(crate) fn detach(&mut self) {
        for line in &mut self.lines {
            *line = std::mem::take(line).detached();
        }
    }

    fn keep(&mut self, line: Text, now: Timestamp) {
        if self.lines.is_empty() {
            self.at = now;
        }
        self.bytes += line.len();
        self.lines.push(line);
    }

    fn has_too_many_lines(&self, how: &Joining) -> bool {
        self.lines.len() > how.lines_max
    }

    fn has_too_many_bytes(&self, how: &Joining) -> bool {
        self.bytes >= how.bytes_max
    }

    fn is_over(&self, how: &Joining) -> bool {
        self.has_too_many_lines(how) || self.has_too_many_bytes(how)
    }

    /// Gives what waits as a message.
    pub(crate) fn flush(&mut self, how: &Joining) -> Option<Joined> {
        let mut tags = Vec::new();
        if self.lines.len() > 1 && !how.tag.is_empty() {
            tags.push(how.tag.clone());
        }
        if self.has_too_many_bytes(how) {
            tags.push("multiline_codec_max_bytes_reached".to_owned());
        }
        if self.has_too_many_lines(how) {
            tags.push("multiline_codec_max_lines_reached".to_owned());
        }
        let lines = std::mem::take(&mut self.lines);
        let bytes = std::mem::take(&mut self.bytes);
        let message = match <[Text; 1]>::try_from(lines) {
            Ok([only]) => only,
            Err(lines) if lines.is_empty() => return None,
            Err(lines) => Text::spanning(&lines).unwrap_or_else(|| together(&lines, bytes)),
        };
        Some(Joined { message, at: self.at, tags })
    }
}

/// Lines of so many bytes, with newlines between them.
fn together(lines: &[Text], bytes: usize) -> Text {
    let mut message = String::with_capacity(bytes + lines.len());
    for (nth, line) in lines.iter().enumerate() {
        if nth > 0 {
            message.push('\n');
        }
        message.push_str(line);
    }
    message.into()
}

/// The lines of a message that came whole; empty ones at its end are none.
pub(crate) fn lines_of(message: &Text) -> impl Iterator<Item = Text> {
    let message = message.clone();
    let whole = message.trim_end_matches('\n').len();
    let text = message.get(..whole).unwrap_or_default();
    let lines: Vec<Text> =
        if text.is_empty() { Vec::new() } else { text.split('\n').map(|line| message.part(line)).collect() };
    lines.into_iter()
}
