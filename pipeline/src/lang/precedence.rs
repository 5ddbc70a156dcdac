//! Makes a tree of conditions that are joined without parentheses, in Logstash's way.
//!
//! `and` binds closer than `or`, with one exception that configurations out there rely on: of three or more conditions
//! joined by `and`, only the last two are taken together before an `or` that follows. `a and b and c or d` is
//! `a and ((b and c) or d)`.
use super::ast::{BoolOp, Expr};
use super::parse::MAX_DEPTH;

/// A tree of conditions.
pub(super) struct Joined {
    pub(super) tree: Expr,
    /// The number, from 0, of the first operator that is not read as in other languages.
    pub(super) unusual: Option<usize>,
}

/// Joins conditions; `None` when the tree would be too deep.
pub(super) fn join(first: Expr, rest: Vec<(BoolOp, Expr)>) -> Option<Joined> {
    if rest.iter().all(|(op, _)| matches!(op, BoolOp::And | BoolOp::Or)) {
        return and_or(first, rest);
    }
    by_rank(first, rest).map(|tree| Joined { tree, unusual: None })
}

/// Joins by `and` and `or`, from the back: what follows an `or` belongs to the last two conditions before it.
fn and_or(first: Expr, rest: Vec<(BoolOp, Expr)>) -> Option<Joined> {
    let mut groups: Vec<(usize, Vec<Expr>)> = vec![(0, vec![first])];
    for (nth, (op, next)) in rest.into_iter().enumerate() {
        match (op, groups.last_mut()) {
            (BoolOp::And, Some((_, group))) => group.push(next),
            _ => groups.push((nth, vec![next])),
        }
    }
    let (mut or_at, last) = groups.pop()?;
    // The conditions of one `or`, the last one first.
    let mut any = vec![all(last)];
    let mut unusual = None;
    let mut depth = 0;
    while let Some((at, mut group)) = groups.pop() {
        let pair = group.split_off(group.len().saturating_sub(2));
        any.push(all(pair));
        if !group.is_empty() {
            depth += 1;
            if depth > MAX_DEPTH {
                return None;
            }
            any.reverse();
            group.push(Expr::Chain(BoolOp::Or, std::mem::take(&mut any)));
            any.push(all(group));
            unusual = Some(or_at);
        }
        or_at = at;
    }
    any.reverse();
    let tree = if any.len() == 1 { any.pop()? } else { Expr::Chain(BoolOp::Or, any) };
    Some(Joined { tree, unusual })
}

fn all(mut group: Vec<Expr>) -> Expr {
    match group.len() {
        1 => group.remove(0),
        _ => Expr::Chain(BoolOp::And, group),
    }
}

/// Joins by any operators: `and` and `nand` first, then the others, equals from the left. Logstash takes `xor` and `nand`
/// between two conditions only.
fn by_rank(first: Expr, rest: Vec<(BoolOp, Expr)>) -> Option<Expr> {
    let mut loose: Option<(Expr, BoolOp)> = None;
    let mut close = first;
    // How often the tree gets deeper: where one operator's chain becomes an operand of the other's.
    let mut switches = 0;
    for (op, next) in rest {
        switches += match op {
            BoolOp::And | BoolOp::Nand => usize::from(matches!(&close, Expr::Chain(last, _) if *last != op)),
            BoolOp::Or | BoolOp::Xor => usize::from(loose.as_ref().is_some_and(|(_, last)| *last != op)),
        };
        if switches > MAX_DEPTH {
            return None;
        }
        match op {
            BoolOp::And | BoolOp::Nand => close = chain(close, op, next),
            BoolOp::Or | BoolOp::Xor => {
                let left = match loose.take() {
                    Some((left, earlier)) => chain(left, earlier, close),
                    None => close,
                };
                loose = Some((left, op));
                close = next;
            }
        }
    }
    Some(match loose {
        Some((left, op)) => chain(left, op, close),
        None => close,
    })
}

/// `left op right`, in the chain that `left` already is when it is one of the same operator made by this very fold.
fn chain(left: Expr, op: BoolOp, right: Expr) -> Expr {
    match left {
        Expr::Chain(last, mut items) if last == op => {
            items.push(right);
            Expr::Chain(op, items)
        }
        left => Expr::Chain(op, vec![left, right]),
    }
}
