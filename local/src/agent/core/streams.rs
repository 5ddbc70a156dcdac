//! Keeps the updates of one task in line: one on its way at a time, sent again until it is acknowledged.

use crate::clock::Moment;
use mesos::TaskStatus;
use proto::mesos::v1 as mesos;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// The line of one task.
#[derive(Debug)]
pub(super) struct Stream {
    pending: VecDeque<TaskStatus>,
    seen: BTreeSet<Vec<u8>>,
    pause: Duration,
    /// When the first one is sent again; nothing while it was not sent.
    pub(super) resend: Option<Moment>,
}

/// What became of an update that was put in line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Offered {
    /// It is the only one.
    First,
    /// Others are before it.
    Waiting,
    /// It was there before.
    Duplicate,
}

impl Stream {
    pub(super) fn new(pause: Duration) -> Self {
        Self { pending: VecDeque::new(), seen: BTreeSet::new(), pause, resend: None }
    }

    pub(super) fn offer(&mut self, status: TaskStatus) -> Offered {
        if !self.seen.insert(status.uuid.clone().unwrap_or_default()) {
            return Offered::Duplicate;
        }
        self.pending.push_back(status);
        if self.pending.len() == 1 { Offered::First } else { Offered::Waiting }
    }

    /// The first in line; the pause before the next sending doubles.
    pub(super) fn send(&mut self, now: Moment, longest: Duration) -> Option<TaskStatus> {
        let first = self.pending.front()?.clone();
        self.resend = Some(now + self.pause);
        self.pause = (self.pause * 2).min(longest);
        Some(first)
    }

    /// Starts over with the shortest pause.
    pub(super) fn reset(&mut self, pause: Duration) {
        self.pause = pause;
    }

    /// Takes the first one out when it is the one meant.
    pub(super) fn acknowledge(&mut self, uuid: &[u8], pause: Duration) -> Option<TaskStatus> {
        if self.pending.front()?.uuid.as_deref() != Some(uuid) {
            return None;
        }
        self.pause = pause;
        self.resend = None;
        self.pending.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn status(uuid: u8) -> TaskStatus {
        TaskStatus { uuid: Some(vec![uuid]), ..Default::default() }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_pause_doubles_up_to_the_longest_and_starts_over_after_an_acknowledgement() {
        let mut stream = Stream::new(SECOND * 10);
        stream.offer(status(1));
        stream.offer(status(2));
        let mut pauses = Vec::new();
        for _ in 0..5 {
            stream.send(Duration::ZERO, SECOND * 60);
            pauses.push(stream.resend.unwrap().as_secs());
        }
        assert_eq!(pauses, [10, 20, 40, 60, 60]);
        assert!(stream.acknowledge(&[2], SECOND * 10).is_none());
        assert!(stream.acknowledge(&[1], SECOND * 10).is_some());
        stream.send(Duration::ZERO, SECOND * 60);
        assert_eq!(stream.resend, Some(SECOND * 10));
    }

    proptest! {
        #[test]
        fn updates_leave_in_the_order_they_came_each_once(uuids in proptest::collection::vec(0_u8..8, 0..40)) {
            let mut stream = Stream::new(SECOND);
            let mut expected = Vec::new();
            for uuid in uuids {
                if stream.offer(status(uuid)) != Offered::Duplicate {
                    expected.push(uuid);
                }
            }
            let mut left = Vec::new();
            while let Some(first) = stream.send(SECOND, SECOND) {
                let uuid = first.uuid.unwrap();
                prop_assert!(stream.acknowledge(&[99], SECOND).is_none());
                prop_assert!(stream.acknowledge(&uuid, SECOND).is_some());
                left.push(uuid[0]);
            }
            prop_assert_eq!(left, expected);
        }
    }
}
