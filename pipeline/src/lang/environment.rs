//! Fills `${NAME}` and `${NAME:default}` in, after parsing, so that no value can change what a text says.
use super::ast::{Call, Expr, Item, Node, Raw, RawRvalue, Rvalue, Span, Text};
use super::problems::Problems;

/// Where values of variables come from.
#[derive(Clone, Copy)]
pub(crate) enum Environment<'a> {
    /// From here.
    Known(&'a dyn Fn(&str) -> Option<String>),
    /// From the environment of another machine: any variable may have any value there.
    Elsewhere,
}

/// Fills in every value of a tree; a variable that is not set and has no default is an error.
pub(crate) fn substitute(text: &mut Text, environment: Environment<'_>, problems: &mut Problems) {
    let mut filler = Filler { environment, problems };
    for section in &mut text.sections {
        filler.items(&mut section.body);
    }
}

struct Filler<'a, 'p> {
    environment: Environment<'a>,
    problems: &'p mut Problems,
}

impl Filler<'_, '_> {
    fn items(&mut self, items: &mut [Item]) {
        for item in items {
            match item {
                Item::Plugin(call) => self.call(call),
                Item::If(branches) => {
                    for arm in &mut branches.arms {
                        if let Some(condition) = &mut arm.condition {
                            self.condition(condition);
                        }
                        self.items(&mut arm.body);
                    }
                    self.items(branches.otherwise.as_deref_mut().unwrap_or_default());
                }
            }
        }
    }

    fn call(&mut self, call: &mut Call) {
        for setting in &mut call.settings {
            self.node(&mut setting.value);
        }
    }

    fn node(&mut self, node: &mut Node) {
        match &node.value {
            Raw::Text(text) => {
                let whole = whole_variable(text);
                if let Some(filled) = self.text(text, |from, to| node.part(from, to)) {
                    node.value = refined(filled.text, whole, node.span);
                    node.substituted = true;
                    node.unknown = filled.unknown;
                }
            }
            Raw::Word(_) | Raw::Number(_) => {}
            Raw::List(_) | Raw::Hash(_) | Raw::Plugin(_) => self.inside(node),
        }
    }

    fn inside(&mut self, node: &mut Node) {
        match &mut node.value {
            Raw::List(items) => items.iter_mut().for_each(|item| self.node(item)),
            Raw::Hash(entries) => entries.iter_mut().for_each(|(_, value)| self.node(value)),
            Raw::Plugin(call) => self.call(call),
            Raw::Text(_) | Raw::Word(_) | Raw::Number(_) => {}
        }
    }

    fn condition(&mut self, condition: &mut Expr) {
        match condition {
            Expr::Chain(_, items) => items.iter_mut().for_each(|item| self.condition(item)),
            Expr::Not(inner) => self.condition(inner),
            Expr::Compare { left, right, .. }
            | Expr::Match { left, right, .. }
            | Expr::In { left, right, .. } => {
                self.operand(left);
                self.operand(right);
            }
            Expr::Value(value) => self.operand(value),
        }
    }

    fn operand(&mut self, operand: &mut Rvalue) {
        let span = operand.span;
        match &mut operand.value {
            // In a condition a variable is the whole of a text, as in Logstash.
            RawRvalue::Text(text) if whole_variable(text) => {
                if let Some(filled) = self.text(text, |_, _| span) {
                    operand.value = RawRvalue::Text(filled.text);
                    operand.substituted = true;
                    operand.unknown = filled.unknown;
                }
            }
            RawRvalue::Text(text) => {
                let variables = text.split("${").skip(1);
                if variables.into_iter().any(|from| variable(from).is_some()) {
                    self.problems
                        .warning(span, "variables inside of a text are not filled in here")
                        .hint("in conditions a variable is the whole of a text, as in Logstash: \"${NAME}\"");
                }
            }
            RawRvalue::List(items) => items.iter_mut().for_each(|item| self.operand(item)),
            RawRvalue::Number(_) | RawRvalue::Field(_) | RawRvalue::Regexp(_) => {}
        }
    }

    /// The text with its variables filled in; `None` when it has none.
    fn text(&mut self, text: &str, place: impl Fn(usize, usize) -> super::ast::Span) -> Option<Filled> {
        let mut filled = String::new();
        let mut found = false;
        let mut unknown = false;
        let mut rest = text;
        while let Some((before, from)) = rest.split_once("${") {
            filled.push_str(before);
            let Some((variable, after)) = variable(from) else {
                filled.push_str("${");
                rest = from;
                continue;
            };
            found = true;
            let value = match self.environment {
                Environment::Known(environment) => {
                    let value = environment(variable.name);
                    if let Some(value) = &value {
                        self.problems.hide(place(0, text.len()), value.clone());
                    }
                    value.or_else(|| variable.default.map(str::to_owned))
                }
                Environment::Elsewhere => {
                    unknown = true;
                    Some(String::new())
                }
            };
            match value {
                Some(value) => filled.push_str(&value),
                None => {
                    unknown = true;
                    let start = text.len() - from.len() - "${".len();
                    self.problems
                        .error(
                            place(start, text.len() - after.len()),
                            format!("the variable `{}` is not set", variable.name),
                        )
                        .hint(format!(
                            "set it in the environment, or give a default: `${{{}:default}}`",
                            variable.name
                        ));
                }
            }
            rest = after;
        }
        filled.push_str(rest);
        found.then_some(Filled { text: filled, unknown })
    }
}

/// Whether a text is one variable and nothing else.
fn whole_variable(text: &str) -> bool {
    text.strip_prefix("${").and_then(variable).is_some_and(|(_, after)| after.is_empty())
}

/// A value with variables filled in: quotes around it are left out, and one variable that holds `[a, 'b']` is an array.
fn refined(text: String, whole: bool, span: Span) -> Raw {
    let unquoted = without_quotes(&text);
    let inside = unquoted.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match inside {
        Some(inside) if whole => {
            let item = |item: &str| Node {
                substituted: true,
                ..Node::new(Raw::Text(without_quotes(item.trim()).to_owned()), span)
            };
            Raw::List(inside.split(',').map(item).collect())
        }
        _ => Raw::Text(unquoted.to_owned()),
    }
}

/// A text without the single quotes, and then without the double quotes around it.
fn without_quotes(text: &str) -> &str {
    ['\'', '"'].into_iter().fold(text, |text, quote| {
        text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)).unwrap_or(text)
    })
}

struct Filled {
    text: String,
    /// The value of a variable is not known.
    unknown: bool,
}

struct Variable<'a> {
    name: &'a str,
    default: Option<&'a str>,
}

/// Reads `NAME}` or `NAME:default}`; returns what is after it too.
fn variable(from: &str) -> Option<(Variable<'_>, &str)> {
    let (inside, after) = from.split_once('}')?;
    let (name, default) = match inside.split_once(':') {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '.'));
    let goes_on_well = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
    (begins_well && goes_on_well).then_some((Variable { name, default }, after))
}
