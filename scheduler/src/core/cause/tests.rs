//! Every cause by an example, and the whole by a property: each agent that is listed has exactly one state.
use super::*;
use crate::core::Core;
use crate::core::cluster::{Cluster, Known, TaskState};
use crate::core::effects::Effect;
use crate::core::tests::{agent, offer, rules, update};
use proptest::prelude::*;
use std::collections::BTreeSet;

const NOW: Moment = Moment(10_000_000);

fn share(role: &str, name: &str, total: f64, used: f64) -> Share {
    let (total, used) = (Thousandths::of(total), Thousandths::of(used));
    Share { role: role.into(), name: name.into(), total, used }
}

fn listed(standing: Standing) -> Agent {
    let mut agent = agent("a", Some(standing));
    agent.shares = vec![share("*", "cpus", 4.0, 0.0), share("*", "mem", 4096.0, 0.0)];
    agent.place.region = Some("north".into());
    agent
}

fn record() -> Registered {
    Registered {
        active: true,
        roles: vec!["logherd".into()],
        gpus: true,
        region_aware: true,
        region: Some("north".into()),
    }
}

fn framework(registered: Registered) -> Framework {
    let lead = Duration::from_secs(300);
    Framework {
        subscribed: true,
        lists: true,
        registered: Some(registered),
        needs: Needs::new(0.2, 128.0, 0.0),
        lead,
    }
}

fn away(start_in: i64, seconds: u64) -> Option<Unavailability> {
    let start = Moment(NOW.0.checked_add_signed(start_in * 1000).unwrap());
    Some(Unavailability { start, duration: Some(Duration::from_secs(seconds)) })
}

/// One example: what the master says, what we know, and what is to be shown.
struct Example {
    agent: Option<Agent>,
    framework: Framework,
    own: Cause,
    held: bool,
    beside: Option<&'static str>,
    backs_off: u64,
    away: Option<Unavailability>,
    listed: bool,
}

