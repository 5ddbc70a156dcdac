//! Shows single decisions of the core: what is stored, called and said for one thing that happened.
use super::cluster::{Agent, Offer, Place, Standing, TaskState, Update};
use super::effects::{Call, Change, Effect, Phase, Ticket};
use super::generation::{Program, Spec};
use super::resources::{Needs, Piece, Reserved, Thousandths};
use super::{Claim, Core, NotAdmitted, OrderId, Placement, Rules};
use crate::ids::{AgentId, ExecutorId, FrameworkId, Moment, OfferId, TaskId};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use web::order::{Order, OrderDone, OrderRefused};
use web::view::Coverage;

pub(super) const NOW: Moment = Moment(1_000_000);

pub(super) fn rules() -> Rules {
    Rules {
        needs: Needs::new(0.2, 128.0, 0.0),
        claim: Claim { roles: vec!["logherd".into()], framework: "logherd".into(), ..Claim::default() },
        placement: Placement::default(),
        control: "127.0.0.1:9094".into(),
        maintenance_lead: Duration::from_secs(300),
        stays: false,
        grace: Duration::from_secs(30),
        epoch: 3,
        seed: [7; 32],
        spec: spec("1"),
        settle: Duration::from_secs(10),
        overlap: Duration::ZERO,
        upgrade_by_itself: false,
    }
}

/// What the settings of that version make.
pub(super) fn spec(version: &str) -> Arc<Spec> {
    Arc::new(Spec {
        program: Program::OnNode("/opt/logherd".into()),
        version: version.to_owned(),
        resources: Needs::new(0.2, 128.0, 0.0).executor,
        arguments: Vec::new(),
        mounts: Vec::new(),
        user: "root".to_owned(),
        grace: Duration::from_secs(30),
        authority: None,
    })
}

pub(super) fn offer(id: &str, agent: &str, cpus: f64) -> Offer {
    let piece = |name: &str, amount| Piece {
        name: name.into(),
        amount: Thousandths::of(amount),
        ranges: vec![],
        reserved: Reserved::No,
        wire: Bytes::new(),
    };
    Offer {
        id: id.into(),
        agent: agent.into(),
        place: Place { host: format!("host-of-{agent}"), ..Place::default() },
        unavailability: None,
        role: "logherd".into(),
        executors: vec![],
        pieces: vec![piece("cpus", cpus), piece("mem", 1024.0)],
    }
}

pub(super) fn update(task: &TaskId, agent: &str, state: TaskState, uuid: Option<u8>) -> Update {
    Update {
        task: task.clone(),
        agent: Some(agent.into()),
        executor: None,
        state,
        reason: String::new(),
        message: String::new(),
        waits: false,
        uuid: uuid.map(|byte| vec![byte; 16]),
    }
}

/// An agent as the master lists it.
pub(super) fn agent(id: &str, standing: Option<Standing>) -> Agent {
    Agent {
        id: id.into(),
        place: Place { host: format!("host-of-{id}"), ..Place::default() },
        ip: String::new(),
        standing: standing.unwrap_or_default(),
        version: "1.12.0".into(),
        multi_role: true,
        shares: vec![],
        reserved_by: vec![],
    }
}

/// A registered core that is subscribed, with nothing left to do.
pub(super) fn ready() -> Core {
    ready_with(rules())
}

/// The same with rules of its own.
pub(super) fn ready_with(rules: Rules) -> Core {
    let mut core = Core::new(rules, Some("f-0000".into()), vec![], NOW);
    core.subscribed(NOW, "f-0000".into());
    core.take_effects();
    core
}

pub(super) fn saves(effects: &[Effect]) -> Vec<(Ticket, Change)> {
    let of = |e: &Effect| {
        if let Effect::Save(ticket, change) = e { Some((*ticket, change.clone())) } else { None }
    };
    effects.iter().filter_map(of).collect()
}

pub(super) fn calls(effects: &[Effect]) -> Vec<Call> {
    let of = |e: &Effect| if let Effect::Call(call) = e { Some(call.clone()) } else { None };
    effects.iter().filter_map(of).collect()
}

