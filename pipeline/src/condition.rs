//! Decides whether a condition of a configuration holds for an event.
use crate::event::Event;
use crate::lang::ast::CompareOp;
use crate::plan::{Condition, Operand, Pattern};
use crate::value::{Text, Value};
use onig::{MatchParam, SearchOptions};
use std::borrow::Cow;
use std::cmp::Ordering;

/// How much a regular expression may go back and forth before it counts as not matching.
const RETRIES_MAX: u32 = 1_000_000;

impl Condition {
    /// Whether it holds for `event`.
    pub(crate) fn holds(&self, event: &Event) -> bool {
        match self {
            Condition::And(all) => all.iter().all(|c| c.holds(event)),
            Condition::Or(any) => any.iter().any(|c| c.holds(event)),
            Condition::Xor(all) => all.iter().fold(false, |odd, c| odd ^ c.holds(event)),
            Condition::Nand(all) => {
                let mut rest = all.iter().map(|c| c.holds(event));
                let first = rest.next().unwrap_or(false);
                rest.fold(first, |left, right| !(left && right))
            }
            Condition::Not(inner) => !inner.holds(event),
            Condition::Compare { left, op, right } => compare(left, *op, right, event),
            Condition::Matches { subject, pattern, negate } => matches(subject, pattern, event) != *negate,
            Condition::In { item, of, negate } => is_in(item, of, event) != *negate,
            Condition::Truthy(operand) => match operand {
                Operand::Field(field) => {
                    !matches!(event.get(field), None | Some(Value::Null | Value::Bool(false)))
                }
                Operand::Text(_) | Operand::Integer(_) | Operand::Float(_) | Operand::List(_) => true,
            },
        }
    }
}

/// What an operand is for this event; `None` for an absent field.
fn value<'a>(operand: &'a Operand, event: &'a Event) -> Option<Cow<'a, Value>> {
    Some(match operand {
        Operand::Field(field) => Cow::Borrowed(event.get(field)?),
        Operand::Text(text) => Cow::Owned(Value::from(text.as_str())),
        Operand::Integer(i) => Cow::Owned(Value::Int(*i)),
        Operand::Float(x) => Cow::Owned(Value::Float(*x)),
        Operand::List(items) => Cow::Owned(Value::List(
            items.iter().map(|item| value(item, event).map_or(Value::Null, Cow::into_owned)).collect(),
        )),
    })
}

fn compare(left: &Operand, op: CompareOp, right: &Operand, event: &Event) -> bool {
    // The common case, without making a value of the constant.
    if let (Operand::Field(field), CompareOp::Equal | CompareOp::NotEqual, Operand::Text(text)) =
        (left, op, right)
    {
        let equal = match event.get(field) {
            Some(Value::Str(have)) => have.as_str() == text,
            other => equal(other.unwrap_or(&Value::Null), &Value::from(text.as_str())),
        };
        return equal == (op == CompareOp::Equal);
    }
    let (left, right) = (value(left, event), value(right, event));
    let order = match (&left, &right) {
        (Some(left), Some(right)) => order(left, right),
        _ => None,
    };
    let same = || match (&left, &right) {
        (Some(left), Some(right)) => equal(left, right),
        (one, other) => is_nothing(one) && is_nothing(other),
    };
    match op {
        CompareOp::Equal => same(),
        CompareOp::NotEqual => !same(),
        CompareOp::Less => order == Some(Ordering::Less),
        CompareOp::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        CompareOp::Greater => order == Some(Ordering::Greater),
        CompareOp::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
    }
}

fn is_nothing(value: &Option<Cow<'_, Value>>) -> bool {
    value.as_deref().is_none_or(|v| *v == Value::Null)
}

/// Numbers are equal by what they are, not by how they are written; a moment equals its text.
fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Int(_) | Value::Float(_), Value::Int(_) | Value::Float(_)) => {
            order(left, right) == Some(Ordering::Equal)
        }
        (Value::Time(_), Value::Str(text)) | (Value::Str(text), Value::Time(_)) => {
            let time = if matches!(left, Value::Time(_)) { left } else { right };
            time.to_text() == *text
        }
        _ => left == right,
    }
}

/// Values of one kind have an order; a number and a text that reads as a number do too.
fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Int(l), Value::Int(r)) => Some(l.cmp(r)),
        (Value::Str(l), Value::Str(r)) => Some(l.as_str().cmp(r)),
        (Value::Time(l), Value::Time(r)) => Some(l.cmp(r)),
        (Value::Time(_), Value::Str(text)) => Some(left.to_text().as_str().cmp(text)),
        (Value::Str(text), Value::Time(_)) => Some(text.as_str().cmp(&right.to_text())),
        _ => number(left)?.partial_cmp(&number(right)?),
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(i) => Some(*i as f64),
        Value::Float(x) => Some(*x),
        Value::Str(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn matches(subject: &Operand, pattern: &Pattern, event: &Event) -> bool {
    match subject {
        Operand::Text(text) => found(pattern, text),
        _ => match value(subject, event).as_deref() {
            None | Some(Value::Null) => false,
            Some(Value::Str(text)) => found(pattern, text),
            Some(Value::List(items)) => items.iter().any(|item| found(pattern, &item.to_text())),
            Some(other) => found(pattern, &other.to_text()),
        },
    }
}

/// Whether the pattern is somewhere in the text; a search that goes on for too long counts as no.
fn found(pattern: &Pattern, text: &str) -> bool {
    let mut limits = MatchParam::default();
    limits.set_retry_limit_in_match(RETRIES_MAX);
    let found =
        pattern.regex.search_with_param(text, 0, text.len(), SearchOptions::SEARCH_OPTION_NONE, None, limits);
    matches!(found, Ok(Some(_)))
}

fn is_in(item: &Operand, of: &Operand, event: &Event) -> bool {
    let Some(item) = value(item, event) else { return false };
    if let Operand::List(items) = of {
        return items.iter().filter_map(|one| value(one, event)).any(|one| equal(&one, &item));
    }
    match value(of, event).as_deref() {
        Some(Value::List(items)) => items.iter().any(|one| equal(one, &item)),
        Some(Value::Str(whole)) => match item.as_ref() {
            Value::Str(part) => contains(whole, part),
            Value::Int(_) | Value::Float(_) => contains(whole, &item.to_text()),
            _ => false,
        },
        Some(Value::Map(map)) => match item.as_ref() {
            Value::Str(name) => map.get(name).is_some(),
            _ => false,
        },
        Some(other) => equal(other, &item),
        None => false,
    }
}

fn contains(whole: &Text, part: &Text) -> bool {
    whole.contains(part.as_str())
}

#[cfg(test)]
mod tests;
