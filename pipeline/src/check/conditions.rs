//! Checks conditions and compiles them: field references, regular expressions, what can be compared with what.
use std::sync::Arc;

use crate::field::FieldRef;
use crate::lang::ast::{BoolOp, CompareOp, Expr, RawRvalue, Rvalue, Span};
use crate::lang::problems::Problems;
use crate::plan::{Condition, Operand, Pattern};
use crate::ruby::ascii_classes;

/// Compiles a condition; `None` when something is wrong, which has then been reported.
pub(super) fn compile(expr: &Expr, problems: &mut Problems) -> Option<Condition> {
    match expr {
        Expr::Chain(op, items) => {
            let compiled: Vec<Option<Condition>> = items.iter().map(|item| compile(item, problems)).collect();
            let compiled = compiled.into_iter().collect::<Option<Vec<_>>>()?;
            Some(match op {
                BoolOp::And => Condition::And(compiled),
                BoolOp::Or => Condition::Or(compiled),
                BoolOp::Xor => Condition::Xor(compiled),
                BoolOp::Nand => Condition::Nand(compiled),
            })
        }
        Expr::Not(inner) => Some(Condition::Not(Box::new(compile(inner, problems)?))),
        Expr::Compare { left, op, right } => compare(left, *op, right, problems),
        Expr::Match { left, negate, right } => matches(left, *negate, right, problems),
        Expr::In { left, negate, right } => contained(left, *negate, right, problems),
        Expr::Value(value) => alone(value, problems),
    }
}

fn compare(left: &Rvalue, op: CompareOp, right: &Rvalue, problems: &mut Problems) -> Option<Condition> {
    let (l, r) = (operand(left, problems), operand(right, problems));
    let (l, r) = (l?, r?);
    let ordered = !matches!(op, CompareOp::Equal | CompareOp::NotEqual);
    for (side, place) in [(&l, left), (&r, right)] {
        match side {
            Operand::List(items) if items.is_empty() => {
                problems
                    .error(place.span, "there is nothing in the array to compare with")
                    .hint("write `![field]` for a field that is absent or empty");
                return None;
            }
            Operand::List(_) => {
                problems
                    .warning(place.span, "of an array only the first item is compared")
                    .hint("write `[field] in [ … ]` to look for a value in it");
            }
            _ => {}
        }
    }
    if ordered && is_mixed(&l, &r) {
        problems.error(
            left.span.to(right.span),
            "a text and a number are neither less nor greater than each other",
        );
        return None;
    }
    if is_constant(&l) && is_constant(&r) && !(left.substituted || right.substituted) {
        same_for_all(left.span.to(right.span), problems);
    }
    Some(Condition::Compare { left: l, op, right: r })
}

fn matches(left: &Rvalue, negate: bool, right: &Rvalue, problems: &mut Problems) -> Option<Condition> {
    let subject = operand(left, problems);
    let pattern = match &right.value {
        RawRvalue::Regexp(source) | RawRvalue::Text(source) => pattern(source, right, problems),
        _ => {
            problems
                .error(right.span, "expected a regular expression after `=~` and `!~`")
                .hint("write `/pattern/` or \"pattern\"");
            None
        }
    };
    let subject = subject?;
    match subject {
        Operand::Field(_) => {}
        Operand::Text(_) if left.substituted => {}
        Operand::Text(_) => same_for_all(left.span, problems),
        Operand::Integer(_) | Operand::Float(_) | Operand::List(_) => {
            problems
                .error(left.span, "expected a field before `=~` and `!~`")
                .hint("a field is written `[name]`");
            return None;
        }
    }
    Some(Condition::Matches { subject, pattern: pattern?, negate })
}

fn same_for_all(place: Span, problems: &mut Problems) {
    problems
        .warning(place, "this comparison is the same for every event")
        .hint("a field is written in brackets: `[name]`");
}

fn contained(left: &Rvalue, negate: bool, right: &Rvalue, problems: &mut Problems) -> Option<Condition> {
    let (item, of) = (operand(left, problems), operand(right, problems));
    let (item, of) = (item?, of?);
    if matches!(item, Operand::List(_)) {
        problems.error(left.span, "expected one value before `in`, found an array");
        return None;
    }
    if matches!(of, Operand::Integer(_) | Operand::Float(_)) {
        problems
            .warning(right.span, "this looks for a text in the digits of a number")
            .hint("after `in` stands an array, a field or a text: `[status] in [ 404, 410 ]`");
    }
    if is_constant(&item) && is_constant(&of) && !(left.substituted || right.substituted) {
        same_for_all(left.span.to(right.span), problems);
    }
    Some(Condition::In { item, of, negate })
}

fn alone(value: &Rvalue, problems: &mut Problems) -> Option<Condition> {
    let operand = operand(value, problems)?;
    if is_constant(&operand) && !value.substituted {
        problems
            .warning(value.span, "this condition is the same for every event")
            .hint("a field is written in brackets: `[name]`");
    }
    Some(Condition::Truthy(operand))
}

fn operand(value: &Rvalue, problems: &mut Problems) -> Option<Operand> {
    match &value.value {
        RawRvalue::Text(text) => Some(Operand::Text(text.clone())),
        RawRvalue::Number(text) => number(text, value.span, problems),
        RawRvalue::Field(text) => match FieldRef::parse(text) {
            Ok(field) => Some(Operand::Field(field)),
            Err(error) => {
                problems.error(value.span, error.to_string()).hint("write `[name]` or `[outer][inner]`");
                None
            }
        },
        RawRvalue::List(items) => {
            let items: Vec<Option<Operand>> = items.iter().map(|item| operand(item, problems)).collect();
            items.into_iter().collect::<Option<Vec<_>>>().map(Operand::List)
        }
        RawRvalue::Regexp(_) => {
            problems
                .error(value.span, "a regular expression can only stand after `=~` and `!~`")
                .hint("write `[field] =~ /pattern/`");
            None
        }
    }
}

fn number(text: &str, span: Span, problems: &mut Problems) -> Option<Operand> {
    let found = match text.contains('.') {
        true => text.parse().ok().filter(|n: &f64| n.is_finite()).map(Operand::Float),
        false => text.parse().ok().map(Operand::Integer),
    };
    if found.is_none() {
        problems.error(span, format!("the number `{text}` is out of range"));
    }
    found
}

fn pattern(source: &str, place: &Rvalue, problems: &mut Problems) -> Option<Pattern> {
    if place.unknown {
        return None;
    }
    let options = onig::RegexOptions::REGEX_OPTION_NONE;
    match onig::Regex::with_options(&ascii_classes(source), options, onig::Syntax::ruby()) {
        Ok(regex) => Some(Pattern { source: source.to_owned(), regex: Arc::new(regex) }),
        Err(error) => {
            let why = if place.substituted { String::new() } else { format!(": {}", error.description()) };
            problems.error(place.span, format!("this is no regular expression{why}"));
            None
        }
    }
}

fn is_constant(operand: &Operand) -> bool {
    match operand {
        Operand::Field(_) => false,
        Operand::List(items) => items.iter().all(is_constant),
        Operand::Text(_) | Operand::Integer(_) | Operand::Float(_) => true,
    }
}

fn is_mixed(left: &Operand, right: &Operand) -> bool {
    let number = |o: &Operand| matches!(o, Operand::Integer(_) | Operand::Float(_));
    let text = |o: &Operand| matches!(o, Operand::Text(_));
    (number(left) && text(right)) || (text(left) && number(right))
}
