//! Puts together what the page shows: the core's nodes, what executors reported, and the documents.
use crate::control::NodeReport;
use crate::core::{Decision, Listing, NodeState, Orphan};
use crate::ids::{ExecutorId, FrameworkId, Moment};
use crate::main_loop::Sent;
use crate::revisions::Published;
use config::document::{Document, Key, Revision};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use web::view::rollout::Rollouts;
use web::view::{
    Applied, BackgroundTask, Cause, Container, ContainerState, Coverage, Decision as Shown, Failure,
    FileProblem, Node, Status, View,
};

/// An executor that was not heard of for so long counts as not attached.
const SILENCE: Duration = Duration::from_secs(30);
/// How many nodes that could not apply a document are named; they often fail alike.
const FAILURES_NAMED: usize = 100;
/// Rates are smoothed over about this long.
const SMOOTHING: Duration = Duration::from_secs(3);

/// What the executors say, by executor.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    by_executor: HashMap<ExecutorId, Heard>,
    /// How often anything was heard.
    version: u64,
}

/// What one executor said.
#[derive(Debug)]
struct Heard {
    connection: u64,
    attached: bool,
    attached_at: Moment,
    /// When it said last which revision it has applied.
    applied_at: Option<Moment>,
    heard_at: Moment,
    report: NodeReport,
    reported_at: Option<Moment>,
    revision: Revision,
    failures: Vec<Failure>,
    rate: f64,
    /// The number of what was heard last: as long as it is the same, nothing is new.
    version: u64,
}

impl Reports {
    /// An executor attached, by a connection of that number.
    pub(crate) fn attached(
        &mut self,
        executor: &ExecutorId,
        connection: u64,
        revision: Revision,
        now: Moment,
    ) {
        self.version += 1;
        let heard = self.by_executor.entry(executor.clone()).or_insert_with(|| Heard {
            connection,
            attached: true,
            attached_at: now,
            applied_at: None,
            heard_at: now,
            report: NodeReport::default(),
            reported_at: None,
            revision,
            failures: Vec::new(),
            rate: 0.0,
            version: 0,
        });
        (heard.connection, heard.attached, heard.heard_at) = (connection, true, now);
        heard.attached_at = now;
        heard.version = self.version;
    }

    /// A connection ended; says whether its executor is detached by that.
    pub(crate) fn detached(&mut self, executor: &ExecutorId, connection: u64) -> bool {
        let heard = self.by_executor.get_mut(executor).filter(|heard| heard.connection == connection);
        heard.is_some_and(|heard| std::mem::replace(&mut heard.attached, false))
    }

    /// A report came.
    pub(crate) fn reported(
        &mut self,
        executor: &ExecutorId,
        connection: u64,
        report: NodeReport,
        now: Moment,
    ) {
        let Some(heard) = self.heard(executor, connection, now) else { return };
        if let Some(before) = heard.reported_at {
            heard.rate = smoothed(heard.rate, &heard.report, &report, now.since(before));
        }
        heard.revision = heard.revision.max(report.revision);
        heard.reported_at = Some(now);
        heard.report = report;
    }

    /// It was said what became of a revision.
    pub(crate) fn applied(
        &mut self,
        executor: &ExecutorId,
        connection: u64,
        applied: (Revision, Vec<Failure>),
        now: Moment,
    ) {
        let Some(heard) = self.heard(executor, connection, now) else { return };
        if applied.0 >= heard.revision {
            (heard.revision, heard.failures) = applied;
            heard.applied_at = Some(now);
        }
    }

    /// Forgets executors that are in no slot any more.
    pub(crate) fn keep(&mut self, nodes: &[NodeState]) {
        let in_slots = || nodes.iter().flat_map(|node| node.executor.iter().chain(&node.successor));
        let known = in_slots().filter(|executor| self.by_executor.contains_key(*executor)).count();
        if known < self.by_executor.len() {
            let alive: HashSet<&ExecutorId> = in_slots().collect();
            self.by_executor.retain(|executor, _| alive.contains(executor));
        }
    }

    fn heard(&mut self, executor: &ExecutorId, connection: u64, now: Moment) -> Option<&mut Heard> {
        let heard = self.by_executor.get_mut(executor).filter(|heard| heard.connection == connection)?;
        self.version += 1;
        (heard.heard_at, heard.version) = (now, self.version);
        Some(heard)
    }
}

/// The rate after another report: an exponential mean over the last few seconds.
#[allow(clippy::cast_precision_loss, reason = "a rate for people")]
fn smoothed(rate: f64, before: &NodeReport, after: &NodeReport, took: Duration) -> f64 {
    let events = after.counters.events_out.saturating_sub(before.counters.events_out) as f64;
    let seconds = took.as_secs_f64();
    if seconds <= 0.0 {
        return rate;
    }
    let weight = 1.0 - (-seconds / SMOOTHING.as_secs_f64()).exp();
    rate + weight * (events / seconds - rate)
}

