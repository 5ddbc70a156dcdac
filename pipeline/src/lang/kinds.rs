//! Reads a setting's value as the type that an option declares: one `FromSetting` per kind of option.
use std::borrow::Cow;
use std::time::Duration;

use super::ast::{Call, Name, Node, Raw, Span};
use super::problems::Problems;
use super::suggest::{closest, one_of};
use crate::field::FieldRef;
use crate::hash_order;
use crate::plan::PluginCall;
use crate::template::{Template, Unfillable};

/// What values an option takes, for messages and reference pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OptionKind {
    /// A text, a number, a list or a hash.
    Any,
    /// Any text.
    Text,
    /// Text with `%{…}` parts that each event fills in.
    Template,
    /// The name of a field: `name` or `[outer][inner]`.
    Field,
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Integer,
    /// A number.
    Float,
    /// A size: `1024`, `"10mb"`, `"5 MiB"`.
    Bytes,
    /// A time span: seconds as a number, or `"500ms"`, `"2 minutes"`.
    Duration,
    /// Text that is never shown.
    Password,
    /// A codec: its name, or its name with settings.
    Codec,
    /// Absolute paths, with `*`, `?`, `[…]` and `**` where files are looked up.
    Paths,
    /// One of these words.
    Words(&'static [&'static str]),
    /// A list; a lone value is a list of one.
    List(&'static OptionKind),
    /// Keys and values.
    Hash(&'static OptionKind),
}

impl OptionKind {
    /// Whether it takes one value, for which Logstash takes a list of one, too.
    pub(crate) fn is_single(self) -> bool {
        !matches!(self, Self::Any | Self::Paths | Self::List(_) | Self::Hash(_))
    }
}

impl std::fmt::Display for OptionKind {
    /// One of them; `{:#}` is several.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let plural = if f.alternate() { "s" } else { "" };
        match self {
            Self::Any => write!(f, "value{plural}"),
            Self::Text => write!(f, "string{plural}"),
            Self::Template => write!(f, "template string{plural}"),
            Self::Field => write!(f, "field reference{plural}"),
            Self::Bool => write!(f, "boolean{plural}"),
            Self::Integer => write!(f, "whole number{plural}"),
            Self::Float => write!(f, "number{plural}"),
            Self::Bytes => write!(f, "size{plural} in bytes"),
            Self::Duration => write!(f, "time span{plural}"),
            Self::Password => write!(f, "password{plural}"),
            Self::Codec => write!(f, "codec{plural}"),
            Self::Paths => write!(f, "list{plural} of absolute paths"),
            Self::Words(words) => f.write_str(&one_of(words.iter().copied())),
            Self::List(of) => write!(f, "list{plural} of {of:#}"),
            Self::Hash(of) => write!(f, "hash{} of {of:#}", if f.alternate() { "es" } else { "" }),
        }
    }
}

/// A type that an option can have.
pub(crate) trait FromSetting: Sized {
    const KIND: OptionKind;
    /// Whether the option may be left out without a default.
    const OPTIONAL: bool = false;

    /// Reads a value; on `None` a problem has been reported.
    fn from_setting(node: &Node, problems: &mut Problems) -> Option<Self>;

    /// What it means that the option was left out.
    fn absent() -> Option<Self> {
        None
    }
}

impl<T: FromSetting> FromSetting for Option<T> {
    const KIND: OptionKind = T::KIND;
    const OPTIONAL: bool = true;

