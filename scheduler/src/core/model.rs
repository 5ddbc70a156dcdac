//! Drives the core against a model of Mesos, of its store and of its executors in which anything may be lost, repeated,
//! late, or crash.
//!
//! `mesos` is the model of masters and agents, `world` is what stands between it and the core and holds the laws:
//! - never a second live executor on an agent, but beside the one that its stored intent names;
//! - no call without a subscription, none for an offer that is gone or of another agent or role;
//! - ACCEPT after its intent is stored, acknowledgements after what they acknowledge is stored, each as often as received;
//! - nothing of ours is ended that Mesos did not report as lost before, and that no rollout, overlap or teardown ends;
//! - a rollout ends only what is stored to be ended, and never leaves more nodes uncovered than was ordered;
//! - what fails everywhere is tried one at a time; an order that is answered as not stored is in no store;
//! - a framework is removed only when its executors have ended and its reservations are given up, or were given time to,
//!   and forgotten only when Mesos has removed it, or was given time to;
//! - where reservations are denied launches do without, and what another framework may own is not given up;
//! - and once nothing more goes wrong: one executor on each eligible agent, running and attached, the store holds just
//!   those launches, every update is acknowledged, no offer is kept, every order is answered, rollouts have ended, and
//!   nothing is reserved that no executor uses; or, after a teardown, nothing is left at all.
//!
//! `LOGHERD_MODEL_STEPS=1000000 cargo test -p scheduler model` takes a million steps instead of some thousand.
#[cfg(test)]
mod mesos;
#[cfg(test)]
mod world;

use proptest::prelude::*;
use proptest::test_runner::{TestError, TestRunner};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use world::World;

/// So many steps are taken where nobody asks for more.
const STEPS: usize = 6_000;
/// The longest history.
const LONGEST: usize = 300;

/// What may happen next; the numbers choose among what there is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    /// The master offers what an agent has, in one of two roles.
    Offer(usize, Size),
    Rescind(usize),
    /// One event reaches the scheduler.
    Deliver,
    /// One event that nothing orders, the end of an executor or of an agent, comes later or never.
    Delay,
    Lose,
    /// One call reaches the master.
    Receive,
    /// So many events, calls and changes arrive, one of each in turn.
    Flow(usize),
    /// One call is taken and comes to nothing: 202 promises no more.
    Ignore,
    /// The oldest change reaches the store.
    Store(Write),
    /// A task goes on to its next state.
    Progress(usize),
    /// A task ends by itself, or its container goes at last.
    End(usize, How),
    /// The agent sends the oldest unacknowledged update of a task again.
    Resend(usize),
    /// Something befalls an agent.
    Agent(usize, Fate),
    /// The master says which agents are registered, and which machines are planned to be away.
    List,
    /// Another master leads: it knows nothing but which agents there were.
    MasterFailover,
    /// An operator of Mesos tears the framework down.
    Teardown,
    /// A person orders something.
    Order(Ordered),
    /// The process dies, and another one takes over with other settings.
    Configure(Settings),
    /// All is well for a while; then the same, and an upgrade to these settings is ordered, of so many nodes at once. With
    /// a fate it befalls that machine as soon as new executors have come up.
    RollOut(Settings, usize, Option<(usize, Fate)>),
    /// Executors of that version fail from now on, or work again.
    Spoil(u8),
    /// The master lets nobody reserve for a role, or unreserve, from now on; or does again.
    Deny(usize),
    /// Another framework of our name comes or goes.
    Namesake,
    /// The master gives up, as an operator, what it is asked to.
    GiveUp,
    /// The connection breaks; the master notices.
    Disconnect,
    Connect,
    /// The process dies and another one takes over at once: the master may notice nothing.
    Crash,
    /// The same, and a launch is missing in the store that it finds.
    LoseRecord(usize),
    /// An executor attaches to the scheduler, or the connection breaks.
    Attach(usize),
    Detach(usize),
    /// So many seconds pass.
    Pass(u64),
}