/// Everything that a view is made of.
pub(crate) struct Material<'a> {
    pub(crate) now: Moment,
    /// Which leadership this is.
    pub(crate) epoch: u64,
    pub(crate) phase: &'a str,
    pub(crate) detail: &'a str,
    pub(crate) framework: Option<&'a FrameworkId>,
    /// The framework's name.
    pub(crate) name: &'a str,
    /// On how many agents something is reserved for it.
    pub(crate) reserved: usize,
    pub(crate) master: Option<&'a str>,
    pub(crate) rollout: Rollouts,
    /// In the order of their agents.
    pub(crate) nodes: Vec<NodeState>,
    pub(crate) listing: Listed<'a>,
    pub(crate) orphans: &'a [Orphan],
    pub(crate) reservation_problems: Vec<String>,
    /// When all nodes were covered last.
    pub(crate) all_covered_at: Moment,
    pub(crate) reports: &'a Reports,
    pub(crate) published: &'a Arc<Published>,
    pub(crate) file_problems: Vec<FileProblem>,
    pub(crate) decisions: Vec<&'a Decision>,
    pub(crate) tasks: Vec<BackgroundTask>,
    pub(crate) sent: Sent,
}

/// What is known of which agents there are.
pub(crate) struct Listed<'a> {
    pub(crate) proven: Listing,
    /// How the last question went.
    pub(crate) words: &'a str,
}

/// What is published, and its documents.
type OfPublished = (Arc<Published>, Arc<BTreeMap<Key, Document>>);

/// Builds views, each out of the one before: what did not change is shown again, not made again.
#[derive(Debug, Default)]
pub(crate) struct Views {
    /// In the order of their agents.
    nodes: Vec<Last>,
    documents: Option<OfPublished>,
}

/// A node as it was shown last, and of what that was made.
#[derive(Debug)]
struct Last {
    state: NodeState,
    heard: u64,
    fresh: bool,
    node: Arc<Node>,
    /// How many of its containers are streamed.
    streaming: usize,
}

impl Views {
    /// The next view.
    pub(crate) fn build(&mut self, material: Material<'_>) -> View {
        let published = material.published;
        self.take_in(material.nodes, material.reports, material.now);
        let nodes = || self.nodes.iter().map(|last| &last.node);
        let mut status = Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            framework_id: material.framework.map(|id| id.0.clone()),
            framework_name: material.name.to_owned(),
            agents_reserved: material.reserved,
            master: material.master.map(str::to_owned),
            leader: None,
            epoch: material.epoch,
            phase: material.phase.to_owned(),
            detail: published.trouble.clone().unwrap_or_else(|| material.detail.to_owned()),
            writable: published.trouble.is_none(),
            revision: published.stored.fleet.revision,
            nodes_known: nodes().filter(|node| node.coverage != Coverage::Excluded).count(),
            nodes_covered: nodes().filter(|node| node.coverage == Coverage::Running).count(),
            nodes_excluded: nodes().filter(|node| node.coverage == Coverage::Excluded).count(),
            nodes_listed: material.listing.proven.proven.then_some(material.listing.proven.listed),
            listing: material.listing.words.to_owned(),
            all_covered_ms: material.all_covered_at.0,
            orphans: material.orphans.iter().map(orphan).collect(),
            reservation_problems: material.reservation_problems,
            containers_streaming: self.nodes.iter().map(|last| last.streaming).sum(),
            containers: nodes().map(|node| node.containers.len()).sum(),
            events_out: nodes().map(|node| node.counters.events_out).sum(),
            events_per_second: nodes().map(|node| node.events_per_second).sum(),
            dropped_lines: nodes().map(|node| node.counters.dropped_lines).sum(),
            dead_letters: nodes().map(|node| node.counters.dead_letters).sum(),
            tasks: material.tasks,
            decisions: material.decisions.into_iter().rev().map(shown).collect(),
            ..Status::default()
        };
        material.sent.show(&mut status);
        let documents = self.documents(published);
        let progress = Progress::of(&self.nodes);
        let applied = documents.iter().map(|(key, document)| {
            let problems = published.problems.get(key).cloned().unwrap_or_default();
            (key.clone(), progress.applied(key, document.revision, problems))
        });
        let applied = applied.collect();
        let nodes = self.nodes.iter().map(|last| Arc::clone(&last.node)).collect();
        let rollout = material.rollout;
        View { applied, rollout, status, documents, file_problems: material.file_problems, nodes }
    }

    /// Both the nodes and those of the last view are in the order of their agents: one pass is enough.
    fn take_in(&mut self, states: Vec<NodeState>, reports: &Reports, now: Moment) {
        let mut before = std::mem::take(&mut self.nodes).into_iter().peekable();
        self.nodes.reserve_exact(states.len());
        for state in states {
            while before.next_if(|last| last.state.agent < state.agent).is_some() {}
            let same = before.next_if(|last| last.state.agent == state.agent);
            let heard = state.executor.as_ref().and_then(|executor| reports.by_executor.get(executor));
            let fresh = heard.is_some_and(|heard| heard.attached && now.since(heard.heard_at) < SILENCE);
            let version = heard.map_or(0, |heard| heard.version);
            let same =
                same.filter(|last| last.state == state && last.heard == version && last.fresh == fresh);
            self.nodes.push(same.unwrap_or_else(|| {
                let node = node(&state, heard, fresh);
                let streams = |container: &&Container| container.state == ContainerState::Streaming;
                let streaming = node.containers.iter().filter(streams).count();
                Last { state, heard: version, fresh, node: Arc::new(node), streaming }
            }));
        }
    }

    fn documents(&mut self, published: &Arc<Published>) -> Arc<BTreeMap<Key, Document>> {
        match &self.documents {
            Some((of, documents)) if Arc::ptr_eq(of, published) => Arc::clone(documents),
            _ => {
                let documents = Arc::new(published.stored.fleet.documents.clone());
                self.documents = Some((Arc::clone(published), Arc::clone(&documents)));
                documents
            }
        }
    }
}