/// Offers, stores the intent, and gives the task, the executor and the token of the launch that follows.
pub(super) fn launch(core: &mut Core, agent: &str, now: Moment) -> (TaskId, ExecutorId, String) {
    core.offered(now, vec![offer(&format!("o-{agent}-{}", now.0), agent, 4.0)]);
    let (ticket, _) = saves(&core.take_effects()).remove(0);
    core.saved(now, ticket, Ok(()));
    match calls(&core.take_effects()).remove(0) {
        Call::Accept { launch, token, .. } => (launch.task, launch.executor, token),
        other => panic!("expected ACCEPT, got {other:?}"),
    }
}

pub(super) fn run(core: &mut Core, task: &TaskId, agent: &str, now: Moment) {
    core.updated(now, &update(task, agent, TaskState::Running, Some(1)));
    for (ticket, _) in saves(&core.take_effects()) {
        core.saved(now, ticket, Ok(()));
    }
    core.take_effects();
}

#[test]
fn an_intent_is_stored_before_the_offer_is_accepted() {
    let mut core = ready();
    core.offered(NOW, vec![offer("o1", "a", 4.0)]);
    let effects = core.take_effects();
    assert!(calls(&effects).is_empty());
    let (ticket, change) = saves(&effects).remove(0);
    assert!(matches!(change, Change::Launch(record) if record.phase == Phase::Intended));
    core.saved(NOW, ticket, Ok(()));
    assert!(
        matches!(&calls(&core.take_effects())[..], [Call::Accept { offers, .. }] if offers == &[OfferId::from("o1")])
    );
}

#[test]
fn an_intent_that_cannot_be_stored_launches_nothing_and_says_so() {
    let mut core = ready();
    core.offered(NOW, vec![offer("o1", "a", 4.0)]);
    let (ticket, _) = saves(&core.take_effects()).remove(0);
    core.saved(NOW, ticket, Err("disk full".into()));
    let effects = core.take_effects();
    assert!(matches!(&calls(&effects)[..], [Call::Decline { .. }]));
    assert!(matches!(&saves(&effects)[..], [(_, Change::Ended(_))]));
    let node = core.nodes(NOW).remove(0);
    assert_eq!(node.coverage, Coverage::NotOffered);
    assert_eq!(node.reason, "not launched: the intent could not be stored: disk full");
}

#[test]
fn an_offer_that_is_rescinded_while_its_intent_is_stored_is_not_accepted() {
    let mut core = ready();
    core.offered(NOW, vec![offer("o1", "a", 4.0)]);
    let (ticket, _) = saves(&core.take_effects()).remove(0);
    core.rescinded(&"o1".into());
    core.saved(NOW, ticket, Ok(()));
    let effects = core.take_effects();
    assert!(calls(&effects).is_empty());
    assert!(matches!(&saves(&effects)[..], [(_, Change::Ended(_))]));
}

#[test]
fn a_node_whose_offer_was_withdrawn_is_soon_asked_for_again_since_others_were_declined_for_it() {
    let mut core = ready();
    core.offered(NOW, vec![offer("too-small", "b", 0.1)]);
    let waited = NOW.after(Duration::from_secs(3600));
    core.tick(waited);
    core.take_effects();
    core.offered(waited, vec![offer("o1", "a", 4.0)]);
    let (ticket, _) = saves(&core.take_effects()).remove(0);
    core.offered(waited, vec![offer("o2", "a", 4.0)]);
    core.rescinded(&"o1".into());
    core.saved(waited, ticket, Ok(()));
    core.take_effects();
    core.tick(waited.after(Duration::from_secs(2)));
    assert!(calls(&core.take_effects()).contains(&Call::Revive));
}

#[test]
fn a_launch_that_is_over_is_not_asked_about_while_its_end_cannot_be_stored() {
    let mut core = ready();
    let (task, ..) = launch(&mut core, "a", NOW);
    core.updated(NOW, &update(&task, "a", TaskState::Dropped, None));
    core.take_effects();
    core.tick(NOW.after(Duration::from_secs(61)));
    assert!(!calls(&core.take_effects()).iter().any(|call| matches!(call, Call::Reconcile(_))));
}

