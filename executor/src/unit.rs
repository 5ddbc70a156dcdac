//! Runs one pipeline with its tails: that of a container, or the host's; follows what is wished of it.
use crate::assign::{Hash, UnitId, Wanted};
use crate::report::Counters;
use crate::spool::Identity;
use crate::tail::{SpoolRules, Tail, TailStatus};
use bollard::Docker;
use pipeline::{Failed, Running, StartFrom, State, Surroundings};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

/// How long a pipeline that is replaced may drain. What is not through by then comes again, from the spool; one that holds what
/// nobody sends again goes on draining beside its successor.
const REPLACED_WITHIN: Duration = Duration::from_millis(600);
/// How many go on draining at most.
const DRAINING_MAX: usize = 4;
const LOOK_EVERY: Duration = Duration::from_millis(500);
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// What is wished of a unit; the newest wish counts.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    /// What to run.
    pub(crate) wanted: Wanted,
    /// The container has ended: ship what is left, then end.
    pub(crate) ended: bool,
    /// End now; drain until then at most.
    pub(crate) stop: Option<Instant>,
}

/// What a unit shows of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// The texts that were last tried to run.
    pub(crate) settled: Option<Hash>,
    /// How the pipeline is: `running`, `failed`, …
    pub(crate) state: &'static str,
    /// Why.
    pub(crate) reason: String,
    /// Whether it does what it should.
    pub(crate) works: bool,
    pub(crate) counters: Counters,
    pub(crate) tails: Vec<TailStatus>,
}

/// What all units of a node share.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) spools: SpoolRules,
    /// Where pipelines keep positions and dead letters.
    pub(crate) pipelines: PathBuf,
    pub(crate) host: String,
    /// Told when a view changed.
    pub(crate) stirred: Arc<Notify>,
}

/// The container of a unit.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) image: String,
    /// The daemon that has it; `None` when the container is gone and only its spools are left.
    pub(crate) docker: Option<Docker>,
}

/// One pipeline with its tails.
pub(crate) struct Unit {
    id: UnitId,
    place: Place,
    subject: Option<Subject>,
    wish: watch::Receiver<Wish>,
    view: Arc<Mutex<View>>,
    tails: Vec<Tail>,
    running: Option<Running>,
    /// Whether it brings what nobody sends again.
    takes_once: bool,
    /// Those that were replaced and still deliver what they took, the oldest first.
    draining: Vec<Running>,
    /// What pipelines of this unit did that are gone.
    past: Counters,
    settled: Option<Hash>,
    /// Why no pipeline runs, when none does.
    trouble: Option<String>,
    /// All inputs of the pipeline came to their end.
    finished: bool,
    retry_at: Option<Instant>,
    retry_pause: Duration,
}

impl Unit {
    pub(crate) fn new(
        id: UnitId,
        place: Place,
        subject: Option<Subject>,
        wish: watch::Receiver<Wish>,
        view: Arc<Mutex<View>>,
    ) -> Self {
        Self {
            id,
            place,
            subject,
            wish,
            view,
            tails: Vec::new(),
            running: None,
            takes_once: false,
            draining: Vec::new(),
            past: Counters::default(),
            settled: None,
            trouble: None,
            finished: false,
            retry_at: None,
            retry_pause: RETRY_MIN,
        }
    }

    /// Follows its wishes until it is told to stop, or its container has ended and everything of it is shipped.
    pub(crate) async fn run(mut self) -> (UnitId, Counters) {
        loop {
            let wish = self.wish.borrow_and_update().clone();
            if let Some(by) = wish.stop {
                self.stop(by).await;
                break;
            }
            self.pursue(&wish).await;
            self.drained().await;
            self.publish();
            if wish.ended && (wish.wanted.parts.is_err() || self.is_drained()) {
                self.stop(Instant::now() + REPLACED_WITHIN).await;
                break;
            }
            let retry = self.retry_at.unwrap_or_else(Instant::now);
            tokio::select! {
                changed = self.wish.changed() => if changed.is_err() {
                    self.stop(Instant::now() + REPLACED_WITHIN).await;
                    break;
                },
                ended = pipeline_end(self.running.as_mut()) => self.pipeline_ended(ended),
                () = sleep_until(retry), if self.retry_at.is_some() => self.settled = None,
                () = sleep_until(Instant::now() + LOOK_EVERY) => {}
            }
        }
        self.publish();
        (self.id, self.past)
    }

