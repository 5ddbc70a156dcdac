//! Views of nodes that come, go, report and fall silent.
use super::*;
use crate::core::effects::Call;
use config::document::Kind;
use proptest::prelude::*;
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
        listed: true,
        coverage: Coverage::Running,
        cause: Cause::Runs,
        reason: format!("executor {executor} runs"),
        since: Moment(1),
        executor: Some(executor.into()),
        successor: None,
        task: None,
        trail: web::view::Trail::default(),
        generation: None,
        up_to_date: false,
    }
}

fn view(nodes: Vec<NodeState>, reports: &Reports, published: &Published, now: Moment) -> View {
    Views::default().build(material(nodes, reports, &Arc::new(published.clone()), now))
}

fn material<'a>(
    nodes: Vec<NodeState>,
    reports: &'a Reports,
    published: &'a Arc<Published>,
    now: Moment,
) -> Material<'a> {
    Material {
        now,
        epoch: 0,
        phase: "subscribed",
        detail: "",
        framework: None,
        rollout: Rollouts::default(),
        name: "logherd",
        reserved: 0,
        master: None,
        listing: Listed { proven: Listing { proven: true, listed: nodes.len() }, words: "" },
        orphans: &[],
        reservation_problems: Vec::new(),
        all_covered_at: now,
        nodes,
        reports,
        published,
        file_problems: vec![],
        decisions: vec![],
        tasks: vec![],
        sent: Sent::default(),
    }
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
    assert_eq!(applied.failed, 1);
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

#[test]
fn a_node_of_which_nothing_is_new_is_shared_with_the_view_before() {
    let (mut reports, mut views) = (Reports::default(), Views::default());
    let published = Arc::new(Published::default());
    let nodes = || vec![state("h1", "e1"), state("h2", "e2")];
    let at = |seconds: u64| Moment(seconds * 1000);
    for executor in ["e1", "e2"] {
        reports.attached(&executor.into(), 1, Revision(0), at(0));
    }
    let first = views.build(material(nodes(), &reports, &published, at(1)));
    reports.reported(&"e2".into(), 1, report(7, 0), at(2));
    let second = views.build(material(nodes(), &reports, &published, at(2)));
    assert!(Arc::ptr_eq(&first.nodes[0], &second.nodes[0]));
    assert_eq!(second.nodes[1].counters.events_out, 7);
    assert!(Arc::ptr_eq(&first.documents, &second.documents));
    // Silence is news, too.
    assert!(!views.build(material(nodes(), &reports, &published, at(31))).nodes[0].attached);
}

#[test]
fn of_thousands_of_nodes_that_fail_alike_a_hundred_are_named() {
    let key = Key { kind: Kind::Docker, name: "nginx".into() };
    let mut published = Published::default();
    let document = Document { text: String::new(), revision: Revision(5) };
    published.stored.fleet.documents.insert(key.clone(), document);
    let (mut reports, mut nodes) = (Reports::default(), Vec::new());
    for n in 0..1000 {
        nodes.push(state(&format!("h{n:04}"), &format!("e{n}")));
        let executor = ExecutorId(format!("e{n}"));
        reports.attached(&executor, 1, Revision(5), Moment(0));
        let failures = vec![Failure { key: key.clone(), reason: "no such path".into() }];
        reports.applied(&executor, 1, (Revision(5), failures), Moment(0));
    }
    let applied = &view(nodes, &reports, &published, Moment(1)).applied[&key];
    assert_eq!((applied.on, applied.failed, applied.failures.len()), (0, 1000, 100));
}

proptest! {
    /// Nodes come, go and report in any order: a view made out of the one before is the view made anew.
    #[test]
    fn a_view_out_of_the_one_before_is_the_same_as_one_made_anew(
        steps in prop::collection::vec((0u64..6, 0u8..4, 1u64..40), 1..40)
    ) {
        let (mut reports, mut views) = (Reports::default(), Views::default());
        let published = Arc::new(Published::default());
        let mut nodes: BTreeMap<u64, NodeState> = BTreeMap::new();
        let mut now = Moment(0);
        for (n, what, seconds) in steps {
            now = now.after(Duration::from_secs(seconds));
            let executor = ExecutorId(format!("e{n}"));
            match what {
                0 => drop(nodes.insert(n, state(&format!("h{n}"), &executor.0))),
                1 => drop(nodes.remove(&n)),
                2 => reports.attached(&executor, n, Revision(n), now),
                _ => reports.reported(&executor, n, report(now.0, n), now),
            }
            let states: Vec<NodeState> = nodes.values().cloned().collect();
            reports.keep(&states);
            let next = views.build(material(states.clone(), &reports, &published, now));
            let anew = Views::default().build(material(states, &reports, &published, now));
            prop_assert_eq!(format!("{next:?}"), format!("{anew:?}"));
        }
    }
}

#[test]
fn what_was_asked_of_mesos_is_counted_by_call_and_by_offer() {
    let (published, reports) = (Arc::new(Published::default()), Reports::default());
    let mut sent = Sent::default();
    sent.count(&Call::Revive);
    for offers in [2, 3] {
        let offers = (0..offers).map(|n| format!("o{n}").as_str().into()).collect();
        sent.count(&Call::Decline { offers, refuse: Duration::ZERO });
    }
    let material = Material { sent, ..material(vec![], &reports, &published, Moment(0)) };
    let status = Views::default().build(material).status;
    assert_eq!(status.calls, BTreeMap::from([("decline", 2), ("revive", 1)]));
    assert_eq!((status.offers_accepted, status.offers_declined), (0, 5));
}
