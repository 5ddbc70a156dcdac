//! Replaces what a regular expression matches, as Ruby's `gsub` does.
use std::time::{Duration, Instant};

use super::{Groups, OutOfTime, Ruby};

/// What to put in the place of a match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replacement {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// `\1`; `\0` and `\&` are the whole match.
    Group(usize),
    /// `\k<name>`.
    Named(String),
    /// ``\` ``: what stands before the match.
    Before,
    /// `\'`: what stands after it.
    After,
}

impl Replacement {
    /// Reads a replacement; nothing can be wrong with it.
    pub(crate) fn parse(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if c != '\\' {
                literal.push(c);
                continue;
            }
            let rest = chars.as_str();
            let part = match chars.next() {
                Some(digit @ '0'..='9') => Part::Group(digit.to_digit(10).map_or(0, |d| d as usize)),
                Some('&') => Part::Group(0),
                Some('`') => Part::Before,
                Some('\'') => Part::After,
                Some('k') if named(rest).is_some() => {
                    let name = named(rest).unwrap_or_default();
                    chars = rest.get(name.len() + 3..).unwrap_or_default().chars();
                    Part::Named(name.to_owned())
                }
                Some('\\') | None => {
                    literal.push('\\');
                    continue;
                }
                Some(other) => {
                    literal.extend(['\\', other]);
                    continue;
                }
            };
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(part);
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Self { parts }
    }

    fn push(&self, ruby: &Ruby, text: &str, groups: &Groups, out: &mut String) {
        let numbered = |part: &Part| matches!(part, Part::Group(1..));
        let named = self.parts.iter().any(numbered) && !ruby.named_groups().is_empty();
        for part in &self.parts {
            out.push_str(match part {
                Part::Literal(literal) => literal,
                // Where groups have names their numbers mean nothing.
                Part::Group(1..) if named => "",
                Part::Group(number) => groups.text(text, *number).unwrap_or_default(),
                Part::Named(name) => named_group(ruby, text, groups, name),
                Part::Before => groups.place(0).and_then(|(start, _)| text.get(..start)).unwrap_or_default(),
                Part::After => groups.place(0).and_then(|(_, end)| text.get(end..)).unwrap_or_default(),
            });
        }
    }
}

/// The name in `k<name>` at the start of `text`.
fn named(text: &str) -> Option<&str> {
    text.strip_prefix("k<")?.split_once('>').map(|(name, _)| name)
}

/// The last group of this name that took part in the match.
fn named_group<'t>(ruby: &Ruby, text: &'t str, groups: &Groups, name: &str) -> &'t str {
    let named = ruby.named_groups();
    let numbers = named.iter().filter(|(n, _)| n == name).flat_map(|(_, numbers)| numbers);
    numbers.rev().find_map(|number| groups.text(text, *number)).unwrap_or_default()
}

impl Ruby {
    /// Replaces each match in `text`; `None` when there is none.
    pub(crate) fn replace_all(
        &self,
        text: &str,
        with: &Replacement,
        patience: Duration,
        groups: &mut Groups,
    ) -> Result<Option<String>, OutOfTime> {
        let deadline = Instant::now() + patience;
        let mut out: Option<String> = None;
        let (mut copied, mut from) = (0, 0);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if !self.search(text, from, left, groups)? {
                break;
            }
            let Some((start, end)) = groups.place(0) else { break };
            let result = out.get_or_insert_with(|| String::with_capacity(text.len()));
            result.push_str(text.get(copied..start).unwrap_or_default());
            with.push(self, text, groups, result);
            copied = end;
            if start == end && end == text.len() {
                break;
            }
            // After an empty match the search goes on behind the next character, which stays.
            from = if end > start { end } else { text.ceil_char_boundary(end + 1) };
        }
        if let Some(result) = &mut out {
            result.push_str(text.get(copied..).unwrap_or_default());
        }
        Ok(out)
    }
}
