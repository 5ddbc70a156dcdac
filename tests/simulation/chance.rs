//! All randomness of a simulation, from its one seed.
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use std::ops::Range;
use std::time::Duration;

/// A source of random choices.
pub(crate) struct Chance(StdRng);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// True in `share` of all cases.
    pub(crate) fn hits(&mut self, share: f64) -> bool {
        self.0.random_bool(share)
    }

    /// So many milliseconds.
    pub(crate) fn millis(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.0.random_range(range))
    }

    /// So many seconds, to the millisecond.
    pub(crate) fn seconds(&mut self, range: Range<u64>) -> Duration {
        self.millis(range.start * 1000..range.end * 1000)
    }

    pub(crate) fn number(&mut self, range: Range<usize>) -> usize {
        self.0.random_range(range)
    }

    pub(crate) fn factor(&mut self, range: Range<f64>) -> f64 {
        self.0.random_range(range)
    }

    /// One of them, unless there are none.
    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() { None } else { from.get(self.0.random_range(0..from.len())).cloned() }
    }

    /// The seed of something that makes its own random numbers.
    pub(crate) fn seed(&mut self) -> u64 {
        self.0.random()
    }

    pub(crate) fn bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    /// The bytes of a version 4 UUID.
    pub(crate) fn uuid(&mut self) -> Vec<u8> {
        let mut bytes = [0_u8; 16];
        self.0.fill_bytes(&mut bytes);
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        bytes.to_vec()
    }
}
