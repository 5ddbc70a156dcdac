//! Puts together what the page shows: the core's nodes, what executors reported, and the documents.
use crate::control::NodeReport;
use crate::core::{Decision, NodeState};
use crate::ids::{ExecutorId, FrameworkId, Moment};
use crate::revisions::Published;
use config::document::{Key, Revision};
use std::collections::BTreeMap;
use std::time::Duration;
use web::view::{
    Applied, BackgroundTask, Container, ContainerState, Coverage, Decision as Shown, Failure, FileProblem,
    Node, Status, View,
};

/// An executor that was not heard of for so long counts as not attached.
const SILENCE: Duration = Duration::from_secs(30);
/// Rates are smoothed over about this long.
const SMOOTHING: Duration = Duration::from_secs(3);

/// What the executors say, by executor.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    by_executor: BTreeMap<ExecutorId, Heard>,
}

/// What one executor said.
#[derive(Debug)]
struct Heard {
    connection: u64,
    attached: bool,
    heard_at: Moment,
    report: NodeReport,
    reported_at: Option<Moment>,
    revision: Revision,
    failures: Vec<Failure>,
    rate: f64,
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
        let heard = self.by_executor.entry(executor.clone()).or_insert_with(|| Heard {
            connection,
            attached: true,
            heard_at: now,
            report: NodeReport::default(),
            reported_at: None,
            revision,
            failures: Vec::new(),
            rate: 0.0,
        });
        (heard.connection, heard.attached, heard.heard_at) = (connection, true, now);
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
        }
    }

    /// Forgets executors that are in no slot any more.
    pub(crate) fn keep(&mut self, nodes: &[NodeState]) {
        let alive: std::collections::BTreeSet<&ExecutorId> =
            nodes.iter().filter_map(|n| n.executor.as_ref()).collect();
        self.by_executor.retain(|executor, _| alive.contains(executor));
    }

    fn heard(&mut self, executor: &ExecutorId, connection: u64, now: Moment) -> Option<&mut Heard> {
        let heard = self.by_executor.get_mut(executor).filter(|heard| heard.connection == connection)?;
        heard.heard_at = now;
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
    pub(crate) master: Option<&'a str>,
    pub(crate) nodes: Vec<NodeState>,
    pub(crate) reports: &'a Reports,
    pub(crate) published: &'a Published,
    pub(crate) file_problems: Vec<FileProblem>,
    pub(crate) decisions: Vec<&'a Decision>,
    pub(crate) tasks: Vec<BackgroundTask>,
}

/// Builds the view.
pub(crate) fn build(material: Material<'_>) -> View {
    let published = material.published;
    let nodes: Vec<Node> = material.nodes.iter().map(|n| node(n, material.reports, material.now)).collect();
    let containers = || nodes.iter().flat_map(|node| &node.containers);
    let streams = |container: &&Container| container.state == ContainerState::Streaming;
    let status = Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        framework_id: material.framework.map(|id| id.0.clone()),
        master: material.master.map(str::to_owned),
        leader: None,
        epoch: material.epoch,
        phase: material.phase.to_owned(),
        detail: published.trouble.clone().unwrap_or_else(|| material.detail.to_owned()),
        writable: published.trouble.is_none(),
        revision: published.stored.fleet.revision,
        nodes_known: nodes.len(),
        nodes_covered: nodes.iter().filter(|node| node.coverage == Coverage::Running).count(),
        containers_streaming: containers().filter(streams).count(),
        containers: containers().count(),
        events_out: nodes.iter().map(|node| node.counters.events_out).sum(),
        events_per_second: nodes.iter().map(|node| node.events_per_second).sum(),
        dropped_lines: nodes.iter().map(|node| node.counters.dropped_lines).sum(),
        dead_letters: nodes.iter().map(|node| node.counters.dead_letters).sum(),
        tasks: material.tasks,
        decisions: material.decisions.into_iter().rev().map(shown).collect(),
    };
    let documents = published.stored.fleet.documents.clone();
    let applied = documents.iter().map(|(key, document)| {
        let problems = published.problems.get(key).cloned().unwrap_or_default();
        (key.clone(), applied(key, document.revision, &nodes, problems))
    });
    View { applied: applied.collect(), status, documents, file_problems: material.file_problems, nodes }
}

fn applied(
    key: &Key,
    revision: Revision,
    nodes: &[Node],
    problems: Vec<config::diagnostic::Diagnostic>,
) -> Applied {
    let mut applied = Applied { on: 0, of: nodes.len(), failures: Vec::new(), problems };
    for node in nodes {
        let failure = node.failures.iter().find(|failure| failure.key == *key);
        match failure {
            Some(failure) => applied.failures.push((node.host.clone(), failure.reason.clone())),
            None if node.coverage == Coverage::Running && node.revision >= revision => applied.on += 1,
            None => {}
        }
    }
    applied
}

fn shown(decision: &Decision) -> Shown {
    let node = decision.node.as_ref().map(|agent| agent.0.clone()).unwrap_or_default();
    Shown { at_ms: decision.at.0, node, text: decision.text.clone() }
}