    /// Makes what runs what is wished.
    async fn pursue(&mut self, wish: &Wish) {
        if self.settled != Some(wish.wanted.hash) {
            (self.retry_at, self.finished) = (None, false);
            self.replace_pipeline().await;
            self.trouble = match self.replace(&wish.wanted).await {
                Ok(()) => None,
                Err(Trouble::Told(reason)) => Some(reason),
                Err(Trouble::Again(reason)) => {
                    tracing::warn!(unit = %self.name(), reason, "a pipeline does not start; trying again");
                    self.retry_later();
                    Some(reason)
                }
            };
            self.settled = Some(wish.wanted.hash);
        }
        if wish.ended {
            self.tails.iter().for_each(Tail::container_ended);
        }
    }

    async fn replace(&mut self, wanted: &Wanted) -> Result<(), Trouble> {
        let parts = match &wanted.parts {
            Ok(parts) => parts,
            Err(reason) => {
                self.stop_tails(|_| false).await;
                return Err(Trouble::Told(reason.clone()));
            }
        };
        let plan = parts.plan();
        let mut keys: Vec<(usize, String, usize, bool)> = Vec::new();
        let mut counted: BTreeMap<String, usize> = BTreeMap::new();
        for feed in plan.feeds_wanted() {
            let nth = counted.entry(feed.path.clone()).or_default();
            keys.push((feed.input, feed.path, *nth, feed.from == StartFrom::End));
            *nth += 1;
        }
        self.stop_tails(|tail| keys.iter().any(|(_, path, nth, _)| tail.key() == (path.as_str(), *nth)))
            .await;
        let mut around = Surroundings::new(&self.place.pipelines, &self.place.host, self.stable_id());
        if let Some(subject) = self.subject.clone() {
            for (input, path, nth, from_end) in keys {
                let tail = self.tail(&subject, path, nth, from_end).await?;
                around.feeds.push(tail.attach(input).await);
            }
            around.fields = vec![
                ("[container][id]".to_owned(), subject.id),
                ("[container][name]".to_owned(), subject.name),
                ("[container][image]".to_owned(), subject.image),
            ];
        }
        self.takes_once = plan.takes_once();
        let running = pipeline::start(plan, around).map_err(|error| Trouble::Again(error.to_string()))?;
        tracing::info!(unit = %self.name(), "a pipeline runs");
        self.running = Some(running);
        Ok(())
    }

    /// The tail of a file, started if it is not there.
    async fn tail(
        &mut self,
        subject: &Subject,
        path: String,
        nth: usize,
        from_end: bool,
    ) -> Result<&mut Tail, Trouble> {
        let index = match self.tails.iter().position(|tail| tail.key() == (path.as_str(), nth)) {
            Some(index) => index,
            None => {
                let identity = Identity {
                    container: subject.id.clone(),
                    name: subject.name.clone(),
                    image: subject.image.clone(),
                    path,
                    nth,
                };
                let tail = Tail::start(identity, &self.place.spools, subject.docker.clone(), from_end);
                self.tails.push(tail.await.map_err(|error| Trouble::Again(error.to_string()))?);
                self.tails.len() - 1
            }
        };
        self.tails.get_mut(index).ok_or_else(|| Trouble::Again("a tail is missing".to_owned()))
    }

    async fn stop_tails(&mut self, keep: impl Fn(&Tail) -> bool) {
        let (kept, stopped): (Vec<_>, Vec<_>) = std::mem::take(&mut self.tails).into_iter().partition(keep);
        self.tails = kept;
        stopped.iter().for_each(Tail::stop_reading);
        for tail in stopped {
            tail.stop().await;
        }
    }

    /// Ends the pipeline because another one takes its place.
    async fn replace_pipeline(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        if !self.takes_once || running.drain(REPLACED_WITHIN).await {
            return self.end(running, REPLACED_WITHIN).await;
        }
        tracing::info!(unit = %self.name(), "a pipeline that was replaced goes on delivering what it took");
        self.draining.push(running);
        if self.draining.len() > DRAINING_MAX {
            let oldest = self.draining.remove(0);
            self.end(oldest, Duration::ZERO).await;
        }
    }

