//! Lets others see what a pipeline does, as long as they like.
use super::disk_queue::{Gauge, QueueLevel};
use super::meter::PluginFigures;
use super::tally::{Counters, State, Tally};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;

/// What can be seen of a pipeline; it may outlive it.
#[derive(Clone, Debug)]
pub struct View {
    pub(super) id: String,
    pub(super) tally: Arc<Tally>,
    pub(super) gauge: Option<Arc<Gauge>>,
    pub(super) state: watch::Receiver<State>,
    pub(super) started: Instant,
    pub(super) dead_letters_max: u64,
}

impl View {
    /// The id of the pipeline.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What went through it so far.
    pub fn counters(&self) -> Counters {
        self.tally.read()
    }

    /// What each of its plugins did, in the order written.
    pub fn plugins(&self) -> Vec<PluginFigures> {
        self.tally.plugins()
    }

    /// How it is.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// How full its disk queue is, if it has one.
    pub fn queue(&self) -> Option<QueueLevel> {
        self.gauge.as_ref().map(|gauge| gauge.read())
    }

    /// When it was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// The most bytes of its dead letters.
    pub fn dead_letters_max(&self) -> u64 {
        self.dead_letters_max
    }
}
