//! Tells what parts of a regular expression are like: what they can begin with, how long they are, which groups they have.
use super::program::First;
use super::set::Set;
use super::syntax::Node;

/// Whether `node` is `known` when that is unwrapped.
pub(super) fn is_inside(mut known: &Node, node: &Node) -> bool {
    while let Node::All(items) = known
        && let [only] = items.as_slice()
    {
        known = only;
    }
    known == node
}

/// The set of a node that is one character.
pub(super) fn one_of(node: &Node) -> Option<Set> {
    match node {
        Node::Byte(byte) => Some(Set::NONE.with(*byte)),
        Node::Set(set) => Some(*set),
        Node::All(items) => match items.as_slice() {
            [one] => one_of(one),
            _ => None,
        },
        Node::Either(ways) => {
            ways.iter().map(one_of).try_fold(Set::NONE, |all, set| set.map(|set| all.or(set)))
        }
        _ => None,
    }
}

pub(super) fn byte_of(node: &Node) -> Option<u8> {
    match node {
        Node::Byte(byte) => Some(*byte),
        _ => None,
    }
}

/// What `node` can begin with when `follow` comes behind it.
pub(super) fn first(node: &Node, follow: First) -> First {
    match node {
        Node::All(items) => items.iter().rev().fold(follow, |follow, item| first(item, follow)),
        Node::Either(ways) => {
            let none = First { set: Set::NONE, end: false };
            ways.iter().map(|way| first(way, follow)).fold(none, First::or)
        }
        Node::Byte(byte) => First { set: Set::NONE.with(*byte), end: false },
        Node::Set(set) => First { set: *set, end: false },
        Node::Repeat { node, min, max, .. } => {
            let once = first(node, follow);
            match (min, max) {
                (_, 0) => follow,
                (0, _) => once.or(follow),
                // Where one round can be empty another may begin with what only that one can.
                _ => once,
            }
        }
        Node::Group { node, .. } | Node::Atomic(node) => first(node, follow),
        // Nothing comes after the end, and what must not come does not come.
        Node::End => First { set: Set::NONE, end: true },
        Node::Look { ahead: true, negative: true, node } => match one_of(node) {
            Some(set) => First { set: follow.set.without(set), end: follow.end },
            None => follow,
        },
        Node::Look { .. } | Node::Begin | Node::WordEdge { .. } => follow,
    }
}

pub(super) fn can_be_empty(node: &Node) -> bool {
    match node {
        Node::All(items) => items.iter().all(can_be_empty),
        Node::Either(ways) => ways.iter().any(can_be_empty),
        Node::Byte(_) | Node::Set(_) => false,
        Node::Repeat { node, min, .. } => *min == 0 || can_be_empty(node),
        Node::Group { node, .. } | Node::Atomic(node) => can_be_empty(node),
        Node::Look { .. } | Node::Begin | Node::End | Node::WordEdge { .. } => true,
    }
}

/// The number of characters that `node` matches, if it is always the same.
pub(super) fn width(node: &Node) -> Option<usize> {
    match node {
        Node::All(items) => items.iter().map(width).sum(),
        Node::Either(ways) => {
            let mut widths = ways.iter().map(width);
            let one = widths.next()??;
            widths.all(|other| other == Some(one)).then_some(one)
        }
        Node::Byte(_) | Node::Set(_) => Some(1),
        Node::Repeat { node, min, max, .. } if min == max => {
            width(node)?.checked_mul(usize::try_from(*min).ok()?)
        }
        Node::Repeat { .. } => None,
        Node::Group { node, .. } | Node::Atomic(node) => width(node),
        Node::Look { .. } | Node::Begin | Node::End | Node::WordEdge { .. } => Some(0),
    }
}

/// Whether `node` matches anywhere, if need be the empty text.
pub(super) fn is_optional(node: &Node) -> bool {
    match node {
        Node::All(items) => items.iter().all(is_optional),
        Node::Repeat { min, .. } => *min == 0,
        Node::Group { node, .. } => is_optional(node),
        _ => false,
    }
}

pub(super) fn has_names(node: &Node) -> bool {
    match node {
        Node::All(items) | Node::Either(items) => items.iter().any(has_names),
        Node::Group { name: Some(_), .. } => true,
        Node::Group { node, .. }
        | Node::Atomic(node)
        | Node::Repeat { node, .. }
        | Node::Look { node, .. } => has_names(node),
        _ => false,
    }
}

pub(super) fn count_groups(node: &Node, named: bool) -> usize {
    match node {
        Node::All(items) | Node::Either(items) => items.iter().map(|item| count_groups(item, named)).sum(),
        Node::Group { name, node } => usize::from(!named || name.is_some()) + count_groups(node, named),
        Node::Atomic(node) | Node::Repeat { node, .. } | Node::Look { node, .. } => count_groups(node, named),
        _ => 0,
    }
}

/// Whether a match can only begin where the text begins.
pub(super) fn is_anchored(node: &Node) -> bool {
    match node {
        Node::All(items) => items.first().is_some_and(is_anchored),
        Node::Either(ways) => ways.iter().all(is_anchored),
        Node::Group { node, .. } | Node::Atomic(node) => is_anchored(node),
        Node::Begin => true,
        _ => false,
    }
}
