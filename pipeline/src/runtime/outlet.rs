//! Delivers batches to one output, again and again until it has them: in order, unless the output lets several be on their way.
use super::chain::Chosen;
use super::load::{Crew, Load, Output};
use super::meter::Meter;
use super::rendered::Rendered;
use super::tally::{Health, Tally, count};
use crate::event::Event;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

/// How many batches wait for one output. Full: the filters wait, and so the inputs do.
pub(crate) const WAITING_MAX: usize = 4;
/// The pauses between attempts.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// After how long without parcels an output rests.
const REST_AFTER: Duration = Duration::from_secs(5);

/// The events of one batch for one output.
pub(crate) struct Parcel {
    pub(crate) events: Arc<Vec<Event>>,
    pub(crate) chosen: Chosen,
    /// What was written of them before.
    pub(crate) rendered: Option<Arc<Rendered>>,
    /// Told when they are delivered; dropped when they never will be.
    pub(crate) done: oneshot::Sender<()>,
}

/// One output at work.
pub(crate) struct Outlet {
    pub(crate) id: String,
    pub(crate) output: Box<dyn Output>,
    pub(crate) parcels: mpsc::Receiver<Parcel>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) health: Arc<Health>,
}

/// What every load of an output is delivered with.
struct Counter {
    id: String,
    meter: Option<Arc<Meter>>,
    tally: Arc<Tally>,
    health: Arc<Health>,
    /// How many loads failed and are repeated.
    in_trouble: AtomicUsize,
}

/// Events that travel together, and whom to tell when they are delivered.
struct Shipment {
    load: Load,
    dones: Vec<oneshot::Sender<()>>,
}

/// An output that delivers, and comes back when it has.
type Delivery = BoxFuture<'static, Result<Box<dyn Output>, String>>;

/// What an outlet does, between its parcels and its deliveries.
struct Desk {
    waiting: Vec<Parcel>,
    /// Whether more parcels may come.
    open: bool,
    idle: Vec<Box<dyn Output>>,
    busy: FuturesUnordered<Delivery>,
    /// Whether what is on its way may not be overtaken.
    alone: bool,
    crew: Option<Arc<dyn Crew>>,
    counter: Arc<Counter>,
}

impl Outlet {
    /// Delivers until there will be no more parcels, or until it is hopeless. Parcels that wait are delivered together; while
    /// an output is busy, another one like it is given work only if there is a whole load of it: many small requests at once
    /// would cost more than a large one.
    pub(crate) async fn run(mut self) -> Result<(), String> {
        let meter = self.tally.meter(&self.id);
        let in_trouble = AtomicUsize::new(0);
        let Self { id, tally, health, .. } = self;
        let mut desk = Desk {
            waiting: Vec::with_capacity(WAITING_MAX),
            open: true,
            crew: self.output.crew(),
            idle: vec![self.output],
            busy: FuturesUnordered::new(),
            alone: false,
            counter: Arc::new(Counter { id, meter, tally, health, in_trouble }),
        };
        let mut rested = false;
        while desk.has_work() {
            if desk.is_time() {
                rested = false;
                desk.send();
                continue;
            }
            let room = WAITING_MAX - desk.waiting.len();
            let receives = desk.receives();
            tokio::select! {
                got = self.parcels.recv_many(&mut desk.waiting, room), if receives => desk.open = got > 0,
                Some(done) = desk.busy.next(), if !desk.busy.is_empty() => desk.came_back(done?),
                () = tokio::time::sleep(REST_AFTER), if !rested && desk.busy.is_empty() => {
                    rested = true;
                    desk.rest();
                }
            }
        }
        Ok(())
    }
}

impl Desk {
    fn has_work(&self) -> bool {
        self.open || !self.waiting.is_empty() || !self.busy.is_empty()
    }

    /// Whether more parcels are taken: memory is not to fill with what can only wait.
    fn receives(&self) -> bool {
        let useful = self.busy.is_empty() || self.crew.is_some();
        self.open && useful && self.waiting.len() < WAITING_MAX
    }

