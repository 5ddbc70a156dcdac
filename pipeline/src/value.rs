//! Holds the values of fields: short strings inline, longer ones as free slices of the line they came from.
use bytes::Bytes;
use compact_str::CompactString;
use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

mod map;

pub use crate::decimal::Decimal;
pub use map::Map;
pub(crate) use map::{Marks, Names};

/// A moment; what `@timestamp` holds.
pub type Timestamp = jiff::Timestamp;

/// The name of a field; up to 24 bytes need no allocation.
pub type Name = CompactString;

/// The most bytes that a string may have to be copied rather than shared: what fits inline.
const INLINE_MAX: usize = 24;

/// A string. Cloning and cutting parts out of it allocate nothing: parts of up to 24 bytes are copied inline,
/// longer ones share the buffer of the whole.
#[derive(Clone)]
pub struct Text(Repr);

#[derive(Clone)]
enum Repr {
    Own(CompactString),
    Shared(Slice),
}

/// A part of a string that others have parts of, too. Always at borders of characters.
#[derive(Clone)]
struct Slice {
    whole: Arc<String>,
    start: u32,
    len: u32,
}

impl Slice {
    fn as_str(&self) -> &str {
        let start = self.start as usize;
        self.whole.get(start..start + self.len as usize).unwrap_or_default()
    }
}

impl Text {
    /// Makes a string of a literal.
    pub const fn from_static(text: &'static str) -> Self {
        Self(Repr::Own(CompactString::const_new(text)))
    }

    /// Takes over `bytes` if they are UTF-8; otherwise replaces each invalid sequence by U+FFFD.
    pub fn lossy(bytes: Bytes) -> Self {
        if bytes.len() <= INLINE_MAX {
            return Self(Repr::Own(String::from_utf8_lossy(&bytes).as_ref().into()));
        }
        match String::from_utf8(bytes.into()) {
            Ok(text) => text.into(),
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned().into(),
        }
    }

    /// Takes over `bytes` if they are UTF-8; gives them back otherwise.
    pub(crate) fn valid(bytes: Bytes) -> Result<Self, Bytes> {
        if bytes.len() <= INLINE_MAX {
            return match std::str::from_utf8(&bytes) {
                Ok(text) => Ok(Self(Repr::Own(text.into()))),
                Err(_) => Err(bytes),
            };
        }
        match String::from_utf8(bytes.into()) {
            Ok(text) => Ok(text.into()),
            Err(error) => Err(error.into_bytes().into()),
        }
    }

    /// The part of `whole` at `range`, which shares it unless it is short. A range that is not in it, or that cuts a
    /// character, gives an empty string.
    pub(crate) fn slice(whole: &Arc<String>, range: Range<u32>) -> Self {
        let part = whole.get(range.start as usize..range.end as usize).unwrap_or_default();
        if part.len() <= INLINE_MAX {
            return Self(Repr::Own(part.into()));
        }
        Self(Repr::Shared(Slice { whole: whole.clone(), start: range.start, len: range.end - range.start }))
    }

    /// The string `part` as a slice of this one's buffer. `part` must have been cut out of `self`
    /// (`text.part(&text[a..b])`); a string from elsewhere is copied.
    pub fn part(&self, part: &str) -> Self {
        match &self.0 {
            Repr::Shared(slice) if part.len() > INLINE_MAX => match place_in(&slice.whole, part) {
                Some(start) => {
                    Self(Repr::Shared(Slice { whole: slice.whole.clone(), start, len: part.len() as u32 }))
                }
                None => Self::from(part),
            },
            _ => Self(Repr::Own(part.into())),
        }
    }

    /// The same text in a buffer of its own, for what is kept for long: a short part would keep the whole buffer.
    pub(crate) fn detached(self) -> Self {
        match &self.0 {
            Repr::Shared(slice) if slice.whole.len() > slice.len as usize => slice.as_str().to_owned().into(),
            _ => self,
        }
    }

    /// The text of which these are the lines, if they lie in one buffer with a newline between each two.
    pub(crate) fn spanning(lines: &[Self]) -> Option<Self> {
        let (Self(Repr::Shared(first)), rest) = lines.split_first()? else { return None };
        let mut end = first.start + first.len;
        for line in rest {
            let Repr::Shared(line) = &line.0 else { return None };
            let follows = Arc::ptr_eq(&line.whole, &first.whole) && Some(line.start) == end.checked_add(1);
            if !follows || first.whole.as_bytes().get(end as usize) != Some(&b'\n') {
                return None;
            }
            end = line.start + line.len;
        }
        Some(Self::slice(&first.whole, first.start..end))
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Own(own) => own,
            Repr::Shared(slice) => slice.as_str(),
        }
    }

    /// The name that this string spells.
    pub fn to_name(&self) -> Name {
        match &self.0 {
            Repr::Own(own) => own.clone(),
            Repr::Shared(slice) => CompactString::new(slice.as_str()),
        }
    }
}

/// Where `part` is in `whole`, if it was cut out of it.
fn place_in(whole: &str, part: &str) -> Option<u32> {
    let start = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    (start + part.len() <= whole.len()).then(|| u32::try_from(start).ok()).flatten()
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
        match u32::try_from(text.len()) {
            Ok(len) if text.len() > INLINE_MAX => {
                Self(Repr::Shared(Slice { whole: Arc::new(text), start: 0, len }))
            }
            _ => Self(Repr::Own(text.into())),
        }
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
    /// A number with a fraction, as exact as 64 bits are.
    Float(f64),
    /// A number that neither of these is: whole and beyond 64 bits, or a fraction with all its digits.
    Number(Decimal),
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
            Value::Number(number) => {
                number.push_ruby(out);
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

impl From<Decimal> for Value {
    /// A whole number that fits is one of 64 bits.
    fn from(number: Decimal) -> Self {
        match number.as_str().parse() {
            Ok(fits) if number.is_whole() => Value::Int(fits),
            _ => Value::Number(number),
        }
    }
}
