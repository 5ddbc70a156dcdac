//! What must hold at every step, whatever goes wrong.
use crate::machines::Machine;
use crate::world::{Run, World, note};
use local::deterministic::Launch;
use prost::Message;
use proto::mesos::v1::scheduler::event::Type as Said;
use proto::mesos::v1::scheduler::{Call, Event, call};
use proto::mesos::v1::{OfferId, TaskState, TaskStatus, task_status};
use scheduler::core::effects::{Change, LaunchRecord, Phase};
use scheduler::ids::TaskId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

fn accept_launches(call: &Call) -> bool {
    let operations = call.accept.iter().flat_map(|accept| &accept.operations);
    operations.flat_map(|operation| &operation.launch).next().is_some()
}

/// What Mesos may answer to a call that was not wrong, only late.
const LATE: [&str; 3] = ["stream ID", "Framework cannot be found", "Framework is not subscribed"];

type Receipt = (TaskId, Vec<u8>);

/// What one scheduler was told by Mesos and what it may still answer.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Offers that were neither answered nor withdrawn.
    offers: BTreeSet<String>,
    /// Inverse offers, the same.
    inverse_offers: BTreeSet<String>,
    /// Updates with a uuid that have to be acknowledged, with their state and how often they came.
    receipts: BTreeMap<Receipt, (i32, usize)>,
    /// Those that may be: they came before a disconnection, or could not be stored.
    old_receipts: BTreeMap<Receipt, (i32, usize)>,
    minute: u64,
    calls: usize,
}

impl Ledger {
    /// The scheduler heard this.
    pub(crate) fn heard(&mut self, event: &Event) {
        match event.r#type() {
            Said::Offers => {
                let offers = event.offers.iter().flat_map(|offers| &offers.offers);
                self.offers.extend(offers.map(|offer| offer.id.value.clone()));
            }
            Said::Rescind => {
                if let Some(rescind) = &event.rescind {
                    self.offers.remove(&rescind.offer_id.value);
                }
            }
            Said::InverseOffers => {
                let offers = event.inverse_offers.iter().flat_map(|offers| &offers.inverse_offers);
                self.inverse_offers.extend(offers.map(|offer| offer.id.value.clone()));
            }
            Said::RescindInverseOffer => {
                if let Some(rescind) = &event.rescind_inverse_offer {
                    self.inverse_offers.remove(&rescind.inverse_offer_id.value);
                }
            }
            Said::Update => {
                if let Some((status, uuid)) =
                    event.update.as_ref().and_then(|u| Some((&u.status, u.status.uuid.clone()?)))
                {
                    let receipt = (TaskId(status.task_id.value.clone()), uuid);
                    self.receipts.entry(receipt).or_insert((status.state, 0)).1 += 1;
                }
            }
            _ => {}
        }
    }

    pub(crate) fn disconnected(&mut self) {
        self.offers.clear();
        self.inverse_offers.clear();
        self.release(|_| true);
    }

    /// What this change would have allowed to acknowledge is sent again by the agent.
    pub(crate) fn not_stored(&mut self, change: &Change) {
        if let Change::Ended(task) | Change::Launch(LaunchRecord { task, .. }) = change {
            self.release(|of| of == task);
        }
    }

    fn release(&mut self, which: impl Fn(&TaskId) -> bool) {
        for (receipt, (state, count)) in self.receipts.iter_mut().filter(|((task, _), _)| which(task)) {
            self.old_receipts.entry(receipt.clone()).or_insert((*state, 0)).1 += std::mem::take(count);
        }
        self.receipts.retain(|_, (_, count)| *count > 0);
    }

    /// Takes one receipt back; gives the state that the update told.
    fn acknowledged(&mut self, receipt: &Receipt) -> Option<i32> {
        for receipts in [&mut self.receipts, &mut self.old_receipts] {
            if let Some((state, count)) = receipts.get_mut(receipt).filter(|(_, count)| *count > 0) {
                *count -= 1;
                let state = *state;
                receipts.retain(|_, (_, count)| *count > 0);
                return Some(state);
            }
        }
        None
    }

    pub(crate) fn unacknowledged(&self) -> usize {
        self.receipts.len()
    }

    fn answer(&mut self, offers: &[OfferId], inverse: bool) -> Result<(), String> {
        let known = if inverse { &mut self.inverse_offers } else { &mut self.offers };
        let gone: Vec<&str> =
            offers.iter().filter(|id| !known.remove(&id.value)).map(|id| id.value.as_str()).collect();
        if gone.is_empty() {
            Ok(())
        } else {
            Err(format!("offers {gone:?} are gone, or were answered before"))
        }
    }
}

