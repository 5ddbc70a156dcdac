//! Ties the executor together: everything that happens is an [`Event`], taken one at a time.
use crate::Error;
use crate::assign::UnitId;
use crate::assignment::{self, Assignment};
use crate::containers::{DockerAddress, Mine, Seen, watch_containers};
use crate::control::{self, Ends, stay_attached};
use crate::handover::{Predecessor, take_over};
use crate::leftovers::{Leftover, survey};
use crate::lock::Lock;
use crate::mesos::{self, FromMesos, Rules, ToMesos};
use crate::node::Node;
use crate::own_log;
use crate::report::{Applied, Counters, Report};
use crate::sign_of_life;
use crate::tail::SpoolRules;
use crate::unit::Place;
use config::settings::{ExecutorSettings, MesosEnvironment};
use jiff::Timestamp;
use proto::credentials::Credentials;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

const REPORT_EVERY: Duration = Duration::from_secs(1);
const SURVEY_EVERY: Duration = Duration::from_secs(20);

const SIGN_OF_LIFE_EVERY: Duration = Duration::from_secs(5);

/// Everything that can happen.
enum Event {
    /// The agent, or the scheduler through it, said something.
    Mesos(Option<FromMesos>),
    /// Another executor has the data that we are to go on with.
    Waits,
    /// The data directory is ours; `None`: the process stops before it was.
    Locked(Result<Option<Lock>, Error>),
    /// A newer assignment came.
    Assigned,
    /// Something about Docker or its containers changed.
    Seen,
    /// The spools were looked through.
    Surveyed(Vec<Leftover>),
    /// A unit ended.
    UnitEnded(Result<(UnitId, Counters), JoinError>),
    /// A unit shows something new.
    Stirred,
    /// Time for a report.
    Tick,
    /// This process was asked to stop.
    Stop,
}

/// What has begun once the data directory is ours and the agent's name is known.
struct Started {
    node: Node,
    /// Held until this has drained.
    lock: Option<Lock>,
    surveys: JoinSet<Vec<Leftover>>,
    surveyed: bool,
    next_survey: Instant,
    /// When an executor last watched the containers, before us.
    last_watched: Option<Timestamp>,
    next_sign_of_life: Instant,
    running_said: bool,
}

/// The executor.
struct Executor {
    settings: ExecutorSettings,
    credentials: Option<Credentials>,
    dir: PathBuf,
    stop: CancellationToken,
    /// Ends the tasks below; not the same as being asked to stop, which drains first.
    over: CancellationToken,
    tasks: JoinSet<()>,
    locking: JoinSet<Result<Option<Lock>, Error>>,
    waits: Arc<Notify>,
    lock: Option<Lock>,
    host: Option<String>,
    to_mesos: mpsc::Sender<ToMesos>,
    from_mesos: mpsc::Receiver<FromMesos>,
    control: watch::Sender<String>,
    assignments: watch::Sender<Option<Assignment>>,
    assigned: watch::Receiver<Option<Assignment>>,
    applied: watch::Sender<Option<Applied>>,
    report: watch::Sender<Option<Report>>,
    seen: watch::Receiver<Seen>,
    stirred: Arc<Notify>,
    started: Option<Started>,
    /// Set once Mesos, or a signal, wants an end.
    drain_by: Option<Instant>,
    drained_said: bool,
    stop_said: bool,
    next_tick: Instant,
}

/// Runs the executor until Mesos, or `stop`, ends it.
pub(crate) async fn run(settings: ExecutorSettings, stop: CancellationToken) -> Result<(), Error> {
    let mut executor = Executor::new(settings, stop)?;
    loop {
        let event = executor.next().await;
        if executor.handle(event).await? {
            break;
        }
    }
    executor.over.cancel();
    while executor.tasks.join_next().await.is_some() {}
    Ok(())
}

