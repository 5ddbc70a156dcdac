//! Models dynamic reservations, in portions of what one executor needs, and executors that wait for the data of another one.
use super::{Mesos, Task};
use crate::core::cluster::TaskState;
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
        self.take_out(agent, role, portions(pieces))
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
