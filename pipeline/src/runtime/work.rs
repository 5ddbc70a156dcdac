//! Decodes and filters frames on several threads at once, and hands the batches on in the order in which they came.
use super::acks::Ticket;
use super::budget::Permit;
use super::chain::{Chain, Chosen, Routes};
use super::outlet::Parcel;
use super::source::{Arrival, Frame};
use super::tally::{Tally, count};
use crate::condition::Undecided;
use crate::dead_letter::DeadLetters;
use crate::event::Event;
use crate::value::Timestamp;
use futures_util::future::BoxFuture;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};

/// The filters of a pipeline, and what is after them.
pub(crate) struct Work {
    pub(crate) frames: mpsc::Receiver<Frame>,
    /// One for each thread.
    pub(crate) chains: Vec<Chain>,
    pub(crate) routes: Arc<Routes>,
    pub(crate) outlets: Vec<mpsc::Sender<Parcel>>,
    pub(crate) tickets: mpsc::Sender<Ticket>,
    pub(crate) tally: Arc<Tally>,
    /// Where events go for which a condition cannot be decided.
    pub(crate) letters: DeadLetters,
}

/// What dead letters of conditions have in place of an output's name and id.
pub(crate) const IF_STATEMENT: &str = "if-statement";

/// What the workers have together.
struct Bench {
    queue: Mutex<Queue>,
    routes: Arc<Routes>,
    outlets: Vec<mpsc::Sender<Parcel>>,
    tickets: mpsc::Sender<Ticket>,
    tally: Arc<Tally>,
    letters: DeadLetters,
}

/// Frames that nobody works on yet.
struct Queue {
    frames: mpsc::Receiver<Frame>,
    /// Told when the frame that was taken last is handed on.
    last: Option<oneshot::Receiver<()>>,
}

/// A frame to work on, and its place in the order.
struct Job {
    frame: Frame,
    /// Told when the frame before it is handed on.
    before: Option<oneshot::Receiver<()>>,
    /// To be told when this one is.
    after: oneshot::Sender<()>,
}

/// Events on their way to the outputs; whether these still take any.
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
}

impl Work {
    /// Works until there will be no more frames. A panic in a filter comes back as an error.
    pub(crate) async fn run(self) -> Result<(), JoinError> {
        let Self { frames, chains: mut idle, routes, outlets, tickets, tally, letters } = self;
        let queue = Mutex::new(Queue { frames, last: None });
        let bench = Arc::new(Bench { queue, routes, outlets, tickets, tally, letters });
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
    fn job(&mut self, frame: Frame) -> Job {
        let (after, done) = oneshot::channel();
        Job { frame, before: self.last.replace(done), after }
    }
}

impl Bench {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next frame; only one may wait for it.
    async fn next(&self) -> Option<Job> {
        poll_fn(|context| {
            let mut queue = self.queue();
            queue.frames.poll_recv(context).map(|frame| frame.map(|frame| queue.job(frame)))
        })
        .await
    }

    /// The next frame, if there is one.
    fn try_next(&self) -> Option<Job> {
        let mut queue = self.queue();
        let frame = queue.frames.try_recv().ok()?;
        Some(queue.job(frame))
    }

    /// Works as long as there are frames, and the outputs take them soon.
    fn work(self: &Arc<Self>, mut chain: Chain, job: Job, handle: &Handle) -> Worked {
        let mut next = Some(job);
        while let Some(Job { frame, before, after }) = next {
            let filtered = self.filter(frame, &mut chain);
            let mut handing: Handing = Box::pin(self.clone().hand_on(filtered, before, after));
            let soon = async { tokio::time::timeout(SOON, &mut handing).await };
            match handle.block_on(soon) {
                Ok(true) => next = self.try_next(),
                Ok(false) => return Worked::Over,
                Err(_) => return Worked::Waits(chain, handing),
            }
        }
        Worked::Idle(chain)
    }

    fn filter(&self, mut frame: Frame, chain: &mut Chain) -> Filtered {
        let (source, arrivals, permit) = (frame.source.clone(), frame.arrivals(), frame.permit.take());
        let mut batch = frame.decode(Timestamp::now(), &self.tally);
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
        Filtered { arrivals, permit, events, chosen }
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

    /// Gives the events to the outputs once those of the frame before are there; waits while one of them has enough.
    /// Returns whether they still take any.
    async fn hand_on(
        self: Arc<Self>,
        filtered: Filtered,
        before: Option<oneshot::Receiver<()>>,
        after: oneshot::Sender<()>,
    ) -> bool {
        if let Some(before) = before
            && before.await.is_err()
        {
            return false;
        }
        let Filtered { arrivals, permit, events, chosen } = filtered;
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
        let taken = self.tickets.send(Ticket { waits, arrivals, events: count, permit }).await.is_ok();
        if taken {
            // Nobody waits for the last one.
            let _last = after.send(());
        }
        taken
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
        let work = Work { frames, chains, routes: Arc::new(routes), outlets, tickets, tally, letters };
        let cut = Cut::of(&[Bytes::from_static(b"x")], 2);
        assert!(frames_in.send(Frame::plain(cut)).await.is_ok());
        let error = work.run().await.unwrap_err();
        assert!(panic_reason(error).contains("out of cheese"));
    }
}
