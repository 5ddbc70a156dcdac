//! Decides whether a condition of a configuration holds for an event.
//!
//! Values are compared as in Logstash: a text equals no number, a whole number equals no fraction, and what has no order
//! (a text and a number, an absent field) makes the condition one that cannot be decided.
use crate::event::Event;
use crate::floats::push_java;
use crate::lang::ast::CompareOp;
use crate::plan::{Condition, Operand, Pattern};
use crate::value::{Text, Value};
use onig::{MatchParam, SearchOptions};
use std::borrow::Cow;
use std::cmp::Ordering;

/// How much a regular expression may go back and forth before it counts as not matching.
const RETRIES_MAX: u32 = 1_000_000;

/// Why a condition cannot be decided for an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{left} and {right} have no order: neither is less than the other")]
pub(crate) struct Undecided {
    left: Box<str>,
    right: Box<str>,
}

impl Condition {
    /// Whether it holds for `event`.
    pub(crate) fn holds(&self, event: &Event) -> Result<bool, Undecided> {
        Ok(match self {
            Condition::And(all) => {
                for one in all {
                    if !one.holds(event)? {
                        return Ok(false);
                    }
                }
                true
            }
            Condition::Or(any) => {
                for one in any {
                    if one.holds(event)? {
                        return Ok(true);
                    }
                }
                false
            }
            Condition::Xor(all) => {
                let mut odd = false;
                for one in all {
                    odd ^= one.holds(event)?;
                }
                odd
            }
            Condition::Nand(all) => {
                let (first, rest) = match all.split_first() {
                    Some((first, rest)) => (first.holds(event)?, rest),
                    None => return Ok(false),
                };
                let mut left = first;
                for one in rest {
                    left = !(left && one.holds(event)?);
                }
                left
            }
            Condition::Not(inner) => !inner.holds(event)?,
            Condition::Compare { left, op: CompareOp::Equal, right } => same(left, right, event),
            Condition::Compare { left, op: CompareOp::NotEqual, right } => !same(left, right, event),
            Condition::Compare { left, op, right } => is_ordered(left, *op, right, event)?,
            Condition::Matches { subject, pattern, negate } => matches(subject, pattern, event) != *negate,
            Condition::In { item, of, negate } => is_in(item, of, event) != *negate,
            Condition::Truthy(operand) => value(operand, event).is_some_and(|value| is_true(&value)),
        })
    }
}

/// An empty text and the text `false` count as false.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Str(text) => !matches!(text.as_str(), "" | "false"),
        _ => true,
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

/// What an operand is compared as: of a list that is written out, only the first item counts.
fn scalar(operand: &Operand) -> &Operand {
    match operand {
        Operand::List(items) => items.first().unwrap_or(operand),
        other => other,
    }
}

/// Whether two values are equal. Maps never are, and of the numbers with all their digits only another one equals a fraction
/// that is written in the condition: none.
fn equal(left: &Value, right: &Value, are_fields: bool) -> bool {
    match (left, right) {
        (Value::Map(left), Value::Map(right)) => left.is_empty() && right.is_empty(),
        (Value::List(left), Value::List(right)) => {
            left.len() == right.len()
                && left.iter().zip(right).all(|(left, right)| equal(left, right, are_fields))
        }
        (Value::Number(_), _) | (_, Value::Number(_)) => {
            are_fields && number(left).is_some() && number(left) == number(right)
        }
        (left, right) => left == right,
    }
}

/// Whether two operands are equal; two absent fields are.
fn same(left: &Operand, right: &Operand, event: &Event) -> bool {
    let (left, right) = (scalar(left), scalar(right));
    // The most frequent ones, without making a value of the constant.
    match (left, right) {
        (Operand::Field(field), Operand::Text(text)) | (Operand::Text(text), Operand::Field(field)) => {
            return matches!(event.get(field), Some(Value::Str(have)) if have.as_str() == text);
        }
        (Operand::Field(field), Operand::Integer(number))
        | (Operand::Integer(number), Operand::Field(field)) => {
            return matches!(event.get(field), Some(Value::Int(have)) if have == number);
        }
        _ => {}
    }
    let are_fields = match (left, right) {
        (Operand::Field(left), Operand::Field(right)) if left == right => return true,
        (Operand::Field(_), Operand::Field(_)) => true,
        _ => false,
    };
    match (value(left, event), value(right, event)) {
        (Some(left), Some(right)) => equal(&left, &right, are_fields),
        (left, right) => left.is_none() && right.is_none(),
    }
}

