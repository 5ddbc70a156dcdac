//! Decides what the framework does: which offers to take, what to persist first, what to acknowledge, when to ask again.
//!
//! Invariants, held by the tests in `core/model.rs`:
//! - at most one launch per agent is alive or may be alive, whatever is lost, repeated or late;
//! - ACCEPT is decided only after its intent is stored, ACKNOWLEDGE only after what it acknowledges is stored;
//! - an update is acknowledged once per receipt iff it carries a uuid;
//! - reconciliation never keeps an offer waiting, and offers are never suppressed.
//!
//! Nothing here does IO or looks at a clock: methods take what happened and `now`, and leave [`Effect`]s to be carried
//! out in order ([`Core::take_effects`]).
mod asking;
mod breaker;
mod cause;
pub mod cluster;
mod denials;
pub mod effects;
mod ending;
pub mod generation;
mod handover;
mod launches;
mod leftovers;
mod listing;
mod maintenance;
#[cfg(test)]
mod model;
mod nodes;
mod offers;
mod orders;
mod orphans;
mod placement;
mod reconcile;
mod reserve;
pub mod resources;
pub mod rollout;
mod size;
mod teardown;
#[cfg(test)]
mod tests;
mod updates;

use crate::ids::{AgentId, ExecutorId, FrameworkId, Moment, TaskId};
use asking::Asking;
use cluster::Offer;
use denials::{Converting, Denials};
pub use effects::OrderId;
use effects::{Call, Change, Effect, LaunchRecord, Ticket};
use generation::Spec;
use handover::Left;
use launches::{Held, in_line};
use leftovers::Leftovers;
pub use listing::Listing;
use maintenance::Leaving;
pub use nodes::NodeState;
use nodes::Nodes;
pub use orphans::Orphan;
use orphans::Orphans;
use placement::Hosts;
pub use placement::Placement;
use rand::{SeedableRng, rngs::StdRng};
use reconcile::Reconciler;
pub use reserve::Claim;
use resources::Needs;
use rollout::{Ordered, RolloutRecord, Rollouts};
pub use size::Size;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use teardown::Teardown;
use web::view::Cause;

/// How many decisions are kept for people to read.
const DECISIONS: usize = 200;
/// How long a launch may go without a word before Mesos is asked about it.
const LAUNCH_TIMEOUT: Duration = Duration::from_secs(60);
/// How long after a failed write it is tried again.
const RETRY_SAVE: Duration = Duration::from_secs(5);

/// What does not change while the core lives.
#[derive(Clone, Debug)]
pub struct Rules {
    /// What each executor needs.
    pub needs: Needs,
    /// On whose resources executors run.
    pub claim: Claim,
    /// Where executors run.
    pub placement: Placement,
    /// The address that executors are told to attach to.
    pub control: String,
    /// How long before a maintenance nothing is launched any more.
    pub maintenance_lead: Duration,
    /// Whether executors stay through a planned maintenance, and inverse offers are declined.
    pub stays: bool,
    /// How long an executor may take to end.
    pub grace: Duration,
    /// What the settings make of an executor.
    pub spec: Arc<Spec>,
    /// How long a new executor has to run and be attached before a rollout goes on.
    pub settle: Duration,
    /// How long a node that is to be replaced waits for an offer with room for its next executor beside the old one; zero:
    /// the old one always ends first.
    pub overlap: Duration,
    /// Whether executors of other settings are replaced without an order.
    pub upgrade_by_itself: bool,
    /// Which leadership this is; 0 where there are no elections. Executors refuse what an earlier one said.
    pub epoch: u64,
    /// The start of the random numbers: ids, tokens, jitter.
    pub seed: [u8; 32],
}

/// Something that was decided, with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// When.
    pub at: Moment,
    /// About which node; `None`: about the framework.
    pub node: Option<AgentId>,
    /// What and why.
    pub text: String,
}

/// Why an executor may not attach.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// It belongs to another framework.
    #[error("it belongs to framework `{0}`, which is not this one")]
    OtherFramework(String),
    /// No launch has this executor id.
    #[error("no launch of an executor `{0}` is known")]
    Unknown(ExecutorId),
    /// It has the wrong token or names another agent.
    #[error("the token of executor `{0}` is wrong")]
    WrongToken(ExecutorId),
}

