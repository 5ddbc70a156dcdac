//! Runs the framework: everything that can happen is one [`Event`], and everything that follows from one is seen here.
mod sent;

use crate::control::ControlEvent;
use crate::core::cluster::Leftover;
use crate::core::effects::{Change, Effect, Ticket};
use crate::core::{Core, NotAdmitted, OrderId};
use crate::ids::{ExecutorId, Moment};
use crate::mesos::{Command, MesosEvent, Told};
use crate::revisions::Published;
use crate::view::{Listed, Material, Reports, Views};
use crate::{Clock, Error};
pub(crate) use sent::{Sent, name};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;
use web::order::{OrderDone, OrderRefused, OrderRequest};
use web::view::{BackgroundTask, FileProblem, View};

/// How often time itself is news: timers of the core are that exact.
const TICK: Duration = Duration::from_millis(500);
/// The shortest pause between two views.
const VIEW_PAUSE: Duration = Duration::from_millis(200);
/// What is only a report of a node, or time that passed, may wait so much longer for each node, up to this.
const VIEW_WAIT_PER_NODE: Duration = Duration::from_millis(1);
const VIEW_WAIT_MAX: Duration = Duration::from_millis(800);
/// With so many calls waiting to be sent, no more is taken in from Mesos: what it says would only add to them.
const CALLS_MAX: usize = 10_000;
/// With so many calls waiting, no messages to executors are added: those are repeated anyway.
const MESSAGES_MAX: usize = 1000;

/// How many executors that were turned away are remembered.
const TURNED_AWAY: usize = 1000;

/// Where the loop's events come from and where its effects go.
pub(crate) struct Wires {
    pub(crate) mesos: mpsc::Receiver<MesosEvent>,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) told: mpsc::Receiver<Told>,
    pub(crate) master: watch::Sender<Option<String>>,
    /// What the master is asked to give up.
    pub(crate) give_up: mpsc::Sender<Leftover>,
    pub(crate) control: mpsc::Receiver<ControlEvent>,
    pub(crate) orders: mpsc::Receiver<OrderRequest>,
    pub(crate) saves: mpsc::Sender<(Ticket, Change)>,
    pub(crate) saved: mpsc::Receiver<(Ticket, Result<(), String>)>,
    pub(crate) published: watch::Receiver<Arc<Published>>,
    pub(crate) files: watch::Receiver<Vec<FileProblem>>,
    pub(crate) view: watch::Sender<Arc<View>>,
    pub(crate) stop: CancellationToken,
}

/// Everything that can happen.
enum Event {
    /// Mesos said something, or the subscription changed.
    Mesos(MesosEvent),
    /// An executor said something.
    Control(ControlEvent),
    /// A person wants something done with executors.
    Ordered(OrderRequest),
    /// The master said something about its cluster.
    Told(Told),
    /// A change is stored, or could not be.
    Saved(Ticket, Result<(), String>),
    /// There is room to send a call to Mesos.
    CallRoom,
    /// There is room to store a change.
    SaveRoom,
    /// The documents or the files of the config directory changed.
    Documents,
    /// Time passed.
    Tick,
    /// A view is due.
    ViewDue,
    /// It is to end.
    Stop,
    /// A part that the loop cannot be without has ended.
    PartEnded(&'static str),
}

/// The loop's own state.
pub(crate) struct MainLoop {
    core: Core,
    wires: Wires,
    clock: Clock,
    subscription: Option<u64>,
    phase: &'static str,
    detail: String,
    listed: String,
    /// When all nodes were covered last; the start, if they never were.
    all_covered_at: Moment,
    reports: Reports,
    views: Views,
    turned_away: BTreeSet<ExecutorId>,
    /// Who waits for the answer to an order.
    ordering: BTreeMap<OrderId, oneshot::Sender<Result<OrderDone, OrderRefused>>>,
    last_order: u64,
    commands: VecDeque<Command>,
    sent: Sent,
    saves: VecDeque<(Ticket, Change)>,
    /// Whether the framework is torn down, so that there is nothing left to do.
    torn_down: bool,
    /// When the next view is due, if there is something new to see.
    view_due: Option<Instant>,
    /// Not before.
    view_at: Instant,
    view_wait: Duration,
    tick: Interval,
}

impl MainLoop {
    /// A loop around a core that was made of what is stored.
    pub(crate) fn new(core: Core, wires: Wires, clock: Clock) -> Self {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            core,
            wires,
            clock,
            subscription: None,
            phase: "connecting",
            detail: "looking for the leading master".to_owned(),
            listed: "not asked yet".to_owned(),
            all_covered_at: clock.now(),
            reports: Reports::default(),
            views: Views::default(),
            turned_away: BTreeSet::new(),
            ordering: BTreeMap::new(),
            last_order: 0,
            commands: VecDeque::new(),
            sent: Sent::default(),
            saves: VecDeque::new(),
            torn_down: false,
            view_due: Some(Instant::now()),
            view_at: Instant::now(),
            view_wait: Duration::ZERO,
            tick,
        }
    }

