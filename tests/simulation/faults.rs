//! The one list of what goes wrong in a simulation.
use std::collections::BTreeSet;
use std::fmt;

macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)*) => {
        /// Something that goes wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum Fault {
            $($(#[doc = $doc])+ $name,)*
        }

        impl Fault {
            /// All of them.
            pub(crate) const ALL: &[Self] = &[$(Self::$name),*];

            /// What it is called on the command line.
            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// What it does, for people.
            pub(crate) fn about(self) -> String {
                match self {
                    $(Self::$name => [$($doc),+].concat().trim().to_owned(),)*
                }
            }
        }
    };
}

faults! {
    /// The master dies; another one takes over with nothing but the registry of agents.
    MasterFailover = "master-failover",
    /// Schedulers cannot reach the master for a while; what was open hangs.
    MasterUnreachable = "master-unreachable",
    /// The master sends no heartbeats for a while.
    StalledHeartbeats = "stalled-heartbeats",
    /// A subscription's connection goes silent; each side notices when it does.
    HalfOpen = "half-open",
    /// A subscription's connection breaks.
    ConnectionBreak = "connection-break",
    /// A call reaches the master, its answer is lost with the connection.
    LostResponse = "lost-response",
    /// A call is taken with 202 and comes to nothing.
    LostCall = "lost-call",
    /// MESSAGE and FAILURE events are lost.
    LostEvents = "lost-events",
    /// Events of unknown type come between the others.
    UnknownEvents = "unknown-events",
    /// Offers time out after seconds, so that many are rescinded while they are being answered.
    RescindedOffers = "rescinded-offers",
    /// An operator removes the framework.
    FrameworkRemoved = "framework-removed",
    /// An agent is killed and started again; its executors live on.
    AgentRestart = "agent-restart",
    /// A machine loses its power and comes back.
    AgentVanishes = "agent-vanishes",
    /// An agent cannot reach the master for a while.
    AgentPartition = "agent-partition",
    /// The link between an agent and the master breaks.
    LinkBreak = "link-break",
    /// An operator marks an agent gone; later the machine comes back with an empty work directory.
    AgentGone = "agent-gone",
    /// An operator drains an agent and reactivates it later.
    AgentDrain = "agent-drain",
    /// An operator deactivates an agent and reactivates it later.
    AgentDeactivated = "agent-deactivated",
    /// An operator plans maintenance of a machine, and strikes it off the schedule when it is over.
    Maintenance = "maintenance",
    /// An agent's work directory is wiped: it comes back under another id.
    AgentWiped = "agent-wiped",
    /// Agents send some updates twice.
    DuplicateUpdates = "duplicate-updates",
    /// An agent's link breaks just when it tells that an executor ended.
    LostExits = "lost-exits",
    /// Executors crash at any time.
    ExecutorCrash = "executor-crash",
    /// Executors never register, hang before they run, or ignore what they are told.
    ExecutorHang = "executor-hang",
    /// Executors refuse their task and end.
    ExecutorRefuses = "executor-refuses",
    /// Executors take long to end when they are told to.
    SlowFlush = "slow-flush",
    /// What an executor needs cannot be fetched.
    FetchFailure = "fetch-failure",
    /// Executors take long to register, some longer than an agent waits.
    SlowStart = "slow-start",
    /// Executors lose their connection to the scheduler.
    ControlBreak = "control-break",
    /// The state store refuses a write.
    SaveFails = "save-fails",
    /// The state store takes a part of a batch and fails.
    SaveHalf = "save-half",
    /// The state store does what it was asked for and says that it failed.
    SaveReportedFailed = "save-reported-failed",
    /// The state store takes its time.
    SlowSaves = "slow-saves",
    /// A scheduler dies at any point; its last write may or may not have happened.
    SchedulerCrash = "scheduler-crash",
    /// A scheduler stands still for a while and then goes on as if nothing had been.
    SchedulerFrozen = "scheduler-frozen",
    /// Another scheduler is elected while the old one does not know it yet.
    TwoSchedulers = "two-schedulers",
    /// Schedulers come back with other settings of executors, and upgrades are ordered, paused, aborted and rolled back.
    Upgrades = "upgrades",
    /// Offers come in two roles, and what executors use is reserved. It is no fault, but more can go wrong.
    Reservations = "reservations",
    /// Nobody may reserve or unreserve for a while: the master drops that without a word.
    DeniedReservations = "denied-reservations",
    /// A person tears the framework down.
    Teardown = "teardown",
    /// The wall clock jumps; what runs already goes on counting from its own start.
    ClockJump = "clock-jump",
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Reads a list of names with commas between them; `none` is an empty one.
pub(crate) fn parse(text: &str) -> Result<BTreeSet<Fault>, String> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty() && *name != "none");
    names
        .map(|name| {
            let known = Fault::ALL.iter().find(|fault| fault.name() == name).copied();
            known.ok_or_else(|| format!("no fault is called `{name}`; docs/simulation.md lists them all"))
        })
        .collect()
}

/// Writes a list that [`parse`] reads.
pub(crate) fn list(faults: &BTreeSet<Fault>) -> String {
    if faults.is_empty() {
        return "none".to_owned();
    }
    faults.iter().map(|fault| fault.name()).collect::<Vec<_>>().join(",")
}
