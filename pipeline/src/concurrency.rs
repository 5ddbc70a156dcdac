//! Decides how many requests of an output may be under way at once: more while answers come as soon as they usually do, fewer
//! when they take longer, or when the server has enough.
//!
//! One more after each window in which somebody had to wait for the limit and nothing spoke against it; a quarter fewer when
//! something does: additive increase and multiplicative decrease, as TCP does it with what is on its way. That the times of
//! answers are a measure for requests, too, is an idea of concurrency limits at Netflix and in Vector.
//!
//! Invariants: the limit is between one and `most`; it grows by one a window at most, and shrinks once a window at most; never
//! are more requests let in than it says.
use std::time::{Duration, Instant};

/// How much of what is usual a window changes.
const WEIGHT: f64 = 0.4;
/// How many times the usual deviation an answer may take longer before that is a sign.
const DEVIATIONS: f64 = 2.5;
/// What is no sign yet, however steady the answers are.
const NOISE: Duration = Duration::from_millis(5);
/// What is left of the limit when it shrinks.
const SHRINK: (usize, usize) = (3, 4);
/// The shortest and the longest window; it is as long as an answer usually takes.
const WINDOW_MIN: Duration = Duration::from_millis(50);
const WINDOW_MAX: Duration = Duration::from_secs(5);

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was answered after this time.
    Answered(Duration),
    /// The server said that it has enough, or did not answer as it should.
    Pressed,
    /// It was given up, which says nothing about the server.
    GivenUp,
}

/// How many requests may be under way, and how many are.
#[derive(Clone, Debug)]
pub(crate) struct Concurrency {
    most: usize,
    limit: usize,
    under_way: usize,
    window: Option<Window>,
    usual: Option<Usual>,
}

/// What was seen since the limit was last thought over.
#[derive(Clone, Copy, Debug)]
struct Window {
    ends: Instant,
    answers: u32,
    together: Duration,
    /// Whether somebody had to wait for the limit.
    full: bool,
    /// Whether the limit shrank in it already.
    pressed: bool,
}

/// How long answers take, in seconds.
#[derive(Clone, Copy, Debug)]
struct Usual {
    mean: f64,
    deviation: f64,
}

impl Concurrency {
    /// One request at first, and never more than `most`.
    pub(crate) fn up_to(most: usize) -> Self {
        Self { most: most.max(1), limit: 1, under_way: 0, window: None, usual: None }
    }

    /// How many may be under way.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Begins a request if one more may be under way.
    pub(crate) fn begin(&mut self, now: Instant) -> bool {
        self.window_at(now);
        if self.under_way >= self.limit {
            self.wish_for_more(now);
            return false;
        }
        self.under_way += 1;
        true
    }

    /// Notes that there is more to do than the limit lets through.
    pub(crate) fn wish_for_more(&mut self, now: Instant) {
        self.window_at(now).full = true;
    }

    /// Ends a request that [`begin`](Self::begin) let in, and thinks the limit over when it is time.
    pub(crate) fn end(&mut self, now: Instant, ended: Ended) {
        self.under_way = self.under_way.saturating_sub(1);
        let window = self.window_at(now);
        match ended {
            Ended::GivenUp => return,
            Ended::Pressed if window.pressed => {}
            Ended::Pressed => {
                window.pressed = true;
                self.shrink();
            }
            Ended::Answered(took) => {
                window.answers += 1;
                window.together = window.together.saturating_add(took);
            }
        }
        self.think_over(now);
    }

    fn window_at(&mut self, now: Instant) -> &mut Window {
        let usual = self.usual.map_or(Duration::ZERO, |usual| Duration::from_secs_f64(usual.mean.min(1e6)));
        let ends = now + usual.clamp(WINDOW_MIN, WINDOW_MAX);
        self.window.get_or_insert(Window {
            ends,
            answers: 0,
            together: Duration::ZERO,
            full: false,
            pressed: false,
        })
    }

    fn shrink(&mut self) {
        self.limit = (self.limit * SHRINK.0 / SHRINK.1).max(1);
    }

    fn think_over(&mut self, now: Instant) {
        let Some(window) = self.window.take_if(|window| now >= window.ends) else { return };
        let Some(mean) = window.mean() else { return };
        let is_slow = self.usual.is_some_and(|usual| usual.is_exceeded_by(mean));
        if !window.pressed {
            match (is_slow, window.full) {
                (true, _) => self.shrink(),
                (false, true) => self.limit = (self.limit + 1).min(self.most),
                (false, false) => {}
            }
        }
        self.usual = Some(Usual::after(self.usual, mean));
    }
}

impl Window {
    /// How long an answer took, in seconds, if there was any.
    fn mean(&self) -> Option<f64> {
        (self.answers > 0).then(|| self.together.as_secs_f64() / f64::from(self.answers))
    }
}

impl Usual {
    fn is_exceeded_by(&self, mean: f64) -> bool {
        mean > self.mean + (DEVIATIONS * self.deviation).max(NOISE.as_secs_f64())
    }

    fn after(before: Option<Self>, mean: f64) -> Self {
        let Some(before) = before else { return Self { mean, deviation: 0.0 } };
        let off = mean - before.mean;
        Self {
            mean: before.mean + WEIGHT * off,
            deviation: before.deviation + WEIGHT * (off.abs() - before.deviation),
        }
    }
}

#[cfg(test)]
mod tests;