#[test]
fn an_offer_that_is_too_small_is_declined_with_what_it_lacks() {
    let mut core = ready();
    core.offered(NOW, vec![offer("o1", "a", 0.1)]);
    assert!(
        matches!(&calls(&core.take_effects())[..], [Call::Decline { refuse, .. }] if refuse.as_secs() == 600)
    );
    assert_eq!(core.nodes(NOW)[0].reason, "declined: offer has 0.1 cpus, the executor needs 0.21");
    assert_eq!(
        core.decisions().last().unwrap().text,
        "declined: offer has 0.1 cpus, the executor needs 0.21"
    );
}

#[test]
fn two_offers_of_one_agent_are_used_together() {
    let mut core = ready();
    core.offered(NOW, vec![offer("o1", "a", 0.15), offer("o2", "a", 0.15)]);
    let (ticket, _) = saves(&core.take_effects()).remove(0);
    core.saved(NOW, ticket, Ok(()));
    assert!(matches!(&calls(&core.take_effects())[..], [Call::Accept { offers, .. }] if offers.len() == 2));
}

#[test]
fn a_second_offer_of_a_covered_agent_is_declined_for_long() {
    let mut core = ready();
    launch(&mut core, "a", NOW);
    core.offered(NOW, vec![offer("o2", "a", 4.0)]);
    let effects = core.take_effects();
    assert!(saves(&effects).is_empty());
    assert!(matches!(&calls(&effects)[..], [Call::Decline { refuse, .. }] if refuse.as_secs() == 3600));
}

#[test]
fn an_executor_that_no_launch_knows_is_ended_beside_one_that_runs() {
    let mut core = ready();
    let (task, executor, _) = launch(&mut core, "a", NOW);
    run(&mut core, &task, "a", NOW);
    let executors = vec![executor, "logherd-S0-9-old".into()];
    core.offered(NOW, vec![Offer { executors, ..offer("o2", "a", 4.0) }]);
    let called = calls(&core.take_effects());
    let [Call::Shutdown(stranger, _), Call::Decline { refuse, .. }] = &called[..] else {
        panic!("{called:?}")
    };
    assert_eq!((stranger.0.as_str(), refuse.as_secs()), ("logherd-S0-9-old", 5));
}

#[test]
fn an_executor_that_no_launch_knows_is_ended_before_another_one_starts() {
    let mut core = ready();
    let mut with_stranger = offer("o1", "a", 4.0);
    with_stranger.executors = vec!["logherd-S0-9-old".into()];
    core.offered(NOW, vec![with_stranger]);
    let effects = core.take_effects();
    assert!(saves(&effects).is_empty());
    assert!(matches!(&calls(&effects)[..], [Call::Shutdown(..), Call::Decline { .. }]));
}

#[test]
fn an_update_is_acknowledged_only_after_it_is_stored_and_only_if_it_has_a_uuid() {
    let mut core = ready();
    let (task, ..) = launch(&mut core, "a", NOW);
    core.updated(NOW, &update(&task, "a", TaskState::Running, Some(1)));
    core.updated(NOW, &update(&task, "a", TaskState::Running, Some(1)));
    core.updated(NOW, &update(&task, "a", TaskState::Running, None));
    let effects = core.take_effects();
    assert!(calls(&effects).is_empty());
    let stored = saves(&effects);
    assert_eq!(stored.len(), 1);
    core.saved(NOW, stored[0].0, Ok(()));
    assert_eq!(calls(&core.take_effects()).len(), 2);
    assert_eq!(core.nodes(NOW)[0].coverage, Coverage::Running);
}

#[test]
fn an_update_that_could_not_be_stored_is_acknowledged_when_it_comes_again() {
    let mut core = ready();
    let (task, ..) = launch(&mut core, "a", NOW);
    core.updated(NOW, &update(&task, "a", TaskState::Running, Some(1)));
    let (ticket, _) = saves(&core.take_effects()).remove(0);
    core.saved(NOW, ticket, Err("no quorum".into()));
    assert!(core.take_effects().is_empty());
    core.updated(NOW, &update(&task, "a", TaskState::Running, Some(1)));
    let effects = core.take_effects();
    assert!(calls(&effects).is_empty());
    core.saved(NOW, saves(&effects)[0].0, Ok(()));
    assert!(matches!(&calls(&core.take_effects())[..], [Call::Acknowledge { .. }]));
}

