//! Makes the two sets of stock patterns: one with classic field names, one with those of the Elastic Common Schema.
//!
//! The classic definitions come with the crate `grok`; `patterns/legacy` mends them, and `patterns/ecs` tells what the other
//! set has instead. Both files say at their beginning how they are written.
use std::collections::HashMap;
use std::sync::LazyLock;

const MENDED: &str = include_str!("../../patterns/legacy");
const ECS: &str = include_str!("../../patterns/ecs");

/// Definitions by name.
pub(super) type Definitions = HashMap<String, String>;

/// The patterns with classic field names.
pub(super) static LEGACY_PATTERNS: LazyLock<Definitions> = LazyLock::new(|| {
    let mut patterns: Definitions = grok::patterns()
        .iter()
        .map(|(name, text)| ((*name).to_owned(), text.trim_start().to_owned()))
        .collect();
    for (name, text) in lines(MENDED) {
        let whole = match text.strip_prefix("@ ").and_then(|edit| edit.split_once(" >> ")) {
            Some((old, new)) => {
                patterns.get(name).map(|known| known.replacen(old, new, 1)).unwrap_or_default()
            }
            None => text.to_owned(),
        };
        patterns.insert(name.to_owned(), whole);
    }
    patterns.into_iter().map(|(name, text)| (name, without_numbers(&text))).collect()
});

/// The patterns with the names of the Elastic Common Schema.
pub(super) static ECS_PATTERNS: LazyLock<Definitions> = LazyLock::new(|| {
    let mut patterns = LEGACY_PATTERNS.clone();
    let mut words: Vec<(String, String)> = Vec::new();
    for (name, text) in lines(ECS) {
        if let Some(word) = name.strip_prefix('&') {
            words.push((format!("&{word};"), filled(text, &words)));
            continue;
        }
        let definition = match text.strip_prefix('~') {
            Some(table) => {
                let (of, fields) = table.split_once(' ').unwrap_or((table, ""));
                let of = if of.is_empty() { name } else { of };
                renamed(LEGACY_PATTERNS.get(of).map(String::as_str).unwrap_or_default(), fields)
            }
            None => bracketed(&filled(text, &words)),
        };
        patterns.insert(name.to_owned(), without_numbers(&definition));
    }
    patterns
});

fn lines(file: &str) -> impl Iterator<Item = (&str, &str)> {
    file.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(' '))
}

fn filled(text: &str, words: &[(String, String)]) -> String {
    words.iter().fold(text.to_owned(), |text, (word, meaning)| text.replace(word, meaning))
}

/// A definition whose plain groups have no numbers: beside groups with names they take no part, and cost time.
fn without_numbers(definition: &str) -> String {
    let mut out = String::with_capacity(definition.len());
    let (mut escaped, mut class) = (false, 0_usize);
    let mut letters = definition.chars().peekable();
    while let Some(letter) = letters.next() {
        out.push(letter);
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '[' => class += 1,
            ']' => class = class.saturating_sub(1),
            '(' if class == 0 && letters.peek() != Some(&'?') => out.push_str("?:"),
            _ => {}
        }
    }
    out
}

/// What stands for a name in a definition: a reference, or the head of a group.
struct Slot<'a> {
    /// The name of the pattern referred to, or nothing for a group.
    pattern: Option<&'a str>,
    before: &'a str,
}

/// Cuts a definition at its references and the heads of its groups; what is left comes last.
fn slots(definition: &str) -> (Vec<Slot<'_>>, &str) {
    let mut slots = Vec::new();
    let mut rest = definition;
    let mut from = 0;
    while let Some(at) = rest.get(from..).and_then(|r| r.find(['%', '('])).map(|at| at + from) {
        let here = rest.get(at..).unwrap_or_default();
        let group = here.starts_with("(?<") && !here.starts_with("(?<=") && !here.starts_with("(?<!");
        let end = match (here.starts_with("%{"), group) {
            (true, _) => here.find('}'),
            (_, true) => here.find('>'),
            _ => None,
        };
        let Some(end) = end else {
            from = at + 1;
            continue;
        };
        let inside = here.get(2..end).unwrap_or_default();
        let pattern = (!group).then(|| inside.split(':').next().unwrap_or_default());
        slots.push(Slot { pattern, before: rest.get(..at).unwrap_or_default() });
        rest = here.get(end + 1..).unwrap_or_default();
        from = 0;
    }
    (slots, rest)
}

