//! A whole cluster in one thread: what there is, what is going to happen, and who is told when it does.
use crate::chance::Chance;
use crate::executors::Act;
use crate::faults::Fault;
use crate::machines::{Link, Machine};
use crate::offices::Process;
use crate::orders::Orders;
use crate::queue::Queue;
use crate::store::{Store, Write};
use crate::trace::Trace;
use crate::wire::{Connection, Down, Up};
use config::settings::SchedulerSettings;
use local::Timings;
use local::deterministic::{Master, Registry, ToAgent, ToMaster};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// When virtual time begins, since the Unix epoch.
pub(crate) const BEGAN: Duration = Duration::from_secs(1_700_000_000);

/// What one simulation is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) machines: usize,
    pub(crate) schedulers: usize,
    pub(crate) faults: BTreeSet<Fault>,
    /// How long things go wrong.
    pub(crate) trouble: Duration,
}

impl Plan {
    /// The plan of a seed: some faults, not all, so that those that hide others are sometimes missing.
    pub(crate) fn of(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let share = chance.factor(0.05..0.6);
        let faults = Fault::ALL.iter().copied().filter(|_| chance.hits(share)).collect();
        let machines = chance.number(1..6);
        let schedulers = chance.pick(&[1, 1, 2, 3]).unwrap_or(1);
        let trouble = chance.seconds(120..900);
        Self { seed, machines, schedulers, faults, trouble }
    }
}

/// One run of a process of a scheduler, or of an agent: what was meant for an earlier one is void.
pub(crate) type Run = (usize, u64);

/// Something that is going to happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// Half a second passed for a scheduler.
    Tick(Run),
    /// A scheduler tries to subscribe.
    Subscribe(Run),
    AtMaster(u64, Up),
    AtScheduler(u64, Down),
    /// The master notices that a scheduler's connection is over.
    ServerSees(u64),
    /// A scheduler notices that its connection is over.
    ClientSees(u64, &'static str),
    /// A scheduler asks for the agents.
    List(Run),
    ListAtMaster(Run, u64),
    Listed(Run, Vec<u8>),
    WriteApplies(u64),
    WriteDone(u64),
    Thaw(usize),
    Elect,
    /// An elected scheduler has read the state.
    Loaded(Run),
    Restart(usize),
    /// A scheduler learns that it leads no more.
    Deposed(Run),
    MasterWake(u64),
    MasterUp,
    MasterReached,
    HeartbeatsGoOn,
    /// An agent looks for the master.
    Join(Run),
    AgentWake(Run),
    AgentStarts(usize),
    ToMaster(u64, ToMaster),
    ToAgent(u64, ToAgent),
    /// An agent notices that its link is over.
    LinkLost(u64),
    /// The master notices that a link is over.
    LinkGone(u64),
    /// Something that an executor does: machine, container.
    Executor(usize, String, Act),
    Disaster(Fault),
    /// An operator lets this machine's agent take tasks again.
    Reactivate(usize),
    /// The schedule of maintenance is due to change.
    Schedule,
    /// Nothing goes wrong any more.
    Calm,
    /// A look at whether all is well.
    Look,
}

/// The master that leads, when there is one.
pub(crate) struct Mastership {
    pub(crate) generation: u64,
    pub(crate) core: Option<Master>,
    pub(crate) registry: Registry,
    /// It sends no heartbeats; it lets nobody reserve.
    pub(crate) holds_heartbeats: bool,
    pub(crate) denies: bool,
    /// Schedulers cannot reach it until then.
    pub(crate) away_until: Duration,
    /// The connections of schedulers by their streams.
    pub(crate) streams: BTreeMap<u64, u64>,
    pub(crate) wake: Duration,
}