/// What a person orders.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ordered {
    Upgrade(usize),
    Pause,
    Resume,
    Abort,
    RollBack,
    TearDown,
}

/// What the settings of a scheduler differ in.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Settings {
    /// Of what its executors are: 1 to 3.
    version: u8,
    /// Whether they overlap where there is room.
    overlap: bool,
    /// Whether what they use is reserved.
    reserve: bool,
    /// How many of the roles are used.
    roles: usize,
}

/// What an offer holds.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Size {
    Enough,
    /// Two offers, each too small alone.
    InTwoPieces,
    TooSmall,
}

/// What becomes of a change on its way to the store.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Write {
    Works,
    /// It is stored, and said so twice.
    WorksTwice,
    Fails,
    /// It is stored, and said not to be.
    FailsAndHappens,
}

/// How a task ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    /// Its executor is gone with it.
    Failed,
    /// Its executor takes longer to end than the task.
    Lingering,
    /// The agent never got to it.
    Dropped,
}

/// What befalls an agent.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// It does not answer pings.
    Unreachable,
    /// It has been unreachable for so long that the registry forgets it.
    Collected,
    /// It answers again, or is back after a failover of masters, or its machine comes back as another agent.
    Back,
    /// An operator says that it will never return.
    MarkedGone,
    /// It unregisters, or its machine is down for maintenance.
    Unregistered,
    Drained,
    Reactivated,
    /// Its machine is planned to be away, from now on; or that is withdrawn.
    Planned,
    Withdrawn,
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![6 => Just(Size::Enough), 2 => Just(Size::InTwoPieces), 1 => Just(Size::TooSmall)];
    let write = prop_oneof![
        12 => Just(Write::Works),
        1 => Just(Write::WorksTwice),
        1 => Just(Write::Fails),
        1 => Just(Write::FailsAndHappens),
    ];
    let how = prop_oneof![3 => Just(How::Failed), 1 => Just(How::Lingering), 1 => Just(How::Dropped)];
    let fate = prop_oneof![
        3 => Just(Fate::Unreachable),
        1 => Just(Fate::Collected),
        8 => Just(Fate::Back),
        1 => Just(Fate::MarkedGone),
        1 => Just(Fate::Unregistered),
        1 => Just(Fate::Drained),
        2 => Just(Fate::Reactivated),
        1 => Just(Fate::Planned),
        2 => Just(Fate::Withdrawn),
    ];
    let befalls_any = (0..3usize, fate);
    let befalls = (
        0..3usize,
        prop_oneof![4 => Just(Fate::Unreachable), 1 => Just(Fate::Drained), 1 => Just(Fate::Planned)],
    );
    let ordered = prop_oneof![
        8 => (1..3usize).prop_map(Ordered::Upgrade),
        1 => Just(Ordered::Pause),
        2 => Just(Ordered::Resume),
        1 => Just(Ordered::Abort),
        1 => Just(Ordered::RollBack),
    ];
    let ordered = prop_oneof![60 => ordered, 1 => Just(Ordered::TearDown)];
    let roles = prop_oneof![3 => Just(2usize), 1 => Just(1usize)];
    let settings = (1..4u8, prop::bool::weighted(0.8), any::<bool>(), roles);
    let settings = settings
        .prop_map(|(version, overlap, reserve, roles)| Settings { version, overlap, reserve, roles })
        .boxed();
    prop_oneof![
        20 => ordered.prop_map(Step::Order),
        8 => settings.clone().prop_map(Step::Configure),
        10 => (settings, 1..3usize, prop::option::of(befalls))
            .prop_map(|(settings, nodes, fate)| Step::RollOut(settings, nodes, fate)),
        6 => (1..4u8).prop_map(Step::Spoil),
        6 => (0..2usize).prop_map(Step::Deny),
        1 => Just(Step::Namesake),
        6 => Just(Step::GiveUp),
        80 => (0..3usize, size).prop_map(|(n, size)| Step::Offer(n, size)),
        10 => any::<usize>().prop_map(Step::Rescind),
        130 => Just(Step::Deliver),
        4 => Just(Step::Delay),
        4 => Just(Step::Lose),
        130 => Just(Step::Receive),
        70 => (1..6usize).prop_map(Step::Flow),
        8 => Just(Step::Ignore),
        100 => write.prop_map(Step::Store),
        60 => any::<usize>().prop_map(Step::Progress),
        25 => (any::<usize>(), how).prop_map(|(n, how)| Step::End(n, how)),
        20 => any::<usize>().prop_map(Step::Resend),
        40 => befalls_any.prop_map(|(n, fate)| Step::Agent(n, fate)),
        8 => Just(Step::List),
        4 => Just(Step::MasterFailover),
        2 => Just(Step::Teardown),
        10 => Just(Step::Disconnect),
        60 => Just(Step::Connect),
        10 => Just(Step::Crash),
        4 => any::<usize>().prop_map(Step::LoseRecord),
        15 => any::<usize>().prop_map(Step::Attach),
        4 => any::<usize>().prop_map(Step::Detach),
        40 => (0..120u64).prop_map(Step::Pass),
    ]
}

