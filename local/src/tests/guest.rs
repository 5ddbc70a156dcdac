//! One scheduler in a world without waiting, and what operators do there: for tests of single points of behaviour.

use super::world::World;
use crate::agent::core as agent;
use crate::master::core as master;
use crate::settings::Timings;
use proto::mesos::v1::{self as mesos, executor, master as operator_api, scheduler};
use scheduler::call::Type;
use std::time::Duration;

pub(super) const MASTER: &str = "00000000-0000-4000-8000-000000000000";

/// A world and the scheduler in it.
pub(super) struct Guest {
    pub(super) world: World,
    pub(super) id: mesos::FrameworkId,
    pub(super) connection: master::ConnectionId,
    stream_id: String,
    /// So many events of the stream were looked at.
    seen: usize,
}

impl Guest {
    /// A scheduler that has just subscribed, in a world of so many agents.
    pub(super) fn new(agents: usize) -> Self {
        Self::with(World::new(MASTER, agents, Timings::default(), &[]), super::client::framework_info())
    }

    pub(super) fn with(mut world: World, info: mesos::FrameworkInfo) -> Self {
        world.advance(Duration::from_secs(1));
        let (connection, stream_id) = subscribe(&mut world, info);
        let subscribed = world.schedulers[&connection].events[0].subscribed.clone();
        let id = subscribed.expect("SUBSCRIBED comes first").framework_id;
        Self { world, id, connection, stream_id, seen: 0 }
    }

    /// Subscribes again with the same id.
    pub(super) fn subscribe_again(&mut self) {
        let info = mesos::FrameworkInfo { id: Some(self.id.clone()), ..super::client::framework_info() };
        (self.connection, self.stream_id) = subscribe(&mut self.world, info);
        self.seen = 0;
    }