impl World {
    /// Every call that a scheduler decides on.
    pub(crate) fn check_call(&mut self, run: Run, bytes: &[u8]) {
        let call = Call::decode(bytes).expect("a scheduler writes protobuf");
        note!(self, "s{} calls {}", run.0, words(&call));
        if let Err(broken) = self.call_is_right(run, &call) {
            self.broken(format!("s{} calls {:?}: {broken}", run.0, call.r#type()));
        }
        self.check_rate(run, &call);
    }

    fn call_is_right(&mut self, run: Run, call: &Call) -> Result<(), String> {
        match call.r#type() {
            call::Type::Accept => {
                let accept = call.accept.clone().unwrap_or_default();
                self.ledger(run).answer(&accept.offer_ids, false)?;
                let stored = self.store.framework.clone().map(|id| id.0);
                if stored != call.framework_id.as_ref().map(|id| id.value.clone()) && self.is_in_office(run) {
                    return Err(format!("the framework id is not stored, {stored:?} is"));
                }
                let launches = accept.operations.into_iter().filter_map(|operation| operation.launch);
                if self.store.torn_down.is_some() && self.is_in_office(run) && accept_launches(call) {
                    return Err("the framework is torn down".to_owned());
                }
                for info in launches.flat_map(|launch| launch.task_infos) {
                    let task = TaskId(info.task_id.value.clone());
                    if !self.store.launches.contains_key(&task) && self.is_in_office(run) {
                        return Err(format!("the intent of {task} is not stored"));
                    }
                    let executor = info.executor.map(|executor| executor.executor_id.value);
                    self.executor_of.insert(task.0, executor.unwrap_or_default());
                }
                Ok(())
            }
            call::Type::Decline => {
                let decline = call.decline.clone().unwrap_or_default();
                self.ledger(run).answer(&decline.offer_ids, false)
            }
            call::Type::Acknowledge => {
                let acknowledge = call.acknowledge.clone().unwrap_or_default();
                let receipt = (TaskId(acknowledge.task_id.value), acknowledge.uuid);
                let state = self.ledger(run).acknowledged(&receipt);
                let state = state.ok_or("no such update came, or it was acknowledged before")?;
                if self.is_in_office(run) { self.is_stored(&receipt.0, state) } else { Ok(()) }
            }
            call::Type::Kill => {
                let task = call.kill.as_ref().map(|kill| kill.task_id.value.clone()).unwrap_or_default();
                self.check_replacement(run, &TaskId(task.clone()))?;
                self.may_end(run, &task)
            }
            call::Type::Teardown if self.store.torn_down.is_some() || !self.is_in_office(run) => Ok(()),
            call::Type::Shutdown => {
                let executor = call.shutdown.as_ref().map(|call| call.executor_id.value.clone());
                let of = |(_, id): &(&String, &String)| Some(*id) == executor.as_ref();
                let task = self.executor_of.iter().find(of).map(|(task, _)| task.clone()).unwrap_or_default();
                self.may_end(run, &task)
            }
            call::Type::AcceptInverseOffers => {
                let accept = call.accept_inverse_offers.clone().unwrap_or_default();
                self.ledger(run).answer(&accept.inverse_offer_ids, true)
            }
            call::Type::Revive | call::Type::Reconcile | call::Type::Message => Ok(()),
            other => Err(format!("{other:?} was never wanted")),
        }
    }

    fn ledger(&mut self, run: Run) -> &mut Ledger {
        &mut self.office(run).expect("it just called").ledger
    }

    /// Whether the store takes what this scheduler writes: only then can it tell what has to be stored.
    pub(crate) fn is_in_office(&mut self, run: Run) -> bool {
        let epoch = self.store.epoch;
        self.office(run).is_some_and(|office| office.epoch == epoch)
    }

    /// Whether the store holds what an update told.
    fn is_stored(&self, task: &TaskId, state: i32) -> Result<(), String> {
        if !self.store.launches.contains_key(task) {
            return Ok(());
        }
        let phase = match TaskState::try_from(state) {
            Ok(TaskState::TaskStaging) => Phase::Launching,
            Ok(TaskState::TaskStarting) => Phase::Starting,
            Ok(TaskState::TaskRunning) => Phase::Running,
            Ok(TaskState::TaskKilling) => Phase::Killing,
            Ok(TaskState::TaskUnreachable) => Phase::Unreachable,
            _ => return Err(format!("{task} is over, and the store still holds it")),
        };
        let stored = self.store.phases.get(task).is_some_and(|phases| phases.contains(&phase));
        if stored { Ok(()) } else { Err(format!("the store never saw {task} {phase:?}")) }
    }

    /// What was launched is ended only if Mesos said that it is over, or its machine is to be away; one that cannot be
    /// reached is neither.
    fn may_end(&mut self, run: Run, task: &str) -> Result<(), String> {
        let record = self.store.launches.get(&TaskId(task.to_owned()));
        let launched = record.is_some() || self.executor_of.contains_key(task);
        let host = record.map(|record| record.host.clone());
        let leaves =
            |machine: &Machine| machine.maintenance.is_some() && machine.machine_id().hostname == host;
        let away = self.machines.iter().any(leaves);
        let on_purpose = self.is_ended_on_purpose(&TaskId(task.to_owned()));
        let called_over = self.called_over.contains(task);
        if launched && !away && !on_purpose && !called_over && self.is_in_office(run) {
            return Err(format!("{task} is ours and should live"));
        }
        Ok(())
    }

    /// No storms of calls, whatever happens: acknowledgements aside, which answer what came.
    fn check_rate(&mut self, run: Run, call: &Call) {
        let (minute, machines) = (self.now.as_secs() / 60, self.machines.len());
        if call.r#type() == call::Type::Acknowledge {
            return;
        }
        let ledger = self.ledger(run);
        if ledger.minute != minute {
            (ledger.minute, ledger.calls) = (minute, 0);
        }
        ledger.calls += 1;
        let (calls, limit) = (ledger.calls, 60 + 60 * machines);
        if calls == limit {
            self.broken(format!("s{} made {limit} calls within a minute", run.0));
        }
    }

