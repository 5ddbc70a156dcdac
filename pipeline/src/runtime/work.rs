//! Decodes and filters frames on several threads at once, and hands the batches on in the order in which they came.
use super::acks::Ticket;
use super::budget::Permit;
use super::chain::{Chain, Chosen, Routes};
use super::outlet::Parcel;
use super::rendered::{Render, Rendered};
use super::source::{Arrival, Frame};
use super::spares::Spares;
use super::tally::{Tally, count};
use crate::condition::Undecided;
use crate::dead_letter::DeadLetters;
use crate::event::Event;
use crate::value::Timestamp;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

/// The filters of a pipeline, and what is after them.
pub(crate) struct Work {
    pub(crate) frames: mpsc::Receiver<Frame>,
    /// One for each thread.
    pub(crate) chains: Vec<Chain>,
    pub(crate) routes: Arc<Routes>,
    pub(crate) outlets: Vec<Door>,
    pub(crate) tickets: mpsc::Sender<Ticket>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) spares: Arc<Spares>,
    /// Where events go for which a condition cannot be decided.
    pub(crate) letters: DeadLetters,
}

/// The way to an output.
pub(crate) struct Door {
    pub(crate) parcels: mpsc::Sender<Parcel>,
    /// What writes events for it.
    pub(crate) render: Option<Arc<dyn Render>>,
}

/// What dead letters of conditions have in place of an output's name and id.
pub(crate) const IF_STATEMENT: &str = "if-statement";

/// What the workers have together.
struct Bench {
    queue: Mutex<Queue>,
    order: Mutex<Order>,
    /// How many more frames may be taken before those that were taken are handed on.
    room: Arc<Semaphore>,
    routes: Arc<Routes>,
    outlets: Vec<Door>,
    tickets: mpsc::Sender<Ticket>,
    tally: Arc<Tally>,
    spares: Arc<Spares>,
    letters: DeadLetters,
}

/// Frames that nobody works on yet.
struct Queue {
    frames: mpsc::Receiver<Frame>,
    /// The number of the next one.
    number: u64,
}

/// Frames that went through the filters, to be handed on in the order in which they were taken.
#[derive(Default)]
struct Order {
    /// The number of the one that is handed on next.
    next: u64,
    /// Those that wait, by number.
    filtered: BTreeMap<u64, Filtered>,
    /// Whether somebody hands on.
    handing: bool,
}

/// A frame to work on, and its place in the order.
struct Job {
    frame: Frame,
    number: u64,
    room: OwnedSemaphorePermit,
}

/// How many frames for each worker are taken and not yet handed on. One that is quicker than its neighbour goes on with another
/// meanwhile; only a neighbour that takes very long makes it wait.
const TAKEN_MAX: usize = 2;

/// Frames on their way to the outputs; whether these still take any.
type Handing = BoxFuture<'static, bool>;

/// How long a thread waits for the outputs. Then it is given up: many pipelines whose outputs take nothing must not hold
/// all threads that there are.
const SOON: Duration = Duration::from_millis(5);

/// What became of a worker.
enum Worked {
    /// There is nothing more to do.
    Idle(Chain),
    /// It can go on when its events are handed on.
    Waits(Chain, Handing),
    /// The outputs take no more.
    Over,
}

/// A frame that went through the filters.
struct Filtered {
    arrivals: Vec<Arrival>,
    permit: Option<Permit>,
    events: Vec<Event>,
    chosen: Vec<Chosen>,
    /// What was written for each output.
    rendered: Vec<Option<Arc<Rendered>>>,
    /// Who made them.
    worker: usize,
    _room: OwnedSemaphorePermit,
}

