//! Composes what Mesos is asked to start on a node: a custom executor and its token task.
//!
//! The program is on the node already, or the agent's fetcher takes it from the scheduler, or it is in an image that the
//! agent's Docker containerizer runs. No shell sees any of it.
use super::resource::resource;
use crate::control::authority::Authority;
use crate::core::effects::LaunchRecord;
pub(crate) use crate::core::generation::Program;
use crate::core::generation::{Mount, Spec};
use crate::core::resources::{Needs, Portion, Taken};
use config::settings::{Collecting, ExecutorNeeds, SpoolFull};
use proto::mesos::v1;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use v1::container_info::docker_info::Network;

/// What the fetched program is called in the sandbox.
const FETCHED: &str = "logherd";

/// What is the same in every launch of a generation.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    spec: Arc<Spec>,
    /// The container that an image runs in.
    container: Option<v1::ContainerInfo>,
    /// Signs the certificates of executors, where the control plane talks TLS.
    authority: Option<Arc<Authority>>,
}

impl Template {
    /// The template that the settings ask for.
    pub(crate) fn new(program: Program, user: &str, needs: &ExecutorNeeds, collecting: &Collecting) -> Self {
        let mounts = match &program {
            Program::OnNode(_) | Program::Fetched(_) => Vec::new(),
            Program::InImage { mounts, .. } => all_mounts(mounts, needs, collecting),
        };
        let resources = Needs::new(needs.executor_cpus, needs.executor_mem, needs.executor_disk)
            .with_ports(needs.executor_ports);
        Self::of(Arc::new(Spec {
            program,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            resources: resources.executor,
            arguments: arguments(needs, collecting),
            mounts,
            user: user.to_owned(),
            grace: needs.executor_grace,
            authority: None,
        }))
    }

    /// The template of that generation.
    fn of(spec: Arc<Spec>) -> Self {
        let container = match &spec.program {
            Program::OnNode(_) | Program::Fetched(_) => None,
            Program::InImage { image, .. } => Some(container(image, &spec.user, volumes(&spec.mounts))),
        };
        Self { spec, container, authority: None }
    }

    /// The template of a launch. A fetched program comes from this scheduler, whoever launched it first.
    pub(super) fn for_launch(&self, spec: &Arc<Spec>) -> Self {
        if *spec == self.spec {
            return self.clone();
        }
        let mut spec = Spec::clone(spec);
        if let (Program::Fetched(_), Program::Fetched(ours)) = (&spec.program, &self.spec.program) {
            spec.program = Program::Fetched(ours.clone());
        }
        Self::of(Arc::new(spec)).with_authority(self.authority.clone())
    }

    /// What it is made of.
    pub(crate) fn spec(&self) -> &Arc<Spec> {
        &self.spec
    }

    /// The same, but each executor gets a certificate.
    #[must_use]
    pub(crate) fn with_authority(self, authority: Option<Arc<Authority>>) -> Self {
        let mut spec = Spec::clone(&self.spec);
        spec.authority = authority.as_ref().map(|authority| authority.fingerprint().to_owned());
        Self { authority, spec: Arc::new(spec), ..self }
    }

    /// What only the executor of a launch may know, by the variables of its environment.
    fn secrets(&self, executor: &str, token: &str) -> Vec<v1::environment::Variable> {
        let mut secrets = vec![variable("LOGHERD_CONTROL_TOKEN", token)];
        if let Some(authority) = &self.authority {
            match authority.executor(executor) {
                Ok(credentials) => secrets.push(variable("LOGHERD_CONTROL_IDENTITY", &credentials.write())),
                Err(error) => tracing::error!(%error, executor, "it will not be able to attach"),
            }
        }
        secrets
    }

    /// The task of a launch, with its executor.
    pub(super) fn task(&self, launch: &LaunchRecord, token: &str, taken: &Taken) -> v1::TaskInfo {
        let resources = |portions: &[Portion]| {
            portions.iter().filter_map(|p| resource(p, taken.reservation.as_ref())).collect()
        };
        let nanoseconds = i64::try_from(self.spec.grace.as_nanos()).unwrap_or(i64::MAX);
        let grace_period = Some(v1::DurationInfo { nanoseconds });
        let executor = v1::ExecutorInfo {
            executor_id: v1::ExecutorId { value: launch.executor.0.clone() },
            name: Some("logherd".to_owned()),
            source: Some("logherd".to_owned()),
            resources: resources(&taken.executor),
            command: Some(self.command(launch, token, &taken.ports())),
            container: self.container.clone(),
            shutdown_grace_period: grace_period,
            r#type: Some(v1::executor_info::Type::Custom as i32),
            ..v1::ExecutorInfo::default()
        };
        v1::TaskInfo {
            name: "logherd.executor".to_owned(),
            task_id: v1::TaskId { value: launch.task.0.clone() },
            agent_id: v1::AgentId { value: launch.agent.0.clone() },
            resources: resources(&taken.task),
            // A KILL, also that of a drained agent, leaves as much time to flush as a SHUTDOWN.
            kill_policy: Some(v1::KillPolicy { grace_period }),
            executor: Some(executor),
            ..v1::TaskInfo::default()
        }
    }