impl Example {
    fn of(own: Cause) -> Self {
        Self {
            agent: Some(listed(Standing::Active)),
            framework: framework(record()),
            own,
            held: false,
            beside: None,
            backs_off: 0,
            away: None,
            listed: true,
        }
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn standing(self, standing: Standing) -> Self {
        self.with(|e| e.agent = Some(listed(standing)))
    }

    fn held(self) -> Self {
        self.with(|e| e.held = true)
    }

    fn found(&self) -> (Cause, String) {
        let ours = Ours {
            framework: &self.framework,
            own: self.own,
            text: SAID,
            held: self.held,
            beside: self.beside,
            not_before: NOW.after(Duration::from_secs(self.backs_off)),
            away: self.away,
            unlisted: !self.listed,
            now: NOW,
        };
        let cause = cause(self.agent.as_ref(), &ours);
        (cause, reason(cause, self.agent.as_ref(), &ours))
    }
}

/// What happened there last, in the examples.
const SAID: &str = "what happened last";

fn waits() -> Example {
    Example::of(Cause::AwaitingFirstOffer)
}

/// Examples in which our own slot or our rules decide, or an operator does.
fn kept() -> Vec<(Example, Cause, &'static str)> {
    use Cause::*;
    vec![
        (waits(), AwaitingFirstOffer, SAID),
        (waits().with(|e| e.agent = None), AwaitingFirstOffer, SAID),
        (
            Example::of(NotAttached).held().standing(Standing::Draining),
            NotAttached,
            "an operator drains the agent",
        ),
        (Example::of(Runs).held().standing(Standing::Disconnected), Runs, "not connected to the master"),
        (Example::of(Runs).held().with(|e| e.away = away(-5, 60)), Runs, SAID),
        (Example::of(Ending).held().standing(Standing::Draining), Draining, SAID),
        (
            Example::of(Ending).held().with(|e| e.away = away(60, 60)),
            MaintenanceSoon,
            "planned from 1970-01-01T02:47:40Z",
        ),
        (Example::of(LaunchFailed).with(|e| e.backs_off = 4), LaunchFailed, "the next launch waits 5 s"),
        (Example::of(LaunchRefused), LaunchRefused, "waiting for an offer of this agent"),
        (waits().standing(Standing::Draining), Draining, "nothing of it is offered"),
        (waits().standing(Standing::Drained), Drained, "until it is reactivated"),
        (waits().standing(Standing::Deactivated), Deactivated, "deactivated"),
        (waits().standing(Standing::NotBack), AgentNotBack, "since the master changed"),
        (waits().standing(Standing::Disconnected), AgentDisconnected, "not connected"),
        (Example::of(Constraint).standing(Standing::Drained), Constraint, SAID),
        (Example::of(OnePerHost).with(|e| e.framework.subscribed = false), OnePerHost, SAID),
        (waits().with(|e| e.away = away(299, 60)), MaintenanceSoon, "nothing is launched before"),
        (waits().with(|e| e.away = away(301, 60)), AwaitingFirstOffer, SAID),
        (waits().with(|e| e.away = away(-10, 60)), InMaintenance, "has begun"),
        (waits().with(|e| e.away = away(-60, 60)), AwaitingFirstOffer, SAID),
        (
            waits().with(|e| (e.agent, e.away, e.listed) = (None, away(-10, 60), false)),
            MachineDown,
            "the machine is down for maintenance from",
        ),
    ]
}

/// Examples in which nothing useful is offered.
fn unoffered() -> Vec<(Example, Cause, &'static str)> {
    use Cause::*;
    vec![
        (waits().with(|e| e.framework.subscribed = false), NotSubscribed, "no subscription"),
        (waits().with(|e| e.framework.registered.as_mut().unwrap().active = false), Suppressed, "inactive"),
        (waits().with(|e| e.framework.registered.as_mut().unwrap().roles.clear()), RoleNotAllowed, "no role"),
        (waits().with(|e| e.agent.as_mut().unwrap().multi_role = false), NoMultiRole, "(Mesos 1.12.0)"),
        (
            waits().with(|e| {
                e.agent.as_mut().unwrap().shares.push(share("*", "gpus", 2.0, 0.0));
                e.framework.registered.as_mut().unwrap().gpus = false;
            }),
            Gpus,
            "GPU_RESOURCES",
        ),
        (
            waits().with(|e| {
                e.agent.as_mut().unwrap().place.region = Some("south".into());
                e.framework.registered.as_mut().unwrap().region_aware = false;
            }),
            RemoteRegion,
            "region `south`",
        ),
        (
            waits().with(|e| {
                e.agent.as_mut().unwrap().shares =
                    vec![share("*", "cpus", 4.0, 3.9), share("*", "mem", 4096.0, 0.0)]
            }),
            TooFewResources,
            "the agent has 0.1 of 4 cpus free, an executor needs 0.21",
        ),
        (
            waits().with(|e| {
                e.agent.as_mut().unwrap().shares =
                    vec![share("db", "cpus", 4.0, 0.0), share("*", "mem", 4096.0, 0.0)];
            }),
            ReservedToOthers,
            "0 of 0 cpus free, an executor needs 0.21; 4 cpus reserved to role `db`",
        ),
        (
            waits().with(|e| e.agent.as_mut().unwrap().shares[0].role = "logherd".into()),
            AwaitingFirstOffer,
            SAID,
        ),
    ]
}

/// Examples in which nothing but what happened last is the cause.
fn plain() -> Vec<(Example, Cause, &'static str)> {
    use Cause::*;
    let on_their_own = [
        AwaitingOffer,
        TooFewResources,
        ExecutorEnding,
        OfferWithdrawn,
        NotStored,
        ToldToEnd,
        HeldBack,
        ReservationDenied,
    ];
    let of_a_slot = [Runs, NotAttached, Intended, Asked, TakenUp, Starting, Waits, Ending, Unreachable];
    let alone = on_their_own.map(|own| (Example::of(own), own, SAID));
    let beside = Example::of(Runs).held().with(|e| e.beside = Some("another one waits"));
    let overlaps = [(beside, Overlaps, "another one waits")];
    alone
        .into_iter()
        .chain(of_a_slot.map(|own| (Example::of(own).held(), own, SAID)))
        .chain(overlaps)
        .collect()
}

#[test]
fn every_cause_is_found_where_it_is_the_cause() {
    let mut found = BTreeSet::new();
    for (number, (example, expected, words)) in
        kept().into_iter().chain(unoffered()).chain(plain()).enumerate()
    {
        let (cause, reason) = example.found();
        assert_eq!(cause, expected, "example {number}: {reason}");
        assert!(reason.contains(words), "example {number}, {cause:?}: {reason}");
        found.insert(cause);
    }
    let missing: Vec<_> = Cause::ALL.iter().filter(|cause| !found.contains(cause)).collect();
    assert!(missing.is_empty(), "no example for {missing:?}");
}

/// What may happen to one of a few agents.
#[derive(Clone, Copy, Debug)]
enum Happens {
    Listed(u8, u8),
    Added(u8, u8),
    Removed(u8),
    Offered(u8, bool),
    Updated(u8),
    Connected(bool),
    Described(bool),
    Passed(u16),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        3 => (any::<u8>(), any::<u8>()).prop_map(|(which, how)| Happens::Listed(which, how)),
        2 => (0..6u8, any::<u8>()).prop_map(|(n, how)| Happens::Added(n, how)),
        1 => (0..6u8).prop_map(Happens::Removed),
        4 => (0..6u8, any::<bool>()).prop_map(|(n, enough)| Happens::Offered(n, enough)),
        4 => any::<u8>().prop_map(Happens::Updated),
        1 => any::<bool>().prop_map(Happens::Connected),
        1 => any::<bool>().prop_map(Happens::Described),
        2 => (0..400u16).prop_map(Happens::Passed),
    ]
}

