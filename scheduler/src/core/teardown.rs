//! Takes the framework down for good: its executors end, its reservations are given up, Mesos and the store forget it.
//!
//! That it began is stored before anything is done, and that it is over at the end: another scheduler goes on with it,
//! and none registers anew by itself. Each step is repeated until what follows from it is seen, or its time is over.
use super::effects::{Call, Change, Effect, OrderId, Phase};
use super::{Core, Stage, Then};
use crate::ids::{Moment, TaskId};
use std::time::Duration;
use web::order::{OrderDone, OrderRefused};

/// How much longer than their grace executors may take to end.
const SLACK: Duration = Duration::from_secs(30);
/// How long giving up reservations may take.
const UNRESERVE_WITHIN: Duration = Duration::from_secs(60);
/// The same where the master does not say what is reserved.
const UNRESERVE_UNSEEN: Duration = Duration::from_secs(15);
/// How long Mesos may take to remove the framework: longer than it takes to notice that a connection has gone silent, and
/// to hear over the next one that it is removed.
const REMOVE_WITHIN: Duration = Duration::from_secs(180);
/// How long after a step was asked for it is asked for again.
const AGAIN: Duration = Duration::from_secs(5);
/// The answer to an order that Mesos was faster than.
const REMOVED_ALREADY: &str = "Mesos had removed the framework already; it is being forgotten";

/// A teardown that is under way.
#[derive(Debug)]
pub(super) struct Teardown {
    step: Step,
    /// When it was ordered.
    since: Moment,
    /// When the step began.
    began: Moment,
    /// When it is asked for again.
    again_at: Moment,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Its beginning is being stored.
    Storing,
    /// Executors are told to end.
    Ending,
    /// Reservations are given up as they are offered.
    Unreserving,
    /// Mesos is asked to remove the framework.
    Removing,
    /// Its end is being stored.
    Forgetting,
    /// Nothing is left to do.
    Over,
}

impl Core {
    /// Goes on with a teardown that an earlier scheduler began.
    #[must_use]
    pub fn tearing_down(mut self, since: Option<Moment>, now: Moment) -> Self {
        if let Some(since) = since.filter(|_| self.framework.is_some()) {
            self.teardown = Some(Teardown { step: Step::Ending, since, began: now, again_at: now });
            self.decide(now, None, "going on with the teardown that was ordered before".to_owned());
        }
        self
    }

    /// What the teardown is at, in words.
    pub fn teardown(&self) -> Option<String> {
        let step = self.teardown.as_ref()?.step;
        Some(match step {
            Step::Storing => "about to tear the framework down".to_owned(),
            Step::Ending => format!("{} executors are ending", self.executors_to_end().len()),
            Step::Unreserving => {
                format!("giving up reservations on {} agents", self.reserved_on().len())
            }
            Step::Removing => "asking Mesos to remove the framework".to_owned(),
            Step::Forgetting => "forgetting the framework".to_owned(),
            Step::Over => "the framework is torn down".to_owned(),
        })
    }

    /// The framework's name.
    pub fn framework_name(&self) -> &str {
        &self.rules.claim.framework
    }

    /// The hosts of agents on which something is reserved for this framework.
    pub fn reserved_on(&self) -> Vec<String> {
        self.nodes.reserved_for(&self.rules.claim.framework)
    }

    pub(super) fn is_tearing_down(&self) -> bool {
        self.teardown.is_some()
    }