#[test]
fn an_executor_that_ends_is_replaced_after_a_pause_that_grows() {
    let mut core = ready();
    let mut now = NOW;
    let mut pauses = Vec::new();
    for _ in 0..4 {
        let (task, ..) = launch(&mut core, "a", now);
        run(&mut core, &task, "a", now);
        core.updated(now, &update(&task, "a", TaskState::Failed, Some(2)));
        for (ticket, change) in saves(&core.take_effects()) {
            assert_eq!(change, Change::Ended(task.clone()));
            core.saved(now, ticket, Ok(()));
        }
        assert!(matches!(&calls(&core.take_effects())[..], [Call::Acknowledge { .. }]));
        core.offered(now, vec![offer("too-soon", "a", 4.0)]);
        match &calls(&core.take_effects())[..] {
            [Call::Decline { refuse, .. }] => pauses.push(*refuse),
            other => panic!("expected DECLINE, got {other:?}"),
        }
        assert_eq!(core.nodes(now)[0].coverage, Coverage::BackingOff);
        now = now.after(Duration::from_secs(20));
    }
    for (pause, full_ms) in pauses.iter().zip([1000, 2000, 4000, 8000]) {
        let ms = pause.as_millis();
        assert!(ms >= full_ms / 2 && ms <= full_ms, "{pauses:?}");
    }
}

#[test]
fn an_executor_that_was_told_to_end_does_not_make_its_node_wait_longer() {
    let mut core = ready();
    let mut now = NOW;
    for _ in 0..3 {
        let (task, ..) = launch(&mut core, "a", now);
        run(&mut core, &task, "a", now);
        core.updated(now, &update(&task, "a", TaskState::Killed, Some(2)));
        for (ticket, _) in saves(&core.take_effects()) {
            core.saved(now, ticket, Ok(()));
        }
        core.take_effects();
        now = now.after(Duration::from_secs(1));
    }
}

#[test]
fn a_launch_of_an_earlier_scheduler_goes_on_when_mesos_says_that_it_runs() {
    let mut before = ready();
    let (task, executor, token) = launch(&mut before, "a", NOW);
    before.updated(NOW, &update(&task, "a", TaskState::Running, Some(1)));
    let Change::Launch(record) = saves(&before.take_effects()).remove(0).1 else {
        panic!("a launch is stored")
    };
    let mut core = Core::new(rules(), Some("f-0000".into()), vec![record], NOW);
    assert_eq!(core.nodes(NOW)[0].coverage, Coverage::Launching);
    core.subscribed(NOW, "f-0000".into());
    core.updated(NOW, &update(&task, "a", TaskState::Running, None));
    assert_eq!(core.nodes(NOW)[0].coverage, Coverage::Running);
    assert_eq!(core.admit("f-0000", &executor, "a", &token), Ok("a".into()));
}

#[test]
fn of_two_launches_that_a_crash_left_for_one_agent_neither_frees_the_slot_of_the_other() {
    let (mut before, mut records) = (ready(), Vec::new());
    for at in [NOW, NOW.after(Duration::from_secs(20))] {
        before.offered(at, vec![offer(&format!("o{}", at.0), "a", 4.0)]);
        let (ticket, change) = saves(&before.take_effects()).remove(0);
        let Change::Launch(record) = change else { panic!("{change:?}") };
        before.saved(at, ticket, Ok(()));
        before.updated(at, &update(&record.task, "a", TaskState::Failed, None));
        before.take_effects();
        records.push(record);
    }
    for over in 0..2 {
        let mut core = Core::new(rules(), Some("f-0000".into()), records.clone(), NOW);
        core.subscribed(NOW, "f-0000".into());
        core.take_effects();
        core.updated(NOW, &update(&records[1 - over].task, "a", TaskState::Running, None));
        core.updated(NOW, &update(&records[over].task, "a", TaskState::Gone, None));
        assert_eq!(core.nodes(NOW)[0].coverage, Coverage::Running);
        core.take_effects();
        let runs = Offer { executors: vec![records[1 - over].executor.clone()], ..offer("o9", "a", 4.0) };
        core.offered(NOW, vec![runs]);
        assert!(matches!(&calls(&core.take_effects())[..], [Call::Decline { .. }]), "the other one is ended");
    }
}

