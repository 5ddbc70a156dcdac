//! Holds what an output is given, and what an output is.
use super::chain::Chosen;
use crate::event::Event;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;

/// Events for an output, in order. They are shared with other outputs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Load {
    parts: Vec<(Arc<Vec<Event>>, Chosen)>,
}

impl Load {
    /// Adds the chosen events of a batch.
    pub(crate) fn add(&mut self, events: Arc<Vec<Event>>, chosen: Chosen) {
        self.parts.push((events, chosen));
    }

    /// How many events it has.
    pub(crate) fn len(&self) -> usize {
        let part = |(events, chosen): &(Arc<Vec<Event>>, Chosen)| match chosen {
            Chosen::All => events.len(),
            Chosen::Some(places) => places.len(),
        };
        self.parts.iter().map(part).sum()
    }

    /// Whether it has none.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The events.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Event> {
        self.parts.iter().flat_map(|(events, chosen)| {
            let (all, places): (&[Event], &[u32]) = match chosen {
                Chosen::All => (events, &[]),
                Chosen::Some(places) => (&[], places),
            };
            all.iter().chain(places.iter().filter_map(|place| events.get(*place as usize)))
        })
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
        Self { parts }
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

    /// What lets several loads be on their way at once, where that may be.
    fn crew(&self) -> Option<Arc<dyn Crew>> {
        None
    }

    /// The first and the longest pause between attempts, where they are not as for all outputs.
    fn pauses(&self) -> (Option<Duration>, Option<Duration>) {
        (None, None)
    }
}
