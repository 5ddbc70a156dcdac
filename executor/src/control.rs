//! Talks to the scheduler's control plane: takes assignments, sends reports; reconnects for ever.
//!
//! What is to be sent and what came are watches, not queues: the newest counts. The node works on while nobody listens.
use crate::assign::Failure;
use crate::assignment::Assignment;
use crate::report::{Applied, ContainerReport, ContainerState, Counters, PipelineReport, Report};
use crate::tail::TailStatus;
use config::document::{Document, Key, Kind, Revision};
use config::settings::Secret;
use proto::control as wire;
use proto::control::control_client::ControlClient;
use proto::credentials::Credentials;
use proto::movement;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

/// Reports go out on change, but not more often than this, or than a scheduler with many executors says.
const REPORT_AT_MOST_EVERY: Duration = Duration::from_secs(1);
/// Reports go out at least this often, or twice as seldom as at most.
const REPORT_AT_LEAST_EVERY: Duration = Duration::from_secs(5);
/// No scheduler makes reports more seldom than this.
const REPORT_PAUSE_MAX: Duration = Duration::from_secs(60);
const MESSAGE_MAX: usize = 64 << 20;
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Who this executor is.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) framework_id: String,
    pub(crate) agent_id: String,
    pub(crate) executor_id: String,
    pub(crate) host: String,
    pub(crate) token: Option<Secret>,
    /// With them the control plane talks TLS.
    pub(crate) credentials: Option<Credentials>,
    /// Whether positions and spools end with the sandbox.
    pub(crate) data_in_sandbox: bool,
    /// Where positions and spools are on the node, as this process sees it.
    pub(crate) data_dir: String,
}

/// The node's side of the control plane.
#[derive(Debug)]
pub(crate) struct Ends {
    /// Where the scheduler listens, `host:port`; changes when another scheduler leads.
    pub(crate) address: watch::Receiver<String>,
    /// The newest assignment that came.
    pub(crate) assignments: watch::Sender<Option<Assignment>>,
    /// What became of the newest assignment; `None` before the first.
    pub(crate) applied: watch::Receiver<Option<Applied>>,
    /// How the node is; `None` before there is something to say.
    pub(crate) report: watch::Receiver<Option<Report>>,
}

/// Stays attached until `stop`.
pub(crate) async fn stay_attached(identity: Identity, mut ends: Ends, stop: CancellationToken) {
    let mut pace = Pace::default();
    let mut complained = false;
    while !stop.is_cancelled() {
        let address = ends.address.borrow_and_update().clone();
        let mut welcomed = false;
        let ended = tokio::select! {
            ended = attach(&identity, &mut ends, &address, &mut welcomed) => ended,
            () = stop.cancelled() => return,
        };
        if welcomed {
            complained = false;
        }
        match ended {
            Ended::AddressChanged => {
                pace = Pace::default();
                continue;
            }
            Ended::Lost(reason) if !complained => {
                tracing::warn!(address, reason, "not attached to the scheduler; working on");
                complained = true;
            }
            Ended::Lost(reason) => tracing::debug!(address, reason, "not attached to the scheduler"),
        }
        let jittered = pace.pause(welcomed).mul_f64(rand::random_range(0.5..1.0));
        tokio::select! {
            () = sleep_until(Instant::now() + jittered) => {}
            _ = ends.address.changed() => ends.address.mark_changed(),
            () = stop.cancelled() => {}
        }
    }
}

/// How long to wait before the next try: longer after each failure, short again once a scheduler gave work.
#[derive(Debug)]
struct Pace(Duration);

impl Default for Pace {
    fn default() -> Self {
        Self(PAUSE_MIN)
    }
}

impl Pace {
    /// The pause after an attachment ended; `welcomed`: the scheduler had sent something on it. One that merely lets us in
    /// and closes again is not run at.
    fn pause(&mut self, welcomed: bool) -> Duration {
        let pause = if welcomed { PAUSE_MIN } else { self.0 };
        self.0 = (pause * 2).min(PAUSE_MAX);
        pause
    }
}

/// How an attachment ended.
enum Ended {
    AddressChanged,
    Lost(String),
}

async fn attach(identity: &Identity, ends: &mut Ends, address: &str, welcomed: &mut bool) -> Ended {
    match attach_once(identity, ends, address, welcomed).await {
        Ok(()) => Ended::AddressChanged,
        Err(reason) => Ended::Lost(reason),
    }
}

