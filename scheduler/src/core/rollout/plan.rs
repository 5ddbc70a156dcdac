//! Decides which executors are replaced next: never so many that more nodes are uncovered than may be.
use crate::core::generation::Generation;
use crate::ids::AgentId;
use std::collections::BTreeSet;
use web::order::{Action, Limit, Plan, PlannedNode, Way};

/// A node, as a rollout sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) agent: AgentId,
    pub(crate) host: String,
    /// The generation of its executor, if it has one and that is known.
    pub(crate) generation: Option<Generation>,
    pub(crate) how: How,
}

/// How a node stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// Its executor is new; proven once it has run and been attached for a while.
    New { proven: bool },
    /// Its executor is not, and runs.
    Old,
    /// The same, and a new one comes up beside it, or is about to; and how far that is.
    Overlaps(String),
    /// It should be covered and is not, and why.
    Uncovered(String),
    /// Nothing can be done there now, and why.
    Skipped(String),
}

/// How many nodes stand how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) done: usize,
    pub(crate) old: usize,
    /// Covered by an old one that is being replaced.
    pub(crate) overlaps: usize,
    /// Uncovered, or covered by what has not proven yet.
    pub(crate) unavailable: usize,
    pub(crate) skipped: usize,
}

impl Count {
    pub(crate) fn of<'a>(standings: impl IntoIterator<Item = &'a Standing>) -> Self {
        let mut count = Self::default();
        for standing in standings {
            match standing.how {
                How::New { proven: true } => count.done += 1,
                How::Old => count.old += 1,
                How::Overlaps(_) => count.overlaps += 1,
                How::New { proven: false } | How::Uncovered(_) => count.unavailable += 1,
                How::Skipped(_) => count.skipped += 1,
            }
        }
        count
    }

    /// Nodes that should be covered.
    pub(crate) fn all(&self) -> usize {
        self.done + self.old + self.overlaps + self.unavailable
    }
}

/// The nodes whose executors are to be replaced now: as if each of them, and those that are being replaced, were uncovered
/// already. `canaries`: only these may be replaced yet.
pub(crate) fn next(
    standings: &[Standing],
    canaries: Option<&BTreeSet<AgentId>>,
    limit: Limit,
) -> Vec<AgentId> {
    let count = Count::of(standings);
    let room = limit.of(count.all()).saturating_sub(count.unavailable + count.overlaps);
    let allowed = |agent: &AgentId| canaries.is_none_or(|canaries| canaries.contains(agent));
    let old = standings.iter().filter(|node| node.how == How::Old && allowed(&node.agent));
    old.take(room).map(|node| node.agent.clone()).collect()
}

/// What would happen with every node.
pub(crate) fn plan(
    standings: &[Standing],
    canaries: Option<&BTreeSet<AgentId>>,
    limit: Limit,
    (to, way): (&Generation, impl Fn(&AgentId) -> Way),
) -> Plan {
    let size = limit.of(Count::of(standings).all());
    let is_canary = |node: &&Standing| canaries.is_some_and(|canaries| canaries.contains(&node.agent));
    let old = || standings.iter().filter(|node| node.how == How::Old);
    let (mut nodes, mut batch) = (Vec::new(), 0);
    for first in [true, false] {
        for (n, node) in old().filter(|node| is_canary(node) == first).enumerate() {
            batch += usize::from(n % size == 0);
            let reason = match (&node.generation, first) {
                (Some(generation), true) => format!("a canary; runs generation {generation}"),
                (Some(generation), false) => format!("runs generation {generation}"),
                (None, true) => {
                    "a canary; runs a generation of before generations were told apart".to_owned()
                }
                (None, false) => "runs a generation of before generations were told apart".to_owned(),
            };
            let planned = planned(node, Action::Replace, Some(batch), reason);
            nodes.push(PlannedNode { way: Some(way(&node.agent)), ..planned });
        }
    }
    for node in standings {
        match &node.how {
            How::Old => {}
            How::Overlaps(how) => {
                nodes.push(planned(node, Action::Keep, None, format!("is being replaced: {how}")));
            }
            How::New { .. } => nodes.push(planned(node, Action::Keep, None, "new already".to_owned())),
            How::Uncovered(why) => {
                let reason = format!("not covered, its next launch is new anyway: {why}");
                nodes.push(planned(node, Action::Keep, None, reason));
            }
            How::Skipped(why) => nodes.push(planned(node, Action::Skip, None, why.clone())),
        }
    }
    Plan { to: to.0.clone(), batches: batch, nodes }
}

