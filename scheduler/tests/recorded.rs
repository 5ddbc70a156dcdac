//! Drives the scheduler, without any input or output of its own, with everything that a real master was recorded to send.
//!
//! Each recorded subscription becomes a transcript of what came, what was stored and what was called; the transcripts lie
//! in `recorded/`, so that a change of behaviour towards a real Mesos is seen in review. `UPDATE_EXPECT=1` writes them anew.
//! Where the recorded scheduler launched tasks, they take the place of what ours launched on that agent just before: so
//! updates are of launches that ours knows. What it launched where ours did not is a stranger, as after a lost state.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test ends by panicking")]

use config::settings::SchedulerSettings;
use expect_test::expect_file;
use prost::Message;
use proto::mesos::v1::scheduler::{Call, Event, call, event};
use proto::recordio::{Decoder, Limits, encode};
use scheduler::core::effects::Change;
use scheduler::deterministic::{Office, Over, Scheduler, Wanted};
use scheduler::ids::Moment;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// How often the scheduler is told the time.
const TICK_MS: u64 = 500;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/fixtures/mesos-1.12")
}

/// What happened next in a recording.
enum Next<'a> {
    Subscribed,
    Record(&'a Value),
    /// A call of the recorded scheduler.
    Called(&'a Value),
    /// The answer of an operator's call.
    Answered(&'a str),
    Ended(&'a str),
}

/// One scheduler and what is told of it.
struct Replay {
    folder: PathBuf,
    scheduler: Scheduler,
    now: u64,
    /// Launches of ours, by agent, that no recorded task has taken the place of.
    unbound: BTreeMap<String, Vec<(String, String)>>,
    /// Our names of what the recorded scheduler launched.
    bound: BTreeMap<String, String>,
    /// Short names of our own tasks and executors.
    names: BTreeMap<String, String>,
    told: String,
}

impl Replay {
    fn new(folder: &Path) -> Self {
        let mut settings = SchedulerSettings::for_master("m:5050", "/state").unwrap();
        settings.executor.executor_binary = Some("/opt/logherd".into());
        settings.placement.roles = vec!["logherd".into()];
        let office = Office { epoch: 1, seed: [1; 32], control: "10.0.0.1:9094".into() };
        Self {
            folder: folder.to_owned(),
            scheduler: Scheduler::new(&settings, office, (None, vec![]), Moment(0)).unwrap(),
            now: 0,
            unbound: BTreeMap::new(),
            bound: BTreeMap::new(),
            names: BTreeMap::new(),
            told: String::new(),
        }
    }

    /// Everything in the order in which it happened.
    fn play(mut self) -> String {
        let events: Value = read_json(&self.folder.join("events.json"));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        writeln!(self.told, "{}\n", text(&events["shows"])).unwrap();
        let mut history: Vec<(u64, u8, Next<'_>)> = Vec::new();
        let mut over = 0;
        for exchange in events["exchanges"].as_array().unwrap() {
            let (at, role) = (exchange["at_ms"].as_u64().unwrap(), exchange["role"].as_str().unwrap());
            let kind = exchange["call"]["type"].as_str().unwrap_or_default();
            let name = exchange["exchange"].as_str().unwrap();
            let ours = role == "scheduler" && exchange["status"].as_u64().is_some_and(|status| status < 300);
            if ours && kind == "SUBSCRIBE" {
                // One subscription ends before the next begins, though the times of the two sides say otherwise.
                let at = at.max(over + 1);
                history.push((at, 0, Next::Subscribed));
                let of = |event: &&Value| event["exchange"] == name;
                let records = events["events"].as_array().unwrap().iter().filter(of);
                let records: Vec<_> =
                    records.map(|record| (time(record).max(at), 1, Next::Record(record))).collect();
                over = records.iter().map(|(at, ..)| *at).max().unwrap_or(at);
                history.extend(records);
                history.push((over, 2, Next::Ended(exchange["stream"]["end"].as_str().unwrap_or_default())));
            } else if ours && kind == "ACCEPT" {
                history.push((at, 1, Next::Called(&exchange["call"]["accept"])));
            } else if kind == "GET_AGENTS" && exchange["status"] == 200 {
                history.push((at, 1, Next::Answered(name)));
            }
        }
        history.sort_by_key(|(at, order, _)| (*at, *order));
        for (at, _, next) in history {
            self.pass(at);
            self.happen(next);
        }
        self.told
    }

    fn happen(&mut self, next: Next<'_>) {
        match next {
            Next::Subscribed => {
                self.tell("> SUBSCRIBE");
                self.scheduler.opened();
            }
            Next::Record(record) => self.record(record),
            Next::Called(accept) => self.bind(accept),
            Next::Answered(name) => {
                let response = std::fs::read(self.folder.join(format!("{name}.response.bin")));
                self.tell("< the agents that GET_AGENTS lists");
                self.scheduler.told(Moment(self.now), &response.unwrap()).unwrap();
            }
            Next::Ended(how) => {
                if self.scheduler.is_subscribed() {
                    self.tell(&format!("= the stream ended: {how}"));
                    self.scheduler.disconnected(Moment(self.now));
                }
            }
        }
        self.carry_out();
    }

    /// Time passes until then.
    fn pass(&mut self, until: u64) {
        while self.now + TICK_MS < until {
            self.now += TICK_MS;
            self.scheduler.tick(Moment(self.now));
            self.carry_out();
        }
        self.now = self.now.max(until);
    }

    fn record(&mut self, record: &Value) {
        let exchange = record["exchange"].as_str().unwrap();
        let path = self.folder.join(format!("{exchange}.stream.bin"));
        let stream = std::fs::read(path).unwrap();
        let at = |name: &str| usize::try_from(record[name].as_u64().unwrap()).unwrap();
        let mut decoder = Decoder::new(Limits::default());
        decoder.push(&stream[at("offset")..at("offset") + at("length")]);
        let bytes = decoder.next().unwrap().unwrap();
        let mut event = Event::decode(&bytes[..]).unwrap();
        self.rename(&mut event);
        self.tell(&format!("< {}", self.event(&event)));
        let over = self.scheduler.received(Moment(self.now), &encode(&event.encode_to_vec()));
        match over {
            None => {}
            Some(Over::Removed) => {
                self.tell("= removed: the framework is forgotten, and another one registers")
            }
            Some(Over::Superseded) => self.tell("= superseded: it steps down"),
            Some(over) => self.tell(&format!("= {over:?}")),
        }
    }

    /// Gives what the recorded scheduler launched the names of what ours did.
    fn rename(&self, event: &mut Event) {
        let ours = |id: &mut String| {
            if let Some(name) = self.bound.get(id) {
                id.clone_from(name);
            }
        };
        if let Some(update) = &mut event.update {
            ours(&mut update.status.task_id.value);
            update.status.executor_id.iter_mut().for_each(|id| ours(&mut id.value));
        }
        event.failure.iter_mut().flat_map(|f| &mut f.executor_id).for_each(|id| ours(&mut id.value));
        let offers = event.offers.iter_mut().flat_map(|offers| &mut offers.offers);
        offers.flat_map(|offer| &mut offer.executor_ids).for_each(|id| ours(&mut id.value));
    }

    fn bind(&mut self, accept: &Value) {
        let operations = accept["operations"].as_array().into_iter().flatten();
        for task in operations.flat_map(|op| op["launch"]["task_infos"].as_array().into_iter().flatten()) {
            let id = |value: &Value| value["value"].as_str().unwrap_or_default().to_owned();
            let launches = self.unbound.entry(id(&task["agent_id"])).or_default();
            if let Some((ours, executor)) = launches.pop() {
                self.bound.insert(id(&task["task_id"]), ours);
                self.bound.insert(id(&task["executor"]["executor_id"]), executor);
            }
        }
    }

    /// Stores everything at once, and tells what is called.
    fn carry_out(&mut self) {
        loop {
            let wanted = self.scheduler.take_wanted();
            if wanted.is_empty() {
                return;
            }
            for wanted in wanted {
                match wanted {
                    Wanted::Call(bytes) => {
                        let call = Call::decode(&bytes[..]).unwrap();
                        self.launched(&call);
                        self.tell(&format!("> {}", self.call(&call)));
                    }
                    Wanted::Save(ticket, change) => {
                        let text = match change {
                            Change::Framework(id) => {
                                format!("framework {}", id.map_or("-".into(), |id| id.0))
                            }
                            Change::TearDown { framework: Some(id), .. } => {
                                format!("{id} is being torn down")
                            }
                            Change::TearDown { framework: None, .. } => {
                                "the framework is torn down".to_owned()
                            }
                            Change::Launch(record) => {
                                self.name(&record.task.0, &record.executor.0);
                                format!("{} on {} is {:?}", record.task, record.agent, record.phase)
                            }
                            Change::Ended(task) => format!("{task} is forgotten"),
                            Change::Left(left) => format!("{} is left on {}", left.data, left.agent),
                            Change::Forgotten(agent) => format!("what is left on {agent} is forgotten"),
                            Change::Rollout(record) => format!("generation {}", record.number),
                            Change::Authority(_) => "the authority of certificates".to_owned(),
                        };
                        self.tell(&format!("| stored: {text}"));
                        self.scheduler.saved(Moment(self.now), ticket, Ok(()));
                    }
                    Wanted::Register => self.tell("= it may register anew"),
                    Wanted::End => self.tell("= it ends"),
                }
            }
        }
    }

    fn name(&mut self, task: &str, executor: &str) {
        let number = self.names.len() / 2 + 1;
        if !self.names.contains_key(task) {
            self.names.insert(task.to_owned(), format!("task-{number}"));
            self.names.insert(executor.to_owned(), format!("executor-{number}"));
        }
    }

    fn launched(&mut self, call: &Call) {
        for operation in call.accept.iter().flat_map(|accept| &accept.operations) {
            for task in operation.launch.iter().flat_map(|launch| &launch.task_infos) {
                let executor = task.executor.as_ref().unwrap().executor_id.value.clone();
                let launches = self.unbound.entry(task.agent_id.value.clone()).or_default();
                launches.push((task.task_id.value.clone(), executor));
            }
        }
    }

    fn event(&self, event: &Event) -> String {
        let kind =
            event::Type::try_from(event.r#type.unwrap_or(0)).map_or("?".into(), |kind| format!("{kind:?}"));
        let mut text = kind.to_uppercase();
        if let Some(subscribed) = &event.subscribed {
            write!(text, " as {}", subscribed.framework_id.value).unwrap();
        }
        for offer in event.offers.iter().flat_map(|offers| &offers.offers) {
            let role = offer.allocation_info.as_ref().and_then(|info| info.role.as_deref()).unwrap_or("-");
            let executors: Vec<&str> = offer.executor_ids.iter().map(|id| id.value.as_str()).collect();
            write!(text, " {} of {} for {role}", offer.id.value, offer.agent_id.value).unwrap();
            let scalars =
                offer.resources.iter().filter_map(|r| Some((r.name.as_str(), r.scalar.as_ref()?.value)));
            scalars.for_each(|(name, amount)| write!(text, " {name}:{amount}").unwrap());
            if !executors.is_empty() {
                write!(text, " beside {}", executors.join(", ")).unwrap();
            }
            if offer.unavailability.is_some() {
                text.push_str(", away soon");
            }
        }
        if let Some(update) = &event.update {
            let status = &update.status;
            let state =
                proto::mesos::v1::TaskState::try_from(status.state).map_or("?", |state| state.as_str_name());
            let reason =
                status.reason.and_then(|reason| proto::mesos::v1::task_status::Reason::try_from(reason).ok());
            write!(text, " {} {state}", status.task_id.value).unwrap();
            reason.iter().for_each(|reason| write!(text, " {}", reason.as_str_name()).unwrap());
            text.push_str(if status.uuid.is_some() { " with a uuid" } else { "" });
        }
        if let Some(failure) = &event.failure {
            let who = failure.executor_id.as_ref().map(|id| id.value.clone());
            let agent = failure.agent_id.as_ref().map_or("", |id| id.value.as_str());
            write!(text, " of {} on {agent}", who.unwrap_or("the agent".into())).unwrap();
        }
        event.rescind.iter().for_each(|rescind| write!(text, " {}", rescind.offer_id.value).unwrap());
        event.error.iter().for_each(|error| write!(text, " {}", error.message).unwrap());
        text
    }

    fn call(&self, call: &Call) -> String {
        let kind =
            call::Type::try_from(call.r#type.unwrap_or(0)).map_or("?".into(), |kind| format!("{kind:?}"));
        let mut text = kind.to_uppercase();
        if let Some(accept) = &call.accept {
            accept.offer_ids.iter().for_each(|id| write!(text, " {}", id.value).unwrap());
            for operation in &accept.operations {
                let tasks = operation.launch.iter().flat_map(|launch| &launch.task_infos);
                let tasks: Vec<&str> = tasks.map(|task| task.task_id.value.as_str()).collect();
                let kind = operation
                    .r#type
                    .and_then(|kind| proto::mesos::v1::offer::operation::Type::try_from(kind).ok());
                write!(text, " {:?} {}", kind.unwrap(), tasks.join(", ")).unwrap();
            }
            let refuse = accept.filters.as_ref().and_then(|filters| filters.refuse_seconds);
            write!(text, ", refuse {} s", refuse.unwrap_or(5.0)).unwrap();
        }
        if let Some(decline) = &call.decline {
            decline.offer_ids.iter().for_each(|id| write!(text, " {}", id.value).unwrap());
            let refuse = decline.filters.as_ref().and_then(|filters| filters.refuse_seconds);
            write!(text, ", refuse {:.1} s", refuse.unwrap_or(5.0)).unwrap();
        }
        call.kill.iter().for_each(|kill| write!(text, " {}", kill.task_id.value).unwrap());
        call.shutdown.iter().for_each(|shutdown| write!(text, " {}", shutdown.executor_id.value).unwrap());
        call.acknowledge.iter().for_each(|ack| write!(text, " {}", ack.task_id.value).unwrap());
        if let Some(reconcile) = &call.reconcile {
            let tasks: Vec<&str> = reconcile.tasks.iter().map(|task| task.task_id.value.as_str()).collect();
            write!(text, " {}", if tasks.is_empty() { "everything".into() } else { tasks.join(", ") })
                .unwrap();
        }
        text
    }

    /// One line, in which ids are short.
    fn tell(&mut self, line: &str) {
        let mut line = line.to_owned();
        self.names.iter().for_each(|(id, name)| line = line.replace(id, name));
        let line: Vec<&str> = line.split(' ').map(short).collect();
        let (seconds, ms) = (self.now / 1000, self.now % 1000);
        writeln!(self.told, "{seconds:>3}.{ms:03} {}", line.join(" ")).unwrap();
    }
}

/// Ids of Mesos begin with the uuid of a master, which says nothing here.
fn short(word: &str) -> &str {
    let is_uuid = |head: &str| head.len() == 36 && head.matches('-').count() == 4;
    match word.split_at_checked(36) {
        Some((head, tail)) if is_uuid(head) && !tail.is_empty() => tail.trim_start_matches('-'),
        _ => word,
    }
}

fn time(record: &Value) -> u64 {
    record["scenario_ms"].as_u64().unwrap()
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn what_the_scheduler_does_with_every_recorded_stream_of_a_real_master_is_as_it_was_reviewed() {
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(fixtures()).unwrap().map(|e| e.unwrap().path()).collect();
    folders.sort();
    let mut streams = 0;
    for folder in folders {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let events = read_json(&folder.join("events.json"));
        let subscribes = |exchange: &&Value| {
            exchange["role"] == "scheduler"
                && exchange["call"]["type"] == "SUBSCRIBE"
                && exchange["status"] == 200
        };
        let subscriptions = events["exchanges"].as_array().unwrap().iter().filter(subscribes).count();
        // The same again in JSON, which the scheduler does not speak.
        if subscriptions == 0 || name.ends_with("-json") {
            continue;
        }
        streams += subscriptions;
        let told = Replay::new(&folder).play();
        expect_file![format!("{}/tests/recorded/{name}.txt", env!("CARGO_MANIFEST_DIR"))].assert_eq(&told);
    }
    assert!(streams >= 41, "only {streams} recorded subscriptions were found");
}
