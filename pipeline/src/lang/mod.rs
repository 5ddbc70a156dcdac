//! Reads the configuration language: text → tree → checked options, with every problem at once.

pub(crate) mod ast;
pub(crate) mod kinds;
pub(crate) mod problems;
pub(crate) mod quantity;
pub(crate) mod suggest;

/// The value that a default in a plugin's declaration stands for.
pub(crate) fn default_value(_text: &str) -> ast::Node {
    todo!()
}
