//! Reads field references such as `[log][level]` and finds the places in an event that they name.
use crate::value::{Map, Name, Value};
use std::fmt;

/// A place in an event, read once and used for every event: `message`, `[a][b]`, `[list][0]`, `[@metadata][x]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRef {
    pub(crate) root: Root,
    pub(crate) path: Box<[Segment]>,
}

/// Where a path begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    /// `@timestamp`; there is nothing in it.
    Timestamp,
    /// What follows `[@metadata]`.
    Metadata,
    /// Any other field.
    Field,
}

/// One `[…]` of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) name: Name,
    /// The name as a place in a list; negative counts from the end.
    index: Option<i64>,
}

/// Why a text is no field reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a field reference: {reason}")]
pub struct FieldRefError {
    text: String,
    reason: &'static str,
}

/// Why a field could not be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// A part of the path holds a value that has no fields.
    #[error("a part of the path is neither a map nor a list with that place")]
    NotAContainer,
    /// `@timestamp` holds moments only.
    #[error("`@timestamp` can only hold a moment or an ISO 8601 text")]
    NotATimestamp,
    /// `@metadata` is a map.
    #[error("`@metadata` can only hold a map")]
    NotAMap,
    /// `tags` holds texts only.
    #[error("`tags` can only hold a text or a list of texts")]
    NotTags,
}

impl FieldRef {
    /// Reads `name`, `[name]` or `[a][b]`; brackets around a whole path (`[[a][b]]`) are allowed.
    pub fn parse(text: &str) -> Result<Self, FieldRefError> {
        let fail = |reason| Err(FieldRefError { text: text.to_owned(), reason });
        let mut names: Vec<&str> = Vec::new();
        if text.is_empty() {
            return fail("it is empty");
        }
        if !text.contains(['[', ']']) {
            names.push(text);
            return Ok(Self::from_names(&names));
        }
        let mut depth = 0_usize;
        let mut start = None;
        for (at, c) in text.char_indices() {
            match c {
                '[' if start.is_some_and(|s| s < at) => return fail("`[` inside a name"),
                '[' => {
                    depth += 1;
                    start = Some(at + 1);
                }
                ']' => {
                    let Some(less) = depth.checked_sub(1) else { return fail("`]` without `[`") };
                    depth = less;
                    match start.take() {
                        Some(s) if s == at => return fail("a name is empty"),
                        Some(s) => names.push(text.get(s..at).unwrap_or_default()),
                        None => {}
                    }
                }
                _ if start.is_none() => return fail("characters outside of the brackets"),
                _ => {}
            }
        }
        if depth > 0 {
            return fail("`[` without `]`");
        }
        Ok(Self::from_names(&names))
    }

    /// The field of this very name at the top, whatever characters it has.
    pub fn top(name: &str) -> Self {
        Self::from_names(&[name])
    }

    /// The path of these names from the top.
    pub fn from_names(names: &[&str]) -> Self {
        let (root, rest) = match names {
            ["@timestamp", rest @ ..] => (Root::Timestamp, rest),
            ["@metadata", rest @ ..] => (Root::Metadata, rest),
            all => (Root::Field, all),
        };
        let path = rest.iter().map(|n| Segment { name: Name::new(n), index: n.parse().ok() }).collect();
        Self { root, path }
    }

    /// The names of the path from the top.
    pub(crate) fn names(&self) -> Vec<String> {
        let root = match self.root {
            Root::Timestamp => Some("@timestamp"),
            Root::Metadata => Some("@metadata"),
            Root::Field => None,
        };
        root.into_iter()
            .chain(self.path.iter().map(|segment| segment.name.as_str()))
            .map(str::to_owned)
            .collect()
    }

    /// The name, if it names a field at the top of an event.
    pub(crate) fn as_top(&self) -> Option<&Name> {
        match (self.root, self.path.as_ref()) {
            (Root::Field, [only]) => Some(&only.name),
            _ => None,
        }
    }

    /// Whether it names `@metadata` or something in it.
    pub fn is_metadata(&self) -> bool {
        self.root == Root::Metadata
    }
}

