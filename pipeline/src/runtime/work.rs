//! Decodes and filters frames on several threads at once, and hands the batches on in the order in which they came.
use super::acks::Ticket;
use super::budget::Permit;
use super::chain::{Chain, Chosen, Routes};
use super::outlet::Parcel;
use super::source::{Frame, Source};
use super::tally::{Tally, count};
use crate::event::Event;
use crate::value::Timestamp;
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, spawn_blocking};

/// The filters of a pipeline, and what is after them.
pub(crate) struct Work {
    pub(crate) frames: mpsc::Receiver<Frame>,
    /// One for each thread.
    pub(crate) chains: Vec<Chain>,
    pub(crate) routes: Arc<Routes>,
    pub(crate) outlets: Vec<mpsc::Sender<Parcel>>,
    pub(crate) tickets: mpsc::Sender<Ticket>,
    pub(crate) tally: Arc<Tally>,
}

/// A frame that went through the filters.
struct Filtered {
    chain: Chain,
    source: Arc<Source>,
    end: u64,
    permit: Option<Permit>,
    events: Vec<Event>,
    chosen: Vec<Chosen>,
}

impl Work {
    /// Works until there will be no more frames. A panic in a filter comes back as an error.
    pub(crate) async fn run(mut self) -> Result<(), JoinError> {
        let mut working = FuturesOrdered::new();
        let mut open = true;
        while open || !working.is_empty() {
            tokio::select! {
                frame = self.frames.recv(), if open && !self.chains.is_empty() => match (frame, self.chains.pop()) {
                    (Some(frame), Some(chain)) => {
                        let (routes, tally) = (self.routes.clone(), self.tally.clone());
                        working.push_back(spawn_blocking(move || filter(frame, chain, &routes, &tally)));
                    }
                    (_, chain) => {
                        self.chains.extend(chain);
                        open = false;
                    }
                },
                Some(filtered) = working.next() => {
                    if !self.hand_on(filtered?).await {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Gives the events to the outputs; waits while one of them has enough. Returns whether they still take any.
    async fn hand_on(&mut self, filtered: Filtered) -> bool {
        let Filtered { chain, source, end, permit, events, chosen } = filtered;
        self.chains.push(chain);
        let count = events.len();
        let events = Arc::new(events);
        let mut waits = Vec::with_capacity(self.outlets.len());
        for (outlet, chosen) in self.outlets.iter().zip(chosen) {
            if count == 0 || matches!(&chosen, Chosen::Some(places) if places.is_empty()) {
                continue;
            }
            let (done, wait) = oneshot::channel();
            if outlet.send(Parcel { events: events.clone(), chosen, done }).await.is_err() {
                return false;
            }
            waits.push(wait);
        }
        self.tickets.send(Ticket { waits, source, end, events: count, permit }).await.is_ok()
    }
}

fn filter(mut frame: Frame, mut chain: Chain, routes: &Routes, tally: &Tally) -> Filtered {
    let (source, end, permit) = (frame.source.clone(), frame.cut.end, frame.permit.take());
    let mut batch = frame.decode(Timestamp::now(), tally);
    let before = batch.len();
    chain.run(&mut batch);
    count(&tally.dropped_events, before.saturating_sub(batch.len()));
    let events = batch.into_events();
    let chosen = routes.choose(&events);
    Filtered { chain, source, end, permit, events, chosen }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Batch, Filter};
    use crate::runtime::lines::Cut;
    use crate::runtime::supervise::panic_reason;
    use bytes::Bytes;

    struct Panics;

    impl Filter for Panics {
        fn run(&mut self, _: &mut Batch) {
            panic!("out of cheese");
        }
    }

    #[tokio::test]
    async fn a_panic_in_a_filter_is_an_error_with_its_words() {
        let (frames_in, frames) = mpsc::channel(1);
        let (tickets, _tickets_out) = mpsc::channel(1);
        let (routes, _) = Routes::new(&[]);
        let chains = vec![Chain::of(Box::new(Panics))];
        let (outlets, tally) = (Vec::new(), Arc::default());
        let work = Work { frames, chains, routes: Arc::new(routes), outlets, tickets, tally };
        let cut = Cut::of(&[Bytes::from_static(b"x")], 2);
        assert!(frames_in.send(Frame::plain(cut)).await.is_ok());
        let error = work.run().await.unwrap_err();
        assert!(panic_reason(error).contains("out of cheese"));
    }
}