    fn command(&self, launch: &LaunchRecord, token: &str, ports: &[u64]) -> v1::CommandInfo {
        let (value, uris) = match &self.spec.program {
            Program::OnNode(path) => (Some(path.display().to_string()), Vec::new()),
            Program::Fetched(url) => (Some(format!("./{FETCHED}")), vec![fetched(url)]),
            Program::InImage { .. } => (None, Vec::new()),
        };
        // Where a program is named its name comes first again, as argv[0]; to the entrypoint of an image all of them are
        // arguments.
        let mut arguments: Vec<String> = value.iter().map(|_| FETCHED.to_owned()).collect();
        arguments.extend(["executor", "--control", &launch.control].map(str::to_owned));
        arguments.extend(self.spec.arguments.iter().cloned());
        let mut variables = self.secrets(&launch.executor.0, token);
        let before = launch.lineage.predecessor_data.as_deref();
        variables.extend(before.map(|data| variable("LOGHERD_PREDECESSOR_DATA", data)));
        variables
            .extend(launch.lineage.beside.iter().map(|_| variable("LOGHERD_BESIDE_PREDECESSOR", "true")));
        variables.extend(
            ports.iter().enumerate().map(|(n, port)| variable(&format!("PORT{n}"), &port.to_string())),
        );
        v1::CommandInfo {
            shell: Some(false),
            value,
            uris,
            arguments,
            user: Some(self.spec.user.clone()),
            environment: Some(v1::Environment { variables }),
        }
    }
}

fn variable(name: &str, value: &str) -> v1::environment::Variable {
    v1::environment::Variable {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        ..v1::environment::Variable::default()
    }
}

/// The executor's arguments that the settings of the scheduler decide.
fn arguments(needs: &ExecutorNeeds, collecting: &Collecting) -> Vec<String> {
    let full = match collecting.spool_full {
        SpoolFull::Wait => "wait",
        SpoolFull::DropOldest => "drop-oldest",
    };
    let mut arguments = vec![
        "--docker-host".to_owned(),
        collecting.docker_host.clone(),
        "--spool-max".to_owned(),
        collecting.spool_max.as_u64().to_string(),
        "--spool-full".to_owned(),
        full.to_owned(),
    ];
    if let Some(certificates) = &collecting.docker_cert_path {
        arguments.extend(["--docker-cert-path".to_owned(), certificates.display().to_string()]);
    }
    if let Some(dir) = &needs.executor_data_dir {
        arguments.extend(["--data-dir".to_owned(), dir.display().to_string()]);
    }
    arguments
}

/// The program, for the fetcher. An agent keeps it by its address, which holds the hash of the content.
fn fetched(url: &str) -> v1::command_info::Uri {
    v1::command_info::Uri {
        value: url.to_owned(),
        executable: Some(true),
        extract: Some(false),
        cache: Some(true),
        output_file: Some(FETCHED.to_owned()),
    }
}

/// A container on the node's own network, which is how it reaches its agent.
fn container(image: &str, user: &str, volumes: Vec<v1::Volume>) -> v1::ContainerInfo {
    // An image may have no accounts to look a name up in, and one that is made for schedulers has another user.
    let user = if user == "root" { "0" } else { user };
    let docker = v1::container_info::DockerInfo {
        image: image.to_owned(),
        network: Some(Network::Host as i32),
        parameters: vec![v1::Parameter { key: "user".to_owned(), value: user.to_owned() }],
        ..v1::container_info::DockerInfo::default()
    };
    v1::ContainerInfo {
        r#type: v1::container_info::Type::Docker as i32,
        volumes,
        docker: Some(docker),
        ..v1::ContainerInfo::default()
    }
}

/// What a container sees of its node.
fn all_mounts(readable: &[PathBuf], needs: &ExecutorNeeds, collecting: &Collecting) -> Vec<Mount> {
    let mount = |path: &Path, writable: bool| Mount { path: path.to_owned(), writable };
    let mut mounts: Vec<Mount> = readable.iter().map(|path| mount(path, false)).collect();
    if let Some(socket) = collecting.docker_host.strip_prefix("unix://") {
        mounts.push(mount(Path::new(socket), true));
    }
    mounts.extend(collecting.docker_cert_path.iter().map(|path| mount(path, false)));
    mounts.extend(needs.executor_data_dir.iter().map(|path| mount(path, true)));
    mounts
}

