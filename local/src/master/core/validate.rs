//! Says what is wrong with a task, in the order in which Mesos looks.

mod commands;
mod containers;

use super::accept::Accepting;
use super::state::{Agent, Framework};
use crate::ids::{AgentId, ExecutorId, FrameworkId, TaskId, path_component_error};
use crate::resources::{Resources, allocation_roles};
use mesos::agent_info::capability::Type as AgentCapability;
use mesos::executor_info::Type as ExecutorType;
use mesos::{ExecutorInfo, TaskInfo};
use proto::mesos::v1 as mesos;

/// Where a task is to be launched.
pub(super) struct Launching<'a> {
    pub(super) framework: &'a Framework,
    pub(super) agent: &'a Agent,
    pub(super) accepting: &'a Accepting,
}

/// What is wrong with a task of a LAUNCH.
pub(super) fn task_error(at: &Launching<'_>, task: &TaskInfo) -> Option<String> {
    task_itself_error(at, task)
        .or_else(|| match (&task.executor, &task.command) {
            (Some(executor), None) => executor_error(at, executor).or_else(|| kind_error(executor)),
            (None, Some(_)) => Some(
                "this cluster has no command executor: set 'TaskInfo.executor' instead of 'TaskInfo.command'"
                    .into(),
            ),
            _ => Some(
                "Task should have at least one (but not both) of CommandInfo or ExecutorInfo present".into(),
            ),
        })
        .or_else(|| fit_error(at, std::slice::from_ref(task), task.executor.as_ref()))
}

/// What is wrong with a group of tasks, or with its executor.
pub(super) fn group_error(at: &Launching<'_>, executor: &ExecutorInfo, tasks: &[TaskInfo]) -> Option<String> {
    if tasks.is_empty() {
        return Some("Task group cannot be empty".into());
    }
    let mut seen = std::collections::BTreeSet::new();
    if let Some(twice) = tasks.iter().find(|task| !seen.insert(&task.task_id.value)) {
        return Some(format!("Task '{}' is in the group twice", twice.task_id.value));
    }
    tasks
        .iter()
        .find_map(|task| {
            let problem = task_itself_error(at, task)
                .or_else(|| task.executor.is_some().then(|| "'TaskInfo.executor' must not be set".to_owned()))
                .or_else(|| {
                    task.container
                        .as_ref()
                        .is_some_and(|c| c.r#type() == mesos::container_info::Type::Docker)
                        .then(|| "Docker ContainerInfo is not supported on the task".to_owned())
                })?;
            Some(format!("Task '{}' is invalid: {problem}", task.task_id.value))
        })
        .or_else(|| group_executor_error(at, executor))
        .or_else(|| fit_error(at, tasks, Some(executor)))
}

/// The checks of a task that do not look at its executor.
fn task_itself_error(at: &Launching<'_>, task: &TaskInfo) -> Option<String> {
    path_component_error(&task.task_id.value)
        .or_else(|| unique_error(at.framework, &TaskId::from(&task.task_id)))
        .or_else(|| {
            let (named, offered) = (AgentId::from(&task.agent_id), &at.accepting.agent);
            (named != *offered)
                .then(|| format!("Task uses invalid agent {named} while agent {offered} is expected"))
        })
        .or_else(|| durations_error(task))
        .or_else(|| task.check.as_ref().and_then(commands::check_error))
        .or_else(|| task.health_check.as_ref().and_then(commands::health_check_error))
        .or_else(|| task_resources_error(at, task))
        .or_else(|| task.command.as_ref().and_then(commands::command_error))
        .or_else(|| task.container.as_ref().and_then(containers::container_error))
        .or_else(|| limits_error(at.agent, task))
}

fn unique_error(framework: &Framework, id: &TaskId) -> Option<String> {
    if framework.tasks.contains_key(id) {
        Some(format!("Task has duplicate ID: {id}"))
    } else if framework.unreachable.contains_key(id) {
        Some(format!("Task reuses the ID of an unreachable task: {id}"))
    } else {
        None
    }
}

fn durations_error(task: &TaskInfo) -> Option<String> {
    let negative = |duration: Option<&mesos::DurationInfo>| duration.is_some_and(|d| d.nanoseconds < 0);
    if negative(task.kill_policy.as_ref().and_then(|policy| policy.grace_period.as_ref())) {
        Some("Task's 'kill_policy.grace_period' must be non-negative".into())
    } else if negative(task.max_completion_time.as_ref()) {
        Some("Task's `max_completion_time` must be non-negative".into())
    } else {
        None
    }
}

fn task_resources_error(at: &Launching<'_>, task: &TaskInfo) -> Option<String> {
    if task.resources.is_empty() {
        return Some("Task uses no resources".into());
    }
    let problem = match Resources::read(&task.resources) {
        Err(problem) => Some(problem),
        Ok(resources) if resources.mixes_revocable() => {
            Some("Task mixes revocable and non-revocable resources".to_owned())
        }
        Ok(_) => role_error(at, &task.resources),
    }?;
    Some(format!("Task uses invalid resources: {problem}"))
}

/// All must be allocated to the role of the offer; not to say is to agree.
fn role_error(at: &Launching<'_>, resources: &[mesos::Resource]) -> Option<String> {
    let roles = allocation_roles(resources);
    if roles.len() > 1 {
        return Some("The resources have multiple allocation roles".into());
    }
    roles.first().filter(|role| **role != at.accepting.role).map(|role| {
        format!("The resources are allocated to role '{role}' while the offer is to '{}'", at.accepting.role)
    })
}

fn limits_error(agent: &Agent, task: &TaskInfo) -> Option<String> {
    if task.limits.is_empty() {
        return None;
    }
    if !agent.described.capabilities.contains(&AgentCapability::TaskResourceLimits) {
        return Some(format!("The agent {} does not support 'TaskInfo.limits'", agent.id()));
    }
    let requested = Resources::read(&task.resources).unwrap_or_default();
    task.limits.iter().find_map(|(name, limit)| {
        if name != "cpus" && name != "mem" {
            return Some(format!("'TaskInfo.limits' may only contain \"cpus\" and \"mem\", not \"{name}\""));
        }
        let below = limit.value.is_nan() || limit.value * 1000.0 < requested.thousandths(name) as f64;
        below.then(|| format!("The limit of \"{name}\" is less than the request"))
    })
}

fn executor_error(at: &Launching<'_>, executor: &ExecutorInfo) -> Option<String> {
    let grace = executor.shutdown_grace_period.as_ref();
    path_component_error(&executor.executor_id.value)
        .or_else(|| {
            let named = executor.framework_id.as_ref().map(FrameworkId::from)?;
            let own = &at.accepting.framework;
            (named != *own).then(|| {
                format!("ExecutorInfo has an invalid FrameworkID (Actual: {named} vs Expected: {own})")
            })
        })
        .or_else(|| {
            grace
                .is_some_and(|grace| grace.nanoseconds < 0)
                .then(|| "ExecutorInfo's 'shutdown_grace_period' must be non-negative".to_owned())
        })
        .or_else(|| {
            let problem = match Resources::read(&executor.resources) {
                Err(problem) => Some(problem),
                Ok(_) => role_error(at, &executor.resources),
            }?;
            Some(format!("Executor uses invalid resources: {problem}"))
        })
        .or_else(|| executor.command.as_ref().and_then(commands::command_error))
        .or_else(|| executor.container.as_ref().and_then(containers::container_error))
        .or_else(|| compatible_error(at, executor))
}

/// An executor of a plain LAUNCH must be a custom one with a command.
fn kind_error(executor: &ExecutorInfo) -> Option<String> {
    match executor.r#type() {
        ExecutorType::Default if executor.command.is_some() => {
            Some("'ExecutorInfo.command' must not be set for 'DEFAULT' executor".into())
        }
        ExecutorType::Default => Some("'ExecutorInfo.type' must be 'CUSTOM' for LAUNCH".into()),
        ExecutorType::Custom | ExecutorType::Unknown if executor.command.is_none() => {
            Some("'ExecutorInfo.command' must be set for 'CUSTOM' executor".into())
        }
        ExecutorType::Custom | ExecutorType::Unknown => None,
    }
}