    /// Whether what waits is to be delivered now.
    fn is_time(&self) -> bool {
        if self.waiting.is_empty() || self.busy.is_empty() {
            return !self.waiting.is_empty();
        }
        let Some(crew) = self.crew.as_ref().filter(|_| !self.alone) else { return false };
        let is_whole = !self.open || self.waiting.len() >= WAITING_MAX;
        is_whole && !crew.keeps_order(&self.load()) && crew.has_room_beside(self.busy.len())
    }

    /// All that waits.
    fn load(&self) -> Load {
        let mut load = Load::default();
        for Parcel { events, chosen, rendered, .. } in &self.waiting {
            load.add_rendered(events.clone(), chosen.clone(), rendered.clone());
        }
        load
    }

    /// Gives an output what waits.
    fn send(&mut self) {
        let hired = || self.crew.as_ref().map(|crew| crew.hire());
        let Some(output) = self.idle.pop().or_else(hired) else { return };
        let (mut load, mut dones) = (Load::default(), Vec::with_capacity(self.waiting.len()));
        for parcel in self.waiting.drain(..) {
            load.add_rendered(parcel.events, parcel.chosen, parcel.rendered);
            dones.push(parcel.done);
        }
        self.alone = self.crew.as_ref().is_some_and(|crew| crew.keeps_order(&load));
        let counter = self.counter.clone();
        self.busy.push(Box::pin(counter.ship(output, Shipment { load, dones })));
    }

    fn came_back(&mut self, output: Box<dyn Output>) {
        self.idle.push(output);
        self.alone &= !self.busy.is_empty();
    }

    /// One output is enough for the next parcels.
    fn rest(&mut self) {
        self.idle.truncate(1);
        self.idle.iter_mut().for_each(|output| output.rest());
    }
}

impl Counter {
    /// Delivers a shipment and tells those who wait for it.
    async fn ship(
        self: Arc<Self>,
        mut output: Box<dyn Output>,
        shipment: Shipment,
    ) -> Result<Box<dyn Output>, String> {
        let events = shipment.load.len();
        let begun = self.meter.as_ref().map(|meter| meter.begin(events));
        self.deliver(output.as_mut(), shipment.load).await?;
        if let (Some(meter), Some(begun)) = (&self.meter, begun) {
            meter.end(begun, events, events);
        }
        for done in shipment.dones {
            // Nobody listens any more only when the pipeline is being torn down.
            let _gone = done.send(());
        }
        Ok(output)
    }

    async fn deliver(&self, output: &mut dyn Output, mut load: Load) -> Result<(), String> {
        // Those since something was taken last: who takes some of a load is not to wait for long with the rest.
        let (mut attempts, mut in_vain) = (0_u32, 0_u32);
        while !load.is_empty() {
            let Err(failure) = output.deliver(&load).await else { break };
            if failure.hopeless {
                return Err(failure.reason);
            }
            attempts += 1;
            in_vain += 1;
            if attempts == 1 {
                self.in_trouble.fetch_add(1, Ordering::Relaxed);
            }
            count(&self.tally.retries, 1);
            if let Some(meter) = &self.meter {
                meter.failed();
            }
            if attempts.is_power_of_two() {
                warn!(output = %self.id, attempts, reason = %failure.reason, "delivery failed; it is repeated");
            }
            self.health.trouble(&self.id, failure.reason);
            if let Some(left) = failure.left {
                if left.len() < load.len() {
                    in_vain = 1;
                }
                load = left;
            }
            tokio::time::sleep(pause(in_vain, output.pauses(), rand::random())).await;
        }
        if attempts > 0 {
            info!(output = %self.id, attempts, "delivery works again");
            // Others may still be in trouble.
            if self.in_trouble.fetch_sub(1, Ordering::Relaxed) == 1 {
                self.health.works(&self.id);
            }
        }
        Ok(())
    }
}

/// The pause after the `attempts`th failure, from the first to the longest: doubled each time, and by `chance` (0 to 1) up to half shorter.
fn pause(attempts: u32, (first, longest): (Option<Duration>, Option<Duration>), chance: f64) -> Duration {
    let (first, longest) = (first.unwrap_or(PAUSE_MIN), longest.unwrap_or(PAUSE_MAX));
    let whole = first.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(longest.max(first));
    whole.mul_f64(1.0 - chance.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests;