fn is_ordered(left: &Operand, op: CompareOp, right: &Operand, event: &Event) -> Result<bool, Undecided> {
    let (left, right) = (scalar(left), scalar(right));
    let (l, r) = (value(left, event), value(right, event));
    let order = match (l.as_deref(), r.as_deref()) {
        // It is always the field that is compared with the constant.
        (Some(l), Some(r)) if !matches!(left, Operand::Field(_)) => order(r, l).map(Ordering::reverse),
        (Some(l), Some(r)) => order(l, r),
        // Null, a boolean and a moment are taken to be equal to anything, even to what is absent.
        (Some(Value::Null | Value::Bool(_) | Value::Time(_)), None) => Some(Ordering::Equal),
        _ => None,
    };
    match (order, op) {
        (Some(order), CompareOp::Less) => Ok(order.is_lt()),
        (Some(order), CompareOp::LessOrEqual) => Ok(order.is_le()),
        (Some(order), CompareOp::Greater) => Ok(order.is_gt()),
        (Some(order), CompareOp::GreaterOrEqual) => Ok(order.is_ge()),
        (Some(order), CompareOp::Equal) => Ok(order.is_eq()),
        (Some(order), CompareOp::NotEqual) => Ok(order.is_ne()),
        (None, _) => Err(Undecided {
            left: named(left, l.as_deref()).into(),
            right: named(right, r.as_deref()).into(),
        }),
    }
}

/// An operand for people: what a field holds is told by its kind only.
fn named(operand: &Operand, value: Option<&Value>) -> String {
    let kind = match value {
        None => "which is absent",
        Some(Value::Null) => "which is null",
        Some(Value::Bool(_)) => "a boolean",
        Some(Value::Int(_) | Value::Float(_) | Value::Number(_)) => "a number",
        Some(Value::Str(_)) => "a text",
        Some(Value::Time(_)) => "a moment",
        Some(Value::List(_)) => "a list",
        Some(Value::Map(_)) => "a map",
    };
    match operand {
        Operand::Field(field) => format!("`[{}]`, {kind},", field.names().join("][")),
        _ => kind.to_owned(),
    }
}

/// Numbers, texts and moments have an order among themselves; null, booleans and, of what is none, moments are taken to be equal
/// to anything.
fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Int(l), Value::Int(r)) => Some(l.cmp(r)),
        (Value::Str(l), Value::Str(r)) => Some(l.as_str().cmp(r)),
        (Value::Time(l), Value::Time(r)) => Some(l.cmp(r)),
        (Value::Null | Value::Bool(_) | Value::Time(_), _) => Some(Ordering::Equal),
        _ => Some(number(left)?.total_cmp(&number(right)?)),
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        #[allow(clippy::cast_precision_loss, reason = "so Logstash compares whole numbers with others")]
        Value::Int(i) => Some(*i as f64),
        Value::Float(x) => Some(*x),
        Value::Number(number) => Some(number.to_f64()),
        _ => None,
    }
}

/// Only texts match.
fn matches(subject: &Operand, pattern: &Pattern, event: &Event) -> bool {
    match subject {
        Operand::Text(text) => found(pattern, text),
        Operand::Field(field) => match event.get(field) {
            Some(Value::Str(text)) => found(pattern, text),
            _ => false,
        },
        Operand::Integer(_) | Operand::Float(_) | Operand::List(_) => false,
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
    let Some(found) = value(item, event) else { return false };
    // Between constants nothing is looked for: so does Logstash.
    if !matches!(item, Operand::Field(_)) && !matches!(of, Operand::Field(_)) {
        return value(of, event).is_some_and(|of| of == found);
    }
    match of {
        // What a constant list holds is looked for by its text: 200 is in a list that has "200".
        Operand::List(items) => match found.as_ref() {
            Value::List(_) | Value::Map(_) => false,
            found => {
                let text = if matches!(item, Operand::Field(_)) { found.to_text() } else { written(found) };
                items.iter().filter_map(|one| value(one, event)).any(|one| written(&one) == text)
            }
        },
        Operand::Field(field) => match (found.as_ref(), event.get(field)) {
            (Value::List(_) | Value::Map(_), _) | (_, None) => false,
            (Value::Str(part), Some(Value::Str(whole))) => whole.contains(part.as_str()),
            (found, Some(Value::List(items))) => items.contains(found),
            (found, Some(of)) => matches!(item, Operand::Field(_)) && found == of,
        },
        of => match (found.as_ref(), value(of, event)) {
            (Value::Str(part), Some(of)) => written(&of).contains(part.as_str()),
            _ => false,
        },
    }
}

/// A constant as the text that it is looked for by.
fn written(constant: &Value) -> Text {
    match constant {
        Value::Float(x) => {
            let mut text = String::new();
            push_java(*x, &mut text);
            text.into()
        }
        other => other.to_text(),
    }
}

#[cfg(test)]
mod tests;
