//! Waits for a state, with a deadline: the one place where a story lets time pass.

use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

/// How often a state is looked at.
const EVERY: Duration = Duration::from_millis(20);

/// Looks again and again until `look` gives something, and returns it with the time that it took. When the deadline passes
/// it panics with what was awaited and with the last reason why it was not there yet.
pub(crate) async fn eventually<T>(
    what: &str,
    deadline: Duration,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> (T, Duration) {
    let began = Instant::now();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = String::from("nothing was seen yet");
    loop {
        ticks.tick().await;
        match timeout_at(began + deadline, look()).await {
            Ok(Ok(seen)) => return (seen, began.elapsed()),
            Ok(Err(reason)) => last = reason,
            Err(_) => {}
        }
        assert!(began.elapsed() < deadline, "not within {deadline:?}: {what}\n  last seen: {last}");
    }
}

/// Checks for a while that something stays true.
pub(crate) async fn always(what: &str, during: Duration, mut look: impl AsyncFnMut() -> Result<(), String>) {
    let began = Instant::now();
    let mut ticks = interval(EVERY);
    while began.elapsed() < during {
        ticks.tick().await;
        if let Err(reason) = look().await {
            panic!("not for all of {during:?}: {what}\n  after {:?}: {reason}", began.elapsed());
        }
    }
}