/// `Ok` when the address changed; `Err` with why the stream ended. `welcomed` is set once the scheduler sent something.
async fn attach_once(
    identity: &Identity,
    ends: &mut Ends,
    address: &str,
    welcomed: &mut bool,
) -> Result<(), String> {
    let endpoint = endpoint(address, identity.credentials.as_ref())?
        .connect_timeout(Duration::from_secs(3))
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(Duration::from_secs(5))
        .keep_alive_while_idle(true)
        .tcp_nodelay(true);
    let channel = endpoint.connect().await.map_err(|error| chain(&error))?;
    let mut client = ControlClient::new(channel)
        .max_decoding_message_size(MESSAGE_MAX)
        .max_encoding_message_size(MESSAGE_MAX);
    let (to_scheduler, outgoing) = mpsc::channel(4);
    send(&to_scheduler, wire::from_executor::Body::Hello(hello(identity, ends))).await?;
    let answer = timeout(Duration::from_secs(10), client.attach(ReceiverStream::new(outgoing)));
    let mut incoming = answer
        .await
        .map_err(|_| "the scheduler does not answer".to_owned())?
        .map_err(|status| status.message().to_owned())?
        .into_inner();
    tracing::info!(address, "attached to the scheduler");
    ends.applied.mark_changed();
    ends.report.mark_changed();
    let mut earliest = Instant::now();
    let mut latest = Instant::now();
    let mut report_pause = REPORT_AT_MOST_EVERY;
    let mut reports = Reports::default();
    loop {
        tokio::select! {
            message = incoming.message() => match message {
                Ok(Some(message)) => {
                    *welcomed = true;
                    report_pause = wanted_pause(&message).unwrap_or(report_pause);
                    reports.hear(&message);
                    take(ends, message);
                }
                Ok(None) => return Err("the scheduler closed the stream".to_owned()),
                Err(status) => return Err(status.message().to_owned()),
            },
            _ = ends.applied.changed() => {
                let applied = ends.applied.borrow_and_update().clone();
                if let Some(applied) = applied {
                    send(&to_scheduler, wire::from_executor::Body::Applied(applied_to_wire(applied))).await?;
                }
            }
            () = report_due(&ends.report, earliest, latest) => {
                let report = ends.report.borrow_and_update().clone();
                if let Some(report) = report {
                    send(&to_scheduler, reports.next(report_to_wire(report))).await?;
                }
                // Spread, so that executors that attached together do not go on reporting together.
                let pause = report_pause.mul_f64(rand::random_range(0.8..1.2));
                earliest = Instant::now() + pause;
                latest = Instant::now() + REPORT_AT_LEAST_EVERY.max(pause * 2);
            }
            changed = ends.address.changed() => {
                changed.map_err(|_| "the executor stops".to_owned())?;
                if *ends.address.borrow() != address {
                    return Ok(());
                }
            }
        }
    }
}

/// What the scheduler was told of this node on one stream.
#[derive(Debug, Default)]
struct Reports {
    last: Option<wire::Report>,
    /// Whether the scheduler understands what moved without all the rest.
    takes_movements: bool,
}

impl Reports {
    fn hear(&mut self, message: &wire::ToExecutor) {
        if let Some(wire::to_executor::Body::Heartbeat(beat)) = &message.body {
            self.takes_movements = beat.takes_movements;
        }
    }

    /// The report as it is sent: whole, or what moved since the last one if that is nothing but numbers.
    fn next(&mut self, report: wire::Report) -> wire::from_executor::Body {
        let before = self.last.as_ref().filter(|_| self.takes_movements);
        let movement = before.and_then(|before| movement::between(before, &report));
        match movement {
            Some(movement) => {
                self.last = Some(report);
                wire::from_executor::Body::Movement(movement)
            }
            None => wire::from_executor::Body::Report(self.last.insert(report).clone()),
        }
    }
}

/// Where to attach; with credentials, by TLS with whom their authority has signed.
fn endpoint(address: &str, credentials: Option<&Credentials>) -> Result<Endpoint, String> {
    let scheme = if credentials.is_some() { "https" } else { "http" };
    let endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
        .map_err(|_| format!("`{address}` is not `host:port`"))?;
    let Some(Credentials { authority, certificate, key }) = credentials else { return Ok(endpoint) };
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(authority))
        .identity(tonic::transport::Identity::from_pem(certificate, key))
        .timeout(Duration::from_secs(5));
    endpoint
        .tls_config(tls)
        .map_err(|error| format!("the certificates of the launch cannot be used: {}", chain(&error)))
}

/// How long the scheduler wants us to pause between two reports.
fn wanted_pause(message: &wire::ToExecutor) -> Option<Duration> {
    let Some(wire::to_executor::Body::Heartbeat(beat)) = &message.body else { return None };
    let wanted = Duration::from_millis(beat.report_pause_ms.into());
    (!wanted.is_zero()).then(|| wanted.clamp(REPORT_AT_MOST_EVERY, REPORT_PAUSE_MAX))
}

async fn report_due(report: &watch::Receiver<Option<Report>>, earliest: Instant, latest: Instant) {
    let mut report = report.clone();
    tokio::select! {
        () = sleep_until(latest) => {}
        changed = report.changed() => {
            if changed.is_err() {
                std::future::pending::<()>().await;
            }
            sleep_until(earliest).await;
        }
    }
}

