//! Shows when declined offers are asked for again, and that nodes that wait get theirs whatever others do.
use super::super::Core;
use super::super::cluster::{Offer, TaskState};
use super::super::effects::{Call, Effect};
use super::super::resources::{Piece, Reserved, Thousandths};
use super::super::tests::{NOW, agent, calls, launch, offer, ready, run, saves, update};
use crate::ids::{AgentId, Moment, OfferId, TaskId};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

fn after(seconds: f64) -> Moment {
    NOW.after(Duration::from_secs_f64(seconds))
}

/// Lets time pass in steps of half a second, and stores what is to be stored; gives the moments at which all was asked for.
fn asked_between(core: &mut Core, from: f64, to: f64) -> Vec<f64> {
    let mut asked = Vec::new();
    let mut at = from;
    while at <= to {
        core.tick(after(at));
        let effects = core.take_effects();
        saves(&effects).into_iter().for_each(|(ticket, _)| core.saved(after(at), ticket, Ok(())));
        if calls(&effects).contains(&Call::Revive) {
            asked.push(at);
        }
        at += 0.5;
    }
    asked
}

fn end(core: &mut Core, task: &TaskId, agent: &str, at: f64) {
    core.updated(after(at), &update(task, agent, TaskState::Killed, Some(9)));
    saves(&core.take_effects()).into_iter().for_each(|(ticket, _)| core.saved(after(at), ticket, Ok(())));
}

#[test]
fn agents_that_come_are_not_asked_for_since_nothing_keeps_their_offers_away() {
    let mut core = ready();
    for n in 0..200_u32 {
        let at = f64::from(n);
        core.agent_added(after(at), agent(&format!("s{n}"), None));
        assert_eq!(asked_between(&mut core, at, at + 0.5), [0.0; 0]);
        launch(&mut core, &format!("s{n}"), after(at + 0.9));
    }
}

#[test]
fn an_agent_of_which_nothing_is_offered_is_asked_for_more_and_more_seldom_and_others_keep_their_pace() {
    let mut core = ready();
    core.agents_listed(NOW, vec![agent("never", None)]);
    let asked = asked_between(&mut core, 0.0, 4000.0);
    assert_eq!(asked[..6], [30.0, 90.0, 210.0, 450.0, 930.0, 1530.0]);
    core.agents_listed(after(4000.0), vec![agent("never", None), agent("new", None)]);
    let asked = asked_between(&mut core, 4000.5, 4031.0);
    assert_eq!(asked, [4030.5], "30 s after the new one came");
}

#[test]
fn a_node_that_is_refused_again_whenever_it_was_asked_for_is_asked_for_more_and_more_seldom() {
    let mut core = ready();
    let seen = agent("held", None);
    let id = seen.id.clone();
    core.agents_listed(NOW, vec![seen]);
    let mut asked = Vec::new();
    for step in 0..80_u32 {
        let at = f64::from(step) / 2.0;
        core.nodes.refused(&id, after(at + 600.0));
        asked.extend(asked_between(&mut core, at, at));
    }
    assert_eq!(asked, [3.0, 4.0, 6.0, 10.0, 18.0, 28.0, 38.0]);
}

#[test]
fn a_node_that_is_full_is_never_asked_for_since_more_than_was_refused_is_offered_by_itself() {
    let mut core = ready();
    for n in 0..24 {
        let at = f64::from(n) * 600.0;
        core.offered(after(at), vec![offer(&format!("o{n}"), "full", 0.1)]);
        assert!(matches!(&calls(&core.take_effects())[..], [Call::Decline { .. }]));
        assert_eq!(asked_between(&mut core, at, at + 599.0), [0.0; 0]);
    }
}

#[test]
fn after_an_end_mesos_offers_by_itself_and_is_asked_only_when_it_does_not() {
    let mut core = ready();
    let (task, ..) = launch(&mut core, "a", NOW);
    run(&mut core, &task, "a", NOW);
    core.offered(after(6.0), vec![offer("rest", "a", 3.0)]);
    core.take_effects();
    end(&mut core, &task, "a", 100.0);
    assert_eq!(asked_between(&mut core, 100.0, 102.5), [0.0; 0]);
    let (task, ..) = launch(&mut core, "a", after(102.6));
    run(&mut core, &task, "a", after(102.6));
    end(&mut core, &task, "a", 200.0);
    // Others took what became free, so that what is left is contained in what was refused.
    assert_eq!(asked_between(&mut core, 200.0, 225.0), [204.0], "a second of pause, three for Mesos");
    core.offered(after(226.0), vec![offer("left", "a", 2.5)]);
    assert_eq!(saves(&core.take_effects()).len(), 1);
}

#[test]
fn what_was_refused_beside_an_executor_does_not_matter_where_no_other_would_have_fitted_in() {
    let mut core = ready();
    core.offered(NOW, vec![offer("small", "a", 0.1)]);
    core.take_effects();
    core.agents_listed(after(1.0), vec![agent("a", None)]);
    core.offered(after(1.0), vec![offer("small-again", "a", 0.2)]);
    core.take_effects();
    assert_eq!(asked_between(&mut core, 1.0, 600.0), [0.0; 0]);
}

