//! When nothing goes wrong any more, all has to be well again soon: one executor on each agent, and everything told.
use crate::laws::BOUND;
use crate::world::{BEGAN, Event, World, note};
use local::deterministic::Answer;
use prost::Message;
use proto::mesos::v1::agent as operator_api;
use scheduler::core::effects::Phase;
use std::collections::BTreeSet;
use std::time::Duration;
use web::view::Coverage;

/// So long it has to stay well.
const STAYS: Duration = Duration::from_secs(30);

impl World {
    /// Looks once a second whether all is well.
    pub(crate) fn look(&mut self) {
        self.queue.add(self.now + Duration::from_secs(1), Event::Look);
        match self.well() {
            Ok(()) => {
                if self.well_since.is_none() {
                    note!(self, "all is well");
                    self.well_since = Some(self.now);
                }
            }
            Err(why) => {
                if self.well_since.take().is_some() || self.not_well != why {
                    note!(self, "not well: {why}");
                }
                self.not_well = why;
            }
        }
        if self.now > BEGAN + self.plan.trouble + BOUND {
            let why = self.not_well.clone();
            self.broken(format!("not well {BOUND:?} after the last fault: {why}"));
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.well_since.is_some_and(|since| self.now - since >= STAYS)
    }

    /// How long it took until all was well.
    pub(crate) fn settled_after(&self) -> Duration {
        self.well_since.unwrap_or(self.now).saturating_sub(BEGAN + self.plan.trouble)
    }

    fn well(&mut self) -> Result<(), String> {
        if self.store.is_over() {
            return self.is_torn_down();
        }
        let run = self.elected.ok_or("nobody leads")?;
        let leading = (0..self.processes.len()).filter(|p| self.processes[*p].office.is_some()).count();
        if leading != 1 {
            return Err(format!("{leading} schedulers lead"));
        }
        let now = self.now;
        let office = self.office(run).ok_or("the elected one does not lead")?;
        if !office.scheduler.is_subscribed() {
            return Err("it is not subscribed".to_owned());
        }
        if !office.saves.is_empty() || office.writing || !office.calls.is_empty() || office.call_under_way {
            return Err("something is on its way".to_owned());
        }
        if office.ledger.unacknowledged() > 0 {
            return Err("updates are not acknowledged".to_owned());
        }
        let moment = office.moment(now);
        if let Some((state, detail)) = office.scheduler.rollout(moment)
            && matches!(state.as_str(), "rolling" | "canary")
        {
            return Err(format!("the rollout goes on: {detail}"));
        }
        let nodes = office.scheduler.nodes(moment);
        let mut running = BTreeSet::new();
        for machine in 0..self.machines.len() {
            let (agent, executor) = self.one_executor(machine, run)?;
            let node = nodes.iter().find(|node| node.agent.0 == agent);
            let node = node.ok_or_else(|| format!("agent {agent} is not known"))?;
            let seen = node.executor.as_ref().map(|executor| executor.0.as_str());
            if node.coverage != Coverage::Running || seen != Some(&executor) {
                return Err(format!("agent {agent} runs {executor}, and is taken for {node:?}"));
            }
            running.extend(node.task.clone());
        }
        // An agent that never comes back stays unreachable until an operator says otherwise.
        let record = |task| self.store.launches.get(task);
        if let Some(task) = running.iter().find(|task| record(task).is_none_or(|r| r.phase != Phase::Running))
        {
            return Err(format!("{task} runs, and the store does not say so"));
        }
        let others = self.store.launches.values().filter(|record| !running.contains(&record.task));
        match others.into_iter().find(|record| record.phase != Phase::Unreachable) {
            Some(record) => Err(format!("the store holds {record:?}, which does not run")),
            None => Ok(()),
        }
    }

    /// The one executor of a machine that runs, attached to the leader, with everything told.
    fn one_executor(&mut self, machine: usize, run: (usize, u64)) -> Result<(String, String), String> {
        let agent = self.machines[machine].agent_id().ok_or_else(|| format!("agent {machine} has no id"))?;
        // Executors of a framework that was removed are orphans if the master forgot the removal: nobody can end them.
        let framework = self.store.framework.as_ref().map(|id| id.0.clone()).unwrap_or_default();
        let here = self.machines[machine].executors.values().filter(|e| e.agent_id == agent);
        let mine: Vec<_> = here.filter(|e| e.framework == framework).collect();
        let [executor] = mine.as_slice() else {
            return Err(format!("agent {machine} has {} executors", mine.len()));
        };
        if !executor.running {
            return Err(format!("{} does not run yet", executor.id));
        }
        if executor.attached != Some(run) {
            return Err(format!("{} is not attached to the leader", executor.id));
        }
        let id = executor.id.clone();
        let kind = Some(operator_api::call::Type::GetTasks.into());
        let body = operator_api::Call { r#type: kind, ..Default::default() }.encode_to_vec();
        let answer = self.agent_step(machine, None, |agent, now| agent.operated(&body, now));
        let Some(Answer::Response(bytes)) = answer else { return Err(format!("agent {machine} is away")) };
        let response = operator_api::Response::decode(bytes.as_slice()).map_err(|e| e.to_string())?;
        let over = response.get_tasks.unwrap_or_default().terminated_tasks;
        let over = over.iter().filter(|task| task.framework_id.value == framework).count();
        if over > 0 {
            return Err(format!("agent {machine} waits for {over} acknowledgements"));
        }
        Ok((agent, id))
    }
}