    /// Runs until it is stopped or has to step down.
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        loop {
            let event = self.next_event().await;
            let can_wait = matches!(
                event,
                Event::Tick | Event::SaveRoom | Event::CallRoom | Event::Control(ControlEvent::Report(..))
            );
            let now = self.clock.now();
            match event {
                Event::Mesos(MesosEvent::Subscribed { framework, master, subscription }) => {
                    self.subscribed(now, framework, master, subscription);
                }
                Event::Mesos(MesosEvent::Disconnected { why }) => self.disconnected(now, why),
                Event::Mesos(MesosEvent::Removed) => self.removed(now),
                Event::Mesos(MesosEvent::Superseded) => return Err(Error::Superseded),
                Event::Mesos(MesosEvent::Offers(offers)) => self.core.offered(now, offers),
                Event::Mesos(MesosEvent::Rescinded(offer)) => self.core.rescinded(&offer),
                Event::Mesos(MesosEvent::InverseOffers(offers)) => self.core.inverse_offered(now, offers),
                Event::Mesos(MesosEvent::InverseRescinded(offer)) => self.core.inverse_rescinded(now, &offer),
                Event::Mesos(MesosEvent::Updated(update)) => self.core.updated(now, &update),
                Event::Mesos(MesosEvent::ExecutorEnded(agent, executor)) => {
                    self.core.executor_ended(now, &agent, &executor);
                }
                Event::Mesos(MesosEvent::AgentLost(agent)) => self.core.agent_lost(now, &agent),
                Event::Control(event) => self.executor_said(now, event),
                Event::Ordered(request) => self.ordered(now, request),
                Event::Told(told) => self.told(now, told),
                Event::Saved(ticket, result) => self.core.saved(now, ticket, result),
                Event::CallRoom => self.send_call(),
                Event::SaveRoom => self.send_save(),
                Event::Documents => {}
                Event::Tick => {
                    self.core.room_for_messages(MESSAGES_MAX.saturating_sub(self.commands.len()));
                    self.core.tick(now);
                }
                Event::ViewDue => {
                    self.show(now);
                    continue;
                }
                Event::Stop => return Ok(()),
                Event::PartEnded(part) => return Err(Error::PartEnded(part)),
            }
            let due = if can_wait { self.view_at + self.view_wait } else { self.view_at };
            self.view_due = Some(self.view_due.map_or(due, |before| before.min(due)));
            self.carry_out();
            if self.torn_down {
                self.show(now);
                return Err(Error::TornDown);
            }
        }
    }

    async fn next_event(&mut self) -> Event {
        let wires = &mut self.wires;
        let (view_due, view_at) = (self.view_due.is_some(), self.view_due.unwrap_or(self.view_at).into());
        tokio::select! {
            biased;
            () = wires.stop.cancelled() => Event::Stop,
            Some((ticket, result)) = wires.saved.recv() => Event::Saved(ticket, result),
            room = wires.commands.reserve(), if !self.commands.is_empty() => match room {
                Ok(_) => Event::CallRoom,
                Err(_) => Event::PartEnded("the Mesos client"),
            },
            room = wires.saves.reserve(), if !self.saves.is_empty() => match room {
                Ok(_) => Event::SaveRoom,
                Err(_) => Event::PartEnded("the writer of state"),
            },
            () = sleep_until(view_at), if view_due => Event::ViewDue,
            _ = self.tick.tick() => Event::Tick,
            event = wires.mesos.recv(), if self.commands.len() < CALLS_MAX => match event {
                Some(event) => Event::Mesos(event),
                None => Event::PartEnded("the Mesos client"),
            },
            event = wires.control.recv() => match event {
                Some(event) => Event::Control(event),
                None => Event::PartEnded("the control plane"),
            },
            Some(ordered) = wires.orders.recv() => Event::Ordered(ordered),
            Some(told) = wires.told.recv() => Event::Told(told),
            Ok(()) = wires.published.changed() => Event::Documents,
            Ok(()) = wires.files.changed() => Event::Documents,
        }
    }

    fn subscribed(
        &mut self,
        now: Moment,
        framework: crate::ids::FrameworkId,
        master: String,
        subscription: u64,
    ) {
        tracing::info!(%framework, %master, "subscribed");
        self.subscription = Some(subscription);
        self.phase = "subscribed";
        self.detail = format!("to the master at {master}");
        self.wires.master.send_replace(Some(master));
        self.core.subscribed(now, framework);
    }

    fn disconnected(&mut self, now: Moment, why: String) {
        tracing::warn!(why, "no subscription to Mesos; trying again");
        self.no_subscription("connecting", why);
        self.core.disconnected(now);
    }

    fn removed(&mut self, now: Moment) {
        tracing::warn!("mesos removed this framework");
        let why = "Mesos removed this framework (torn down, or away for longer than its failover timeout)";
        self.no_subscription("registering anew", why.to_owned());
        self.core.removed(now);
    }

    fn no_subscription(&mut self, phase: &'static str, why: String) {
        self.subscription = None;
        self.commands.clear();
        self.phase = phase;
        self.detail = why;
        self.wires.master.send_replace(None);
    }

    fn told(&mut self, now: Moment, told: Told) {
        match told {
            Told::Agents(agents) => {
                self.listed = format!("{} agents", agents.len());
                self.core.agents_listed(now, agents);
            }
            Told::Added(agent) => self.core.agent_added(now, *agent),
            Told::Removed(agent) => self.core.agent_removed(now, &agent),
            Told::Maintenance(schedule) => self.core.maintenance_planned(now, &schedule),
            Told::Cluster(cluster) => self.core.cluster_described(now, &cluster),
            Told::GivenUp { agent, role, result } => self.core.given_up(now, &agent, &role, result),
            Told::Failed { why, denied } => {
                let listed = match denied {
                    true => format!("not allowed, so nodes are known by their offers only: {why}"),
                    false => format!("failed: {why}"),
                };
                if self.listed != listed {
                    tracing::warn!(why, "cannot list the agents");
                }
                self.listed = listed;
                if denied {
                    self.core.agents_not_listed();
                }
            }
        }
    }

    fn ordered(&mut self, now: Moment, request: OrderRequest) {
        self.last_order += 1;
        let id = OrderId(self.last_order);
        self.ordering.insert(id, request.reply);
        self.core.ordered(now, id, request.order);
    }

    /// The result of an order stands, also when nobody waits for it any more.
    fn answer_order(&mut self, order: OrderId, result: Result<OrderDone, OrderRefused>) {
        let waiting = self.ordering.remove(&order);
        if waiting.is_none_or(|reply| reply.send(result).is_err()) {
            tracing::debug!(order = order.0, "nobody waits for the answer to an order any more");
        }
    }

    fn executor_said(&mut self, now: Moment, event: ControlEvent) {
        match event {
            ControlEvent::Hello(hello, reply) => {
                let admitted =
                    self.core.admit(&hello.framework, &hello.executor, &hello.agent.0, &hello.token);
                match &admitted {
                    Ok(_) => {
                        tracing::info!(executor = %hello.executor, agent = %hello.agent, version = hello.version, "attached");
                        self.reports.attached(&hello.executor, hello.connection, hello.revision, now);
                        self.core.attached(&hello.executor, true);
                        self.core.keeps_data_at(&hello.executor, &hello.data_dir, hello.data_in_sandbox);
                        if hello.data_in_sandbox {
                            self.core.keeps_data_in_sandbox(now, &hello.agent);
                        }
                    }
                    Err(why) => self.turned_away(&hello.executor, why),
                }
                answer(reply, admitted.map(drop).map_err(|why| why.to_string()));
            }
            ControlEvent::Report(executor, connection, report) => {
                self.reports.reported(&executor, connection, *report, now);
            }
            ControlEvent::Applied(executor, connection, revision, failures) => {
                self.reports.applied(&executor, connection, (revision, failures), now);
            }
            ControlEvent::Detached(executor, connection) => self.detached(&executor, connection),
        }
    }

    /// Whoever is turned away comes again and again: that is said once.
    fn turned_away(&mut self, executor: &ExecutorId, why: &NotAdmitted) {
        if self.turned_away.len() >= TURNED_AWAY {
            self.turned_away.clear();
        }
        if self.turned_away.insert(executor.clone()) {
            tracing::warn!(%executor, %why, "an executor was turned away");
        }
    }

    fn detached(&mut self, executor: &ExecutorId, connection: u64) {
        if self.reports.detached(executor, connection) {
            tracing::info!(%executor, "detached");
            self.core.attached(executor, false);
        }
    }

    /// Sorts the core's effects into what is stored and what is sent, each in its order.
    fn carry_out(&mut self) {
        for effect in self.core.take_effects() {
            match (effect, self.subscription) {
                (Effect::Save(ticket, change), _) => self.saves.push_back((ticket, change)),
                (Effect::Call(call), Some(subscription)) => {
                    self.sent.count(&call);
                    self.commands.push_back(Command::Call(subscription, Box::new(call)));
                }
                (Effect::Call(call), None) => {
                    tracing::debug!(call = name(&call), "not sent: no subscription")
                }
                (Effect::RegisterAnew, _) => self.commands.push_back(Command::Register),
                (Effect::TornDown, _) => self.torn_down = true,
                (Effect::GiveUp(leftover), _) => {
                    // What finds no room now is found again with the next look at the cluster.
                    if let Err(error) = self.wires.give_up.try_send(leftover) {
                        tracing::debug!(%error, "a reservation is given up later");
                    }
                }
                (Effect::Answer(order, result), _) => self.answer_order(order, result),
            }
        }
    }

    fn send_call(&mut self) {
        while let Some(command) = self.commands.pop_front() {
            if let Err(full) = self.wires.commands.try_send(command) {
                return self.commands.push_front(full.into_inner());
            }
        }
    }

    fn send_save(&mut self) {
        while let Some(save) = self.saves.pop_front() {
            if let Err(full) = self.wires.saves.try_send(save) {
                return self.saves.push_front(full.into_inner());
            }
        }
    }

    /// Publishes a view. One that takes long to build is built less often.
    fn show(&mut self, now: Moment) {
        let began = Instant::now();
        let nodes = self.core.nodes(now);
        self.reports.keep(&nodes);
        if !nodes.is_empty() && !nodes.iter().any(|node| node.coverage.is_missing()) {
            self.all_covered_at = now;
        }
        let proven = self.core.listing(now);
        let listing = Listed { proven, words: &self.listed };
        let published = Arc::clone(&self.wires.published.borrow());
        let master = self.wires.master.borrow().clone();
        let tasks = self.tasks();
        let teardown = self.core.teardown();
        let view = self.views.build(Material {
            now,
            epoch: self.core.epoch(),
            phase: teardown.as_ref().map_or(self.phase, |_| "tearing down"),
            detail: teardown.as_deref().unwrap_or(&self.detail),
            framework: self.core.framework(),
            name: self.core.framework_name(),
            reserved: self.core.reserved_on().len(),
            master: master.as_deref(),
            rollout: self.core.rollouts(now),
            nodes,
            listing,
            orphans: self.core.orphans(),
            reservation_problems: self.core.reservation_problems(now),
            all_covered_at: self.all_covered_at,
            reports: &self.reports,
            published: &published,
            file_problems: self.wires.files.borrow().clone(),
            decisions: self.core.decisions().collect(),
            tasks,
            sent: self.sent.clone(),
        });
        let nodes = u32::try_from(view.nodes.len()).unwrap_or(u32::MAX);
        self.view_wait = VIEW_WAIT_PER_NODE.saturating_mul(nodes).min(VIEW_WAIT_MAX);
        self.wires.view.send_replace(Arc::new(view));
        self.view_due = None;
        self.view_at = Instant::now() + VIEW_PAUSE.max(began.elapsed() * 10);
    }

    fn tasks(&self) -> Vec<BackgroundTask> {
        let task = |name: &str, what: &str, last: String| BackgroundTask {
            name: name.into(),
            what: what.into(),
            last,
        };
        vec![
            task("mesos client", "keeps the subscription to the leading master", self.detail.clone()),
            task(
                "agents",
                "follows which agents the master has, and asks for them every few seconds",
                self.listed.clone(),
            ),
            task(
                "state",
                "stores launches before they are asked for",
                format!("{} changes waiting", self.saves.len()),
            ),
            task(
                "calls",
                "tells Mesos what was decided, in order",
                format!("{} calls waiting", self.commands.len()),
            ),
        ]
    }
}

/// An executor that has gone away needs no answer.
fn answer(reply: oneshot::Sender<Result<(), String>>, result: Result<(), String>) {
    if reply.send(result).is_err() {
        tracing::debug!("an executor went away before it was admitted");
    }
}
