//! The log engine: takes log lines in, parses them, and hands them on, losing none.
//!
//! A text in Logstash's language becomes a plan, a plan becomes a running pipeline:
//!
//! - [`check`](check()), [`compile`]: a text → its problems, or its [`Plan`] (`lang`, `check`, `plan`, `spec`, `every`).
//! - `plugins`: the table of all inputs, codecs, filters and outputs; one file each in the directories of these names.
//! - [`start`]: a plan and its [`Surroundings`] → a [`Running`] pipeline. `topology` shows the whole path of a record;
//!   `runtime` has its stages; `tail`, `positions`, `dead_letter`, `client`, `concurrency` and `bulk` are what inputs and
//!   outputs stand on.
//! - `listening`, `link`, `tls`, `redis`, `lumberjack`, `syslog`, `msgpack`, `unpack`, `charset`: how others are spoken with.
//! - `grok`, `ruby`, `joda`: patterns for lines, regular expressions, dates; `patterns/` beside has the stock patterns.
//! - [`event`], [`value`], [`field`], [`batch`], [`template`], `json`, `joda`, `condition`: what flows, and what can be
//!   asked of it. Fields are slices of the line that they came from.
//!
//! What does not live here: Mesos, the discovery of containers, the fleet and its documents, and where the bytes of a
//! file inside a container come from: they arrive through a [`Feed`], and what is acknowledged is told to it.

pub mod batch;
mod bulk;
mod charset;
mod check;
mod client;
mod codec;
mod codecs;
mod concurrency;
mod condition;
mod csv;
mod dead_letter;
mod decimal;
mod ecs;
pub mod event;
mod every;
pub mod field;
mod filters;
mod floats;
mod grok;
mod hash_order;
mod host_names;
mod inputs;
pub(crate) mod joda;
mod join;
mod journal;
pub(crate) mod json;
mod kafka;
pub(crate) mod lang;
mod link;
mod listening;
mod lumberjack;
mod mistake;
mod msgpack;
mod node_stats;
mod outputs;
pub mod own_output;
mod place;
pub(crate) mod plan;
pub(crate) mod plugins;
mod positions;
mod redis;
mod reference;
mod ruby;
mod runtime;
pub(crate) mod spec;
mod success;
mod syslog;
mod tail;
pub mod template;
mod tls;
mod topology;
#[cfg(test)]
mod trial;
mod unpack;
pub mod value;

pub use check::{Compiled, Dialect, Scope, SourceText, check, check_in, check_remote, compile, compile_all};
pub use dead_letter::{
    DeadLetter, DeadLetterLimits, DeadLetterList, DeadLetterSummary, WhenFull, dead_letter_directory,
    dead_letter_summaries, dead_letters, remove_dead_letters, set_dead_letters_apart,
};
pub use node_stats::{NodeAbout, ProcessFigures, node_answer};
pub use plan::{FeedWanted, Plan, StartFrom};
pub use reference::{PluginOption, PluginPage, no_plugin_hint, plugin_pages, reference};
pub use runtime::{
    Chunk, Counters, Failed, Feed, PluginFigures, QueueLevel, QueueSettings, RunError, Running, StartError,
    State, Surroundings, View, run_to_end, start,
};
