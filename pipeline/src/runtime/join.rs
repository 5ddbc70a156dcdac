//! Puts the lines of an input together to messages, source by source, between the input and the filters.
//!
//! Lines that wait for more hold back the position of their source. They become a message when their source is closed, when
//! they have waited long enough, and at the end; at a stop those that can be read again are left to be read again.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::lines::{Cut, Line};
use super::source::{Frame, Source};
use crate::charset::{from_text, to_text};
use crate::codec::Maker;
use crate::event::Event;
use crate::join::{Joined, Joiner, Joining};
use crate::ruby::Groups;
use crate::value::{Text, Timestamp};

/// How often it is looked for sources that were closed and messages that have waited long enough.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The stage of one input.
pub(crate) struct Join {
    pub(crate) how: Arc<Joining>,
    /// The length of what ends a line.
    pub(crate) delimiter: usize,
    pub(crate) frames_in: mpsc::Receiver<Frame>,
    pub(crate) frames_out: mpsc::Sender<Frame>,
    pub(crate) stop: CancellationToken,
}

/// What waits of one source.
struct Waiting {
    source: Arc<Source>,
    joiner: Joiner,
    /// Empty lines that are part of a message only if something follows them.
    blank: usize,
    /// The position before the first line that waits.
    start: u64,
    /// The position after the last line.
    end: u64,
    /// When the last line came.
    since: Instant,
}

impl Join {
    /// Works until the input has ended, and nothing waits.
    pub(crate) async fn run(mut self) {
        let mut waiting: HashMap<usize, Waiting> = HashMap::new();
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let frames = tokio::select! {
                frame = self.frames_in.recv() => match frame {
                    Some(frame) => frame.each().map(|frame| self.join(frame, &mut waiting)).collect(),
                    None => break,
                },
                _ = look.tick(), if !waiting.is_empty() => self.look(&mut waiting),
            };
            for frame in frames {
                if self.frames_out.send(frame).await.is_err() {
                    return;
                }
            }
        }
        let stopped = self.stop.is_cancelled();
        let mut waiting: Vec<Waiting> = waiting.into_values().collect();
        waiting.sort_by_key(|left| left.since);
        for left in waiting {
            if !(stopped && left.source.again)
                && let Some(frame) = left.end(&self.how)
                && self.frames_out.send(frame).await.is_err()
            {
                return;
            }
        }
    }

    /// Puts the lines of a frame together with those that wait.
    fn join(&self, mut frame: Frame, waiting: &mut HashMap<usize, Waiting>) -> Frame {
        let source = frame.source.clone();
        // What waits holds its source, so that no other can stand at the same place.
        let key = Arc::as_ptr(&source) as usize;
        let mut left = waiting.remove(&key).unwrap_or_else(|| Waiting::new(&source, frame.cut.end));
        let now = Timestamp::now();
        // Behind each line stand the others and their delimiters.
        let mut behind = (frame.cut.size + frame.cut.len() * self.delimiter) as u64;
        let mut by = By { how: &self.how, groups: &mut Groups::new(), joined: Vec::new() };
        for line in frame.cut.lines() {
            let start = frame.cut.end.saturating_sub(behind).max(left.end.min(frame.cut.end));
            let (line, length) = match line {
                Line::Text(text) => {
                    let length = text.len();
                    (from_text(text, self.how.charset), length)
                }
                Line::Bytes(bytes) => (to_text(bytes.clone(), self.how.charset), bytes.len()),
            };
            behind = behind.saturating_sub((length + self.delimiter) as u64);
            left.push(line, start, now, &mut by);
        }
        left.end = frame.cut.end;
        left.since = Instant::now();
        let messages = by.joined.into_iter().map(|joined| joined.into_event(self.how.original.as_ref()));
        let fields = source.fields_for_frame();
        let mut maker = Maker::new(now, &fields, &mut frame.ready);
        messages.for_each(|event| maker.event(event));
        if left.joiner.is_empty() {
            left.start = left.end;
        }
        frame.cut = Cut::without_lines(frame.cut.size, left.start);
        if !left.joiner.is_empty() {
            left.joiner.detach();
            waiting.insert(key, left);
        }
        frame
    }

    /// Ends what has waited long enough, or whose source is closed.
    fn look(&self, waiting: &mut HashMap<usize, Waiting>) -> Vec<Frame> {
        let now = Instant::now();
        let over = |left: &Waiting| {
            let late = self.how.patience.is_some_and(|patience| now >= left.since + patience);
            late || Arc::strong_count(&left.source) == 1
        };
        let mut keys: Vec<_> =
            waiting.iter().filter(|(_, left)| over(left)).map(|(key, left)| (left.since, *key)).collect();
        keys.sort_unstable();
        keys.iter().filter_map(|(_, key)| waiting.remove(key)?.end(&self.how)).collect()
    }
}

/// What lines are put together by.
struct By<'a> {
    how: &'a Joining,
    groups: &'a mut Groups,
    /// The messages that became whole.
    joined: Vec<Joined>,
}

impl Waiting {
    fn new(source: &Arc<Source>, at: u64) -> Self {
        let (source, joiner) = (source.clone(), Joiner::default());
        Self { source, joiner, blank: 0, start: at, end: 0, since: Instant::now() }
    }

    /// Takes a line that begins at `start`. An empty line of a file is none; one of a stream counts if another follows.
    fn push(&mut self, line: Text, start: u64, now: Timestamp, by: &mut By<'_>) {
        if line.is_empty() {
            self.blank += usize::from(!self.source.again);
            return;
        }
        for _ in 0..std::mem::take(&mut self.blank) {
            self.push_one(Text::default(), start, now, by);
        }
        self.push_one(line, start, now, by);
    }

    fn push_one(&mut self, line: Text, start: u64, now: Timestamp, by: &mut By<'_>) {
        if self.joiner.is_empty() {
            self.start = start;
        }
        if let Some(whole) = self.joiner.push(line, now, by.how, by.groups) {
            by.joined.push(whole);
            // With `previous` the line itself waits now.
            self.start = start;
        }
    }

    fn end(mut self, how: &Joining) -> Option<Frame> {
        let joined = self.joiner.flush(how)?;
        let mut events: Vec<Event> = Vec::new();
        let fields = self.source.fields_for_frame();
        Maker::new(joined.at, &fields, &mut events).event(joined.into_event(how.original.as_ref()));
        let cut = Cut::without_lines(0, self.end);
        Some(Frame::of(&self.source, cut, events, None))
    }
}
