//! Holds one event: a moment, fields, metadata and tags.
pub(crate) mod stored;

use crate::field::{self, FieldError, FieldRef, Root, Segment};
use crate::json;
use crate::value::{Map, Marks, Name, Text, Timestamp, Value};

/// The tag of an event whose `@timestamp` could not be read; the text moves to `_@timestamp`.
pub const TIMESTAMP_FAILURE: &str = "_timestampparsefailure";

/// The tag of an event whose `tags` were no texts; they move to `_tags`.
const TAGS_FAILURE: &str = "_tagsparsefailure";

/// A text that can be read as a moment is one, in what is decoded.
pub(crate) fn moment(value: &Value) -> Value {
    match value {
        Value::Str(text) => json::parse_time(text).map_or_else(|| value.clone(), Value::Time),
        other => other.clone(),
    }
}

/// How many fields an event has room for at first: a message, where it came from, and what a pattern finds.
const FIRST_ROOM: usize = 16;

/// One event. `@metadata` belongs to it but is never written out.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its place in its batch; events made from it inherit it, so that order survives branches.
    pub(crate) place: u32,
    /// A [`Value::Time`], or [`Value::Null`] once removed.
    timestamp: Value,
    fields: Map,
    /// A [`Value::Map`]; made when it is first needed.
    metadata: Option<Box<Value>>,
}

/// The `@metadata` of an event that has none.
static NO_METADATA: Value = Value::Map(Map::new());

impl Event {
    /// Makes an event of this moment with nothing but `@version`.
    pub fn new(now: Timestamp) -> Self {
        let mut fields = Map::with_capacity(FIRST_ROOM);
        fields.push_new(const { Name::const_new("@version") }, Value::Str(const { Text::from_static("1") }));
        Self { place: 0, timestamp: Value::Time(now), fields, metadata: None }
    }

    /// Makes an event of this moment with a message.
    pub fn with_message(now: Timestamp, message: Text) -> Self {
        let mut event = Self::new(now);
        event.fields.push_new(const { Name::const_new("message") }, Value::Str(message));
        event
    }

    /// Makes an event of this moment with a message and the fields of its source; quickly, if these are
    /// [`Event::shared_fields`], and if there is an old event whose memory can be used again.
    pub(crate) fn with_fields_of(now: Timestamp, source: &Map, message: Text, old: Option<Self>) -> Self {
        const MESSAGE: Name = Name::const_new("message");
        let message = Value::Str(message);
        let old = old.map(|old| old.fields).unwrap_or_default();
        match Map::beside(source, MESSAGE, message, old) {
            Ok(fields) => Self { place: 0, timestamp: Value::Time(now), fields, metadata: None },
            Err(message) => {
                let mut event = Self::new(now);
                event.fields.push_new(MESSAGE, message);
                event.add_absent(source);
                event
            }
        }
    }

    /// What events of a source with these fields have together.
    pub(crate) fn shared_fields(of: &Map) -> Map {
        let mut event = Self::new(Timestamp::UNIX_EPOCH);
        event.add_absent(of);
        event.fields.into_shared()
    }

    /// Sets the fields of `others` that are absent.
    pub(crate) fn add_absent(&mut self, others: &Map) {
        let marks = Marks::of(&self.fields);
        for (name, value) in others.iter() {
            if !marks.may_have(name) || self.fields.get(name).is_none() {
                self.fields.push_new(name.clone(), value.clone());
            }
        }
    }

    /// Makes an event of decoded fields: `@timestamp` and `@metadata` go where they belong, `@version` is added.
    pub fn from_map(now: Timestamp, mut map: Map) -> Self {
        let marks = Marks::of(&map);
        let take = |map: &mut Map, name| if marks.may_have(name) { map.remove(name) } else { None };
        let timestamp = take(&mut map, "@timestamp");
        let metadata = match take(&mut map, "@metadata") {
            Some(metadata @ Value::Map(_)) => Some(Box::new(metadata)),
            _ => None,
        };
        if !marks.may_have("@version") || map.get("@version").is_none() {
            map.push_new(const { Name::const_new("@version") }, Value::from("1"));
        }
        let mut event = Self { place: 0, timestamp: Value::Time(now), fields: map, metadata };
        if marks.may_have("tags") && event.fields.get("tags").is_some_and(|tags| !are_tags(tags)) {
            let tags = event.fields.remove("tags").unwrap_or_default();
            event.fields.insert("_tags", Value::List(vec![tags]));
            event.add_tag(TAGS_FAILURE);
        }
        if let Some(value) = timestamp
            && value != Value::Null
            && event.set_timestamp(moment(&value)).is_err()
        {
            event.add_tag(TIMESTAMP_FAILURE);
            event.fields.insert("_@timestamp", value);
        }
        event
    }