async fn send(
    to_scheduler: &mpsc::Sender<wire::FromExecutor>,
    body: wire::from_executor::Body,
) -> Result<(), String> {
    let message = wire::FromExecutor { body: Some(body) };
    match timeout(KEEPALIVE, to_scheduler.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err("the stream ended".to_owned()),
        Err(_) => Err("the scheduler takes nothing".to_owned()),
    }
}

fn hello(identity: &Identity, ends: &Ends) -> wire::Hello {
    wire::Hello {
        protocol: wire::PROTOCOL,
        framework_id: identity.framework_id.clone(),
        agent_id: identity.agent_id.clone(),
        executor_id: identity.executor_id.clone(),
        host: identity.host.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        token: identity.token.as_ref().map_or_else(String::new, |token| token.expose().to_owned()),
        revision: ends.assignments.borrow().as_ref().map_or(0, |a| a.revision.0),
        data_in_sandbox: identity.data_in_sandbox,
        data_dir: identity.data_dir.clone(),
    }
}

/// Takes what the scheduler says; an older assignment than the newest known is refused.
fn take(ends: &Ends, message: wire::ToExecutor) {
    let Some(wire::to_executor::Body::Assignment(assignment)) = message.body else { return };
    let assignment = assignment_from_wire(assignment);
    ends.assignments.send_if_modified(|newest| match newest {
        Some(newest) if assignment.revision < newest.revision => {
            tracing::warn!(offered = %assignment.revision, have = %newest.revision, "refused an older revision");
            false
        }
        Some(newest) if *newest == assignment => false,
        _ => {
            *newest = Some(assignment);
            true
        }
    });
}

fn assignment_from_wire(assignment: wire::Assignment) -> Assignment {
    let revision = Revision(assignment.revision);
    let documents = assignment.documents.into_iter().filter_map(|document| {
        let kind = match document.kind() {
            wire::Kind::Docker => Kind::Docker,
            wire::Kind::Host => Kind::Host,
            wire::Kind::Unspecified => {
                tracing::warn!(name = document.name, "a document of an unknown kind is left out");
                return None;
            }
        };
        let key = Key { kind, name: document.name };
        Some((key, Document { text: document.text, revision: Revision(document.revision) }))
    });
    Assignment { revision, documents: documents.collect() }
}

fn applied_to_wire(applied: Applied) -> wire::Applied {
    let failure = |failure: Failure| wire::Failure {
        kind: match failure.key.kind {
            Kind::Docker => wire::Kind::Docker,
            Kind::Host => wire::Kind::Host,
        }
        .into(),
        name: failure.key.name,
        reason: failure.reason,
    };
    wire::Applied {
        revision: applied.revision.0,
        failures: applied.failures.into_iter().map(failure).collect(),
    }
}

fn report_to_wire(report: Report) -> wire::Report {
    wire::Report {
        revision: report.revision.0,
        docker: Some(wire::DockerState { reachable: report.docker_reachable, detail: report.docker_detail }),
        containers: report.containers.into_iter().map(container_to_wire).collect(),
        counters: Some(counters_to_wire(report.counters)),
        pipelines: report.pipelines.into_iter().map(pipeline_to_wire).collect(),
        resident_bytes: report.resident_bytes,
    }
}

fn container_to_wire(container: ContainerReport) -> wire::Container {
    let tail = |tail: TailStatus| wire::Tail {
        state: tail.in_words(),
        path: tail.path,
        read_position: tail.read_position,
        acknowledged_position: tail.acknowledged_position,
        spool_bytes: tail.spool_bytes,
        dropped_lines: tail.dropped_lines,
    };
    wire::Container {
        id: container.id,
        name: container.name,
        image: container.image,
        state: match container.state {
            ContainerState::Streaming => wire::container::State::Streaming,
            ContainerState::NotMatched => wire::container::State::NotMatched,
            ContainerState::Error => wire::container::State::Error,
            ContainerState::Draining => wire::container::State::Draining,
        }
        .into(),
        reason: container.reason,
        config: container.config,
        tails: container.tails.into_iter().map(tail).collect(),
    }
}

fn pipeline_to_wire(pipeline: PipelineReport) -> wire::Pipeline {
    wire::Pipeline {
        id: pipeline.id,
        state: pipeline.state,
        reason: pipeline.reason,
        counters: Some(counters_to_wire(pipeline.counters)),
    }
}

fn counters_to_wire(counters: Counters) -> wire::Counters {
    wire::Counters {
        events_in: counters.events_in,
        events_out: counters.events_out,
        bytes_in: counters.bytes_in,
        dropped_lines: counters.dropped_lines,
        dead_letters: counters.dead_letters,
        retries: counters.retries,
    }
}

/// An error with its causes, as one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests;
