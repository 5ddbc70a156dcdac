//! Carries out what people order: each order has one answer, given once what has to outlive the scheduler is stored.
use super::effects::{Effect, OrderId, Phase};
use super::generation::Generation;
use super::rollout::{Count, Frees, How, Ordered, Rollout, RolloutEnd, Standing, plan};
use super::{Core, Launch};
use crate::ids::{AgentId, Moment};
use std::collections::{BTreeMap, BTreeSet};
use web::order::{Canary, Limit, Order, OrderDone, OrderRefused, Upgrade};

/// The answer to an order, or the word that it follows once something is stored.
type Answer = Result<Option<OrderDone>, OrderRefused>;

impl Core {
    /// A person gave an order. The answer is an [`Effect::Answer`], now or later.
    pub fn ordered(&mut self, now: Moment, id: OrderId, order: Order) {
        let answer = match order {
            Order::Upgrade(upgrade) => self.order_upgrade(now, id, upgrade),
            Order::Pause => self.order_pause(id),
            Order::Resume => self.order_resume(now, id),
            Order::Abort => self.order_abort(id),
            Order::RollBack => self.order_roll_back(now, id),
            Order::TearDown { framework } => self.order_teardown(now, id, &framework),
        };
        match answer {
            Ok(Some(done)) => self.answer_order(id, Ok(done)),
            Ok(None) => {}
            Err(refused) => self.answer_order(id, Err(refused)),
        }
    }

    /// Gives an order its answer.
    pub(super) fn answer_order(&mut self, id: OrderId, result: Result<OrderDone, OrderRefused>) {
        self.out.push(Effect::Answer(id, result));
    }

    fn order_upgrade(&mut self, now: Moment, id: OrderId, upgrade: Upgrade) -> Answer {
        let to = self.rollouts.own().clone();
        let standings = self.standings(now, &to);
        let canaries = match &upgrade.canary {
            Some(canary) => Some(self.canaries(canary, &standings)?),
            None => None,
        };
        if upgrade.dry_run {
            return Ok(Some(OrderDone::Planned(plan(
                &standings,
                canaries.as_ref(),
                upgrade.max_unavailable,
                (&to, |agent: &AgentId| self.way_of(agent, &self.rules.spec)),
            ))));
        }
        self.nothing_is_being_stored()?;
        let newest = self.rollouts.newest();
        if newest.is_some_and(|rollout| rollout.is_under_way() && rollout.to == to && !rollout.rolls_back) {
            return refused(&format!(
                "a rollout of generation {to} is under way already; `logherd upgrade status` says how far it is"
            ));
        }
        let pinned = newest.is_some_and(|rollout| rollout.rolls_back);
        let count = Count::of(&standings);
        if count.old == 0 && !pinned {
            let text =
                format!("{} nodes run generation {to} already: there is nothing to replace", count.done);
            return Ok(Some(OrderDone::Done(text)));
        }
        let rollout = Rollout {
            from: self.most_common(&to),
            to: to.clone(),
            rolls_back: false,
            max_unavailable: upgrade.max_unavailable,
            canary: upgrade.canary,
            canaries,
            pause_after_canary: upgrade.pause_after_canary,
            paused: false,
            ended: None,
            began_at: now,
        };
        let text = format!(
            "rolling out generation {to} on {} nodes, with at most {} uncovered at once",
            count.old,
            rollout.max_unavailable.of(count.all())
        );
        self.begin(rollout, id, text);
        Ok(None)
    }

    fn order_pause(&mut self, id: OrderId) -> Answer {
        self.nothing_is_being_stored()?;
        let rollout = self.under_way()?;
        if rollout.paused {
            return refused("the rollout is paused already");
        }
        let text = format!("the rollout of generation {} is paused: no executor is replaced", rollout.to);
        self.change_rollout(|rollout| rollout.paused = true, Some(Ordered::new(id, text)));
        Ok(None)
    }

    fn order_resume(&mut self, now: Moment, id: OrderId) -> Answer {
        let paused = self.rollouts.newest().is_some_and(|rollout| rollout.is_under_way() && rollout.paused);
        let held = self.rollouts.breaker.open().is_some();
        let waiting = self.nodes.backing_off(now);
        let text = match paused {
            true => "the rollout goes on".to_owned(),
            false => format!("{waiting} waiting launches may begin now, as was ordered"),
        };
        if paused || held {
            self.nothing_is_being_stored()?;
            let mut record = self.rollouts.record().clone();
            record.held = None;
            if let Some(rollout) = record.rollout.as_mut().filter(|_| paused) {
                rollout.paused = false;
            }
            let ordered = Ordered { frees: Frees::All, ..Ordered::new(id, text) };
            self.store_rollouts(record, Some(ordered));
            return Ok(None);
        }
        // Pauses after failures are this scheduler's own: nothing of them is stored.
        if self.free_launches(now) == 0 {
            return refused("no rollout is paused and no launch waits, so there is nothing to resume");
        }
        self.decide(now, None, text.clone());
        Ok(Some(OrderDone::Done(text)))
    }

    fn order_abort(&mut self, id: OrderId) -> Answer {
        self.nothing_is_being_stored()?;
        let to = self.under_way()?.to.clone();
        let text = format!(
            "the rollout of generation {to} is aborted: no executor is replaced, and what is new stays"
        );
        self.change_rollout(
            |rollout| rollout.ended = Some(RolloutEnd::Aborted),
            Some(Ordered::new(id, text)),
        );
        Ok(None)
    }

