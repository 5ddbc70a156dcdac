//! Tells people how generations and a rollout stand.
use super::plan::{Count, How, Standing};
use super::{NO_CANARY, Rollout, RolloutEnd};
use crate::core::Core;
use crate::ids::{AgentId, Moment};
use std::collections::BTreeSet;
use web::view::rollout as shown;

/// How many nodes that are left out are named.
const SKIPPED_NAMED: usize = 100;

impl Core {
    /// What is to be seen of generations, of the newest rollout and of launches that are held back.
    pub fn rollouts(&self, now: Moment) -> shown::Rollouts {
        let (spec, generation) = self.launches_now();
        let known = self.launches.values().map(|launch| launch.record.lineage.generation.as_ref());
        let (mut up_to_date, mut older) = (0, 0);
        for of in known {
            if of == Some(&generation) { up_to_date += 1 } else { older += 1 }
        }
        let rollout = self.rollouts.newest().map(|rollout| self.shown_rollout(rollout, now));
        let under_way = self.rollouts.newest().is_some_and(Rollout::is_under_way);
        let own = self.rollouts.own();
        let advice = if *own != generation {
            format!(
                "new executors are of generation {generation}, as it was rolled back; `logherd upgrade` takes the settings of this scheduler, generation {own}"
            )
        } else if older > 0 && !under_way {
            let s = if older == 1 { " runs" } else { "s run" };
            format!("{older} executor{s} an older generation: `logherd upgrade` replaces them")
        } else {
            String::new()
        };
        let held = self.rollouts.breaker.open().map(|open| shown::Held {
            generation: open.generation.0.clone(),
            failure: open.failure.clone(),
            agents: open.agents,
            since_ms: open.since.0,
            next_try_ms: open.probe_at.0,
        });
        shown::Rollouts {
            generation: generation.0,
            settings_generation: own.0.clone(),
            program: spec.program.to_string(),
            up_to_date,
            older,
            rollout,
            held,
            advice,
        }
    }

    fn shown_rollout(&self, rollout: &Rollout, now: Moment) -> shown::Rollout {
        let standings = match rollout.ended {
            Some(RolloutEnd::Aborted) => Vec::new(),
            Some(RolloutEnd::Done) => self.standings_of_others(now, &rollout.to),
            None => self.standings(now, &rollout.to),
        };
        let mut count = Count::of(&standings);
        if rollout.ended == Some(RolloutEnd::Done) {
            count.done = self.launches.len().saturating_sub(standings.len());
        }
        let skipped = standings.iter().filter_map(|node| match &node.how {
            How::Skipped(why) => Some((node.host.clone(), why.clone())),
            _ => None,
        });
        let (state, detail) = self.state_of(rollout, count, &standings);
        shown::Rollout {
            state: state.to_owned(),
            detail,
            rolls_back: rollout.rolls_back,
            from: rollout.from.as_ref().map(|from| from.0.clone()),
            to: rollout.to.0.clone(),
            max_unavailable: rollout.max_unavailable.to_string(),
            canary: rollout.canary.as_ref().map(ToString::to_string),
            began_ms: rollout.began_at.0,
            done: count.done,
            left: count.old + count.overlaps,
            unavailable: count.unavailable,
            unavailable_max: rollout.max_unavailable.of(count.all()),
            skipped: skipped.take(SKIPPED_NAMED).collect(),
        }
    }

    fn state_of(&self, rollout: &Rollout, count: Count, standings: &[Standing]) -> (&'static str, String) {
        let left_out = match count.skipped {
            0 => String::new(),
            n => format!("; {n} nodes are left out until they can be done"),
        };
        match rollout.ended {
            Some(RolloutEnd::Done) => return ("done", format!("{} nodes are new{left_out}", count.done)),
            Some(RolloutEnd::Aborted) => {
                return ("aborted", "what was replaced is new, the rest is not".to_owned());
            }
            None => {}
        }
        if self.launches_now().1 != rollout.to {
            let own = self.rollouts.own();
            let text = format!(
                "the settings of this scheduler make generation {own}: `logherd upgrade` rolls that out instead"
            );
            return ("out_of_date", text);
        }
        let no_canary = |canaries: &BTreeSet<AgentId>| {
            Count::of(standings.iter().filter(|node| canaries.contains(&node.agent))).all() == 0
        };
        if rollout.paused && rollout.canaries.as_ref().is_some_and(no_canary) {
            return ("paused", format!("{NO_CANARY}{left_out}"));
        }
        if rollout.paused {
            return ("paused", format!("`logherd upgrade resume` goes on{left_out}"));
        }
        let state = if rollout.canaries.is_some() { "canary" } else { "rolling" };
        if let Some(open) = self.rollouts.breaker.open().filter(|open| open.generation == rollout.to) {
            return (state, format!("stopped, because launches fail on many nodes: {}", open.failure));
        }
        if count.unavailable >= rollout.max_unavailable.of(count.all()) {
            let waits = standings.iter().find_map(|node| match &node.how {
                How::Uncovered(why) => Some(format!("{}: {why}", node.host)),
                How::New { proven: false } => Some(format!("{} has to prove", node.host)),
                _ => None,
            });
            return (
                state,
                format!(
                    "{} nodes are uncovered or have to prove: {}{left_out}",
                    count.unavailable,
                    waits.unwrap_or_default()
                ),
            );
        }
        let overlapping = standings.iter().find_map(|node| match &node.how {
            How::Overlaps(how) => Some(format!("{}: {how}", node.host)),
            _ => None,
        });
        if let Some(how) = overlapping {
            return (state, format!("{} nodes are being replaced: {how}{left_out}", count.overlaps));
        }
        (state, format!("{} nodes are to be replaced{left_out}", count.old))
    }
}
