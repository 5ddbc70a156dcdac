//! Counts what each plugin of a pipeline does, and how long it takes.
use super::tally::count;
use crate::plan::{Plan, PluginCall, each_call};
use crate::spec::Kind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What a plugin has done since its pipeline was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginFigures {
    /// `input`, `filter` or `output`.
    pub kind: &'static str,
    /// The name of the plugin.
    pub name: &'static str,
    /// Its id.
    pub id: String,
    /// Events that it was given; for an input, none.
    pub events_in: u64,
    /// Events that it handed on, or delivered.
    pub events_out: u64,
    /// Events that it was given and has not done with yet.
    pub in_flight: u64,
    /// How long it has worked, of all threads together.
    pub busy: Duration,
    /// Attempts to deliver that failed.
    pub failures: u64,
}

/// [`PluginFigures`] while they are counted.
#[derive(Debug)]
pub(crate) struct Meter {
    kind: Kind,
    name: &'static str,
    id: String,
    events_in: AtomicU64,
    events_out: AtomicU64,
    in_flight: AtomicU64,
    busy_us: AtomicU64,
    failures: AtomicU64,
}

impl Meter {
    /// One for each plugin of a plan, in the order written.
    pub(crate) fn all_of(plan: &Plan) -> Vec<Arc<Self>> {
        let mut meters = Vec::new();
        let mut add = |call: &mut PluginCall| {
            meters.push(Arc::new(Self {
                kind: call.spec.kind,
                name: call.spec.name,
                id: call.id.clone(),
                events_in: AtomicU64::new(0),
                events_out: AtomicU64::new(0),
                in_flight: AtomicU64::new(0),
                busy_us: AtomicU64::new(0),
                failures: AtomicU64::new(0),
            }));
        };
        plan.inputs.clone().iter_mut().for_each(&mut add);
        each_call(&mut plan.filters.clone(), &mut add);
        each_call(&mut plan.outputs.clone(), &mut add);
        meters
    }

    /// The id of the plugin.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Counts events that an input made.
    pub(crate) fn made(&self, events: usize) {
        count(&self.events_out, events);
    }

    /// Begins to count work on events.
    pub(crate) fn begin(&self, events: usize) -> Instant {
        count(&self.events_in, events);
        count(&self.in_flight, events);
        Instant::now()
    }

    /// Ends what [`begin`](Self::begin) began with `given` events; `out` came of them.
    pub(crate) fn end(&self, begun: Instant, given: usize, out: usize) {
        let us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.busy_us.fetch_add(us, Ordering::Relaxed);
        self.in_flight.fetch_sub(given as u64, Ordering::Relaxed);
        count(&self.events_out, out);
    }

    /// Counts an attempt that failed.
    pub(crate) fn failed(&self) {
        count(&self.failures, 1);
    }

    /// What was counted so far.
    pub(crate) fn read(&self) -> PluginFigures {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PluginFigures {
            kind: self.kind.word(),
            name: self.name,
            id: self.id.clone(),
            events_in: get(&self.events_in),
            events_out: get(&self.events_out),
            in_flight: get(&self.in_flight),
            busy: Duration::from_micros(get(&self.busy_us)),
            failures: get(&self.failures),
        }
    }
}
