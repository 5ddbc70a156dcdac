//! Runs regular expressions of Ruby's syntax, which Logstash's configurations are written in, and never for too long.
mod ascii;
mod machine;
mod nature;
mod number;
mod program;
mod replace;
mod set;
pub(crate) mod syntax;
mod text;

pub(crate) use ascii::ascii_classes;
pub(crate) use number::{decimal, hexadecimal, number_in, to_f, to_i};
pub(crate) use replace::Replacement;
pub(crate) use text::to_s;

use std::time::{Duration, Instant};

use onig::{MatchParam, RegexOptions, Region, SearchOptions, Syntax};

use crate::grok::shortcuts::for_pattern;
use crate::mistake::Mistake;
use machine::Memory;
use program::Program;

/// The steps that all starts of a match in a text may take together before it is looked at the clock.
const QUICK: usize = 20_000_000;
/// The most steps that one of them may take of these, and the least that is worth trying.
const QUICK_START: std::ops::RangeInclusive<usize> = 100..=50_000;
/// The steps that a slow machine does in a millisecond.
const STEPS_PER_MS: u128 = 20_000;
/// The alternatives that one start may leave untried (some 50 bytes each).
const STACK: u32 = 4_000_000;

/// A compiled regular expression.
///
/// Oniguruma knows all of the syntax and all texts. Most expressions are compiled to a [`Program`], too, which is several
/// times faster on texts that are ASCII and one line.
pub(crate) struct Ruby {
    regex: onig::Regex,
    program: Option<Program>,
}

/// Where a search found its groups, and what it remembered on the way; reused from search to search.
#[derive(Debug)]
pub(crate) struct Groups {
    region: Region,
    memory: Memory,
    /// Which of the two holds the groups.
    by_program: bool,
}

impl Groups {
    pub(crate) fn new() -> Self {
        Self { region: Region::new(), memory: Memory::default(), by_program: false }
    }

    /// The start and end of group `number`, if it took part in the match; 0 is the whole.
    pub(crate) fn place(&self, number: usize) -> Option<(usize, usize)> {
        if self.by_program { self.memory.place(number) } else { self.region.pos(number) }
    }

    /// The text of group `number` in `text`, if it took part in the match.
    pub(crate) fn text<'t>(&self, text: &'t str, number: usize) -> Option<&'t str> {
        let (start, end) = self.place(number)?;
        text.get(start..end)
    }
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
        let written = ascii_classes(pattern);
        let regex = onig::Regex::with_options(&written, options, Syntax::ruby()).map_err(|error| {
            let message = format!("the regular expression cannot be used: {}", error.description());
            Mistake::new(0, pattern.len(), message)
        })?;
        let program = syntax::read(pattern).and_then(|tree| Program::compile(&tree, for_pattern(pattern)));
        let program = program.filter(|program| program.groups() == regex.captures_len() + 1);
        Ok(Self { regex, program })
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

    /// Looks for the first match that starts at or after `from`; its groups are in `groups` then.
    ///
    /// Expressions that try very many ways are given up after about `patience`.
    pub(crate) fn search(
        &self,
        text: &str,
        from: usize,
        patience: Duration,
        groups: &mut Groups,
    ) -> Result<bool, OutOfTime> {
        if let Some(program) = &self.program
            && is_plain(text)
            && let Ok(found) = program.search(text, from, &mut groups.memory)
        {
            groups.by_program = true;
            return Ok(found);
        }
        groups.by_program = false;
        self.search_with_oniguruma(text, from, patience, &mut groups.region)
    }

    fn search_with_oniguruma(
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
        f.debug_struct("Ruby").field("program", &self.program).finish_non_exhaustive()
    }
}

/// Whether a text is what programs are for.
fn is_plain(text: &str) -> bool {
    text.is_ascii() && memchr::memchr(b'\n', text.as_bytes()).is_none() && u32::try_from(text.len()).is_ok()
}

#[cfg(test)]
mod tests;
