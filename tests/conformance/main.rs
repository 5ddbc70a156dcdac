//! Tells what schedulers, executors and operators can rely on, and asks it of the embedded Mesos and of a real one.
//!
//! The same assertions run against a cluster of the crate `local`, started for each test, and, where
//! `MESOS_MASTER=host:port` is given, against that one too; `docs/embedded-cluster.md` says what else can be given. They are
//! the facts of the v1 API, not of one cluster: any number of agents and other frameworks may be there. Frameworks of this
//! suite end with their connection, ask for next to nothing and touch nothing of others.
//!
//! Where a recorded exchange shows an assertion, the expectation names it, and is held against the recording too
//! (`recordings`): so the suite cannot drift away from what a real Mesos did.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    reason = "a test says what is wrong by panicking"
)]
#![allow(clippy::print_stderr, reason = "what was left out is said")]

mod framework;
mod place;
mod wire;

mod executors;
mod launches;
mod offers;
mod operators;
mod reconciliation;
mod recordings;
mod reservations;
mod sessions;
mod subscriptions;
