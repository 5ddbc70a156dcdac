//! Finds what is left of other frameworks of our name, and executors of ours that no launch knows.
use super::Core;
use super::cluster::{Cluster, Stray};
use crate::ids::{ExecutorId, FrameworkId, Moment};
use std::collections::BTreeSet;

/// A framework of our name that is not this one, or what runs of this one without a launch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// The framework.
    pub framework: FrameworkId,
    /// Whether it is this framework.
    pub ours: bool,
    /// Whether a scheduler of it is connected.
    pub connected: bool,
    /// Its executors.
    pub executors: Vec<Stray>,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Orphans {
    found: Vec<Orphan>,
    /// Executors of ours without a launch, as of the last look. They may be about to end or to be known: only what is
    /// there at the next look too is an orphan.
    suspects: BTreeSet<ExecutorId>,
}

impl Core {
    /// What is left of other frameworks of our name, and of this one without a launch.
    pub fn orphans(&self) -> &[Orphan] {
        &self.orphans.found
    }

    pub(super) fn look_for_orphans(&mut self, now: Moment, cluster: &Cluster) {
        let Some(us) = self.framework.clone() else { return };
        let others = cluster.namesakes.iter().filter(|namesake| namesake.id != us).map(|namesake| Orphan {
            framework: namesake.id.clone(),
            ours: false,
            connected: namesake.connected,
            executors: cluster.executors_of(&namesake.id).cloned().collect(),
        });
        let mut found: Vec<Orphan> = others.collect();
        let unknown: Vec<&Stray> =
            cluster.executors_of(&us).filter(|s| !self.executors.contains_key(&s.executor)).collect();
        let twice = |stray: &&&Stray| self.orphans.suspects.contains(&stray.executor);
        let executors: Vec<Stray> = unknown.iter().filter(twice).map(|stray| (*stray).clone()).collect();
        let suspects = unknown.iter().map(|stray| stray.executor.clone()).collect();
        if !executors.is_empty() {
            found.push(Orphan { framework: us, ours: true, connected: true, executors });
        }
        for orphan in &found {
            if !self.orphans.found.iter().any(|known| known.framework == orphan.framework) {
                self.decide(now, None, orphan.words());
            }
        }
        self.orphans.suspects = suspects;
        self.orphans.found = found;
    }
}

impl Orphan {
    /// What it is and what to do about it.
    pub fn words(&self) -> String {
        let (id, count) = (&self.framework, self.executors.len());
        match (self.ours, self.connected) {
            (true, _) => format!(
                "{count} executors of this framework belong to no launch; they are ended when their agents are offered, \
                 or end them on the nodes"
            ),
            (false, true) => format!(
                "framework {id} has our name and a scheduler of its own, and {count} executors: give one of the two another \
                 --framework-name, or stop it and tear it down"
            ),
            (false, false) => format!(
                "framework {id} has our name, no scheduler, and {count} executors: `logherd teardown --framework {id}` ends them"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::cluster::Namesake;
    use crate::core::tests::{NOW, launch, ready};

    fn stray(framework: &str, executor: &str) -> Stray {
        Stray { framework: framework.into(), agent: "a".into(), executor: executor.into() }
    }

    fn cluster(executors: Vec<Stray>) -> Cluster {
        let namesake = |id: &str, connected| Namesake { id: id.into(), connected };
        let namesakes = vec![namesake("f-0000", true), namesake("f-old", false), namesake("f-other", true)];
        Cluster { namesakes, executors, ..Cluster::default() }
    }

    #[test]
    fn frameworks_of_our_name_are_found_with_their_executors_and_what_to_do() {
        let mut core = ready();
        core.cluster_described(NOW, &cluster(vec![stray("f-old", "e1"), stray("f-old", "e2")]));
        let found: Vec<_> =
            core.orphans().iter().map(|o| (o.framework.0.as_str(), o.executors.len())).collect();
        assert_eq!(found, [("f-old", 2), ("f-other", 0)]);
        assert!(core.orphans()[0].words().contains("--framework f-old"));
        assert!(core.orphans()[1].words().contains("--framework-name"));
        assert_eq!(core.decisions().filter(|d| d.text.contains("has our name")).count(), 2);
        core.cluster_described(NOW, &cluster(vec![]));
        assert_eq!(core.decisions().filter(|d| d.text.contains("has our name")).count(), 2);
    }

    #[test]
    fn an_executor_of_ours_without_a_launch_is_an_orphan_when_it_is_seen_twice() {
        let mut core = ready();
        let (_, executor, _) = launch(&mut core, "a", NOW);
        let seen = || cluster(vec![stray("f-0000", &executor.0), stray("f-0000", "lost")]);
        core.cluster_described(NOW, &seen());
        assert!(!core.orphans().iter().any(|orphan| orphan.ours));
        core.cluster_described(NOW, &seen());
        let ours = core.orphans().iter().find(|orphan| orphan.ours).unwrap();
        assert_eq!(ours.executors, [stray("f-0000", "lost")]);
    }
}
