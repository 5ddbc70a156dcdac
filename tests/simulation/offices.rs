//! The processes of schedulers: when they subscribe, what they send and store, how they come and go.
use crate::laws::Ledger;
use crate::world::{Event, Run, World, note};
use scheduler::core::effects::{Change, Ticket};
use scheduler::deterministic::{self, Scheduler, Wanted};
use scheduler::ids::Moment;
use std::collections::VecDeque;
use std::time::Duration;

const TICK: Duration = Duration::from_millis(500);
const LIST: Duration = Duration::from_secs(3);
/// What the client of the real scheduler keeps to (`scheduler/src/mesos.rs`).
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(15);
const REFUSED_PAUSE: Duration = Duration::from_secs(30);
const SILENCE: Duration = Duration::from_secs(75);
const SESSION_TIMEOUT: Duration = Duration::from_secs(10);

/// A process that leads, stands by, or is dead.
#[derive(Default)]
pub(crate) struct Process {
    pub(crate) run: u64,
    pub(crate) alive: bool,
    pub(crate) frozen_until: Duration,
    /// What came while it was frozen, in order.
    pub(crate) held: VecDeque<Event>,
    /// The epoch in which Mesos gave its framework to another one: it stands again only after a later one.
    pub(crate) superseded: Option<u64>,
    pub(crate) office: Option<Box<Office>>,
}

/// A process while it leads, or believes to.
pub(crate) struct Office {
    pub(crate) scheduler: Scheduler,
    pub(crate) epoch: u64,
    wall_ahead: Duration,
    pub(crate) connection: Option<u64>,
    pub(crate) calls: VecDeque<Vec<u8>>,
    /// One call at a time: this one has no answer yet.
    pub(crate) call_under_way: bool,
    /// The framework was removed: nothing until that is stored.
    waits_to_register: bool,
    pub(crate) pause: Duration,
    pub(crate) heard_at: Duration,
    pub(crate) saves: VecDeque<(Ticket, Change)>,
    pub(crate) writing: bool,
    pub(crate) ledger: Ledger,
}

impl Office {
    /// Now, by the clock of this process.
    pub(crate) fn moment(&self, now: Duration) -> Moment {
        Moment(u64::try_from((now + self.wall_ahead).as_millis()).unwrap_or(u64::MAX))
    }
}

impl World {
    /// The office of a process, if it is still this run of it.
    pub(crate) fn office(&mut self, (process, run): Run) -> Option<&mut Office> {
        let process = self.processes.get_mut(process)?;
        if process.run == run { process.office.as_deref_mut() } else { None }
    }

    /// A process starts; alone it leads at once, else it stands by.
    pub(crate) fn restart(&mut self, process: usize) {
        let state = &mut self.processes[process];
        if state.alive {
            return;
        }
        state.alive = true;
        (state.superseded, state.frozen_until) = (None, Duration::ZERO);
        note!(self, "s{process} starts");
        self.queue.add(self.now, Event::Elect);
    }

    /// The election finds a leader among those that stand, if there is none.
    pub(crate) fn elect(&mut self) {
        if self.elected.is_some() || self.store.is_over() {
            return;
        }
        let epoch = self.store.epoch;
        let stands = |p: &&usize| {
            let state = &self.processes[**p];
            let free = state.superseded.is_none_or(|of| epoch > of);
            state.alive && state.office.is_none() && free && state.frozen_until <= self.now
        };
        let standing: Vec<usize> =
            (0..self.processes.len()).collect::<Vec<_>>().iter().filter(stands).copied().collect();
        let Some(process) = self.chance.pick(&standing) else {
            return self.queue.add(self.now + Duration::from_secs(1), Event::Elect);
        };
        self.processes[process].run += 1;
        let run = (process, self.processes[process].run);
        self.elected = Some(run);
        if self.processes.len() > 1 {
            self.store.epoch += 1;
        }
        note!(self, "s{process} is elected in epoch {}", self.store.epoch);
        let at = self.now + self.delay();
        self.queue.add(at, Event::Loaded(run));
    }