impl Executor {
    fn new(settings: ExecutorSettings, stop: CancellationToken) -> Result<Self, Error> {
        let environment = &settings.mesos;
        let sandbox = environment.mesos_sandbox.as_ref().unwrap_or(&environment.mesos_directory);
        let dir = settings.data_dir.clone().unwrap_or_else(|| sandbox.join("data"));
        for part in [dir.join("spools"), dir.join("pipelines")] {
            // Log lines and configs, which may hold passwords, are for nobody else.
            let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&part);
            made.map_err(|source| Error::DataDir { path: part, source })?;
        }
        let (agent, rules) = (agent(environment)?, rules(&settings)?);
        let credentials = settings.control_identity.as_ref().map(|text| Credentials::read(text.expose()));
        let credentials = credentials.transpose().map_err(Error::Credentials)?;
        let over = CancellationToken::new();
        let (mut tasks, mut locking) = (JoinSet::new(), JoinSet::new());
        let (to_mesos, for_mesos) = mpsc::channel(8);
        let (by_mesos, from_mesos) = mpsc::channel(8);
        tasks.spawn(mesos::stay_subscribed(agent, rules, by_mesos, for_mesos));
        let (seen_sender, seen) = watch::channel(Seen::default());
        let address = DockerAddress {
            host: settings.collecting.docker_host.clone(),
            cert_path: settings.collecting.docker_cert_path.clone(),
        };
        let own = settings.mesos.mesos_container_name.clone();
        let mine = Mine { share: settings.container_share, own };
        tasks.spawn(watch_containers(address, mine, seen_sender, over.clone()));
        let waits = Arc::new(Notify::new());
        let before =
            Predecessor { data: settings.predecessor_data.clone(), works: settings.beside_predecessor };
        locking.spawn(take_over(dir.clone(), before, Arc::clone(&waits), over.clone()));
        let (assignments, assigned) = watch::channel(None);
        Ok(Self {
            control: watch::Sender::new(settings.control.clone()),
            settings,
            credentials,
            dir,
            stop,
            over,
            tasks,
            locking,
            waits,
            lock: None,
            host: None,
            to_mesos,
            from_mesos,
            assignments,
            assigned,
            applied: watch::Sender::new(None),
            report: watch::Sender::new(None),
            seen,
            stirred: Arc::new(Notify::new()),
            started: None,
            drain_by: None,
            drained_said: false,
            stop_said: false,
            next_tick: Instant::now(),
        })
    }

    async fn next(&mut self) -> Event {
        let (surveys, node) = match &mut self.started {
            Some(started) => (Some(&mut started.surveys), Some(&mut started.node)),
            None => (None, None),
        };
        let is_started = node.is_some();
        let unit_end = async {
            match node {
                Some(node) => node.unit_end().await,
                None => None,
            }
        };
        let surveyed = async {
            match surveys {
                Some(surveys) => surveys.join_next().await,
                None => None,
            }
        };
        tokio::select! {
            said = self.from_mesos.recv() => Event::Mesos(said),
            () = self.waits.notified() => Event::Waits,
            Some(locked) = self.locking.join_next() => {
                Event::Locked(locked.unwrap_or_else(|error| Err(Error::Task(error))))
            }
            Ok(()) = self.assigned.changed(), if is_started => Event::Assigned,
            Ok(()) = self.seen.changed(), if is_started => Event::Seen,
            Some(Ok(found)) = surveyed => Event::Surveyed(found),
            Some(ended) = unit_end => Event::UnitEnded(ended),
            () = self.stirred.notified() => Event::Stirred,
            () = self.stop.cancelled(), if !self.stop_said => Event::Stop,
            () = sleep_until(self.next_tick) => Event::Tick,
        }
    }

    /// Takes one event; answers whether this was the last.
    async fn handle(&mut self, event: Event) -> Result<bool, Error> {
        match event {
            Event::Mesos(None | Some(FromMesos::Exit)) => return Ok(true),
            Event::Mesos(Some(FromMesos::Subscribed { host })) => {
                self.host.get_or_insert(host);
                self.start_when_ready();
            }
            Event::Mesos(Some(FromMesos::ControlAddress(address))) => {
                self.control.send_if_modified(|known| {
                    let moved = *known != address;
                    if moved {
                        tracing::info!(address, "the scheduler listens elsewhere now");
                        *known = address;
                    }
                    moved
                });
            }
            Event::Mesos(Some(FromMesos::Drain { by, why })) => {
                tracing::info!(why, within = ?by.saturating_duration_since(Instant::now()), "draining");
                self.drain_by = Some(by);
                if let Some(started) = &mut self.started {
                    started.node.drain(by);
                }
            }
            Event::Waits => tell(&self.to_mesos, ToMesos::Waits).await,
            Event::Locked(lock) => {
                self.lock = lock?;
                self.start_when_ready();
            }
            Event::Assigned => self.take_assignment().await,
            Event::Seen => {
                let seen = self.seen.borrow_and_update().clone();
                self.with_node(|node| node.see(seen));
            }
            Event::Surveyed(found) => {
                // Without the lock the spools are the next executor's.
                if let Some(started) = self.started.as_mut().filter(|started| started.lock.is_some()) {
                    started.node.found(found, !started.surveyed);
                    if let Some(last) = started.last_watched.take() {
                        started.node.look_for_missed(last);
                    }
                    started.surveyed = true;
                }
            }
            Event::UnitEnded(ended) => {
                let (id, counters) = ended.map_err(Error::Task)?;
                self.with_node(|node| node.unit_ended(&id, counters));
            }
            Event::Stop => {
                self.stop_said = true;
                tell(&self.to_mesos, ToMesos::Stop).await;
            }
            Event::Tick => {
                self.next_tick = Instant::now() + REPORT_EVERY;
                if let Some(bytes) = own_log::trim_stdout() {
                    tracing::warn!(
                        bytes,
                        "the standard output was emptied, so that it does not fill the sandbox"
                    );
                }
            }
            Event::Stirred => {}
        }
        self.follow_up().await;
        Ok(false)
    }

    fn with_node(&mut self, act: impl FnOnce(&mut Node)) {
        if let Some(started) = &mut self.started {
            act(&mut started.node);
        }
    }

    /// Begins to work, once the data directory is ours and the agent has told its name.
    fn start_when_ready(&mut self) {
        let (Some(host), None) = (self.host.clone(), &self.started) else { return };
        let Some(lock) = self.lock.take() else { return };
        let rules = SpoolRules {
            dir: self.dir.join("spools"),
            cap: self.settings.collecting.spool_max.as_u64(),
            full: self.settings.collecting.spool_full,
        };
        let mut node = Node::new(Place {
            spools: rules,
            pipelines: self.dir.join("pipelines"),
            host: host.clone(),
            stirred: self.stirred.clone(),
        });
        node.see(self.seen.borrow_and_update().clone());
        if let Some(by) = self.drain_by {
            node.drain(by);
        }
        self.started = Some(Started {
            node,
            lock: Some(lock),
            surveys: JoinSet::new(),
            surveyed: false,
            next_survey: Instant::now(),
            last_watched: sign_of_life::last(&self.dir),
            next_sign_of_life: Instant::now(),
            running_said: false,
        });
        let framework = self.settings.mesos.mesos_framework_id.clone();
        if let Some(stored) = stored_assignment(&self.dir, &framework) {
            tracing::info!(revision = %stored.revision, "going on with the stored assignment");
            self.assignments.send_replace(Some(stored));
        }
        let identity = control::Identity {
            framework_id: framework,
            agent_id: self.settings.mesos.mesos_slave_id.clone(),
            executor_id: self.settings.mesos.mesos_executor_id.clone(),
            host,
            token: self.settings.control_token.clone(),
            credentials: self.credentials.clone(),
            data_in_sandbox: in_sandbox(&self.dir, &self.settings.mesos),
            data_dir: self.dir.display().to_string(),
        };
        let ends = Ends {
            address: self.control.subscribe(),
            assignments: self.assignments.clone(),
            applied: self.applied.subscribe(),
            report: self.report.subscribe(),
        };
        self.tasks.spawn(stay_attached(identity, ends, self.over.clone()));
    }

    async fn take_assignment(&mut self) {
        let Some(newest) = self.assigned.borrow_and_update().clone() else { return };
        self.with_node(|node| node.assign(&newest));
        if self.started.as_ref().is_none_or(|started| started.lock.is_none()) {
            return;
        }
        let (dir, framework) = (self.dir.clone(), self.settings.mesos.mesos_framework_id.clone());
        let saved = tokio::task::spawn_blocking(move || assignment::save(&dir, &framework, &newest)).await;
        if let Ok(Err(error)) = saved {
            let error = &error as &dyn std::error::Error;
            tracing::error!(
                error,
                "the assignment is not stored: without a scheduler it is lost by a restart"
            );
        }
    }

    /// What follows from any event: say what is applied, how the node is, that it is drained; look through the spools.
    async fn follow_up(&mut self) {
        let Some(started) = &mut self.started else {
            self.say_drained(self.drain_by.is_some()).await;
            return;
        };
        let now = Instant::now();
        if let Some(applied) = started.node.applied() {
            self.applied.send_if_modified(|known| {
                let news = known.as_ref() != Some(&applied);
                if news {
                    *known = Some(applied);
                }
                news
            });
            if !started.running_said {
                started.running_said = true;
                tell(&self.to_mesos, ToMesos::PipelinesUp).await;
            }
        }
        let report = started.node.report();
        self.report.send_if_modified(|known| {
            let news = known.as_ref() != Some(&report);
            *known = Some(report);
            news
        });
        if started.node.is_drained() {
            // What is in the data directory is for the next executor to go on with.
            started.lock = None;
            return self.say_drained(true).await;
        }
        if let Some(known) = started.node.known_containers()
            && now >= started.next_survey
            && started.surveys.is_empty()
        {
            started.next_survey = now + SURVEY_EVERY;
            let (dir, stopped_ones_too) = (self.dir.join("spools"), !started.surveyed);
            let there = self.seen.borrow().containers.clone();
            started.surveys.spawn_blocking(move || {
                survey(&dir, |id| known.contains(id) || (!stopped_ones_too && there.contains_key(id)))
            });
        }
        if started.surveyed && now >= started.next_sign_of_life && started.node.is_caught_up() {
            started.next_sign_of_life = now + SIGN_OF_LIFE_EVERY;
            sign_of_life::note(&self.dir, Timestamp::now());
        }
    }

    async fn say_drained(&mut self, drained: bool) {
        if drained && !self.drained_said {
            self.drained_said = true;
            tracing::info!("drained");
            tell(&self.to_mesos, ToMesos::Drained).await;
        }
    }
}

