//! Opens what the scheduler needs, starts its parts, and stops them in order.
use crate::config_dir::ConfigDir;
use crate::control::authority::{Authority, fits};
use crate::control::{self, Reception};
use crate::core::effects::{Change, Ticket};
use crate::core::resources::Needs;
use crate::core::{Claim, Core, Placement, Rules};
use crate::ensemble::Ensemble;
use crate::main_loop::{MainLoop, Wires};
use crate::mesos::deterministic::Office;
use crate::mesos::{
    Access, Asking, Client, Election, Masters, Program, Registration, Seek, Template, Us, detect,
    watch_cluster,
};
use crate::revisions::{Editor, Published, check};
use crate::state::directory::Directory;
use crate::state::{State, StateError, Stored};
use crate::{Clock, Error, access, address, terms};
use config::diagnostic::has_errors;
use config::settings::{MaintenanceAnswer, SchedulerSettings};
use rand::Rng;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;
use web::edit::{Done, Edit, EditRequest, Refused};
use web::order::OrderRequest;
use web::view::{Status, View};

/// The pause before state that cannot be read is tried again.
const STATE_AGAIN: Duration = Duration::from_secs(2);
/// What is answered until the state was read for the first time.
const UNREAD: &str = "the state has not been read yet";
/// After a teardown edits are over when there was none for so long, and are not waited for any longer.
const NO_EDIT_FOR: Duration = Duration::from_secs(2);
const EDITS_OVER_WITHIN: Duration = Duration::from_secs(120);
/// How long the parts may take to stop.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// The room in the channels between the parts. When one is full, whoever sends into it waits.
const ROOM: usize = 1024;
/// How many changes are stored together.
const BATCH: usize = 4096;

/// Why a scheduler ended without anything being wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was stopped; its executors run on.
    Stopped,
    /// The framework was torn down.
    TornDown,
}

/// Runs the scheduler until `stop`. Executors outlive it; the framework is not torn down.
pub async fn run(
    settings: SchedulerSettings,
    people: People,
    stop: CancellationToken,
) -> Result<Ended, Error> {
    match run_terms(settings, people, stop).await {
        Ok(()) => Ok(Ended::Stopped),
        Err(Error::TornDown) => Ok(Ended::TornDown),
        Err(error) => Err(error),
    }
}

async fn run_terms(
    settings: SchedulerSettings,
    mut people: People,
    stop: CancellationToken,
) -> Result<(), Error> {
    let start = Start::prepare(&settings).await?;
    if settings.state.starts_with("zk://") {
        let ensemble = Ensemble::parse(&settings.state)?;
        return terms::run(ensemble, settings, start, people, stop).await;
    }
    let waiting = Waiting { people: &mut people, stop: &stop };
    match waiting.until_loaded(|| Directory::open(Path::new(&settings.state))).await {
        Some((state, stored)) => start.run(state, stored, people, stop).await,
        None => Ok(()),
    }
}

/// What people ask for and what they see.
#[derive(Debug)]
pub struct People {
    /// Changes of documents.
    pub edits: mpsc::Receiver<EditRequest>,
    /// What is to be done with executors.
    pub orders: mpsc::Receiver<OrderRequest>,
    /// What is to be seen.
    pub view: watch::Sender<Arc<View>>,
}

/// What goes on while the state cannot be read: it is said, and edits are refused.
pub(crate) struct Waiting<'a> {
    pub(crate) people: &'a mut People,
    pub(crate) stop: &'a CancellationToken,
}

impl Waiting<'_> {
    /// Opens and reads the state, again and again. A state that cannot be read never means a new framework.
    pub(crate) async fn until_loaded<S: State>(
        self,
        open: impl Fn() -> Result<S, StateError>,
    ) -> Option<(S, Stored)> {
        let mut said = None;
        loop {
            let load = async {
                let state = open()?;
                let stored = state.load().await?;
                Ok::<_, StateError>((state, stored))
            };
            tokio::pin!(load);
            let loaded = loop {
                tokio::select! {
                    () = self.stop.cancelled() => return None,
                    loaded = &mut load => break loaded,
                    Some(asked) = self.people.edits.recv() => refuse(asked, UNREAD),
                    Some(ordered) = self.people.orders.recv() => ordered.refuse(UNREAD),
                }
            };
            let error = match loaded {
                Ok(found) => return Some(found),
                Err(error) => error,
            };
            if said.as_ref() != Some(&error) {
                match &error {
                    StateError::Unreadable { .. } => tracing::error!(%error, "waiting for the state"),
                    _ => tracing::warn!(%error, "waiting for the state"),
                }
                said = Some(error.clone());
            }
            let status = Status {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                phase: "waiting for state".to_owned(),
                detail: error.to_string(),
                ..Status::default()
            };
            self.people.view.send_replace(Arc::new(View { status, ..View::default() }));
            let again = tokio::time::sleep(STATE_AGAIN);
            tokio::pin!(again);
            loop {
                tokio::select! {
                    () = self.stop.cancelled() => return None,
                    () = &mut again => break,
                    Some(asked) = self.people.edits.recv() => refuse(asked, &error.to_string()),
                    Some(ordered) = self.people.orders.recv() => ordered.refuse(&error.to_string()),
                }
            }
        }
    }
}