/// A law that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) law: String,
    pub(crate) step: u64,
    pub(crate) at: Duration,
}

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) chance: Chance,
    pub(crate) now: Duration,
    pub(crate) step: u64,
    pub(crate) queue: Queue<Event>,
    pub(crate) trace: Trace,
    pub(crate) timings: Timings,
    pub(crate) settings: SchedulerSettings,
    pub(crate) master: Mastership,
    pub(crate) processes: Vec<Process>,
    /// Whom the election holds for the leader.
    pub(crate) elected: Option<Run>,
    pub(crate) store: Store,
    pub(crate) writes: BTreeMap<u64, Write>,
    pub(crate) connections: BTreeMap<u64, Connection>,
    pub(crate) machines: Vec<Machine>,
    pub(crate) links: BTreeMap<u64, Link>,
    pub(crate) ids: u64,
    /// By how much wall clocks of new processes are off.
    pub(crate) wall_ahead: Duration,
    pub(crate) calm: bool,
    /// Since when all is well.
    pub(crate) well_since: Option<Duration>,
    pub(crate) not_well: String,
    pub(crate) removed_frameworks: BTreeSet<String>,
    /// The executors of launches by their tasks.
    pub(crate) executor_of: BTreeMap<String, String>,
    /// Executors that Mesos itself called lost.
    pub(crate) called_lost: BTreeSet<String>,
    /// Tasks that anybody called over.
    pub(crate) called_over: BTreeSet<String>,
    /// What people ordered, and what came of it.
    pub(crate) orders: Orders,
    pub(crate) failure: Option<Failure>,
}

macro_rules! note {
    ($world:expr, $($what:tt)*) => {
        $world.trace.add($world.now, format_args!($($what)*))
    };
}
pub(crate) use note;

impl World {
    pub(crate) fn new(plan: Plan) -> Self {
        let mut chance = Chance::new(plan.seed ^ 0x5eed);
        let mut timings = Timings::default();
        if plan.faults.contains(&Fault::RescindedOffers) {
            timings.offer_timeout = Some(chance.seconds(1..10));
        }
        let mut settings =
            SchedulerSettings::for_master("m:5050", "zk://z:2181/logherd").expect("the settings are right");
        settings.executor.executor_binary = Some("/opt/logherd/logherd".into());
        if [Fault::Reservations, Fault::DeniedReservations].iter().any(|fault| plan.faults.contains(fault)) {
            settings.placement.reserve = true;
            settings.placement.roles = vec!["logherd".to_owned(), "spare".to_owned()];
        }
        let processes = (0..plan.schedulers).map(|_| Process::default()).collect();
        let machines = (0..plan.machines).map(Machine::new).collect();
        let (calm_at, now) = (BEGAN + plan.trouble, BEGAN);
        let mut world = Self {
            chance,
            now,
            step: 0,
            queue: Queue::new(),
            trace: Trace::new(BEGAN),
            timings,
            settings,
            master: Mastership {
                generation: 0,
                core: None,
                registry: Registry::default(),
                holds_heartbeats: false,
                denies: false,
                away_until: BEGAN,
                streams: BTreeMap::new(),
                wake: BEGAN,
            },
            processes,
            elected: None,
            store: Store::default(),
            writes: BTreeMap::new(),
            connections: BTreeMap::new(),
            machines,
            links: BTreeMap::new(),
            ids: 0,
            wall_ahead: Duration::ZERO,
            calm: false,
            well_since: None,
            not_well: String::new(),
            removed_frameworks: BTreeSet::new(),
            executor_of: BTreeMap::new(),
            called_lost: BTreeSet::new(),
            called_over: BTreeSet::new(),
            orders: Orders::new(),
            failure: None,
            plan,
        };
        world.queue.add(now, Event::MasterUp);
        for machine in 0..world.machines.len() {
            let at = now + world.chance.seconds(0..20);
            world.queue.add(at, Event::AgentStarts(machine));
        }
        for process in 0..world.processes.len() {
            let at = now + world.chance.seconds(0..5);
            world.queue.add(at, Event::Restart(process));
        }
        for fault in Fault::ALL.iter().filter(|fault| world.plan.faults.contains(fault)) {
            world.queue.add(now + world.chance.seconds(5..60), Event::Disaster(*fault));
        }
        world.queue.add(calm_at, Event::Calm);
        world
    }

    /// Runs until all is well again, or a law is broken.
    pub(crate) fn run(&mut self) {
        while self.next() {}
    }

    /// Takes one step, if there is one to take.
    pub(crate) fn next(&mut self) -> bool {
        if self.failure.is_some() || self.is_over() {
            return false;
        }
        let Some((at, event)) = self.queue.next() else { return false };
        self.step += 1;
        self.now = self.now.max(at);
        self.happen(event);
        true
    }