    /// A teardown was ordered, of the framework of this id. It is answered once its beginning is stored.
    pub(super) fn order_teardown(
        &mut self,
        now: Moment,
        order: OrderId,
        named: &str,
    ) -> Result<Option<OrderDone>, OrderRefused> {
        let refused = |why: String| Err(OrderRefused::NotNow(why));
        let Some(framework) = self.framework.clone() else {
            return refused("no framework is registered yet, so there is nothing to tear down".to_owned());
        };
        if !self.framework_stored {
            return refused(format!("framework {framework} is still being stored; try again"));
        }
        if framework.0 != named {
            return refused(format!("this is framework {framework}, not `{named}`; nothing was done"));
        }
        if self.teardown.as_ref().is_some_and(|teardown| teardown.step == Step::Storing) {
            return refused("a teardown that was ordered before is still being stored; try again".to_owned());
        }
        if self.teardown.is_some() {
            return Ok(Some(OrderDone::Done(format!("framework {framework} is being torn down already"))));
        }
        self.teardown = Some(Teardown { step: Step::Storing, since: now, began: now, again_at: now });
        let change = Change::TearDown { framework: Some(framework), since: now };
        self.save(change, Then::TearDownBegun(order));
        Ok(None)
    }

    /// Its beginning is stored: nothing is launched any more, and everything ends.
    pub(super) fn teardown_began(&mut self, now: Moment, order: OrderId) {
        if self.teardown.as_ref().is_some_and(|teardown| teardown.step != Step::Storing) {
            return self.answer_order(order, Ok(OrderDone::Done(REMOVED_ALREADY.to_owned())));
        }
        self.step(Step::Ending, now);
        let intended = self.launches.iter_mut().filter_map(|(task, launch)| match &mut launch.stage {
            Stage::Storing(held) => Some((task.clone(), held.take())),
            Stage::Asked | Stage::Over => None,
        });
        for (task, held) in intended.collect::<Vec<_>>() {
            if let Some(held) = held {
                self.call(Call::Decline { offers: held.offers, refuse: AGAIN });
            }
            self.drop_launch(&task, Vec::new());
        }
        let executors = self.executors_to_end().len();
        let framework = self.framework.as_ref().map(|id| id.0.clone()).unwrap_or_default();
        let text =
            format!("tearing down framework {framework}, as was ordered: {executors} executors end first");
        self.decide(now, None, text.clone());
        self.answer_order(order, Ok(OrderDone::Done(text)));
        self.drive_teardown(now);
    }

    /// Its beginning could not be stored, as far as is known: nothing is done, and the store is told so again and again,
    /// as it may hold it all the same and the next scheduler would carry it out. It is answered when that is told. Where Mesos
    /// has removed the framework meanwhile, it is answered when that is stored: until then the next scheduler would register anew.
    pub(super) fn teardown_not_begun(&mut self, now: Moment, order: OrderId, why: &str) {
        if let Some(teardown) = self.teardown.as_ref().filter(|teardown| teardown.step != Step::Storing) {
            if teardown.step != Step::Over {
                return self.overtaken.push(order);
            }
            return self.answer_order(order, Ok(OrderDone::Done(REMOVED_ALREADY.to_owned())));
        }
        self.teardown = None;
        self.framework_stored = false;
        self.save_framework();
        self.decide(now, None, format!("the teardown could not be stored: {why}; it is taken back"));
        self.taken_back.push((order, why.to_owned()));
    }

    /// The store holds the framework, and with it that no teardown of it is ordered.
    pub(super) fn answer_taken_back(&mut self) {
        for (order, why) in std::mem::take(&mut self.taken_back) {
            self.answer_order(order, Err(OrderRefused::NotStored(why)));
        }
    }

    /// Goes on with it.
    pub(super) fn drive_teardown(&mut self, now: Moment) {
        let back = self.some_are_back();
        let Some(teardown) = &mut self.teardown else { return };
        // Without Mesos nothing can end; time does not count against it. That it removed the framework is heard when
        // subscribing again.
        if !self.connected && matches!(teardown.step, Step::Ending | Step::Unreserving | Step::Removing) {
            teardown.began = now;
            return;
        }
        let taken = now.since(teardown.began);
        let due = teardown.again_at <= now;
        match teardown.step {
            Step::Ending => self.end_all(now, taken),
            // Those that could not be reached before flush and end too, and what they use can only be given up then.
            Step::Unreserving if back => {
                self.step(Step::Ending, now);
                self.end_all(now, Duration::ZERO);
            }
            Step::Unreserving => self.give_up_reservations(now, taken, due),
            Step::Removing if taken >= REMOVE_WITHIN => {
                let text = "Mesos does not confirm that it removed the framework; look for it there";
                self.decide(now, None, text.to_owned());
                self.forget(now);
            }
            Step::Removing if due => {
                self.ask_again(now);
                self.call(Call::Teardown);
            }
            Step::Forgetting if due => self.forget(now),
            Step::Storing | Step::Removing | Step::Forgetting | Step::Over => {}
        }
    }

