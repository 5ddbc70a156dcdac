//! Holds what is shown of generations, of a rollout, and of launches that are held back.
use serde::Serialize;

/// What executors were launched with, and what is being done about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rollouts {
    /// The generation that new executors are of; empty: not known, because this scheduler does not lead.
    pub generation: String,
    /// The generation that the settings of the leading scheduler make. Another one than `generation` after a roll back.
    pub settings_generation: String,
    /// What executors of `generation` run.
    pub program: String,
    /// Executors of that generation.
    pub up_to_date: usize,
    /// Executors of other generations.
    pub older: usize,
    /// The newest rollout, under way or ended.
    pub rollout: Option<Rollout>,
    /// Launches that are held back because they fail everywhere.
    pub held: Option<Held>,
    /// What to do, for people; empty: nothing.
    pub advice: String,
}

/// A rollout.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rollout {
    /// `canary`, `rolling`, `paused`, `done`, `aborted`, `out_of_date`.
    pub state: String,
    /// What it waits for, or how it ended, for people.
    pub detail: String,
    /// Whether it goes back to a generation of before.
    pub rolls_back: bool,
    /// The generation that most executors were of when it began, if that was known.
    pub from: Option<String>,
    /// The generation that executors will be of.
    pub to: String,
    /// How many nodes may be uncovered at once, as it was ordered.
    pub max_unavailable: String,
    /// The nodes that go first, as it was ordered.
    pub canary: Option<String>,
    /// When it was ordered, in milliseconds since the Unix epoch.
    pub began_ms: u64,
    /// Nodes with a new, proven executor.
    pub done: usize,
    /// Nodes whose executor is still to be replaced.
    pub left: usize,
    /// Nodes that should be covered and are not, or not for long enough.
    pub unavailable: usize,
    /// How many of them may be.
    pub unavailable_max: usize,
    /// Nodes that are left out for now: host and reason; at most a hundred are named.
    pub skipped: Vec<(String, String)>,
}

/// Launches that are held back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Of which generation.
    pub generation: String,
    /// The failure, as one agent told it.
    pub failure: String,
    /// On how many agents it was seen when it was found out.
    pub agents: usize,
    /// Since when, in milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// When the next launch is tried.
    pub next_try_ms: u64,
}
