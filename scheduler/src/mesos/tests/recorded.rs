//! Reads what a real master said, and writes calls as a real master wants them.
use super::super::operator;
use super::*;
use crate::core::Core;
use crate::core::cluster::{Standing, TaskState};
use crate::core::effects::{Change, Effect, LaunchRecord, Phase};
use crate::core::resources::{Form, Needs, Reservation, Reserved, Taken, take};
use crate::ids::Moment;
use bytes::Bytes;
use config::settings::SchedulerSettings;
use prost::Message;
use proto::mesos::v1;
use proto::mesos::v1::scheduler as sched;
use web::view::Cause;

/// The records of a recorded stream.
fn records(recording: &str) -> Vec<bytes::Bytes> {
    let path = format!("{}/../proto/fixtures/mesos-1.12/{recording}.stream.bin", env!("CARGO_MANIFEST_DIR"));
    let mut decoder = Decoder::new(Limits::default());
    decoder.push(&std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}")));
    std::iter::from_fn(|| decoder.next().unwrap()).collect()
}

/// Everything in a recorded stream of a subscription.
fn heard(recording: &str) -> Vec<Heard> {
    records(recording).iter().map(|record| wire::read(record).unwrap()).collect()
}

fn offers(heard: Vec<Heard>) -> Vec<Offer> {
    let of = |heard| if let Heard::Event(MesosEvent::Offers(offers)) = heard { offers } else { vec![] };
    heard.into_iter().flat_map(of).collect()
}

fn updates(heard: &[Heard]) -> Vec<(TaskState, &str, bool)> {
    let of = |heard| match heard {
        &Heard::Event(MesosEvent::Updated(ref u)) => Some((u.state, u.reason.as_str(), u.uuid.is_some())),
        _ => None,
    };
    heard.iter().filter_map(of).collect()
}

fn template() -> Template {
    let settings = SchedulerSettings::for_master("127.0.0.1:5050", "/state").unwrap();
    let program = Program::OnNode("/opt/logherd".into());
    Template::new(program, "root", &settings.executor, &settings.collecting)
}

#[test]
fn a_recorded_subscription_begins_with_who_we_are_and_brings_offers() {
    let heard = heard("01-subscribe/01-subscribe");
    let Heard::Subscribed { framework, master, heartbeat } = &heard[0] else { panic!("{:?}", heard[0]) };
    assert!(framework.0.ends_with("-0000") && master.is_some());
    assert_eq!(*heartbeat, Some(Duration::from_secs(15)));
    assert!(heard.contains(&Heard::Heartbeat));
    let offers = offers(heard);
    assert_eq!((offers[0].place.host.as_str(), offers[0].role.as_str()), ("agent1.example", "logherd"));
    let pieces: Vec<_> = offers[0].pieces.iter().map(|p| (p.name.as_str(), p.amount.0)).collect();
    let expected = [("ports", 1_001_000), ("cpus", 4_000), ("mem", 4_096_000), ("disk", 10_000_000)];
    assert_eq!(pieces, expected);
    assert!(offers[0].pieces.iter().all(|piece| piece.reserved == Reserved::No));
}

#[test]
fn recorded_updates_are_acknowledged_iff_they_have_a_uuid() {
    let heard = heard("04-reconcile/01-subscribe");
    let updates = updates(&heard);
    assert!(updates.contains(&(TaskState::Running, "", true)));
    assert!(updates.contains(&(TaskState::Running, "RECONCILIATION", false)));
    assert!(updates.contains(&(TaskState::Gone, "RECONCILIATION", false)));
    assert!(updates.contains(&(TaskState::Unknown, "RECONCILIATION", false)));
    for (_, reason, uuid) in updates {
        assert!(!uuid || reason != "RECONCILIATION");
    }
}

#[test]
fn a_recorded_agent_that_vanishes_and_returns_is_told_as_such() {
    let heard = heard("09-agent-unreachable/01-subscribe");
    assert!(heard.iter().any(|h| matches!(h, Heard::Event(MesosEvent::Rescinded(_)))));
    assert!(heard.iter().any(|h| matches!(h, Heard::Event(MesosEvent::AgentLost(_)))));
    let updates = updates(&heard);
    assert!(updates.contains(&(TaskState::Unreachable, "AGENT_REMOVED", false)));
    assert!(updates.contains(&(TaskState::Running, "AGENT_REREGISTERED", false)));
}

