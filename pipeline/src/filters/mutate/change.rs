//! Makes one change to an event.
use std::time::Duration;

use super::convert::Conversion;
use super::text::{Style, split};
use crate::event::Event;
use crate::field::{FieldError, FieldRef};
use crate::place::Place;
use crate::ruby::{self, Dot, Groups, OutOfTime, Replacement, Ruby};
use crate::template::Template;
use crate::value::{Text, Value};

/// How long one expression may try one text: as long as a grok pattern.
const PATIENCE: Duration = Duration::from_secs(30);

/// One change.
#[derive(Debug)]
pub(crate) enum Change {
    Coerce(Place, Template),
    Rename(Place, Place),
    Update(Place, Template),
    Replace(Place, Template),
    Convert(Place, Conversion),
    Gsub(Gsub),
    Restyle(FieldRef, Style),
    Split(Place, String),
    Join(Place, String),
    Merge(Place, Vec<Place>),
    Copy(Place, Place),
}

/// Why a change could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Field(#[from] FieldError),
    #[error(transparent)]
    OutOfTime(#[from] OutOfTime),
    #[error("the regular expression that the event fills in cannot be used")]
    Pattern,
    #[error("a number that is not finite cannot be made a whole number")]
    NotFinite,
    #[error("this is not a number")]
    NotANumber,
    #[error("a list holds something that is no text")]
    NotAText,
}

impl Change {
    /// Makes the change; a field that is absent, or has no type for it, stays as it is.
    pub(crate) fn make(&mut self, event: &mut Event, groups: &mut Groups) -> Result<(), Failure> {
        match self {
            Self::Coerce(place, value) => {
                let field = place.of(event);
                if event.get(&field) == Some(&Value::Null) {
                    event.set(&field, value.render(event))?;
                }
            }
            Self::Rename(from, to) => {
                let (from, to) = (from.of(event), to.of(event));
                rename(event, &from, &to)?;
            }
            Self::Update(place, value) => {
                let field = place.of(event);
                if event.has(&field) {
                    event.set(&field, value.render(event))?;
                }
            }
            Self::Replace(place, value) => {
                let field = place.of(event);
                event.set(&field, value.render(event))?;
            }
            Self::Convert(place, to) => {
                let field = place.of(event);
                if let Some(value) = event.get(&field).and_then(|value| to.apply(value).transpose()) {
                    event.set(&field, value?)?;
                }
            }
            Self::Gsub(gsub) => gsub.make(event, groups)?,
            Self::Restyle(field, Style::Stripped) => strip(event, field)?,
            Self::Restyle(field, style) => {
                each_text(event, field, |text| Ok(Some(style.apply(text))))?;
            }
            Self::Split(place, at) => {
                let field = place.of(event);
                if let Some(Value::Str(text)) = event.get(&field) {
                    let parts = Value::List(split(text, at));
                    event.set(&field, parts)?;
                }
            }
            Self::Join(place, with) => {
                let field = place.of(event);
                if let Some(Value::List(items)) = event.get(&field) {
                    let joined = join(items, with);
                    event.set(&field, joined)?;
                }
            }
            Self::Merge(place, added) => {
                let field = place.of(event);
                merge(event, &field, added)?;
            }
            Self::Copy(from, to) => {
                let value = event.get(&from.of(event)).cloned();
                if let Some(value) = value.filter(|value| *value != Value::Null) {
                    let field = to.of(event);
                    event.set(&field, value)?;
                }
            }
        }
        Ok(())
    }
}

/// Gives a field another name. If it cannot have that one it is lost: so does Logstash.
fn rename(event: &mut Event, from: &FieldRef, to: &FieldRef) -> Result<(), Failure> {
    let Some(value) = event.remove(from) else { return Ok(()) };
    Ok(event.set(to, value)?)
}

/// Changes a text, or each text of a list, where `change` has something to change.
fn each_text(
    event: &mut Event,
    field: &FieldRef,
    mut change: impl FnMut(&Text) -> Result<Option<Text>, Failure>,
) -> Result<(), Failure> {
    let mut texts = match event.get_mut(field) {
        Some(Value::List(items)) => items.as_mut_slice(),
        Some(value) => std::slice::from_mut(value),
        None => return Ok(()),
    }
    .iter_mut();
    texts.try_for_each(|value| {
        if let Value::Str(text) = value
            && let Some(changed) = change(text)?
        {
            *text = changed;
        }
        Ok(())
    })
}

