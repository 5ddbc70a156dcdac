//! Puts a pipeline together; the whole path of a record can be read here.
//!
//! ```text
//! input ──Frame──▶ decode, filter, choose outputs ──Parcel──▶ outlet (one per output) ──done──▶ acknowledge
//!  │ lines of one    several threads, order kept      shared events   delivers, repeats      in order  │
//!  │ source, with                                                                                      │
//!  │ their end    ◀──────────────────────── acked(position): saved, or told to the feed ◀──────────────┘
//! ```
//!
//! A codec that puts lines together has a stage of its own just behind the input.
//! With a disk queue, frames are written to disk where the first arrow is and read from there again; sources are told when
//! they are on disk.
//!
//! Every arrow is a channel with a limit: when an output is slow, its outlet's channel fills, then the filters wait,
//! then the inputs, and nobody reads any further. The end travels the same way: an input that is done drops its
//! sender, and each stage ends when there is nothing more to come. At most `FRAMES_MAX` + workers + `ON_THEIR_WAY_MAX`
//! batches of a pipeline are in memory, and of all pipelines together no more than `runtime::budget` allows.
use crate::codec::{Codec, Decode, Framing};
use crate::dead_letter::{DeadLetters, Letterbox};
use crate::plan::{Common, Plan, PluginCall};
use crate::plugins;
use crate::positions::{Ledger, file_name, with_ending};
use crate::runtime::acks::{self, ON_THEIR_WAY_MAX};
use crate::runtime::budget::Budget;
use crate::runtime::chain::{Chain, Routes, Together};
use crate::runtime::decorate::Decorate;
use crate::runtime::disk_queue::{DiskQueue, QueueSettings, QueueSite};
use crate::runtime::join::Join;
use crate::runtime::meter::Meter;
use crate::runtime::outlet::{Outlet, WAITING_MAX};
use crate::runtime::source::{Feed, Frame, Intake, fields_of};
use crate::runtime::spares::Spares;
use crate::runtime::supervise::{Supervisor, panic_reason};
use crate::runtime::tally::{Health, Tally};
use crate::runtime::work::{Door, IF_STATEMENT, Work};
use crate::runtime::{StartError, Surroundings};
use crate::value::Map;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How many frames wait for the filters.
const FRAMES_MAX: usize = 4;

/// What an output is made with.
pub(crate) struct OutputSite {
    /// The id of the plugin.
    pub(crate) id: String,
    pub(crate) dead_letters: DeadLetters,
}

/// Makes every stage and starts it.
pub(crate) fn assemble(
    plan: &Plan,
    around: Surroundings,
    stop: CancellationToken,
) -> Result<Supervisor, StartError> {
    if plan.outputs.is_empty() {
        return Err(StartError::NoOutput);
    }
    let tally = Arc::new(Tally::default());
    tally.meter_all(Meter::all_of(plan));
    let health = Arc::new(Health::new());
    let ledger = Arc::new(open_ledger(&around)?);
    let (frames_in, frames_out) = mpsc::channel(FRAMES_MAX);
    let (tickets_in, tickets_out) = mpsc::channel(ON_THEIR_WAY_MAX);
    let mut stages = JoinSet::new();

    // outputs
    let (routes, output_calls) = Routes::new(&plan.outputs);
    let letters = Arc::new(Letterbox::new(&around.data_dir, &around.id, around.dead_letters, tally.clone()));
    let (parcels_in, outlets) = make_outlets(output_calls, &letters, &tally, &health)?;

    // filters
    let workers = around.workers.max(1);
    let spares = Arc::new(Spares::new(workers));
    let mut together = Together::new();
    let chains = (0..workers)
        .map(|number| Chain::build(number, &plan.filters, &mut together, &tally))
        .collect::<Result<_, _>>();
    let chains = chains.map_err(|(plugin, reason)| StartError::Plugin { plugin, reason })?;
    let work = Work {
        frames: frames_out,
        chains,
        routes: Arc::new(routes),
        outlets: parcels_in,
        tickets: tickets_in,
        tally: tally.clone(),
        spares: spares.clone(),
        letters: letters.of(IF_STATEMENT, IF_STATEMENT),
    };

    // a queue on disk between the inputs and all of this
    let (tallied, healthy) = (tally.clone(), health.clone());
    let queue = around.queue.map(|settings| open_queue(&around, settings, tallied, healthy)).transpose()?;
    let gauge = queue.as_ref().map(|queue| queue.writer.gauge.clone());
    let frames_in = match queue {
        Some(queue) => queue.between(&mut stages, frames_in, &stop),
        None => frames_in,
    };

    // inputs
    let budget = Budget::of_process();
    let inputs = Inputs {
        around: &around,
        stop,
        ledger: &ledger,
        health: &health,
        tally: &tally,
        frames: frames_in,
        budget,
        tells_metadata: plan.tells_metadata,
    };
    let inputs = inputs.build(&plan.inputs)?;
    let mut feeds = around.feeds;

    // all of them are there: go
    for (nth, (input, mut intake, join)) in inputs.into_iter().enumerate() {
        intake.feeds = take_feeds(&mut feeds, nth);
        if let Some(join) = join {
            stages.spawn(async move {
                join.run().await;
                Ok(())
            });
        }
        let id = intake.id.clone();
        stages.spawn(async move { input.run(intake).await.map_err(|error| format!("{id}: {error}")) });
    }
    stages
        .spawn(async move { work.run().await.map_err(|error| format!("filters: {}", panic_reason(error))) });
    for outlet in outlets {
        let id = outlet.id.clone();
        stages.spawn(async move { outlet.run().await.map_err(|reason| format!("{id}: {reason}")) });
    }
    stages.spawn(tell(tickets_out, tally.clone(), spares));
    let takes_once = plan.takes_once();
    Ok(Supervisor { id: around.id, stages, ledger, letters, tally, health, gauge, takes_once })
}

