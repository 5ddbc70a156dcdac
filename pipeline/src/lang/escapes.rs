//! Undoes the escapes in quoted texts, for those who asked for it; by default a backslash stays in a text, as in Logstash.
use super::ast::{Call, Expr, Item, Node, Raw, RawRvalue, Rvalue, Text};

/// Undoes the escapes in every quoted text of a tree: values, keys of hashes, texts in conditions. Regular expressions and
/// names of options stay as they are.
pub(crate) fn undo(text: &mut Text) {
    for section in &mut text.sections {
        items(&mut section.body);
    }
}

fn items(body: &mut [Item]) {
    for item in body {
        match item {
            Item::Plugin(call) => self::call(call),
            Item::If(branches) => {
                for arm in &mut branches.arms {
                    if let Some(condition) = &mut arm.condition {
                        self::condition(condition);
                    }
                    items(&mut arm.body);
                }
                items(branches.otherwise.as_deref_mut().unwrap_or_default());
            }
        }
    }
}

fn call(call: &mut Call) {
    call.settings.iter_mut().for_each(|setting| node(&mut setting.value));
}

/// Undoes the escapes in one value.
pub(super) fn undo_in(value: &mut Node) {
    node(value);
}

fn node(node: &mut Node) {
    match &mut node.value {
        Raw::Text(text) => *text = undone(text),
        Raw::List(items) => items.iter_mut().for_each(self::node),
        Raw::Hash(entries) => entries.iter_mut().for_each(|(key, value)| {
            self::node(key);
            self::node(value);
        }),
        Raw::Plugin(call) => self::call(call),
        Raw::Word(_) | Raw::Number(_) => {}
    }
}

fn condition(condition: &mut Expr) {
    match condition {
        Expr::Chain(_, all) => all.iter_mut().for_each(self::condition),
        Expr::Not(inner) => self::condition(inner),
        // The text after `=~` is a text to Logstash's parser, too.
        Expr::Compare { left, right, .. }
        | Expr::Match { left, right, .. }
        | Expr::In { left, right, .. } => {
            operand(left);
            operand(right);
        }
        Expr::Value(value) => operand(value),
    }
}

fn operand(operand: &mut Rvalue) {
    match &mut operand.value {
        RawRvalue::Text(text) => *text = undone(text),
        RawRvalue::List(all) => all.iter_mut().for_each(self::operand),
        RawRvalue::Number(_) | RawRvalue::Field(_) | RawRvalue::Regexp(_) => {}
    }
}

/// A text with its escapes undone; a backslash before any other character stays.
fn undone(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some(quoted @ ('"' | '\'' | '\\')) => out.push(quoted),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('0') => out.push('\0'),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone_and_other_backslashes_stay() {
        for (written, wanted) in [
            (r#"The computer says, \"No\""#, r#"The computer says, "No""#),
            (r"It\'s \\ \n\r\t\0", "It's \\ \n\r\t\0"),
            (r"\d+\.\w \é", r"\d+\.\w \é"),
            (r"\\n", r"\n"),
            ("\\", "\\"),
        ] {
            assert_eq!(undone(written), wanted, "{written}");
        }
    }
}