fn group_executor_error(at: &Launching<'_>, executor: &ExecutorInfo) -> Option<String> {
    if executor.r#type.is_none() {
        return Some("'ExecutorInfo.type' must be set".into());
    }
    if executor.framework_id.is_none() {
        return Some("'ExecutorInfo.framework_id' must be set".into());
    }
    if executor.r#type() == ExecutorType::Default {
        return Some("this cluster has no default executor: use a 'CUSTOM' one".into());
    }
    let resources = Resources::read(&executor.resources).unwrap_or_default();
    let least = [("cpus", 10, "0.01"), ("mem", 32_000, "32MB"), ("disk", 1, "any")];
    executor_error(at, executor).or_else(|| kind_error(executor)).or_else(|| {
        least.iter().find_map(|(name, thousandths, text)| {
            (resources.thousandths(name) < *thousandths)
                .then(|| format!("Executor uses less {name} than the minimum required ({text})"))
        })
    })
}

/// A running executor of this id must be the same one; labels and grace period do not count.
fn compatible_error(at: &Launching<'_>, executor: &ExecutorInfo) -> Option<String> {
    let key = (at.accepting.agent.clone(), ExecutorId::from(&executor.executor_id));
    let existing = at.framework.executors.get(&key)?;
    let same = |executor: &ExecutorInfo| {
        let mut same = executor.clone();
        (same.labels, same.shutdown_grace_period, same.framework_id) = (None, None, None);
        same.resources = Vec::new();
        same
    };
    let resources = |executor: &ExecutorInfo| Resources::read(&executor.resources).unwrap_or_default();
    let (old, new) = (resources(existing), resources(executor));
    let equal = same(existing) == same(executor) && old.contains(&new) && new.contains(&old);
    (!equal).then(|| {
        format!(
            "ExecutorInfo is not compatible with existing ExecutorInfo with same ExecutorID.\nExisting ExecutorInfo:\n\
             {existing:?}\nExecutorInfo:\n{executor:?}\n"
        )
    })
}

/// Whether all of it is in the offer; an executor that runs already needs nothing more.
fn fit_error(at: &Launching<'_>, tasks: &[TaskInfo], executor: Option<&ExecutorInfo>) -> Option<String> {
    let mut needed = Resources::default();
    for task in tasks {
        needed.add(&Resources::read(&task.resources).ok()?);
    }
    if let Some(executor) = executor {
        let key = (at.accepting.agent.clone(), ExecutorId::from(&executor.executor_id));
        if !at.framework.executors.contains_key(&key) {
            needed.add(&Resources::read(&executor.resources).ok()?);
        }
    }
    let available = &at.accepting.remaining;
    (!available.contains(&needed)).then(|| {
        format!(
            "Total resources {needed} required by task and its executor is more than available {available}"
        )
    })
}
