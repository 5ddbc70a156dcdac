//! Allocation by indices makes the same offers as allocation by looking at everything every time.

use super::*;
use crate::clock::Moment;
use crate::ids::OfferId;
use crate::link::{Described, LinkId, ToMaster};
use crate::master::core::{Birth, Effect, Input};
use crate::master::registry::Registry;
use crate::settings::Timings;
use proptest::prelude::*;
use std::time::Duration;

type Made = (FrameworkId, AgentId, String, Vec<mesos::Resource>);

#[derive(Clone, Debug)]
enum Step {
    Register {
        cpus: u32,
        mem: u32,
    },
    Subscribe {
        framework: usize,
        roles: usize,
    },
    Decline {
        which: usize,
        seconds: u32,
    },
    /// An offer is used up: what it held belongs to a task from now on.
    Hold {
        which: usize,
    },
    Unlink(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u32..9, 0u32..9).prop_map(|(cpus, mem)| Step::Register { cpus, mem: mem * 512 }),
        2 => (0usize..3, 1usize..4).prop_map(|(framework, roles)| Step::Subscribe { framework, roles }),
        4 => (any::<usize>(), 0u32..20).prop_map(|(which, seconds)| Step::Decline { which, seconds }),
        3 => any::<usize>().prop_map(|which| Step::Hold { which }),
        1 => (0usize..8).prop_map(Step::Unlink),
        2 => (0u64..15).prop_map(Step::Wait),
    ]
}

struct Play {
    core: Core,
    now: Moment,
    links: u64,
}

impl Play {
    fn new() -> Self {
        let now = Duration::from_secs(1_000_000);
        let info = mesos::MasterInfo { id: "m".into(), ..Default::default() };
        // Rounds come only when the test wants them.
        let timings = Timings { allocation: Duration::from_secs(100_000_000), ..Timings::default() };
        let birth = Birth { info, timings, roles: vec![], registry: Registry::default(), seed: 1 };
        Self { core: Core::new(birth, now), now, links: 0 }
    }

    fn does(&mut self, input: Input) -> Vec<Effect> {
        self.core.step(input, self.now)
    }

    fn play(&mut self, step: Step) {
        match step {
            Step::Register { cpus, mem } => self.register(cpus, mem),
            Step::Subscribe { framework, roles } => self.subscribe(framework, roles),
            Step::Decline { which, seconds } => {
                let Some(offer) = self.offer(which).and_then(|id| self.core.take_offer(&id)) else { return };
                let refuse = Duration::from_secs(seconds.into());
                self.core.refuse_resources(
                    &offer.framework,
                    &offer.agent,
                    &offer.role,
                    (offer.resources, refuse),
                );
            }
            Step::Hold { which } => {
                let Some(offer) = self.offer(which).and_then(|id| self.core.take_offer(&id)) else { return };
                let holder = super::super::state::Holder::Task(crate::ids::TaskId(offer.id.0.clone()));
                let agent = self.core.agents.get_mut(&offer.agent).unwrap();
                agent.held.insert((offer.framework, holder), offer.resources);
            }
            Step::Unlink(which) => {
                let link = self.core.agents.values().filter_map(|agent| agent.link).nth(which);
                link.map(|link| self.does(Input::Unlinked(link)));
            }
            Step::Wait(seconds) => self.now += Duration::from_secs(seconds),
        }
    }

    fn register(&mut self, cpus: u32, mem: u32) {
        self.links += 1;
        let scalar = |name: &str, value: u32| mesos::Resource {
            name: name.into(),
            r#type: mesos::value::Type::Scalar.into(),
            scalar: Some(mesos::value::Scalar { value: value.into() }),
            ..Default::default()
        };
        let resources = [("cpus", cpus), ("mem", mem)];
        let resources = resources.into_iter().filter(|(_, value)| *value > 0);
        let described = Described {
            info: mesos::AgentInfo {
                hostname: format!("h{}", self.links),
                resources: resources.map(|(name, value)| scalar(name, value)).collect(),
                ..Default::default()
            },
            pid: format!("slave(1)@10.0.0.1:{}", self.links),
            version: String::new(),
            capabilities: vec![mesos::agent_info::capability::Type::MultiRole],
        };
        let link = LinkId(self.links);
        self.does(Input::Linked(link));
        self.does(Input::Agent(link, ToMaster::Register(Box::new(described))));
    }

