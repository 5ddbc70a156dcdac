//! A Mesos-compatible cluster in this process: the embedded default, the test world, the fault injector.
//!
//! What lives here:
//! - [`Cluster`]: starts a master and its agents on loopback, keeps their state in a directory, stops them, and makes
//!   them fail on demand ([`MasterHandle`], [`AgentHandle`], [`Fault`]).
//! - `master`: `core` decides (synchronous, takes the time, returns effects), `run` is the task that owns it, `http`
//!   its scheduler and operator API, `registry` what it remembers over restarts.
//! - `agent`: the same shape; besides, `containers` runs executors as real child processes in sandboxes, `checkpoint`
//!   writes down what the next run of the agent must know.
//! - `link`: what master and agents say to each other; `wire`: the HTTP edge that both share; `resources`: arithmetic.
//! - [`deterministic`]: the cores of master and agents alone, for simulations.
//!
//! What does not live here: anything that a real cluster needs. Schedulers and executors talk to this one over TCP
//! exactly as to a real one and share no types with it but the wire's (`proto`), which are its subject: this is the one
//! crate that keeps Mesos' messages in its state.
//!
//! Not here yet, or never: command tasks and the default executor (refused with TASK_ERROR and a reason), volumes, quota,
//! executor tokens and domain sockets, compressed requests, the older protocol. Users
//! are not switched: executors run as who runs this process.
//!
//! A launch: scheduler → `master::http` → `master::core` (checks, holds resources) → `link` → `agent::core` → writes it
//! down → `agent::containers` → the executor → `agent::http` → `agent::core` (updates in line, one on its way) → `link` →
//! `master::core` → the scheduler's stream; the acknowledgement takes the same way back.

mod agent;
mod chance;
mod clock;
mod cluster;
pub mod deterministic;
mod directory;
mod error;
mod faults;
mod files;
mod ids;
mod link;
mod master;
mod resources;
mod settings;
mod wire;

#[cfg(test)]
mod tests;

pub use cluster::{AgentHandle, Cluster, Crowd, Happened, MasterHandle};
pub use error::Error;
pub use faults::Fault;
pub use settings::{Ability, Chunking, Node, Settings, Timings};
pub use wire::server::Mode;