#[test]
fn what_was_held_back_for_a_maintenance_that_is_called_off_is_asked_for() {
    let mut core = ready();
    let window = crate::core::cluster::Unavailability {
        start: after(10.0),
        duration: Some(Duration::from_secs(3000)),
    };
    core.agents_listed(NOW, vec![agent("a", None)]);
    core.offered(NOW, vec![Offer { unavailability: Some(window), ..offer("o1", "a", 4.0) }]);
    assert!(matches!(&calls(&core.take_effects())[..], [Call::Decline { .. }]));
    assert_eq!(asked_between(&mut core, 0.5, 100.0), [0.0; 0], "it is known to be away");
    core.maintenance_planned(after(100.0), &[]);
    assert_eq!(asked_between(&mut core, 100.0, 110.0), [103.0]);
}

#[test]
fn the_larger_the_cluster_the_further_apart_it_is_asked() {
    let mut core = ready();
    core.agents_listed(NOW, (0..5000).map(|n| agent(&format!("s{n}"), None)).collect());
    let asked = asked_between(&mut core, 0.0, 30.0);
    assert_eq!(asked, [30.0], "once for all of them");
    for n in 0..20_u32 {
        core.revive_soon(after(31.0 + f64::from(n)));
        asked_between(&mut core, 31.0 + f64::from(n), 31.5 + f64::from(n));
    }
    core.take_effects();
    let asked: Vec<f64> = (0..40)
        .flat_map(|n| {
            let at = 60.0 + f64::from(n);
            core.revive_soon(after(at));
            asked_between(&mut core, at, at + 0.5)
        })
        .collect();
    assert!(asked.windows(2).all(|pair| pair[1] - pair[0] >= 5.0), "{asked:?}");
}

/// What an executor takes of the processors, in thousandths.
const NEED: u64 = 210;

/// What befalls a small cluster.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Another framework takes so much of an agent, as far as there is, or gives so much back.
    OthersTake(usize, u64),
    OthersGive(usize, u64),
    /// An executor ends.
    End(usize),
    Comes,
    /// So many half seconds pass.
    Pass(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..6usize, 0..4000u64).prop_map(|(n, much)| Step::OthersTake(n, much)),
        3 => (0..6usize, 0..4000u64).prop_map(|(n, much)| Step::OthersGive(n, much)),
        3 => (0..6usize).prop_map(Step::End),
        1 => Just(Step::Comes),
        4 => (1..60u8).prop_map(Step::Pass),
    ]
}

#[derive(Default)]
struct Node {
    total: u64,
    others: u64,
    ours: Option<TaskId>,
    /// What was refused, and until when.
    filters: Vec<(u64, Moment)>,
    /// Since when there is room for an executor, and none.
    waits_since: Option<Moment>,
}

impl Node {
    fn free(&self) -> u64 {
        self.total - self.others - if self.ours.is_some() { NEED } else { 0 }
    }
}

/// A master as the core sees it: it offers all that is free of an agent each second, but for what is contained in what was
/// refused.
struct Cluster {
    now: Moment,
    core: Core,
    nodes: BTreeMap<AgentId, Node>,
    offered: BTreeMap<OfferId, (AgentId, u64)>,
    asked: usize,
    /// The number of the call to ask that comes to nothing.
    lost: Option<usize>,
}

impl Cluster {
    fn new(nodes: usize, lost: Option<usize>) -> Self {
        let (none, offered) = (BTreeMap::new(), BTreeMap::new());
        let mut cluster = Self { now: NOW, core: ready(), nodes: none, offered, asked: 0, lost };
        (0..nodes).for_each(|_| cluster.comes());
        cluster
    }

    fn comes(&mut self) {
        let id = format!("s{}", self.nodes.len());
        self.core.agent_added(self.now, agent(&id, None));
        self.nodes.insert(AgentId(id), Node { total: 4000, ..Node::default() });
        self.carry_out();
    }

    fn nth(&mut self, n: usize) -> (AgentId, &mut Node) {
        let n = n % self.nodes.len();
        let (agent, node) = self.nodes.iter_mut().nth(n).unwrap();
        (agent.clone(), node)
    }

