//! Compiles the tree of a regular expression into steps for texts that are ASCII and one line, which logs mostly are.
//!
//! What makes it fast is looking one character ahead: wherever there is a choice, the next character mostly leaves one
//! way open, and then nothing needs to be remembered for going back. The matches are the same as Oniguruma's, found in the
//! same order; a test compares the two.
use std::collections::HashMap;

use super::nature::{
    byte_of, can_be_empty, count_groups, first, has_names, is_anchored, is_inside, is_optional, one_of, width,
};
use super::set::{Run, Set};
use super::syntax::{How, NO_LIMIT, Node};
use crate::grok::shortcuts::Shortcut;

/// How many steps a program may have: repeated groups are written out.
const LONGEST: usize = 20_000;

/// A compiled expression.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(super) steps: Vec<Step>,
    /// How many groups it has, with the whole match.
    groups: usize,
    /// What a match can begin with.
    pub(super) first: First,
    /// A match can only begin where the text does.
    pub(super) anchored: bool,
}

/// One step. Those with a `set` take characters of it.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// The match, or the group that looks around, ends here.
    Accept,
    Byte(u8),
    Bytes(Box<[u8]>),
    One(Set),
    /// As many as there are.
    Span {
        run: Run,
        min: u32,
        max: u32,
    },
    /// As many as there are; if that leads nowhere, fewer, of those counts after which `follow` comes.
    Greedy {
        run: Run,
        min: u32,
        max: u32,
        follow: First,
    },
    /// As few as possible, of those counts after which `follow` comes.
    Lazy {
        set: Set,
        min: u32,
        max: u32,
        follow: First,
    },
    /// Goes on, or if that leads nowhere, from `other`.
    Branch {
        here: First,
        there: First,
        other: usize,
    },
    Jump(usize),
    /// Notes the place as an end of a group.
    Note(usize),
    Begin,
    End,
    WordEdge {
        negative: bool,
    },
    /// The next character is, or is not, of the set.
    Ahead {
        set: Set,
        negative: bool,
    },
    /// The same of the last character.
    Behind {
        set: Set,
        negative: bool,
    },
    /// Matches the steps up to `Accept`, starting `back` characters before; then goes on at `after` from the old place.
    Look {
        back: usize,
        negative: bool,
        after: usize,
    },
    /// Matches the steps up to `Accept` in the first way there is; then goes on at `after`.
    Atomic {
        after: usize,
    },
    /// Goes on at `after` where the shortcut says that the steps in between lead first; else, or if that leads nowhere
    /// and it is not the last thing to try, takes these steps.
    Shortcut {
        shortcut: Shortcut,
        last: bool,
        after: usize,
    },
}

/// What may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct First {
    pub(super) set: Set,
    /// The end of the text may.
    pub(super) end: bool,
}

impl First {
    const ANYTHING: Self = Self { set: Set::ALL, end: true };

    pub(super) fn or(self, other: Self) -> Self {
        Self { set: self.set.or(other.set), end: self.end || other.end }
    }

    fn meets(self, other: Self) -> bool {
        self.set.meets(other.set) || self.end && other.end
    }

    #[inline]
    pub(super) fn allows(self, next: Option<&u8>) -> bool {
        match next {
            Some(byte) => self.set.has(*byte),
            None => self.end,
        }
    }
}

impl Program {
    /// Compiles a tree, with shortcuts for some of its parts; `None` when it needs more than there is here.
    pub(crate) fn compile(tree: &Node, shortcuts: &[(Node, Shortcut)]) -> Option<Self> {
        let named = has_names(tree);
        let (steps, runs) = (Vec::new(), HashMap::new());
        let mut compiler = Compiler { steps, groups: 1, named, choices: 0, runs, shortcuts };
        compiler.node(tree, First::ANYTHING, false)?;
        compiler.steps.push(Step::Accept);
        let Compiler { steps, groups, .. } = compiler;
        Some(Self { steps, groups, first: first(tree, First::ANYTHING), anchored: is_anchored(tree) })
    }
}

impl Program {
    /// How many groups it has, with the whole match.
    pub(crate) fn groups(&self) -> usize {
        self.groups
    }
}

struct Compiler<'s> {
    steps: Vec<Step>,
    groups: usize,
    /// Groups without names are not kept when others have names.
    named: bool,
    /// How many steps leave more than one way open.
    choices: usize,
    /// Sets made ready; the same few come again and again.
    runs: HashMap<Set, Run>,
    shortcuts: &'s [(Node, Shortcut)],
}