/// Answers an edit while there is nothing to write it to; a text can be checked all the same.
pub(crate) fn refuse(asked: EditRequest, why: &str) {
    let answer = match &asked.edit {
        Edit::Check { key, text } => match check(key, text) {
            problems if has_errors(&problems) => Err(Refused::Invalid(problems)),
            problems => Ok(Done::Checked(problems)),
        },
        Edit::Put { .. } | Edit::Delete { .. } => Err(Refused::NotStored(why.to_owned())),
    };
    if asked.reply.send(answer).is_err() {
        tracing::debug!("nobody waits for the answer to an edit any more");
    }
}

/// Everything that is known before the state is.
pub(crate) struct Start {
    /// Which leadership this is; 0 where there are no elections.
    pub(crate) epoch: u64,
    settings: SchedulerSettings,
    access: Access,
    masters: Masters,
    detector: Option<Election>,
    listener: TcpListener,
    /// What executors are told to attach to.
    control: String,
    /// By whom executors know this scheduler, where the control plane talks TLS.
    authority: Option<Arc<Authority>>,
}

impl Start {
    /// Reads what the settings name, and listens for executors.
    pub(crate) async fn prepare(settings: &SchedulerSettings) -> Result<Self, Error> {
        if settings.placement.reserve && settings.placement.roles.iter().all(|role| role == "*") {
            return Err(Error::ReserveForEverybody);
        }
        raise_open_files();
        let access = access::to_masters(&settings.credentials, &settings.master_tls, &settings.master)?;
        let (masters, detector) = Masters::parse(&settings.master)?;
        let listener = TcpListener::bind(settings.control_listen).await;
        let listener = listener.map_err(|source| Error::Bind { address: settings.control_listen, source })?;
        let bound = listener.local_addr();
        let bound = bound.map_err(|source| Error::Bind { address: settings.control_listen, source })?;
        let way = address::way_to(&masters.places()).await;
        let control = address::control(settings, bound, &way, &masters.describe())?;
        address::reached_by_agents(settings, &way, &masters.describe())?;
        let shared = settings.state.starts_with("zk://");
        let authority = Authority::wanted(&settings.control_tls, shared)?.map(Arc::new);
        tracing::info!(address = control, tls = authority.is_some(), "executors will attach here");
        let settings = settings.clone();
        Ok(Self { epoch: 0, settings, access, masters, detector, listener, control, authority })
    }

    /// By whom executors know this scheduler; nothing listens for them any more.
    pub(crate) fn into_authority(self) -> Option<Arc<Authority>> {
        self.authority
    }