/// Mounts as Mesos wants them, each at its own path.
fn volumes(mounts: &[Mount]) -> Vec<v1::Volume> {
    use v1::volume::Mode;
    let volume = |mount: &Mount| v1::Volume {
        container_path: mount.path.display().to_string(),
        host_path: Some(mount.path.display().to_string()),
        mode: if mount.writable { Mode::Rw } else { Mode::Ro } as i32,
        ..v1::Volume::default()
    };
    mounts.iter().map(volume).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::effects::Phase;
    use crate::ids::Moment;
    use config::settings::SchedulerSettings;

    fn launch() -> LaunchRecord {
        LaunchRecord {
            task: "t".into(),
            executor: "e".into(),
            agent: "a".into(),
            host: "h".into(),
            token_hash: String::new(),
            control: "s:9094".into(),
            phase: Phase::Launching,
            launched_at: Moment(0),
            lineage: Box::default(),
        }
    }

    fn executor(program: Program) -> v1::ExecutorInfo {
        let mut settings = SchedulerSettings::for_master("127.0.0.1:5050", "/state").unwrap();
        settings.executor.executor_data_dir = Some("/var/lib/logherd".into());
        settings.collecting.docker_host = "unix:///run/docker.sock".into();
        let template = Template::new(program, "root", &settings.executor, &settings.collecting);
        template.task(&launch(), "secret", &Taken::default()).executor.unwrap()
    }

    #[test]
    fn a_fetched_program_is_kept_by_its_address_and_run_from_the_sandbox() {
        let url = "http://s:9092/artifacts/logherd-0123456789ab";
        let executor = executor(Program::Fetched(url.to_owned()));
        let command = executor.command.unwrap();
        let uri = v1::command_info::Uri {
            value: url.into(),
            executable: Some(true),
            extract: Some(false),
            cache: Some(true),
            output_file: Some("logherd".into()),
        };
        assert_eq!(command.uris, [uri]);
        assert_eq!((command.shell, command.value.as_deref()), (Some(false), Some("./logherd")));
        assert_eq!(command.arguments[..4], ["logherd", "executor", "--control", "s:9094"]);
        assert_eq!(executor.container, None);
    }

    #[test]
    fn a_program_on_the_node_is_not_fetched() {
        let command = executor(Program::OnNode("/opt/logherd".into())).command.unwrap();
        assert_eq!(command.value.as_deref(), Some("/opt/logherd"));
        assert_eq!(command.arguments[..2], ["logherd", "executor"]);
        assert!(command.uris.is_empty());
    }

    #[test]
    fn with_an_authority_each_executor_gets_a_certificate_in_its_environment_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::open(&dir.path().join("ca"), true).unwrap();
        let settings = SchedulerSettings::for_master("m:5050", "state").unwrap();
        let program = Program::OnNode("/opt/logherd".into());
        let template = Template::new(program, "root", &settings.executor, &settings.collecting);
        let template = template.with_authority(Some(Arc::new(authority)));
        assert!(!format!("{template:?}").contains("PRIVATE"));
        let task = template.task(&launch(), "secret", &Taken::default());
        assert_eq!(
            task.kill_policy.unwrap().grace_period,
            task.executor.as_ref().unwrap().shutdown_grace_period
        );
        let command = task.executor.unwrap().command.unwrap();
        let variables = command.environment.unwrap().variables;
        let value = |name: &str| variables.iter().find(|v| v.name == name).unwrap().value().to_owned();
        assert_eq!(value("LOGHERD_CONTROL_TOKEN"), "secret");
        let identity = value("LOGHERD_CONTROL_IDENTITY");
        let credentials = proto::credentials::Credentials::read(&identity).unwrap();
        let (_, der) = x509_parser::pem::parse_x509_pem(credentials.certificate.as_bytes()).unwrap();
        assert_eq!(crate::control::authority::common_name(&der.contents).as_deref(), Some("e"));
        assert!(!command.arguments.contains(&identity), "others can read a command line");
    }

    #[test]
    fn an_image_gets_arguments_only_and_sees_what_it_collects_from() {
        let program = Program::InImage { image: "logherd:1".into(), mounts: vec!["/var/log".into()] };
        let executor = executor(program);
        let command = executor.command.unwrap();
        assert_eq!((command.shell, command.value, command.uris.len()), (Some(false), None, 0));
        assert_eq!(command.arguments[..3], ["executor", "--control", "s:9094"]);
        assert!(!command.arguments.contains(&"secret".to_owned()), "others can read a command line");
        let container = executor.container.unwrap();
        assert_eq!(container.r#type(), v1::container_info::Type::Docker);
        let docker = container.docker.as_ref().unwrap();
        assert_eq!((docker.image.as_str(), docker.network()), ("logherd:1", Network::Host));
        let seen: Vec<_> = container
            .volumes
            .iter()
            .map(|v| (v.container_path.as_str(), v.host_path.as_deref(), v.mode()))
            .collect();
        use v1::volume::Mode;
        let expected = [
            ("/var/log", Some("/var/log"), Mode::Ro),
            ("/run/docker.sock", Some("/run/docker.sock"), Mode::Rw),
            ("/var/lib/logherd", Some("/var/lib/logherd"), Mode::Rw),
        ];
        assert_eq!(seen, expected);
    }
}