#[test]
fn an_unknown_task_that_lives_is_acknowledged_and_killed() {
    let mut core = ready();
    core.updated(NOW, &update(&"stranger".into(), "a", TaskState::Running, Some(3)));
    assert!(matches!(&calls(&core.take_effects())[..], [Call::Acknowledge { .. }, Call::Kill(..)]));
    core.updated(NOW, &update(&"stranger".into(), "a", TaskState::Killed, Some(4)));
    assert!(matches!(&calls(&core.take_effects())[..], [Call::Acknowledge { .. }]));
}

#[test]
fn an_unknown_task_that_cannot_be_reached_is_killed_when_it_is_back_and_not_before() {
    let mut core = ready();
    core.updated(NOW, &update(&"stranger".into(), "a", TaskState::Unreachable, None));
    assert!(core.take_effects().is_empty(), "the master would answer with the same update, for ever");
    core.updated(NOW, &update(&"stranger".into(), "a", TaskState::Running, None));
    assert!(matches!(&calls(&core.take_effects())[..], [Call::Kill(..)]));
}

#[test]
fn a_task_that_was_reported_lost_and_comes_back_is_killed_even_while_its_end_is_stored() {
    let mut core = ready();
    let (task, ..) = launch(&mut core, "a", NOW);
    core.updated(NOW, &update(&task, "a", TaskState::Lost, None));
    assert!(calls(&core.take_effects()).is_empty());
    core.updated(NOW, &update(&task, "a", TaskState::Running, None));
    assert!(matches!(&calls(&core.take_effects())[..], [Call::Kill(..)]));
}

#[test]
fn an_unreachable_agent_keeps_its_slot_until_its_executor_is_back() {
    let mut core = ready();
    let (task, ..) = launch(&mut core, "a", NOW);
    run(&mut core, &task, "a", NOW);
    core.updated(NOW, &update(&task, "a", TaskState::Unreachable, None));
    assert_eq!(core.nodes(NOW)[0].coverage, Coverage::Unreachable);
    core.take_effects();
    core.offered(NOW, vec![offer("o2", "a", 4.0)]);
    assert!(matches!(&calls(&core.take_effects())[..], [Call::Decline { .. }]));
    core.updated(NOW, &update(&task, "a", TaskState::Running, None));
    assert_eq!(core.nodes(NOW)[0].coverage, Coverage::Running);
}

#[test]
fn an_agent_that_was_marked_gone_is_forgotten() {
    let mut core = ready();
    let (task, ..) = launch(&mut core, "a", NOW);
    core.updated(NOW, &update(&task, "a", TaskState::GoneByOperator, None));
    assert!(core.nodes(NOW).is_empty());
}

#[test]
fn a_silent_launch_is_asked_about_and_relaunched_only_on_a_definite_answer() {
    for answer in [TaskState::Gone, TaskState::Unknown] {
        let mut core = ready();
        let (task, ..) = launch(&mut core, "a", NOW);
        let later = NOW.after(Duration::from_secs(61));
        core.tick(later);
        assert!(
            calls(&core.take_effects())
                .iter()
                .any(|c| matches!(c, Call::Reconcile(tasks) if tasks.len() == 1))
        );
        core.offered(later, vec![offer("o2", "a", 4.0)]);
        assert!(matches!(&calls(&core.take_effects())[..], [Call::Decline { .. }]));
        core.updated(later, &update(&task, "a", answer, None));
        for (ticket, _) in saves(&core.take_effects()) {
            core.saved(later, ticket, Ok(()));
        }
        launch(&mut core, "a", later.after(Duration::from_secs(2)));
    }
}