#[test]
fn a_recorded_takeover_and_a_removal_are_told_apart() {
    let dir = format!("{}/../proto/fixtures/mesos-1.12/07-resubscribe-takeover", env!("CARGO_MANIFEST_DIR"));
    let mut errors = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        let Some(name) = name.strip_suffix(".stream.bin") else { continue };
        let recording = format!("07-resubscribe-takeover/{name}");
        errors.extend(
            heard(&recording)
                .into_iter()
                .filter_map(|h| if let Heard::Error(text) = h { Some(text) } else { None }),
        );
    }
    assert!(errors.iter().any(|text| matches!(end_of(text.clone()), Ended::Superseded)), "{errors:?}");
    assert!(errors.iter().any(|text| matches!(end_of(text.clone()), Ended::Removed)), "{errors:?}");
}

#[test]
fn what_is_accepted_is_what_was_offered_but_for_the_amount() {
    let offer = offers(heard("10-reserve-unreserve/01-subscribe"))
        .into_iter()
        .find(|o| o.pieces.iter().any(|p| p.reserved != Reserved::No));
    let offer = offer.expect("a recorded offer with a reservation");
    let taken = take(&offer.pieces, &Needs::new(0.2, 32.0, 0.0)).unwrap_or_else(|e| panic!("{e:?}"));
    let launch = LaunchRecord {
        task: "logherd.S0.1.aa".into(),
        executor: "logherd-S0-1-aa".into(),
        agent: offer.agent.clone(),
        host: offer.place.host.clone(),
        token_hash: String::new(),
        control: "10.0.0.1:9094".into(),
        phase: Phase::Launching,
        launched_at: Moment(0),
        lineage: Box::default(),
    };
    let spec = std::sync::Arc::clone(template().spec());
    let call = Call::Accept {
        spec,
        offers: vec![offer.id.clone()],
        launch,
        taken: Box::new(taken),
        token: "s3cret".into(),
        refuse: Duration::from_secs(3600),
    };
    let call = sched::Call::decode(&wire::write(&"f-1".into(), &template(), call)[..]).unwrap();
    let accept = call.accept.unwrap();
    assert_eq!(accept.filters.unwrap().refuse_seconds, Some(3600.0));
    let task = &accept.operations[0].launch.as_ref().unwrap().task_infos[0];
    let executor = task.executor.as_ref().unwrap();
    let reserved = executor.resources.iter().find(|r| r.name == "cpus").unwrap();
    assert!(!reserved.reservations.is_empty() && reserved.role.is_none());
    let cpus =
        executor.resources.iter().filter(|r| r.name == "cpus").map(|r| r.scalar.as_ref().unwrap().value);
    assert!((cpus.sum::<f64>() - 0.2).abs() < 1e-9);
    assert_eq!(task.resources[0].scalar.as_ref().unwrap().value, 0.01);
    let command = executor.command.as_ref().unwrap();
    assert_eq!((command.shell, command.value.as_deref()), (Some(false), Some("/opt/logherd")));
    assert_eq!(command.arguments[..4], ["logherd", "executor", "--control", "10.0.0.1:9094"]);
    assert!(!command.arguments.iter().any(|argument| argument.contains("s3cret")));
    let variable = &command.environment.as_ref().unwrap().variables[0];
    assert_eq!(
        (variable.name.as_str(), variable.value.as_deref()),
        ("LOGHERD_CONTROL_TOKEN", Some("s3cret"))
    );
    assert!(task.command.is_none());
}

