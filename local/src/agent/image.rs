//! Runs an executor in an image, as an agent with the Docker containerizer does: `docker run` in the foreground, on the node's
//! network, with the environment and the mounts of the launch, and the sandbox at a path of its own.
//!
//! What is told to the container goes by the environment of the command line and not by its arguments, which everybody can
//! read. A command line that is killed leaves its container behind: that is removed by its name.

use super::core::{ContainerId, Launch};
use mesos::container_info::docker_info::Network;
use proto::mesos::v1 as mesos;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use tokio::process::Command;

/// Where a container sees its sandbox, as with `--sandbox_directory`.
const SANDBOX: &str = "/mnt/mesos/sandbox";

/// Whether an executor names an image.
pub(crate) fn is_named(launch: &Launch) -> bool {
    docker(launch).is_some()
}

fn docker(launch: &Launch) -> Option<&mesos::container_info::DockerInfo> {
    launch.executor.container.as_ref()?.docker.as_ref()
}

/// What Mesos calls the container.
fn name(container: &ContainerId) -> String {
    format!("mesos-{}", container.0)
}

/// The command that runs an executor's image; `None` if it names none.
pub(crate) fn command(
    launch: &Launch,
    mut variables: BTreeMap<String, String>,
    sandbox: &Path,
) -> Option<Command> {
    let docker = docker(launch)?;
    let name = name(&launch.run.container);
    // That of the image holds inside.
    variables.remove("PATH");
    variables.insert("MESOS_SANDBOX".to_owned(), SANDBOX.to_owned());
    variables.insert("MESOS_CONTAINER_NAME".to_owned(), name.clone());
    let mut command = Command::new("docker");
    command.args(["run", "--rm", "--name", &name]);
    command.arg("--volume").arg(format!("{}:{SANDBOX}:rw", sandbox.display()));
    for volume in launch.executor.container.iter().flat_map(|container| &container.volumes) {
        let host = volume.host_path.as_deref().unwrap_or(&volume.container_path);
        let mode = if volume.mode() == mesos::volume::Mode::Ro { "ro" } else { "rw" };
        command.arg("--volume").arg(format!("{host}:{}:{mode}", volume.container_path));
    }
    match docker.network() {
        Network::Host => drop(command.arg("--network=host")),
        Network::None => drop(command.arg("--network=none")),
        Network::Bridge | Network::User => {}
    }
    command
        .args(docker.parameters.iter().map(|parameter| format!("--{}={}", parameter.key, parameter.value)));
    command.args(variables.keys().map(|name| format!("--env={name}")));
    command.envs(variables).arg(&docker.image);
    if let Some(info) = &launch.executor.command {
        command.args(&info.value).args(&info.arguments);
    }
    Some(command)
}

/// Whether a process is the command line that runs this container.
pub(crate) fn is_run_by(pid: u32, container: &ContainerId) -> bool {
    let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let name = name(container);
    arguments.split(|byte| *byte == 0).any(|argument| argument == name.as_bytes())
}

/// Removes a container that may have outlived its command line.
pub(crate) async fn remove(container: &ContainerId) {
    let mut command = Command::new("docker");
    command.args(["rm", "--force", &name(container)]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Err(error) = command.status().await {
        tracing::warn!(%error, container = container.0, "cannot remove a container");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::core::RunKey;
    use crate::ids::{AgentId, ExecutorId, FrameworkId};

    fn launch(container: Option<mesos::ContainerInfo>) -> Launch {
        Launch {
            agent_id: AgentId("S0".into()),
            run: RunKey {
                framework: FrameworkId("F".into()),
                executor: ExecutorId("E".into()),
                container: ContainerId("C".into()),
            },
            framework: mesos::FrameworkInfo::default(),
            executor: mesos::ExecutorInfo {
                container,
                command: Some(mesos::CommandInfo {
                    shell: Some(false),
                    arguments: vec!["executor".into(), "--control=x:1".into()],
                    ..Default::default()
                }),
                ..Default::default()
            },
        }
    }

    #[tokio::test]
    async fn an_image_is_run_as_mesos_runs_it_and_values_of_its_environment_are_no_arguments() {
        let volume = mesos::Volume {
            container_path: "/var/log".into(),
            host_path: Some("/var/log".into()),
            mode: mesos::volume::Mode::Ro as i32,
            ..Default::default()
        };
        let docker = mesos::container_info::DockerInfo {
            image: "logherd:1".into(),
            network: Some(Network::Host as i32),
            parameters: vec![mesos::Parameter { key: "user".into(), value: "0".into() }],
            ..Default::default()
        };
        let container = mesos::ContainerInfo {
            r#type: mesos::container_info::Type::Docker as i32,
            volumes: vec![volume],
            docker: Some(docker),
            ..Default::default()
        };
        let variables = BTreeMap::from([
            ("PATH".to_owned(), "/bin".to_owned()),
            ("LOGHERD_CONTROL_TOKEN".to_owned(), "secret".to_owned()),
        ]);
        let launch = launch(Some(container));
        let command = command(&launch, variables, Path::new("/w/sandbox")).unwrap();
        let arguments: Vec<_> =
            command.as_std().get_args().filter_map(|argument| argument.to_str()).collect();
        assert_eq!(
            arguments.join(" "),
            "run --rm --name mesos-C --volume /w/sandbox:/mnt/mesos/sandbox:rw --volume /var/log:/var/log:ro \
             --network=host --user=0 --env=LOGHERD_CONTROL_TOKEN --env=MESOS_CONTAINER_NAME --env=MESOS_SANDBOX \
             logherd:1 executor --control=x:1"
        );
    }

    #[test]
    fn an_executor_without_an_image_is_left_alone() {
        assert!(!is_named(&launch(None)));
        assert!(command(&launch(None), BTreeMap::new(), Path::new("/w")).is_none());
    }
}
