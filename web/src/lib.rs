//! The REST API and the page of Logherd: reads a view, sends edits.
//!
//! - [`view`]: what is to be seen: one immutable snapshot, replaced as a whole by whoever keeps the fleet.
//! - [`edit`], [`order`]: what people ask for, typed, and the answers: changes of documents, and what is to be done with
//!   executors.
//! - `serve`, `connections`: the server: routes, the order of the layers around them, how it stops; how many at once.
//! - `guard`, `problem`, `conditional`, `body`, `names`: what holds for every request: who may ask, how errors look,
//!   `ETag`s, limits, names in addresses.
//! - `documents`, `check`, `prior`: the resources that can be edited, validation as one types, addresses of the prior
//!   system. `rollout`: orders.
//! - `standby`: what only the leading scheduler can answer is sent there.
//! - `artifact`: the program itself, for agents to fetch.
//! - `status`, `events`, `metrics`, `process`: what runs, live changes of it, numbers for Prometheus.
//! - `pages`, `assets`, `wording`: the page, rendered on the server; a script of its own keeps it up to date.
//!
//! A request: `serve` → layers → handler → view, or an edit through the channel and its answer → response.
//!
//! What does not live here: Mesos, ZooKeeper, executors, the pipeline language. Whether a text is good says who
//! answers an [`edit::Edit::Check`].

mod app;
mod artifact;
mod assets;
mod body;
mod check;
mod conditional;
mod connections;
mod documents;
pub mod edit;
mod events;
mod guard;
mod metrics;
mod names;
mod node_api;
pub mod order;
mod pages;
mod paging;
mod prior;
mod problem;
mod process;
mod rollout;
mod serve;
mod standby;
mod status;
mod teardown;
pub mod view;
mod why;
mod wording;

pub use app::Requests;
pub use artifact::Artifact;
pub use node_api::{NodeAnswers, serve_node_api};
pub use serve::{ServeError, serve};

#[cfg(test)]
mod tests;