fn planned(node: &Standing, action: Action, batch: Option<usize>, reason: String) -> PlannedNode {
    PlannedNode {
        agent_id: node.agent.0.clone(),
        host: node.host.clone(),
        generation: node.generation.as_ref().map(|generation| generation.0.clone()),
        action,
        batch,
        way: None,
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn standing(n: usize, how: How) -> Standing {
        Standing { agent: AgentId(format!("a{n:03}")), host: format!("h{n}"), generation: None, how }
    }

    fn how() -> impl Strategy<Value = How> {
        prop_oneof![
            1 => Just(How::New { proven: true }),
            1 => Just(How::New { proven: false }),
            4 => Just(How::Old),
            1 => Just(How::Overlaps("waits".into())),
            1 => Just(How::Uncovered("backs off".into())),
            1 => Just(How::Skipped("unreachable".into())),
        ]
    }

    fn limit() -> impl Strategy<Value = Limit> {
        prop_oneof![(1..9usize).prop_map(Limit::Nodes), (1..=100u8).prop_map(Limit::Percent)]
    }

    proptest! {
        #[test]
        fn never_more_nodes_are_uncovered_than_may_be_unless_they_were_before(
            hows in prop::collection::vec(how(), 0..60), limit in limit(),
        ) {
            let standings: Vec<_> = hows.into_iter().enumerate().map(|(n, how)| standing(n, how)).collect();
            let count = Count::of(&standings);
            let ended = next(&standings, None, limit).len();
            prop_assert!(ended == 0 || count.unavailable + count.overlaps + ended <= limit.of(count.all()));
            // And none waits without need.
            let room = limit.of(count.all()).saturating_sub(count.unavailable + count.overlaps);
            prop_assert_eq!(ended, room.min(count.old));
        }

        #[test]
        fn a_plan_names_every_node_once_and_no_batch_is_larger_than_may_be(
            hows in prop::collection::vec(how(), 0..60), limit in limit(), canaries in 0..5usize,
        ) {
            let standings: Vec<_> = hows.into_iter().enumerate().map(|(n, how)| standing(n, how)).collect();
            let canaries: BTreeSet<AgentId> = standings.iter().take(canaries).map(|s| s.agent.clone()).collect();
            let plan = plan(&standings, Some(&canaries), limit, (&Generation("g".into()), |_: &AgentId| Way::Overlap));
            let named: BTreeSet<&str> = plan.nodes.iter().map(|node| node.agent_id.as_str()).collect();
            prop_assert_eq!((named.len(), plan.nodes.len()), (standings.len(), standings.len()));
            let size = limit.of(Count::of(&standings).all());
            for batch in 1..=plan.batches {
                let of = plan.nodes.iter().filter(|node| node.batch == Some(batch)).count();
                prop_assert!((1..=size).contains(&of), "batch {} has {}", batch, of);
            }
        }
    }

    #[test]
    fn before_the_canaries_have_proven_nothing_else_is_replaced() {
        let standings = [standing(0, How::Old), standing(1, How::Old), standing(2, How::Old)];
        let canaries = BTreeSet::from([AgentId("a001".into())]);
        assert_eq!(next(&standings, Some(&canaries), Limit::Nodes(3)), [AgentId("a001".into())]);
    }
}