fn node(state: &NodeState, reports: &Reports, now: Moment) -> Node {
    let mut node = Node {
        agent_id: state.agent.0.clone(),
        host: state.host.clone(),
        coverage: state.coverage,
        reason: state.reason.clone(),
        since_ms: state.since.0,
        executor_id: state.executor.as_ref().map(|id| id.0.clone()),
        task_id: state.task.as_ref().map(|id| id.0.clone()),
        ..Node::default()
    };
    if let Some(heard) = state.executor.as_ref().and_then(|executor| reports.by_executor.get(executor)) {
        let fresh = heard.attached && now.since(heard.heard_at) < SILENCE;
        node.attached = fresh;
        node.revision = heard.revision;
        node.failures.clone_from(&heard.failures);
        node.docker.clone_from(&heard.report.docker);
        node.containers.clone_from(&heard.report.containers);
        node.pipelines.clone_from(&heard.report.pipelines);
        node.counters = heard.report.counters;
        node.resident_bytes = heard.report.resident_bytes;
        if fresh {
            node.events_per_second = heard.rate;
        } else if node.coverage == Coverage::Running {
            node.reason =
                format!("{}, but is not attached: it works on with revision {}", node.reason, heard.revision);
        }
    } else if node.coverage == Coverage::Running {
        node.reason = format!("{}, but has not attached yet", node.reason);
    }
    node
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::document::{Document, Kind};
    use web::view::Counters;

    fn report(events_out: u64, revision: u64) -> NodeReport {
        NodeReport {
            revision: Revision(revision),
            counters: Counters { events_out, ..Counters::default() },
            ..NodeReport::default()
        }
    }

    fn state(host: &str, executor: &str) -> NodeState {
        NodeState {
            agent: format!("agent-of-{host}").as_str().into(),
            host: host.into(),
            coverage: Coverage::Running,
            reason: format!("executor {executor} runs"),
            since: Moment(1),
            executor: Some(executor.into()),
            task: None,
        }
    }

    fn view(nodes: Vec<NodeState>, reports: &Reports, published: &Published, now: Moment) -> View {
        build(Material {
            now,
            epoch: 0,
            phase: "subscribed",
            detail: "",
            framework: None,
            master: None,
            nodes,
            reports,
            published,
            file_problems: vec![],
            decisions: vec![],
            tasks: vec![],
        })
    }

    #[test]
    fn a_rate_settles_on_what_comes_and_falls_to_nothing_when_nothing_comes() {
        let (mut reports, executor) = (Reports::default(), ExecutorId::from("e"));
        let mut now = Moment(0);
        reports.attached(&executor, 1, Revision(0), now);
        for n in 0..20 {
            now = now.after(Duration::from_secs(1));
            reports.reported(&executor, 1, report(n * 1000, 0), now);
        }
        let published = Published::default();
        let rate = view(vec![state("h", "e")], &reports, &published, now).status.events_per_second;
        assert!((990.0..1010.0).contains(&rate), "{rate}");
        for _ in 0..30 {
            now = now.after(Duration::from_secs(1));
            reports.reported(&executor, 1, report(19_000, 0), now);
        }
        assert!(view(vec![state("h", "e")], &reports, &published, now).status.events_per_second < 1.0);
    }

    #[test]
    fn a_document_counts_as_applied_where_its_revision_runs_and_did_not_fail() {
        let key = Key { kind: Kind::Docker, name: "nginx".into() };
        let mut published = Published::default();
        let document = Document { text: String::new(), revision: Revision(5) };
        published.stored.fleet.documents.insert(key.clone(), document);
        let mut reports = Reports::default();
        let now = Moment(1000);
        for (executor, revision, failures) in [
            ("e1", 5, vec![]),
            ("e2", 4, vec![]),
            ("e3", 6, vec![Failure { key: key.clone(), reason: "no such path".into() }]),
        ] {
            reports.attached(&executor.into(), 1, Revision(0), now);
            reports.applied(&executor.into(), 1, (Revision(revision), failures), now);
        }
        let nodes = vec![state("h1", "e1"), state("h2", "e2"), state("h3", "e3"), state("h4", "e4")];
        let view = view(nodes, &reports, &published, now);
        let applied = &view.applied[&key];
        assert_eq!((applied.on, applied.of), (1, 4));
        assert_eq!(applied.failures, [("h3".to_owned(), "no such path".to_owned())]);
        assert_eq!(view.nodes[3].reason, "executor e4 runs, but has not attached yet");
    }

    #[test]
    fn only_the_newest_connection_of_an_executor_speaks_for_it() {
        let (mut reports, executor) = (Reports::default(), ExecutorId::from("e"));
        reports.attached(&executor, 1, Revision(0), Moment(0));
        reports.attached(&executor, 2, Revision(0), Moment(10));
        assert!(!reports.detached(&executor, 1));
        reports.reported(&executor, 1, report(7, 0), Moment(20));
        let view = view(vec![state("h", "e")], &reports, &Published::default(), Moment(20));
        assert!(view.nodes[0].attached);
        assert_eq!(view.status.events_out, 0);
    }

    #[test]
    fn an_executor_that_falls_silent_is_shown_as_not_attached() {
        let (mut reports, executor) = (Reports::default(), ExecutorId::from("e"));
        reports.attached(&executor, 1, Revision(3), Moment(0));
        let view = view(vec![state("h", "e")], &reports, &Published::default(), Moment(31_000));
        assert!(!view.nodes[0].attached);
        assert_eq!(view.nodes[0].reason, "executor e runs, but is not attached: it works on with revision 3");
    }
}
