//! Holds what the decision core wants done: what to persist, what to tell Mesos, and in which order.
use super::cluster::Leftover;
use super::generation::{Generation, Spec};
use super::resources::{Piece, Taken};
use super::rollout::RolloutRecord;
use crate::ids::{AgentId, ExecutorId, FrameworkId, Moment, OfferId, TaskId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use web::order::{OrderDone, OrderRefused};

/// How far a launch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It is about to be asked for. From the store: whether it was asked for is unknown.
    Intended,
    /// Mesos was asked; no word yet.
    Launching,
    /// The executor is there but its pipelines are not up.
    Starting,
    /// The executor is there and waits until the one before it on its node lets go of the data.
    Waiting,
    /// The executor runs.
    Running,
    /// It was told to end.
    Killing,
    /// Its agent cannot be reached. It may well be running: the slot is kept.
    Unreachable,
}

/// One launch of an executor, as it is persisted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchRecord {
    /// Its task.
    pub task: TaskId,
    /// Its executor.
    pub executor: ExecutorId,
    /// Its agent.
    pub agent: AgentId,
    /// The agent's host name.
    pub host: String,
    /// SHA-256 of the token that the executor has to show, in hexadecimal.
    pub token_hash: String,
    /// The control address that the executor knows.
    pub control: String,
    /// How far it is.
    pub phase: Phase,
    /// When it was decided.
    pub launched_at: Moment,
    /// What it was launched with, and whose data it goes on with.
    #[serde(default)]
    pub lineage: Box<Lineage>,
}

/// Where an executor comes from. Nothing of it is known of launches of before it was kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lineage {
    /// What it was launched with.
    pub generation: Option<Generation>,
    /// Where it keeps positions and spools on its node, once it has said so.
    pub data: Option<String>,
    /// Where the executor before it on that agent did.
    pub predecessor_data: Option<String>,
    /// The task of the executor that works while this one comes up beside it, and from which it takes over. Stored
    /// before the launch: no other one is launched beside a live one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beside: Option<TaskId>,
    /// Whether it has said that it waits for the data of the one before it. Mesos tells a later scheduler only that it
    /// starts.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub waited: bool,
    /// Whether it is told to end for a rollout. Stored before it is told, so that every leader counts it as uncovered.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub replaced: bool,
}

/// What the last executor of an agent left on its node, while no launch of that agent is known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LeftData {
    /// Which agent.
    pub agent: AgentId,
    /// The directory of its positions and spools, as the executor named it.
    pub data: String,
}

/// One change of what is persisted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// This is who we are now; `None`: nobody yet.
    Framework(Option<FrameworkId>),
    /// The framework is being torn down since then; `None`: it is.
    TearDown {
        /// Which one.
        framework: Option<FrameworkId>,
        /// When that was ordered.
        since: Moment,
    },
    /// Write the record of a launch, new or not.
    Launch(LaunchRecord),
    /// Forget a launch.
    Ended(TaskId),
    /// Where the next executor of an agent finds what the last one left.
    Left(LeftData),
    /// Forget what is left there.
    Forgotten(AgentId),
    /// Executors know the control plane's authority with this fingerprint from now on.
    Authority(String),
    /// What is known of generations, and the newest rollout.
    Rollout(Box<RolloutRecord>),
}

/// Names a change until it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// Names an order until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OrderId(pub u64);

/// Something to tell Mesos. Calls are sent in the order in which they were decided.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "a call is made once, handed on, and gone")]
pub enum Call {
    /// Launch an executor on what these offers hold.
    Accept {
        /// The offers, all of one agent and one role.
        offers: Vec<OfferId>,
        /// What to launch.
        launch: LaunchRecord,
        /// What it is made of.
        spec: Arc<Spec>,
        /// What it takes.
        taken: Box<Taken>,
        /// The secret that the executor has to show.
        token: String,
        /// How long the rest need not be offered again.
        refuse: Duration,
    },
    /// Give offers back.
    Decline {
        /// Which ones.
        offers: Vec<OfferId>,
        /// How long the same need not be offered again.
        refuse: Duration,
    },
    /// Give offers back without the reservations of ours in them.
    Unreserve {
        /// Which ones, all of one agent and one role.
        offers: Vec<OfferId>,
        /// The reserved entries.
        pieces: Vec<Piece>,
        /// How long the rest need not be offered again.
        refuse: Duration,
    },
    /// Say that agents will be left before their machines go away.
    AcceptInverse {
        /// The inverse offers.
        offers: Vec<OfferId>,
        /// How long the same need not come again.
        refuse: Duration,
    },
    /// Say that agents will not be left before their machines go away.
    DeclineInverse {
        /// The inverse offers.
        offers: Vec<OfferId>,
        /// How long the same need not come again.
        refuse: Duration,
    },
    /// Remove the framework, for good.
    Teardown,
    /// Offer everything again that was declined.
    Revive,
    /// End a task.
    Kill(TaskId, AgentId),
    /// End an executor.
    Shutdown(ExecutorId, AgentId),
    /// An update was taken in.
    Acknowledge {
        /// Of which task.
        task: TaskId,
        /// From which agent.
        agent: AgentId,
        /// Which update.
        uuid: Vec<u8>,
    },
    /// Say how these tasks are; none named: all that are known.
    Reconcile(Vec<(TaskId, AgentId)>),
    /// Bytes for an executor, best effort.
    Message {
        /// Where it runs.
        agent: AgentId,
        /// Which one.
        executor: ExecutorId,
        /// What.
        data: Vec<u8>,
    },
}

/// What the core wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Persist, then say so with the ticket. Changes are stored in the order of their tickets.
    Save(Ticket, Change),
    /// Tell Mesos.
    Call(Call),
    /// An order was carried out, or refused.
    Answer(OrderId, Result<OrderDone, OrderRefused>),
    /// Ask the master, as an operator does, to give up reservations of a role that is not used any more.
    GiveUp(Leftover),
    /// Subscribe as a new framework: the old id is dead, and forgotten durably.
    RegisterAnew,
    /// The framework is torn down and there is nothing left to do: end.
    TornDown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launch_of_before_generations_were_kept_is_read_and_is_of_an_unknown_one() {
        let stored = r#"{"task":"t","executor":"e","agent":"a","host":"h","token_hash":"","control":"c:1",
            "phase":"running","launched_at":7}"#;
        let record: LaunchRecord = serde_json::from_str(stored).unwrap();
        assert_eq!((record.phase, *record.lineage), (Phase::Running, Lineage::default()));
    }
}
