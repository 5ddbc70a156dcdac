//! Laws that hold whatever schedulers, executors, operators and failures do: the same actions in any order.

use super::client::framework_info;
use super::world::World;
use crate::agent::core as agent;
use crate::master::core as master;
use crate::settings::Timings;
use proptest::prelude::*;
use proto::mesos::v1::{self as mesos, executor, master as operator_api, scheduler};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

#[derive(Clone, Debug)]
enum Action {
    Subscribe(usize),
    Disconnect(usize),
    /// Accepts the newest offer (also when it was used before) with this many tasks of this size on it.
    Accept {
        framework: usize,
        tasks: usize,
        thousandths: u32,
    },
    Decline {
        framework: usize,
        seconds: u32,
    },
    Revive(usize),
    Suppress(usize),
    KillTask {
        framework: usize,
        task: usize,
    },
    Acknowledge(usize),
    Reconcile(usize),
    Teardown(usize),
    SubscribeExecutors(usize),
    Update {
        agent: usize,
        task: usize,
        state: mesos::TaskState,
    },
    ExitExecutor {
        agent: usize,
        status: i32,
    },
    KillAgent(usize),
    StartAgent(usize),
    Deactivate(usize),
    Reactivate(usize),
    ReplaceMaster,
    Wait(u32),
}

fn action() -> impl Strategy<Value = Action> {
    use Action::*;
    use mesos::TaskState as S;
    let state =
        prop_oneof![Just(S::TaskStarting), Just(S::TaskRunning), Just(S::TaskFinished), Just(S::TaskFailed)];
    let two = 0_usize..2;
    prop_oneof![
        3 => two.clone().prop_map(Subscribe),
        1 => two.clone().prop_map(Disconnect),
        6 => (two.clone(), 0_usize..3, 1_u32..3000)
            .prop_map(|(framework, tasks, thousandths)| Accept { framework, tasks, thousandths }),
        2 => (two.clone(), 0_u32..10).prop_map(|(framework, seconds)| Decline { framework, seconds }),
        1 => two.clone().prop_map(Revive),
        1 => two.clone().prop_map(Suppress),
        1 => (two.clone(), 0_usize..6).prop_map(|(framework, task)| KillTask { framework, task }),
        4 => two.clone().prop_map(Acknowledge),
        1 => two.clone().prop_map(Reconcile),
        1 => two.clone().prop_map(Teardown),
        3 => two.clone().prop_map(SubscribeExecutors),
        5 => (two.clone(), 0_usize..6, state).prop_map(|(agent, task, state)| Update { agent, task, state }),
        1 => (two.clone(), 0_i32..1000).prop_map(|(agent, status)| ExitExecutor { agent, status }),
        1 => two.clone().prop_map(KillAgent),
        2 => two.clone().prop_map(StartAgent),
        1 => two.clone().prop_map(Deactivate),
        1 => two.prop_map(Reactivate),
        1 => Just(ReplaceMaster),
        4 => (1_u32..30).prop_map(Wait),
    ]
}

#[derive(Default)]
struct Player {
    stream: Option<(master::ConnectionId, String)>,
    id: Option<mesos::FrameworkId>,
    launched: usize,
}

struct Play {
    world: World,
    players: [Player; 2],
    masters: u32,
    /// The uuids that executors sent for each task, in order.
    sent: BTreeMap<String, Vec<Vec<u8>>>,
    /// Those that schedulers heard, each once.
    heard: BTreeMap<String, Vec<Vec<u8>>>,
    offers: BTreeSet<String>,
    uuids: u128,
}

impl Play {
    fn new() -> Self {
        Self {
            world: World::new("00000000-0000-4000-8000-000000000000", 2, Timings::default(), &[]),
            players: Default::default(),
            masters: 0,
            sent: BTreeMap::new(),
            heard: BTreeMap::new(),
            offers: BTreeSet::new(),
            uuids: 0,
        }
    }

