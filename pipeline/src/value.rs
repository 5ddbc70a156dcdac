//! Holds the values of fields: short strings inline, longer ones as free slices of the line they came from.
use bytes::Bytes;
use bytestring::ByteString;
use compact_str::CompactString;
use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;

/// A moment; what `@timestamp` holds.
pub type Timestamp = jiff::Timestamp;

/// The name of a field; up to 24 bytes need no allocation.
pub type Name = CompactString;

/// The most bytes that a string may have to be copied rather than shared: what fits inline.
const INLINE_MAX: usize = 24;
/// The most entries of a map that are searched one by one; above it an index is kept.
const SCAN_MAX: usize = 24;

/// A string. Cloning and cutting parts out of it allocate nothing: parts of up to 24 bytes are copied inline,
/// longer ones share the buffer of the whole.
#[derive(Clone)]
pub struct Text(Repr);

#[derive(Clone)]
enum Repr {
    Own(CompactString),
    Shared(ByteString),
}

impl Text {
    /// Makes a string of a literal.
    pub const fn from_static(text: &'static str) -> Self {
        Self(Repr::Own(CompactString::const_new(text)))
    }

    /// Takes over `bytes` without copying them if they are UTF-8; otherwise replaces each invalid sequence
    /// by U+FFFD.
    pub fn lossy(bytes: Bytes) -> Self {
        if bytes.len() <= INLINE_MAX {
            return Self(Repr::Own(String::from_utf8_lossy(&bytes).as_ref().into()));
        }
        match ByteString::try_from(bytes.clone()) {
            Ok(shared) => Self(Repr::Shared(shared)),
            Err(_) => Self(Repr::Shared(String::from_utf8_lossy(&bytes).into_owned().into())),
        }
    }

    /// The string `part` as a slice of this one's buffer. `part` must have been cut out of `self`
    /// (`text.part(&text[a..b])`); a string from elsewhere is copied.
    pub fn part(&self, part: &str) -> Self {
        match &self.0 {
            Repr::Shared(whole) if part.len() > INLINE_MAX && holds(whole, part) => {
                Self(Repr::Shared(whole.slice_ref(part)))
            }
            _ => Self(Repr::Own(part.into())),
        }
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Own(own) => own,
            Repr::Shared(shared) => shared,
        }
    }

    /// The name that this string spells.
    pub fn to_name(&self) -> Name {
        match &self.0 {
            Repr::Own(own) => own.clone(),
            Repr::Shared(shared) => CompactString::new(shared),
        }
    }
}

fn holds(whole: &str, part: &str) -> bool {
    let (start, at) = (whole.as_ptr() as usize, part.as_ptr() as usize);
    at >= start && at + part.len() <= start + whole.len()
}

impl Default for Text {
    fn default() -> Self {
        Self::from_static("")
    }
}

impl Deref for Text {
    type Target = str;
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(Repr::Own(text.into()))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        if text.len() <= INLINE_MAX { Self::from(text.as_str()) } else { Self(Repr::Shared(text.into())) }
    }
}

