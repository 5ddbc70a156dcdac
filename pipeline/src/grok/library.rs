//! Holds the patterns that have names: the stock ones, and those a configuration adds.
use std::collections::HashMap;

use super::stock::{Definitions, ECS_PATTERNS, LEGACY_PATTERNS};
use crate::ecs::Ecs;
use crate::lang::suggest::closest;

/// Patterns by name. A later definition of a name replaces an earlier one, and a stock one.
#[derive(Clone, Debug)]
pub(crate) struct Library {
    stock: &'static Definitions,
    own: HashMap<String, String>,
    /// Whether there may be names that are not known yet, because their files are elsewhere.
    open: bool,
}

impl Library {
    /// The stock patterns, whose fields are named in one way or the other.
    pub(crate) fn stock(names: Ecs) -> Self {
        Self { stock: names.choose(&*LEGACY_PATTERNS, &*ECS_PATTERNS), own: HashMap::new(), open: false }
    }

    /// Defines a pattern.
    pub(crate) fn define(&mut self, name: impl Into<String>, pattern: impl Into<String>) {
        self.own.insert(name.into(), pattern.into());
    }

    /// Defines the patterns of a file: a name, blanks, a pattern on each line; `#` starts a comment line.
    pub(crate) fn define_all(&mut self, file: &str) {
        for (name, pattern) in definitions(file) {
            self.define(name, pattern);
        }
    }

    /// Says that names may be missing, so that an unknown one is no mistake: any text stands in for it.
    pub(crate) fn leave_open(&mut self) {
        self.open = true;
    }

    /// What `name` stands for.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let own = self.own.get(name).map(String::as_str);
        own.or_else(|| self.stock.get(name).map(String::as_str)).or(self.open.then_some(".*"))
    }

    /// The name that was probably meant by `typed`.
    pub(super) fn closest(&self, typed: &str) -> Option<&str> {
        closest(typed, self.own.keys().chain(self.stock.keys()).map(String::as_str))
    }

    /// The names of all stock patterns.
    #[cfg(test)]
    pub(crate) fn stock_names(&self) -> impl Iterator<Item = &'static str> {
        self.stock.keys().map(String::as_str)
    }
}

fn definitions(file: &str) -> impl Iterator<Item = (&str, &str)> {
    file.lines().map(str::trim_start).filter(|line| !line.starts_with('#')).filter_map(|line| {
        let (name, pattern) = line.split_once(|c: char| c.is_ascii_whitespace())?;
        Some((name, pattern.trim_start()))
    })
}
