//! Counts events by a key, and finds those that are too few or too many within a time.
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::batch::{Batch, Fate, Filter};
use crate::event::Event;
use crate::plan::CommonFilter;
use crate::plugins::{FilterOptions, Shared};
use crate::ruby::to_i;
use crate::spec::plugin;
use crate::success::OnSuccess;
use crate::template::Template;
use crate::value::{Timestamp, Value};

/// The period of events whose own cannot be read.
const PERIOD: i64 = 60;
/// How many events are counted between two looks at what is too old.
const SWEEP: u64 = 4096;

plugin! {
    /// Counts events by a key, in periods of the events' own time, and does what `add_field`, `add_tag` and the like say to
    /// those that are too few or too many: the first ones up to `before_count`, and those after `after_count`.
    ///
    /// ```
    /// filter { throttle { key => "%{host}%{message}" after_count => 3 period => 60 add_tag => "often" } }
    /// ```
    ///
    /// `add_tag => "throttled"`, and then `if "throttled" in [tags] { drop { } }`.
    filter "throttle" => pub(crate) struct ThrottleOptions {
        /// What to count by: a template such as `%{host}%{message}`.
        key: Template,
        /// Events before this one of a period are too few; -1: none is.
        before_count: i64 = -1,
        /// Events after this one of a period are too many; -1: none is.
        after_count: i64 = -1,
        /// The length of a period in seconds; a template.
        period: Template = "60",
        /// How many seconds of the events' time a count is kept.
        max_age: i64 = 3600,
        /// The most counts that are kept; when there are more, the oldest are forgotten. -1: no limit.
        max_counters: i64 = 100000,
    }
}

impl FilterOptions for ThrottleOptions {
    fn build(&self, on_success: &Arc<CommonFilter>) -> Result<Box<dyn Filter>, String> {
        self.build_shared(on_success, &mut Shared::default())
    }

    fn build_shared(
        &self,
        on_success: &Arc<CommonFilter>,
        shared: &mut Shared,
    ) -> Result<Box<dyn Filter>, String> {
        let counts = shared.take_or_make(Mutex::default);
        Ok(Box::new(Throttle { options: self.clone(), counts, on_success: OnSuccess::new(on_success) }))
    }
}

struct Throttle {
    options: ThrottleOptions,
    counts: Arc<Mutex<Counts>>,
    on_success: OnSuccess,
}

impl Filter for Throttle {
    fn run(&mut self, batch: &mut Batch) {
        // Counts are whole after each event: what a worker that panicked left behind can be used.
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let ThrottleOptions { before_count, after_count, .. } = self.options;
        batch.each(|event| {
            let count = counts.count(&self.options, event);
            if (before_count != -1 && count < before_count) || (after_count != -1 && count > after_count) {
                self.on_success.apply(event);
            }
            Fate::Keep
        });
    }
}

/// The counts of each key.
#[derive(Debug, Default)]
struct Counts {
    by_key: HashMap<String, Slots>,
    counted: u64,
}

/// The counts of one key: its periods begin where its first event was.
#[derive(Debug)]
struct Slots {
    first: i64,
    latest: i64,
    /// The start of each period, and how many events it had.
    counts: Vec<(i64, i64)>,
}

impl Counts {
    /// Counts an event; which one of its period it is.
    fn count(&mut self, options: &ThrottleOptions, event: &Event) -> i64 {
        let second = event.timestamp().unwrap_or_else(Timestamp::now).as_second();
        let period = match to_i(&options.period.render(event)) {
            Value::Int(period) if period > 0 => period,
            _ => PERIOD,
        };
        let key = options.key.render(event).to_string();
        let new = Slots { first: second, latest: second, counts: Vec::new() };
        let slots = self.by_key.entry(key).or_insert(new);
        slots.latest = slots.latest.max(second);
        let start = second - (second - slots.first).rem_euclid(period);
        let count = match slots.counts.iter_mut().find(|(s, _)| *s == start) {
            Some((_, count)) => {
                *count += 1;
                *count
            }
            None => {
                slots.counts.push((start, 1));
                1
            }
        };
        let newest = slots.counts.iter().map(|(start, _)| *start).max().unwrap_or(start);
        slots.counts.retain(|(start, _)| *start >= newest - options.max_age);
        self.counted += 1;
        if self.counted.is_multiple_of(SWEEP) {
            self.sweep(options);
        }
        count
    }

    /// Forgets keys that are too old, and the oldest while there are too many.
    fn sweep(&mut self, options: &ThrottleOptions) {
        let latest = self.by_key.values().map(|slots| slots.latest).max().unwrap_or(0);
        self.by_key.retain(|_, slots| slots.latest >= latest - options.max_age);
        let Ok(most) = usize::try_from(options.max_counters) else { return };
        if self.by_key.len() > most {
            let mut ages: Vec<i64> = self.by_key.values().map(|slots| slots.latest).collect();
            ages.sort_unstable();
            let oldest = ages.get(self.by_key.len() - most).copied().unwrap_or(latest);
            self.by_key.retain(|_, slots| slots.latest >= oldest);
        }
    }
}
