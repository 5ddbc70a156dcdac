//! Runs the filters of a plan over batches, and decides which outputs each event goes to.
//!
//! An event for which a condition cannot be decided goes no further; it is given out apart, with the reason.
use super::meter::Meter;
use super::tally::Tally;
use crate::batch::{Batch, Filter};
use crate::condition::Undecided;
use crate::event::Event;
use crate::plan::{Condition, PluginCall, Step};
use crate::plugins;
use std::sync::Arc;

/// What the filters of all workers have together, by the filters' ids.
pub(crate) type Together = std::collections::HashMap<String, plugins::Shared>;

/// The filters of a plan, made once for each worker.
pub(crate) struct Chain {
    /// Whose it is: the workers are counted from 0.
    pub(crate) number: usize,
    nodes: Vec<Node>,
    undecided: Vec<(Event, Undecided)>,
}

enum Node {
    Filter(Box<dyn Filter>, Option<Arc<Meter>>),
    Branch { arms: Vec<(Condition, Vec<Node>)>, otherwise: Vec<Node> },
}

impl Chain {
    /// Makes the filters; `common` is what those of all workers have together, by id.
    pub(crate) fn build(
        number: usize,
        steps: &[Step],
        common: &mut Together,
        tally: &Tally,
    ) -> Result<Self, (String, String)> {
        nodes(steps, common, tally).map(|nodes| Self { number, nodes, undecided: Vec::new() })
    }

    /// Just this filter.
    #[cfg(test)]
    pub(crate) fn of(filter: Box<dyn Filter>) -> Self {
        Self { number: 0, nodes: vec![Node::Filter(filter, None)], undecided: Vec::new() }
    }

    /// Runs every filter, in the order written.
    pub(crate) fn run(&mut self, batch: &mut Batch) {
        run(&mut self.nodes, batch, &mut self.undecided);
    }

    /// Gives out the events for which a condition could not be decided since the last time, with the reasons.
    pub(crate) fn take_undecided(&mut self) -> Vec<(Event, Undecided)> {
        std::mem::take(&mut self.undecided)
    }
}

fn nodes(steps: &[Step], common: &mut Together, tally: &Tally) -> Result<Vec<Node>, (String, String)> {
    let mut node = |step: &Step| match step {
        Step::Plugin(call) => {
            let shared = common.entry(call.id.clone()).or_default();
            let filter = plugins::build_filter(call, shared).map_err(|reason| (call.id.clone(), reason))?;
            Ok(Node::Filter(filter, tally.meter(&call.id)))
        }
        Step::If { arms, otherwise } => {
            let mut arm = |(condition, body): &(Condition, Vec<Step>)| {
                Ok((condition.clone(), nodes(body, common, tally)?))
            };
            let arms = arms.iter().map(&mut arm).collect::<Result<_, (String, String)>>()?;
            Ok(Node::Branch { arms, otherwise: nodes(otherwise, common, tally)? })
        }
    };
    steps.iter().map(&mut node).collect()
}

fn run(nodes: &mut [Node], batch: &mut Batch, undecided: &mut Vec<(Event, Undecided)>) {
    for node in nodes {
        if batch.is_empty() {
            return;
        }
        match node {
            Node::Filter(filter, None) => filter.run(batch),
            Node::Filter(filter, Some(meter)) => {
                let given = batch.len();
                let begun = meter.begin(given);
                filter.run(batch);
                meter.end(begun, given, batch.len());
            }
            Node::Branch { arms, otherwise } => branch(arms, otherwise, batch, undecided),
        }
    }
}

/// The first arm whose condition holds, or their number.
fn arm_for<T>(arms: &[(Condition, T)], event: &Event) -> Result<usize, Undecided> {
    for (nth, (condition, _)) in arms.iter().enumerate() {
        if condition.holds(event)? {
            return Ok(nth);
        }
    }
    Ok(arms.len())
}

