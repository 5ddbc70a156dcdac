//! Checks that an executor's call is well-formed and allowed, and hands it to whoever answers it.

use super::state::{Core, Phase, Stage};
use super::{Answer, Claims, ContainerId};
use crate::ids::{ExecutorId, FrameworkId, is_uuid};
use crate::link::ToMaster;
use executor::Call;
use executor::call::Type;
use mesos::task_status::Source;
use proto::mesos::v1::{self as mesos, executor};

/// What is wrong with the form of a call, in Mesos' words; otherwise its type.
pub(crate) fn validate_call(call: &Call) -> Result<Type, String> {
    let missing = |name: &str| Err(format!("Expecting '{name}' to be present"));
    let kind = match call.r#type.map(Type::try_from) {
        Some(Ok(kind)) if kind != Type::Unknown => kind,
        _ => return missing("type"),
    };
    match kind {
        Type::Subscribe if call.subscribe.is_none() => missing("subscribe"),
        Type::Message if call.message.is_none() => missing("message"),
        Type::Update => match &call.update {
            None => missing("update"),
            Some(update) => update_error(call, &update.status).map_or(Ok(kind), Err),
        },
        _ => Ok(kind),
    }
}

fn update_error(call: &Call, status: &mesos::TaskStatus) -> Option<String> {
    let (executor, framework) = (&call.executor_id.value, &call.framework_id.value);
    let from = format!("from executor {executor} of framework {framework}");
    match &status.uuid {
        None => return Some("Expecting 'uuid' to be present".into()),
        Some(uuid) if !is_uuid(uuid) => return Some("Not a valid UUID".into()),
        Some(_) => {}
    }
    if let Some(other) = status.executor_id.as_ref().map(|id| &id.value).filter(|id| *id != executor) {
        return Some(format!(
            "ExecutorID in Call: {executor} does not match ExecutorID in TaskStatus: {other}"
        ));
    }
    if status.source.is_none() || status.source() != Source::Executor {
        return Some(format!("Received Call {from} with invalid source, expecting 'SOURCE_EXECUTOR'"));
    }
    if status.state() == mesos::TaskState::TaskStaging {
        return Some(format!("Received TASK_STAGING {from} which is not allowed"));
    }
    status.check_status.as_ref().and_then(check_status_error)
}

fn check_status_error(status: &mesos::CheckStatusInfo) -> Option<String> {
    use mesos::check_info::Type as Check;
    let (name, present) = match status.r#type() {
        Check::Unknown => return Some("CheckStatusInfo must specify 'type'".into()),
        Check::Command => ("command", status.command.is_some()),
        Check::Http => ("http", status.http.is_some()),
        Check::Tcp => ("tcp", status.tcp.is_some()),
    };
    (!present).then(|| format!("Expecting '{name}' to be set for this check's status"))
}

/// Why a token is not that of the executor that a call names, in Mesos' words.
fn mismatch(
    claims: &Claims,
    framework: &FrameworkId,
    executor: &ExecutorId,
    container: &ContainerId,
) -> Option<String> {
    let missing = if claims.fid != framework.0 {
        format!("an 'fid' claim with the framework ID {}, which is set in the call", framework.0)
    } else if claims.eid != executor.0 {
        format!("an 'eid' claim with the executor ID {}, which is set in the call", executor.0)
    } else if claims.cid != container.0 {
        "a 'cid' claim with the correct active ContainerID".to_owned()
    } else {
        return None;
    };
    let said = serde_json::to_string(claims).unwrap_or_default();
    Some(format!("Authenticated principal '{{\"claims\":{said}}}' does not contain {missing}"))
}

impl Core {
    /// Answers a call of an executor. The form was checked by `validate_call`.
    pub(super) fn on_call(&mut self, call: Call, claims: Option<&Claims>) {
        let kind = call.r#type();
        if kind == Type::Heartbeat {
            return self.answer(Answer::Accepted);
        }
        if matches!(self.phase, Phase::Recovering(_)) && kind != Type::Subscribe {
            return self.refuse(503, "Agent has not finished recovery");
        }
        let (id, executor_id) = (FrameworkId::from(&call.framework_id), ExecutorId::from(&call.executor_id));
        let Some(framework) = self.frameworks.get(&id) else {
            return self.refuse(400, "Framework cannot be found");
        };
        let Some(executor) = framework.executors.get(&executor_id).filter(|e| e.stage != Stage::Terminated)
        else {
            return self.refuse(400, "Executor cannot be found");
        };
        let other = claims.and_then(|claims| mismatch(claims, &id, &executor_id, &executor.container));
        if let Some(problem) = other {
            return self.refuse(403, problem);
        }
        if kind == Type::Subscribe {
            return self.on_subscribe(&id, &executor_id, call.subscribe.unwrap_or_default());
        }
        if matches!(executor.stage, Stage::Starting | Stage::Awaited) {
            return self.refuse(403, "Executor is not subscribed");
        }
        if kind == Type::Update
            && let Some(problem) = self.delivery_error(&id, &executor_id, call.update.as_ref())
        {
            return self.refuse(400, problem);
        }
        self.answer(Answer::Accepted);
        match kind {
            Type::Update => {
                if let Some(update) = call.update {
                    self.on_executor_update(&id, &executor_id, update.status);
                }
            }
            Type::Message => {
                let data = call.message.unwrap_or_default().data;
                if self.registered {
                    self.tell(ToMaster::Message { framework_id: id, executor_id, data });
                }
            }
            Type::Unknown | Type::Subscribe | Type::Heartbeat => {}
        }
    }

    /// A real agent aborts when a task that was not delivered yet is said to run; this one says what is wrong.
    fn delivery_error(
        &self,
        id: &FrameworkId,
        executor_id: &ExecutorId,
        update: Option<&executor::call::Update>,
    ) -> Option<String> {
        let status = &update?.status;
        let task = crate::ids::TaskId::from(&status.task_id);
        let queued = self.executor(id, executor_id)?.is_queued(&task);
        (queued && !crate::master::core::is_terminal(status.state())).then(|| {
            format!(
                "a non-terminal update for task {task}, which was not launched yet: a real agent aborts here"
            )
        })
    }
}