    pub(super) fn call(&mut self, kind: Type, call: scheduler::Call) -> master::Answer {
        let framework_id = Some(self.id.clone());
        let call = scheduler::Call { r#type: Some(kind.into()), framework_id, ..call };
        self.world.call(call, Some(&self.stream_id))
    }

    /// The events since the last look, without heartbeats.
    pub(super) fn news(&mut self) -> Vec<scheduler::Event> {
        let events = &self.world.schedulers[&self.connection].events;
        let new = events[self.seen..].to_vec();
        self.seen = events.len();
        new.into_iter().filter(|event| event.r#type() != scheduler::event::Type::Heartbeat).collect()
    }

    /// The offers among the events since the last look.
    pub(super) fn new_offers(&mut self) -> Vec<mesos::Offer> {
        self.news().into_iter().filter_map(|event| event.offers).flat_map(|offers| offers.offers).collect()
    }

    /// The statuses among the events since the last look.
    pub(super) fn new_statuses(&mut self) -> Vec<mesos::TaskStatus> {
        self.news().into_iter().filter_map(|event| event.update).map(|update| update.status).collect()
    }

    pub(super) fn accept(&mut self, offer: &mesos::Offer, operations: Vec<mesos::offer::Operation>) {
        let filters = Some(mesos::Filters { refuse_seconds: Some(0.0) });
        let accept = scheduler::call::Accept { offer_ids: vec![offer.id.clone()], operations, filters };
        self.call(Type::Accept, scheduler::Call { accept: Some(accept), ..Default::default() });
    }

    /// Launches `task-<name>` on `executor-<name>`.
    pub(super) fn launch(&mut self, offer: &mesos::Offer, name: &str) {
        self.accept(offer, vec![launch(vec![task(&offer.agent_id, name)])]);
    }

    /// Launches a task on the agent with this number and has its executor say that it runs.
    pub(super) fn run(&mut self, agent: usize, name: &str) {
        let id = self.agent_id(agent);
        let offers = self.new_offers();
        let offer = offers.iter().find(|offer| offer.agent_id == id).expect("an offer of that agent").clone();
        self.launch(&offer, name);
        self.executor(
            agent,
            name,
            executor::call::Type::Subscribe,
            executor::Call { subscribe: Some(executor::call::Subscribe::default()), ..Default::default() },
        );
        self.update(agent, name, mesos::TaskState::TaskRunning);
        self.acknowledge_all();
    }

    /// A call of `executor-<name>`.
    pub(super) fn executor(
        &mut self,
        index: usize,
        name: &str,
        kind: executor::call::Type,
        call: executor::Call,
    ) -> agent::Answer {
        let call = executor::Call {
            framework_id: self.id.clone(),
            executor_id: mesos::ExecutorId { value: format!("executor-{name}") },
            r#type: Some(kind.into()),
            ..call
        };
        self.world.executor_call(index, call)
    }

    /// `executor-<name>` says how `task-<name>` is.
    pub(super) fn update(&mut self, index: usize, name: &str, state: mesos::TaskState) {
        let status = mesos::TaskStatus {
            task_id: mesos::TaskId { value: format!("task-{name}") },
            state: state.into(),
            source: Some(mesos::task_status::Source::Executor.into()),
            uuid: Some(uuid::Uuid::new_v4().into_bytes().to_vec()),
            ..Default::default()
        };
        let update = Some(executor::call::Update { status });
        self.executor(
            index,
            name,
            executor::call::Type::Update,
            executor::Call { update, ..Default::default() },
        );
    }

    /// Acknowledges every update heard since the last look that wants it.
    pub(super) fn acknowledge_all(&mut self) {
        for status in self.new_statuses() {
            let (Some(uuid), Some(agent_id)) = (status.uuid, status.agent_id) else { continue };
            let acknowledge = Some(scheduler::call::Acknowledge { agent_id, task_id: status.task_id, uuid });
            self.call(Type::Acknowledge, scheduler::Call { acknowledge, ..Default::default() });
        }
    }

    pub(super) fn agent_id(&self, index: usize) -> mesos::AgentId {
        mesos::AgentId { value: format!("{MASTER}-S{index}") }
    }

    /// An operator's call; whether it was done.
    pub(super) fn operate(
        &mut self,
        kind: operator_api::call::Type,
        call: operator_api::Call,
    ) -> master::Answer {
        self.world.operate(operator_api::Call { r#type: Some(kind.into()), ..call })
    }

    /// What an operator is told.
    pub(super) fn ask(&mut self, kind: operator_api::call::Type) -> operator_api::Response {
        match self.operate(kind, operator_api::Call::default()) {
            master::Answer::Response(response) => *response,
            other => panic!("{other:?}"),
        }
    }
}

fn subscribe(world: &mut World, info: mesos::FrameworkInfo) -> (master::ConnectionId, String) {
    let call = scheduler::Call {
        framework_id: info.id.clone(),
        r#type: Some(Type::Subscribe.into()),
        subscribe: Some(scheduler::call::Subscribe { framework_info: info, ..Default::default() }),
        ..Default::default()
    };
    match world.call(call, None) {
        master::Answer::Stream { connection, stream_id } => (connection, stream_id.expect("a stream id")),
        other => panic!("{other:?}"),
    }
}

pub(super) fn scalar(name: &str, value: f64) -> mesos::Resource {
    mesos::Resource {
        name: name.into(),
        r#type: mesos::value::Type::Scalar.into(),
        scalar: Some(mesos::value::Scalar { value }),
        ..Default::default()
    }
}

pub(super) fn task(agent_id: &mesos::AgentId, name: &str) -> mesos::TaskInfo {
    mesos::TaskInfo {
        task_id: mesos::TaskId { value: format!("task-{name}") },
        agent_id: agent_id.clone(),
        resources: vec![scalar("cpus", 0.01), scalar("mem", 1.0)],
        executor: Some(mesos::ExecutorInfo {
            executor_id: mesos::ExecutorId { value: format!("executor-{name}") },
            command: Some(mesos::CommandInfo::default()),
            resources: vec![scalar("cpus", 0.1), scalar("mem", 32.0)],
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub(super) fn launch(task_infos: Vec<mesos::TaskInfo>) -> mesos::offer::Operation {
    mesos::offer::Operation {
        r#type: Some(mesos::offer::operation::Type::Launch.into()),
        launch: Some(mesos::offer::operation::Launch { task_infos }),
        ..Default::default()
    }
}