impl Compiler<'_> {
    /// Adds the steps of `node`, after which `follow` comes. `last`: nothing behind it can make it try another way.
    fn node(&mut self, node: &Node, follow: First, last: bool) -> Option<()> {
        if self.steps.len() > LONGEST {
            return None;
        }
        match self.shortcut(node) {
            Some(shortcut) => {
                let start = self.steps.len();
                self.steps.push(Step::Shortcut { shortcut, last, after: 0 });
                self.choices += usize::from(!last);
                self.long_way(node, follow, last)?;
                self.aim(start);
                Some(())
            }
            None => self.long_way(node, follow, last),
        }
    }

    /// The shortcut for `node`; none when it has groups to be kept.
    fn shortcut(&self, node: &Node) -> Option<Shortcut> {
        let (_, shortcut) = self.shortcuts.iter().find(|(known, _)| is_inside(known, node))?;
        (count_groups(node, self.named) == 0).then_some(*shortcut)
    }

    /// Adds the steps of `node` itself.
    fn long_way(&mut self, node: &Node, follow: First, last: bool) -> Option<()> {
        match node {
            Node::All(items) => self.all(items, follow, last)?,
            Node::Either(ways) => match one_of(node) {
                Some(set) => self.steps.push(Step::One(set)),
                None => self.either(ways, follow, last)?,
            },
            Node::Byte(byte) => self.steps.push(Step::Byte(*byte)),
            Node::Set(set) => self.steps.push(Step::One(*set)),
            Node::Repeat { node, min, max, how } => match one_of(node) {
                Some(set) => self.span(set, (*min, *max, *how), follow, last),
                None => self.repeat(node, (*min, *max, *how), follow)?,
            },
            Node::Group { name, node } if self.named && name.is_none() => self.node(node, follow, last)?,
            Node::Group { node, .. } => {
                let number = self.groups;
                self.groups += 1;
                self.steps.push(Step::Note(2 * number));
                self.node(node, follow, last)?;
                self.steps.push(Step::Note(2 * number + 1));
            }
            Node::Atomic(node) => self.atomic(node)?,
            Node::Look { ahead, negative, node } => self.look(*ahead, *negative, node)?,
            Node::Begin => self.steps.push(Step::Begin),
            Node::End => self.steps.push(Step::End),
            Node::WordEdge { negative } => self.steps.push(Step::WordEdge { negative: *negative }),
        }
        Some(())
    }

    fn all(&mut self, items: &[Node], follow: First, last: bool) -> Option<()> {
        let mut follows = vec![follow];
        for item in items.iter().rev() {
            let after = *follows.last()?;
            follows.push(first(item, after));
        }
        follows.pop();
        let mut rest = items;
        while let [item, behind @ ..] = rest {
            let literal: Vec<u8> = rest.iter().map_while(byte_of).collect();
            if literal.len() > 1 {
                rest = rest.get(literal.len()..)?;
                follows.truncate(follows.len() - literal.len());
                self.steps.push(Step::Bytes(literal.into()));
                continue;
            }
            self.node(item, follows.pop()?, last && behind.iter().all(is_optional))?;
            rest = behind;
        }
        Some(())
    }

    fn either(&mut self, ways: &[Node], follow: First, last: bool) -> Option<()> {
        let firsts: Vec<First> = ways.iter().map(|way| first(way, follow)).collect();
        let mut ends = Vec::new();
        for (number, way) in ways.iter().enumerate() {
            let later = firsts.get(number + 1..)?.iter().copied().reduce(First::or);
            let branch = later.map(|later| self.branch(*firsts.get(number).unwrap_or(&later), later));
            self.node(way, follow, last)?;
            if let Some(branch) = branch {
                ends.push(self.steps.len());
                self.steps.push(Step::Jump(0));
                self.aim(branch);
            }
        }
        ends.into_iter().for_each(|jump| self.aim(jump));
        Some(())
    }

    /// Adds a branch, to be aimed.
    fn branch(&mut self, here: First, there: First) -> usize {
        self.choices += usize::from(here.meets(there));
        self.steps.push(Step::Branch { here, there, other: 0 });
        self.steps.len() - 1
    }

    /// Aims the branch or jump at `at` at the next step.
    fn aim(&mut self, at: usize) {
        let next = self.steps.len();
        match self.steps.get_mut(at) {
            Some(
                Step::Branch { other: to, .. }
                | Step::Jump(to)
                | Step::Look { after: to, .. }
                | Step::Atomic { after: to }
                | Step::Shortcut { after: to, .. },
            ) => *to = next,
            _ => debug_assert!(false, "only steps with an aim are aimed"),
        }
    }

    /// Repeats one character.
    fn span(&mut self, set: Set, (min, max, how): (u32, u32, How), follow: First, last: bool) {
        // After any count but the largest comes a character of the set; where that cannot follow, the largest it is.
        let clear = !set.meets(follow.set);
        let mut run = || self.runs.entry(set).or_insert_with(|| Run::of(set)).clone();
        let step = match how {
            How::Lazy if min < max && !clear && !last => Step::Lazy { set, min, max, follow },
            How::Greedy if min < max && !clear && !last => Step::Greedy { run: run(), min, max, follow },
            How::Lazy if last => Step::Span { run: run(), min, max: min },
            _ => Step::Span { run: run(), min, max },
        };
        self.choices += usize::from(matches!(step, Step::Greedy { .. } | Step::Lazy { .. }));
        self.steps.push(step);
    }

    /// Repeats anything else.
    fn repeat(&mut self, node: &Node, (min, max, how): (u32, u32, How), follow: First) -> Option<()> {
        if how == How::Possessive {
            let node = Box::new(node.clone());
            return self.atomic(&Node::Repeat { node, min, max, how: How::Greedy });
        }
        if max > 1 && can_be_empty(node) {
            return None;
        }
        let groups = self.groups;
        let (lazy, once) = (how == How::Lazy, first(node, First::ANYTHING));
        let again = if max == NO_LIMIT { first(node, follow).or(follow) } else { once.or(follow) };
        for left in (0..min).rev() {
            self.groups = groups;
            let after = match left {
                0 if max > min => again,
                0 => follow,
                _ => once,
            };
            self.node(node, after, false)?;
        }
        let mut exits = Vec::new();
        if max == NO_LIMIT {
            self.groups = groups;
            let start = self.steps.len();
            exits.push(self.option(first(node, again), follow, lazy));
            self.node(node, again, false)?;
            self.steps.push(Step::Jump(start));
        } else {
            for _ in min..max {
                self.groups = groups;
                exits.push(self.option(first(node, once.or(follow)), follow, lazy));
                self.node(node, once.or(follow), false)?;
            }
        }
        exits.into_iter().for_each(|exit| self.aim(exit));
        // A node that is repeated no times has groups all the same.
        self.groups = groups + count_groups(node, self.named);
        Some(())
    }

    /// Adds the choice between what comes next and leaving, which is to be aimed.
    fn option(&mut self, inside: First, follow: First, lazy: bool) -> usize {
        if !lazy {
            return self.branch(inside, follow);
        }
        let stay = self.branch(follow, inside);
        self.steps.push(Step::Jump(0));
        self.aim(stay);
        self.steps.len() - 1
    }

    fn atomic(&mut self, node: &Node) -> Option<()> {
        let (start, choices, groups) = (self.steps.len(), self.choices, self.groups);
        // The first way through is taken even when what comes behind cannot follow it.
        self.node(node, First::ANYTHING, true)?;
        if self.choices == choices {
            return Some(());
        }
        // It leaves ways open, which are to be forgotten at its end.
        self.steps.truncate(start);
        (self.choices, self.groups) = (choices, groups);
        self.steps.push(Step::Atomic { after: 0 });
        self.node(node, First::ANYTHING, true)?;
        self.choices = choices;
        self.steps.push(Step::Accept);
        self.aim(start);
        Some(())
    }

    fn look(&mut self, ahead: bool, negative: bool, node: &Node) -> Option<()> {
        if let Some(set) = one_of(node) {
            self.steps.push(if ahead {
                Step::Ahead { set, negative }
            } else {
                Step::Behind { set, negative }
            });
            return Some(());
        }
        let back = if ahead { 0 } else { width(node)? };
        let (start, choices) = (self.steps.len(), self.choices);
        self.steps.push(Step::Look { back, negative, after: 0 });
        self.node(node, First::ANYTHING, true)?;
        self.choices = choices;
        self.steps.push(Step::Accept);
        self.aim(start);
        Some(())
    }
}
