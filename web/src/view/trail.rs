//! Holds how a node came to be in the state it is in: the moments that matter, and what happened last.
use serde::Serialize;
use std::sync::Arc;

/// How many steps of a node are kept.
pub const STEPS: usize = 20;

/// Something that happened to a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// What, and why.
    pub text: String,
}

/// How a node came to be in the state it is in. Moments are in milliseconds since the Unix epoch; `None`: never since this
/// scheduler leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trail {
    /// Since when it is known.
    pub known_ms: u64,
    /// When something of it was offered last.
    pub offered_ms: Option<u64>,
    /// When the newest launch was decided.
    pub launched_ms: Option<u64>,
    /// When its executor attached last.
    pub attached_ms: Option<u64>,
    /// When its executor said last which revision it has applied.
    pub applied_ms: Option<u64>,
    /// What an executor needs and what of that the agent has free; empty while one runs, or when that is not known.
    pub needs: String,
    /// What happened, oldest first; at most [`STEPS`].
    pub steps: Arc<Vec<Step>>,
}

impl Trail {
    /// Something happened. The oldest step makes room for it.
    pub fn add(&mut self, at_ms: u64, text: &str) {
        let steps = Arc::make_mut(&mut self.steps);
        if steps.len() >= STEPS {
            steps.remove(0);
        }
        steps.push(Step { at_ms, text: text.into() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_steps_the_last_ones_are_kept() {
        let mut trail = Trail::default();
        for number in 0..50 {
            trail.add(number, &format!("step {number}"));
        }
        let kept: Vec<u64> = trail.steps.iter().map(|step| step.at_ms).collect();
        assert_eq!(kept, (30..50).collect::<Vec<u64>>());
    }
}