    fn call(&mut self, player: usize, kind: scheduler::call::Type, call: scheduler::Call) {
        let Some((_, stream_id)) = self.players[player].stream.clone() else { return };
        let framework_id = self.players[player].id.clone();
        let call = scheduler::Call { r#type: Some(kind.into()), framework_id, ..call };
        self.world.call(call, Some(&stream_id));
    }

    fn events(&self, player: usize) -> Vec<scheduler::Event> {
        let stream = self.players[player].stream.as_ref();
        let heard = stream.and_then(|(connection, _)| self.world.schedulers.get(connection));
        heard.map(|heard| heard.events.clone()).unwrap_or_default()
    }

    fn newest_offer(&self, player: usize) -> Option<mesos::Offer> {
        let events = self.events(player);
        events
            .into_iter()
            .rev()
            .find_map(|event| event.offers)
            .and_then(|offers| offers.offers.into_iter().next())
    }

    fn play(&mut self, action: Action) {
        use scheduler::call::Type;
        match action {
            Action::Subscribe(player) => self.subscribe(player),
            Action::Disconnect(player) => {
                if let Some((connection, _)) = self.players[player].stream.take() {
                    self.world.disconnect(connection);
                }
            }
            Action::Accept { framework, tasks, thousandths } => self.accept(framework, tasks, thousandths),
            Action::Decline { framework, seconds } => {
                let Some(offer) = self.newest_offer(framework) else { return };
                let filters = Some(mesos::Filters { refuse_seconds: Some(f64::from(seconds)) });
                let decline = Some(scheduler::call::Decline { offer_ids: vec![offer.id], filters });
                self.call(framework, Type::Decline, scheduler::Call { decline, ..Default::default() });
            }
            Action::Revive(player) => self.call(player, Type::Revive, scheduler::Call::default()),
            Action::Suppress(player) => self.call(player, Type::Suppress, scheduler::Call::default()),
            Action::KillTask { framework, task } => {
                let task_id = mesos::TaskId { value: format!("task-{framework}-{task}") };
                let kill = Some(scheduler::call::Kill { task_id, ..Default::default() });
                self.call(framework, Type::Kill, scheduler::Call { kill, ..Default::default() });
            }
            Action::Acknowledge(player) => self.acknowledge(player),
            Action::Reconcile(player) => {
                let reconcile = Some(scheduler::call::Reconcile::default());
                self.call(player, Type::Reconcile, scheduler::Call { reconcile, ..Default::default() });
            }
            Action::Teardown(player) => {
                self.call(player, Type::Teardown, scheduler::Call::default());
                self.players[player].stream = None;
                self.players[player].id = None;
            }
            Action::SubscribeExecutors(agent) => self.subscribe_executors(agent),
            Action::Update { agent, task, state } => self.update(agent, task, state),
            Action::ExitExecutor { agent, status } => {
                let executor =
                    self.world.agents[agent].containers.values().next().map(|(_, id)| id.0.clone());
                if let Some(executor) = executor {
                    self.world.exit(agent, &executor, status << 8);
                }
            }
            Action::KillAgent(agent) => self.world.kill_agent(agent),
            Action::StartAgent(agent) => {
                if self.world.agents[agent].core.is_none() {
                    self.world.start_agent(agent);
                }
            }
            Action::Deactivate(agent) => self.switch(agent, true),
            Action::Reactivate(agent) => self.switch(agent, false),
            Action::ReplaceMaster => {
                self.note();
                self.masters += 1;
                let id = format!("00000000-0000-4000-8000-{:012}", self.masters);
                self.world.replace_master(&id);
                self.world.link_all();
                for player in &mut self.players {
                    player.stream = None;
                }
            }
            Action::Wait(seconds) => self.world.advance(Duration::from_secs(u64::from(seconds))),
        }
    }

    fn subscribe(&mut self, player: usize) {
        self.note();
        let framework_info = mesos::FrameworkInfo { id: self.players[player].id.clone(), ..framework_info() };
        let call = scheduler::Call {
            framework_id: framework_info.id.clone(),
            r#type: Some(scheduler::call::Type::Subscribe.into()),
            subscribe: Some(scheduler::call::Subscribe { framework_info, ..Default::default() }),
            ..Default::default()
        };
        let master::Answer::Stream { connection, stream_id } = self.world.call(call, None) else {
            panic!("a subscription is answered with a stream");
        };
        let subscribed =
            self.world.schedulers[&connection].events.iter().find_map(|event| event.subscribed.clone());
        self.players[player].stream = stream_id.map(|id| (connection, id));
        self.players[player].id = subscribed.map(|subscribed| subscribed.framework_id);
    }

    fn accept(&mut self, player: usize, tasks: usize, thousandths: u32) {
        let Some(offer) = self.newest_offer(player) else { return };
        let cpus = |thousandths: u32| {
            vec![mesos::Resource {
                name: "cpus".into(),
                r#type: mesos::value::Type::Scalar.into(),
                scalar: Some(mesos::value::Scalar { value: f64::from(thousandths) / 1000.0 }),
                ..Default::default()
            }]
        };
        let mut task_infos = Vec::new();
        for _ in 0..tasks {
            let number = self.players[player].launched;
            self.players[player].launched += 1;
            task_infos.push(mesos::TaskInfo {
                task_id: mesos::TaskId { value: format!("task-{player}-{number}") },
                agent_id: offer.agent_id.clone(),
                resources: cpus(thousandths),
                executor: Some(mesos::ExecutorInfo {
                    executor_id: mesos::ExecutorId { value: format!("executor-{player}-{}", number / 2) },
                    command: Some(mesos::CommandInfo::default()),
                    resources: cpus(100),
                    ..Default::default()
                }),
                ..Default::default()
            });
        }
        let operation = mesos::offer::Operation {
            r#type: Some(mesos::offer::operation::Type::Launch.into()),
            launch: Some(mesos::offer::operation::Launch { task_infos }),
            ..Default::default()
        };
        let filters = Some(mesos::Filters { refuse_seconds: Some(1.0) });
        let accept =
            Some(scheduler::call::Accept { offer_ids: vec![offer.id], operations: vec![operation], filters });
        self.call(player, scheduler::call::Type::Accept, scheduler::Call { accept, ..Default::default() });
    }

    fn acknowledge(&mut self, player: usize) {
        for status in
            self.events(player).into_iter().filter_map(|event| event.update).map(|update| update.status)
        {
            let (Some(uuid), Some(agent_id)) = (status.uuid, status.agent_id) else { continue };
            let acknowledge = Some(scheduler::call::Acknowledge { agent_id, task_id: status.task_id, uuid });
            let call = scheduler::Call { acknowledge, ..Default::default() };
            self.call(player, scheduler::call::Type::Acknowledge, call);
        }
    }

    fn executor_call(
        &mut self,
        agent: usize,
        framework: &str,
        executor: &str,
        call: executor::Call,
    ) -> agent::Answer {
        let call = executor::Call {
            framework_id: mesos::FrameworkId { value: framework.into() },
            executor_id: mesos::ExecutorId { value: executor.into() },
            ..call
        };
        self.world.executor_call(agent, call)
    }

    fn subscribe_executors(&mut self, agent: usize) {
        if self.world.agents[agent].core.is_none() {
            return;
        }
        let all: Vec<(String, String)> =
            self.world.agents[agent].containers.values().map(|(f, e)| (f.0.clone(), e.0.clone())).collect();
        for (framework, executor) in all {
            let call = executor::Call {
                r#type: Some(executor::call::Type::Subscribe.into()),
                subscribe: Some(executor::call::Subscribe::default()),
                ..Default::default()
            };
            self.executor_call(agent, &framework, &executor, call);
        }
    }

    /// Sends an update for a task that was launched on this agent, as its executor would.
    fn update(&mut self, agent: usize, task: usize, state: mesos::TaskState) {
        if self.world.agents[agent].core.is_none() {
            return;
        }
        let heard = self.world.agents[agent].executors.values().flat_map(|heard| &heard.events);
        let launched: Vec<mesos::TaskInfo> =
            heard.filter_map(|event| event.launch.as_ref()).map(|launch| launch.task.clone()).collect();
        let Some(info) = launched.get(task) else { return };
        let executor = info.executor.clone().unwrap();
        self.uuids += 1;
        let uuid =
            uuid::Builder::from_random_bytes(self.uuids.to_be_bytes()).into_uuid().into_bytes().to_vec();
        let status = mesos::TaskStatus {
            task_id: info.task_id.clone(),
            state: state.into(),
            source: Some(mesos::task_status::Source::Executor.into()),
            uuid: Some(uuid.clone()),
            ..Default::default()
        };
        let call = executor::Call {
            r#type: Some(executor::call::Type::Update.into()),
            update: Some(executor::call::Update { status }),
            ..Default::default()
        };
        let framework = executor.framework_id.unwrap().value;
        if let agent::Answer::Accepted =
            self.executor_call(agent, &framework, &executor.executor_id.value, call)
        {
            self.sent.entry(format!("{framework} {}", info.task_id.value)).or_default().push(uuid);
        }
    }

    fn switch(&mut self, agent: usize, off: bool) {
        use operator_api::call::Type;
        let Some(agent_id) = self.agents().get(agent).and_then(|agent| agent.agent_info.id.clone()) else {
            return;
        };
        let call = if off {
            let deactivate_agent = Some(operator_api::call::DeactivateAgent { agent_id });
            operator_api::Call {
                r#type: Some(Type::DeactivateAgent.into()),
                deactivate_agent,
                ..Default::default()
            }
        } else {
            let reactivate_agent = Some(operator_api::call::ReactivateAgent { agent_id });
            operator_api::Call {
                r#type: Some(Type::ReactivateAgent.into()),
                reactivate_agent,
                ..Default::default()
            }
        };
        self.world.operate(call);
    }

    fn agents(&mut self) -> Vec<operator_api::response::get_agents::Agent> {
        let kind = Some(operator_api::call::Type::GetAgents.into());
        match self.world.operate(operator_api::Call { r#type: kind, ..Default::default() }) {
            master::Answer::Response(response) => response.get_agents.unwrap().agents,
            other => panic!("{other:?}"),
        }
    }

    /// Remembers what schedulers have heard so far; a new subscription starts a new stream.
    fn note(&mut self) {
        for player in 0..2 {
            let Some(id) = self.players[player].id.clone() else { continue };
            for event in self.events(player) {
                if let Some(status) = event.update.map(|update| update.status)
                    && status.source() == mesos::task_status::Source::Executor
                    && let Some(uuid) = status.uuid
                {
                    let heard =
                        self.heard.entry(format!("{} {}", id.value, status.task_id.value)).or_default();
                    if !heard.contains(&uuid) {
                        heard.push(uuid);
                    }
                }
            }
        }
    }

    fn check(&mut self) {
        self.note();
        for agent in self.agents() {
            for name in ["cpus", "mem", "disk"] {
                let sum = |resources: &[mesos::Resource]| -> i64 {
                    let named = resources.iter().filter(|resource| resource.name == name);
                    named.map(|resource| (resource.scalar.unwrap().value * 1000.0).round() as i64).sum()
                };
                let (total, held, offered) = (
                    sum(&agent.total_resources),
                    sum(&agent.allocated_resources),
                    sum(&agent.offered_resources),
                );
                assert!(held + offered <= total, "{name}: {held} held and {offered} offered of {total}");
            }
        }
        for (task, heard) in &self.heard {
            let sent = self.sent.get(task).cloned().unwrap_or_default();
            let mut rest = sent.iter();
            let in_order = heard.iter().all(|uuid| rest.any(|sent| sent == uuid));
            assert!(in_order, "{task}: sent {sent:?}, heard {heard:?}");
        }
    }

    /// No offer comes twice.
    fn check_offers(&mut self, before: &BTreeMap<master::ConnectionId, usize>) {
        for (connection, heard) in &self.world.schedulers {
            let new = &heard.events[before.get(connection).copied().unwrap_or(0).min(heard.events.len())..];
            for offer in
                new.iter().filter_map(|event| event.offers.as_ref()).flat_map(|offers| &offers.offers)
            {
                assert!(self.offers.insert(offer.id.value.clone()), "{} was offered before", offer.id.value);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_promised_twice_and_updates_keep_their_order(
        actions in proptest::collection::vec(action(), 1..60)
    ) {
        let mut play = Play::new();
        play.world.advance(Duration::from_secs(1));
        play.play(Action::Subscribe(0));
        play.check_offers(&BTreeMap::new());
        for action in actions {
            let replaced = matches!(action, Action::ReplaceMaster);
            let before: BTreeMap<_, _> =
                play.world.schedulers.iter().map(|(id, heard)| (*id, heard.events.len())).collect();
            play.play(action);
            if !replaced {
                play.check_offers(&before);
            }
            play.check();
        }
    }
}

#[test]
fn an_offer_that_was_used_is_refused_and_the_tasks_are_dropped() {
    let mut play = Play::new();
    play.world.advance(Duration::from_secs(1));
    play.subscribe(0);
    let offer = play.newest_offer(0).unwrap();
    play.accept(0, 1, 100);
    assert_eq!(play.newest_offer(0).unwrap().id, offer.id);
    play.accept(0, 1, 100);
    let dropped =
        play.events(0).into_iter().filter_map(|event| event.update).map(|update| update.status.state());
    assert_eq!(dropped.collect::<Vec<_>>(), [mesos::TaskState::TaskDropped]);
}

#[test]
fn a_new_master_learns_of_tasks_through_their_agents_and_takes_the_framework_back() {
    let mut play = Play::new();
    play.world.advance(Duration::from_secs(1));
    play.subscribe(0);
    play.accept(0, 1, 100);
    play.subscribe_executors(0);
    play.subscribe_executors(1);
    for agent in 0..2 {
        play.update(agent, 0, mesos::TaskState::TaskRunning);
    }
    play.acknowledge(0);
    play.play(Action::ReplaceMaster);
    let id = play.players[0].id.clone();
    play.subscribe(0);
    assert_eq!(play.players[0].id, id);
    play.play(Action::Reconcile(0));
    let states: Vec<_> = play
        .events(0)
        .into_iter()
        .filter_map(|event| event.update)
        .map(|update| update.status.state())
        .collect();
    assert_eq!(states, [mesos::TaskState::TaskRunning]);
}

#[test]
fn what_agents_report_is_silent_until_they_are_back_and_gone_when_they_do_not_return() {
    let mut play = Play::new();
    play.world.advance(Duration::from_secs(1));
    play.subscribe(0);
    let agent_id = play.newest_offer(0).unwrap().agent_id;
    for agent in 0..2 {
        play.world.kill_agent(agent);
    }
    play.play(Action::ReplaceMaster);
    play.subscribe(0);
    let task = scheduler::call::reconcile::Task {
        task_id: mesos::TaskId { value: "any".into() },
        agent_id: Some(agent_id),
    };
    let reconcile = || {
        let reconcile = Some(scheduler::call::Reconcile { tasks: vec![task.clone()] });
        scheduler::Call { reconcile, ..Default::default() }
    };
    play.call(0, scheduler::call::Type::Reconcile, reconcile());
    assert!(play.events(0).iter().all(|event| event.update.is_none()));
    play.world.advance(Duration::from_secs(601));
    play.call(0, scheduler::call::Type::Reconcile, reconcile());
    let events = play.events(0);
    assert_eq!(events.iter().filter(|event| event.failure.is_some()).count(), 2);
    let states: Vec<_> =
        events.into_iter().filter_map(|e| e.update).map(|update| update.status.state()).collect();
    assert_eq!(states, [mesos::TaskState::TaskUnreachable]);
}