    /// Forgets those that have drained.
    async fn drained(&mut self) {
        let all = std::mem::take(&mut self.draining);
        let (over, left) = all.into_iter().partition(|running| running.state().is_over());
        self.draining = left;
        let over: Vec<Running> = over;
        for running in over {
            self.end(running, Duration::ZERO).await;
        }
    }

    async fn end(&mut self, running: Running, within: Duration) {
        let (counters, ended) = running.stop_counted(within).await;
        self.past += counters.into();
        if let Err(reason) = ended {
            tracing::info!(unit = %self.name(), %reason, "a pipeline did not drain in time");
        }
    }

    fn pipeline_ended(&mut self, ended: Result<(), Failed>) {
        if let Some(running) = self.running.take() {
            self.past += running.counters().into();
        }
        match ended {
            // Whether its tails are drained is seen at the next look.
            Ok(()) => self.finished = true,
            Err(reason) => {
                tracing::warn!(unit = %self.name(), %reason, "a pipeline failed; starting it again");
                self.trouble = Some(reason.to_string());
                self.retry_later();
            }
        }
    }

    fn retry_later(&mut self) {
        self.retry_at = Some(Instant::now() + self.retry_pause);
        self.retry_pause = (self.retry_pause * 2).min(RETRY_MAX);
    }

    fn is_drained(&self) -> bool {
        self.tails.iter().all(Tail::is_drained) && self.retry_at.is_none() && self.draining.is_empty()
    }

    /// Ends in order: reading, then what is on its way, then positions.
    async fn stop(&mut self, by: Instant) {
        self.tails.iter().for_each(Tail::stop_reading);
        let all: Vec<Running> = self.running.take().into_iter().chain(self.draining.drain(..)).collect();
        for running in all {
            self.end(running, by.saturating_duration_since(Instant::now())).await;
        }
        self.stop_tails(|_| false).await;
    }

    fn publish(&mut self) {
        let mut view = View {
            settled: self.settled,
            tails: self.tails.iter().map(Tail::status).collect(),
            counters: self.past,
            ..View::default()
        };
        for draining in &self.draining {
            view.counters += draining.counters().into();
        }
        view.counters.dropped_lines += view.tails.iter().map(|tail| tail.dropped_lines).sum::<u64>();
        match (&self.running, &self.trouble) {
            (Some(running), _) => {
                view.counters += running.counters().into();
                (view.state, view.reason, view.works) = match running.state() {
                    State::Struggling(reason) => ("struggling", reason, true),
                    State::Failed(reason) => ("failed", reason, false),
                    State::Running => ("running", String::new(), true),
                    State::Finished => ("finished", String::new(), true),
                };
                if view.works {
                    self.retry_pause = RETRY_MIN;
                }
            }
            (None, _) if self.finished => {
                (view.state, view.reason, view.works) =
                    ("finished", "all its inputs have ended".to_owned(), true);
            }
            (None, trouble) => {
                view.state = if self.retry_at.is_some() { "failed" } else { "not running" };
                view.reason = trouble.clone().unwrap_or_default();
            }
        }
        let mut shown = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        let news = (shown.settled, shown.state, &shown.reason) != (view.settled, view.state, &view.reason);
        *shown = view;
        if news {
            self.place.stirred.notify_one();
        }
    }

    fn stable_id(&self) -> String {
        match &self.id {
            UnitId::Host => "host".to_owned(),
            UnitId::Container(id) => id.clone(),
        }
    }

    fn name(&self) -> String {
        match &self.subject {
            None => "host".to_owned(),
            Some(subject) => format!("{} ({})", subject.name, subject.image),
        }
    }
}

/// Why no pipeline runs.
enum Trouble {
    /// It cannot run as it is written.
    Told(String),
    /// It may run later.
    Again(String),
}

async fn pipeline_end(running: Option<&mut Running>) -> Result<(), Failed> {
    match running {
        Some(running) => running.finished().await,
        None => std::future::pending().await,
    }
}
