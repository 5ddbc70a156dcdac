//! Makes the events that executors get.

use super::state::Core;
use super::{ConnectionId, Effect};
use crate::ids::{ExecutorId, FrameworkId, TaskId};
use executor::event::Type;
use proto::mesos::v1::{self as mesos, executor};

impl Core {
    /// Sends an event to an executor; without a subscription it is lost, as in a real Mesos.
    pub(super) fn send(&mut self, framework: &FrameworkId, executor: &ExecutorId, event: executor::Event) {
        let connection =
            self.executor(framework, executor).and_then(|e| e.subscription.as_ref()).map(|s| s.connection);
        if let Some(connection) = connection {
            self.send_to(connection, event);
        }
    }

    pub(super) fn send_to(&mut self, connection: ConnectionId, event: executor::Event) {
        self.out.push(Effect::Send(connection, Box::new(event)));
    }
}

fn event(kind: Type) -> executor::Event {
    executor::Event { r#type: Some(kind.into()), ..Default::default() }
}

pub(super) fn subscribed(subscribed: executor::event::Subscribed) -> executor::Event {
    executor::Event { subscribed: Some(subscribed), ..event(Type::Subscribed) }
}

pub(super) fn launch(task: mesos::TaskInfo) -> executor::Event {
    executor::Event { launch: Some(executor::event::Launch { task }), ..event(Type::Launch) }
}

pub(super) fn launch_group(tasks: Vec<mesos::TaskInfo>) -> executor::Event {
    let launch_group = executor::event::LaunchGroup { task_group: mesos::TaskGroupInfo { tasks } };
    executor::Event { launch_group: Some(launch_group), ..event(Type::LaunchGroup) }
}

pub(super) fn kill(task: &TaskId, kill_policy: Option<mesos::KillPolicy>) -> executor::Event {
    let kill = executor::event::Kill { task_id: task.wire(), kill_policy };
    executor::Event { kill: Some(kill), ..event(Type::Kill) }
}

pub(super) fn acknowledged(task: &TaskId, uuid: Vec<u8>) -> executor::Event {
    let acknowledged = executor::event::Acknowledged { task_id: task.wire(), uuid };
    executor::Event { acknowledged: Some(acknowledged), ..event(Type::Acknowledged) }
}

pub(super) fn message(data: Vec<u8>) -> executor::Event {
    executor::Event { message: Some(executor::event::Message { data }), ..event(Type::Message) }
}

pub(super) fn shutdown() -> executor::Event {
    event(Type::Shutdown)
}

pub(super) fn heartbeat() -> executor::Event {
    event(Type::Heartbeat)
}
