//! Models dynamic reservations, in portions of what one executor needs, and executors that wait for the data of another one.
use super::{Mesos, ROLES, Standing, Task};
use crate::core::cluster::{Leftover, TaskState};
use crate::core::resources::{Form, Piece, Reserved, Taken, Thousandths};
use crate::core::tests;
use crate::ids::{AgentId, TaskId};

/// What an executor needs, reserved for us.
pub(super) fn portion() -> [Piece; 2] {
    let amounts = [("cpus", 210), ("mem", 129_000)];
    let pieces = tests::offer("", "", 0.0).pieces;
    amounts.map(|(name, amount)| {
        let piece = pieces.iter().find(|piece| piece.name == name).unwrap().clone();
        Piece { amount: Thousandths(amount), reserved: Reserved::Labelled("logherd".into()), ..piece }
    })
}

fn portions(pieces: &[Piece]) -> usize {
    pieces.iter().filter(|piece| piece.name == "cpus").count()
}

impl Mesos {
    /// Whether a launch uses what its call was to reserve or unreserve first, which is denied and dropped without a word.
    pub(super) fn is_denied(&self, role: &str, taken: &Taken) -> bool {
        self.denied.contains(role) && taken.portions().any(|portion| portion.form != Form::AsOffered)
    }

    /// Reserving for a role, and giving it up, is denied from now on, or allowed again.
    pub(in crate::core::model) fn deny(&mut self, role: &'static str) {
        self.ever_denied = true;
        if !self.denied.remove(role) {
            self.denied.insert(role);
        }
    }

    /// What is reserved for roles that the framework does not have any more, as the operator API tells it.
    pub(in crate::core::model) fn leftovers(&self) -> Vec<Leftover> {
        let gone = ROLES.iter().skip(self.roles);
        let on = |role: &'static str| {
            let registered = self.agents.iter().filter(|agent| agent.standing == Standing::Registered);
            registered.map(move |agent| (agent.id.clone(), role))
        };
        gone.flat_map(|role| on(role)).filter_map(|(agent, role)| self.leftover(agent, role)).collect()
    }

    fn leftover(&self, agent: AgentId, role: &'static str) -> Option<Leftover> {
        let free = self.reserved.get(&(agent.clone(), role)).is_some_and(|count| *count > 0);
        let in_use = self.is_in_use(&agent, role);
        let host = format!("host-of-{agent}");
        (free || in_use).then(|| Leftover { agent, host, role: role.to_owned(), in_use, entries: Vec::new() })
    }

    /// Whether some task uses what is reserved for a role.
    pub(in crate::core::model) fn is_in_use(&self, agent: &AgentId, role: &str) -> bool {
        self.tasks.values().any(|task| task.agent == *agent && task.reserved == Some(role))
    }

    /// The master is asked, as by an operator, to give up what is reserved for a role.
    pub(in crate::core::model) fn give_up(&mut self, left: &Leftover) -> Result<(), String> {
        let role = ROLES.into_iter().find(|role| *role == left.role).ok_or("no such role")?;
        if self.denied.contains(role) {
            return Err("403 Forbidden".to_owned());
        }
        if self.is_in_use(&left.agent, role) || !self.is_up(&left.agent) {
            return Err("409 Conflict".to_owned());
        }
        self.reserved.remove(&(left.agent.clone(), role));
        Ok(())
    }

    /// What a launch does with reservations: gives some up, uses some, makes one. Gives the role in which it has one.
    pub(super) fn use_reserved(
        &mut self,
        agent: &AgentId,
        role: &'static str,
        taken: &Taken,
    ) -> Result<Option<&'static str>, String> {
        self.unreserve(agent, role, &taken.unreserve)?;
        let ours = |piece: &Piece| matches!(piece.reserved, Reserved::Labelled(_));
        let as_is: Vec<Piece> = taken
            .portions()
            .filter(|portion| portion.form == Form::AsOffered && ours(&portion.piece))
            .map(|portion| portion.piece.clone())
            .collect();
        let free = self.reserved.get(&(agent.clone(), role)).copied().unwrap_or_default();
        if free > usize::from(!as_is.is_empty()) {
            self.put_off(agent, role);
        }
        if !as_is.is_empty() {
            self.take_out(agent, role, 1)?;
            return Ok(Some(role));
        }
        Ok(taken.portions().any(|portion| portion.form == Form::Reserved).then_some(role))
    }

    pub(super) fn unreserve(
        &mut self,
        agent: &AgentId,
        role: &'static str,
        pieces: &[Piece],
    ) -> Result<(), String> {
        if self.denied.contains(role) {
            self.put_off(agent, role);
            return Ok(());
        }
        self.take_out(agent, role, portions(pieces))
    }

    /// What is not given up now is not offered again before its filter ends. Where nothing was denied it is given up.
    fn put_off(&mut self, agent: &AgentId, role: &'static str) {
        if self.ever_denied {
            self.put_off.insert((agent.clone(), role));
        }
    }

    fn take_out(&mut self, agent: &AgentId, role: &'static str, count: usize) -> Result<(), String> {
        let free = self.reserved.entry((agent.clone(), role)).or_default();
        *free = free.checked_sub(count).ok_or_else(|| format!("{agent} has no {count} reservations"))?;
        Ok(())
    }

    /// What a task used is nobody's again; what was reserved stays so.
    pub(super) fn give_back(&mut self, task: &mut Task) {
        if let Some(role) = task.reserved.take() {
            *self.reserved.entry((task.agent.clone(), role)).or_default() += 1;
        }
    }

    /// The executor of a task says that it waits for the data of another one.
    pub(super) fn wait(&mut self, task: &TaskId) {
        self.counter += 1;
        let Some(known) = self.tasks.get_mut(task).filter(|known| !known.waits) else { return };
        known.waits = true;
        known.updates.push_back((TaskState::Starting, true, self.counter));
        if known.updates.len() == 1 {
            self.send(task);
        }
    }
}
