//! Writes `\w`, `\d` and `\s` out, which mean characters of ASCII in Ruby, and letters of any script to Oniguruma.
//!
//! `\b` and `[[:alpha:]]` mean any script in both.
use std::borrow::Cow;

/// The expression with these classes written out. One that switches what they mean (`(?u)`) stays as it is.
pub(crate) fn ascii_classes(pattern: &str) -> Cow<'_, str> {
    if !pattern.contains('\\') || pattern.contains("(?u") {
        return pattern.into();
    }
    let mut out = String::with_capacity(pattern.len() + 32);
    let mut rest = pattern;
    while let Some((before, escape)) = rest.split_once('\\') {
        out.push_str(before);
        let mut chars = escape.chars();
        match chars.next() {
            // A class of its own, wherever it stands: inside of brackets it is one in the other.
            Some('w') => out.push_str("[a-zA-Z0-9_]"),
            Some('W') => out.push_str("[^a-zA-Z0-9_]"),
            Some('d') => out.push_str("[0-9]"),
            Some('D') => out.push_str("[^0-9]"),
            Some('s') => out.push_str(r"[ \t\r\n\f\v]"),
            Some('S') => out.push_str(r"[^ \t\r\n\f\v]"),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(pattern: &str, text: &str) -> Option<(usize, usize)> {
        onig::Regex::new(pattern).ok()?.find(text)
    }

    #[test]
    fn classes_mean_ascii_and_borders_of_words_do_not() {
        for (pattern, text, wanted) in [
            (r"\w+", "é12", Some((2, 4))),
            (r"^\w+$", "é", None),
            (r"\b\w+\b", "Müller", None),
            (r"\W", "aé", Some((1, 3))),
            (r"[\w.]+", "é.a", Some((2, 4))),
            (r"[^\w]+", "aé", Some((1, 3))),
            (r"[\W]+", "aé-", Some((1, 4))),
            (r"[\w-x]+", "é-x", Some((2, 4))),
            (r"\d+", "٣4", Some((2, 3))),
            (r"\s", "\u{a0} ", Some((2, 3))),
            (r"\S+", "\u{a0} ", Some((0, 2))),
            (r"\\w", r"x\w", Some((1, 3))),
            (r"[[:alpha:]]+", "é1", Some((0, 2))),
        ] {
            assert_eq!(found(&ascii_classes(pattern), text), wanted, "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn in_ascii_nothing_changes(pattern in r"(\\[wWdDsSb.]|\[\^?(\\[wds]|[a-c.])+\]|[a-c ]|[+*?]){1,8}", text in "[a-c0-1_. \\t-]{0,12}") {
            prop_assert_eq!(found(&ascii_classes(&pattern), &text), found(&pattern, &text), "{}", pattern);
        }
    }
}
