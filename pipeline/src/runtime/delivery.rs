//! Sends events of many peers on together, and tells each of them when all of its events have arrived at the outputs.
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

use super::lines::{BYTES_MAX, LINES_MAX};
use super::source::{Closed, Intake, Source};
use crate::event::Event;
use crate::field::FieldRef;
use crate::value::Value;

/// Told when events have arrived; dropped when they never will.
pub(crate) type Arrival = oneshot::Receiver<()>;

/// Events of one peer.
pub(crate) struct Lot {
    events: Vec<Event>,
    size: usize,
    arrived: oneshot::Sender<()>,
}

/// Where peers put their events.
#[derive(Clone)]
pub(crate) struct Counter {
    lots: mpsc::Sender<Lot>,
}

/// A place for the events of peers; `most` lots of them may wait. [`work`] does the rest.
pub(crate) fn counter(most: usize) -> (Counter, mpsc::Receiver<Lot>) {
    let (lots, waiting) = mpsc::channel(most);
    (Counter { lots }, waiting)
}

/// A place on the counter.
pub(crate) struct Place<'c> {
    room: mpsc::Permit<'c, Lot>,
}

impl Counter {
    /// Waits for a place, while the pipeline is full. Events had better not be made before: who waits has them in memory.
    pub(crate) async fn place(&self) -> Result<Place<'_>, Closed> {
        let room = self.lots.reserve().await.map_err(|_| Closed)?;
        Ok(Place { room })
    }
}

impl Place<'_> {
    /// Puts events down, which were `size` bytes.
    pub(crate) fn put(self, events: Vec<Event>, size: usize) -> Arrival {
        let (arrived, arrival) = oneshot::channel();
        self.room.send(Lot { events, size, arrived });
        arrival
    }
}

/// Those who wait, each with the number of the frame that their events are in.
type Waiting = Arc<Mutex<VecDeque<(u64, oneshot::Sender<()>)>>>;

/// Sends on what is put down until nobody puts down any more, even after a stop. Events get the fields `of` and what every
/// input adds, unless they have been `decorated`.
pub(crate) async fn work(
    mut lots: mpsc::Receiver<Lot>,
    intake: &Intake,
    of: Vec<(FieldRef, Value)>,
    decorated: bool,
) {
    let waiting: Waiting = Arc::default();
    let source = source(intake, of, decorated, &waiting);
    let mut number = 0;
    let mut next = lots.recv().await;
    while let Some(lot) = next.take() {
        number += 1;
        let (mut events, mut size) = (Vec::new(), 0);
        let mut add = |lot: Lot| {
            size += lot.size;
            events.extend(lot.events);
            waiting.lock().unwrap_or_else(PoisonError::into_inner).push_back((number, lot.arrived));
            events.len() < LINES_MAX && size < BYTES_MAX
        };
        let mut room = add(lot);
        while room {
            match lots.try_recv() {
                Ok(lot) => room = add(lot),
                Err(_) => break,
            }
        }
        if intake.send_events_last(&source, events, size, number).await.is_err() {
            return;
        }
        next = lots.recv().await;
    }
}

fn source(intake: &Intake, of: Vec<(FieldRef, Value)>, decorated: bool, waiting: &Waiting) -> Arc<Source> {
    let waiting = waiting.clone();
    let acked = Arc::new(move |number| {
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        while waiting.front().is_some_and(|(of, _)| *of <= number) {
            if let Some((_, arrived)) = waiting.pop_front() {
                // The peer may be gone.
                let _gone = arrived.send(());
            }
        }
    });
    if decorated { intake.undecorated(of, acked) } else { intake.source(of, false, acked) }
}
