//! Models what becomes of ACCEPT: a launch on good offers, beside nothing but what its intent names.
use super::{Event, Mesos, ROLES, Task};
use crate::core::cluster::{TaskState, Update};
use crate::core::effects::Call;
use crate::core::tests;
use crate::ids::Moment;
use std::collections::VecDeque;

impl Mesos {
    /// ACCEPT is processed. The error says which law it breaks.
    pub(super) fn accept(&mut self, call: Call, now: Moment) -> Result<(), String> {
        let Call::Accept { offers, launch, token, refuse, taken, spec } = call else { return Ok(()) };
        let held: Vec<_> = offers.iter().map(|id| self.offers.remove(id)).collect();
        let same = held
            .iter()
            .all(|of| of.as_ref().is_some_and(|of| of.0 == launch.agent && held[0].as_ref() == Some(of)));
        if !same {
            self.tell(&launch.task, &launch.agent, TaskState::Dropped, None);
            return Ok(());
        }
        let role = held[0].as_ref().map_or(ROLES[0], |of| of.1);
        self.refuse(held.into_iter().flatten(), refuse, now);
        let before = launch.lineage.beside.as_ref().and_then(|task| self.tasks.get(task));
        let before = before.map(|task| &task.executor);
        let alive = self.alive(&launch.agent);
        if alive.iter().any(|executor| Some(executor) != before) {
            return Err(format!("{} is launched on {} beside {alive:?}", launch.executor, launch.agent));
        }
        if self.is_denied(role, &taken) {
            self.invalid += 1;
            let refused = tests::update(&launch.task, &launch.agent.0, TaskState::Error, None);
            self.say(Event::Update(Update { reason: "TASK_INVALID".into(), ..refused }));
            return Ok(());
        }
        let (agent, executor, control) = (launch.agent, launch.executor, launch.control);
        let reserved = self.use_reserved(&agent, role, &taken)?;
        let draining = self.agents.iter().any(|known| known.id == agent && known.draining);
        let task = Task {
            agent,
            executor,
            token,
            control,
            state: TaskState::Staging,
            works: false,
            waits: false,
            flushes: 0,
            version: spec.version.parse().unwrap(),
            reserved,
            updates: VecDeque::new(),
        };
        self.tasks.insert(launch.task.clone(), task);
        if draining {
            self.update(&launch.task, TaskState::Dropped);
        }
        Ok(())
    }
}
