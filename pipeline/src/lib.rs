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
mod filters;
mod grok;
pub(crate) mod joda;
pub(crate) mod json;
pub(crate) mod lang;
mod mistake;
mod place;
pub(crate) mod plan;
pub(crate) mod plugins;
mod reference;
mod ruby;
pub(crate) mod spec;
mod success;
pub mod template;
pub mod value;

pub use check::{Scope, SourceText, check, check_remote, compile, compile_all};
pub use plan::{FeedWanted, Plan, StartFrom};
pub use reference::reference;
