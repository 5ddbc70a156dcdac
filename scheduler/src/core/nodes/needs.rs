//! Marks what each node needs: whether it waits for an offer, and whether what was refused of it may keep one away.
//!
//! Mesos refuses by itself what is contained in what was refused before, for as long as was said. So an offer that would
//! do is kept away only where as much as that was refused: a node that had too little is offered more as soon as there is
//! more. And where an executor ends, more is free than was refused beside it, unless others take it first.
use super::{Node, Nodes};
use crate::ids::{AgentId, Moment};
use std::collections::BTreeSet;
use std::time::Duration;
use web::view::{Cause, Coverage};

/// So long Mesos may take to offer by itself what it can.
const BY_ITSELF: Duration = Duration::from_secs(3);
/// What is refused again right after it was asked for was not refused for want of anything on the node. It is asked for once
/// more after this pause, which is doubled each time,
const AGAIN: Duration = Duration::from_secs(1);
/// up to this: nothing tells when what stands in the way is gone.
const AGAIN_MAX: Duration = Duration::from_secs(10);
/// A node that nothing keeps offers from, as far as is known, and of which none comes: so long after it began to wait all
/// is asked for nevertheless, for a call may come to nothing.
const IN_DOUBT: Duration = Duration::from_secs(30);
/// That pause is doubled each time, up to this.
const IN_DOUBT_MAX: Duration = Duration::from_secs(600);

/// What a node needs.
#[derive(Debug, Default)]
pub(super) struct Need {
    /// Until when offers that would do may be kept away.
    kept_away_until: Moment,
    /// It waits for an offer; `None`: it needs none.
    waiting: Option<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    /// When all is asked for at the earliest if something keeps offers away.
    kept_away_at: Moment,
    /// The pause before the next time.
    again: Duration,
    /// When all is asked for although nothing is known to keep offers away.
    in_doubt_at: Moment,
    /// The pause before that.
    pause: Duration,
}

impl Nodes {
    /// So much of a node was refused until then that an executor would have fitted in.
    pub(in crate::core) fn refused(&mut self, agent: &AgentId, until: Moment) {
        if let Some(node) = self.by_agent.get_mut(agent) {
            node.need.kept_away_until = node.need.kept_away_until.max(until);
        }
    }

    /// Whether a node waits for an offer that does not come by itself. Those in `beside` wait although they have an executor.
    pub(in crate::core) fn need_asking(&mut self, now: Moment, beside: &BTreeSet<AgentId>) -> bool {
        let needs = |(agent, node): (&AgentId, &mut Node)| {
            let beside = !beside.is_empty() && beside.contains(agent);
            node.needs_asking(beside, now).then_some(())
        };
        // All of them are looked at: each notes since when it waits.
        self.by_agent.iter_mut().filter_map(needs).count() > 0
    }

    /// Everything that was refused is offered again.
    pub(in crate::core) fn asked(&mut self, now: Moment) {
        for node in self.by_agent.values_mut() {
            node.need.kept_away_until = Moment(0);
            if let Some(waiting) = &mut node.need.waiting {
                waiting.kept_away_at = now.after(waiting.again);
                waiting.again = (waiting.again * 2).min(AGAIN_MAX);
                waiting.pause = (waiting.pause * 2).min(IN_DOUBT_MAX);
                waiting.in_doubt_at = now.after(waiting.pause);
            }
        }
    }
}

impl Node {
    fn needs_asking(&mut self, beside: bool, now: Moment) -> bool {
        if !beside && !self.waits(now) {
            self.need.waiting = None;
            return false;
        }
        let began = || Waiting {
            kept_away_at: now.after(BY_ITSELF),
            again: AGAIN,
            in_doubt_at: now.after(IN_DOUBT),
            pause: IN_DOUBT,
        };
        let waiting = self.need.waiting.get_or_insert_with(began);
        if self.need.kept_away_until > now {
            waiting.kept_away_at <= now
        } else {
            waiting.in_doubt_at <= now && self.may_be_offered()
        }
    }

    /// Whether an offer would be used.
    fn waits(&self, now: Moment) -> bool {
        self.slot.is_none()
            && self.not_before <= now
            && matches!(self.cause.coverage(), Coverage::NotOffered | Coverage::BackingOff)
    }

    /// Whether there is no known reason for which no offer comes, or for which the next one comes by itself.
    fn may_be_offered(&self) -> bool {
        use Cause::{
            ExecutorEnding, Gpus, HeldBack, NoMultiRole, RemoteRegion, ReservedToOthers, RoleNotAllowed,
            TooFewResources,
        };
        !matches!(
            self.cause,
            TooFewResources
                | ReservedToOthers
                | RoleNotAllowed
                | Gpus
                | RemoteRegion
                | NoMultiRole
                | ExecutorEnding
                | HeldBack
        )
    }
}
