//! Finds named things in text by grok patterns: regular expressions of Ruby's syntax with `%{NAME:field}` in them.
//!
//! - [`stock`]: the patterns that come with the program.
//! - [`library`]: the patterns that have names, stock and one's own.
//! - [`expand`]: a pattern with all names replaced by what they stand for.
//! - [`needles`]: the literal texts without which a pattern cannot match, to tell most misses quickly.
//! - [`shortcuts`]: quick ways through the patterns that most logs are full of.
//! - [`matcher`]: a compiled pattern. Everything about the regex engine is in it and in [`crate::ruby`].
pub(crate) mod expand;
pub(crate) mod library;
pub(crate) mod matcher;
mod needles;
pub(crate) mod shortcuts;
mod stock;

#[cfg(test)]
mod tests;
