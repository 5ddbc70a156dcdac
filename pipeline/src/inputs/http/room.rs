//! What requests may take together: the room of their bodies, and the time for which they wait.
use super::{PATIENCE, Refusal};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// Room for the bodies that are being read, so that many of them together do not fill the memory.
pub(super) struct Bodies {
    /// In KiB.
    pub(super) room: Semaphore,
}

/// The most bytes of all bodies of an input, unless a single one may be as long.
const BODIES_MAX: usize = 256 << 20;

impl Bodies {
    /// For bodies that may be so long, packed and unpacked.
    pub(super) fn new(longest: usize) -> Self {
        let kib = longest.saturating_mul(2).max(BODIES_MAX).div_ceil(1 << 10);
        Self { room: Semaphore::new(kib.min(Semaphore::MAX_PERMITS)) }
    }

    pub(super) fn begin(&self) -> Body<'_> {
        Body { bytes: Bytes::new(), size: 0, held: Vec::new(), room: &self.room }
    }
}

/// A body, and the room that it takes.
pub(super) struct Body<'s> {
    pub(super) bytes: Bytes,
    pub(super) size: usize,
    pub(super) held: Vec<SemaphorePermit<'s>>,
    room: &'s Semaphore,
}

impl Body<'_> {
    /// Takes room for so many bytes more.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        let before = self.size.div_ceil(1 << 10);
        self.size = self.size.saturating_add(bytes);
        let more = u32::try_from(self.size.div_ceil(1 << 10) - before).map_err(|_| Refusal::TooLong)?;
        let more = self.room.try_acquire_many(more).map_err(|_| Refusal::Busy)?;
        match self.held.first_mut() {
            Some(held) => held.merge(more),
            None => self.held.push(more),
        }
        Ok(())
    }
}

/// Since when requests wait to be taken.
#[derive(Default)]
pub(super) struct Waits {
    /// By number: the oldest first.
    since: Mutex<(u64, BTreeMap<u64, Instant>)>,
}

/// A request that waits, until it is dropped: taken, or called off by its sender.
pub(super) struct Wait<'w> {
    waits: &'w Waits,
    number: u64,
}

impl Waits {
    pub(super) fn begin(&self) -> Wait<'_> {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let (number, waiting) = &mut *since;
        *number += 1;
        waiting.insert(*number, Instant::now());
        Wait { waits: self, number: *number }
    }

    /// Whether a request waits for so long that others had better come later.
    pub(super) fn is_too_long(&self) -> bool {
        let since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.1.first_key_value().is_some_and(|(_, since)| since.elapsed() > PATIENCE)
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.waits.since.lock().unwrap_or_else(PoisonError::into_inner).1.remove(&self.number);
    }
}