    fn end_all(&mut self, now: Moment, taken: Duration) {
        let open = self.executors_to_end();
        if !open.is_empty() && taken < self.rules.grace + SLACK {
            for task in open {
                self.end_launch(now, &task, "the framework is torn down");
            }
            return;
        }
        let left = self.launches.values().filter(|launch| matches!(launch.stage, Stage::Asked)).count();
        if left > 0 {
            let text = format!("{left} executors did not end; Mesos will kill them when it can");
            self.decide(now, None, text);
        }
        self.step(Step::Unreserving, now);
    }

    fn give_up_reservations(&mut self, now: Moment, taken: Duration, due: bool) {
        let reserved = self.reserved_on();
        let began = self.teardown.as_ref().map_or(now, |teardown| teardown.began);
        let done = match self.nodes.last_listing() {
            Some(listed) => listed > began && reserved.is_empty(),
            None => !self.rules.claim.reserve || taken >= UNRESERVE_UNSEEN,
        };
        if done || taken >= UNRESERVE_WITHIN {
            if !reserved.is_empty() {
                let hosts = reserved.join(", ");
                let text = format!(
                    "something is still reserved on {hosts}; an operator can unreserve it (POST /unreserve)"
                );
                self.decide(now, None, text);
            }
            self.step(Step::Removing, now);
            self.drive_teardown(now);
        } else if due {
            self.ask_again(now);
            self.call(Call::Revive);
        }
    }

    /// Mesos has removed the framework: everything of it is forgotten, but that it was torn down.
    pub(super) fn forget(&mut self, now: Moment) {
        self.step(Step::Forgetting, now);
        self.ask_again(now);
        let tasks: Vec<TaskId> = self.launches.keys().cloned().collect();
        for task in tasks {
            self.drop_launch(&task, Vec::new());
        }
        self.framework = None;
        let since = self.teardown.as_ref().map_or(now, |teardown| teardown.since);
        self.save(Change::TearDown { framework: None, since }, Then::TornDown);
    }

    /// That it is over is stored.
    pub(super) fn torn_down(&mut self, now: Moment) {
        for order in std::mem::take(&mut self.overtaken) {
            self.answer_order(order, Ok(OrderDone::Done(REMOVED_ALREADY.to_owned())));
        }
        let over = self.teardown.as_ref().is_some_and(|teardown| teardown.step == Step::Over);
        if !over {
            self.step(Step::Over, now);
            self.decide(now, None, "the framework is torn down".to_owned());
            self.out.push(Effect::TornDown);
        }
    }

    /// Executors that can be told to end and have not.
    fn executors_to_end(&self) -> Vec<TaskId> {
        let open = self.launches.iter().filter(|(_, launch)| {
            matches!(launch.stage, Stage::Asked) && launch.record.phase != Phase::Unreachable
        });
        open.map(|(task, _)| task.clone()).collect()
    }

    /// Whether executors live that nobody has told to end.
    fn some_are_back(&self) -> bool {
        let open = self.executors_to_end();
        open.iter().filter_map(|task| self.launches.get(task)).any(|launch| launch.kill_at.is_none())
    }

    fn step(&mut self, step: Step, now: Moment) {
        if let Some(teardown) = &mut self.teardown {
            (teardown.step, teardown.began, teardown.again_at) = (step, now, now);
        }
    }

    fn ask_again(&mut self, now: Moment) {
        if let Some(teardown) = &mut self.teardown {
            teardown.again_at = now.after(AGAIN);
        }
    }
}

#[cfg(test)]
mod tests;
