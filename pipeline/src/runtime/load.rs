//! Holds what an output is given, and what an output is.
use super::chain::Chosen;
use super::rendered::{Render, Rendered};
use crate::event::Event;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;

/// Events for an output, in order. They are shared with other outputs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Load {
    parts: Vec<(Arc<Vec<Event>>, Chosen)>,
    /// What was written of each part before, if it was of all.
    rendered: Vec<Arc<Rendered>>,
}

impl Load {
    /// Adds the chosen events of a batch.
    #[cfg(test)]
    pub(crate) fn add(&mut self, events: Arc<Vec<Event>>, chosen: Chosen) {
        self.add_rendered(events, chosen, None);
    }

    /// Adds the chosen events of a batch, and what was written of them before.
    pub(crate) fn add_rendered(
        &mut self,
        events: Arc<Vec<Event>>,
        chosen: Chosen,
        rendered: Option<Arc<Rendered>>,
    ) {
        self.parts.push((events, chosen));
        self.rendered.extend(rendered);
    }

    /// What was written of each part, if it was of all.
    pub(crate) fn rendered(&self) -> Option<&[Arc<Rendered>]> {
        (self.rendered.len() == self.parts.len()).then_some(&self.rendered)
    }

    /// How many events it has.
    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(|(events, chosen)| chosen.len_of(events)).sum()
    }

    /// Whether it has none.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The events.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Event> {
        self.parts.iter().flat_map(|(events, chosen)| chosen.of(events))
    }

    /// The events for whose number, from 0, `keep` says so.
    pub(crate) fn keep(&self, mut keep: impl FnMut(usize) -> bool) -> Self {
        let mut nth = 0;
        let mut parts = Vec::new();
        for (events, chosen) in &self.parts {
            let mut kept = Vec::new();
            let mut each = |place: u32| {
                if keep(nth) {
                    kept.push(place);
                }
                nth += 1;
            };
            match chosen {
                Chosen::All => (0_u32..).take(events.len()).for_each(&mut each),
                Chosen::Some(places) => places.iter().copied().for_each(&mut each),
            }
            if !kept.is_empty() {
                parts.push((events.clone(), Chosen::Some(kept)));
            }
        }
        Self { parts, rendered: Vec::new() }
    }
}

/// Why a delivery has to be tried again.
#[derive(Debug)]
pub(crate) struct Failure {
    /// For people; holds no secrets.
    pub(crate) reason: String,
    /// What is left to deliver, if that is less than all.
    pub(crate) left: Option<Load>,
    /// It will never work: the pipeline ends.
    pub(crate) hopeless: bool,
}

impl Failure {
    /// Nothing was delivered, for this reason.
    pub(crate) fn whole(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), left: None, hopeless: false }
    }

    /// Some was delivered; this is left.
    pub(crate) fn partly(reason: impl Into<String>, left: Load) -> Self {
        Self { reason: reason.into(), left: Some(left), hopeless: false }
    }

    /// It will never work.
    pub(crate) fn hopeless(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), left: None, hopeless: true }
    }
}

/// Decides whether further loads are delivered beside those on their way.
pub(crate) trait Crew: Send + Sync {
    /// Whether one more load may be on its way beside `busy` others.
    fn has_room_beside(&self, busy: usize) -> bool;

    /// Whether nothing may overtake these events, and they nothing.
    fn keeps_order(&self, load: &Load) -> bool;

    /// One more output like the first.
    fn hire(&self) -> Box<dyn Output>;
}

/// Takes events away.
pub(crate) trait Output: Send {
    /// Returns once every event is where it belongs; those refused for good are dead letters then. On a failure it
    /// is called again, with what was left.
    fn deliver<'a>(&'a mut self, load: &'a Load) -> BoxFuture<'a, Result<(), Failure>>;

    /// Nothing has come for a while: what is only kept for speed is let go.
    fn rest(&mut self) {}

    /// What writes events for it before it is given them, if it likes that.
    fn renders(&self) -> Option<Arc<dyn Render>> {
        None
    }

    /// What lets several loads be on their way at once, where that may be.
    fn crew(&self) -> Option<Arc<dyn Crew>> {
        None
    }

    /// The first and the longest pause between attempts, where they are not as for all outputs.
    fn pauses(&self) -> (Option<Duration>, Option<Duration>) {
        (None, None)
    }
}
