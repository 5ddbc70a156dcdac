//! Simulations by seed: schedulers, a master, agents and executors in one thread, under virtual time, while things go wrong.
//!
//! The cores are the real ones, and so are Mesos' messages between them. A failing seed says how to run it again;
//! `docs/simulation.md` says what goes wrong and what must hold all the same.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test says what is wrong by panicking"
)]
mod chance;
mod disasters;
mod executors;
mod faults;
mod laws;
mod machines;
mod offices;
mod orders;
mod queue;
mod report;
mod settle;
mod store;
mod trace;
mod wire;
mod world;

use config::settings::environment;
use faults::Fault;
use report::{Outcome, fail, simulate};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use world::{Plan, World};

/// The seeds of the short run.
const SEEDS: u64 = 30;

fn number(name: &str) -> Option<u64> {
    environment(name).map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Runs these seeds; gives how many steps they took.
fn run_seeds(seeds: impl Iterator<Item = u64>) -> u64 {
    let began = Instant::now();
    let (mut count, mut steps, mut slowest) = (0_u64, 0, (Duration::ZERO, 0));
    for seed in seeds {
        let plan = Plan::of(seed);
        let outcome = simulate(&plan, false);
        if outcome.failure.is_some() {
            fail(&plan, &outcome);
        }
        count += 1;
        steps += outcome.steps;
        slowest = slowest.max((outcome.settled_after, seed));
        if count.is_multiple_of(1000) {
            eprintln!("{count} seeds, {steps} steps, {:?}", began.elapsed());
        }
    }
    let (longest, seed) = slowest;
    eprintln!(
        "{count} seeds, {steps} steps in {:?}; all was well after {longest:?} at most (seed {seed})",
        began.elapsed()
    );
    steps
}

#[test]
fn every_law_holds_whatever_goes_wrong_and_all_is_well_soon_after() {
    run_seeds(0..SEEDS);
}

#[test]
fn every_fault_alone_is_survived() {
    for (seed, fault) in (1..).zip(Fault::ALL) {
        let plan = Plan { faults: BTreeSet::from([*fault]), ..Plan::of(seed) };
        let outcome = simulate(&plan, false);
        if outcome.failure.is_some() {
            fail(&plan, &outcome);
        }
    }
}

#[test]
fn an_executor_says_again_what_its_agent_refused_while_it_recovered() {
    let mut refused = 0;
    for seed in 0..20 {
        let mut world =
            World::new(Plan { faults: BTreeSet::new(), machines: 1, schedulers: 1, ..Plan::of(seed) });
        let starts = |world: &World| {
            let here = &world.machines[0].executors;
            here.values().any(|e| e.task.is_some() && !e.running && e.unacknowledged.is_empty())
        };
        while !starts(&world) && world.next() {}
        world.kill_agent(0);
        world.start_agent(0);
        world.run();
        refused += usize::from(world.trace.last(usize::MAX).any(|line| line.contains("refuses TaskRunning")));
        assert_eq!(world.failure, None, "seed {seed}");
    }
    assert!(refused > 0, "no agent was still recovering when its executor ran");
}

#[test]
fn a_seed_run_twice_gives_the_same_trace_and_another_seed_another() {
    let hash = |seed| simulate(&Plan::of(seed), false).hash;
    let first: Vec<u64> = (100..104).map(hash).collect();
    let second: Vec<u64> = (100..104).map(hash).collect();
    assert_eq!(first, second);
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), first.len());
}

#[test]
fn every_fault_is_in_the_documents() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/simulation.md");
    let text = std::fs::read_to_string(path).unwrap();
    for fault in Fault::ALL {
        let line = format!("| `{fault}` | {} |", fault.about());
        assert!(text.contains(&line), "docs/simulation.md should have the line\n{line}");
    }
}

/// `LOGHERD_SIMULATION_SEEDS`: how many, 1000 without; `LOGHERD_SIMULATION_FIRST`: from which one on.
#[test]
#[ignore = "takes long; docs/simulation.md says how to run it"]
fn long() {
    let first = number("LOGHERD_SIMULATION_FIRST").unwrap_or(0);
    let seeds = number("LOGHERD_SIMULATION_SEEDS").unwrap_or(1000);
    run_seeds(first..first + seeds);
}

/// `LOGHERD_SIMULATION_SEED`: which; `LOGHERD_SIMULATION_FAULTS`: only these faults.
#[test]
#[ignore = "runs one seed again, with its whole trace"]
fn replay() {
    let seed = number("LOGHERD_SIMULATION_SEED").expect("LOGHERD_SIMULATION_SEED says which seed");
    let mut plan = Plan::of(seed);
    if let Some(names) = environment("LOGHERD_SIMULATION_FAULTS") {
        plan.faults = faults::parse(&names).unwrap();
    }
    let outcome: Outcome = simulate(&plan, true);
    if outcome.failure.is_some() {
        fail(&plan, &outcome);
    }
    eprintln!(
        "{plan:?}: {} steps, trace {:016x}, well after {:?}",
        outcome.steps, outcome.hash, outcome.settled_after
    );
}