    pub(crate) async fn run<S: State>(
        self,
        state: S,
        stored: Stored,
        people: People,
        stop: CancellationToken,
    ) -> Result<(), Error> {
        self.may_register(&stored)?;
        let People { edits, orders, view } = people;
        let state = Arc::new(state);
        let tls = self.fit(&*state, &stored).await?;
        let reception = Reception { listener: self.listener, tls };
        // The parts stop after the loop, also when the loop ends by itself.
        let parts_stop = CancellationToken::new();
        let mut parts = JoinSet::new();
        let clock = Clock::start();
        let template = template(&self.settings)?.with_authority(self.authority);
        let office = Office { epoch: self.epoch, seed: rand::rng().random(), control: self.control.clone() };
        let rules = rules(&self.settings, &template, office);
        let core = Core::new(rules, stored.framework.clone(), stored.launches, clock.now());
        let core = core.tearing_down(stored.torn_down, clock.now()).going_on(stored.rollout, clock.now());

        let (files_out, files_in) = mpsc::channel(16);
        let (problems_out, files) = watch::channel(Vec::new());
        let (editor, published) = Editor::new(Arc::clone(&state), stored.documents);
        parts.spawn(editor.run(edits, files_in, parts_stop.clone()));
        if let Some(root) = self.settings.config_dir.clone() {
            let dir =
                ConfigDir { root, published: published.clone(), edits: files_out, problems: problems_out };
            parts.spawn(dir.run(parts_stop.clone()));
        }
        let (saves, to_save) = mpsc::channel(ROOM);
        let (saved_out, saved) = mpsc::channel(ROOM);
        parts.spawn(save(state, to_save, saved_out));
        let (control_out, control) = mpsc::channel(ROOM);
        let serving = control::serve(reception, published.clone(), control_out, parts_stop.clone());
        parts.spawn(serving);
        let (master, master_seen) = watch::channel(None);
        let (told_out, told) = mpsc::channel(16);
        let (give_up, to_give_up) = mpsc::channel(ROOM);
        let asking = Asking { us: us(&self.settings), told: told_out, give_up: to_give_up };
        parts.spawn(watch_cluster(master_seen, self.access.clone(), asking, parts_stop.clone()));
        if let Some(election) = self.detector {
            let seek = if self.access.tls.is_some() { Seek::Name } else { Seek::Address };
            parts.spawn(detect(election, self.settings.zk_session_timeout, seek, parts_stop.clone()));
        }
        let (events_out, mesos) = mpsc::channel(ROOM);
        let (commands, commands_in) = mpsc::channel(ROOM);
        let client = Client {
            masters: self.masters,
            registration: registration(&self.settings),
            access: self.access,
            template,
            framework: stored.framework,
        };
        parts.spawn(client.run(events_out, commands_in, parts_stop.clone()));
        let wires = Wires {
            mesos,
            commands,
            told,
            master,
            give_up,
            control,
            orders,
            saves,
            saved,
            published,
            files,
            view,
            stop,
        };
        let (edited, stopped) = (wires.published.clone(), wires.stop.clone());
        let main_loop = MainLoop::new(core.with_left(stored.left), wires, clock);
        let result = run_until_edits_are_over(main_loop, edited, stopped).await;
        parts_stop.cancel();
        finish(parts).await;
        result
    }
}

/// Runs the loop. Whoever ordered a teardown may be deleting the configs too: then it waits until none has changed for a while.
async fn run_until_edits_are_over(
    main_loop: MainLoop,
    edited: watch::Receiver<Arc<Published>>,
    stop: CancellationToken,
) -> Result<(), Error> {
    let result = main_loop.run().await;
    if matches!(result, Err(Error::TornDown)) {
        edits_are_over(edited, stop).await;
    }
    result
}

/// Waits until none was made for a while, or this is to end at once.
async fn edits_are_over(mut edited: watch::Receiver<Arc<Published>>, stop: CancellationToken) {
    let over = async { while let Ok(Ok(())) = timeout(NO_EDIT_FOR, edited.changed()).await {} };
    tokio::select! {
        () = stop.cancelled() => {}
        over = timeout(EDITS_OVER_WITHIN, over) => if over.is_err() {
            tracing::warn!("the framework is torn down, so this ends although configs are still being edited");
        },
    }
}

impl Start {
    /// After a teardown only an order registers a new framework.
    fn may_register(&self, stored: &Stored) -> Result<(), Error> {
        match (&stored.framework, stored.torn_down) {
            (None, Some(since)) if !self.settings.register_anew => Err(Error::WasTornDown(since)),
            _ => Ok(()),
        }
    }

    /// Sees to it that executors know this scheduler's authority, and no other; gives what they are received with.
    async fn fit<S: State>(&self, state: &S, stored: &Stored) -> Result<Option<Arc<ServerConfig>>, Error> {
        tracing::info!(state = state.describe(), revision = %stored.documents.fleet.revision,
            launches = stored.launches.len(), "state is read");
        let news = fits(self.authority.as_deref(), stored.authority.as_deref(), &state.describe())?;
        if let Some(fingerprint) = news {
            if !stored.launches.is_empty() {
                tracing::warn!(
                    "executors that run already have no certificates: they work on, but attach no more until they are replaced"
                );
            }
            let stored = state.save(&[Change::Authority(fingerprint)]).await;
            stored.map_err(Error::AuthorityNotStored)?;
        }
        let Some(authority) = &self.authority else { return Ok(None) };
        let mut addresses = vec![self.control.clone()];
        addresses.extend(self.listener.local_addr().ok().map(|bound| bound.to_string()));
        Ok(Some(authority.server(&addresses)?))
    }
}

/// What the core holds to in one time in office.
pub(crate) fn rules(settings: &SchedulerSettings, template: &Template, office: Office) -> Rules {
    let needs = &settings.executor;
    let ports = needs.executor_ports;
    let needs = Needs::new(needs.executor_cpus, needs.executor_mem, needs.executor_disk).with_ports(ports);
    let claim = Claim {
        roles: roles(settings),
        framework: settings.framework_name.clone(),
        principal: settings.credentials.principal.clone(),
        reserve: settings.placement.reserve,
    };
    let placement = Placement {
        constraints: settings.placement.constraint.clone(),
        one_per_host: settings.placement.one_per_host,
    };
    let Office { epoch, seed, control } = office;
    Rules {
        needs,
        claim,
        placement,
        control,
        maintenance_lead: settings.maintenance_lead,
        stays: settings.maintenance_answer == MaintenanceAnswer::Decline,
        grace: settings.executor.executor_grace,
        spec: Arc::clone(template.spec()),
        settle: settings.rollout_settle,
        overlap: settings.rollout_overlap,
        upgrade_by_itself: settings.upgrade_by_itself,
        epoch,
        seed,
    }
}

