//! Reads texts with `%{field}` and `%{+yyyy.MM.dd}` in them once, and fills them in for each event.
mod java_time;
#[cfg(test)]
mod tests;
mod text;

pub(crate) use text::push_shown;

use crate::event::Event;
use crate::field::FieldRef;
use crate::joda::Format;
use crate::mistake::Mistake;
use crate::value::{Text, Timestamp, Value};
use jiff::tz::TimeZone;

/// A text with places to fill in.
///
/// - `%{field}`, `%{[a][b]}`: the value of a field; an absent or null field leaves the place as it is written.
/// - `%{+yyyy.MM.dd}`: `@timestamp` in UTC by a pattern of Joda; `%{+%s}` in seconds since 1970.
/// - `%{{yyyy.MM.dd}}`: the same by a pattern of java.time; `%{{TIME_NOW}}` is the present moment.
///
/// Where `@timestamp` was removed, nothing stands for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Literal(Text),
    Field { field: FieldRef, written: Text },
    Joda(Format),
    JavaTime(java_time::Pattern),
    EpochSeconds,
    Now,
}

impl Template {
    /// Reads a text. Nothing can be wrong with it: what is no place to fill in stands for itself.
    pub fn parse(text: &str) -> Self {
        Self::read(text, |_| {})
    }

    /// Reads a text; what stands in a place and cannot be filled in is told to `wrong`, and stands for itself.
    pub(crate) fn read(text: &str, mut wrong: impl FnMut(Unfillable)) -> Self {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, from)) = rest.split_once("%{") {
            let at = text.len() - from.len();
            let Some(len) = place_len(from) else { break };
            let (place, after) = from.split_at_checked(len).unwrap_or((from, ""));
            literal.push_str(before);
            match part(place) {
                Ok(part) => {
                    if !literal.is_empty() {
                        parts.push(Part::Literal(std::mem::take(&mut literal).into()));
                    }
                    parts.push(part);
                }
                Err(unfillable) => {
                    literal.push_str("%{");
                    literal.push_str(place);
                    wrong(unfillable.moved(at));
                }
            }
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() || parts.is_empty() {
            parts.push(Part::Literal(literal.into()));
        }
        Self { parts }
    }

    /// A text that stands for itself, whatever is in it.
    pub(crate) fn literal(text: &str) -> Self {
        Self { parts: vec![Part::Literal(text.into())] }
    }

    /// The text, if there is nothing to fill in.
    pub fn as_literal(&self) -> Option<&Text> {
        match self.parts.as_slice() {
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether a field is filled in (a date alone is not).
    pub fn has_fields(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Field { .. }))
    }

    /// For how many seconds of `@timestamp`, counted from 1970 on, what it is filled in with stays the same at least; 0 if it
    /// may be another for each event.
    pub(crate) fn period_s(&self) -> i64 {
        let of = |part: &Part| match part {
            Part::Literal(_) => 86_400,
            Part::Joda(format) => format.period_s(),
            Part::EpochSeconds => 1,
            Part::JavaTime(_) | Part::Field { .. } | Part::Now => 0,
        };
        self.parts.iter().map(of).min().unwrap_or(86_400)
    }

    /// The literal text before the first place to fill in.
    pub fn literal_start(&self) -> &str {
        match self.parts.first() {
            Some(Part::Literal(text)) => text,
            _ => "",
        }
    }

    /// Fills in; free if the text is a literal or just one field that holds a string.
    pub fn render(&self, event: &Event) -> Text {
        match self.parts.as_slice() {
            [Part::Literal(text)] => text.clone(),
            [Part::Field { field, written }] => match event.get(field) {
                Some(Value::Str(text)) => text.clone(),
                None | Some(Value::Null) => written.clone(),
                Some(value) => {
                    let mut out = String::new();
                    text::push(value, &mut out);
                    out.into()
                }
            },
            _ => {
                let mut out = String::new();
                self.render_into(event, &mut out);
                out.into()
            }
        }
    }

    /// Fills in, adding the result to `out`.
    pub fn render_into(&self, event: &Event, out: &mut String) {
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Field { field, written } => {
                    if !event.get(field).is_some_and(|value| text::push(value, out)) {
                        out.push_str(written);
                    }
                }
                Part::Now => crate::json::push_time(out, in_micros(Timestamp::now())),
                moment => {
                    if let Some(at) = event.timestamp() {
                        moment.push_moment(at, out);
                    }
                }
            }
        }
    }

    /// Whether everything that is to be filled in is there.
    pub fn is_complete(&self, event: &Event) -> bool {
        self.parts.iter().all(|part| match part {
            Part::Literal(_) | Part::Now => true,
            Part::Field { field, .. } => !matches!(event.get(field), None | Some(Value::Null)),
            Part::Joda(_) | Part::JavaTime(_) | Part::EpochSeconds => event.timestamp().is_some(),
        })
    }
}

