//! Holds events as an output writes them, written by the threads that filter: there is more than one of these, and they have just
//! touched what they write.
use super::chain::Chosen;
use crate::event::Event;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Writes events for an output before it is given them.
pub(crate) trait Render: Send + Sync {
    /// Writes the chosen events of a batch.
    fn render(&self, events: &[Event], chosen: &Chosen) -> Rendered;
}

/// Chosen events of a batch as an output writes them.
#[derive(Debug, Default)]
pub(crate) struct Rendered {
    pub(crate) text: Vec<u8>,
    /// Where the text of each ends.
    pub(crate) ends: Vec<usize>,
    /// Those that cannot be written, and have no text: their numbers, from 0, and why.
    pub(crate) unfit: Vec<(usize, String)>,
    /// Where the memory of the text goes in the end.
    pub(crate) spare: Arc<SpareTexts>,
}

/// The memory of texts that were delivered, for the next ones.
#[derive(Debug, Default)]
pub(crate) struct SpareTexts(Mutex<Vec<Vec<u8>>>);

/// How many texts are kept, and of which size at most.
const SPARE_MAX: usize = 8;
const SPARE_BYTES_MAX: usize = 2 << 20;

impl SpareTexts {
    fn all(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An empty text.
    pub(crate) fn take(&self) -> Vec<u8> {
        self.all().pop().unwrap_or_default()
    }

    /// Lets all memory go.
    pub(crate) fn clear(&self) {
        let all = std::mem::take(&mut *self.all());
        drop(all);
    }
}

impl Drop for Rendered {
    fn drop(&mut self) {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        let mut all = self.spare.all();
        if text.capacity() <= SPARE_BYTES_MAX && all.len() < SPARE_MAX {
            all.push(text);
        }
    }
}
