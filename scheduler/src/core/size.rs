//! Counts what the core keeps in memory: it grows with the agents and with nothing else.
use super::{Core, Stage};

/// How much a core keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Launches that are alive, as far as is known.
    pub launches: usize,
    /// Launches that ended and that the store has still to forget.
    pub over: usize,
    /// Agents of which something is known.
    pub nodes: usize,
    /// Offers that wait for the framework id to be stored.
    pub held_offers: usize,
    /// Changes that are on their way to the store.
    pub changes: usize,
    /// Executors by id.
    pub executors: usize,
    /// Tasks whose state Mesos was asked for and has not answered.
    pub asked: usize,
    /// Decisions kept for people.
    pub decisions: usize,
}

impl Core {
    /// How much it keeps.
    pub fn size(&self) -> Size {
        let over = self.launches.values().filter(|launch| matches!(launch.stage, Stage::Over)).count();
        Size {
            launches: self.launches.len() - over,
            over,
            nodes: self.nodes.len(),
            held_offers: self.held.len(),
            changes: self.waiting.len(),
            executors: self.executors.len(),
            asked: self.reconciler.unanswered(),
            decisions: self.decisions.len(),
        }
    }
}