/// A definition whose references and groups have the names of a list, in turn.
fn renamed(definition: &str, fields: &str) -> String {
    let (slots, rest) = slots(definition);
    let mut out = String::new();
    let mut fields = fields.split_whitespace();
    for slot in slots {
        out.push_str(slot.before);
        let field = fields.next().unwrap_or("-");
        match (slot.pattern, field.split_once('=')) {
            (Some(_), Some((pattern, "-"))) => out.push_str(&format!("%{{{pattern}}}")),
            (Some(_), Some((pattern, field))) => out.push_str(&reference(pattern, field)),
            (Some(pattern), None) if field == "-" => out.push_str(&format!("%{{{pattern}}}")),
            (Some(pattern), None) => out.push_str(&reference(pattern, field)),
            (None, _) => out.push_str(&format!("(?<{}>", path(field))),
        }
    }
    out + rest
}

/// A definition in which fields are written in brackets, and `?` behind them is spelled out.
fn bracketed(definition: &str) -> String {
    let mut out = String::new();
    let mut rest = definition;
    while let Some(at) = rest.find("%{").into_iter().chain(rest.find("(?<")).min() {
        let (before, here) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.push_str(before);
        let close = if here.starts_with('%') { '}' } else { '>' };
        let head = if here.starts_with('%') { 2 } else { 3 };
        let Some((inside, after)) = here.get(head..).and_then(|r| r.split_once(close)) else {
            out.push_str(here);
            return out;
        };
        match inside.split_once(':') {
            Some((pattern, field)) if head == 2 => out.push_str(&reference(pattern, field)),
            _ if head == 2 => out.push_str(&format!("%{{{inside}}}")),
            _ => out.push_str(&format!("(?<{}>", path(inside))),
        }
        rest = after;
    }
    out + rest
}

fn reference(pattern: &str, field: &str) -> String {
    match field.strip_suffix('?') {
        Some(field) => format!("(?:-|%{{{pattern}:{}}})", path(field)),
        None => format!("%{{{pattern}:{}}}", path(field)),
    }
}

/// `a.b:int` as `[a][b]:int`.
fn path(field: &str) -> String {
    let (name, of) = field.split_once(':').map_or((field, ""), |(name, of)| (name, of));
    let name = if name.contains('.') { format!("[{}]", name.replace('.', "][")) } else { name.to_owned() };
    if of.is_empty() { name } else { format!("{name}:{of}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_named_by_the_table() {
        let classic = "(?<a>x) %{INT:b:int} %{WORD}%{DATA:c}$";
        assert_eq!(
            renamed(classic, "p.q NUMBER=r.s:float? - t"),
            "(?<[p][q]>x) (?:-|%{NUMBER:[r][s]:float}) %{WORD}%{DATA:t}$"
        );
        assert_eq!(renamed(classic, "x"), "(?<x>x) %{INT} %{WORD}%{DATA}$");
        assert_eq!(
            bracketed("a (?<x.y>b) %{INT:c.d:int?} %{WORD}"),
            "a (?<[x][y]>b) (?:-|%{INT:[c][d]:int}) %{WORD}"
        );
    }

    #[test]
    fn plain_groups_lose_their_numbers() {
        assert_eq!(without_numbers(r"(a|(?<b>c)\([(]%{INT}(d))"), r"(?:a|(?<b>c)\([(]%{INT}(?:d))");
    }

    #[test]
    fn every_line_of_the_tables_fits() {
        for (name, text) in lines(MENDED) {
            if let Some((old, _)) = text.strip_prefix("@ ").and_then(|edit| edit.split_once(" >> ")) {
                let known = grok::patterns().iter().find(|(n, _)| *n == name).map(|(_, text)| *text);
                assert!(known.is_some_and(|known| known.contains(old)), "{name}: {old}");
            }
        }
        for (name, text) in lines(ECS) {
            let Some(table) = text.strip_prefix('~') else { continue };
            let (of, fields) = table.split_once(' ').unwrap_or((table, ""));
            let known = &LEGACY_PATTERNS[if of.is_empty() { name } else { of }];
            assert!(fields.split_whitespace().count() <= slots(known).0.len(), "{name}");
        }
        for (name, text) in ECS_PATTERNS.iter() {
            assert!(!text.is_empty() && !text.contains("(?:&") && !text.contains(" &"), "{name}: {text}");
        }
    }
}