async fn tell(to_mesos: &mpsc::Sender<ToMesos>, news: ToMesos) {
    if to_mesos.send(news).await.is_err() {
        tracing::debug!(?news, "the Mesos side has ended already");
    }
}

/// The assignment that an executor before us stored. A damaged one is set aside: the scheduler sends another.
fn stored_assignment(dir: &Path, framework: &str) -> Option<Assignment> {
    match assignment::load(dir, framework) {
        Ok(stored) => stored,
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "the stored assignment is not used");
            assignment::set_aside(dir);
            None
        }
    }
}

fn agent(environment: &MesosEnvironment) -> Result<mesos::Agent, Error> {
    Ok(mesos::Agent {
        way: mesos::Way::new(environment)?,
        token: environment.mesos_executor_authentication_token.clone(),
        pause_max: duration("MESOS_SUBSCRIPTION_BACKOFF_MAX", &environment.mesos_subscription_backoff_max)?,
    })
}

fn rules(settings: &ExecutorSettings) -> Result<Rules, Error> {
    let environment = &settings.mesos;
    Ok(Rules {
        token: settings.control_token.clone(),
        executor_id: environment.mesos_executor_id.clone(),
        framework_id: environment.mesos_framework_id.clone(),
        checkpoint: environment.mesos_checkpoint == "1",
        recovery_timeout: duration("MESOS_RECOVERY_TIMEOUT", &environment.mesos_recovery_timeout)?,
        grace: duration(
            "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD",
            &environment.mesos_executor_shutdown_grace_period,
        )?,
        fresh_uuid: || uuid::Uuid::new_v4().into_bytes(),
    })
}

