//! Holds the laws: what must be true of each call when it is decided, and of everything in the end.
use super::{Held, World};
use crate::core::cluster::TaskState;
use crate::core::effects::{Call, LaunchRecord, Phase};
use crate::ids::{AgentId, OfferId, TaskId};
use std::collections::BTreeSet;
use web::view::Coverage;

impl World {
    pub(super) fn must(&self, holds: bool, law: impl FnOnce() -> String) -> Result<(), String> {
        if holds { Ok(()) } else { Err(law()) }
    }

    /// What must be true of each call when it is decided.
    pub(super) fn check(&mut self, call: &Call) -> Result<(), String> {
        *self.seen.entry(crate::main_loop::name(call)).or_default() += 1;
        self.must(self.connected, || format!("a call without a subscription: {call:?}"))?;
        match call {
            Call::Accept { offers, launch, .. } => {
                let stored =
                    self.store.get(&launch.task).is_some_and(|record| record.token_hash == launch.token_hash);
                self.must(stored, || "ACCEPT before its intent was stored".into())?;
                self.must(self.framework == self.client.0, || {
                    "ACCEPT before the framework was stored".into()
                })?;
                let of: BTreeSet<_> =
                    offers.iter().filter_map(|id| self.answerable.get(id)).cloned().collect();
                let one = of.len() == 1 && of.iter().all(|(agent, _)| *agent == launch.agent);
                self.must(one, || format!("ACCEPT of offers of {of:?} for {}", launch.agent))?;
                let begun = self.torn_down.is_some() || self.core.is_tearing_down();
                self.must(!begun, || "ACCEPT while the framework is torn down".to_owned())?;
                self.check_overlap(launch)?;
                self.check_held(launch)?;
                self.answer(offers)
            }
            Call::Decline { offers, .. } | Call::Unreserve { offers, .. } => self.answer(offers),
            Call::Acknowledge { task, agent, uuid } => self.check_acknowledgement(task, agent, uuid),
            Call::Kill(task, agent) => {
                let replaced = self.store.get(task).is_some_and(|record| record.lineage.replaced);
                if replaced && self.torn_down.is_none() && !self.mesos.planned.contains(agent) {
                    self.check_replacement(task, agent)?;
                }
                let ping_pong = self.unreachable.as_ref() == Some(task);
                self.must(!ping_pong, || {
                    format!("KILL of {task}, which cannot be reached: that is what the answer says")
                })?;
                self.spares_ours(task)
            }
            Call::Shutdown(executor, _) => {
                let task = self.mesos.tasks.iter().find(|(_, task)| task.executor == *executor);
                let task = task.map(|(task, _)| task.clone());
                task.map_or(Ok(()), |task| self.spares_ours(&task))
            }
            Call::Teardown => self.check_teardown(),
            Call::Revive
            | Call::Reconcile(_)
            | Call::Message { .. }
            | Call::AcceptInverse { .. }
            | Call::DeclineInverse { .. } => Ok(()),
        }
    }

    /// As often as received, and after the store held what the update says.
    fn check_acknowledgement(&mut self, task: &TaskId, agent: &AgentId, uuid: &[u8]) -> Result<(), String> {
        let key = (task.clone(), agent.clone(), uuid.to_vec());
        let receipt = self.receipts.get_mut(&key).filter(|receipt| receipt.owed + receipt.allowed > 0);
        let Some(receipt) = receipt else {
            return Err(format!("an update of {task} was acknowledged more often than received"));
        };
        let from = if receipt.owed > 0 { &mut receipt.owed } else { &mut receipt.allowed };
        *from -= 1;
        let says = match receipt.state {
            Some(TaskState::Staging) => Held::Phase(Phase::Launching),
            Some(TaskState::Starting) => Held::Phase(Phase::Starting),
            Some(TaskState::Running) => Held::Phase(Phase::Running),
            Some(TaskState::Killing) => Held::Phase(Phase::Killing),
            _ => Held::Nothing,
        };
        // A stranger, or what was a launch until Mesos called it lost, is not stored any more.
        let is_over = |held: &[Held]| held.last() == Some(&Held::Nothing);
        let stored = self.history.get(task).is_none_or(|held| held.contains(&says) || is_over(held));
        self.must(stored, || format!("an update of {task} was acknowledged before the store held {says:?}"))
    }