/// Rids texts of blanks. A list in which there is something else cannot be changed.
fn strip(event: &mut Event, field: &FieldRef) -> Result<(), Failure> {
    if let Some(Value::List(items)) = event.get(field)
        && items.iter().any(|item| item.as_text().is_none())
    {
        return Err(Failure::NotAText);
    }
    each_text(event, field, |text| Ok(Some(Style::Stripped.apply(text))))
}

/// The items as Ruby joins them: a list among them is joined, too.
fn join(items: &[Value], with: &str) -> String {
    let mut joined = String::new();
    for (number, item) in items.iter().enumerate() {
        if number > 0 {
            joined.push_str(with);
        }
        match item {
            Value::List(items) => joined.push_str(&join(items, with)),
            item => joined.push_str(&ruby::to_s(item)),
        }
    }
    joined
}

/// Adds what each of `added` holds to the list or map at `field`. A map and something else do not go together and stay
/// apart. What was no list is made a new one by each of them, so that the last is kept: so does Logstash.
fn merge(event: &mut Event, field: &FieldRef, added: &[Place]) -> Result<(), Failure> {
    let mut target = event.get(field).cloned().unwrap_or_default();
    for place in added {
        // What is added may be what was merged just before.
        let added = event.get(&place.of(event)).cloned().unwrap_or_default();
        let merged = match (&mut target, added) {
            (Value::Map(map), Value::Map(added)) => {
                for (name, value) in added {
                    map.insert(name, value);
                }
                target.clone()
            }
            (Value::Map(_), _) | (_, Value::Map(_)) => continue,
            (Value::List(items), added) => {
                items.extend(listed(added));
                target.clone()
            }
            (other, added) => {
                let mut items = listed(other.clone());
                items.extend(listed(added));
                Value::List(items)
            }
        };
        event.set(field, merged)?;
    }
    Ok(())
}

fn listed(value: Value) -> Vec<Value> {
    match value {
        Value::List(items) => items,
        Value::Null => Vec::new(),
        other => vec![other],
    }
}

/// One substitution.
#[derive(Debug)]
pub(crate) struct Gsub {
    field: FieldRef,
    pattern: Expression,
    with: Template,
    /// What to put in, when it is the same for all events.
    fixed: Option<Replacement>,
}

/// A regular expression, known before or only for each event.
#[derive(Debug)]
enum Expression {
    Fixed(Ruby),
    /// The last one is remembered: events in a row mostly have the same.
    Filled {
        source: Template,
        last: Option<(Text, Ruby)>,
    },
}

impl Gsub {
    pub(crate) fn new(field: &str, pattern: &str, with: &str) -> Result<Self, String> {
        let source = Template::parse(pattern);
        let pattern = match source.as_literal() {
            Some(_) => {
                let ruby = Ruby::compile(pattern, Dot::NotNewline);
                Expression::Fixed(ruby.map_err(|mistake| mistake.to_string())?)
            }
            None => Expression::Filled { source, last: None },
        };
        let with = Template::parse(with);
        Ok(Self {
            field: FieldRef::parse(field).map_err(|error| error.to_string())?,
            pattern,
            fixed: with.as_literal().map(|text| Replacement::parse(text)),
            with,
        })
    }

    fn make(&mut self, event: &mut Event, groups: &mut Groups) -> Result<(), Failure> {
        if !event.has(&self.field) {
            return Ok(());
        }
        let filled;
        let with = match &self.fixed {
            Some(with) => with,
            None => {
                filled = Replacement::parse(&self.with.render(event));
                &filled
            }
        };
        let ruby = match &mut self.pattern {
            Expression::Fixed(ruby) => ruby,
            Expression::Filled { source, last } => {
                let source = source.render(event);
                if last.as_ref().is_none_or(|(known, _)| *known != source) {
                    let ruby = Ruby::compile(&source, Dot::NotNewline).map_err(|_| Failure::Pattern)?;
                    *last = Some((source, ruby));
                }
                match last {
                    Some((_, ruby)) => ruby,
                    None => return Ok(()),
                }
            }
        };
        each_text(event, &self.field, |text| {
            Ok(ruby.replace_all(text, with, PATIENCE, groups)?.map(Text::from))
        })
    }
}
