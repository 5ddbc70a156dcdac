//! Takes texts apart at what stands between their parts.
use std::sync::Arc;

use super::tag;
use crate::batch::{Batch, Fate, Filter};
use crate::event::Event;
use crate::field::FieldRef;
use crate::lang::kinds::{Hash, Placed};
use crate::lang::problems::Problems;
use crate::mistake::Mistake;
use crate::plan::CommonFilter;
use crate::plugins::FilterOptions;
use crate::ruby;
use crate::spec::{plugin, words};
use crate::success::OnSuccess;
use crate::value::{Decimal, Text, Value};

plugin! {
    /// Takes texts apart at what stands between their parts: `mapping => { "message" => "%{time} %{+time} [%{level}] %{text}" }`.
    ///
    /// ```
    /// filter { dissect { mapping => { "message" => "%{at} %{level} [%{thread}] %{text}" } } }
    /// ```
    ///
    /// | part | meaning |
    /// |---|---|
    /// | `%{name}` | the field to put it into |
    /// | `%{}`, `%{?name}` | it is skipped |
    /// | `%{+name}`, `%{+name/2}` | it is added to the field, after what stood before it, or a blank; the number gives the order |
    /// | `%{&name}` | the field that the part `name` (or the field) names gets it: `%{?key}=%{&key}` |
    /// | `%{name->}` | what follows may stand there several times |
    ///
    /// A text that has not everything that stands between the parts, and one that is empty, gets the tag; an event without the
    /// field is left as it is.
    filter "dissect" => pub(crate) struct DissectOptions {
        /// Fields, and how to take them apart.
        mapping: Hash<Placed<String>> = {},
        /// Fields, and what to make of them afterwards: `int` or `float`. One that is no number gets the tag
        /// `_dataconversionuncoercible_FIELD_TYPE`, one that is absent `_dataconversionnullvalue_FIELD_TYPE`.
        convert_datatype: Hash<Datatype> = {},
        /// The tags to add when a text cannot be taken apart.
        tag_on_failure: Vec<String> = ["_dissectfailure"],
    }
    validate = check_mappings
}

words! {
    /// What a text is made.
    pub(crate) enum Datatype {
        /// A whole number.
        Int = "int",
        /// A number.
        Float = "float",
    }
}

impl Datatype {
    fn word(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Float => "float",
        }
    }
}

fn check_mappings(options: &DissectOptions, problems: &mut Problems) {
    for (field, mapping) in &options.mapping.0 {
        if let Err(error) = FieldRef::parse(field) {
            problems.error(mapping.span, error.to_string());
        }
        if !mapping.is_empty()
            && let Err(mistake) = Dissector::parse(mapping)
        {
            mistake.report(mapping, problems);
        }
    }
}

impl FilterOptions for DissectOptions {
    fn build(&self, on_success: &Arc<CommonFilter>) -> Result<Box<dyn Filter>, String> {
        let mut dissectors = Vec::new();
        for (field, mapping) in self.mapping.0.iter().filter(|(_, mapping)| !mapping.is_empty()) {
            let field = FieldRef::parse(field).map_err(|error| error.to_string())?;
            dissectors.push((field, Dissector::parse(mapping).map_err(|mistake| mistake.to_string())?));
        }
        let mut conversions = Vec::new();
        for (name, datatype) in &self.convert_datatype.0 {
            let field = FieldRef::parse(name).map_err(|error| error.to_string())?;
            conversions.push((name.clone(), field, *datatype));
        }
        Ok(Box::new(Dissect {
            dissectors,
            conversions,
            tag_on_failure: self.tag_on_failure.clone(),
            on_success: OnSuccess::new(on_success),
        }))
    }
}

struct Dissect {
    dissectors: Vec<(FieldRef, Dissector)>,
    conversions: Vec<(String, FieldRef, Datatype)>,
    tag_on_failure: Vec<String>,
    on_success: OnSuccess,
}

impl Filter for Dissect {
    fn run(&mut self, batch: &mut Batch) {
        batch.each(|event| {
            for (field, dissector) in &self.dissectors {
                let text = match event.get(field) {
                    None => continue,
                    Some(Value::Null) => Text::default(),
                    Some(value) => ruby::to_s(value),
                };
                if !dissector.dissect(&text, event) || !self.on_success.try_apply(event) {
                    tag(event, &self.tag_on_failure);
                }
            }
            for (name, field, datatype) in &self.conversions {
                convert(event, name, field, *datatype);
            }
            Fate::Keep
        });
    }
}