/// How far the nodes are: counted once for all documents.
struct Progress<'a> {
    of: usize,
    /// How many covered nodes run which revision.
    covered: BTreeMap<Revision, usize>,
    /// The nodes that could not apply something.
    failed: Vec<&'a Node>,
}

impl<'a> Progress<'a> {
    fn of(nodes: &'a [Last]) -> Self {
        let of = nodes.iter().filter(|last| last.state.coverage != Coverage::Excluded).count();
        let mut progress = Self { of, covered: BTreeMap::new(), failed: Vec::new() };
        for node in nodes.iter().map(|last| last.node.as_ref()) {
            if node.coverage == Coverage::Running {
                *progress.covered.entry(node.revision).or_default() += 1;
            }
            if !node.failures.is_empty() {
                progress.failed.push(node);
            }
        }
        progress
    }

    fn applied(
        &self,
        key: &Key,
        revision: Revision,
        problems: Vec<config::diagnostic::Diagnostic>,
    ) -> Applied {
        let on = self.covered.range(revision..).map(|(_, nodes)| nodes).sum();
        let mut applied = Applied { on, of: self.of, failed: 0, failures: Vec::new(), problems };
        for node in &self.failed {
            let Some(failure) = node.failures.iter().find(|failure| failure.key == *key) else { continue };
            if node.coverage == Coverage::Running && node.revision >= revision {
                applied.on -= 1;
            }
            applied.failed += 1;
            if applied.failures.len() < FAILURES_NAMED {
                applied.failures.push((node.host.clone(), failure.reason.clone()));
            }
        }
        applied
    }
}

fn shown(decision: &Decision) -> Shown {
    let node = decision.node.as_ref().map(|agent| agent.0.clone()).unwrap_or_default();
    Shown { at_ms: decision.at.0, node, text: decision.text.clone() }
}

/// How many executors of an orphan are named.
const EXECUTORS_NAMED: usize = 100;

fn orphan(orphan: &Orphan) -> web::view::Orphan {
    let named = orphan.executors.iter().take(EXECUTORS_NAMED);
    web::view::Orphan {
        framework_id: orphan.framework.0.clone(),
        connected: orphan.connected,
        executors: orphan.executors.len(),
        on: named.map(|stray| (stray.agent.0.clone(), stray.executor.0.clone())).collect(),
        reason: orphan.words(),
    }
}

/// A node as it is shown; `fresh`: its executor is attached and was heard of lately.
fn node(state: &NodeState, heard: Option<&Heard>, fresh: bool) -> Node {
    let mut node = Node {
        agent_id: state.agent.0.clone(),
        host: state.host.clone(),
        coverage: state.coverage,
        cause: state.cause,
        listed: state.listed,
        reason: state.reason.clone(),
        since_ms: state.since.0,
        executor_id: state.executor.as_ref().map(|id| id.0.clone()),
        successor_id: state.successor.as_ref().map(|id| id.0.clone()),
        task_id: state.task.as_ref().map(|id| id.0.clone()),
        trail: state.trail.clone(),
        generation: state.generation.as_ref().map(|generation| generation.0.clone()),
        up_to_date: state.up_to_date,
        ..Node::default()
    };
    if let Some(heard) = heard {
        node.attached = fresh;
        node.trail.attached_ms = Some(heard.attached_at.0);
        node.trail.applied_ms = heard.applied_at.map(|at| at.0);
        node.revision = heard.revision;
        node.failures.clone_from(&heard.failures);
        node.docker.clone_from(&heard.report.docker);
        node.containers = Arc::clone(&heard.report.containers);
        node.pipelines = Arc::clone(&heard.report.pipelines);
        node.counters = heard.report.counters;
        node.resident_bytes = heard.report.resident_bytes;
        if fresh {
            node.events_per_second = heard.rate;
        } else if node.coverage == Coverage::Running {
            node.cause = Cause::NotAttached;
            node.reason =
                format!("{}, but is not attached: it works on with revision {}", node.reason, heard.revision);
        }
    } else if node.coverage == Coverage::Running {
        node.cause = Cause::NotAttached;
        node.reason = format!("{}, but has not attached yet", node.reason);
    }
    node
}

#[cfg(test)]
mod tests;
