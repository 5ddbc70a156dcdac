//! The master: a synchronous core that decides, a task that runs it, and its HTTP edge.

pub(crate) mod core;
pub(crate) mod http;
mod maintenance;
pub(crate) mod registry;
pub(crate) mod run;
mod state_json;