    /// The elected one has read the state, and begins.
    pub(crate) fn on_loaded(&mut self, run: Run) {
        if self.elected != Some(run) || !self.processes[run.0].alive {
            return;
        }
        let (epoch, seed) = (self.store.epoch, self.chance.bytes());
        let office = deterministic::Office { epoch, seed, control: control(run.0) };
        let stored =
            (self.store.framework.clone(), self.store.launches.values().cloned().collect::<Vec<_>>());
        let wall_ahead = self.wall_ahead;
        let moment = Moment(u64::try_from((self.now + wall_ahead).as_millis()).unwrap_or(u64::MAX));
        let scheduler = Scheduler::new(&self.settings, office, stored, moment);
        let scheduler = scheduler.expect("the settings are right");
        self.orders.leads_since = self.now;
        let office = Office {
            scheduler: scheduler
                .going_on(self.store.rollouts.clone(), self.store.torn_down, moment)
                .with_left(self.store.left.values().cloned().collect()),
            epoch,
            wall_ahead,
            connection: None,
            calls: VecDeque::new(),
            call_under_way: false,
            waits_to_register: false,
            pause: FIRST_PAUSE,
            heard_at: self.now,
            saves: VecDeque::new(),
            writing: false,
            ledger: Ledger::default(),
        };
        self.processes[run.0].office = Some(Box::new(office));
        note!(self, "s{} leads", run.0);
        for event in [Event::Tick(run), Event::Subscribe(run), Event::List(run)] {
            self.queue.add(self.now, event);
        }
        self.after(run);
    }

    pub(crate) fn on_tick(&mut self, run: Run) {
        let now = self.now;
        let Some(office) = self.office(run) else { return };
        let moment = office.moment(now);
        office.scheduler.tick(moment);
        let silent = office.connection.filter(|_| now - office.heard_at > SILENCE);
        self.queue.add(now + TICK, Event::Tick(run));
        self.after(run);
        if let Some(connection) = silent {
            self.client_sees(connection, "no sign of life");
        }
        self.check_size(run);
    }

    pub(crate) fn on_list(&mut self, run: Run) {
        let generation = self.master.generation;
        let Some(office) = self.office(run) else { return };
        let subscribed = office.scheduler.is_subscribed();
        self.queue.add(self.now + LIST, Event::List(run));
        if subscribed && self.master.away_until <= self.now {
            let at = self.now + self.delay();
            self.queue.add(at, Event::ListAtMaster(run, generation));
        }
    }

    pub(crate) fn on_listed(&mut self, run: Run, response: &[u8]) {
        let now = self.now;
        let Some(office) = self.office(run) else { return };
        let moment = office.moment(now);
        office.scheduler.told(moment, response).expect("the master's answer is protobuf");
        self.after(run);
    }

    /// Takes up what a scheduler wants done after it was told something.
    pub(crate) fn after(&mut self, run: Run) {
        let Some(office) = self.office(run) else { return };
        let wanted = office.scheduler.take_wanted();
        for wanted in wanted {
            match wanted {
                Wanted::Call(bytes) => {
                    self.check_call(run, &bytes);
                    if let Some(office) = self.office(run) {
                        office.calls.push_back(bytes);
                    }
                }
                Wanted::Save(ticket, change) => {
                    if let Some(office) = self.office(run) {
                        office.saves.push_back((ticket, change));
                    }
                }
                Wanted::End if self.store.is_over() => self.retire(run),
                Wanted::End if self.is_in_office(run) => {
                    self.broken(format!("s{} ends though it is not stored that it is torn down", run.0));
                }
                Wanted::End => {}
                Wanted::Register => {
                    if let Some(office) = self.office(run) {
                        office.waits_to_register = false;
                    }
                    self.queue.add(self.now, Event::Subscribe(run));
                }
            }
        }
        self.pump_calls(run);
        self.pump_saves(run);
    }

