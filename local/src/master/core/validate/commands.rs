//! Says what is wrong with commands, checks and health checks.

use mesos::{CheckInfo, CommandInfo, HealthCheck};
use proto::mesos::v1 as mesos;

/// What is wrong with a command: its environment.
pub(super) fn command_error(command: &CommandInfo) -> Option<String> {
    use mesos::environment::variable::Type;
    command.environment.iter().flat_map(|environment| &environment.variables).find_map(|variable| {
        let name = &variable.name;
        match variable.r#type() {
            Type::Value if variable.secret.is_some() => {
                Some(format!("Environment variable '{name}' of type 'VALUE' must not have a secret set"))
            }
            Type::Value if variable.value.is_none() => {
                Some(format!("Environment variable '{name}' of type 'VALUE' must have a value set"))
            }
            Type::Value => None,
            Type::Secret if variable.value.is_some() => {
                Some(format!("Environment variable '{name}' of type 'SECRET' must not have a value set"))
            }
            Type::Secret => variable
                .secret
                .is_none()
                .then(|| format!("Environment variable '{name}' of type 'SECRET' must have a secret set")),
            Type::Unknown => Some(format!("Environment variable '{name}' of type 'UNKNOWN' is not allowed")),
        }
    })
}

/// What is wrong with a check.
pub(super) fn check_error(check: &CheckInfo) -> Option<String> {
    use mesos::check_info::Type;
    let problem = match check.r#type() {
        Type::Unknown => Some("CheckInfo must specify 'type'".to_owned()),
        Type::Command => match &check.command {
            None => Some("Expecting 'command' to be set for COMMAND check".to_owned()),
            Some(command) => command_error(&command.command),
        },
        Type::Http => check.http.is_none().then(|| "Expecting 'http' to be set for HTTP check".to_owned()),
        Type::Tcp => check.tcp.is_none().then(|| "Expecting 'tcp' to be set for TCP check".to_owned()),
    };
    let times = [check.delay_seconds(), check.interval_seconds(), check.timeout_seconds()];
    problem
        .or_else(|| times.iter().any(|time| *time < 0.0).then(|| "its times must be non-negative".to_owned()))
        .map(|problem| format!("Task uses invalid check: {problem}"))
}

/// What is wrong with a health check.
pub(super) fn health_check_error(check: &HealthCheck) -> Option<String> {
    use mesos::health_check::Type;
    let problem = match check.r#type() {
        Type::Unknown => Some("HealthCheck must specify 'type'".to_owned()),
        Type::Command => match &check.command {
            None => Some("Expecting 'command' to be set for COMMAND health check".to_owned()),
            Some(command) => command_error(command),
        },
        Type::Http => {
            check.http.is_none().then(|| "Expecting 'http' to be set for HTTP health check".to_owned())
        }
        Type::Tcp => check.tcp.is_none().then(|| "Expecting 'tcp' to be set for TCP health check".to_owned()),
    };
    let times = [
        check.delay_seconds(),
        check.interval_seconds(),
        check.timeout_seconds(),
        check.grace_period_seconds(),
    ];
    problem
        .or_else(|| times.iter().any(|time| *time < 0.0).then(|| "its times must be non-negative".to_owned()))
        .map(|problem| format!("Task uses invalid health check: {problem}"))
}