/// The decision core.
#[derive(Debug)]
pub struct Core {
    rules: Rules,
    rng: StdRng,
    framework: Option<FrameworkId>,
    /// Whether the store holds `framework` as it is here.
    framework_stored: bool,
    connected: bool,
    nodes: Nodes,
    hosts: Hosts,
    teardown: Option<Teardown>,
    /// Orders of a teardown that could not be stored, and why, until they are taken back.
    taken_back: Vec<(OrderId, String)>,
    /// Orders to tear down that Mesos was faster than; answered when it is stored that the framework is removed.
    overtaken: Vec<OrderId>,
    launches: BTreeMap<TaskId, Launch>,
    executors: BTreeMap<ExecutorId, TaskId>,
    /// Offers that wait until the framework id is stored.
    held: Vec<Offer>,
    /// What follows once a change is stored.
    waiting: BTreeMap<Ticket, Then>,
    last_ticket: u64,
    /// When a change that could not be stored is tried again.
    retry_at: Option<Moment>,
    reconciler: Reconciler,
    asking: Asking,
    decisions: VecDeque<Decision>,
    leaving: Leaving,
    orphans: Orphans,
    leftovers: Leftovers,
    denials: Denials,
    rollouts: Rollouts,
    /// Where executors left their data on agents that have no other one.
    left: BTreeMap<AgentId, Left>,
    /// Whether it was said that data end with sandboxes.
    sandbox_told: bool,
    /// How many more messages to executors may wait to be sent.
    room_for_messages: usize,
    out: Vec<Effect>,
}

/// One launch, in memory.
#[derive(Debug)]
struct Launch {
    record: LaunchRecord,
    stage: Stage,
    /// The newest change of this launch that is on its way to the store.
    pending: Option<Ticket>,
    /// Whether the store holds `record` as it is here.
    stored: bool,
    /// When Mesos is asked about it if no word comes.
    ask_at: Option<Moment>,
    ask_pause: Duration,
    running_since: Option<Moment>,
    /// Since when it waits for the data of the one before it.
    waits_since: Option<Moment>,
    announced_at: Option<Moment>,
    attached: bool,
    /// When it is told again to end, if it was.
    kill_at: Option<Moment>,
    killed_since: Option<Moment>,
    /// Since when it runs and is attached.
    well_since: Option<Moment>,
    /// What its launch does about reservations, until that is known to be taken.
    converting: Converting,
}

/// Where a launch stands in this process.
#[derive(Debug)]
enum Stage {
    /// Its intent is being stored; the offers are held for it. `None`: they are gone.
    Storing(Option<Held>),
    /// Mesos was asked to launch it, or was by an earlier scheduler.
    Asked,
    /// It ended; the store has still to forget it.
    Over,
}

/// What follows once a change is stored.
#[derive(Debug)]
enum Then {
    /// Launch it.
    Accept(TaskId),
    /// Acknowledge updates of a task, maybe none.
    Acknowledge(TaskId, Vec<(AgentId, Vec<u8>)>),
    /// Tell an executor to end, as its successor is to take over or to be launched.
    Replace(TaskId),
    /// Updates of a task that ended are acknowledged and the launch is forgotten.
    Forgotten(TaskId, Vec<(AgentId, Vec<u8>)>),
    /// It is known durably what an executor left on an agent, or that this is of no use any more.
    Left(AgentId),
    /// Offers can be used from now on; `None`: the dead framework is forgotten, register anew.
    Framework(Option<FrameworkId>),
    /// What was ordered holds, and who ordered it is told; it was like this before.
    Rollout(Box<RolloutRecord>, Option<Ordered>),
    /// The teardown begins, and who ordered it is told.
    TearDownBegun(OrderId),
    /// The teardown is over.
    TornDown,
}

