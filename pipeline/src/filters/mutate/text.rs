//! Changes texts: their case, the blanks at their ends, their parts.
use crate::value::{Text, Value};

/// How a text is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::filters) enum Style {
    Upper,
    Lower,
    /// A capital first, the rest small.
    Capital,
    /// Without blanks at its ends.
    Stripped,
}

impl Style {
    pub(in crate::filters) fn apply(self, text: &Text) -> Text {
        match self {
            Self::Upper => text.to_uppercase().into(),
            Self::Lower => text.to_lowercase().into(),
            Self::Capital => capital(text).into(),
            Self::Stripped => {
                let rest = text.trim_start_matches(is_blank).trim_end_matches(|c| is_blank(c) || c == '\0');
                text.part(rest)
            }
        }
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next();
    let mut out: String = first.into_iter().flat_map(char::to_uppercase).collect();
    out.push_str(&chars.as_str().to_lowercase());
    out
}

/// Blanks as Ruby's `strip` knows them.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r')
}

/// Splits as Ruby does: a single blank stands for any run of blanks, no text for every character, and empty parts at the
/// end are left out.
pub(super) fn split(text: &Text, at: &str) -> Vec<Value> {
    let part = |part: &str| text.part(part);
    let mut parts: Vec<Text> = match at {
        " " => text.split(is_blank).filter(|p| !p.is_empty()).map(part).collect(),
        "" => text.char_indices().filter_map(|(i, c)| text.get(i..i + c.len_utf8())).map(part).collect(),
        at => text.split(at).map(part).collect(),
    };
    while parts.last().is_some_and(|last| last.is_empty()) {
        parts.pop();
    }
    parts.into_iter().map(Value::Str).collect()
}