async fn tell(
    tickets: mpsc::Receiver<acks::Ticket>,
    tally: Arc<Tally>,
    spares: Arc<Spares>,
) -> Result<(), String> {
    acks::acknowledge(tickets, tally, spares).await;
    Ok(())
}

fn broken(call: &PluginCall, reason: String) -> StartError {
    StartError::Plugin { plugin: call.id.clone(), reason }
}

fn open_ledger(around: &Surroundings) -> Result<Ledger, StartError> {
    let path = with_ending(&around.data_dir.join("positions").join(file_name(&around.id)), "json");
    Ledger::open(path.clone(), &around.id).map_err(|source| StartError::Positions { path, source })
}

/// The doors and the outlets that receive them, one of each for each output.
type Outlets = (Vec<Door>, Vec<Outlet>);

fn make_outlets(
    calls: Vec<PluginCall>,
    letters: &Arc<Letterbox>,
    tally: &Arc<Tally>,
    health: &Arc<Health>,
) -> Result<Outlets, StartError> {
    let (mut parcels_in, mut outlets) = (Vec::new(), Vec::new());
    for call in calls {
        let dead_letters = letters.of(call.spec.name, &call.id);
        let site = OutputSite { id: call.id.clone(), dead_letters };
        let output = plugins::build_output(&call, site).map_err(|reason| broken(&call, reason))?;
        let (parcels, waiting) = mpsc::channel(WAITING_MAX);
        parcels_in.push(Door { parcels, render: output.renders() });
        let (tally, health) = (tally.clone(), health.clone());
        outlets.push(Outlet { id: call.id, output, parcels: waiting, tally, health });
    }
    Ok((parcels_in, outlets))
}

fn open_queue(
    around: &Surroundings,
    settings: QueueSettings,
    tally: Arc<Tally>,
    health: Arc<Health>,
) -> Result<DiskQueue, StartError> {
    let site = QueueSite { data_dir: &around.data_dir, pipeline: &around.id, settings, tally, health };
    DiskQueue::open(site).map_err(|source| StartError::Queue { path: around.data_dir.clone(), source })
}

fn take_feeds(feeds: &mut Vec<Feed>, input: usize) -> Vec<Feed> {
    let (mine, others) = feeds.drain(..).partition(|feed| feed.input == input);
    *feeds = others;
    mine
}

/// An input, what it is given, and what puts its lines together.
type BuiltInput = (Box<dyn crate::runtime::source::Input>, Intake, Option<Join>);

struct Inputs<'a> {
    around: &'a Surroundings,
    stop: CancellationToken,
    ledger: &'a Arc<Ledger>,
    health: &'a Arc<Health>,
    tally: &'a Tally,
    frames: mpsc::Sender<Frame>,
    budget: Arc<Budget>,
    tells_metadata: bool,
}

impl Inputs<'_> {
    /// Makes the inputs; the only senders of frames are in what it returns.
    fn build(self, calls: &[PluginCall]) -> Result<Vec<BuiltInput>, StartError> {
        let fields = fields_of(&self.around.fields).map_err(StartError::Fields)?;
        calls.iter().map(|call| self.build_one(call, &fields)).collect()
    }

    fn build_one(&self, call: &PluginCall, fields: &Map) -> Result<BuiltInput, StartError> {
        let input = plugins::build_input(call).map_err(|reason| broken(call, reason))?;
        let (decode, codec_name, decorate) = match &call.common {
            Common::Input(common) => {
                let name = common.codec.as_ref().map_or("plain", |codec| codec.spec.name);
                let codec = match &common.codec {
                    Some(codec) => plugins::build_codec(codec).map_err(|reason| broken(call, reason))?,
                    None => input.codec(),
                };
                (reading(codec, call)?, name, Decorate::new(common).map(Arc::new))
            }
            Common::Filter(_) | Common::Other => (reading(Codec::lines(), call)?, "plain", None),
        };
        let framing = input.framing().or_else(|| decode.framing()).unwrap_or_else(Framing::lines);
        let (frames, join) = self.joined(&decode, &framing);
        let intake = Intake {
            id: call.id.clone(),
            stop: self.stop.clone(),
            framing,
            host: self.around.host.as_str().into(),
            tells_metadata: self.tells_metadata,
            feeds: Vec::new(),
            ledger: self.ledger.clone(),
            health: self.health.clone(),
            frames,
            budget: self.budget.clone(),
            fields: fields.clone(),
            decode,
            codec_name,
            decorate,
            meter: self.tally.meter(&call.id),
        };
        Ok((input, intake, join))
    }

    /// Where an input sends its frames; with a stage between if lines are put together.
    fn joined(&self, decode: &Arc<dyn Decode>, framing: &Framing) -> (mpsc::Sender<Frame>, Option<Join>) {
        let Some(how) = decode.joining() else { return (self.frames.clone(), None) };
        let (frames, frames_in) = mpsc::channel(FRAMES_MAX);
        let delimiter = match framing {
            Framing::Delimited(delimiter) => delimiter.len(),
            Framing::Msgpack => 0,
        };
        let (frames_out, stop) = (self.frames.clone(), self.stop.clone());
        (frames, Some(Join { how, delimiter, frames_in, frames_out, stop }))
    }
}

fn reading(codec: Codec, call: &PluginCall) -> Result<Arc<dyn Decode>, StartError> {
    codec.decode.ok_or_else(|| broken(call, "its codec can only write".to_owned()))
}