fn duration(name: &'static str, text: &str) -> Result<Duration, Error> {
    mesos::parse_duration(text).ok_or_else(|| Error::Duration { name, text: text.to_owned() })
}

/// Whether a directory ends with the sandbox, by either of its names.
fn in_sandbox(dir: &Path, environment: &MesosEnvironment) -> bool {
    let names = [Some(&environment.mesos_directory), environment.mesos_sandbox.as_ref()];
    names.into_iter().flatten().any(|sandbox| dir.starts_with(sandbox))
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::settings::LibprocessTls;

    #[test]
    fn data_in_the_sandbox_is_found_out_by_either_of_its_names() {
        let environment = MesosEnvironment {
            mesos_framework_id: String::new(),
            mesos_executor_id: String::new(),
            mesos_slave_id: String::new(),
            mesos_agent_endpoint: String::new(),
            mesos_directory: "/var/lib/mesos/slaves/a/runs/r".into(),
            mesos_sandbox: Some("/mnt/mesos/sandbox".into()),
            mesos_checkpoint: String::new(),
            mesos_recovery_timeout: String::new(),
            mesos_subscription_backoff_max: String::new(),
            mesos_executor_shutdown_grace_period: String::new(),
            mesos_executor_authentication_token: None,
            mesos_slave_pid: None,
            mesos_container_name: None,
            mesos_domain_socket: None,
            libprocess_tls: LibprocessTls::default(),
        };
        for (dir, expected) in [
            ("/mnt/mesos/sandbox/data", true),
            ("/var/lib/mesos/slaves/a/runs/r/data", true),
            ("/var/lib/logherd", false),
            ("/mnt/mesos/sandbox-of-another", false),
        ] {
            assert_eq!(in_sandbox(Path::new(dir), &environment), expected, "{dir}");
        }
    }
}
