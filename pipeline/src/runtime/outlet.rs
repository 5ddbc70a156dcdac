//! Delivers batches to one output, in order, again and again until it has them.
use super::chain::Chosen;
use super::load::{Load, Output};
use super::meter::Meter;
use super::tally::{Health, Tally, count};
use crate::event::Event;
use std::sync::Arc;
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

impl Outlet {
    /// Delivers until there will be no more parcels, or until it is hopeless. Parcels that wait are delivered together.
    pub(crate) async fn run(mut self) -> Result<(), String> {
        let mut parcels = Vec::with_capacity(WAITING_MAX);
        let meter = self.tally.meter(&self.id);
        while self.receive(&mut parcels).await > 0 {
            let mut load = Load::default();
            let mut dones = Vec::with_capacity(parcels.len());
            for parcel in parcels.drain(..) {
                load.add(parcel.events, parcel.chosen);
                dones.push(parcel.done);
            }
            let events = load.len();
            let begun = meter.as_ref().map(|meter| meter.begin(events));
            self.deliver(load, meter.as_deref()).await?;
            if let (Some(meter), Some(begun)) = (&meter, begun) {
                meter.end(begun, events, events);
            }
            for done in dones {
                // Nobody listens any more only when the pipeline is being torn down.
                let _gone = done.send(());
            }
        }
        Ok(())
    }

    /// Waits for parcels; the output rests when there are none for a while.
    async fn receive(&mut self, parcels: &mut Vec<Parcel>) -> usize {
        let received = tokio::time::timeout(REST_AFTER, self.parcels.recv_many(parcels, WAITING_MAX));
        match received.await {
            Ok(received) => received,
            Err(_) => {
                self.output.rest();
                self.parcels.recv_many(parcels, WAITING_MAX).await
            }
        }
    }

    async fn deliver(&mut self, mut load: Load, meter: Option<&Meter>) -> Result<(), String> {
        let mut attempts = 0_u32;
        while !load.is_empty() {
            let Err(failure) = self.output.deliver(&load).await else { break };
            if failure.hopeless {
                return Err(failure.reason);
            }
            attempts += 1;
            count(&self.tally.retries, 1);
            if let Some(meter) = meter {
                meter.failed();
            }
            if attempts.is_power_of_two() {
                warn!(output = %self.id, attempts, reason = %failure.reason, "delivery failed; it is repeated");
            }
            self.health.trouble(&self.id, failure.reason);
            if let Some(left) = failure.left {
                load = left;
            }
            tokio::time::sleep(pause(attempts, self.output.pauses(), rand::random())).await;
        }
        if attempts > 0 {
            info!(output = %self.id, attempts, "delivery works again");
            self.health.works(&self.id);
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
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_vary() {
        let longest: Vec<u128> = [1, 2, 3, 30].map(|n| pause(n, (None, None), 0.0).as_millis()).to_vec();
        assert_eq!(longest, [50, 100, 200, 10_000]);
        assert_eq!(pause(1, (None, None), 1.0), Duration::from_millis(25));
        assert_eq!(pause(u32::MAX, (None, None), 0.5), Duration::from_millis(7500));
        let own = (Some(Duration::from_secs(2)), Some(Duration::from_secs(64)));
        assert_eq!([1, 6, 60].map(|n| pause(n, own, 0.0).as_secs()), [2, 64, 64]);
    }
}
