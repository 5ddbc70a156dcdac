//! Plays the executors: each attaches to the control plane, applies what it is assigned, and reports as real ones do.

use local::Happened;
use proto::announcement;
use proto::control as wire;
use proto::control::control_client::ControlClient;
use proto::movement;
use rand::Rng;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;

/// As real executors have it: at most so often, or as seldom as the scheduler says.
const REPORT_AT_MOST_EVERY: Duration = Duration::from_secs(1);
/// At least so often, or twice as seldom as at most.
const REPORT_AT_LEAST_EVERY: Duration = Duration::from_secs(5);
const REPORT_PAUSE_MAX: Duration = Duration::from_secs(60);
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
const KEEPALIVE: Duration = Duration::from_secs(10);

/// What was seen of all executors together.
#[derive(Default)]
pub(crate) struct Seen {
    /// How many are attached now.
    pub(crate) attached: AtomicUsize,
    /// How many were launched.
    pub(crate) launched: AtomicUsize,
    /// How many reports were sent.
    pub(crate) reports: AtomicU64,
    /// How many bytes of them.
    pub(crate) launch_times: std::sync::Mutex<Option<(Instant, Instant)>>,
    /// How many executors have which revision, and when the last one got it.
    revisions: std::sync::Mutex<HashMap<u64, (usize, Option<Instant>)>>,
}

impl Seen {
    fn got(&self, revision: u64) {
        let mut revisions = self.revisions.lock().unwrap();
        let of_this = revisions.entry(revision).or_default();
        *of_this = (of_this.0 + 1, Some(Instant::now()));
    }

    /// How many have got a revision so far, and when the last one did.
    pub(crate) fn have(&self, revision: u64) -> (usize, Option<Instant>) {
        self.revisions.lock().unwrap().get(&revision).copied().unwrap_or_default()
    }
}

/// Starts and ends executors as the crowd says, until it is gone. `running` gets the numbers of agents whose executor runs.
pub(crate) async fn play(
    mut happened: mpsc::Receiver<(usize, Happened)>,
    running: mpsc::Sender<usize>,
    load: Load,
    seen: Arc<Seen>,
) {
    let mut tasks = JoinSet::new();
    let mut playing: HashMap<usize, (AbortHandle, watch::Sender<String>, String, String)> = HashMap::new();
    while let Some((agent, what)) = happened.recv().await {
        while tasks.try_join_next().is_some() {}
        match what {
            Happened::Launched(launch) => {
                seen.launched.fetch_add(1, Ordering::Relaxed);
                let now = Instant::now();
                seen.launch_times.lock().unwrap().get_or_insert((now, now)).1 = now;
                let command = launch.executor.command.clone().unwrap_or_default();
                let mut arguments = command.arguments.iter().skip_while(|argument| *argument != "--control");
                let control = arguments.nth(1).cloned().unwrap_or_default();
                let variables = command.environment.unwrap_or_default().variables;
                let token = variables.into_iter().find(|v| v.name == "LOGHERD_CONTROL_TOKEN");
                let token = token.and_then(|variable| variable.value).unwrap_or_default();
                let (address, addresses) = watch::channel(control);
                let executor_id = launch.executor.executor_id.value.clone();
                let executor = Executor {
                    agent,
                    hello: wire::Hello {
                        protocol: wire::PROTOCOL,
                        framework_id: launch.framework_id,
                        agent_id: launch.agent_id,
                        executor_id: executor_id.clone(),
                        host: format!("node-{agent}"),
                        version: env!("CARGO_PKG_VERSION").to_owned(),
                        token: token.clone(),
                        ..wire::Hello::default()
                    },
                    report: report(agent, load.containers),
                    busy: load.busy,
                    running: running.clone(),
                    seen: Arc::clone(&seen),
                };
                let handle = tasks.spawn(executor.live(addresses));
                playing.insert(agent, (handle, address, token, executor_id));
            }
            Happened::Message(data) => {
                let Some((_, address, token, executor)) = playing.get(&agent) else { continue };
                if let Ok(said) = announcement::read(&data, token, executor) {
                    address.send_replace(said.control);
                }
            }
            Happened::Ended => {
                if let Some((handle, ..)) = playing.remove(&agent) {
                    handle.abort();
                }
            }
        }
    }
}

/// What goes on on each node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// How many containers it has.
    pub(crate) containers: usize,
    /// In how many of them something is written all the time.
    pub(crate) busy: usize,
}

struct Executor {
    agent: usize,
    hello: wire::Hello,
    report: wire::Report,
    busy: usize,
    running: mpsc::Sender<usize>,
    seen: Arc<Seen>,
}

impl Executor {
    async fn live(mut self, mut addresses: watch::Receiver<String>) {
        let mut pause = PAUSE_MIN;
        loop {
            let address = addresses.borrow_and_update().clone();
            let mut welcomed = false;
            let ended = tokio::select! {
                ended = self.attach(&address, &mut welcomed) => ended,
                _ = addresses.changed() => Ok(()),
            };
            if welcomed {
                pause = PAUSE_MIN;
            }
            if ended.is_ok() {
                continue;
            }
            let jittered = pause.mul_f64(rand::rng().random_range(0.5..1.0));
            pause = (pause * 2).min(PAUSE_MAX);
            tokio::select! {
                () = tokio::time::sleep(jittered) => {}
                _ = addresses.changed() => {}
            }
        }
    }