    fn perform(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::OthersTake(n, much) => {
                let (agent, node) = self.nth(n);
                node.others += much.min(node.free());
                // What is offered to us cannot be taken by others, unless the offer is rescinded.
                let gone: Vec<OfferId> = self
                    .offered
                    .iter()
                    .filter(|(_, (of, _))| *of == agent)
                    .map(|(id, _)| id.clone())
                    .collect();
                for offer in gone {
                    self.offered.remove(&offer);
                    self.core.rescinded(&offer);
                }
            }
            Step::OthersGive(n, much) => {
                let (_, node) = self.nth(n);
                node.others -= much.min(node.others);
            }
            Step::End(n) => {
                let now = self.now;
                let (agent, node) = self.nth(n);
                if let Some(task) = node.ours.take() {
                    self.core.updated(now, &update(&task, &agent.0, TaskState::Killed, Some(9)));
                }
            }
            Step::Comes => self.comes(),
            Step::Pass(halves) => {
                for _ in 0..halves {
                    self.now = self.now.after(Duration::from_millis(500));
                    self.core.tick(self.now);
                    self.carry_out();
                    if self.now.0.is_multiple_of(1000) {
                        self.allocate();
                        self.carry_out();
                    }
                    self.judge()?;
                }
            }
        }
        self.carry_out();
        Ok(())
    }

    fn allocate(&mut self) {
        let mut offers = Vec::new();
        for (agent, node) in &mut self.nodes {
            node.filters.retain(|(_, until)| *until > self.now);
            let free = node.free();
            let kept_away = node.filters.iter().any(|(refused, _)| free <= *refused);
            if free > 0 && !kept_away && !self.offered.values().any(|(of, _)| of == agent) {
                let id = format!("o-{agent}-{}", self.now.0);
                #[allow(clippy::cast_precision_loss, reason = "some thousands")]
                offers.push(offer(&id, &agent.0, free as f64 / 1000.0));
                self.offered.insert(OfferId(id), (agent.clone(), free));
            }
        }
        self.core.offered(self.now, offers);
    }

    fn carry_out(&mut self) {
        loop {
            let effects = self.core.take_effects();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                match effect {
                    Effect::Save(ticket, _) => self.core.saved(self.now, ticket, Ok(())),
                    Effect::Call(call) => self.called(call),
                    _ => {}
                }
            }
        }
    }

    fn called(&mut self, call: Call) {
        match call {
            Call::Accept { offers, launch, refuse, .. } => {
                for (agent, much) in offers.iter().filter_map(|offer| self.offered.remove(offer)) {
                    let node = self.nodes.get_mut(&agent).unwrap();
                    node.ours = Some(launch.task.clone());
                    node.filters.push((much - NEED, self.now.after(refuse)));
                    self.core.updated(self.now, &update(&launch.task, &agent.0, TaskState::Running, Some(1)));
                }
            }
            Call::Decline { offers, refuse } => {
                for (agent, much) in offers.iter().filter_map(|offer| self.offered.remove(offer)) {
                    self.nodes.get_mut(&agent).unwrap().filters.push((much, self.now.after(refuse)));
                }
            }
            Call::Revive => {
                self.asked += 1;
                if self.lost != Some(self.asked) {
                    self.nodes.values_mut().for_each(|node| node.filters.clear());
                }
            }
            _ => {}
        }
    }

    /// No node has room for an executor and none for longer than it may. With a call that came to nothing that is as long
    /// as it takes until there is doubt.
    fn judge(&mut self) -> Result<(), String> {
        let may = Duration::from_secs(if self.lost.is_some_and(|lost| lost <= self.asked) { 80 } else { 10 });
        for (agent, node) in &mut self.nodes {
            let waits = node.ours.is_none() && node.free() >= NEED;
            node.waits_since = if waits { node.waits_since.or(Some(self.now)) } else { None };
            let waited = node.waits_since.map_or(Duration::ZERO, |since| self.now.since(since));
            if waited > may {
                return Err(format!("{agent} has had {} free and no executor for {waited:?}", node.free()));
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_others_take_and_give_a_node_with_room_has_its_executor_within_ten_seconds(
        steps in prop::collection::vec(step(), 1..120), lost in prop::option::of(1..4usize),
    ) {
        let mut cluster = Cluster::new(3, lost);
        for step in steps {
            cluster.perform(step).map_err(TestCaseError::fail)?;
        }
        cluster.perform(Step::Pass(200)).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn where_others_take_nothing_mesos_is_never_asked_whoever_comes_and_whatever_ends(
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut cluster = Cluster::new(3, None);
        for step in steps.into_iter().filter(|step| !matches!(step, Step::OthersTake(..))) {
            cluster.perform(step).map_err(TestCaseError::fail)?;
        }
        prop_assert_eq!(cluster.asked, 0);
    }
}

#[test]
fn what_another_framework_of_the_role_has_reserved_keeps_no_offer_away() {
    let mut core = ready();
    core.agents_listed(NOW, vec![agent("full", None)]);
    let mut full = offer("o1", "full", 0.1);
    let theirs = Reserved::Labelled("of-another".into());
    let reserved: Vec<Piece> =
        full.pieces.iter().map(|piece| Piece { reserved: theirs.clone(), ..piece.clone() }).collect();
    full.pieces.extend(reserved.into_iter().map(|piece| Piece { amount: Thousandths::of(1000.0), ..piece }));
    core.offered(NOW, vec![full]);
    assert!(matches!(&calls(&core.take_effects())[..], [Call::Decline { .. }]));
    assert_eq!(asked_between(&mut core, 0.0, 599.0), [0.0; 0]);
}