    /// Only what the store never held, or Mesos called lost, or is on a machine that goes away, is ended: everything
    /// else does its work.
    fn spares_ours(&self, task: &TaskId) -> Result<(), String> {
        let stays = |agent: &AgentId| !self.mesos.planned.contains(agent);
        let known = self.mesos.tasks.get(task);
        let lives = known.is_some_and(|known| !known.state.is_terminal() && stays(&known.agent));
        let ours = self.history.contains_key(task) && !self.reported.contains(task);
        let on_purpose = self.is_ended_on_purpose(task);
        self.must(!(lives && ours) || on_purpose, || format!("{task} is ours and should live"))
    }

    /// A launch beside another one says so in the store, and there is a rollout.
    fn check_overlap(&mut self, launch: &LaunchRecord) -> Result<(), String> {
        let Some(beside) = &launch.lineage.beside else { return Ok(()) };
        *self.seen.entry("overlap").or_default() += 1;
        let stored = self.store.get(&launch.task).and_then(|record| record.lineage.beside.as_ref());
        self.must(stored == Some(beside), || "the overlap is not stored".to_owned())?;
        self.must(self.rollouts.rollout.is_some(), || "an overlap without a rollout".to_owned())
    }

    /// What must be true after a teardown.
    fn nothing_is_left(&self) -> Result<(), String> {
        // A master that takes the call and does nothing is told to people, and not waited for.
        let removed = self.client.0.as_ref().is_none_or(|id| self.mesos.is_removed(id));
        let lives = || format!("torn down, and live: {:?}", self.mesos.tasks);
        self.must(self.mesos.tasks.is_empty() || !removed, lives)?;
        self.must(self.store.is_empty(), || format!("torn down, and stored: {:?}", self.store))?;
        self.must(self.framework.is_none(), || format!("torn down, and stored: {:?}", self.framework))
    }

    fn answer(&mut self, offers: &[OfferId]) -> Result<(), String> {
        for id in offers {
            let known = self.answerable.remove(id).is_some();
            self.must(known, || format!("answered offer {id}, which is gone"))?;
        }
        Ok(())
    }

    /// What must be true in the end.
    pub(super) fn settled(&self) -> Result<(), String> {
        if self.over {
            return self.nothing_is_left();
        }
        self.must(self.torn_down.is_none(), || "it is not torn down yet".to_owned())?;
        let registered = self.framework.is_some() && self.framework == self.client.0;
        self.must(registered, || {
            format!("not registered: {:?}, {:?} is stored", self.client, self.framework)
        })?;
        let rollouts = self.core.rollouts(self.now);
        let state = rollouts.rollout.map(|rollout| (rollout.state, rollout.detail));
        let goes_on = state.as_ref().is_some_and(|(state, _)| state == "rolling" || state == "canary");
        self.must(!goes_on, || format!("the rollout does not end: {state:?}"))?;
        let waits = self.ordered.iter().next();
        self.must(waits.is_none(), || format!("never answered: {waits:?}"))?;
        let kept = self.mesos.reserved.iter().find(|((agent, role), count)| {
            **count > 0 && self.mesos.is_eligible(agent) && self.is_to_be_given_up(agent, role)
        });
        self.must(kept.is_none(), || format!("reserved, and used by nobody: {kept:?}"))?;
        for agent in &self.mesos.agents {
            let on_it: Vec<_> = self.mesos.tasks.values().filter(|task| task.agent == agent.id).collect();
            let wanted = usize::from(self.mesos.is_eligible(&agent.id));
            self.must(on_it.len() == wanted, || {
                format!("{} should have {wanted} executors: {on_it:?}", agent.id)
            })?;
        }
        self.must(self.mesos.is_quiet(), || format!("a task is not running: {:?}", self.mesos.tasks))?;
        let live: Vec<&TaskId> = self.mesos.tasks.keys().collect();
        let stored: Vec<&TaskId> = self.store.keys().collect();
        self.must(stored == live, || format!("{stored:?} is stored, {live:?} is live"))?;
        for node in self.core.nodes(self.now) {
            let runs = self.mesos.is_eligible(&node.agent);
            self.must((node.coverage == Coverage::Running) == runs, || format!("not as it is: {node:?}"))?;
        }
        for task in self.mesos.tasks.values() {
            self.must(self.attached.contains(&task.executor), || format!("not attached: {task:?}"))?;
        }
        let owed = self.receipts.iter().find(|(_, receipt)| receipt.owed > 0);
        self.must(owed.is_none(), || format!("never acknowledged: {owed:?}"))?;
        let kept = self.answerable.keys().next();
        self.must(kept.is_none(), || format!("an offer is kept for ever: {kept:?}"))
    }
}
