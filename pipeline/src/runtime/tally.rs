//! Counts what goes through a pipeline, and tells how it is.
use super::meter::{Meter, PluginFigures};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use tokio::sync::watch;

/// What went through a pipeline since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Events that inputs made.
    pub events_in: u64,
    /// Events that every output they went to has acknowledged.
    pub events_out: u64,
    /// Bytes of the lines that inputs read.
    pub bytes_in: u64,
    /// Events that a filter dropped on purpose.
    pub dropped_events: u64,
    /// Events that could not be kept: they were to be dead letters when there was no room for them, or were kept too long, or they
    /// were on their way when the pipeline was ended and nobody can send them again.
    pub dropped_lines: u64,
    /// Events that an output was refused for good, or for which a condition could not be decided: they are dead letters.
    pub dead_letters: u64,
    /// Attempts to deliver that failed and were repeated.
    pub retries: u64,
}

/// How a pipeline is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// It runs.
    #[default]
    Running,
    /// It runs, but something does not work now and is tried again; the reasons.
    Struggling(String),
    /// Every input came to its end, or it was stopped, and everything was acknowledged.
    Finished,
    /// It ended for this reason; what was not acknowledged comes again when it is started anew.
    Failed(String),
}

impl State {
    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        matches!(self, State::Finished | State::Failed(_))
    }
}

/// The counters while they count.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) events_in: AtomicU64,
    pub(crate) events_out: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) dropped_events: AtomicU64,
    pub(crate) dropped_lines: AtomicU64,
    pub(crate) dead_letters: AtomicU64,
    pub(crate) retries: AtomicU64,
    /// What the plugins do, set once before anything runs.
    meters: OnceLock<Vec<Arc<Meter>>>,
}

/// Adds to a counter.
pub(crate) fn count(counter: &AtomicU64, n: usize) {
    counter.fetch_add(n as u64, Ordering::Relaxed);
}

impl Tally {
    /// Sets what counts for the plugins.
    pub(crate) fn meter_all(&self, meters: Vec<Arc<Meter>>) {
        // Set already: then those count.
        let _set = self.meters.set(meters);
    }

    /// What counts for the plugin with this id.
    pub(crate) fn meter(&self, id: &str) -> Option<Arc<Meter>> {
        self.meters.get()?.iter().find(|meter| meter.id() == id).cloned()
    }

    /// What each plugin did.
    pub(crate) fn plugins(&self) -> Vec<PluginFigures> {
        self.meters.get().into_iter().flatten().map(|meter| meter.read()).collect()
    }

    /// The counters as they are now.
    pub(crate) fn read(&self) -> Counters {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            events_in: get(&self.events_in),
            events_out: get(&self.events_out),
            bytes_in: get(&self.bytes_in),
            dropped_events: get(&self.dropped_events),
            dropped_lines: get(&self.dropped_lines),
            dead_letters: get(&self.dead_letters),
            retries: get(&self.retries),
        }
    }
}

/// How the parts of a pipeline are, put together for those who watch it.
#[derive(Debug)]
pub(crate) struct Health {
    troubles: Mutex<BTreeMap<String, String>>,
    state: watch::Sender<State>,
}

impl Health {
    /// A pipeline that runs.
    pub(crate) fn new() -> Self {
        Self { troubles: Mutex::default(), state: watch::Sender::new(State::Running) }
    }

    /// Whoever wants to see each change.
    pub(crate) fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// `part` does not work for now.
    pub(crate) fn trouble(&self, part: &str, reason: String) {
        self.change(|troubles| troubles.insert(part.to_owned(), reason.clone()).as_ref() != Some(&reason));
    }

    /// `part` works.
    pub(crate) fn works(&self, part: &str) {
        self.change(|troubles| troubles.remove(part).is_some());
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, String>) -> bool) {
        let mut troubles = self.troubles.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if !change(&mut troubles) {
            return;
        }
        let reasons: Vec<String> =
            troubles.iter().map(|(part, reason)| format!("{part}: {reason}")).collect();
        let state = if reasons.is_empty() { State::Running } else { State::Struggling(reasons.join("; ")) };
        self.state.send_if_modified(|now| {
            let modify = !now.is_over() && *now != state;
            if modify {
                *now = state;
            }
            modify
        });
    }

    /// The pipeline has ended.
    pub(crate) fn end(&self, state: State) {
        self.state.send_replace(state);
    }
}