    /// Another event with the same fields. One that has no `@timestamp` or no `@version` any more gets new ones.
    pub(crate) fn copied(&self) -> Self {
        let mut copy = self.clone();
        if copy.timestamp == Value::Null {
            copy.timestamp = Value::Time(Timestamp::now());
        }
        let _kept = copy.fields.insert_new(&const { Name::const_new("@version") }, Value::from("1"));
        copy
    }

    /// `@timestamp`, unless it was removed.
    pub fn timestamp(&self) -> Option<Timestamp> {
        match self.timestamp {
            Value::Time(at) => Some(at),
            _ => None,
        }
    }

    /// The fields at the top, without `@timestamp` and `@metadata`.
    pub fn fields(&self) -> &Map {
        &self.fields
    }

    /// The fields at the top, without `@timestamp` and `@metadata`, to change them.
    pub fn fields_mut(&mut self) -> &mut Map {
        &mut self.fields
    }

    /// `@metadata`.
    pub fn metadata(&self) -> &Map {
        const NONE: &Map = &Map::new();
        self.metadata.as_deref().and_then(Value::as_map).unwrap_or(NONE)
    }

    /// What `field` names.
    pub fn get(&self, field: &FieldRef) -> Option<&Value> {
        match field.root {
            Root::Field => field::find(&self.fields, &field.path),
            Root::Timestamp if !field.path.is_empty() => None,
            Root::Timestamp => Some(&self.timestamp).filter(|t| **t != Value::Null),
            Root::Metadata if field.path.is_empty() => Some(self.metadata.as_deref().unwrap_or(&NO_METADATA)),
            Root::Metadata => field::find(self.metadata(), &field.path),
        }
    }

    /// What `field` names, to change it in place. `@timestamp` and the whole of `@metadata` are only [`set`](Self::set).
    pub fn get_mut(&mut self, field: &FieldRef) -> Option<&mut Value> {
        match field.root {
            Root::Field => field::find_mut(&mut self.fields, &field.path),
            Root::Timestamp => None,
            Root::Metadata => field::find_mut(self.metadata.as_mut()?.as_map_mut()?, &field.path),
        }
    }

    /// Whether `field` names something.
    pub fn has(&self, field: &FieldRef) -> bool {
        self.get(field).is_some()
    }

    /// Sets what `field` names, making maps on the way.
    pub fn set(&mut self, field: &FieldRef, value: impl Into<Value>) -> Result<(), FieldError> {
        let value = value.into();
        match field.root {
            Root::Field if !fits_tags(&field.path, &value) => Err(FieldError::NotTags),
            Root::Field => field::put(&mut self.fields, &field.path, value),
            Root::Timestamp if !field.path.is_empty() => Err(FieldError::NotAContainer),
            Root::Timestamp => self.set_timestamp(value),
            Root::Metadata if field.path.is_empty() => match value {
                Value::Map(_) => {
                    self.metadata = Some(Box::new(value));
                    Ok(())
                }
                _ => Err(FieldError::NotAMap),
            },
            Root::Metadata => {
                let metadata = self.metadata.get_or_insert_with(|| Box::new(Value::Map(Map::new())));
                let map = metadata.as_map_mut().ok_or(FieldError::NotAMap)?;
                field::put(map, &field.path, value)
            }
        }
    }

    /// Sets what `field` names if it is absent; gives the value back if there is something, or if it cannot be set.
    pub fn set_new(&mut self, field: &FieldRef, value: Value) -> Option<Value> {
        if let (Root::Field, [only]) = (field.root, field.path.as_ref()) {
            return self.fields.insert_new(&only.name, value);
        }
        if self.has(field) || self.set(field, value.clone()).is_err() {
            return Some(value);
        }
        None
    }

    fn set_timestamp(&mut self, value: Value) -> Result<(), FieldError> {
        match value {
            Value::Time(_) => self.timestamp = value,
            // A text is none, even one that could be read as a moment.
            _ => return Err(FieldError::NotATimestamp),
        }
        Ok(())
    }