    /// A scheduler subscribes: never as a new framework while the old one can be used.
    pub(crate) fn check_subscribe(&mut self, run: Run, bytes: &[u8]) {
        let call = Call::decode(bytes).expect("a scheduler writes protobuf");
        let named = call.framework_id.map(|id| id.value);
        note!(self, "s{} subscribes as {named:?}", run.0);
        let usable = self.store.framework.clone().filter(|id| !self.removed_frameworks.contains(&id.0));
        if let (None, Some(usable), true) = (named, usable, self.is_in_office(run)) {
            self.broken(format!("s{} registers a new framework while {usable} can be used", run.0));
        }
    }

    /// Mesos answered a call.
    pub(crate) fn check_answer(&mut self, connection: u64, result: &Result<(), String>) {
        if let Err(why) = result
            && !LATE.iter().any(|late| why.contains(late))
        {
            self.broken(format!("Mesos refuses a call of connection {connection}: {why}"));
        }
    }

    /// An agent starts an executor: no other one of that framework lives there, unless Mesos called it lost.
    pub(crate) fn check_launch(&mut self, machine: usize, launch: &Launch) {
        let id = &launch.executor.executor_id.value;
        let here = self.machines[machine].executors.values();
        let beside = self.store.beside.get(id).map(|task| task.0.clone());
        let other = here
            .filter(|e| e.agent_id == launch.agent_id && e.framework == launch.framework_id && e.id != *id)
            .find(|e| !self.called_lost.contains(&e.id) && e.task != beside)
            .map(|e| e.id.clone());
        if let Some(other) = other {
            self.broken(format!("agent {machine} starts {id} while {other} lives"));
        }
    }