/// Parts the batch by the first condition that holds, runs each part's filters, and joins them in order again.
fn branch(
    arms: &mut [(Condition, Vec<Node>)],
    otherwise: &mut [Node],
    batch: &mut Batch,
    undecided: &mut Vec<(Event, Undecided)>,
) {
    let mut reasons = Vec::new();
    let none = arms.len() + 1;
    let mut choose = |event: &Event| {
        arm_for(arms, event).unwrap_or_else(|reason| {
            reasons.push(reason);
            none
        })
    };
    let choices: Vec<usize> = batch.events().iter().map(&mut choose).collect();
    let first = choices.first().copied().unwrap_or(none);
    if first != none && choices.iter().all(|arm| *arm == first) {
        return match arms.get_mut(first) {
            Some((_, body)) => run(body, batch, undecided),
            None => run(otherwise, batch, undecided),
        };
    }
    let mut choices = choices.into_iter();
    let mut parts = batch.part(none + 1, |_| choices.next().unwrap_or(none));
    let aside = parts.pop().unwrap_or_default().into_events();
    undecided.extend(aside.into_iter().zip(reasons));
    let bodies = arms.iter_mut().map(|(_, body)| body.as_mut_slice()).chain([otherwise]);
    for (part, body) in parts.iter_mut().zip(bodies) {
        run(body, part, undecided);
    }
    batch.rejoin(parts);
}

/// Which output takes which events.
pub(crate) struct Routes {
    routes: Vec<Route>,
    outputs: usize,
}

enum Route {
    To(usize),
    Branch { arms: Vec<(Condition, Vec<Route>)>, otherwise: Vec<Route> },
}

/// The events of a batch that an output takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Chosen {
    /// All of them.
    All,
    /// Those at these places.
    Some(Vec<u32>),
}

impl Chosen {
    /// How many of these events are chosen.
    pub(crate) fn len_of(&self, events: &[Event]) -> usize {
        match self {
            Chosen::All => events.len(),
            Chosen::Some(places) => places.len(),
        }
    }

    /// The chosen ones of these events.
    pub(crate) fn of<'a>(&'a self, events: &'a [Event]) -> impl Iterator<Item = &'a Event> {
        let (all, places): (&[Event], &[u32]) = match self {
            Chosen::All => (events, &[]),
            Chosen::Some(places) => (&[], places),
        };
        all.iter().chain(places.iter().filter_map(|place| events.get(*place as usize)))
    }
}

impl Routes {
    /// Reads the output steps; the outputs are numbered in the order written, and their calls returned.
    pub(crate) fn new(steps: &[Step]) -> (Self, Vec<PluginCall>) {
        let mut calls = Vec::new();
        let routes = routes(steps, &mut calls);
        (Self { routes, outputs: calls.len() }, calls)
    }

    /// Chooses the events of each output. Where a condition cannot be decided, the event goes to no output below it, and
    /// its place is added to `undecided`.
    pub(crate) fn choose(&self, events: &[Event], undecided: &mut Vec<(u32, Undecided)>) -> Vec<Chosen> {
        let mut chosen = vec![Chosen::Some(Vec::new()); self.outputs];
        let mut branching = false;
        for route in &self.routes {
            match route {
                Route::To(output) => {
                    if let Some(slot) = chosen.get_mut(*output) {
                        *slot = Chosen::All;
                    }
                }
                Route::Branch { .. } => branching = true,
            }
        }
        if branching {
            for (event, place) in events.iter().zip(0_u32..) {
                follow(&self.routes, event, place, &mut chosen, undecided);
            }
        }
        chosen
    }
}

fn routes(steps: &[Step], calls: &mut Vec<PluginCall>) -> Vec<Route> {
    let mut route = |step: &Step| match step {
        Step::Plugin(call) => {
            calls.push(call.clone());
            Route::To(calls.len() - 1)
        }
        Step::If { arms, otherwise } => Route::Branch {
            arms: arms.iter().map(|(condition, body)| (condition.clone(), routes(body, calls))).collect(),
            otherwise: routes(otherwise, calls),
        },
    };
    steps.iter().map(&mut route).collect()
}

fn follow(
    routes: &[Route],
    event: &Event,
    place: u32,
    chosen: &mut [Chosen],
    undecided: &mut Vec<(u32, Undecided)>,
) {
    for route in routes {
        match route {
            Route::To(output) => {
                if let Some(Chosen::Some(places)) = chosen.get_mut(*output) {
                    places.push(place);
                }
            }
            Route::Branch { arms, otherwise } => match arm_for(arms, event) {
                Ok(nth) => {
                    let body = arms.get(nth).map_or(otherwise, |(_, body)| body);
                    follow(body, event, place, chosen, undecided);
                }
                Err(reason) => undecided.push((place, reason)),
            },
        }
    }
}