fn convert(event: &mut Event, name: &str, field: &FieldRef, datatype: Datatype) {
    let word = datatype.word();
    let Some(text) = event.get(field).filter(|value| **value != Value::Null).map(ruby::to_s) else {
        return event.add_tag(&format!("_dataconversionnullvalue_{name}_{word}"));
    };
    let number = Decimal::fraction(&text);
    let converted = match (datatype, text.parse::<i64>(), number) {
        (Datatype::Int, Ok(number), _) => Some(Value::Int(number)),
        (Datatype::Int, _, Some(number)) => number.truncated().map(Value::from),
        (Datatype::Float, _, Some(number)) => Some(Value::Number(number)),
        (_, _, None) => None,
    };
    let Some(converted) = converted else {
        return event.add_tag(&format!("_dataconversionuncoercible_{name}_{word}"));
    };
    // The field is there, so it can be set.
    let _put = event.set(field, converted);
}

/// A mapping that was read.
#[derive(Debug)]
struct Dissector {
    /// What the text begins with.
    head: String,
    parts: Vec<Part>,
    /// The parts that are kept, in the order in which they are.
    kept: Vec<usize>,
}

/// One `%{…}`, and what stands after it.
#[derive(Debug)]
struct Part {
    name: String,
    field: Option<FieldRef>,
    role: Role,
    /// What stands before it.
    before: String,
    /// What stands after it; `None` for the last.
    after: Option<String>,
    /// What stands before it may stand there several times.
    greedy_before: bool,
}

/// What becomes of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Skip,
    Normal,
    Append(u32),
    Indirect,
}

impl Role {
    /// Where it comes when the parts are kept.
    fn rank(self) -> u32 {
        match self {
            Self::Skip => 0,
            Self::Normal => 1,
            Self::Append(order) => 100 + order,
            Self::Indirect => 1000,
        }
    }
}

impl Dissector {
    fn parse(mapping: &str) -> Result<Self, Mistake> {
        let mut parts: Vec<Part> = Vec::new();
        let (mut head, mut rest, mut greedy) = (String::new(), mapping, false);
        while let Some((before, from)) = rest.split_once("%{") {
            let Some((inside, after)) = from.split_once('}') else { break };
            let start = mapping.len() - from.len();
            let (name, role, is_greedy) =
                read_part(inside).map_err(|message| Mistake::new(start, start + inside.len(), message))?;
            match parts.last_mut() {
                Some(last) => last.after = Some(before.to_owned()),
                None => before.clone_into(&mut head),
            }
            let field = match role {
                Role::Normal | Role::Append(_) => Some(
                    FieldRef::parse(&name)
                        .map_err(|error| Mistake::new(start, start + inside.len(), error.to_string()))?,
                ),
                Role::Skip | Role::Indirect => None,
            };
            let before = before.to_owned();
            parts.push(Part { name, field, role, before, after: None, greedy_before: greedy });
            (rest, greedy) = (after, is_greedy);
        }
        if parts.is_empty() {
            return Err(Mistake::new(0, mapping.len(), "there is no `%{name}` in it".to_owned()));
        }
        let tail = rest.rsplit('}').next().unwrap_or(rest);
        if !tail.is_empty() {
            if let Some(last) = parts.last_mut() {
                last.after = Some(tail.to_owned());
            }
            let (name, field, role) = (String::new(), None, Role::Skip);
            let before = tail.to_owned();
            parts.push(Part { name, field, role, before, after: None, greedy_before: greedy });
        }
        let mut kept: Vec<usize> =
            parts.iter().enumerate().filter(|(_, p)| p.role != Role::Skip).map(|(at, _)| at).collect();
        kept.sort_by_key(|at| parts.get(*at).map(|part| part.role.rank()));
        Ok(Self { head, parts, kept })
    }

