//! Limits the memory of what is on its way in all pipelines of a process together.
//!
//! A pipeline whose output does not take anything keeps what it has read. Many of these at once must not fill the
//! memory of the process, and must not keep the others from working: each pipeline may always have one frame on its way,
//! further ones only while the budget lasts. Used up: the pipeline reads no further until something of it arrived.
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// What all pipelines together may have on their way, as estimated by [`cost_kib`].
const WHOLE_KIB: usize = 64 << 10;
/// What an event takes beside the bytes of its line: its fields, and what is written of it before it is sent.
const EVENT_BYTES: usize = 2560;

static WHOLE: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(WHOLE_KIB)));

/// What lines will take as events, in KiB.
fn cost_kib(lines: usize, bytes: usize) -> u32 {
    let kib = (lines * EVENT_BYTES + bytes).div_ceil(1024);
    u32::try_from(kib.min(WHOLE_KIB / 8)).unwrap_or(u32::MAX)
}

/// The share of one pipeline.
pub(crate) struct Budget {
    whole: Arc<Semaphore>,
    on_their_way: AtomicUsize,
    none_on_its_way: Notify,
}

/// The right of one frame to be on its way; given back when dropped.
pub(crate) struct Permit {
    pipeline: Arc<Budget>,
    _of_whole: Option<OwnedSemaphorePermit>,
}

impl Budget {
    /// A share of the budget of this process.
    pub(crate) fn of_process() -> Arc<Self> {
        Self::of(WHOLE.clone())
    }

    fn of(whole: Arc<Semaphore>) -> Arc<Self> {
        Arc::new(Self { whole, on_their_way: AtomicUsize::new(0), none_on_its_way: Notify::new() })
    }

    /// Waits until a frame of so many lines and bytes may be on its way.
    pub(crate) async fn permit(self: &Arc<Self>, lines: usize, bytes: usize) -> Permit {
        let mut taken = Box::pin(self.whole.clone().acquire_many_owned(cost_kib(lines, bytes)));
        let none = self.none_on_its_way.notified();
        let of_whole = if self.on_their_way.load(Ordering::Acquire) == 0 {
            // At once or not at all: the first needs none.
            futures_util::FutureExt::now_or_never(&mut taken)
        } else {
            tokio::select! {
                taken = &mut taken => Some(taken),
                () = none => None,
            }
        };
        self.on_their_way.fetch_add(1, Ordering::AcqRel);
        // The semaphore is never closed.
        Permit { pipeline: self.clone(), _of_whole: of_whole.and_then(Result::ok) }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.pipeline.on_their_way.fetch_sub(1, Ordering::AcqRel) == 1 {
            // Remembered if nobody waits yet; whoever comes next then has one frame more, and no harm is done.
            self.pipeline.none_on_its_way.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn a_stuck_pipeline_leaves_its_neighbours_one_frame_each() {
        let whole = Arc::new(Semaphore::new(10));
        let (stuck, other) = (Budget::of(whole.clone()), Budget::of(whole.clone()));
        let held = stuck.permit(0, 10 << 10).await;
        assert!(stuck.permit(0, 1024).now_or_never().is_none(), "the budget is used up");
        let one = other.permit(0, 1024).now_or_never().expect("the first frame is always let through");
        assert!(other.permit(0, 1024).now_or_never().is_none());
        drop(one);
        let again = other.permit(0, 1024).now_or_never().expect("the one before has arrived");
        drop((held, again));
        assert_eq!(whole.available_permits(), 10);
    }

    #[tokio::test]
    async fn whoever_waits_goes_on_when_its_last_frame_arrives() {
        let whole = Arc::new(Semaphore::new(1));
        let (stuck, mine) = (Budget::of(whole.clone()), Budget::of(whole));
        let _held = stuck.permit(0, 1).await;
        let first = mine.permit(0, 1).await;
        let mut second = Box::pin(mine.permit(0, 1));
        assert!((&mut second).now_or_never().is_none());
        drop(first);
        second.await;
    }
}
