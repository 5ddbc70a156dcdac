//! Holds the patterns that have names: the stock ones, and those a configuration adds.
use std::collections::HashMap;
use std::sync::LazyLock;

use crate::lang::suggest::closest;

/// The stock patterns, one file for each subject.
const STOCK: [&str; 11] = [
    include_str!("../../patterns/core"),
    include_str!("../../patterns/httpd"),
    include_str!("../../patterns/linux-syslog"),
    include_str!("../../patterns/java"),
    include_str!("../../patterns/databases"),
    include_str!("../../patterns/ruby"),
    include_str!("../../patterns/proxies"),
    include_str!("../../patterns/aws"),
    include_str!("../../patterns/servers"),
    include_str!("../../patterns/firewalls"),
    include_str!("../../patterns/zeek"),
];

static STOCK_BY_NAME: LazyLock<HashMap<&str, &str>> =
    LazyLock::new(|| STOCK.iter().flat_map(|file| definitions(file)).collect());

/// Patterns by name. A later definition of a name replaces an earlier one, and a stock one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Library {
    own: HashMap<String, String>,
    /// Whether there may be names that are not known yet, because their files are elsewhere.
    open: bool,
}

impl Library {
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
        own.or_else(|| STOCK_BY_NAME.get(name).copied()).or(self.open.then_some(".*"))
    }

    /// The name that was probably meant by `typed`.
    pub(super) fn closest(&self, typed: &str) -> Option<&str> {
        closest(typed, self.own.keys().map(String::as_str).chain(STOCK_BY_NAME.keys().copied()))
    }

    /// The names of all stock patterns.
    #[cfg(test)]
    pub(crate) fn stock_names() -> impl Iterator<Item = &'static str> {
        STOCK_BY_NAME.keys().copied()
    }
}

fn definitions(file: &str) -> impl Iterator<Item = (&str, &str)> {
    file.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let line = line.trim_start();
        let (name, pattern) = line.split_once(|c: char| c.is_ascii_whitespace())?;
        Some((name, pattern.trim_start()))
    })
}