    /// Takes `text` apart into `event`; says whether that could be done.
    fn dissect(&self, text: &Text, event: &mut Event) -> bool {
        let Some(places) = self.places(text) else { return false };
        let found = |at: usize| {
            let (start, end) = places.get(at).copied().unwrap_or_default();
            text.part(text.get(start..end).unwrap_or_default())
        };
        self.kept.iter().all(|at| {
            let Some(part) = self.parts.get(*at) else { return true };
            let value = found(*at);
            match (part.role, &part.field) {
                (Role::Append(_), Some(field)) if event.has(field) => {
                    let mut text = event.get(field).map(|old| old.to_text().to_string()).unwrap_or_default();
                    text.push_str(if part.before.is_empty() { " " } else { &part.before });
                    text.push_str(&value);
                    event.set(field, text).is_ok()
                }
                (Role::Normal | Role::Append(_), Some(field)) => event.set(field, value).is_ok(),
                (Role::Indirect, _) => {
                    let name =
                        FieldRef::parse(&part.name).ok().and_then(|f| event.get(&f)).map(Value::to_text);
                    let name = name.unwrap_or_else(|| {
                        let other =
                            self.parts.iter().enumerate().find(|(i, p)| i != at && p.name == part.name);
                        other.map(|(i, _)| found(i)).unwrap_or_default()
                    });
                    name.is_empty()
                        || FieldRef::parse(&name).is_ok_and(|field| event.set(&field, value).is_ok())
                }
                _ => true,
            }
        })
    }

    /// Where each part stands. An empty first part is not passed, as in Logstash: what follows it begins at the same place.
    fn places(&self, text: &str) -> Option<Vec<(usize, usize)>> {
        if text.is_empty() {
            return None;
        }
        let mut places = Vec::with_capacity(self.parts.len());
        let mut left = 0;
        for part in &self.parts {
            let rest = |left: usize| text.get(left..).unwrap_or_default();
            if part.greedy_before && !part.before.is_empty() {
                while rest(left).starts_with(&part.before) {
                    left += part.before.len();
                }
            } else if left == 0 && !self.head.is_empty() {
                if !text.starts_with(&part.before) {
                    return None;
                }
                left = part.before.len();
            }
            let Some(after) = &part.after else {
                places.push((left, text.len()));
                break;
            };
            if after.is_empty() {
                return None;
            }
            let end = left + rest(left).find(after.as_str())?;
            places.push((left, end));
            if end > 0 {
                left = end + after.len();
            }
        }
        Some(places)
    }
}

/// The name of a part, what becomes of it, and whether what follows it may come several times.
fn read_part(inside: &str) -> Result<(String, Role, bool), &'static str> {
    let (prefix, rest) = match inside.chars().next() {
        Some('?') => (Some('?'), inside.get(1..).unwrap_or_default()),
        Some(sign @ ('+' | '&')) => (Some(sign), inside.get(1..).unwrap_or_default()),
        _ => (None, inside),
    };
    if inside.starts_with("+&") || inside.starts_with("&+") {
        return Err("`+` and `&` cannot be combined");
    }
    let (name, order, greedy) = without_suffix(rest);
    let role = match prefix {
        _ if inside.is_empty() => Role::Skip,
        Some('?') => Role::Skip,
        Some(_) if name.is_empty() => return Err("there is no name after the sign"),
        Some('+') => Role::Append(order.unwrap_or(0)),
        Some(_) => Role::Indirect,
        // A suffix alone, `%{->}`, has no name to be kept under.
        None if name.is_empty() => Role::Skip,
        None => Role::Normal,
    };
    Ok((name.to_owned(), role, greedy))
}

/// Cuts `/2`, `->`, `/2->` or `->/2` off the end.
fn without_suffix(text: &str) -> (&str, Option<u32>, bool) {
    let order_of = |text: &str| -> Option<(usize, u32)> {
        let (at, digits) = (text.rfind('/')?, text.rsplit('/').next()?);
        let is_order = (1..=2).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        is_order.then(|| digits.parse().ok()).flatten().map(|order| (at, order))
    };
    let upto = |end: usize| text.get(..end).unwrap_or_default();
    if let Some(before) = text.strip_suffix("->") {
        return match order_of(before) {
            Some((at, order)) => (upto(at), Some(order), true),
            None => (before, None, true),
        };
    }
    match order_of(text) {
        Some((at, order)) => match upto(at).strip_suffix("->") {
            Some(name) => (name, Some(order), true),
            None => (upto(at), Some(order), false),
        },
        None => (text, None, false),
    }
}
