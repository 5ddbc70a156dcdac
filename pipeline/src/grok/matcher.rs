//! Matches texts against one grok pattern.
use std::time::Duration;

use super::expand::{Coerce, Style, expand};
use super::library::Library;
use super::needles::Needles;
use crate::field::FieldRef;
use crate::mistake::Mistake;
use crate::ruby::{Dot, Groups, OutOfTime, Ruby, to_f, to_i};
use crate::value::{Text, Value};

/// A compiled grok pattern.
#[derive(Debug)]
pub(crate) struct Matcher {
    ruby: Ruby,
    needles: Needles,
    slots: Box<[Slot]>,
}

/// A group to keep.
#[derive(Debug)]
struct Slot {
    number: usize,
    field: FieldRef,
    coerce: Coerce,
}

impl Matcher {
    /// Compiles `pattern`; warnings go to `warn`.
    pub(crate) fn compile(
        pattern: &str,
        library: &Library,
        style: Style<'_>,
        warn: &mut dyn FnMut(Mistake),
    ) -> Result<Self, Mistake> {
        let expanded = expand(pattern, library, style)?;
        expanded.warnings.into_iter().for_each(warn);
        let ruby = Ruby::compile(&expanded.regex, Dot::AnyCharacter).map_err(|mistake| {
            // The place in the expanded text means nothing to whoever wrote the pattern.
            Mistake { start: 0, end: pattern.len(), ..mistake }
        })?;
        let mut slots = Vec::new();
        for (name, numbers) in ruby.named_groups() {
            for capture in expanded.captures.iter().filter(|capture| capture.group == name) {
                let slot = |number| Slot { number, field: capture.field.clone(), coerce: capture.coerce };
                slots.extend(numbers.iter().copied().map(slot));
            }
        }
        slots.sort_by_key(|slot| slot.number);
        Ok(Self { ruby, needles: Needles::of(&expanded.regex), slots: slots.into() })
    }

    /// How many groups there are to keep.
    pub(crate) fn fields(&self) -> usize {
        self.slots.len()
    }

    /// Whether the pattern matches somewhere in `text`; what it found is then in `groups`.
    pub(crate) fn matches(
        &self,
        text: &str,
        patience: Duration,
        groups: &mut Groups,
    ) -> Result<bool, OutOfTime> {
        if !self.needles.may_match(text) {
            return Ok(false);
        }
        self.ruby.search(text, 0, patience, groups)
    }

    /// What the groups to keep found in `text`, in the order in which they stand in the pattern: `None` for a group
    /// that took no part in the match. Texts are slices of `text`.
    pub(crate) fn found<'a>(
        &'a self,
        text: &'a Text,
        groups: &'a Groups,
    ) -> impl Iterator<Item = (&'a FieldRef, Option<Value>)> {
        self.slots.iter().map(|slot| {
            let value = groups.text(text, slot.number).map(|part| match slot.coerce {
                Coerce::No => Value::Str(text.part(part)),
                Coerce::Int => to_i(part),
                Coerce::Float => Value::Float(to_f(part)),
            });
            (&slot.field, value)
        })
    }
}
