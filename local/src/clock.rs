//! Tells the time: one clock, since the Unix epoch, that never goes back.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A moment, counted from the Unix epoch. The decision cores know no other time.
pub(crate) type Moment = Duration;

/// The clock of one process: the wall clock at its start, then only forward.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Instant,
    epoch: Duration,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), epoch }
    }

    pub(crate) fn now(&self) -> Moment {
        self.epoch + self.started.elapsed()
    }

    /// The same moment for a timer; a moment in the past is now.
    pub(crate) fn instant(&self, moment: Moment) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.started + moment.saturating_sub(self.epoch))
    }
}

/// A duration in Mesos' notation: the largest unit that gives a whole number.
pub(crate) fn duration_text(duration: Duration) -> String {
    const UNITS: [(u128, &str); 8] = [
        (604_800_000_000_000, "weeks"),
        (86_400_000_000_000, "days"),
        (3_600_000_000_000, "hrs"),
        (60_000_000_000, "mins"),
        (1_000_000_000, "secs"),
        (1_000_000, "ms"),
        (1_000, "us"),
        (1, "ns"),
    ];
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0ns".into();
    }
    UNITS
        .iter()
        .find(|(unit, _)| nanos.is_multiple_of(*unit))
        .map_or_else(|| format!("{nanos}ns"), |(unit, name)| format!("{}{name}", nanos / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_in_a_real_environment() {
        for (duration, text) in [
            (Duration::from_secs(900), "15mins"),
            (Duration::from_secs(2), "2secs"),
            (Duration::from_secs(90), "90secs"),
            (Duration::from_millis(250), "250ms"),
            (Duration::ZERO, "0ns"),
        ] {
            assert_eq!(duration_text(duration), text);
        }
    }
}
