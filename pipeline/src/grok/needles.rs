//! Finds the literal texts without which a regular expression cannot match, so that most misses cost no matching.
use memchr::memmem::Finder;

use crate::ruby::syntax::{self, Node};

/// A shorter literal rejects little for what it costs to look for it; it is looked for where there is no longer one.
const SHORT: usize = 2;
/// More literals reject hardly more.
const MOST: usize = 4;

/// Literals that must all occur, in this order, one behind the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Needles {
    finders: Vec<Finder<'static>>,
}

impl Needles {
    /// The literals of a regular expression of Ruby's syntax; none when in doubt.
    pub(super) fn of(regex: &str) -> Self {
        let mut literals = Literals::default();
        if let Some(tree) = syntax::read(regex) {
            literals.collect(&tree);
            literals.cut();
        }
        let least = if literals.done.iter().any(|literal| literal.len() >= SHORT) { SHORT } else { 1 };
        let long_enough = |(_, literal): &(usize, Vec<u8>)| literal.len() >= least;
        let mut kept: Vec<_> = literals.done.into_iter().enumerate().filter(long_enough).collect();
        kept.sort_by_key(|(_, literal)| std::cmp::Reverse(literal.len()));
        kept.truncate(MOST);
        kept.sort_by_key(|(place, _)| *place);
        Self { finders: kept.iter().map(|(_, literal)| Finder::new(literal).into_owned()).collect() }
    }

    /// Whether `text` has all of them in order; if not, it does not match.
    pub(super) fn may_match(&self, text: &str) -> bool {
        let mut rest = text.as_bytes();
        self.finders.iter().all(|finder| match finder.find(rest) {
            Some(at) => {
                rest = rest.get(at + finder.needle().len()..).unwrap_or_default();
                true
            }
            None => false,
        })
    }

    #[cfg(test)]
    pub(super) fn literals(&self) -> Vec<&str> {
        self.finders.iter().filter_map(|f| std::str::from_utf8(f.needle()).ok()).collect()
    }
}

/// The literals found so far.
#[derive(Default)]
struct Literals {
    done: Vec<Vec<u8>>,
    /// What may still get longer.
    current: Vec<u8>,
}

impl Literals {
    fn cut(&mut self) {
        self.done.push(std::mem::take(&mut self.current));
    }

    /// Collects what every match of `node` has.
    fn collect(&mut self, node: &Node) {
        match node {
            Node::Byte(byte) => self.current.push(*byte),
            Node::All(items) => items.iter().for_each(|item| self.collect(item)),
            Node::Group { node, .. } | Node::Atomic(node) => self.collect(node),
            // The first round stands right behind what came before; behind the last may stand anything.
            Node::Repeat { node, min: 1.., .. } => {
                self.collect(node);
                self.cut();
            }
            _ => self.cut(),
        }
    }
}
