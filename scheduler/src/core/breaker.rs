//! Stops launching what fails everywhere: when the same failure hits many agents in a short time, one launch at a time is
//! tried, with pauses that grow, until one proves.
use super::generation::Generation;
use crate::ids::{AgentId, Moment, TaskId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// How far back launches and failures count.
const WINDOW: Duration = Duration::from_secs(300);
/// On so many agents the same failure is no accident …
const AGENTS_MIN: usize = 3;
/// … if it hits one in so many of the agents that were launched on or run what was launched.
const ONE_IN: usize = 5;
/// The first pause before a launch is tried, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// A launch that was tried and neither failed nor proved in so long stands in the way of no other …
const PROBE_PATIENCE: Duration = Duration::from_secs(120);
/// … but it has so long beyond the time in which it proves.
const PROBE_STARTS_IN: Duration = Duration::from_secs(60);
/// How long offers are refused meanwhile.
const REFUSE_HELD: Duration = Duration::from_secs(15);
/// How much of a failure's words is compared.
const CAUSE_MAX: usize = 300;

/// Watches how launches end.
#[derive(Debug)]
pub(super) struct Breaker {
    probe_patience: Duration,
    launched: VecDeque<(Moment, AgentId, Generation)>,
    failed: VecDeque<Failure>,
    /// What is in `launched`, counted.
    launched_on: Counts<Generation>,
    /// What is in `failed`, counted.
    failed_on: Counts<(Generation, String)>,
    /// Agents that failed before what is watched began: their failures say nothing about it.
    left_out: BTreeSet<AgentId>,
    open: Option<Open>,
}

/// How often each agent was seen, by what it was seen with.
type Counts<K> = BTreeMap<K, BTreeMap<AgentId, usize>>;

#[derive(Debug)]
struct Failure {
    at: Moment,
    agent: AgentId,
    generation: Generation,
    cause: String,
}

/// Launches of a generation are held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Open {
    /// Which one.
    pub(super) generation: Generation,
    /// The failure, as one agent told it.
    pub(super) failure: String,
    /// On how many agents it was seen.
    pub(super) agents: usize,
    /// Since when.
    pub(super) since: Moment,
    /// When the next launch may be tried.
    pub(super) probe_at: Moment,
    pause: Duration,
    probe: Option<(TaskId, Moment)>,
}

/// What is persisted of launches that are held back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldBack {
    /// Of which generation.
    pub generation: Generation,
    /// The failure, as one agent told it.
    pub failure: String,
    /// On how many agents it was seen.
    pub agents: usize,
    /// Since when.
    pub since: Moment,
    /// How long after a failure the next launch is tried.
    pub pause: Duration,
}

impl Breaker {
    /// One for launches that prove within `settle`.
    pub(super) fn new(settle: Duration) -> Self {
        Self {
            probe_patience: PROBE_PATIENCE.max(settle + PROBE_STARTS_IN),
            launched: VecDeque::new(),
            failed: VecDeque::new(),
            launched_on: BTreeMap::new(),
            failed_on: BTreeMap::new(),
            left_out: BTreeSet::new(),
            open: None,
        }
    }

    /// What is held back, if anything is.
    pub(super) fn open(&self) -> Option<&Open> {
        self.open.as_ref()
    }

    /// What the next leader has to know, so that it does not launch everywhere what fails everywhere.
    pub(super) fn kept(&self) -> Option<HeldBack> {
        self.open.as_ref().map(|open| HeldBack {
            generation: open.generation.clone(),
            failure: open.failure.clone(),
            agents: open.agents,
            since: open.since,
            pause: open.pause,
        })
    }

    /// Goes on with what an earlier leader held back.
    pub(super) fn go_on(&mut self, held: Option<&HeldBack>, now: Moment) {
        self.open = held.cloned().map(|held| Open {
            generation: held.generation,
            failure: held.failure,
            agents: held.agents,
            since: held.since,
            probe_at: now.after(held.pause),
            pause: held.pause,
            probe: None,
        });
    }

    /// How long an offer has to be refused instead of launching that generation on it; `None`: not at all.
    pub(super) fn holds(&self, generation: &Generation, now: Moment) -> Option<Duration> {
        let open = self.open.as_ref().filter(|open| open.generation == *generation)?;
        let probing = open.probe.as_ref().is_some_and(|(_, since)| now.since(*since) < self.probe_patience);
        let waits = open.probe_at.since(now);
        (probing || !waits.is_zero()).then(|| waits.max(Duration::from_secs(1)).min(REFUSE_HELD))
    }

    /// A launch was decided. While launches are held back it is the one that is tried.
    pub(super) fn launched(&mut self, now: Moment, agent: &AgentId, generation: &Generation, task: &TaskId) {
        self.forget_old(now);
        self.launched.push_back((now, agent.clone(), generation.clone()));
        count(&mut self.launched_on, generation.clone(), agent);
        if let Some(open) = self.open.as_mut().filter(|open| open.generation == *generation) {
            open.probe = Some((task.clone(), now));
        }
    }