#[test]
fn reconciliation_asks_again_for_what_was_not_answered_and_offers_do_not_wait_for_it() {
    let mut core = ready();
    let (task, ..) = launch(&mut core, "a", NOW);
    let (other, ..) = launch(&mut core, "b", NOW);
    core.disconnected(NOW);
    core.subscribed(NOW, "f-0000".into());
    let asked = calls(&core.take_effects());
    assert!(asked.iter().any(|c| matches!(c, Call::Reconcile(tasks) if tasks.len() == 2)));
    assert!(asked.iter().any(|c| matches!(c, Call::Reconcile(tasks) if tasks.is_empty())));
    launch(&mut core, "c", NOW);
    core.updated(NOW, &update(&task, "a", TaskState::Running, None));
    core.take_effects();
    core.tick(NOW.after(Duration::from_secs(7)));
    let again: Vec<_> = calls(&core.take_effects())
        .into_iter()
        .filter_map(|c| if let Call::Reconcile(tasks) = c { Some(tasks) } else { None })
        .collect();
    assert_eq!(again, [vec![(other, AgentId::from("b"))]]);
}

#[test]
fn offers_wait_until_a_new_framework_id_is_stored() {
    let mut core = Core::new(rules(), None, vec![], NOW);
    core.subscribed(NOW, "f-0001".into());
    let (ticket, change) = saves(&core.take_effects()).remove(0);
    assert_eq!(change, Change::Framework(Some("f-0001".into())));
    core.offered(NOW, vec![offer("o1", "a", 4.0)]);
    assert!(core.take_effects().is_empty());
    core.saved(NOW, ticket, Ok(()));
    assert!(matches!(&saves(&core.take_effects())[..], [(_, Change::Launch(_))]));
}

#[test]
fn a_removed_framework_is_forgotten_durably_before_another_one_is_registered() {
    let mut core = ready();
    let (task, ..) = launch(&mut core, "a", NOW);
    core.removed(NOW);
    let effects = core.take_effects();
    let stored = saves(&effects);
    assert_eq!(stored.len(), effects.len());
    assert_eq!(stored[0].1, Change::Ended(task));
    assert_eq!(stored[1].1, Change::Framework(None));
    core.saved(NOW, stored[0].0, Ok(()));
    assert!(core.take_effects().is_empty());
    core.saved(NOW, stored[1].0, Ok(()));
    assert_eq!(core.take_effects(), [Effect::RegisterAnew]);
    assert_eq!(core.framework(), None::<&FrameworkId>);
}

#[test]
fn a_removed_framework_is_forgotten_though_its_own_id_is_stored_late_and_the_store_fails_once() {
    let mut core = Core::new(rules(), None, vec![], NOW);
    core.subscribed(NOW, "f-0001".into());
    let late = saves(&core.take_effects()).remove(0).0;
    core.removed(NOW);
    let forgotten = saves(&core.take_effects()).remove(0).0;
    core.saved(NOW, late, Ok(()));
    core.saved(NOW, forgotten, Err("no quorum".into()));
    let later = NOW.after(Duration::from_secs(6));
    core.tick(later);
    let (again, change) = saves(&core.take_effects()).remove(0);
    assert_eq!(change, Change::Framework(None));
    core.saved(later, again, Ok(()));
    assert_eq!(core.take_effects(), [Effect::RegisterAnew]);
    core.tick(later.after(Duration::from_secs(60)));
    assert!(core.take_effects().is_empty(), "it is forgotten once");
}

#[test]
fn only_the_executor_with_the_token_of_its_launch_may_attach() {
    let mut core = ready();
    let (_, executor, token) = launch(&mut core, "a", NOW);
    assert_eq!(core.admit("f-0000", &executor, "a", &token), Ok("a".into()));
    assert_eq!(core.admit("f-0000", &executor, "a", "guess"), Err(NotAdmitted::WrongToken(executor.clone())));
    assert_eq!(core.admit("f-0000", &executor, "b", &token), Err(NotAdmitted::WrongToken(executor.clone())));
    assert_eq!(
        core.admit("f-0009", &executor, "a", &token),
        Err(NotAdmitted::OtherFramework("f-0009".into()))
    );
    assert_eq!(core.admit("f-0000", &"x".into(), "a", &token), Err(NotAdmitted::Unknown("x".into())));
}