    fn from_setting(node: &Node, problems: &mut Problems) -> Option<Self> {
        T::from_setting(node, problems).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl FromSetting for String {
    const KIND: OptionKind = OptionKind::Text;

    fn from_setting(node: &Node, problems: &mut Problems) -> Option<Self> {
        read_text(node, Self::KIND, problems).map(str::to_owned)
    }
}

impl FromSetting for FieldRef {
    const KIND: OptionKind = OptionKind::Field;

    fn from_setting(node: &Node, problems: &mut Problems) -> Option<Self> {
        let text = read_text(node, Self::KIND, problems)?;
        match Self::parse(text) {
            Ok(field) => Some(field),
            Err(error) => {
                let message = match node.substituted {
                    true => "the value from the environment is not a field reference".to_owned(),
                    false => error.to_string(),
                };
                problems.error(node.span, message).hint("write `name` or `[outer][inner]`");
                None
            }
        }
    }
}

impl FromSetting for Template {
    const KIND: OptionKind = OptionKind::Template;

    fn from_setting(node: &Node, problems: &mut Problems) -> Option<Self> {
        let text = read_text(node, Self::KIND, problems)?;
        if let Some((before, inside)) = text.rsplit_once("%{")
            && !inside.contains('}')
        {
            problems
                .warning(node.part(before.len(), text.len()), "this `%{` is never closed")
                .hint("a field is filled in where `%{name}` stands; without `}` the text stays as it is");
        }
        let mut impossible = false;
        let template = Self::read(text, |unfillable| {
            if node.substituted {
                return;
            }
            let (problem, mistake) = match unfillable {
                Unfillable::Date(mistake) => {
                    impossible = true;
                    (problems.error(node.part(mistake.start, mistake.end), mistake.message), mistake.hint)
                }
                Unfillable::Field(mistake) => {
                    (problems.warning(node.part(mistake.start, mistake.end), mistake.message), mistake.hint)
                }
            };
            problem.hint(mistake.unwrap_or_default());
        });
        (!impossible).then_some(template)
    }
}

impl FromSetting for bool {
    const KIND: OptionKind = OptionKind::Bool;

    fn from_setting(node: &Node, problems: &mut Problems) -> Option<Self> {
        match node.text() {
            Some("true") => Some(true),
            Some("false") => Some(false),
            _ => wrong_type(node, Self::KIND, problems).with_hint("write `true` or `false`"),
        }
    }
}

macro_rules! integer_option {
    ($($ty:ty),*) => {$(
        impl FromSetting for $ty {
            const KIND: OptionKind = OptionKind::Integer;

            fn from_setting(node: &Node, problems: &mut Problems) -> Option<Self> {
                let Some(number) = node.text().and_then(|t| t.trim().parse::<i128>().ok()) else {
                    return wrong_type(node, Self::KIND, problems).none();
                };
                let value = <$ty>::try_from(number).ok();
                if value.is_none() {
                    problems
                        .error(node.span, format!("{} is out of range", shown(node)))
                        .hint(format!("it can be from {} to {}", <$ty>::MIN, <$ty>::MAX));
                }
                value
            }
        }
    )*};
}
integer_option!(u16, u32, u64, usize, i64);

impl FromSetting for f64 {
    const KIND: OptionKind = OptionKind::Float;

    fn from_setting(node: &Node, problems: &mut Problems) -> Option<Self> {
        match node.text().and_then(|t| t.trim().parse::<f64>().ok()).filter(|n| n.is_finite()) {
            Some(number) => Some(number),
            None => wrong_type(node, Self::KIND, problems).none(),
        }
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ByteSize(pub(crate) u64);

impl FromSetting for ByteSize {
    const KIND: OptionKind = OptionKind::Bytes;

    fn from_setting(node: &Node, problems: &mut Problems) -> Option<Self> {
        match node.text().and_then(super::quantity::bytes) {
            Some(bytes) => Some(Self(bytes)),
            None => {
                wrong_type(node, Self::KIND, problems).with_hint("write it like 1024, \"10mb\" or \"5 MiB\"")
            }
        }
    }
}

impl FromSetting for Duration {
    const KIND: OptionKind = OptionKind::Duration;

    fn from_setting(node: &Node, problems: &mut Problems) -> Option<Self> {
        match node.text().and_then(super::quantity::duration) {
            Some(duration) => Some(duration),
            None => wrong_type(node, Self::KIND, problems)
                .with_hint("write seconds as a number, or \"500ms\", \"2 minutes\""),
        }
    }
}

/// Text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Password(String);

impl Password {
    /// The text itself, to be sent and not to be shown.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<password>")
    }
}

impl FromSetting for Password {
    const KIND: OptionKind = OptionKind::Password;

    fn from_setting(node: &Node, problems: &mut Problems) -> Option<Self> {
        read_text(node, Self::KIND, problems).map(|t| Self(t.to_owned()))
    }
}

/// Absolute paths; a lone one is a list of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Paths(pub(crate) Vec<String>);

impl FromSetting for Paths {
    const KIND: OptionKind = OptionKind::Paths;

    fn from_setting(node: &Node, problems: &mut Problems) -> Option<Self> {
        let paths = Vec::<Placed<String>>::from_setting(node, problems)?;
        let before = problems.errors();
        for path in &paths {
            if path.value.is_empty() {
                problems.error(path.span, "the path is empty").hint("write the absolute path of a file");
            } else if !path.value.starts_with('/') {
                problems
                    .error(path.span, "the path is relative")
                    .hint("write an absolute path: start it with `/`");
            } else if path.value.contains('\0') {
                problems.error(path.span, "the path holds a NUL character");
            }
        }
        (problems.errors() == before).then(|| Self(paths.into_iter().map(|p| p.value).collect()))
    }
}

impl<T: FromSetting> FromSetting for Vec<T> {
    const KIND: OptionKind = OptionKind::List(&T::KIND);

    fn from_setting(node: &Node, problems: &mut Problems) -> Option<Self> {
        match &node.value {
            Raw::List(items) => {
                let read: Vec<Option<T>> = items.iter().map(|item| T::from_setting(item, problems)).collect();
                read.into_iter().collect()
            }
            _ => T::from_setting(node, problems).map(|one| vec![one]),
        }
    }
}

/// Keys and values in the order in which Logstash goes through them; an array of an even number of items is one, too, in the
/// order written. A key that such an array has several times has all of their values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hash<T>(pub(crate) Vec<(String, T)>);

impl<T: FromSetting> FromSetting for Hash<T> {
    const KIND: OptionKind = OptionKind::Hash(&T::KIND);

    fn from_setting(node: &Node, problems: &mut Problems) -> Option<Self> {
        let entries: Vec<(&Node, Cow<'_, Node>)> = match &node.value {
            Raw::Hash(entries) => entries.iter().map(|(key, value)| (key, Cow::Borrowed(value))).collect(),
            Raw::List(items) if items.len() % 2 == 0 => pairs(items),
            Raw::List(items) => {
                problems
                    .error(node.span, format!("an array of {} items cannot be a hash", items.len()))
                    .hint("write `{ \"key\" => \"value\" }`, or an array of keys and values in turn");
                return None;
            }
            _ => return wrong_type(node, Self::KIND, problems).with_hint("write `{ \"key\" => \"value\" }`"),
        };
        let read: Vec<Option<(String, T)>> = entries
            .into_iter()
            .map(|(key, value)| {
                let key = read_text(key, OptionKind::Text, problems).map(str::to_owned);
                let value = T::from_setting(&value, problems);
                Some((key?, value?))
            })
            .collect();
        let mut entries = read.into_iter().collect::<Option<Vec<_>>>()?;
        if matches!(node.value, Raw::Hash(_)) {
            hash_order::sort(&mut entries, |(key, _)| key);
        }
        Some(Self(entries))
    }
}

/// The keys and values that stand in an array in turn.
fn pairs(items: &[Node]) -> Vec<(&Node, Cow<'_, Node>)> {
    let mut pairs: Vec<(&Node, Cow<'_, Node>)> = Vec::new();
    for pair in items.chunks_exact(2) {
        let [key, value] = pair else { continue };
        match pairs.iter_mut().find(|(known, _)| known.text().is_some() && known.text() == key.text()) {
            None => pairs.push((key, Cow::Borrowed(value))),
            Some((_, all)) => {
                let all = all.to_mut();
                match &mut all.value {
                    Raw::List(items) => items.push(value.clone()),
                    _ => all.value = Raw::List(vec![all.clone(), value.clone()]),
                }
            }
        }
    }
    pairs
}

/// A codec with its settings.
#[derive(Clone, Debug)]
pub(crate) struct CodecCall(pub(crate) PluginCall);

impl FromSetting for CodecCall {
    const KIND: OptionKind = OptionKind::Codec;

    fn from_setting(node: &Node, problems: &mut Problems) -> Option<Self> {
        let bare;
        let call = match &node.value {
            Raw::Plugin(call) => call,
            Raw::Text(name) | Raw::Word(name) => {
                bare = Call {
                    name: Name { text: name.clone(), span: node.span },
                    settings: Vec::new(),
                    whole: true,
                };
                &bare
            }
            Raw::Number(_) | Raw::List(_) | Raw::Hash(_) => {
                return wrong_type(node, Self::KIND, problems)
                    .with_hint("write `codec => json` or `codec => json { … }`");
            }
        };
        crate::check::load_codec(call, problems).map(Self)
    }
}

/// A value that remembers where it stands, for problems that are found later (a pattern that does not compile).
#[derive(Clone, Debug)]
pub(crate) struct Placed<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
    /// Where the first byte of the text stands, when the text is exactly as written.
    text_at: Option<usize>,
}

impl<T> Placed<T> {
    /// Where the `from..to` bytes of the text stand; the whole value when that cannot be said.
    pub(crate) fn part(&self, from: usize, to: usize) -> Span {
        match self.text_at {
            Some(at) if at + to <= self.span.end => Span::new(at + from, at + to),
            _ => self.span,
        }
    }
}

impl<T> std::ops::Deref for Placed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: FromSetting> FromSetting for Placed<T> {
    const KIND: OptionKind = T::KIND;

    fn from_setting(node: &Node, problems: &mut Problems) -> Option<Self> {
        let value = T::from_setting(node, problems)?;
        let text_at = node.is_verbatim().then(|| node.part(0, 0).start);
        Some(Self { value, span: node.span, text_at })
    }
}

/// The text of a string, word or number; anything else is reported.
pub(crate) fn read_text<'a>(node: &'a Node, kind: OptionKind, problems: &mut Problems) -> Option<&'a str> {
    match node.text() {
        Some(text) => Some(text),
        None => wrong_type(node, kind, problems).none(),
    }
}

/// One of `words`; anything else is reported.
pub(crate) fn read_word<'a>(
    node: &'a Node,
    words: &'static [&'static str],
    problems: &mut Problems,
) -> Option<&'a str> {
    let word = read_text(node, OptionKind::Words(words), problems)?;
    if words.contains(&word) {
        return Some(word);
    }
    let near = closest(word, words.iter().copied()).filter(|_| !node.substituted);
    let wrong = wrong_type(node, OptionKind::Words(words), problems);
    match near {
        Some(near) => wrong.with_hint(&format!("did you mean `{near}`?")),
        None => wrong.none(),
    }
}

