//! Matches texts against one grok pattern.
use std::time::Duration;

use super::expand::{Coerce, Style, expand};
use super::library::Library;
use super::needles::Needles;
use crate::field::FieldRef;
use crate::mistake::Mistake;
use crate::ruby::{Dot, Groups, OutOfTime, Ruby, to_f, to_i};
use crate::value::{Name, Names, Text, Value};

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
    overwrite: bool,
    coerce: Coerce,
}

/// What a group that is kept found.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    /// The field to keep it as.
    pub(crate) field: &'a FieldRef,
    /// What is there already gives way.
    pub(crate) overwrite: bool,
    /// Nothing for a group that took no part in the match.
    pub(crate) value: Option<Value>,
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
        let named = ruby.named_groups();
        let mut slots = Vec::new();
        for capture in expanded.captures {
            let numbers = named.iter().filter(|(name, _)| *name == capture.group).flat_map(|(_, n)| n);
            slots.extend(numbers.enumerate().map(|(place, number)| Slot {
                number: *number,
                field: capture.field.clone(),
                overwrite: capture.overwrite,
                coerce: if place == 0 { capture.coerce } else { Coerce::No },
            }));
        }
        Ok(Self { ruby, needles: Needles::of(&expanded.regex), slots: slots.into() })
    }

    /// How many groups there are to keep.
    pub(crate) fn fields(&self) -> usize {
        self.slots.len()
    }

    /// The names of the fields that it keeps, if each is kept once and at the top of the event: then what it found can be
    /// put into an event that has none of them without looking for each.
    pub(crate) fn plain_names(&self) -> Option<Names> {
        let mut names: Vec<Name> = Vec::with_capacity(self.slots.len());
        for slot in &self.slots {
            let name = slot.field.as_top()?;
            if names.contains(name) {
                return None;
            }
            names.push(name.clone());
        }
        Some(Names::new(names))
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

    /// What the groups to keep found in `text`, in the order in which their names first stand in the pattern. Texts are
    /// slices of `text`.
    pub(crate) fn found<'a>(&'a self, text: &'a Text, groups: &'a Groups) -> impl Iterator<Item = Found<'a>> {
        self.slots.iter().map(|slot| {
            let value = groups.text(text, slot.number).map(|part| match slot.coerce {
                Coerce::No => Value::Str(text.part(part)),
                Coerce::Int => to_i(part),
                Coerce::Float => Value::Float(to_f(part)),
            });
            Found { field: &slot.field, overwrite: slot.overwrite, value }
        })
    }
}