impl Part {
    /// Adds the moment of an event in the form that this part has.
    fn push_moment(&self, at: Timestamp, out: &mut String) {
        match self {
            // Joda knows milliseconds only.
            Self::Joda(format) => format.format(in_millis(at), &TimeZone::UTC, out),
            Self::JavaTime(pattern) => pattern.format(at, out),
            Self::EpochSeconds => out.push_str(&at.as_nanosecond().div_euclid(1_000_000_000).to_string()),
            Self::Literal(_) | Self::Field { .. } | Self::Now => {}
        }
    }
}

/// What stands in a place and can never be filled in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unfillable {
    /// A pattern that dates cannot be written by.
    Date(Mistake),
    /// A text that is no field reference.
    Field(Mistake),
}

impl Unfillable {
    fn moved(mut self, by: usize) -> Self {
        let (Self::Date(mistake) | Self::Field(mistake)) = &mut self;
        mistake.start += by;
        mistake.end += by;
        self
    }
}

/// How long the place is after whose `%{` is `from`: with its closing bracket, or both of them. `None` if it has none.
fn place_len(from: &str) -> Option<usize> {
    let close = from.find('}')?;
    let double = from.starts_with('{') && from.get(close + 1..).is_some_and(|after| after.starts_with('}'));
    Some(if double { close + 2 } else { close + 1 })
}

/// Reads a place from after its `%{` to its end.
fn part(place: &str) -> Result<Part, Unfillable> {
    if let Some(pattern) = place.strip_prefix('{').and_then(|rest| rest.strip_suffix("}}")) {
        if pattern == "TIME_NOW" {
            return Ok(Part::Now);
        }
        let moved = |mistake| Unfillable::Date(mistake).moved("{".len());
        return java_time::Pattern::parse(pattern).map(Part::JavaTime).map_err(moved);
    }
    let inside = place.strip_suffix('}').unwrap_or(place);
    // Logstash takes what `+%s` begins with for the whole.
    if "+%s".starts_with(inside) {
        return Ok(Part::EpochSeconds);
    }
    if let Some(pattern) = inside.strip_prefix('+') {
        let moved = |mistake| Unfillable::Date(mistake).moved("+".len());
        return Format::parse(pattern).map(Part::Joda).map_err(moved);
    }
    match FieldRef::parse(inside) {
        Ok(field) => Ok(Part::Field { field, written: Text::from(format!("%{{{inside}}}")) }),
        Err(error) => Err(Unfillable::Field(
            Mistake::new(0, inside.len(), error.to_string())
                .with_hint("write `%{name}` or `%{[outer][inner]}`"),
        )),
    }
}

/// The moment without parts finer than a microsecond.
fn in_micros(at: Timestamp) -> Timestamp {
    Timestamp::from_nanosecond(at.as_nanosecond().div_euclid(1_000) * 1_000).unwrap_or(at)
}

/// The moment without parts finer than a millisecond.
fn in_millis(at: Timestamp) -> Timestamp {
    Timestamp::from_nanosecond(at.as_nanosecond().div_euclid(1_000_000) * 1_000_000).unwrap_or(at)
}