/// A value as it may be shown: nothing that came from the environment.
pub(crate) fn shown(node: &Node) -> String {
    match node.text() {
        _ if node.substituted => "the value from the environment".to_owned(),
        Some(text) if text.chars().count() <= 60 => format!("`{text}`"),
        _ => node.kind().to_owned(),
    }
}

/// Reports a value of the wrong type.
pub(crate) fn wrong_type<'a>(node: &Node, wanted: OptionKind, problems: &'a mut Problems) -> Wrong<'a> {
    let got = match node.value {
        Raw::Text(_) | Raw::Word(_) | Raw::Number(_) if wanted != OptionKind::Password => shown(node),
        _ => node.kind().to_owned(),
    };
    let article = if matches!(wanted, OptionKind::Words(_)) { "" } else { "a " };
    Wrong(problems.error(node.span, format!("expected {article}{wanted}, found {got}")))
}

/// A reported problem that ends the reading of a value.
pub(crate) struct Wrong<'a>(&'a mut super::problems::Problem);

impl Wrong<'_> {
    /// Says what to do about it.
    pub(crate) fn with_hint<T>(self, hint: &str) -> Option<T> {
        self.0.hint(hint);
        None
    }

    /// Nothing was read.
    pub(crate) fn none<T>(self) -> Option<T> {
        None
    }
}
