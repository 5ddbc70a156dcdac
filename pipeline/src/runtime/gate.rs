//! Lets as many requests through at once as [`Concurrency`] says.
use crate::concurrency::{Concurrency, Ended};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::Notify;

/// What requests go through.
#[derive(Debug)]
pub(crate) struct Gate {
    core: Mutex<Concurrency>,
    /// Told when one more may be let in.
    freed: Notify,
}

/// The right of one request to be under way; given back when dropped.
#[derive(Debug)]
pub(crate) struct Pass<'g> {
    gate: &'g Gate,
    begun: Instant,
    ended: Ended,
}

impl Gate {
    /// A gate that lets `most` through at once, at the most.
    pub(crate) fn up_to(most: usize) -> Self {
        Self { core: Mutex::new(Concurrency::up_to(most)), freed: Notify::new() }
    }

    fn core(&self) -> MutexGuard<'_, Concurrency> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until one more may be under way.
    pub(crate) async fn enter(&self) -> Pass<'_> {
        loop {
            // Listened for first: what is freed after the look is not missed.
            let mut freed = std::pin::pin!(self.freed.notified());
            freed.as_mut().enable();
            let now = Instant::now();
            if self.core().begin(now) {
                return Pass { gate: self, begun: now, ended: Ended::GivenUp };
            }
            freed.await;
        }
    }

    /// Whether more than `busy` loads may be on their way; that it was asked for counts as a wish.
    pub(crate) fn has_room_beside(&self, busy: usize) -> bool {
        let mut core = self.core();
        let room = busy < core.limit();
        if !room {
            core.wish_for_more(Instant::now());
        }
        room
    }
}

impl Pass<'_> {
    /// The request was answered as it should be.
    pub(crate) fn answered(mut self) {
        self.ended = Ended::Answered(self.begun.elapsed());
    }

    /// The server has enough, or did not answer.
    pub(crate) fn pressed(mut self) {
        self.ended = Ended::Pressed;
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.gate.core().end(Instant::now(), self.ended);
        self.gate.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn whoever_waits_is_let_in_when_another_has_left() {
        let gate = Gate::up_to(4);
        let first = gate.enter().await;
        let mut second = Box::pin(gate.enter());
        assert!((&mut second).now_or_never().is_none());
        assert!(gate.has_room_beside(0) && !gate.has_room_beside(1));
        drop(first);
        second.await.pressed();
        gate.enter().now_or_never().unwrap().answered();
    }
}
