//! Holds what is persisted of generations, rollouts and launches that are held back, and stores it.
use crate::core::breaker::HeldBack;
use crate::core::effects::{Change, OrderId};
use crate::core::generation::{Generation, Spec};
use crate::core::{Core, RETRY_SAVE, Then};
use crate::ids::{AgentId, Moment};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use web::order::{Canary, Limit, OrderDone, OrderRefused};

/// How many generations are remembered, so that it can be gone back to them.
const KNOWN_MAX: usize = 8;

/// What is persisted about generations and the newest rollout.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutRecord {
    /// How often it was changed: it never goes back.
    pub number: u64,
    /// What was launched lately, newest last.
    pub known: Vec<Spec>,
    /// The newest rollout, also when it has ended.
    pub rollout: Option<Rollout>,
    /// What is not launched but for one try at a time, because it fails everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<HeldBack>,
}

/// A rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// What most executors were of before.
    pub from: Option<Generation>,
    /// What they will be of.
    pub to: Generation,
    /// Whether it goes back, so that launches stay with `to` whatever the settings make.
    pub rolls_back: bool,
    /// How many nodes may be uncovered at once.
    pub max_unavailable: Limit,
    /// How the nodes that go first were named.
    pub canary: Option<Canary>,
    /// Which ones those are, until they have proven.
    pub canaries: Option<BTreeSet<AgentId>>,
    /// Whether to pause then.
    pub pause_after_canary: bool,
    /// Whether it is paused.
    pub paused: bool,
    /// How it ended, if it did.
    pub ended: Option<RolloutEnd>,
    /// When it was ordered.
    pub began_at: Moment,
}

/// How a rollout ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutEnd {
    /// Every node that could be done is; those that come back later are done then.
    Done,
    /// It was aborted.
    Aborted,
}

/// What a person ordered that has to be stored before it is done and answered.
#[derive(Clone, Debug)]
pub(in crate::core) struct Ordered {
    pub(in crate::core) id: OrderId,
    /// The answer.
    pub(in crate::core) text: String,
    /// What is done beside the change of the record.
    pub(in crate::core) frees: Frees,
}

/// Which launches that wait may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::core) enum Frees {
    /// None.
    Nothing,
    /// What is held back because of few agents that fail anyway.
    Few,
    /// All of them.
    All,
}

impl Ordered {
    pub(in crate::core) fn new(id: OrderId, text: String) -> Self {
        Self { id, text, frees: Frees::Nothing }
    }
}

impl Rollout {
    pub(in crate::core) fn is_under_way(&self) -> bool {
        self.ended.is_none()
    }
}

impl Core {
    /// What is held back, or is not any more, is for the next leader to know.
    pub(in crate::core) fn remember_hold(&mut self) {
        let held = self.rollouts.breaker.kept();
        self.store_rollouts(RolloutRecord { held, ..self.rollouts.record.clone() }, None);
    }

    pub(in crate::core) fn remember_spec(&mut self) {
        let used: BTreeSet<Generation> =
            self.launches.values().filter_map(|launch| launch.record.lineage.generation.clone()).collect();
        let mut record = self.rollouts.record.clone();
        let named = record.rollout.as_ref().map(|rollout| (rollout.from.clone(), rollout.to.clone()));
        let is_named =
            |of: &Generation| named.as_ref().is_some_and(|(from, to)| from.as_ref() == Some(of) || to == of);
        let mut seen = BTreeSet::from([self.rollouts.own.clone()]);
        record.known.retain(|spec| seen.insert(spec.generation()));
        while record.known.len() >= KNOWN_MAX {
            let spare = record.known.iter().position(|spec| {
                let generation = spec.generation();
                !used.contains(&generation) && !is_named(&generation)
            });
            record.known.remove(spare.unwrap_or(0));
        }
        record.known.push(self.rules.spec.as_ref().clone());
        self.store_rollouts(record, None);
    }

    /// Changes the newest rollout; who ordered it gets its answer once it is stored.
    pub(in crate::core) fn change_rollout(
        &mut self,
        change: impl FnOnce(&mut Rollout),
        ordered: Option<Ordered>,
    ) {
        let mut record = self.rollouts.record.clone();
        if let Some(rollout) = &mut record.rollout {
            change(rollout);
        }
        self.store_rollouts(record, ordered);
    }

    pub(in crate::core) fn store_rollouts(&mut self, mut record: RolloutRecord, ordered: Option<Ordered>) {
        record.number += 1;
        let before = std::mem::replace(&mut self.rollouts.record, record.clone());
        self.rollouts.storing = true;
        self.know_specs();
        self.save(Change::Rollout(Box::new(record)), Then::Rollout(Box::new(before), ordered));
    }

    /// The record is stored as it is here, and with it that what was refused is not ordered.
    pub(in crate::core) fn rollout_stored(&mut self, now: Moment, ordered: Option<Ordered>) {
        (self.rollouts.storing, self.rollouts.doubtful) = (false, false);
        if let Some(Ordered { id, text, frees }) = ordered {
            self.decide(now, None, text.clone());
            match frees {
                Frees::Nothing => {}
                Frees::Few => drop(self.forgive_few()),
                Frees::All => drop(self.free_launches(now)),
            }
            self.answer_order(id, Ok(OrderDone::Done(text)));
        }
        for (id, why) in std::mem::take(&mut self.rollouts.refused) {
            self.answer_order(id, Err(OrderRefused::NotStored(why)));
        }
    }

    /// The record could not be stored, as far as is known: it is as it was before, and is stored as that again, as the
    /// next scheduler would go on with what the store may hold all the same. Who ordered it hears of it when that is done:
    /// a scheduler that ends before leaves no answer that is wrong.
    pub(in crate::core) fn rollout_not_stored(
        &mut self,
        now: Moment,
        (before, ordered): (RolloutRecord, Option<Ordered>),
        why: &str,
    ) {
        let number = self.rollouts.record.number;
        self.rollouts.record = RolloutRecord { number, ..before };
        (self.rollouts.storing, self.rollouts.doubtful) = (false, true);
        self.rollouts.again_at = now.after(RETRY_SAVE);
        self.know_specs();
        if let Some(Ordered { id, .. }) = ordered {
            self.decide(now, None, format!("an order could not be stored: {why}; it is taken back"));
            self.rollouts.refused.push((id, why.to_owned()));
            self.take_back_rollout();
        }
    }

    /// Stores the record as it is here where the store may hold another one.
    pub(in crate::core) fn take_back_rollout(&mut self) {
        if self.rollouts.doubtful && !self.rollouts.storing {
            self.store_rollouts(self.rollouts.record.clone(), None);
        }
    }

    /// Keeps what is known by generation.
    pub(in crate::core) fn know_specs(&mut self) {
        let known = self.rollouts.record.known.iter();
        self.rollouts.known = known.map(|spec| (spec.generation(), Arc::new(spec.clone()))).collect();
    }
}