#[test]
fn a_reservation_and_a_launch_on_it_are_written_as_a_real_master_took_them() {
    let path = "../proto/fixtures/mesos-1.12/10-reserve-unreserve/02-accept-reserve-launch.request.bin";
    let recorded = std::fs::read(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let recorded = sched::Call::decode(&recorded[..]).unwrap().accept.unwrap();
    let offer = offers(heard("10-reserve-unreserve/01-subscribe")).remove(0);
    let mut taken = take(&offer.pieces, &Needs::new(0.19, 127.0, 0.0)).unwrap();
    taken.executor.iter_mut().chain(&mut taken.task).for_each(|portion| portion.form = Form::Reserved);
    let (role, principal) = ("logherd".to_owned(), Some("logherd".to_owned()));
    taken.reservation = Some(Reservation { role, principal, framework: "node".into() });
    let launch = LaunchRecord {
        task: "t".into(),
        executor: "e".into(),
        agent: offer.agent.clone(),
        host: offer.place.host.clone(),
        token_hash: String::new(),
        control: "10.0.0.1:9094".into(),
        phase: Phase::Launching,
        launched_at: Moment(0),
        lineage: Box::default(),
    };
    let write = |taken: Taken| {
        let refuse = Duration::ZERO;
        let (offers, launch, token) = (vec![offer.id.clone()], launch.clone(), String::new());
        let spec = std::sync::Arc::clone(template().spec());
        let call = Call::Accept { offers, launch, spec, taken: Box::new(taken), token, refuse };
        sched::Call::decode(&wire::write(&"f-1".into(), &template(), call)[..]).unwrap().accept.unwrap()
    };
    let ours = write(taken.clone());
    let kinds = |accept: &sched::call::Accept| -> Vec<_> {
        accept.operations.iter().map(v1::offer::Operation::r#type).collect()
    };
    assert_eq!(kinds(&ours), kinds(&recorded));
    let reserved = |accept: &sched::call::Accept| accept.operations[0].reserve.clone().unwrap().resources;
    let cpus = |resources: Vec<v1::Resource>| -> (f64, v1::Resource) {
        let cpus: Vec<v1::Resource> = resources.into_iter().filter(|r| r.name == "cpus").collect();
        let sum = cpus.iter().map(|r| r.scalar.as_ref().unwrap().value).sum();
        (sum, v1::Resource { scalar: None, ..cpus[0].clone() })
    };
    assert_eq!(cpus(reserved(&ours)), cpus(reserved(&recorded)));

    taken.unreserve = offer.pieces.clone();
    let first = write(taken).operations.remove(0);
    assert_eq!(first.r#type(), v1::offer::operation::Type::Unreserve);
    assert_eq!(first.unreserve.unwrap().resources.len(), 4);
}

#[test]
fn ports_reach_the_executor_in_its_environment() {
    let offer = offers(heard("01-subscribe/01-subscribe")).remove(0);
    let taken = take(&offer.pieces, &Needs::new(0.2, 32.0, 0.0).with_ports(2)).unwrap();
    let launch = LaunchRecord {
        task: "t".into(),
        executor: "e".into(),
        agent: offer.agent,
        host: String::new(),
        token_hash: String::new(),
        control: "10.0.0.1:9094".into(),
        phase: Phase::Launching,
        launched_at: Moment(0),
        lineage: Box::default(),
    };
    let executor = template().task(&launch, "token", &taken).executor.unwrap();
    let variables = executor.command.unwrap().environment.unwrap().variables;
    let of = |name: &str| variables.iter().find(|v| v.name == name).and_then(|v| v.value.clone());
    assert_eq!((of("PORT0").as_deref(), of("PORT1").as_deref()), (Some("31000"), Some("31001")));
    let ports = executor.resources.iter().find(|resource| resource.name == "ports").unwrap();
    let range = vec![v1::value::Range { begin: 31_000, end: 31_001 }];
    assert_eq!(ports.ranges, Some(v1::value::Ranges { range }));
}

#[test]
fn an_implicit_reconciliation_is_an_empty_list_that_is_there() {
    let call =
        sched::Call::decode(&wire::write(&"f-1".into(), &template(), Call::Reconcile(vec![]))[..]).unwrap();
    assert_eq!(call.reconcile, Some(sched::call::Reconcile { tasks: vec![] }));
}

fn recorded_answer(name: &str) -> Bytes {
    let path = format!("{}/../proto/fixtures/mesos-1.12/{name}.response.bin", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).unwrap().into()
}

fn recorded_response(name: &str) -> v1::master::Response {
    v1::master::Response::decode(recorded_answer(name)).unwrap()
}

#[test]
fn the_recorded_agents_of_a_master_are_read() {
    let agents = operator::agents_of(recorded_answer("12-operator/04-operator-get-agents")).unwrap();
    let agent = &agents[0];
    assert_eq!((agent.place.host.as_str(), agent.standing), ("agent1.example", Standing::Active));
    assert_eq!((agent.version.as_str(), agent.multi_role), ("1.12.0", true));
    let cpus = agent.shares.iter().find(|share| share.name == "cpus").unwrap();
    assert_eq!((cpus.role.as_str(), cpus.total.0), ("*", 4000));
    let unreachable = recorded_answer("12-operator/20-operator-get-agents-unreachable");
    assert_eq!(operator::agents_of(unreachable).unwrap(), []);
    let drained =
        operator::agents_of(recorded_answer("11-drain-gone/16-operator-get-agents-drained")).unwrap();
    let standings: Vec<_> = drained.into_iter().map(|agent| agent.standing).collect();
    assert!(standings.contains(&Standing::Drained) && standings.contains(&Standing::Active), "{standings:?}");
}

#[test]
fn a_recorded_stream_of_the_operator_api_tells_of_agents_as_they_come() {
    let told: Vec<Told> = records("12-operator/17-operator-subscribe")
        .iter()
        .filter_map(|record| operator::read(record))
        .collect();
    assert!(matches!(&told[0], Told::Agents(agents) if agents.len() == 1), "{told:?}");
    assert!(
        told.iter().any(|told| matches!(told, Told::Added(agent) if agent.place.host == "agent1.example"))
    );
}

#[test]
fn the_recorded_frameworks_of_a_master_are_read() {
    let frameworks = recorded_response("12-operator/05-operator-get-frameworks").get_frameworks.unwrap();
    let master = recorded_response("12-operator/03-operator-get-master").get_master.unwrap();
    let executors = operator::strays_in(recorded_answer("12-operator/07-operator-get-executors")).unwrap();
    let cluster = operator::cluster(frameworks, master, executors, "logherd");
    assert_eq!((cluster.namesakes.len(), cluster.executors.len()), (1, 1));
    assert_eq!(cluster.executors[0].framework, cluster.namesakes[0].id);
    let ours = &cluster.frameworks[0];
    assert_eq!(
        (ours.name.as_str(), ours.active, ours.gpus, ours.region_aware),
        ("logherd", true, true, true)
    );
    assert_eq!((ours.roles.clone(), cluster.region), (vec!["logherd".to_owned()], None));
}

/// A core that took up launches with the recorded ids, and hears what was recorded.
struct Replay {
    core: Core,
    calls: Vec<Call>,
    intents: Vec<String>,
    now: Moment,
}

impl Replay {
    fn of(launches: &[(&str, &str, &str)], now: Moment) -> Self {
        let settings = SchedulerSettings::for_master("127.0.0.1:5050", "/state").unwrap();
        let office =
            crate::mesos::deterministic::Office { epoch: 0, seed: [1; 32], control: "10.0.0.1:9094".into() };
        let rules = crate::running::rules(&settings, &template(), office);
        let launches = launches.iter().map(|(task, executor, agent)| LaunchRecord {
            task: (*task).into(),
            executor: (*executor).into(),
            agent: (*agent).into(),
            host: "host".into(),
            token_hash: String::new(),
            control: "10.0.0.1:9094".into(),
            phase: Phase::Running,
            launched_at: Moment(0),
            lineage: Box::default(),
        });
        let core = Core::new(rules, Some("f".into()), launches.collect(), now);
        Self { core, calls: vec![], intents: vec![], now }
    }

    fn hear(&mut self, heard: &[Heard]) {
        for heard in heard {
            match heard.clone() {
                Heard::Subscribed { framework, .. } => self.core.subscribed(self.now, framework),
                Heard::Event(MesosEvent::Offers(offers)) => self.core.offered(self.now, offers),
                Heard::Event(MesosEvent::Rescinded(offer)) => self.core.rescinded(&offer),
                Heard::Event(MesosEvent::InverseOffers(offers)) => {
                    self.core.inverse_offered(self.now, offers)
                }
                Heard::Event(MesosEvent::InverseRescinded(offer)) => {
                    self.core.inverse_rescinded(self.now, &offer)
                }
                Heard::Event(MesosEvent::Updated(update)) => self.core.updated(self.now, &update),
                Heard::Event(MesosEvent::AgentLost(agent)) => self.core.agent_lost(self.now, &agent),
                _ => {}
            }
            self.carry_out();
        }
    }

    fn carry_out(&mut self) {
        loop {
            let effects = self.core.take_effects();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                match effect {
                    Effect::Call(call) => self.calls.push(call),
                    Effect::Save(ticket, change) => {
                        if let Change::Launch(LaunchRecord { phase: Phase::Intended, agent, .. }) = change {
                            self.intents.push(agent.0);
                        }
                        self.core.saved(self.now, ticket, Ok(()));
                    }
                    _ => {}
                }
            }
        }
    }

    fn tick(&mut self) {
        self.core.tick(self.now);
        self.carry_out();
    }

    fn cause(&self, agent: &str) -> Cause {
        let nodes = self.core.nodes(self.now);
        let node = nodes.iter().find(|node| node.agent.0 == agent);
        node.unwrap_or_else(|| panic!("{agent} in {nodes:?}")).cause
    }
}

#[test]
fn a_recorded_maintenance_is_answered_left_in_time_and_followed_by_a_new_launch() {
    let heard = heard("11-maintenance/01-subscribe");
    let agent = "6aba1ad7-586c-41dc-879e-34ef1e33bc43-S1";
    let mut replay = Replay::of(&[("logherd.n2.1", "logherd-exec.2", agent)], Moment(1_795_163_808_000));
    replay.hear(&heard[..12]);
    let answered: Vec<&str> = replay
        .calls
        .iter()
        .filter_map(|call| {
            if let Call::AcceptInverse { offers, .. } = call { Some(offers[0].0.as_str()) } else { None }
        })
        .map(|id| id.rsplit('-').next().unwrap())
        .collect();
    assert_eq!(answered, ["O5", "O6", "O7"]);
    assert_eq!(replay.cause(agent), Cause::Runs);
    // Withdrawn: an hour later nothing would end.
    replay.hear(&heard[12..17]);
    replay.now = Moment(1_795_167_408_000);
    replay.tick();
    assert!(!replay.calls.iter().any(|call| matches!(call, Call::Kill(..))));
    // Planned again, for now, and the machine is down half a second later.
    replay.now = Moment(1_795_163_813_760);
    replay.hear(&heard[17..21]);
    replay.tick();
    assert!(replay.calls.iter().any(|call| matches!(call, Call::Kill(task, _) if task.0 == "logherd.n2.1")));
    replay.now = Moment(1_795_163_814_363);
    replay.intents.clear();
    replay.hear(&heard[21..25]);
    assert_eq!(replay.cause(agent), Cause::InMaintenance);
    replay.core.agents_listed(replay.now, vec![]);
    assert_eq!(replay.cause(agent), Cause::MachineDown);
    replay.now = Moment(1_795_163_819_757);
    replay.hear(&heard[25..]);
    assert_eq!(replay.intents, [agent]);
}

#[test]
fn a_recorded_drain_is_shown_as_such_and_the_agent_gets_an_executor_when_it_is_reactivated() {
    let heard = heard("11-drain-gone/01-subscribe");
    let (first, second) =
        ("55bf8474-580c-4ac2-85ae-cf5bc975a047-S0", "55bf8474-580c-4ac2-85ae-cf5bc975a047-S1");
    let launches = [("logherd.n1.1", "logherd-exec.1", first), ("logherd.n2.1", "logherd-exec.2", second)];
    let mut replay = Replay::of(&launches, Moment(1_795_163_823_000));
    replay.hear(&heard[..8]);
    assert_eq!((replay.cause(first), replay.cause(second)), (Cause::Draining, Cause::Runs));
    replay.hear(&heard[8..10]);
    let drained =
        operator::agents_of(recorded_answer("11-drain-gone/16-operator-get-agents-drained")).unwrap();
    replay.core.agents_listed(replay.now, drained);
    assert_eq!((replay.cause(first), replay.cause(second)), (Cause::Drained, Cause::Runs));
    assert!(replay.intents.is_empty());
    replay.now = replay.now.after(Duration::from_secs(3));
    replay.hear(&heard[10..11]);
    assert_eq!(replay.intents, [first]);
    replay.hear(&heard[11..]);
    assert!(!replay.core.nodes(replay.now).iter().any(|node| node.agent.0 == second), "it is gone");
}
