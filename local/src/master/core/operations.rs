//! Keeps the operations that want feedback: what their agents say of them, until schedulers have acknowledged it.

use super::accept::Accepting;
use super::state::{Agent, Core};
use super::statuses;
use crate::ids::{AgentId, FrameworkId};
use crate::link::ToAgent;
use mesos::agent_info::capability::Type as Capability;
use mesos::offer::Operation;
use mesos::{OperationState, OperationStatus};
use proto::mesos::v1::master::response::GetOperations;
use proto::mesos::v1::{self as mesos, scheduler};
use std::collections::BTreeMap;

/// The operations with an id, by framework and that id.
pub(super) type Operations = BTreeMap<(FrameworkId, String), mesos::Operation>;

/// What an agent lacks to tell how operations end.
pub(super) fn feedback_error(agent: &Agent) -> Option<String> {
    let has = |capability| agent.described.capabilities.contains(&capability);
    let needed = [
        (Capability::ResourceProvider, "RESOURCE_PROVIDER"),
        (Capability::AgentOperationFeedback, "AGENT_OPERATION_FEEDBACK"),
    ];
    let (_, missing) = needed.into_iter().find(|(capability, _)| !has(*capability))?;
    Some(format!("Operation requested feedback, but agent {} does not have {missing}", agent.id()))
}

impl Core {
    /// Remembers an operation that was applied and has its agent tell so.
    pub(super) fn expect_feedback(&mut self, accepting: &Accepting, operation: &Operation) {
        let Some(id) = operation.id.clone() else { return };
        let (framework, agent) = (&accepting.framework, &accepting.agent);
        let pending = OperationStatus {
            operation_id: Some(id.clone()),
            state: OperationState::OperationPending.into(),
            agent_id: Some(agent.wire()),
            ..Default::default()
        };
        let uuid = self.chance.uuid().into_bytes().to_vec();
        let known = mesos::Operation {
            framework_id: Some(framework.wire()),
            agent_id: Some(agent.wire()),
            info: operation.clone(),
            latest_status: pending,
            statuses: Vec::new(),
            uuid: mesos::Uuid { value: uuid },
        };
        self.operations.insert((framework.clone(), id.value.clone()), known);
        let tell = ToAgent::Operation { framework_id: framework.clone(), operation_id: id };
        self.tell_agent(&agent.clone(), tell);
    }

    /// An agent says how an operation ended, and will again until that is acknowledged.
    pub(super) fn on_operation_status(&mut self, framework: &FrameworkId, status: OperationStatus) {
        let id = status.operation_id.as_ref().map(|id| id.value.clone()).unwrap_or_default();
        if let Some(known) = self.operations.get_mut(&(framework.clone(), id)) {
            known.latest_status = status.clone();
            known.statuses = vec![status.clone()];
        }
        self.send(framework, statuses::operation_status(status));
    }

    pub(super) fn on_acknowledge_operation(
        &mut self,
        framework: &FrameworkId,
        call: scheduler::call::AcknowledgeOperationStatus,
    ) {
        let Some(agent) = call.agent_id.as_ref().map(AgentId::from) else { return };
        let acknowledge = ToAgent::AcknowledgeOperation { uuid: call.uuid.clone() };
        if !self.tell_agent(&agent, acknowledge) {
            return;
        }
        let key = (framework.clone(), call.operation_id.value);
        let uuid = |known: &mesos::Operation| known.latest_status.uuid.clone().map(|uuid| uuid.value);
        if self.operations.get(&key).is_some_and(|known| uuid(known).as_ref() == Some(&call.uuid)) {
            self.operations.remove(&key);
        }
    }

    /// RECONCILE_OPERATIONS: the named ones, or, when none is named, every one in memory.
    pub(super) fn on_reconcile_operations(
        &mut self,
        framework: &FrameworkId,
        call: &scheduler::call::ReconcileOperations,
    ) {
        let of = |(key, _): &(&(FrameworkId, String), &mesos::Operation)| key.0 == *framework;
        let known = |known: &mesos::Operation| OperationStatus { uuid: None, ..known.latest_status.clone() };
        let statuses: Vec<OperationStatus> = if call.operations.is_empty() {
            self.operations.iter().filter(of).map(|(_, operation)| known(operation)).collect()
        } else {
            let named = call.operations.iter().map(|named| {
                let key = (framework.clone(), named.operation_id.value.clone());
                self.operations.get(&key).map_or_else(|| self.unknown_operation(named), known)
            });
            named.collect()
        };
        for status in statuses {
            self.send(framework, statuses::operation_status(status));
        }
    }

    /// What can be said of an operation that nobody has in memory.
    fn unknown_operation(&self, named: &scheduler::call::reconcile_operations::Operation) -> OperationStatus {
        let agent = named.agent_id.as_ref().map(AgentId::from);
        let (state, message) = match &agent {
            Some(agent) if self.recovered.contains_key(agent) => {
                (OperationState::OperationRecovering, "Agent is recovering")
            }
            Some(agent) if self.unreachable.contains_key(agent) => {
                (OperationState::OperationUnreachable, "Agent is unreachable")
            }
            Some(agent) if self.gone.contains(agent) => {
                (OperationState::OperationGoneByOperator, "Agent is gone")
            }
            _ => (OperationState::OperationUnknown, "Operation is unknown"),
        };
        OperationStatus {
            operation_id: Some(named.operation_id.clone()),
            state: state.into(),
            message: Some(format!("Reconciliation: {message}")),
            agent_id: named.agent_id.clone(),
            ..Default::default()
        }
    }

    pub(super) fn describe_operations(&self) -> GetOperations {
        GetOperations { operations: self.operations.values().cloned().collect() }
    }

    /// An agent leaves: nobody can tell any more how its operations ended.
    pub(super) fn lose_operations(&mut self, agent: &AgentId, state: OperationState) {
        let here =
            |operation: &mesos::Operation| operation.agent_id.as_ref().is_some_and(|id| id.value == agent.0);
        let lost: Vec<_> = self.operations.extract_if(.., |_, operation| here(operation)).collect();
        for ((framework, _), operation) in lost {
            let status = OperationStatus {
                operation_id: operation.info.id,
                state: state.into(),
                agent_id: Some(agent.wire()),
                ..Default::default()
            };
            self.send(&framework, statuses::operation_status(status));
        }
    }
}