fn nth(n: u8, how: u8) -> Agent {
    use Standing::*;
    let standings = [Active, Active, Disconnected, NotBack, Deactivated, Draining, Drained];
    let mut agent = agent(&format!("m-S{n}"), Some(standings[usize::from(how) % standings.len()]));
    agent.multi_role = how < 200;
    agent.shares = vec![share("*", "cpus", f64::from(how) / 50.0, 0.0), share("*", "mem", 4096.0, 0.0)];
    agent
}

fn apply(core: &mut Core, listed: &mut BTreeSet<String>, now: &mut Moment, step: Happens, counter: usize) {
    let states = [
        TaskState::Starting,
        TaskState::Running,
        TaskState::Killing,
        TaskState::Failed,
        TaskState::Unreachable,
    ];
    match step {
        Happens::Listed(which, how) => {
            let agents: Vec<Agent> =
                (0..6u8).filter(|n| which & (1 << n) != 0).map(|n| nth(n, how.wrapping_mul(n + 1))).collect();
            *listed = agents.iter().map(|agent| agent.id.0.clone()).collect();
            core.agents_listed(*now, agents);
        }
        Happens::Added(n, how) => {
            listed.insert(nth(n, how).id.0);
            core.agent_added(*now, nth(n, how));
        }
        Happens::Removed(n) => {
            listed.remove(&nth(n, 0).id.0);
            core.agent_removed(*now, &nth(n, 0).id);
        }
        Happens::Offered(n, enough) => {
            let cpus = if enough { 4.0 } else { 0.1 };
            core.offered(*now, vec![offer(&format!("o{counter}"), &nth(n, 0).id.0, cpus)]);
        }
        Happens::Updated(which) => {
            let nodes: Vec<_> =
                core.nodes(*now).into_iter().filter_map(|node| Some((node.agent, node.task?))).collect();
            if let Some((agent, task)) = nodes.get(usize::from(which) % nodes.len().max(1)) {
                let state = states[usize::from(which) % states.len()];
                core.updated(*now, &update(task, &agent.0, state, Some(which)));
            }
        }
        Happens::Connected(true) => core.subscribed(*now, "f-1".into()),
        Happens::Connected(false) => core.disconnected(*now),
        Happens::Described(active) => {
            let known = Known {
                id: "f-1".into(),
                name: "logherd".into(),
                roles: vec!["logherd".into()],
                active,
                connected: true,
                gpus: true,
                region_aware: true,
            };
            core.cluster_described(*now, &Cluster { frameworks: vec![known], ..Cluster::default() });
        }
        Happens::Passed(seconds) => {
            *now = now.after(Duration::from_secs(seconds.into()));
            core.tick(*now);
        }
    }
    for effect in core.take_effects() {
        if let Effect::Save(ticket, _) = effect {
            core.saved(*now, ticket, Ok(()));
        }
    }
    core.take_effects();
}

proptest! {
    #[test]
    fn every_agent_that_is_listed_has_exactly_one_state_and_all_of_them_add_up(
        steps in prop::collection::vec(happens(), 1..60),
    ) {
        let (mut now, mut listed) = (NOW, BTreeSet::new());
        let mut core = Core::new(rules(), Some("f-1".into()), vec![], now);
        core.subscribed(now, "f-1".into());
        for (counter, step) in steps.into_iter().enumerate() {
            apply(&mut core, &mut listed, &mut now, step, counter);
            let nodes = core.nodes(now);
            let ids: BTreeSet<&str> = nodes.iter().map(|node| node.agent.0.as_str()).collect();
            prop_assert_eq!(ids.len(), nodes.len());
            let of_master: BTreeSet<String> =
                nodes.iter().filter(|node| node.listed).map(|node| node.agent.0.clone()).collect();
            prop_assert_eq!(&of_master, &listed);
            let count = |which: fn(Coverage) -> bool| nodes.iter().filter(|n| n.listed && which(n.coverage)).count();
            let covered = count(|coverage| coverage == Coverage::Running);
            let excluded = count(|coverage| coverage == Coverage::Excluded);
            prop_assert_eq!(covered + count(Coverage::is_missing) + excluded, listed.len());
            for node in &nodes {
                prop_assert_eq!(node.coverage, node.cause.coverage());
                prop_assert!(!node.reason.is_empty() && node.since <= now, "{:?}", node);
                prop_assert!(node.coverage != Coverage::Running || node.executor.is_some(), "{:?}", node);
            }
        }
    }
}
