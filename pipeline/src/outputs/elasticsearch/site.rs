//! What senders of one output share, and who else may send beside the first.
use super::Elasticsearch;
use crate::bulk::cluster::Cluster;
use crate::bulk::setup::Setup;
use crate::bulk::{Renderer, Rules, Shape};
use crate::dead_letter::DeadLetters;
use crate::runtime::gate::Gate;
use crate::runtime::load::{Crew, Load, Output};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What all those have together that send requests of one output at once.
pub(super) struct Site {
    pub(super) id: String,
    pub(super) cluster: Cluster,
    pub(super) bulk_path: String,
    /// What is to be prepared before the first events.
    pub(super) setup: Mutex<Option<Setup>>,
    pub(super) shape: Arc<Shape>,
    pub(super) renderer: Arc<Renderer>,
    pub(super) rules: Rules,
    pub(super) silenced: Vec<String>,
    pub(super) max_bytes: usize,
    /// How much requests are compressed.
    pub(super) level: u32,
    /// The first and the longest pause between attempts.
    pub(super) pauses: (Option<Duration>, Option<Duration>),
    pub(super) dead_letters: DeadLetters,
    /// How many requests may be under way.
    pub(super) gate: Gate,
}

impl Site {
    pub(super) fn setup(&self) -> MutexGuard<'_, Option<Setup>> {
        self.setup.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nobody is hired before the cluster is prepared: until the first answer the limit is one, and preparing needs none of it.
impl Crew for Arc<Site> {
    fn has_room_beside(&self, busy: usize) -> bool {
        self.gate.has_room_beside(busy)
    }

    fn keeps_order(&self, load: &Load) -> bool {
        !load.iter().all(|event| self.shape.may_be_overtaken(event))
    }

    fn hire(&self) -> Box<dyn Output> {
        Box::new(Elasticsearch { site: self.clone(), spare: Vec::new() })
    }
}