impl Core {
    /// A core that goes on where what was persisted ended.
    pub fn new(
        rules: Rules,
        framework: Option<FrameworkId>,
        launches: Vec<LaunchRecord>,
        now: Moment,
    ) -> Self {
        let rng = StdRng::from_seed(rules.seed);
        let nodes = Nodes::new(rules.needs.clone(), maintenance::lead(&rules));
        let rollouts = Rollouts::new(rules.spec.generation(), rules.settle);
        let mut core = Self {
            rules,
            rng,
            framework_stored: true,
            framework,
            connected: false,
            nodes,
            hosts: Hosts::default(),
            teardown: None,
            taken_back: Vec::new(),
            overtaken: Vec::new(),
            launches: BTreeMap::new(),
            executors: BTreeMap::new(),
            held: Vec::new(),
            waiting: BTreeMap::new(),
            last_ticket: 0,
            retry_at: None,
            reconciler: Reconciler::default(),
            asking: Asking::default(),
            decisions: VecDeque::new(),
            leaving: Leaving::default(),
            orphans: Orphans::default(),
            leftovers: Leftovers::default(),
            denials: Denials::default(),
            rollouts,
            left: BTreeMap::new(),
            sandbox_told: false,
            room_for_messages: usize::MAX,
            out: Vec::new(),
        };
        let mut launches = launches;
        launches.sort_by(|a, b| (a.launched_at, &a.task).cmp(&(b.launched_at, &b.task)));
        for record in in_line(launches) {
            core.take_up(record, now);
        }
        core
    }