/// Plays a history and lets everything settle. The error says which law is broken, and after what.
fn play(steps: &[Step], transcribe: bool) -> Result<World, String> {
    let mut world = World::new(transcribe);
    world.perform(Step::Connect)?;
    for step in steps {
        world.perform(*step)?;
    }
    world.settle()?;
    if steps.len().is_multiple_of(8) {
        world.tear_down()?;
    }
    world.count_what_was_rare();
    Ok(world)
}

#[test]
fn whatever_happens_there_is_never_more_than_one_executor_on_an_agent_and_in_the_end_exactly_one() {
    let wanted = config::settings::environment("LOGHERD_MODEL_STEPS").map_or(STEPS, |n| n.parse().unwrap());
    let (taken, histories) = (Cell::new(0), Cell::new(0));
    let seen: RefCell<BTreeMap<&'static str, usize>> = RefCell::default();
    while taken.get() < wanted {
        let cases = u32::try_from((wanted - taken.get()).div_ceil(LONGEST / 2)).unwrap();
        let mut runner = TestRunner::new(ProptestConfig {
            cases,
            failure_persistence: None,
            max_shrink_time: 60_000,
            ..ProptestConfig::default()
        });
        let outcome = runner.run(&prop::collection::vec(step(), 0..LONGEST), |steps| {
            taken.set(taken.get() + steps.len());
            histories.set(histories.get() + 1);
            let world = play(&steps, false).map_err(TestCaseError::fail)?;
            for (what, times) in world.seen {
                *seen.borrow_mut().entry(what).or_default() += times;
            }
            Ok(())
        });
        if let Err(TestError::Fail(why, steps)) = outcome {
            let told = play(&steps, true).err().unwrap_or_else(|| why.to_string());
            panic!("the shortest history found that breaks a law: {steps:?}\n{told}");
        } else if let Err(TestError::Abort(why)) = outcome {
            panic!("{why}");
        }
    }
    println!("{} steps in {} histories; {:?}", taken.get(), histories.get(), seen.borrow());
    // A model in which nothing happens any more proves nothing.
    let rare = [
        "accept inverse",
        "shutdown",
        "message",
        "anew",
        "overlap",
        "unreserve",
        "teardown",
        "handover",
        "end first",
        "held",
        "given up",
        "denied",
        "torn down",
        "waits again",
    ]
    .into_iter()
    .filter(|_| wanted > 10 * STEPS);
    for what in ["accept", "decline", "acknowledge", "kill", "reconcile", "revive"].into_iter().chain(rare) {
        assert!(seen.borrow().contains_key(what), "no history had a call to {what}");
    }
}