    /// A launch came to nothing before Mesos was asked.
    pub(super) fn dropped(&mut self, task: &TaskId) {
        if let Some(open) = &mut self.open
            && open.probe.as_ref().is_some_and(|(probe, _)| probe == task)
        {
            open.probe = None;
        }
    }

    /// These few agents fail whatever is launched: until something runs there, their failures stop nothing.
    pub(super) fn leave_out(&mut self, agents: BTreeSet<AgentId>) {
        self.left_out = agents;
    }

    /// An executor runs there.
    pub(super) fn runs(&mut self, agent: &AgentId) {
        self.left_out.remove(agent);
    }

    /// A launch failed. Says what that decides, if it decides something. `running`: how many executors of that generation
    /// run, asked only when it matters.
    pub(super) fn failed(
        &mut self,
        now: Moment,
        (agent, task, generation): (&AgentId, &TaskId, &Generation),
        words: &str,
        running: impl FnOnce() -> usize,
    ) -> Option<String> {
        self.forget_old(now);
        if let Some(open) = self.open.as_mut().filter(|open| open.generation == *generation) {
            let probe = open.probe.take_if(|(probe, _)| probe == task);
            if probe.is_some() {
                open.pause = (open.pause * 2).min(PAUSE_MAX);
                open.probe_at = now.after(open.pause);
                words.clone_into(&mut open.failure);
                let pause = open.pause.as_secs();
                return Some(format!(
                    "the launch that was tried failed as well; the next one is tried in {pause} s"
                ));
            }
            return None;
        }
        if self.left_out.contains(agent) {
            return None;
        }
        let (cause, generation) = (normalized(words), generation.clone());
        let key = (generation.clone(), cause.clone());
        let agents = count(&mut self.failed_on, key, agent);
        self.failed.push_back(Failure {
            at: now,
            agent: agent.clone(),
            generation: generation.clone(),
            cause,
        });
        let launched = self.launched_on.get(&generation).map_or(0, BTreeMap::len);
        if agents < AGENTS_MIN || are_few(agents, launched) {
            return None;
        }
        let of = launched.max(agents + running());
        if are_few(agents, of) {
            return None;
        }
        self.open = Some(Open {
            generation: generation.clone(),
            failure: words.to_owned(),
            agents,
            since: now,
            probe_at: now.after(FIRST_PAUSE),
            pause: FIRST_PAUSE,
            probe: None,
        });
        let minutes = WINDOW.as_secs() / 60;
        Some(format!(
            "launching of generation {generation} is stopped but for one try at a time: the same failure on {agents} of {of} \
             agents within {minutes} minutes: {words}"
        ))
    }

    /// The launch that is being tried, if there is one.
    pub(super) fn probe(&self) -> Option<&TaskId> {
        self.open.as_ref()?.probe.as_ref().map(|(task, _)| task)
    }

    /// Launches are free again, and what failed before is forgotten. Gives what was held back.
    pub(super) fn close(&mut self) -> Option<Open> {
        self.failed.clear();
        self.launched.clear();
        self.failed_on.clear();
        self.launched_on.clear();
        self.open.take()
    }

    fn forget_old(&mut self, now: Moment) {
        while let Some((_, agent, generation)) =
            self.launched.pop_front_if(|(at, ..)| now.since(*at) > WINDOW)
        {
            uncount(&mut self.launched_on, &generation, &agent);
        }
        while let Some(old) = self.failed.pop_front_if(|failure| now.since(failure.at) > WINDOW) {
            uncount(&mut self.failed_on, &(old.generation, old.cause), &old.agent);
        }
    }
}

/// Gives how many agents were seen with that now.
fn count<K: Ord>(counts: &mut Counts<K>, with: K, agent: &AgentId) -> usize {
    let agents = counts.entry(with).or_default();
    *agents.entry(agent.clone()).or_default() += 1;
    agents.len()
}

fn uncount<K: Ord>(counts: &mut Counts<K>, with: &K, agent: &AgentId) {
    let Some(agents) = counts.get_mut(with) else { return };
    if let Some(times) = agents.get_mut(agent) {
        *times -= 1;
        if *times == 0 {
            agents.remove(agent);
        }
    }
    if agents.is_empty() {
        counts.remove(with);
    }
}

/// Whether so few of all agents fail that it is their own fault.
pub(super) fn are_few(agents: usize, of: usize) -> bool {
    agents * ONE_IN < of
}