impl Work {
    /// Works until there will be no more frames. A panic in a filter comes back as an error.
    pub(crate) async fn run(self) -> Result<(), JoinError> {
        let Self { frames, chains: mut idle, routes, outlets, tickets, tally, spares, letters } = self;
        let queue = Mutex::new(Queue { frames, number: 0 });
        let (order, room) = (Mutex::default(), Arc::new(Semaphore::new(TAKEN_MAX * idle.len())));
        let bench = Arc::new(Bench { queue, order, room, routes, outlets, tickets, tally, spares, letters });
        let mut threads = JoinSet::new();
        let mut waiting = JoinSet::new();
        let mut open = true;
        loop {
            let worked = tokio::select! {
                job = bench.next(), if open && !idle.is_empty() => {
                    match (job, idle.pop()) {
                        (Some(job), Some(chain)) => {
                            let (bench, handle) = (bench.clone(), Handle::current());
                            threads.spawn_blocking(move || bench.work(chain, job, &handle));
                        }
                        (_, chain) => {
                            idle.extend(chain);
                            open = false;
                        }
                    }
                    continue;
                }
                Some(worked) = threads.join_next() => worked?,
                Some(waited) = waiting.join_next() => waited?,
                else => return Ok(()),
            };
            match worked {
                Worked::Idle(chain) => idle.push(chain),
                Worked::Waits(chain, handing) => {
                    waiting
                        .spawn(async move { if handing.await { Worked::Idle(chain) } else { Worked::Over } });
                }
                // Not yet the end: another thread may have panicked.
                Worked::Over => open = false,
            }
        }
    }
}

impl Queue {
    fn number(&mut self, frame: Frame) -> (Frame, u64) {
        let number = self.number;
        self.number += 1;
        (frame, number)
    }
}

impl Order {
    /// Adds a frame; whether whoever brings it is to hand on.
    fn add(&mut self, number: u64, filtered: Filtered) -> bool {
        self.filtered.insert(number, filtered);
        let first = !self.handing && self.filtered.contains_key(&self.next);
        self.handing |= first;
        first
    }

    /// The frame to hand on next; if it is not there, whoever brings it will hand on.
    fn take(&mut self) -> Option<Filtered> {
        let next = self.filtered.remove(&self.next);
        match next {
            Some(_) => self.next += 1,
            None => self.handing = false,
        }
        next
    }
}

impl Bench {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn order(&self) -> MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next frame; only one may wait for it.
    async fn next(&self) -> Option<Job> {
        let room = self.room.clone().acquire_owned().await.ok()?;
        let frame = poll_fn(|context| {
            let mut queue = self.queue();
            queue.frames.poll_recv(context).map(|frame| frame.map(|frame| queue.number(frame)))
        });
        let (frame, number) = frame.await?;
        Some(Job { frame, number, room })
    }

    /// The next frame, if there is one, and room for it.
    fn try_next(&self) -> Option<Job> {
        let room = self.room.clone().try_acquire_owned().ok()?;
        let mut queue = self.queue();
        let frame = queue.frames.try_recv().ok()?;
        let (frame, number) = queue.number(frame);
        Some(Job { frame, number, room })
    }

    /// Works as long as there are frames, and the outputs take them soon.
    fn work(self: &Arc<Self>, mut chain: Chain, job: Job, handle: &Handle) -> Worked {
        let mut next = Some(job);
        while let Some(Job { frame, number, room }) = next {
            let filtered = self.filter(frame, room, &mut chain);
            if self.order().add(number, filtered) {
                let mut handing: Handing = Box::pin(self.clone().hand_on());
                match (&mut handing).now_or_never() {
                    Some(true) => {}
                    Some(false) => return Worked::Over,
                    None => match handle.block_on(async { timeout(SOON, &mut handing).await }) {
                        Ok(true) => {}
                        Ok(false) => return Worked::Over,
                        Err(_) => return Worked::Waits(chain, handing),
                    },
                }
            }
            next = self.try_next();
        }
        Worked::Idle(chain)
    }

