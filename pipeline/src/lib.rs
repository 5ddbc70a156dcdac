//! The log engine: takes log lines in, parses them, and hands them on, losing none.
//!
//! - [`value`], [`field`], [`event`], [`batch`]: what flows; fields are slices of the line that they came from.
//! - [`json`]: events from and to JSON.
//! - [`template`]: `%{field}` and `%{+yyyy.MM.dd}` in texts.
//!
//! What does not live here: Mesos, the discovery of containers, the fleet and its documents.

pub mod batch;
mod check;
pub mod event;
mod every;
pub mod field;
pub(crate) mod joda;
pub(crate) mod json;
pub(crate) mod lang;
pub(crate) mod plan;
pub(crate) mod plugins;
mod reference;
pub(crate) mod spec;
pub mod template;
pub mod value;

pub use check::{Scope, SourceText, check, check_remote, compile, compile_all};
pub use plan::{FeedWanted, Plan, StartFrom};
pub use reference::reference;