    async fn attach(&mut self, address: &str, welcomed: &mut bool) -> Result<(), tonic::Status> {
        let lost = |error: tonic::transport::Error| tonic::Status::unavailable(error.to_string());
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(lost)?;
        let endpoint = endpoint
            .connect_timeout(Duration::from_secs(3))
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(Duration::from_secs(5))
            .keep_alive_while_idle(true)
            .tcp_nodelay(true);
        let mut client = ControlClient::new(endpoint.connect().await.map_err(lost)?);
        let (to_scheduler, outgoing) = mpsc::channel(4);
        say(&to_scheduler, wire::from_executor::Body::Hello(self.hello.clone())).await?;
        let mut incoming = client.attach(ReceiverStream::new(outgoing)).await?.into_inner();
        let _attached = Attached::new(&self.seen);
        let mut report_at = tokio::time::Instant::now();
        let (mut pause, mut told, mut takes_movements) = (REPORT_AT_MOST_EVERY, None, false);
        loop {
            tokio::select! {
                message = incoming.message() => {
                    let Some(message) = message? else { return Err(tonic::Status::aborted("closed")) };
                    *welcomed = true;
                    match message.body {
                        Some(wire::to_executor::Body::Assignment(assignment)) => {
                            self.apply(assignment.revision, &to_scheduler).await?;
                        }
                        Some(wire::to_executor::Body::Heartbeat(beat)) => {
                            let wanted = Duration::from_millis(beat.report_pause_ms.into());
                            pause = wanted.clamp(REPORT_AT_MOST_EVERY, REPORT_PAUSE_MAX);
                            takes_movements = beat.takes_movements;
                        }
                        None => {}
                    }
                }
                () = tokio::time::sleep_until(report_at) => {
                    self.seen.reports.fetch_add(1, Ordering::Relaxed);
                    let movement = told.as_ref().filter(|_| takes_movements);
                    let movement = movement.and_then(|told| movement::between(told, &self.report));
                    let report = match movement {
                        Some(movement) => wire::from_executor::Body::Movement(movement),
                        None => wire::from_executor::Body::Report(self.report.clone()),
                    };
                    say(&to_scheduler, report).await?;
                    told = Some(self.report.clone());
                    let spread = pause.mul_f64(rand::rng().random_range(0.8..1.2));
                    report_at = tokio::time::Instant::now()
                        + if self.busy > 0 { spread } else { REPORT_AT_LEAST_EVERY.max(spread * 2) };
                    self.work();
                }
            }
        }
    }

    /// Something is written in the busy containers until the next report.
    fn work(&mut self) {
        let busy = self.busy.min(self.report.containers.len());
        for (container, pipeline) in
            self.report.containers.iter_mut().zip(&mut self.report.pipelines).take(busy)
        {
            for tail in &mut container.tails {
                tail.read_position += 20_000;
                tail.acknowledged_position += 20_000;
            }
            let counters = [&mut pipeline.counters, &mut self.report.counters];
            for counters in counters.into_iter().flatten() {
                counters.events_in += 100;
                counters.events_out += 100;
                counters.bytes_in += 20_000;
            }
        }
    }

    async fn apply(
        &mut self,
        revision: u64,
        to_scheduler: &mpsc::Sender<wire::FromExecutor>,
    ) -> Result<(), tonic::Status> {
        self.seen.got(revision);
        (self.hello.revision, self.report.revision) = (revision, revision);
        let applied = wire::Applied { revision, failures: Vec::new() };
        say(to_scheduler, wire::from_executor::Body::Applied(applied)).await?;
        self.running.send(self.agent).await.ok();
        Ok(())
    }
}

async fn say(
    to_scheduler: &mpsc::Sender<wire::FromExecutor>,
    body: wire::from_executor::Body,
) -> Result<(), tonic::Status> {
    let sent = to_scheduler.send(wire::FromExecutor { body: Some(body) }).await;
    sent.map_err(|_| tonic::Status::aborted("the stream ended"))
}

/// Counts an executor as attached while it lives.
struct Attached(Arc<Seen>);

impl Attached {
    fn new(seen: &Arc<Seen>) -> Self {
        seen.attached.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(seen))
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.0.attached.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a node with so many containers reports.
fn report(agent: usize, containers: usize) -> wire::Report {
    let counters =
        wire::Counters { events_in: 1000, events_out: 1000, bytes_in: 200_000, ..Default::default() };
    let container = |n: usize| wire::Container {
        id: format!("{agent:032x}{n:032x}"),
        name: format!("shop-{n}"),
        image: format!("registry.example/web/shop-{n}:1.27"),
        state: wire::container::State::Streaming.into(),
        reason: String::new(),
        config: format!("registry.example/web/shop-{n}"),
        tails: vec![wire::Tail {
            path: "/var/log/access.log".into(),
            state: "reading".into(),
            read_position: 20_000,
            acknowledged_position: 20_000,
            ..Default::default()
        }],
    };
    let pipeline = |n: usize| wire::Pipeline {
        id: format!("shop-{n}-{agent:012x}"),
        state: "running".into(),
        reason: String::new(),
        counters: Some(counters),
    };
    wire::Report {
        docker: Some(wire::DockerState { reachable: true, detail: "Docker 27.5.1".into() }),
        containers: (0..containers).map(container).collect(),
        pipelines: (0..containers).map(pipeline).collect(),
        counters: Some(counters),
        resident_bytes: 20 << 20,
        ..wire::Report::default()
    }
}