    fn filter(&self, mut frame: Frame, room: OwnedSemaphorePermit, chain: &mut Chain) -> Filtered {
        let (source, arrivals, permit) = (frame.source.clone(), frame.arrivals(), frame.permit.take());
        let mut old = self.spares.take(chain.number);
        let mut batch = frame.decode(Timestamp::now(), &self.tally, &mut old);
        self.spares.give_back(chain.number, old);
        let before = batch.len();
        chain.run(&mut batch);
        source.learn(&batch);
        let aside = chain.take_undecided();
        count(&self.tally.dropped_events, before.saturating_sub(batch.len() + aside.len()));
        let events = batch.into_events();
        let mut undecided = Vec::new();
        let chosen = self.routes.choose(&events, &mut undecided);
        let at_outputs =
            undecided.iter().filter_map(|(place, why)| Some((events.get(*place as usize)?, why)));
        self.set_aside(aside.iter().map(|(event, why)| (event, why)).chain(at_outputs).collect());
        let rendered = self.render(&events, &chosen);
        Filtered { arrivals, permit, events, chosen, rendered, worker: chain.number, _room: room }
    }

    /// Writes events for the outputs that like that.
    fn render(&self, events: &[Event], chosen: &[Chosen]) -> Vec<Option<Arc<Rendered>>> {
        let render = |(door, chosen): (&Door, &Chosen)| {
            let render = door.render.as_ref().filter(|_| chosen.len_of(events) > 0)?;
            Some(Arc::new(render.render(events, chosen)))
        };
        self.outlets.iter().zip(chosen).map(render).collect()
    }

    /// Makes events dead letters for which a condition could not be decided.
    fn set_aside(&self, undecided: Vec<(&Event, &Undecided)>) {
        let Some((_, first)) = undecided.first() else { return };
        let reason = |why: &Undecided| format!("a condition cannot be decided: {why}");
        tracing::warn!(events = undecided.len(), "{}; the events go to the dead letters", reason(first));
        let reasons: Vec<String> = undecided.iter().map(|(_, why)| reason(why)).collect();
        let kept = undecided.iter().map(|(event, _)| *event).zip(reasons.iter().map(String::as_str));
        if let Err(error) = self.letters.keep(Timestamp::now(), kept) {
            tracing::error!(%error, events = undecided.len(), "dead letters cannot be written; the events are lost");
            count(&self.tally.dropped_lines, undecided.len());
        }
    }

    /// Gives frames to the outputs as long as the next one is there; waits while an output has enough. Returns whether they
    /// still take any; if not, nobody hands on any more.
    async fn hand_on(self: Arc<Self>) -> bool {
        loop {
            let Some(filtered) = self.order().take() else { return true };
            if !self.give(filtered).await {
                return false;
            }
        }
    }

    async fn give(&self, filtered: Filtered) -> bool {
        let Filtered { arrivals, permit, events, chosen, rendered, worker, _room } = filtered;
        let events = Arc::new(events);
        let mut waits = Vec::with_capacity(self.outlets.len());
        for ((outlet, chosen), rendered) in self.outlets.iter().zip(chosen).zip(rendered) {
            if chosen.len_of(&events) == 0 {
                continue;
            }
            let (done, wait) = oneshot::channel();
            let parcel = Parcel { events: events.clone(), chosen, rendered, done };
            if outlet.parcels.send(parcel).await.is_err() {
                return false;
            }
            waits.push(wait);
        }
        self.tickets.send(Ticket { waits, arrivals, events, worker, permit }).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Batch, Filter};
    use crate::dead_letter::{DeadLetterLimits, Letterbox};
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
        let (outlets, tally) = (Vec::new(), Arc::<Tally>::default());
        let dir = tempfile::tempdir().unwrap();
        let letterbox = Letterbox::new(dir.path(), "p", DeadLetterLimits::default(), tally.clone());
        let letters = Arc::new(letterbox).of(IF_STATEMENT, IF_STATEMENT);
        let (routes, spares) = (Arc::new(routes), Arc::new(Spares::new(1)));
        let work = Work { frames, chains, routes, outlets, tickets, tally, spares, letters };
        let cut = Cut::of(&[Bytes::from_static(b"x")], 2);
        assert!(frames_in.send(Frame::plain(cut)).await.is_ok());
        let error = work.run().await.unwrap_err();
        assert!(panic_reason(error).contains("out of cheese"));
    }
}