impl fmt::Display for FieldRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.root {
            Root::Timestamp if self.path.is_empty() => f.write_str("@timestamp")?,
            Root::Timestamp => f.write_str("[@timestamp]")?,
            Root::Metadata => f.write_str("[@metadata]")?,
            Root::Field => {
                if let [only] = self.path.as_ref() {
                    return f.write_str(&only.name);
                }
            }
        }
        self.path.iter().try_for_each(|segment| write!(f, "[{}]", segment.name))
    }
}

/// Follows `path` from `map`.
pub(crate) fn find<'a>(map: &'a Map, path: &[Segment]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    let mut at = map.get(&first.name)?;
    for segment in rest {
        at = match at {
            Value::Map(map) => map.get(&segment.name)?,
            Value::List(items) => items.get(place(items.len(), segment.index?)?)?,
            _ => return None,
        };
    }
    Some(at)
}

/// Follows `path` from `map`, to change what is there.
pub(crate) fn find_mut<'a>(map: &'a mut Map, path: &[Segment]) -> Option<&'a mut Value> {
    let (first, rest) = path.split_first()?;
    let mut at = map.get_mut(&first.name)?;
    for segment in rest {
        at = child_mut(at, segment)?;
    }
    Some(at)
}

fn child_mut<'a>(parent: &'a mut Value, segment: &Segment) -> Option<&'a mut Value> {
    match parent {
        Value::Map(map) => map.get_mut(&segment.name),
        Value::List(items) => {
            let at = place(items.len(), segment.index?)?;
            items.get_mut(at)
        }
        _ => None,
    }
}

/// Sets what `path` names, making maps on the way. A list grows, with null in between, when the place is after its end; a
/// name that is no place in a list sets nothing.
pub(crate) fn put(map: &mut Map, path: &[Segment], value: Value) -> Result<(), FieldError> {
    let Some((first, rest)) = path.split_first() else { return Err(FieldError::NotAContainer) };
    let Some((last, between)) = rest.split_last() else {
        map.insert(first.name.clone(), value);
        return Ok(());
    };
    let mut at = entry(map, &first.name);
    for segment in between {
        at = match at {
            Value::Map(map) => entry(map, &segment.name),
            Value::List(items) => {
                let Some(index) = segment.index else { return Ok(()) };
                let slot = slot(items, index)?;
                if *slot == Value::Null {
                    *slot = Value::Map(Map::new());
                }
                slot
            }
            _ => return Err(FieldError::NotAContainer),
        };
    }
    match at {
        Value::Map(map) => {
            map.insert(last.name.clone(), value);
            Ok(())
        }
        Value::List(items) => {
            if let Some(index) = last.index {
                *slot(items, index)? = value;
            }
            Ok(())
        }
        _ => Err(FieldError::NotAContainer),
    }
}

/// The most items that a list may grow by at once.
const GROWTH_MAX: usize = 10_000;

/// The place in a list, which is made when it is after the list's end.
fn slot(items: &mut Vec<Value>, index: i64) -> Result<&mut Value, FieldError> {
    let at = match usize::try_from(index) {
        Ok(at) if at >= items.len() + GROWTH_MAX => return Err(FieldError::NotAContainer),
        Ok(at) => at,
        Err(_) => place(items.len(), index).ok_or(FieldError::NotAContainer)?,
    };
    if at >= items.len() {
        items.resize(at + 1, Value::Null);
    }
    items.get_mut(at).ok_or(FieldError::NotAContainer)
}

fn entry<'a>(map: &'a mut Map, name: &Name) -> &'a mut Value {
    if map.get(name).is_none() {
        map.push_new(name.clone(), Value::Map(Map::new()));
    }
    map.get_mut(name).expect("it is there or was just put there")
}

/// Removes what `path` names.
pub(crate) fn take(map: &mut Map, path: &[Segment]) -> Option<Value> {
    let (last, parents) = path.split_last()?;
    if parents.is_empty() {
        return map.remove(&last.name);
    }
    match find_mut(map, parents)? {
        Value::Map(map) => map.remove(&last.name),
        Value::List(items) => {
            let at = place(items.len(), last.index?)?;
            Some(items.remove(at))
        }
        _ => None,
    }
}

fn place(len: usize, index: i64) -> Option<usize> {
    let len = i64::try_from(len).ok()?;
    let at = if index < 0 { index + len } else { index };
    usize::try_from(at).ok().filter(|at| (*at as i64) < len)
}
