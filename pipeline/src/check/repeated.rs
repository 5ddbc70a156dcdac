//! Joins what is given several times: options, and keys of hashes, as Logstash joins them.
use crate::lang::ast::{Node, Raw, Setting};
use crate::lang::kinds::OptionKind;
use crate::lang::problems::Problems;

/// Adds an option that is given once more to the first: lists and hashes grow, the same value again is nothing new; anything
/// else is a mistake.
pub(super) fn again(first: &mut Setting, second: &Setting, kind: OptionKind, problems: &mut Problems) {
    let repeats = same(&first.value, &second.value);
    match (&mut first.value.value, &second.value.value) {
        (Raw::Hash(all), Raw::Hash(more)) => join_hashes(all, more),
        (Raw::List(all), more)
            if matches!(kind, OptionKind::List(_) | OptionKind::Paths | OptionKind::Hash(_)) =>
        {
            match more {
                Raw::List(more) => all.extend(more.iter().cloned()),
                _ => all.push(second.value.clone()),
            }
        }
        _ if repeats => {}
        _ if matches!(kind, OptionKind::List(_) | OptionKind::Paths) => {
            let mut all = vec![first.value.clone()];
            match &second.value.value {
                Raw::List(more) => all.extend(more.iter().cloned()),
                _ => all.push(second.value.clone()),
            }
            first.value.value = Raw::List(all);
        }
        _ => {
            let line = problems.line_of(first.key.span);
            problems
                .error(second.key.span, format!("`{}` is given twice", second.key.text))
                .hint(format!("it was given in line {line}: remove one of them"));
        }
    }
}

/// Adds the entries of a hash to another one; a key that both have gets the values of both.
fn join_hashes(all: &mut Vec<(Node, Node)>, more: &[(Node, Node)]) {
    for (key, value) in more {
        match all.iter_mut().find(|(k, _)| k.text() == key.text()) {
            Some((_, old)) => join_values(old, value),
            None => all.push((key.clone(), value.clone())),
        }
    }
}

fn join_values(old: &mut Node, new: &Node) {
    let repeats = same(old, new);
    match (&mut old.value, &new.value) {
        (Raw::Hash(all), Raw::Hash(more)) => join_hashes(all, more),
        (Raw::List(all), Raw::List(more)) => all.extend(more.iter().cloned()),
        (Raw::List(all), _) if all.iter().any(|one| same(one, new)) => {}
        (Raw::List(all), _) => all.push(new.clone()),
        (_, Raw::List(more)) => {
            let all = std::iter::once(old.clone()).chain(more.iter().cloned()).collect();
            old.value = Raw::List(all);
        }
        _ if repeats => {}
        _ => old.value = Raw::List(vec![old.clone(), new.clone()]),
    }
}

/// Whether two values say the same, wherever they stand.
fn same(one: &Node, other: &Node) -> bool {
    match (&one.value, &other.value) {
        (Raw::List(one), Raw::List(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Raw::Hash(one), Raw::Hash(other)) => {
            let equal = |((k, v), (l, w)): (&(Node, Node), &(Node, Node))| same(k, l) && same(v, w);
            one.len() == other.len() && one.iter().zip(other).all(equal)
        }
        _ => !one.substituted && !other.substituted && one.text().is_some() && one.text() == other.text(),
    }
}

/// Reports keys that a hash has twice, at any depth.
pub(super) fn duplicate_keys(node: &Node, problems: &mut Problems) {
    match &node.value {
        Raw::Hash(entries) => {
            keys_once(entries, problems);
            entries.iter().for_each(|(_, value)| duplicate_keys(value, problems));
        }
        Raw::List(items) => items.iter().for_each(|item| duplicate_keys(item, problems)),
        Raw::Text(_) | Raw::Word(_) | Raw::Number(_) | Raw::Plugin(_) => {}
    }
}

fn keys_once(entries: &[(Node, Node)], problems: &mut Problems) {
    let mut seen = std::collections::HashSet::new();
    for (key, _) in entries {
        if let Some(text) = key.text()
            && !seen.insert(text)
        {
            problems
                .error(key.span, format!("the key `{text}` is given twice"))
                .hint("give several values as an array: `\"key\" => [ \"a\", \"b\" ]`");
        }
    }
}
