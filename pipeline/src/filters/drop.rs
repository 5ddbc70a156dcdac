//! Ends events on purpose.
use std::sync::Arc;

use crate::batch::{Batch, Fate, Filter};
use crate::lang::kinds::Placed;
use crate::lang::problems::Problems;
use crate::plan::CommonFilter;
use crate::plugins::FilterOptions;
use crate::spec::plugin;

plugin! {
    /// Drops the events that reach it, or a part of them.
    ///
    /// ```
    /// filter { if [level] == "debug" { drop { } } }
    /// ```
    ///
    /// It is mostly used inside a condition: `if [loglevel] == "debug" { drop { } }`. What is dropped counts as done: it
    /// is neither sent nor read again.
    filter "drop" => pub(crate) struct DropOptions {
        /// How many of a hundred events to drop, chosen at random.
        percentage: Placed<f64> = 100,
    }
    validate = check_percentage
}

fn check_percentage(options: &DropOptions, problems: &mut Problems) {
    if !(0.0..=100.0).contains(&options.percentage.value) {
        problems
            .error(options.percentage.span, "between none and 100 of 100 events can be dropped")
            .hint("it can be from 0 to 100");
    }
}

impl FilterOptions for DropOptions {
    fn build(&self, _on_success: &Arc<CommonFilter>) -> Result<Box<dyn Filter>, String> {
        Ok(Box::new(Drop { percentage: self.percentage.value }))
    }
}

struct Drop {
    percentage: f64,
}

impl Filter for Drop {
    fn run(&mut self, batch: &mut Batch) {
        batch
            .each(|_| if rand::random_range(0.0..100.0) < self.percentage { Fate::Drop } else { Fate::Keep });
    }
}
