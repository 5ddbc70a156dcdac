//! Reads texts with `%{field}` and `%{+yyyy.MM.dd}` in them once, and fills them in for each event.
use crate::event::Event;
use crate::field::FieldRef;
use crate::joda::Format;
use crate::value::Text;
use jiff::tz::TimeZone;

/// A text with places to fill in.
///
/// - `%{field}`, `%{[a][b]}`: the value of a field; an absent field leaves the place as it is written.
/// - `%{+yyyy.MM.dd}`: `@timestamp` in UTC by a Joda-like pattern; `%{+%s}` in seconds since 1970.
/// - `%{{yyyy.MM.dd}}`: the same, as newer Logstash writes it; `%{{TIME_NOW}}` is not filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Literal(Text),
    Field { field: FieldRef, written: Text },
    Date { format: Format, written: Text },
    EpochSeconds { written: Text },
}

impl Template {
    /// Reads a text. Nothing can be wrong with it: what is no place to fill in stands for itself.
    pub fn parse(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, from)) = rest.split_once("%{") {
            literal.push_str(before);
            let (part, after) = match place(from) {
                Some(found) => found,
                None => {
                    literal.push_str("%{");
                    rest = from;
                    continue;
                }
            };
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal).into()));
            }
            parts.push(part);
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
            [Part::Field { field, written }] => event.get(field).map_or(written.clone(), |v| v.to_text()),
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
                Part::Field { field, written } => match event.get(field) {
                    Some(value) => value.write_text(out),
                    None => out.push_str(written),
                },
                Part::Date { format, written } => match event.timestamp() {
                    Some(at) => format.format(at, &TimeZone::UTC, out),
                    None => out.push_str(written),
                },
                Part::EpochSeconds { written } => match event.timestamp() {
                    Some(at) => out.push_str(&at.as_second().to_string()),
                    None => out.push_str(written),
                },
            }
        }
    }

    /// Whether everything that is to be filled in is there.
    pub fn is_complete(&self, event: &Event) -> bool {
        self.parts.iter().all(|part| match part {
            Part::Literal(_) => true,
            Part::Field { field, .. } => event.has(field),
            Part::Date { .. } | Part::EpochSeconds { .. } => event.timestamp().is_some(),
        })
    }
}

/// Reads a place after its `%{`; returns what is after it too.
fn place(from: &str) -> Option<(Part, &str)> {
    if let Some(java) = from.strip_prefix('{') {
        let (pattern, after) = java.split_once("}}")?;
        if pattern.is_empty() || pattern == "TIME_NOW" {
            return None;
        }
        let written = Text::from(format!("%{{{{{pattern}}}}}"));
        return Some((Part::Date { format: Format::parse(pattern).ok()?, written }, after));
    }
    let (inside, after) = from.split_once('}')?;
    let written = Text::from(format!("%{{{inside}}}"));
    if inside == "+%s" {
        return Some((Part::EpochSeconds { written }, after));
    }
    if let Some(pattern) = inside.strip_prefix('+') {
        return Some((Part::Date { format: Format::parse(pattern).ok()?, written }, after));
    }
    let field = FieldRef::parse(inside).ok()?;
    Some((Part::Field { field, written }, after))
}