    fn subscribe(&mut self, framework: usize, roles: usize) {
        let capability = mesos::framework_info::Capability {
            r#type: Some(mesos::framework_info::capability::Type::MultiRole.into()),
        };
        let id = mesos::FrameworkId { value: format!("f{framework}") };
        let framework_info = mesos::FrameworkInfo {
            user: "u".into(),
            name: "n".into(),
            id: Some(id.clone()),
            roles: (0..roles).map(|role| format!("r{role}")).collect(),
            capabilities: vec![capability],
            ..Default::default()
        };
        let call = proto::mesos::v1::scheduler::Call {
            framework_id: Some(id),
            r#type: Some(proto::mesos::v1::scheduler::call::Type::Subscribe.into()),
            subscribe: Some(proto::mesos::v1::scheduler::call::Subscribe {
                framework_info,
                ..Default::default()
            }),
            ..Default::default()
        };
        self.does(Input::Call { call: Box::new(call), stream_id: None, principal: None });
    }

    fn offer(&self, which: usize) -> Option<OfferId> {
        let count = self.core.offers.len();
        if count == 0 {
            return None;
        }
        self.core.offers.values().nth(which % count).map(|offer| offer.id.clone())
    }

    /// What a round makes.
    fn round(&mut self) -> Vec<Made> {
        let before: Vec<OfferId> = self.core.offers.values().map(|offer| offer.id.clone()).collect();
        self.core.now = self.now;
        self.core.allocate();
        self.core.out.clear();
        let new = self.core.offers.values().filter(|offer| !before.contains(&offer.id));
        new.map(|offer| {
            let resources = offer.resources.write(Style::PLAIN);
            (offer.framework.clone(), offer.agent.clone(), offer.role.clone(), resources)
        })
        .collect()
    }

    /// What a round should make: everything is looked at for every agent, and nothing is remembered.
    fn naive_round(&self) -> Vec<Made> {
        let core = &self.core;
        let mut made: Vec<(FrameworkId, AgentId, String, Resources)> = Vec::new();
        let share = |part: &Resources| {
            let of = |name: &str| {
                let total: i64 = core.agents.values().map(|agent| agent.total.thousandths(name)).sum();
                if total == 0 { 0.0 } else { part.thousandths(name) as f64 / total as f64 }
            };
            of("cpus").max(of("mem"))
        };
        for (agent_id, agent) in core.agents.iter().filter(|(_, agent)| agent.takes_tasks()) {
            let has = |framework: &FrameworkId| -> f64 {
                let held = core.agents.values().flat_map(|agent| &agent.held);
                let held = held.filter(|((holder, _), _)| holder == framework).map(|(_, held)| held);
                let offered = core.offers.values().filter(|offer| offer.framework == *framework);
                let held: f64 = held.chain(offered.map(|offer| &offer.resources)).map(share).sum();
                let now = made.iter().filter(|made| made.0 == *framework).map(|made| share(&made.3));
                now.fold(held, |sum, more| sum + more)
            };
            let mut candidates: Vec<_> =
                core.candidates().into_iter().map(|(id, role, _)| (has(&id), id, role)).collect();
            candidates.sort_by(|a, b| a.0.total_cmp(&b.0));
            for (_, framework_id, role) in candidates {
                let mut free = agent.total.clone();
                agent.held.values().for_each(|held| free.subtract(held));
                let offered = core.offers.values().filter(|offer| offer.agent == *agent_id);
                offered.for_each(|offer| free.subtract(&offer.resources));
                made.iter().filter(|made| made.1 == *agent_id).for_each(|made| free.subtract(&made.3));
                let framework = &core.frameworks[&framework_id];
                let refused = framework.filters.refuse(agent_id, &role, &free, self.now);
                if worth_offering(&free, None) && !refused {
                    made.push((framework_id, agent_id.clone(), role, free));
                }
            }
        }
        made.into_iter()
            .map(|(framework, agent, role, free)| (framework, agent, role, free.write(Style::PLAIN)))
            .collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn a_round_makes_the_offers_that_looking_at_everything_makes(
        steps in proptest::collection::vec(step(), 1..60)
    ) {
        let mut play = Play::new();
        for step in steps {
            play.play(step);
            let mut expected = play.naive_round();
            let mut made = play.round();
            let key = |made: &Made| (made.1.clone(), made.0.clone(), made.2.clone());
            expected.sort_by_key(key);
            made.sort_by_key(key);
            prop_assert_eq!(made, expected);
        }
    }
}
