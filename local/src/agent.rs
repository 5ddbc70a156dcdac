//! The agent: a synchronous core that decides, a task that runs it and its containers, and its HTTP edge.

pub(crate) mod checkpoint;
pub(crate) mod containers;
pub(crate) mod core;
pub(crate) mod environment;
pub(crate) mod fetch;
pub(crate) mod http;
mod image;
pub(crate) mod layout;
pub(crate) mod process;
pub(crate) mod run;
pub(crate) mod tokens;