impl From<CompactString> for Text {
    fn from(text: CompactString) -> Self {
        Self(Repr::Own(text))
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Text {}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

/// What a field may hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// Nothing; unlike an absent field, it is written out.
    #[default]
    Null,
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number; whole numbers above `i64::MAX` from JSON come here too.
    Float(f64),
    /// A string.
    Str(Text),
    /// A moment.
    Time(Timestamp),
    /// Values in order.
    List(Vec<Value>),
    /// Values by name, in the order in which they were first set.
    Map(Map),
}

impl Value {
    /// The string, if it is one.
    pub fn as_text(&self) -> Option<&Text> {
        match self {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The map, if it is one.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The map, if it is one.
    pub fn as_map_mut(&mut self) -> Option<&mut Map> {
        match self {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// Adds the value to `out` as a text: a scalar as Ruby writes it, a list joined by commas, a map as JSON.
    pub fn write_text(&self, out: &mut String) {
        use fmt::Write;
        // Writing into a string cannot fail.
        let _ok = match self {
            Value::Null => Ok(()),
            Value::Bool(b) => write!(out, "{b}"),
            Value::Int(i) => write!(out, "{i}"),
            Value::Float(x) => {
                crate::floats::push_ruby(*x, out);
                Ok(())
            }
            Value::Str(text) => out.write_str(text),
            Value::Time(at) => {
                crate::json::push_time(out, *at);
                Ok(())
            }
            Value::List(items) => {
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    item.write_text(out);
                }
                Ok(())
            }
            Value::Map(_) => {
                let mut json = Vec::new();
                crate::json::write_value(self, &mut json);
                out.write_str(&String::from_utf8_lossy(&json))
            }
        };
    }

    /// The value as a text; free for a string.
    pub fn to_text(&self) -> Text {
        match self {
            Value::Str(text) => text.clone(),
            other => {
                let mut out = String::new();
                other.write_text(&mut out);
                out.into()
            }
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Str(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Str(text.into())
    }
}

impl From<Text> for Value {
    fn from(text: Text) -> Self {
        Value::Str(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Value::Int(number)
    }
}

/// Values by name. Small maps are scanned, which beats hashing; large ones keep an index, so that no input
/// makes a search slow.
#[derive(Clone, Default)]
pub struct Map {
    entries: Vec<(Name, Value)>,
    #[allow(clippy::box_collection, reason = "most maps have none, and every value has room for a map")]
    index: Option<Box<HashMap<Name, usize>>>,
}

impl Map {
    /// An empty map.
    pub const fn new() -> Self {
        Self { entries: Vec::new(), index: None }
    }

    /// An empty map with room for `n` entries.
    pub fn with_capacity(n: usize) -> Self {
        Self { entries: Vec::with_capacity(n), index: None }
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn position(&self, name: &str) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(name).copied(),
            None => {
                let name = name.as_bytes();
                self.entries.iter().position(|(n, _)| n.as_bytes() == name)
            }
        }
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.position(name).and_then(|at| self.entries.get(at)).map(|(_, value)| value)
    }

    /// The value of `name`, to change it.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Value> {
        let at = self.position(name)?;
        self.entries.get_mut(at).map(|(_, value)| value)
    }

    /// Sets `name`, in place if it is there, else at the end; returns what it was.
    pub fn insert(&mut self, name: impl AsRef<str> + Into<Name>, value: Value) -> Option<Value> {
        if let Some(old) = self.get_mut(name.as_ref()) {
            return Some(std::mem::replace(old, value));
        }
        self.push_new(name.into(), value);
        None
    }

    /// Sets `name` if it is absent; gives the value back otherwise.
    pub fn insert_new(&mut self, name: &Name, value: Value) -> Option<Value> {
        if self.position(name).is_some() {
            return Some(value);
        }
        self.push_new(name.clone(), value);
        None
    }

    /// Adds an entry whose name the caller knows to be absent.
    pub(crate) fn push_new(&mut self, name: Name, value: Value) {
        debug_assert!(self.get(&name).is_none());
        if let Some(index) = &mut self.index {
            index.insert(name.clone(), self.entries.len());
        }
        self.entries.push((name, value));
        if self.index.is_none() && self.entries.len() > SCAN_MAX {
            self.build_index();
        }
    }

    /// Removes `name`; the others keep their order.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        let at = self.position(name)?;
        let (_, value) = self.entries.remove(at);
        if self.index.take().is_some() && self.entries.len() > SCAN_MAX {
            self.build_index();
        }
        Some(value)
    }

    /// The entries in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Name, &Value)> {
        self.entries.iter().map(|(name, value)| (name, value))
    }

    /// The entries in order, with their values to change.
    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = (&Name, &mut Value)> {
        self.entries.iter_mut().map(|(name, value)| (&*name, value))
    }

    /// Keeps the entries for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&Name, &mut Value) -> bool) {
        self.entries.retain_mut(|(name, value)| keep(name, value));
        if self.index.take().is_some() && self.entries.len() > SCAN_MAX {
            self.build_index();
        }
    }

    fn build_index(&mut self) {
        let index = self.entries.iter().enumerate().map(|(at, (name, _))| (name.clone(), at)).collect();
        self.index = Some(Box::new(index));
    }
}

impl PartialEq for Map {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().all(|(name, value)| other.get(name) == Some(value))
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl IntoIterator for Map {
    type Item = (Name, Value);
    type IntoIter = std::vec::IntoIter<(Name, Value)>;
    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

impl<N: AsRef<str> + Into<Name>> FromIterator<(N, Value)> for Map {
    fn from_iter<I: IntoIterator<Item = (N, Value)>>(pairs: I) -> Self {
        let mut map = Map::new();
        for (name, value) in pairs {
            map.insert(name, value);
        }
        map
    }
}