/// The words of a failure without what differs from agent to agent: every word with a digit in it is left out.
fn normalized(words: &str) -> String {
    let parts = words.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty());
    let kept = parts.filter(|part| !part.contains(|c: char| c.is_ascii_digit()));
    kept.collect::<Vec<_>>().join(" ").chars().take(CAUSE_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails(breaker: &mut Breaker, agent: usize, now: Moment, words: &str) -> Option<String> {
        let (agent, task) = (AgentId(format!("a{agent}")), TaskId(format!("t{agent}-{}", now.0)));
        let generation = Generation("g".into());
        breaker.launched(now, &agent, &generation, &task);
        breaker.failed(now, (&agent, &task, &generation), words, || 0)
    }

    #[test]
    fn the_same_failure_is_known_again_whatever_ids_and_times_are_in_it() {
        let one =
            normalized("FAILED (CONTAINER_LAUNCH_FAILED): fetch of http://s:9092/x for 3f2a-99 took 1.5secs");
        let two = normalized(
            "FAILED (CONTAINER_LAUNCH_FAILED): fetch of http://s:9094/x for 77bc-01 took 31.25secs",
        );
        assert_eq!(one, two);
        assert_ne!(one, normalized("FAILED (EXECUTOR_TERMINATED): exited with status 3"));
    }

    #[test]
    fn a_failure_on_few_agents_or_on_a_small_part_of_them_stops_nothing() {
        let (mut breaker, now, generation) =
            (Breaker::new(Duration::ZERO), Moment(0), Generation("g".into()));
        for _ in 0..10 {
            assert_eq!(fails(&mut breaker, 1, now, "bad disk"), None);
            assert_eq!(fails(&mut breaker, 2, now, "bad disk"), None);
        }
        let mut breaker = Breaker::new(Duration::ZERO);
        for n in 0..100 {
            breaker.launched(now, &AgentId(format!("well{n}")), &generation, &TaskId(format!("w{n}")));
        }
        for n in 0..10 {
            assert_eq!(fails(&mut breaker, n, now, "bad disk"), None);
        }
    }

    #[test]
    fn a_few_bad_agents_among_many_that_run_stop_nothing() {
        let (mut breaker, now, generation) =
            (Breaker::new(Duration::ZERO), Moment(0), Generation("g".into()));
        for n in 0..3 {
            let (agent, task) = (AgentId(format!("a{n}")), TaskId(format!("t{n}")));
            breaker.launched(now, &agent, &generation, &task);
            assert_eq!(breaker.failed(now, (&agent, &task, &generation), "bad disk", || 9_997), None);
        }
    }

    #[test]
    fn agents_that_failed_before_stop_nothing_until_something_runs_there() {
        let mut breaker = Breaker::new(Duration::ZERO);
        breaker.leave_out((0..3).map(|n| AgentId(format!("a{n}"))).collect());
        for n in 0..3 {
            assert_eq!(fails(&mut breaker, n, Moment(0), "bad disk"), None);
        }
        (0..3).for_each(|n| breaker.runs(&AgentId(format!("a{n}"))));
        let said = (0..3).filter_map(|n| fails(&mut breaker, n, Moment(0), "bad disk")).count();
        assert_eq!(said, 1);
    }

    #[test]
    fn a_launch_that_is_tried_has_time_to_prove_however_long_that_takes() {
        let (mut breaker, generation) = (Breaker::new(Duration::from_secs(600)), Generation("g".into()));
        (0..3).for_each(|n| drop(fails(&mut breaker, n, Moment(0), "bad")));
        breaker.launched(Moment(10_000), &AgentId("a0".into()), &generation, &TaskId("probe".into()));
        assert!(breaker.holds(&generation, Moment(610_000)).is_some());
        assert!(breaker.holds(&generation, Moment(680_000)).is_none());
    }

    #[test]
    fn failures_of_long_ago_do_not_count() {
        let mut breaker = Breaker::new(Duration::ZERO);
        for n in 0..20u64 {
            let now = Moment(n * 200_000);
            assert_eq!(fails(&mut breaker, usize::try_from(n).unwrap(), now, "bad"), None);
        }
    }

    #[test]
    fn a_bad_address_on_a_thousand_agents_is_tried_one_at_a_time_and_ever_more_seldom() {
        let (mut breaker, generation) = (Breaker::new(Duration::ZERO), Generation("g".into()));
        let ids = |n: usize| (AgentId(format!("a{n}")), TaskId(format!("t{n}")));
        for (agent, task) in (0..1000).map(ids) {
            breaker.launched(Moment(0), &agent, &generation, &task);
        }
        for (n, (agent, task)) in (0..1000).map(ids).enumerate() {
            let words = format!("cannot fetch for {n}");
            let said = breaker.failed(Moment(0), (&agent, &task, &generation), &words, || 0);
            assert_eq!(said.is_some(), n == 199, "every fifth of a thousand: {said:?}");
        }
        let (mut tries, mut now) = (Vec::new(), Moment(0));
        while now.0 < 3_600_000 {
            now = now.after(Duration::from_secs(1));
            // Every agent offers all the time.
            for n in 0..3 {
                if breaker.holds(&generation, now).is_none() {
                    tries.push(now);
                    fails(&mut breaker, n, now, "cannot fetch");
                }
            }
        }
        assert!(tries.len() < 25, "{} tries in an hour", tries.len());
        assert!(tries.last().unwrap().0 > 3_200_000, "it never gives up");
        assert_eq!(breaker.holds(&Generation("other".into()), now), None, "another generation is not held");
    }
}