    /// What a core keeps grows with the agents and with nothing else.
    pub(crate) fn check_size(&mut self, run: Run) {
        // A machine may have been several agents: their launches are known until Mesos says what became of them.
        let agents = self.machines.iter().map(|machine| machine.run as usize + 1).sum::<usize>();
        let Some(office) = self.office(run) else { return };
        let size = office.scheduler.size();
        let within = size.launches <= 2 * agents
            && size.executors <= 2 * agents
            && size.nodes <= agents
            && size.asked <= 2 * agents
            && size.over <= 20 * agents
            && size.held_offers <= 20 * agents
            && size.changes <= 50 * agents
            && size.decisions <= 200;
        if !within {
            self.broken(format!("s{} keeps too much for {agents} agents: {size:?}", run.0));
        }
    }

    /// What a scheduler hears.
    pub(crate) fn note_event(&mut self, run: Run, event: &Event) {
        let s = run.0;
        match event.r#type() {
            Said::Offers => {
                let offers = event.offers.clone().unwrap_or_default().offers;
                let offers: Vec<String> =
                    offers.iter().map(|o| format!("{} of {}", o.id.value, o.agent_id.value)).collect();
                note!(self, "s{s} is offered {}", offers.join(", "));
            }
            Said::Rescind => {
                let offer = event.rescind.as_ref().map(|r| r.offer_id.value.as_str()).unwrap_or_default();
                note!(self, "s{s} is rescinded {offer}");
            }
            Said::Update => {
                let status = event.update.as_ref().map(|update| update.status.clone()).unwrap_or_default();
                note!(self, "s{s} hears {}", status_words(&status));
            }
            Said::Heartbeat => {}
            other => note!(self, "s{s} hears {other:?}"),
        }
    }

    /// What Mesos itself says of executors, whether it arrives or not.
    pub(crate) fn note_what_mesos_says(&mut self, event: &Event) {
        let Some(status) = event.update.as_ref().map(|update| &update.status) else { return };
        let over = !matches!(
            status.state(),
            TaskState::TaskStaging
                | TaskState::TaskStarting
                | TaskState::TaskRunning
                | TaskState::TaskKilling
                | TaskState::TaskUnreachable
        );
        if over {
            self.called_over.insert(status.task_id.value.clone());
        }
        if over
            && status.source() != task_status::Source::Executor
            && let Some(executor) = self.executor_of.get(&status.task_id.value)
        {
            self.called_lost.insert(executor.clone());
        }
    }
}

fn status_words(status: &TaskStatus) -> String {
    let uuid = if status.uuid.is_some() { "" } else { ", no uuid" };
    let message = status.message.as_deref().unwrap_or_default();
    format!("{} {:?} {:?} {message}{uuid}", status.task_id.value, status.state(), status.reason())
}

fn words(call: &Call) -> String {
    let offers = |ids: &[OfferId]| ids.iter().map(|id| id.value.clone()).collect::<Vec<_>>().join(", ");
    match (&call.accept, &call.decline, &call.acknowledge, &call.reconcile) {
        (Some(accept), ..) => format!("ACCEPT {}", offers(&accept.offer_ids)),
        (_, Some(decline), ..) => format!("DECLINE {}", offers(&decline.offer_ids)),
        (_, _, Some(acknowledge), _) => format!("ACKNOWLEDGE {}", acknowledge.task_id.value),
        (_, _, _, Some(reconcile)) => {
            let tasks: Vec<&str> = reconcile.tasks.iter().map(|task| task.task_id.value.as_str()).collect();
            format!("RECONCILE {}", tasks.join(", "))
        }
        _ => {
            let kill = call.kill.as_ref().map(|kill| kill.task_id.value.as_str());
            let shutdown = call.shutdown.as_ref().map(|shutdown| shutdown.executor_id.value.as_str());
            format!("{:?} {}", call.r#type(), kill.or(shutdown).unwrap_or_default())
        }
    }
}

/// How long it may take until all is well again.
pub(crate) const BOUND: Duration = Duration::from_secs(40 * 60);