    /// What is to be done, in order; each is handed out once.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.out)
    }

    /// The framework id, once there is one.
    pub fn framework(&self) -> Option<&FrameworkId> {
        self.framework.as_ref()
    }

    /// Which leadership this is.
    pub fn epoch(&self) -> u64 {
        self.rules.epoch
    }

    /// The newest decisions, oldest first.
    pub fn decisions(&self) -> impl DoubleEndedIterator<Item = &Decision> {
        self.decisions.iter()
    }

    /// A subscription stands: offers may come, calls may be sent.
    pub fn subscribed(&mut self, now: Moment, framework: FrameworkId) {
        self.connected = true;
        self.nodes.subscribed(true, now);
        if self.framework.as_ref() != Some(&framework) {
            self.decide(now, None, format!("registered as framework {framework}"));
            self.framework = Some(framework);
            self.framework_stored = false;
            self.save_framework();
        }
        // A takeover of a live subscription keeps the decline filters of the one before.
        self.revive(now);
        self.start_reconciliation(now);
        self.call(Call::Reconcile(Vec::new()));
    }

    /// The subscription is gone, and with it every offer.
    pub fn disconnected(&mut self, now: Moment) {
        self.connected = false;
        self.nodes.subscribed(false, now);
        self.held.clear();
        for launch in self.launches.values_mut() {
            if let Stage::Storing(held) = &mut launch.stage {
                *held = None;
            }
        }
        self.reconciler.stop();
    }

    /// Mesos removed the framework: its id will never work again and its executors are being killed.
    pub fn removed(&mut self, now: Moment) {
        self.connected = false;
        self.nodes.subscribed(false, now);
        self.held.clear();
        if self.is_tearing_down() {
            return self.forget(now);
        }
        self.decide(now, None, "Mesos removed the framework; forgetting it and registering anew".to_owned());
        let tasks: Vec<TaskId> = self.launches.keys().cloned().collect();
        for task in tasks {
            self.drop_launch(&task, Vec::new());
        }
        self.framework = None;
        self.framework_stored = false;
        self.save_framework();
    }

    /// Time passed.
    pub fn tick(&mut self, now: Moment) {
        self.nodes.pass(now);
        self.sort_out_freed_hosts(now);
        self.drive_teardown(now);
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_saves();
        }
        if !self.connected {
            return;
        }
        self.ask_about_launches(now);
        self.go_on_reconciling(now);
        self.announce_control(now);
        self.leave_machines(now);
        self.drive_rollout(now);
        self.revive_if_needed(now);
    }

    /// A change is stored, or could not be.
    pub fn saved(&mut self, now: Moment, ticket: Ticket, result: Result<(), String>) {
        let Some(then) = self.waiting.remove(&ticket) else { return };
        match result {
            Ok(()) => self.stored(now, ticket, then),
            Err(why) => self.not_stored(now, ticket, then, &why),
        }
    }

    fn stored(&mut self, now: Moment, ticket: Ticket, then: Then) {
        match then {
            Then::Accept(task) => self.accept(now, &task, ticket),
            Then::Acknowledge(task, updates) => {
                self.mark_stored(&task, ticket);
                self.acknowledge_all(&task, updates);
            }
            Then::Replace(task) => {
                self.mark_stored(&task, ticket);
                self.replacement_stored(now, &task);
            }
            Then::Forgotten(task, updates) => {
                if self.launches.get(&task).is_some_and(|l| l.pending == Some(ticket)) {
                    self.launches.remove(&task);
                }
                self.acknowledge_all(&task, updates);
            }
            Then::Left(agent) => self.left_stored(&agent, ticket, true),
            Then::TearDownBegun(order) => self.teardown_began(now, order),
            Then::TornDown => self.torn_down(now),
            // What we were before is stored late: what we are now follows.
            Then::Framework(id) if id != self.framework => {}
            Then::Framework(Some(_)) => {
                self.framework_stored = true;
                self.answer_taken_back();
                let held = std::mem::take(&mut self.held);
                self.offered(now, held);
            }
            Then::Framework(None) => {
                self.framework_stored = true;
                self.answer_taken_back();
                self.out.push(Effect::RegisterAnew);
            }
            Then::Rollout(_, ordered) => self.rollout_stored(now, ordered),
        }
    }

    fn not_stored(&mut self, now: Moment, ticket: Ticket, then: Then, why: &str) {
        self.retry_at = Some(now.after(RETRY_SAVE));
        match then {
            Then::Accept(task) => {
                let text = format!("not launched: the intent could not be stored: {why}");
                self.give_up_intent(now, &task, Cause::NotStored, &text);
            }
            // Not acknowledged: the agent sends the update again, and then it is tried again.
            Then::Acknowledge(task, _) | Then::Forgotten(task, _) => {
                if let Some(launch) = self.launches.get_mut(&task).filter(|l| l.pending == Some(ticket)) {
                    launch.pending = None;
                }
            }
            Then::Replace(task) => {
                if let Some(launch) = self.launches.get_mut(&task).filter(|l| l.pending == Some(ticket)) {
                    launch.pending = None;
                }
                self.replacement_not_stored(&task);
            }
            Then::Rollout(before, ordered) => self.rollout_not_stored(now, (*before, ordered), why),
            Then::Left(agent) => self.left_stored(&agent, ticket, false),
            Then::TearDownBegun(order) => self.teardown_not_begun(now, order, why),
            // It is tried again by the teardown itself.
            Then::TornDown => {}
            Then::Framework(_) => {
                self.decide(now, None, format!("the framework id could not be stored: {why}; trying again"));
            }
        }
    }

    /// Stores again what could not be stored.
    fn retry_saves(&mut self) {
        self.retry_at = None;
        let waits = |then: &Then| matches!(then, Then::Framework(id) if *id == self.framework);
        if !self.framework_stored && !self.waiting.values().any(waits) {
            self.save_framework();
        }
        self.take_back_rollout();
        self.store_left_again();
        self.retry_launch_saves();
    }

    fn save_framework(&mut self) {
        let id = self.framework.clone();
        self.save(Change::Framework(id.clone()), Then::Framework(id));
    }

    fn save(&mut self, change: Change, then: Then) -> Ticket {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.waiting.insert(ticket, then);
        self.out.push(Effect::Save(ticket, change));
        ticket
    }

    /// Calls make sense only within a subscription; what they would have said is found out again after the next one.
    fn call(&mut self, call: Call) {
        if self.connected {
            self.out.push(Effect::Call(call));
        }
    }

    fn decide(&mut self, at: Moment, node: Option<AgentId>, text: String) {
        tracing::info!(node = node.as_ref().map_or("", |n| n.0.as_str()), "{text}");
        if let Some(node) = &node {
            self.nodes.tell(node, &text, at);
        }
        if self.decisions.len() >= DECISIONS {
            self.decisions.pop_front();
        }
        self.decisions.push_back(Decision { at, node, text });
    }
}
