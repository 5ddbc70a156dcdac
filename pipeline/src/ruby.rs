//! Runs regular expressions of Ruby's syntax, which Logstash's configurations are written in, and never for too long.
mod number;
mod replace;

pub(crate) use number::{to_f, to_i};
pub(crate) use replace::Replacement;

use std::time::{Duration, Instant};

use onig::{MatchParam, RegexOptions, SearchOptions, Syntax};

/// Where a search found its groups; reused from search to search.
pub(crate) use onig::Region;

use crate::mistake::Mistake;

/// The steps that all starts of a match in a text may take together before it is looked at the clock.
const QUICK: usize = 20_000_000;
/// The most steps that one of them may take of these, and the least that is worth trying.
const QUICK_START: std::ops::RangeInclusive<usize> = 100..=50_000;
/// The steps that a slow machine does in a millisecond.
const STEPS_PER_MS: u128 = 20_000;
/// The alternatives that one start may leave untried (some 50 bytes each).
const STACK: u32 = 4_000_000;

/// A compiled regular expression.
pub(crate) struct Ruby {
    regex: onig::Regex,
}

/// Whether `.` is also the end of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dot {
    /// As in grok.
    AnyCharacter,
    /// As in Ruby, unless `(?m)` stands in the expression.
    NotNewline,
}

/// A search took too long: it is not known whether there is a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the regular expression takes too long on this text")]
pub(crate) struct OutOfTime;

impl Ruby {
    /// Compiles `pattern`.
    pub(crate) fn compile(pattern: &str, dot: Dot) -> Result<Self, Mistake> {
        let options = match dot {
            Dot::AnyCharacter => RegexOptions::REGEX_OPTION_MULTILINE,
            Dot::NotNewline => RegexOptions::REGEX_OPTION_NONE,
        };
        let compiled = onig::Regex::with_options(pattern, options, Syntax::ruby());
        compiled.map(|regex| Self { regex }).map_err(|error| {
            let message = format!("the regular expression cannot be used: {}", error.description());
            Mistake::new(0, pattern.len(), message)
        })
    }

    /// The groups that have names, each with the numbers of its groups.
    pub(crate) fn named_groups(&self) -> Vec<(String, Vec<usize>)> {
        let mut groups = Vec::new();
        self.regex.foreach_name(|name, numbers| {
            let numbers = numbers.iter().filter_map(|n| usize::try_from(*n).ok());
            groups.push((name.to_owned(), numbers.collect()));
            true
        });
        groups
    }

    /// Looks for the first match that starts at or after `from`; its groups are in `region` then.
    ///
    /// Expressions that try very many ways are given up after about `patience`.
    pub(crate) fn search(
        &self,
        text: &str,
        from: usize,
        patience: Duration,
        region: &mut Region,
    ) -> Result<bool, OutOfTime> {
        let length = text.len().saturating_sub(from).max(1);
        let steps = (QUICK / length).clamp(*QUICK_START.start(), *QUICK_START.end());
        let found = self.regex.search_with_param(
            text,
            from,
            text.len(),
            SearchOptions::SEARCH_OPTION_NONE,
            Some(region),
            limits(u32::try_from(steps).unwrap_or(u32::MAX)),
        );
        match found {
            Ok(at) => Ok(at.is_some()),
            // The only errors that a search has are its limits.
            Err(_) => self.search_closely(text, from, Instant::now() + patience, region),
        }
    }

    /// Tries one start after the other, each with the time that is left.
    fn search_closely(
        &self,
        text: &str,
        from: usize,
        deadline: Instant,
        region: &mut Region,
    ) -> Result<bool, OutOfTime> {
        let mut start = from;
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).as_millis();
            let steps = u32::try_from(left * STEPS_PER_MS).unwrap_or(u32::MAX);
            if steps == 0 {
                return Err(OutOfTime);
            }
            let options = SearchOptions::SEARCH_OPTION_NONE;
            let found = self.regex.match_with_param(text, start, options, Some(region), limits(steps));
            if found.map_err(|_| OutOfTime)?.is_some() {
                return Ok(true);
            }
            if start >= text.len() {
                return Ok(false);
            }
            start = text.ceil_char_boundary(start.saturating_add(1));
        }
    }
}

fn limits(steps: u32) -> MatchParam {
    let mut limits = MatchParam::default();
    limits.set_retry_limit_in_match(steps);
    limits.set_match_stack_limit(STACK);
    limits
}

impl std::fmt::Debug for Ruby {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ruby").field("groups", &self.regex.captures_len()).finish_non_exhaustive()
    }
}

/// The text of group `number` in `region`, if it took part in the match.
pub(crate) fn group<'t>(text: &'t str, region: &Region, number: usize) -> Option<&'t str> {
    let (start, end) = region.pos(number)?;
    text.get(start..end)
}

#[cfg(test)]
mod tests;