/// Who the framework is to others of its kind.
fn us(settings: &SchedulerSettings) -> Us {
    Us {
        name: settings.framework_name.clone(),
        roles: roles(settings),
        principal: settings.credentials.principal.clone(),
    }
}

/// The roles, each once.
fn roles(settings: &SchedulerSettings) -> Vec<String> {
    let mut roles: Vec<String> = Vec::new();
    for role in &settings.placement.roles {
        if !roles.contains(role) {
            roles.push(role.clone());
        }
    }
    roles
}

/// What is launched.
pub(crate) fn template(settings: &SchedulerSettings) -> Result<Template, Error> {
    let program = program(settings)?;
    tracing::info!(?program, "executors will run this");
    Ok(Template::new(program, &settings.user, &settings.executor, &settings.collecting))
}

/// How the program gets onto the nodes.
fn program(settings: &SchedulerSettings) -> Result<Program, Error> {
    if let Some(image) = settings.executor_image.clone() {
        return Ok(Program::InImage { image, mounts: settings.executor_mounts.clone() });
    }
    if let Some(path) = settings.executor.executor_binary.clone() {
        return Ok(Program::OnNode(path));
    }
    let Some(artifact) = &settings.artifact else {
        return std::env::current_exe().map(Program::OnNode).map_err(Error::OwnBinary);
    };
    let url = format!("{}/{artifact}", address::api(settings));
    if settings.advertise.is_none() && settings.listen.ip().is_loopback() {
        tracing::warn!(
            url,
            "only agents on this machine can fetch the program; set --listen and --advertise"
        );
    }
    Ok(Program::Fetched(url))
}

/// What the framework says of itself.
pub(crate) fn registration(settings: &SchedulerSettings) -> Registration {
    Registration {
        name: settings.framework_name.clone(),
        user: settings.user.clone(),
        roles: roles(settings),
        principal: settings.credentials.principal.clone(),
        failover_timeout: settings.failover_timeout,
        hostname: address::machine(),
        webui_url: format!("{}/", address::api(settings)),
    }
}

/// Each executor is a connection, and each connection an open file: takes as many as this process may have.
fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    match setrlimit(Resource::Nofile, limit) {
        Ok(()) => tracing::debug!(most = ?limit.maximum, "open files"),
        Err(error) => tracing::warn!(
            %error, now = ?getrlimit(Resource::Nofile).current,
            "the limit of open files cannot be raised, and each executor needs one"
        ),
    }
}

/// Stores changes in order, as many together as wait, until nobody sends any more.
async fn save<S: State>(
    state: Arc<S>,
    mut changes: mpsc::Receiver<(Ticket, Change)>,
    saved: mpsc::Sender<(Ticket, Result<(), String>)>,
) {
    let mut batch = Vec::new();
    while changes.recv_many(&mut batch, BATCH).await > 0 {
        let (tickets, changes): (Vec<Ticket>, Vec<Change>) = batch.drain(..).unzip();
        let result = state.save(&changes).await;
        if let Err(error) = &result {
            tracing::warn!(%error, changes = changes.len(), "changes could not be stored");
        }
        for ticket in tickets {
            let result = result.clone().map_err(|error| error.to_string());
            if saved.send((ticket, result)).await.is_err() {
                break;
            }
        }
    }
}

/// Waits for the parts to end; those that do not are cut off.
async fn finish(mut parts: JoinSet<()>) {
    let all_end = async {
        while let Some(ended) = parts.join_next().await {
            if let Err(error) = ended
                && error.is_panic()
            {
                tracing::error!(%error, "a part of the scheduler panicked");
            }
        }
    };
    if timeout(STOP_WITHIN, all_end).await.is_err() {
        tracing::warn!("some parts of the scheduler did not end in time");
    }
    parts.abort_all();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn after_a_teardown_edits_are_waited_for_unless_this_is_to_end_at_once() {
        let (_editor, edited) = watch::channel(Arc::new(Published::default()));
        let stop = CancellationToken::new();
        let mut over = Box::pin(edits_are_over(edited, stop.clone()));
        assert!(timeout(NO_EDIT_FOR / 4, &mut over).await.is_err());
        stop.cancel();
        timeout(NO_EDIT_FOR / 4, over).await.expect("it ends at once");
    }
}
