//! Reads the configuration language: text → tree → settings with the environment filled in.
//!
//! - [`cursor`], [`parse`], [`values`], [`condition`], [`precedence`], [`recover`]: the parser; [`ast`]: the tree.
//! - [`environment`]: `${NAME}` and `${NAME:default}`; [`escapes`]: `\n` and the like, where they are asked for.
//! - [`kinds`], [`quantity`]: settings' values as the types that options declare.
//! - [`problems`], [`suggest`]: what is wrong, and what was probably meant.
//!
//! What a tree means (which plugins and options there are, what a plan is made of) is [`crate::check`]'s.

pub(crate) mod absent;
pub(crate) mod ast;
mod condition;
mod cursor;
pub(crate) mod environment;
pub(crate) mod escapes;
pub(crate) mod kinds;
pub(crate) mod parse;
mod precedence;
pub(crate) mod problems;
mod quantity;
mod recover;
pub(crate) mod suggest;
#[cfg(test)]
pub(crate) mod tests;
mod values;
pub(crate) mod written;

use crate::plugins;
use crate::spec::Kind;

/// The value that a default in a plugin's declaration stands for.
///
/// Declarations are part of the program; a test reads every default of every plugin.
pub(crate) fn default_value(text: &str) -> ast::Node {
    let mut problems = problems::Problems::default();
    let mut value = parse::parse_value(text, &mut problems)
        .unwrap_or_else(|| ast::Node::new(ast::Raw::Text(text.to_owned()), ast::Span::default()));
    // It is written as a literal of Rust.
    escapes::undo_in(&mut value);
    value
}

/// The section that a plugin of this name belongs in.
fn section_of_plugin(name: &str) -> Option<&'static str> {
    [Kind::Filter, Kind::Output, Kind::Input]
        .into_iter()
        .find(|kind| plugins::find(*kind, name).is_some() || absent::advice(*kind, name).is_some())
        .map(Kind::word)
}
