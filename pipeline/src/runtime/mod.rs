//! Runs pipelines: the stages that [`crate::topology`] puts together, and the handle on a running pipeline.
use crate::dead_letter::DeadLetterLimits;
use crate::plan::Plan;
use crate::topology;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) mod acks;
pub(crate) mod budget;
pub(crate) mod chain;
pub(crate) mod cutter;
pub(crate) mod decorate;
pub(crate) mod delivery;
pub(crate) mod disk_queue;
pub(crate) mod gate;
pub(crate) mod join;
pub(crate) mod lines;
pub(crate) mod load;
pub(crate) mod meter;
pub(crate) mod outlet;
pub(crate) mod rendered;
pub(crate) mod source;
pub(crate) mod spares;
pub(crate) mod supervise;
pub(crate) mod tally;
mod view;
pub(crate) mod work;

pub use disk_queue::{QueueLevel, QueueSettings};
pub use meter::PluginFigures;
pub use source::{Chunk, Feed};
pub use tally::{Counters, State};
pub use view::View;

/// What a pipeline has around it.
pub struct Surroundings {
    /// Where positions and dead letters are kept. Pipelines may share it; their ids keep them apart.
    pub data_dir: PathBuf,
    /// Set on every event that has no such field of its own: `("[container][id]", "…")`.
    pub fields: Vec<(String, String)>,
    /// The field `host` of every event.
    pub host: String,
    /// What this pipeline is called: stable over restarts, different for different pipelines.
    pub id: String,
    /// The sources that the pipeline does not read itself.
    pub feeds: Vec<Feed>,
    /// How many threads filter at once; order is kept however many there are.
    pub workers: usize,
    /// How much is kept of what outputs were refused for good.
    pub dead_letters: DeadLetterLimits,
    /// Whether what inputs bring is kept on disk until it is delivered, and how.
    pub queue: Option<QueueSettings>,
}

impl Surroundings {
    /// Surroundings with one worker, without feeds and without further fields.
    pub fn new(data_dir: impl Into<PathBuf>, host: impl Into<String>, id: impl Into<String>) -> Self {
        Self {
            data_dir: data_dir.into(),
            fields: Vec::new(),
            host: host.into(),
            id: id.into(),
            feeds: Vec::new(),
            workers: 1,
            dead_letters: DeadLetterLimits::default(),
            queue: None,
        }
    }
}

/// Why a pipeline could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A plugin could not be made from its options.
    #[error("make `{plugin}`: {reason}")]
    Plugin {
        /// The id of the plugin.
        plugin: String,
        /// Why, for people.
        reason: String,
    },
    /// Saved positions could not be read.
    #[error("read the saved positions `{path}`")]
    Positions {
        /// Where they are.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A field that was to be set on every event cannot be set.
    #[error("set the fields of the surroundings: {0}")]
    Fields(String),
    /// The disk queue could not be opened.
    #[error("open the disk queue in `{path}`")]
    Queue {
        /// The data directory.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// There is nothing that would take the events.
    #[error("no output: a host config with an output is needed")]
    NoOutput,
}

/// Why a pipeline ended before its inputs did.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failed(pub String);

/// A running pipeline. Dropping it ends it at once; what was not acknowledged comes again.
pub struct Running {
    /// Holds the one task that owns all others of this pipeline.
    supervisor: JoinSet<()>,
    tally: Arc<tally::Tally>,
    view: View,
    state: watch::Receiver<State>,
    stop: CancellationToken,
    give_up: CancellationToken,
}

/// Starts a pipeline. Must be called within a tokio runtime.
pub fn start(plan: Plan, around: Surroundings) -> Result<Running, StartError> {
    let stop = CancellationToken::new();
    let give_up = CancellationToken::new();
    let dead_letters_max = around.dead_letters.max_bytes;
    let supervisor = topology::assemble(&plan, around, stop.clone())?;
    let (tally, state) = (supervisor.tally.clone(), supervisor.health.watch());
    let view = View {
        id: supervisor.id.clone(),
        tally: tally.clone(),
        gauge: supervisor.gauge.clone(),
        state: state.clone(),
        started: Instant::now(),
        dead_letters_max,
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(supervisor.run(give_up.clone()));
    Ok(Running { supervisor: tasks, tally, view, state, stop, give_up })
}

/// Runs a pipeline until its inputs end, or until `stop`; then it has `deadline` to drain.
pub async fn run_to_end(
    plan: Plan,
    around: Surroundings,
    stop: CancellationToken,
    deadline: Duration,
) -> Result<Counters, RunError> {
    Ok(start(plan, around)?.to_end(stop, deadline).await?)
}

/// Why a pipeline did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// It failed.
    #[error(transparent)]
    Failed(#[from] Failed),
}

impl Running {
    /// What went through it so far.
    pub fn counters(&self) -> Counters {
        self.tally.read()
    }

    /// How full its disk queue is, if it has one.
    pub fn queue(&self) -> Option<QueueLevel> {
        self.view.queue()
    }

    /// What can be seen of it.
    pub fn view(&self) -> View {
        self.view.clone()
    }

    /// How it is.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Its state, to wait for changes of it.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Waits until its inputs end, or until `stop`; then it has `deadline` to drain.
    pub async fn to_end(mut self, stop: CancellationToken, deadline: Duration) -> Result<Counters, Failed> {
        tokio::select! {
            ended = self.finished() => {
                ended?;
                return Ok(self.counters());
            }
            () = stop.cancelled() => {}
        }
        let (counters, stopped) = self.stop_counted(deadline).await;
        stopped.map(|()| counters)
    }

    /// Waits until it has ended. May be dropped and called again.
    pub async fn finished(&mut self) -> Result<(), Failed> {
        let ended = match self.state.wait_for(State::is_over).await {
            Ok(state) => state.clone(),
            Err(_) => State::Failed("the pipeline was torn down".to_owned()),
        };
        match ended {
            State::Failed(reason) => Err(Failed(reason)),
            _ => Ok(()),
        }
    }

    /// Stops it in order: the inputs, then what is on its way is filtered and delivered, then positions are saved.
    /// What the outputs have not acknowledged at the deadline comes again, or is counted as dropped where nobody can send it
    /// again; that is an error here.
    pub async fn stop(self, deadline: Duration) -> Result<(), Failed> {
        self.stop_counted(deadline).await.1
    }

    /// Stops the inputs, and waits up to `within` until all that they brought is delivered; whether it is. If not, it goes on
    /// delivering until it is [stopped](Running::stop) or dropped; by then others may listen where its inputs did.
    pub async fn drain(&mut self, within: Duration) -> bool {
        self.stop.cancel();
        tokio::time::timeout(within, self.supervisor.join_next()).await.is_ok()
    }

    /// Stops it as [`Running::stop`] does, and tells what went through it until its very end.
    pub async fn stop_counted(mut self, deadline: Duration) -> (Counters, Result<(), Failed>) {
        self.stop.cancel();
        if tokio::time::timeout(deadline, self.supervisor.join_next()).await.is_err() {
            self.give_up.cancel();
            let _ended = self.supervisor.join_next().await;
        }
        let ended = self.finished().await;
        (self.counters(), ended)
    }
}

#[cfg(test)]
mod tests;
