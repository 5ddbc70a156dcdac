//! Owns the tasks of one pipeline: saves positions while they run, and says how they ended.
use super::disk_queue::Gauge;
use super::tally::{Health, State, Tally, count};
use crate::dead_letter::Letterbox;
use crate::positions::Ledger;
use crate::value::Timestamp;
use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// How often positions are saved. What is lost with them after a crash is read twice, never not at all.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// How often it is looked whether dead letters were kept long enough.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// The stages of one pipeline, and what belongs to all of them.
pub(crate) struct Supervisor {
    pub(crate) id: String,
    pub(crate) stages: JoinSet<Result<(), String>>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) letters: Arc<Letterbox>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) health: Arc<Health>,
    /// How full the disk queue is, if there is one.
    pub(crate) gauge: Option<Arc<Gauge>>,
    /// Whether an input brings what nobody can send or read again.
    pub(crate) takes_once: bool,
}

impl Supervisor {
    /// Waits until every stage has ended. One that fails, or panics, ends the others; its neighbours, the other
    /// pipelines, do not notice.
    pub(crate) async fn run(mut self, give_up: CancellationToken) {
        let ended = self.wait(&give_up).await;
        self.stages.shutdown().await;
        self.save().await;
        match ended {
            Ok(()) => self.health.end(State::Finished),
            Err(mut reason) => {
                let lost = self.lost();
                if lost > 0 {
                    count(&self.tally.dropped_lines, lost);
                    warn!(pipeline = %self.id, count = lost, "events that cannot be received again are lost");
                    reason = format!("{reason}; {lost} events that cannot be received again are lost");
                }
                if give_up.is_cancelled() {
                    info!(pipeline = %self.id, reason, "pipeline ended at its deadline");
                } else {
                    error!(pipeline = %self.id, reason, "pipeline failed");
                }
                self.health.end(State::Failed(reason));
            }
        }
    }

    /// How many events were on their way when the stages were ended and nobody can bring them again. Where filters make several
    /// events of one it is only about so many.
    fn lost(&self) -> usize {
        // What is on disk is delivered by the next one.
        if !self.takes_once || self.gauge.is_some() {
            return 0;
        }
        let counters = self.tally.read();
        let gone = counters.events_out.saturating_add(counters.dropped_events);
        usize::try_from(counters.events_in.saturating_sub(gone)).unwrap_or(usize::MAX)
    }

    async fn wait(&mut self, give_up: &CancellationToken) -> Result<(), String> {
        let mut tick = tokio::time::interval(SAVE_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut forget = tokio::time::interval(FORGET_EVERY);
        forget.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let joined = tokio::select! {
                joined = self.stages.join_next() => joined,
                _ = tick.tick() => {
                    self.save().await;
                    continue;
                }
                _ = forget.tick() => {
                    self.forget().await;
                    continue;
                }
                () = give_up.cancelled() => {
                    let again = if self.takes_once { "" } else { "; the rest comes again" };
                    return Err(format!("stopped before everything was acknowledged{again}"));
                }
            };
            match joined {
                None => return Ok(()),
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(reason))) => return Err(reason),
                Some(Err(error)) => return Err(panic_reason(error)),
            }
        }
    }

    /// Drops dead letters that were kept long enough.
    async fn forget(&self) {
        let letters = self.letters.clone();
        match spawn_blocking(move || letters.forget_old(Timestamp::now())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(pipeline = %self.id, %error, "old dead letters could not be dropped"),
            Err(error) => warn!(pipeline = %self.id, reason = panic_reason(error), "dropping letters failed"),
        }
    }

    async fn save(&self) {
        if !self.ledger.is_changed() {
            return;
        }
        let ledger = self.ledger.clone();
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        match spawn_blocking(move || ledger.save(now_s)).await {
            Ok(Ok(())) => self.health.works("positions"),
            Ok(Err(error)) => {
                warn!(pipeline = %self.id, %error, "positions could not be saved; it is tried again");
                self.health.trouble("positions", format!("they could not be saved: {error}"));
            }
            Err(error) => warn!(pipeline = %self.id, reason = panic_reason(error), "saving positions failed"),
        }
    }
}

/// What a task that did not end by itself says.
pub(crate) fn panic_reason(error: JoinError) -> String {
    if !error.is_panic() {
        return "a task was cancelled".to_owned();
    }
    let payload: Box<dyn Any + Send> = error.into_panic();
    let text = match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text.as_str(),
        _ => "of an unknown kind",
    };
    format!("a panic: {text} (this is a bug in logherd)")
}
