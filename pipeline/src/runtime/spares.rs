//! Keeps events that were delivered, so that new ones are made in their memory.
//!
//! An event is made by one thread and let go by another. Asking for memory for each, and giving it back on the other side, costs
//! as much as a filter. What was not needed for a while is let go, so that nothing is kept at rest.
use crate::event::Event;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many batches are kept of each worker. They were on their way at the same time, so that they take no more memory than then.
const BATCHES_MAX: usize = 16;

/// Events that were delivered, by the worker that made them: what it wrote itself is nearer to its processor than what another
/// did.
pub(crate) struct Spares(Mutex<Vec<Kept>>);

#[derive(Default)]
struct Kept {
    batches: Vec<Vec<Event>>,
    /// The fewest that there were since it was looked last: so many were not needed.
    fewest: usize,
}

impl Spares {
    /// Keeps nothing yet.
    pub(crate) fn new(workers: usize) -> Self {
        Self(Mutex::new((0..workers).map(|_| Kept::default()).collect()))
    }

    fn all(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a batch of a worker that was delivered. It is let go when others have it still, or when there are enough.
    pub(crate) fn add(&self, worker: usize, batch: Arc<Vec<Event>>) {
        if let Ok(batch) = Arc::try_unwrap(batch) {
            self.give_back(worker, batch);
        }
    }

    /// Some old events of a worker, the last that came; none if there are none.
    pub(crate) fn take(&self, worker: usize) -> Vec<Event> {
        let mut all = self.all();
        let Some(kept) = all.get_mut(worker) else { return Vec::new() };
        let last = kept.batches.pop();
        kept.fewest = kept.fewest.min(kept.batches.len());
        last.unwrap_or_default()
    }

    /// Takes back those that were not needed.
    pub(crate) fn give_back(&self, worker: usize, rest: Vec<Event>) {
        let mut all = self.all();
        match all.get_mut(worker) {
            Some(kept) if !rest.is_empty() && kept.batches.len() < BATCHES_MAX => kept.batches.push(rest),
            _ => {
                // Nobody waits while events are let go.
                drop(all);
                drop(rest);
            }
        }
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.all().iter().all(|kept| kept.batches.is_empty())
    }

    /// Lets go what was not needed since this was called last.
    pub(crate) fn shrink(&self) {
        let mut all = self.all();
        let mut unneeded: Vec<Vec<Event>> = Vec::new();
        for kept in all.iter_mut() {
            unneeded.extend(kept.batches.drain(..kept.fewest));
            kept.fewest = kept.batches.len();
        }
        drop(all);
        drop(unneeded);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::{Text, Timestamp};

    fn batch(message: &str) -> Arc<Vec<Event>> {
        Arc::new(vec![Event::with_message(Timestamp::UNIX_EPOCH, Text::from(message))])
    }

    #[test]
    fn what_was_delivered_is_used_again_the_last_first() {
        let spares = Spares::new(2);
        let shared = batch("c");
        for batch in [batch("a"), batch("b"), shared.clone(), Arc::default()] {
            spares.add(1, batch);
        }
        assert_eq!(shared.len(), 1, "what others have stays theirs");
        assert!(spares.take(0).is_empty(), "they are another's");
        assert_eq!(spares.take(1), *batch("b"));
        assert_eq!(spares.take(1), *batch("a"));
        assert!(spares.is_empty() && spares.take(1).is_empty());
    }

    #[test]
    fn no_more_is_kept_than_is_needed_now_and_then() {
        let spares = Spares::new(1);
        (0..30).for_each(|_| spares.add(0, batch("a")));
        spares.shrink();
        let two = [spares.take(0), spares.take(0)];
        two.into_iter().for_each(|batch| spares.give_back(0, batch));
        spares.shrink();
        assert_eq!(
            spares.all().first().map(|kept| kept.batches.len()),
            Some(2),
            "the others were not needed"
        );
        spares.shrink();
        assert!(spares.is_empty());
    }
}