    /// What was open is over for a scheduler. `refused`: trying again soon does not help.
    pub(crate) fn no_subscription(&mut self, run: Run, refused: bool) {
        let jitter = self.chance.factor(0.5..1.0);
        let Some(office) = self.office(run) else { return };
        office.connection = None;
        office.calls.clear();
        office.call_under_way = false;
        office.ledger.disconnected();
        let wait = if refused { REFUSED_PAUSE } else { office.pause };
        office.pause = (office.pause * 2).min(PAUSE_MAX);
        if !office.waits_to_register {
            self.queue.add(self.now + wait.mul_f64(jitter), Event::Subscribe(run));
        }
        self.after(run);
    }

    /// The framework was removed: nothing until the scheduler has stored that.
    pub(crate) fn wait_to_register(&mut self, run: Run) {
        if let Some(office) = self.office(run) {
            office.waits_to_register = true;
            office.connection = None;
            office.calls.clear();
            office.call_under_way = false;
            office.ledger.disconnected();
        }
        self.after(run);
    }

    pub(crate) fn may_subscribe(&mut self, run: Run) -> bool {
        self.office(run).is_some_and(|office| office.connection.is_none() && !office.waits_to_register)
    }

    pub(crate) fn is_subscribed(&mut self, run: Run) {
        if let Some(office) = self.office(run) {
            office.pause = FIRST_PAUSE;
        }
    }

    /// A process dies.
    pub(crate) fn crash(&mut self, process: usize) {
        if !self.processes[process].alive {
            return;
        }
        let run = (process, self.processes[process].run);
        note!(self, "s{process} dies");
        self.leave_office(run);
        self.cut_writes_short(run);
        self.processes[process].alive = false;
        self.processes[process].frozen_until = Duration::ZERO;
        self.processes[process].held.clear();
        let back = self.now + self.chance.seconds(1..60);
        self.queue.add(back, Event::Restart(process));
        self.vacate(run, SESSION_TIMEOUT);
    }

    /// The election notices after a while that a leader is gone.
    pub(crate) fn vacate(&mut self, run: Run, within: Duration) {
        if self.elected == Some(run) {
            self.elected = None;
            let wait = if self.processes.len() > 1 { within } else { Duration::ZERO };
            self.queue.add(self.now + wait, Event::Elect);
        }
    }

    /// A scheduler learns that it leads no more, and stands by.
    pub(crate) fn on_deposed(&mut self, run: Run, how: &str) {
        if self.elected == Some(run) || self.office(run).is_none() {
            return;
        }
        note!(self, "s{} steps down: {how}", run.0);
        self.leave_office(run);
        self.queue.add(self.now, Event::Elect);
    }

    /// Mesos gave the framework to another scheduler: this one stands only after another one has led.
    pub(crate) fn on_superseded(&mut self, run: Run) {
        let Some(epoch) = self.office(run).map(|office| office.epoch) else { return };
        note!(self, "s{} is superseded in epoch {epoch}", run.0);
        self.leave_office(run);
        if self.processes.len() > 1 {
            self.processes[run.0].superseded = Some(epoch);
        }
        self.vacate(run, Duration::from_millis(100));
    }

    /// The framework is torn down: its scheduler ends for good.
    fn retire(&mut self, run: Run) {
        note!(self, "s{} ends: the framework is torn down", run.0);
        self.orders.ended_under = self.master.generation;
        self.leave_office(run);
        self.elected = self.elected.filter(|elected| *elected != run);
    }

    fn leave_office(&mut self, run: Run) {
        let Some(office) = self.office(run) else { return };
        let connection = office.connection;
        self.processes[run.0].office = None;
        if let Some(connection) = connection {
            self.close_from_client(connection);
        }
        self.detach_all(run);
    }
}

/// Where a process listens for executors.
pub(crate) fn control(process: usize) -> String {
    format!("s{process}:9094")
}
