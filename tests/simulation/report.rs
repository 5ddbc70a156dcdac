//! Runs a plan, and says everything about one that failed.
use crate::faults;
use crate::world::{BEGAN, Failure, Plan, World};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// So many lines of the trace are shown.
const LINES: usize = 60;

/// What became of a simulation.
pub(crate) struct Outcome {
    pub(crate) failure: Option<Failure>,
    pub(crate) steps: u64,
    /// Of the whole trace.
    pub(crate) hash: u64,
    /// How long after the last fault all was well.
    pub(crate) settled_after: Duration,
    lines: Vec<String>,
}

/// Runs a plan to its end. `aloud`: with its trace as it goes.
pub(crate) fn simulate(plan: &Plan, aloud: bool) -> Outcome {
    let mut world = World::new(plan.clone());
    world.trace.aloud = aloud;
    if catch_unwind(AssertUnwindSafe(|| world.run())).is_err() {
        world.broken("something panicked; the message stands above".to_owned());
    }
    Outcome {
        failure: world.failure.clone(),
        steps: world.step,
        hash: world.trace.hash(),
        settled_after: world.settled_after(),
        lines: world.trace.last(LINES).map(str::to_owned).collect(),
    }
}

/// Leaves out every kind of fault without which the plan fails all the same.
fn shrink(plan: &Plan) -> Plan {
    let mut smallest = plan.clone();
    for fault in &plan.faults {
        let mut without = smallest.clone();
        without.faults.remove(fault);
        if simulate(&without, false).failure.is_some() {
            smallest = without;
        }
    }
    smallest
}

/// Fails with everything that is needed to run it again.
pub(crate) fn fail(plan: &Plan, outcome: &Outcome) -> ! {
    let smallest = shrink(plan);
    let shown = if smallest == *plan { None } else { Some(simulate(&smallest, false)) };
    let outcome = shown.as_ref().unwrap_or(outcome);
    let Some(Failure { law, step, at }) = &outcome.failure else { panic!("{plan:?} did not fail") };
    let (seed, faults) = (plan.seed, faults::list(&smallest.faults));
    let began = BEGAN.as_secs();
    panic!(
        "\n{}\n\nseed {seed}, step {step}, {at:?} of virtual time (counted from {began} s): {law}\n\
         faults: {faults}\nof those of the seed: {}\n\
         {} machines, {} schedulers, {:?} of trouble\n\
         again: LOGHERD_SIMULATION_SEED={seed} LOGHERD_SIMULATION_FAULTS={faults} \
         cargo test -p tests --test simulation -- --ignored --nocapture replay\n",
        outcome.lines.join("\n"),
        faults::list(&plan.faults),
        plan.machines,
        plan.schedulers,
        plan.trouble,
    );
}