#[test]
fn an_executor_that_attaches_nowhere_is_told_the_address_even_if_the_store_says_that_it_knows_it() {
    let mut core = ready();
    let (task, executor, _) = launch(&mut core, "a", NOW);
    core.updated(NOW, &update(&task, "a", TaskState::Running, None));
    let told = |core: &mut Core, seconds| {
        core.tick(NOW.after(Duration::from_secs(seconds)));
        calls(&core.take_effects()).iter().filter(|call| matches!(call, Call::Message { .. })).count()
    };
    assert_eq!((told(&mut core, 1), told(&mut core, 30), told(&mut core, 62)), (0, 0, 1));
    core.attached(&executor, true);
    assert_eq!(told(&mut core, 200), 0);
    core.attached(&executor, false);
    assert_eq!((told(&mut core, 210), told(&mut core, 240), told(&mut core, 271)), (0, 0, 1));
}

#[test]
fn executors_that_know_an_old_control_address_are_told_the_new_one_until_they_attach() {
    let mut before = ready();
    let (task, executor, token) = launch(&mut before, "a", NOW);
    before.updated(NOW, &update(&task, "a", TaskState::Running, Some(1)));
    let record = saves(&before.take_effects())
        .into_iter()
        .find_map(|(_, change)| if let Change::Launch(record) = change { Some(record) } else { None })
        .unwrap();
    let moved = Rules { control: "127.0.0.1:7777".into(), ..rules() };
    let mut core = Core::new(moved, Some("f-0000".into()), vec![record], NOW);
    core.subscribed(NOW, "f-0000".into());
    core.take_effects();
    core.tick(NOW);
    let told = calls(&core.take_effects());
    let [Call::Message { data, .. }] = &told[..] else { panic!("{told:?}") };
    let said = proto::announcement::read(data, &token, &executor.0).unwrap();
    assert_eq!((said.control.as_str(), said.epoch), ("127.0.0.1:7777", 3));
    core.attached(&executor, true);
    assert!(
        matches!(&saves(&core.take_effects())[..], [(_, Change::Launch(r))] if r.control == "127.0.0.1:7777")
    );
    core.tick(NOW.after(Duration::from_secs(60)));
    assert!(!calls(&core.take_effects()).iter().any(|c| matches!(c, Call::Message { .. })));
}

#[test]
fn an_agent_that_is_drained_says_so_and_is_not_waited_for() {
    let mut core = ready();
    core.agents_listed(NOW, vec![agent("a", Some(Standing::Draining))]);
    assert_eq!(core.nodes(NOW)[0].reason, "an operator drains the agent; nothing of it is offered");
    core.agents_listed(NOW, vec![]);
    assert!(core.nodes(NOW).is_empty());
}

#[test]
fn data_that_end_with_sandboxes_are_warned_of_once() {
    let mut core = ready();
    for agent in ["a", "b"] {
        core.keeps_data_in_sandbox(NOW, &agent.into());
    }
    let said: Vec<_> = core.decisions().map(|decision| (decision.node.clone(), &decision.text)).collect();
    assert_eq!(said.len(), 1);
    assert_eq!(said[0].0, Some("a".into()));
    assert!(said[0].1.contains("--executor-data-dir"), "{}", said[0].1);
}

#[test]
fn an_order_to_resume_ends_the_pauses_after_failures_and_is_refused_where_there_are_none() {
    let mut core = ready();
    core.ordered(NOW, OrderId(1), Order::Resume);
    assert!(matches!(&core.take_effects()[..], [Effect::Answer(OrderId(1), Err(OrderRefused::NotNow(_)))]));
    let (task, ..) = launch(&mut core, "a", NOW);
    core.updated(NOW, &update(&task, "a", TaskState::Error, None));
    for (ticket, _) in saves(&core.take_effects()) {
        core.saved(NOW, ticket, Ok(()));
    }
    core.ordered(NOW, OrderId(2), Order::Resume);
    assert!(matches!(&core.take_effects()[..], [Effect::Answer(OrderId(2), Ok(OrderDone::Done(_)))]));
    launch(&mut core, "a", NOW);
}

