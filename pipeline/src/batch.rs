//! Holds the events that go through a pipeline together, and what a filter is.
use crate::event::Event;

/// Events in the order in which they were read.
#[derive(Debug, Default)]
pub struct Batch {
    events: Vec<Event>,
}

/// What becomes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes on.
    Keep,
    /// It ends here, on purpose; its position counts as acknowledged.
    Drop,
}

/// Changes events on their way from the inputs to the outputs. One filter of a running pipeline is used by one thread
/// at a time; a filter that cannot do its work on an event tags it and lets it go on.
pub trait Filter: Send {
    /// Works on a batch: changes its events, drops some, adds others.
    fn run(&mut self, batch: &mut Batch);
}

impl Batch {
    /// Makes a batch of events in this order.
    pub fn new(mut events: Vec<Event>) -> Self {
        for (place, event) in (0_u32..).zip(&mut events) {
            event.place = place;
        }
        Self { events }
    }

    /// How many events it has.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The events.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The events, to change them.
    pub fn events_mut(&mut self) -> &mut [Event] {
        &mut self.events
    }

    /// Gives out the events.
    pub fn into_events(self) -> Vec<Event> {
        self.events
    }

    /// Works on each event and keeps or drops it.
    pub fn each(&mut self, mut work: impl FnMut(&mut Event) -> Fate) {
        self.events.retain_mut(|event| work(event) == Fate::Keep);
    }

    /// Replaces each event by what `work` adds to the list: nothing, itself, several. The new ones stand where the
    /// old one stood.
    pub fn replace(&mut self, mut work: impl FnMut(Event, &mut Vec<Event>)) {
        let old = std::mem::take(&mut self.events);
        self.events.reserve(old.len());
        for event in old {
            let (place, from) = (event.place, self.events.len());
            work(event, &mut self.events);
            for new in self.events.iter_mut().skip(from) {
                new.place = place;
            }
        }
    }

    /// Takes the events out into `arms`, each into the one of `arm_of` for it; [`Batch::rejoin`] is the way back.
    pub(crate) fn part(&mut self, arms: usize, mut arm_of: impl FnMut(&Event) -> usize) -> Vec<Batch> {
        let mut parts: Vec<Batch> = Vec::new();
        parts.resize_with(arms, Batch::default);
        for event in self.events.drain(..) {
            let arm = arm_of(&event);
            if let Some(part) = parts.get_mut(arm) {
                part.events.push(event);
            }
        }
        parts
    }

    /// Puts parts together again in the order of the events' places.
    pub(crate) fn rejoin(&mut self, parts: Vec<Batch>) {
        debug_assert!(self.events.is_empty());
        for part in parts {
            self.events.extend(part.events);
        }
        // Each part is in order already: the sort finds these runs and merges them.
        self.events.sort_by_key(|event| event.place);
    }
}