    fn happen(&mut self, event: Event) {
        match self.for_frozen(&event) {
            Some(process) => self.processes[process].held.push_back(event),
            None => self.carry_out(event),
        }
    }

    fn carry_out(&mut self, event: Event) {
        match event {
            Event::Tick(run) => self.on_tick(run),
            Event::Subscribe(run) => self.on_subscribe(run),
            Event::AtMaster(connection, up) => self.at_master(connection, up),
            Event::AtScheduler(connection, down) => self.at_scheduler(connection, down),
            Event::ServerSees(connection) => self.server_sees(connection),
            Event::ClientSees(connection, why) => self.client_sees(connection, why),
            Event::List(run) => self.on_list(run),
            Event::ListAtMaster(run, generation) => self.list_at_master(run, generation),
            Event::Listed(run, response) => self.on_listed(run, &response),
            Event::WriteApplies(write) => self.write_applies(write),
            Event::WriteDone(write) => self.write_done(write),
            Event::Thaw(process) => self.thaw(process),
            Event::Elect => self.elect(),
            Event::Loaded(run) => self.on_loaded(run),
            Event::Restart(process) => self.restart(process),
            Event::Deposed(run) => self.on_deposed(run, "told by the election"),
            Event::MasterWake(generation) => self.on_master_wake(generation),
            Event::MasterUp => self.on_master_up(),
            Event::MasterReached => note!(self, "the master can be reached again"),
            Event::HeartbeatsGoOn => self.hold_heartbeats(false),
            Event::Join(run) => self.on_join(run),
            Event::AgentWake(run) => self.on_agent_wake(run),
            Event::AgentStarts(machine) => self.start_agent(machine),
            Event::ToMaster(link, message) => self.link_to_master(link, message),
            Event::ToAgent(link, message) => self.link_to_agent(link, message),
            Event::LinkLost(link) => self.on_link_lost(link),
            Event::LinkGone(link) => self.on_link_gone(link),
            Event::Executor(machine, container, act) => self.on_act(machine, &container, act),
            Event::Disaster(fault) => self.disaster(fault),
            Event::Reactivate(machine) => self.reactivate(machine),
            Event::Schedule => self.schedule_maintenance(),
            Event::Calm => self.on_calm(),
            Event::Look => self.look(),
        }
    }

    /// The scheduler that this event is for, if it stands still.
    fn for_frozen(&self, event: &Event) -> Option<usize> {
        let process = match event {
            Event::Tick(run)
            | Event::Subscribe(run)
            | Event::List(run)
            | Event::Listed(run, _)
            | Event::Loaded(run)
            | Event::Deposed(run) => run.0,
            Event::AtScheduler(connection, _) | Event::ClientSees(connection, _) => {
                self.connections.get(connection)?.run.0
            }
            Event::WriteDone(write) => self.writes.get(write)?.run.0,
            _ => return None,
        };
        let state = self.processes.get(process)?;
        (state.frozen_until > self.now || !state.held.is_empty()).then_some(process)
    }

    /// A scheduler goes on, with all that came meanwhile.
    pub(crate) fn thaw(&mut self, process: usize) {
        if self.processes[process].frozen_until > self.now {
            return;
        }
        for event in std::mem::take(&mut self.processes[process].held) {
            self.carry_out(event);
        }
    }

    /// A new number for something.
    pub(crate) fn id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    /// Whether this fault strikes now; `share` of all occasions.
    pub(crate) fn strikes(&mut self, fault: Fault, share: f64) -> bool {
        !self.calm && self.plan.faults.contains(&fault) && self.chance.hits(share)
    }

    /// The time that something takes to get there.
    pub(crate) fn delay(&mut self) -> Duration {
        if self.chance.hits(0.02) { self.chance.millis(100..3000) } else { self.chance.millis(1..40) }
    }

    /// A law is broken. Only the first one counts.
    pub(crate) fn broken(&mut self, law: String) {
        note!(self, "BROKEN: {law}");
        if self.failure.is_none() {
            self.failure = Some(Failure { law, step: self.step, at: self.now - BEGAN });
        }
    }
}