/// A launch that another scheduler takes up, at another address and before the executor has said that it runs.
fn taken_up_starting(waits: bool) -> (Core, TaskId, ExecutorId, String) {
    let mut before = ready();
    before.offered(NOW, vec![offer("o1", "a", 4.0)]);
    let (ticket, change) = saves(&before.take_effects()).remove(0);
    let Change::Launch(record) = change else { panic!("{change:?}") };
    before.saved(NOW, ticket, Ok(()));
    let Call::Accept { token, .. } = calls(&before.take_effects()).remove(0) else { panic!("no ACCEPT") };
    let (task, executor) = (record.task.clone(), record.executor.clone());
    let moved = Rules { control: "127.0.0.1:7777".into(), ..rules() };
    let mut core = Core::new(moved, Some("f-0000".into()), vec![record], NOW);
    core.subscribed(NOW, "f-0000".into());
    core.updated(NOW, &Update { waits, ..update(&task, "a", TaskState::Starting, None) });
    core.take_effects();
    (core, task, executor, token)
}

#[test]
fn an_executor_that_has_no_assignment_yet_and_so_does_not_run_is_told_where_the_new_leader_is() {
    let (mut core, task, executor, token) = taken_up_starting(false);
    core.tick(NOW);
    let told = calls(&core.take_effects());
    let [Call::Message { data, .. }] = &told[..] else { panic!("{told:?}") };
    assert_eq!(proto::announcement::read(data, &token, &executor.0).unwrap().control, "127.0.0.1:7777");
    core.attached(&executor, true);
    core.updated(NOW, &update(&task, "a", TaskState::Running, None));
    core.take_effects();
    core.tick(NOW.after(Duration::from_secs(100)));
    assert!(!calls(&core.take_effects()).iter().any(|call| matches!(call, Call::Message { .. })));
}

#[test]
fn an_executor_that_waits_for_its_data_is_told_the_new_address_and_not_every_few_seconds() {
    let (mut core, ..) = taken_up_starting(true);
    let told = (0..60).map(|second| {
        core.tick(NOW.after(Duration::from_secs(second)));
        calls(&core.take_effects()).iter().filter(|call| matches!(call, Call::Message { .. })).count()
    });
    assert_eq!(told.sum::<usize>(), 1);
}

#[test]
fn a_launch_that_starts_for_long_and_is_not_attached_says_so() {
    let (mut core, ..) = taken_up_starting(false);
    core.tick(NOW.after(Duration::from_secs(61)));
    let said = &core.decisions().last().unwrap().text;
    assert!(said.contains("still starts, 61 s after its launch: it is not attached"), "{said}");
}

#[test]
fn while_calls_wait_executors_are_told_an_address_only_as_far_as_there_is_room_and_each_in_turn() {
    let mut before = ready();
    let mut records = Vec::new();
    for n in 0..5 {
        let agent = format!("a{n}");
        let (task, ..) = launch(&mut before, &agent, NOW);
        before.updated(NOW, &update(&task, &agent, TaskState::Running, None));
        let Change::Launch(record) = saves(&before.take_effects()).remove(0).1 else { panic!("a launch") };
        records.push(record);
    }
    let moved = Rules { control: "127.0.0.1:7777".into(), ..rules() };
    let mut core = Core::new(moved, Some("f-0000".into()), records, NOW);
    core.subscribed(NOW, "f-0000".into());
    core.take_effects();
    let mut told = |room: usize, second: u64| -> Vec<AgentId> {
        core.room_for_messages(room);
        core.tick(NOW.after(Duration::from_secs(second)));
        let to = |call: Call| if let Call::Message { agent, .. } = call { Some(agent) } else { None };
        calls(&core.take_effects()).into_iter().filter_map(to).collect()
    };
    assert_eq!(told(0, 1), []);
    let (first, second, third) = (told(2, 2), told(2, 3), told(2, 4));
    let all: std::collections::BTreeSet<_> = first.iter().chain(&second).chain(&third).collect();
    assert_eq!((first.len(), second.len(), third.len(), all.len()), (2, 2, 1, 5));
    assert_eq!(told(2, 13), first, "who was told longest ago goes first");
}