    /// Adds to what `field` names as `add_field` does: an absent field is set, a list gets one more item, null becomes a
    /// list of the new, a map a list of its pairs and the new, anything else a list of the old and the new.
    pub fn append(&mut self, field: &FieldRef, value: impl Into<Value>) -> Result<(), FieldError> {
        let value = value.into();
        if field.root == Root::Timestamp && self.timestamp != Value::Null {
            return Err(FieldError::NotATimestamp);
        }
        match self.get_mut(field) {
            Some(Value::List(items)) => items.push(value),
            Some(old) => {
                let mut items = match std::mem::take(old) {
                    Value::Null => Vec::new(),
                    Value::Map(map) => map
                        .into_iter()
                        .map(|(name, value)| Value::List(vec![Text::from(name).into(), value]))
                        .collect(),
                    scalar => vec![scalar],
                };
                items.push(value);
                *old = Value::List(items);
            }
            None => return self.set(field, value),
        }
        Ok(())
    }

    /// Removes what `field` names.
    pub fn remove(&mut self, field: &FieldRef) -> Option<Value> {
        match field.root {
            Root::Field => field::take(&mut self.fields, &field.path),
            Root::Timestamp if !field.path.is_empty() => None,
            Root::Timestamp => Some(std::mem::take(&mut self.timestamp)).filter(|t| *t != Value::Null),
            Root::Metadata if field.path.is_empty() => {
                Some(self.metadata.take().map_or(Value::Map(Map::new()), |metadata| *metadata))
            }
            Root::Metadata => field::take(self.metadata.as_mut()?.as_map_mut()?, &field.path),
        }
    }

    /// Adds a tag, once.
    pub fn add_tag(&mut self, tag: &str) {
        match self.fields.get_mut("tags") {
            Some(Value::List(tags)) => {
                if !tags.iter().any(|t| is_text(t, tag)) {
                    tags.push(Value::from(tag));
                }
            }
            Some(other) => {
                if !is_text(other, tag) {
                    let first = std::mem::take(other);
                    *other = Value::List(vec![first, Value::from(tag)]);
                }
            }
            None => self.fields.push_new(const { Name::const_new("tags") }, Value::List(vec![tag.into()])),
        }
    }

    /// Adds a tag as `add_tag` and `tags` do: once more if it is there.
    pub(crate) fn push_tag(&mut self, tag: Text) {
        let tags = self.tags();
        tags.push(Value::Str(tag));
    }

    /// Removes a tag; tags that are one text become a list.
    pub fn remove_tag(&mut self, tag: &str) {
        if !matches!(self.fields.get("tags"), None | Some(Value::Null)) {
            self.tags().retain(|t| !is_text(t, tag));
        }
    }

    /// The tags as a list, which they are made when they are none.
    fn tags(&mut self) -> &mut Vec<Value> {
        const TAGS: Name = Name::const_new("tags");
        let old = match self.fields.get_mut("tags") {
            Some(Value::List(_)) => None,
            Some(other) => Some(std::mem::take(other)),
            None => Some(Value::Null),
        };
        match old {
            None => {}
            Some(Value::Null) => drop(self.fields.insert(TAGS, Value::List(Vec::new()))),
            Some(one) => drop(self.fields.insert(TAGS, Value::List(vec![one]))),
        }
        match self.fields.get_mut("tags") {
            Some(Value::List(tags)) => tags,
            _ => unreachable!("tags are a list now"),
        }
    }

    /// Whether it has a tag.
    pub fn has_tag(&self, tag: &str) -> bool {
        match self.fields.get("tags") {
            Some(Value::List(tags)) => tags.iter().any(|t| is_text(t, tag)),
            Some(other) => is_text(other, tag),
            None => false,
        }
    }

    /// Adds the event to `out` as one JSON object, without `@metadata`.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        json::write_event(self.timestamp(), &self.fields, out);
    }

    /// As [`write_json`](Self::write_json), for many events.
    pub(crate) fn write_json_by(&self, writer: &mut json::EventWriter, out: &mut Vec<u8>) {
        writer.write(self.timestamp(), &self.fields, out);
    }

    /// The event as one JSON object, without `@metadata`.
    pub fn to_json(&self) -> String {
        let mut out = Vec::with_capacity(512);
        self.write_json(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
            && self.timestamp == other.timestamp
            && self.fields == other.fields
            && self.metadata() == other.metadata()
    }
}

/// Whether a value can be what `tags` holds.
fn are_tags(value: &Value) -> bool {
    match value {
        Value::Str(_) => true,
        Value::List(items) => items.iter().all(|item| matches!(item, Value::Str(_))),
        _ => false,
    }
}

/// Whether a value may be set at a path: `tags` holds texts, and nothing is set inside of it.
fn fits_tags(path: &[Segment], value: &Value) -> bool {
    match path {
        [first, rest @ ..] if first.name == "tags" => rest.is_empty() && are_tags(value),
        _ => true,
    }
}

fn is_text(value: &Value, text: &str) -> bool {
    matches!(value, Value::Str(t) if t == text)
}

#[cfg(test)]
mod tests;