    fn order_roll_back(&mut self, now: Moment, id: OrderId) -> Answer {
        self.nothing_is_being_stored()?;
        let Some(last) = self.rollouts.newest().cloned() else {
            return refused("there was no rollout that could be rolled back");
        };
        if last.rolls_back && last.ended != Some(RolloutEnd::Aborted) {
            let to = &last.to;
            return refused(&format!(
                "it was rolled back to generation {to} already; `logherd upgrade` takes the settings of this scheduler again"
            ));
        }
        let Some(to) = last.from.clone() else {
            return refused(
                "what ran before that rollout is not known; set the scheduler as it was, and `logherd upgrade`",
            );
        };
        let Some(spec) = self.spec_of(&to) else {
            return refused(&format!(
                "what generation {to} was made of is not known any more; set the scheduler as it was, and `logherd upgrade`"
            ));
        };
        if spec.authority != self.rules.spec.authority {
            return refused(&format!(
                "executors of generation {to} know another authority of the control plane than this scheduler has; set \
                 --control-tls and --control-ca-dir as they were (docs/tls.md), and `logherd upgrade`"
            ));
        }
        if !spec.can_be_had_beside(&self.rules.spec) {
            let program = &spec.program;
            return refused(&format!(
                "generation {to} ran {program} (version {}), which this scheduler does not serve: it serves its own program \
                 only. Start the scheduler of that version with the settings of then, and `logherd upgrade` there",
                spec.version
            ));
        }
        let count = Count::of(&self.standings(now, &to));
        let text = format!("rolling back to generation {to} on {} nodes", count.old);
        let rollout = Rollout {
            from: Some(last.to),
            to,
            rolls_back: true,
            max_unavailable: last.max_unavailable,
            canary: None,
            canaries: None,
            pause_after_canary: false,
            paused: false,
            ended: None,
            began_at: now,
        };
        self.begin(rollout, id, text);
        Ok(None)
    }

    /// Where a restart alone is to be enough, executors of other settings are replaced without an order.
    pub(super) fn upgrade_by_itself(&mut self, now: Moment) {
        let to = self.rollouts.own().clone();
        let other = |launch: &Launch| {
            launch.record.phase == Phase::Running && launch.record.lineage.generation.as_ref() != Some(&to)
        };
        let newest = self.rollouts.newest();
        if newest.is_some_and(|rollout| rollout.to == to || rollout.rolls_back)
            || !self.launches.values().any(other)
        {
            return;
        }
        let text = format!(
            "executors of before are replaced by generation {to}, as this scheduler's settings ask for"
        );
        self.decide(now, None, text);
        let rollout = Rollout {
            from: self.most_common(&to),
            to,
            rolls_back: false,
            max_unavailable: Limit::Percent(100),
            canary: None,
            canaries: None,
            pause_after_canary: false,
            paused: false,
            ended: None,
            began_at: now,
        };
        let mut record = self.rollouts.record().clone();
        record.rollout = Some(rollout);
        self.store_rollouts(record, None);
    }

    fn begin(&mut self, rollout: Rollout, id: OrderId, text: String) {
        let mut record = self.rollouts.record().clone();
        record.rollout = Some(rollout);
        let ordered = Ordered { frees: Frees::Few, ..Ordered::new(id, text) };
        self.store_rollouts(record, Some(ordered));
    }

    fn nothing_is_being_stored(&self) -> Result<(), OrderRefused> {
        match self.rollouts.is_storing() {
            true => Err(OrderRefused::NotNow(
                "something ordered before is still being stored; try again".to_owned(),
            )),
            false => Ok(()),
        }
    }

    fn under_way(&self) -> Result<&Rollout, OrderRefused> {
        let newest = self.rollouts.newest().filter(|rollout| rollout.is_under_way());
        newest.ok_or_else(|| OrderRefused::NotNow("no rollout is under way".to_owned()))
    }

    /// The generation that most executors are of, but for that one.
    fn most_common(&self, but: &Generation) -> Option<Generation> {
        let mut counts: BTreeMap<&Generation, usize> = BTreeMap::new();
        let generations =
            self.launches.values().filter_map(|launch| launch.record.lineage.generation.as_ref());
        for generation in generations.filter(|generation| *generation != but) {
            *counts.entry(generation).or_default() += 1;
        }
        counts.into_iter().max_by_key(|(_, count)| *count).map(|(generation, _)| generation.clone())
    }

    /// The nodes that a canary names, among those that would be replaced.
    pub(super) fn canaries(
        &self,
        canary: &Canary,
        standings: &[Standing],
    ) -> Result<BTreeSet<AgentId>, OrderRefused> {
        let old = standings.iter().filter(|node| node.how == How::Old).map(|node| &node.agent);
        let named: BTreeSet<AgentId> = match canary {
            Canary::Count(count) => old.take(*count).cloned().collect(),
            Canary::Attribute(name, value) => {
                let has = |agent: &&AgentId| self.nodes.has_attribute(agent, name, value);
                old.filter(has).cloned().collect()
            }
        };
        if named.is_empty() {
            return refused(&format!("no node that would be replaced is a canary by `{canary}`"));
        }
        Ok(named)
    }
}

fn refused<T>(why: &str) -> Result<T, OrderRefused> {
    Err(OrderRefused::NotNow(why.to_owned()))
}
