//! Plays recorded exchanges against our cores and compares what they say with what a real Mesos said.
//!
//! The master gets the id of the recorded one, so that frameworks, agents and offers are numbered alike. The recorded
//! requests go in at their recorded times; executors end when they ended. Compared are the status codes and, per stream,
//! the events without what differs from run to run (times, uuids that Mesos made, container ids). HEARTBEATs and OFFERS
//! depend on the moment; a recorded offer is matched with our newest of the same agent to the same scheduler.

use super::world::World;
use crate::agent::core as agent;
use crate::ids::ExecutorId;
use crate::master::core as master;
use crate::settings::Timings;
use crate::wire::content::Encoding;
use crate::wire::reflect;
use proto::mesos::v1::{self as mesos, executor, scheduler};
use proto::recordio::{Decoder, Limits};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

const CALL: &str = "mesos.v1.scheduler.Call";
const EXECUTOR_CALL: &str = "mesos.v1.executor.Call";

struct Scenario {
    folder: PathBuf,
    json: Value,
    world: World,
    /// Our stream (and its id) of each recorded subscription.
    schedulers: BTreeMap<String, (master::ConnectionId, Option<String>)>,
    /// Agent and stream of each recorded executor.
    executors: BTreeMap<String, (usize, agent::ConnectionId)>,
    /// The newest stream id of each role.
    stream_ids: BTreeMap<String, Option<String>>,
    old_stream_ids: Vec<String>,
    problems: Vec<String>,
    /// Our offer of each recorded one.
    offers: BTreeMap<String, String>,
    newest_stream: BTreeMap<String, master::ConnectionId>,
    /// Executors that the test plays.
    subscribed: Vec<ExecutorId>,
}

/// What the test must do besides sending requests, at a time of the recording.
#[derive(Clone)]
enum Act {
    Exit {
        executor: String,
        status: i32,
    },
    /// An executor that the recorder played without keeping its requests.
    Update(Box<mesos::TaskStatus>),
    FetchFailure(&'static str),
    KillAgent,
    StartAgent,
    /// Starts the agent with nothing written down.
    StartEmptyAgent,
    Disconnect(&'static str),
    /// An executor of which no requests were kept subscribes (again).
    Subscribe(&'static str),
    /// A scheduler of which no requests were kept makes a call; `framework_id` and offers are filled in.
    Call(Box<scheduler::Call>),
    /// That scheduler acknowledges also the terminal updates.
    AcknowledgeAll,
}

fn load(name: &str, timings: Timings) -> Scenario {
    load_with(name, timings, &[])
}

fn load_with(name: &str, timings: Timings, roles: &[&str]) -> Scenario {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/fixtures/mesos-1.12").join(name);
    let json: Value = serde_json::from_slice(&std::fs::read(folder.join("events.json")).unwrap()).unwrap();
    let master_id = json["events"]
        .as_array()
        .unwrap()
        .iter()
        .find_map(|event| {
            let subscribed = &event["event"]["subscribed"];
            let own = subscribed["master_info"]["id"].as_str();
            own.or_else(|| subscribed["framework_info"]["id"]["value"].as_str()?.strip_suffix("-0000"))
        })
        .expect("a recorded SUBSCRIBED")
        .to_owned();
    let processes = json["processes"].as_array().unwrap();
    let agents =
        processes.iter().filter(|process| process["name"].as_str().unwrap().starts_with("agent")).count();
    let mut world = World::new(&master_id, agents, timings, roles);
    world.advance(Duration::from_millis(700));
    Scenario {
        folder,
        json,
        world,
        schedulers: BTreeMap::new(),
        executors: BTreeMap::new(),
        stream_ids: BTreeMap::new(),
        old_stream_ids: Vec::new(),
        problems: Vec::new(),
        offers: BTreeMap::new(),
        newest_stream: BTreeMap::new(),
        subscribed: Vec::new(),
    }
}

impl Scenario {
    fn play(mut self, acts: &[(u64, Act)]) {
        let start = self.world.now;
        let exchanges = self.json["exchanges"].as_array().unwrap().clone();
        let mut acts: Vec<(u64, Act)> = acts.iter().cloned().chain(self.told_by_the_recording()).collect();
        if !exchanges.iter().any(|exchange| exchange["request"] == "POST /api/v1/scheduler") {
            acts.extend(self.calls_told_by_the_recording());
        }
        acts.sort_by_key(|(when, _)| *when);
        let mut acts = acts.into_iter().peekable();
        for exchange in &exchanges {
            let at = exchange["at_ms"].as_u64().unwrap();
            while let Some((when, act)) = acts.next_if(|(when, _)| *when <= at) {
                self.world.advance_to(start + Duration::from_millis(when));
                self.act(&act);
            }
            self.world.advance_to(start + Duration::from_millis(at));
            self.exchange(exchange);
            self.acknowledge(false);
        }
        for (when, act) in acts {
            self.world.advance_to(start + Duration::from_millis(when));
            self.act(&act);
        }
        self.world.advance(Duration::from_secs(3));
        self.compare();
        assert!(self.problems.is_empty(), "{}:\n{}", self.folder.display(), self.problems.join("\n"));
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Exit { executor, status } => self.world.exit(0, executor, *status),
            Act::Update(status) => self.update(status),
            Act::FetchFailure(executor) => self.world.fail_launch(0, executor),
            Act::KillAgent => self.world.kill_agent(0),
            Act::StartAgent => self.world.start_agent(0),
            Act::StartEmptyAgent => self.world.start_empty_agent(0),
            Act::Disconnect(exchange) => {
                let (connection, _) = self.schedulers[*exchange];
                self.world.disconnect(connection);
            }
            Act::Subscribe(executor) => self.subscribe_played(&ExecutorId((*executor).to_owned())),
            Act::Call(call) => self.played_call(call),
            Act::AcknowledgeAll => self.acknowledge(true),
        }
    }

    /// Ends of executors, and updates of executors whose requests were not kept, at the times at which they were heard of.
    fn told_by_the_recording(&self) -> Vec<(u64, Act)> {
        let exchanges = self.json["exchanges"].as_array().unwrap();
        let kept = exchanges.iter().any(|exchange| exchange["request"] == "POST /api/v1/executor");
        let begun: BTreeMap<&str, u64> = exchanges
            .iter()
            .map(|exchange| (exchange["exchange"].as_str().unwrap(), exchange["at_ms"].as_u64().unwrap()))
            .collect();
        let mut told = Vec::new();
        let mut seen = Vec::new();
        for recorded in self.json["events"].as_array().unwrap() {
            let stream = recorded["exchange"].as_str().or(recorded["stream"].as_str()).unwrap_or("");
            let at = begun.get(stream).copied().unwrap_or(0) + recorded["at_ms"].as_u64().unwrap();
            let event = &recorded["event"];
            if let (Some(executor), Some(status)) = (
                event["failure"]["executor_id"]["value"].as_str(),
                event["failure"]["status"].as_i64().filter(|status| *status != 9),
            ) {
                told.push((at - 1, Act::Exit { executor: executor.to_owned(), status: status as i32 }));
            }
            let status = &event["update"]["status"];
            if !kept && status["source"] == "SOURCE_EXECUTOR" && !seen.contains(&status["uuid"]) {
                seen.push(status["uuid"].clone());
                let status = reflect::decode("mesos.v1.TaskStatus", Encoding::Json, &json(status)).unwrap();
                told.push((at - 1, Act::Update(Box::new(status))));
            }
        }
        told
    }

    /// Subscribes the executor of a status when needed, and sends the status.
    fn update(&mut self, status: &mesos::TaskStatus) {
        let executor_id = status.executor_id.clone().unwrap();
        let id = ExecutorId::from(&executor_id);
        let framework = self.world.agents[0].containers.values().find(|(_, executor)| *executor == id);
        let framework_id = framework.expect("a running executor").0.wire();
        let call = |kind: executor::call::Type| executor::Call {
            executor_id: executor_id.clone(),
            framework_id: framework_id.clone(),
            r#type: Some(kind.into()),
            ..Default::default()
        };
        if !self.subscribed.contains(&id) {
            self.subscribe_played(&id);
        }
        let status = mesos::TaskStatus { container_status: None, ..status.clone() };
        let update = Some(executor::call::Update { status });
        self.world.executor_call(0, executor::Call { update, ..call(executor::call::Type::Update) });
    }

    fn subscribe_played(&mut self, id: &ExecutorId) {
        self.subscribed.push(id.clone());
        let framework = self.world.agents[0].containers.values().find(|(_, executor)| executor == id);
        let call = executor::Call {
            executor_id: id.wire(),
            framework_id: framework.expect("a running executor").0.wire(),
            r#type: Some(executor::call::Type::Subscribe.into()),
            subscribe: Some(executor::call::Subscribe::default()),
            ..Default::default()
        };
        self.world.executor_call(0, call);
    }

    /// The calls of a scheduler whose requests were not kept, from what its executor heard.
    fn calls_told_by_the_recording(&self) -> Vec<(u64, Act)> {
        use scheduler::call::Type;
        let subscribed_at = |exchange: &str| {
            let all = self.json["exchanges"].as_array().unwrap();
            all.iter().find(|e| e["exchange"] == exchange).unwrap()["at_ms"].as_u64().unwrap()
        };
        let call = |kind: Type| scheduler::Call { r#type: Some(kind.into()), ..Default::default() };
        let mut told = Vec::new();
        let mut launched = false;
        for recorded in self.json["events"].as_array().unwrap() {
            let at =
                subscribed_at(recorded["exchange"].as_str().unwrap()) + recorded["at_ms"].as_u64().unwrap();
            let event = &recorded["event"];
            if let Some(info) = event["subscribed"].get("framework_info").filter(|_| told.is_empty()) {
                let mut info: mesos::FrameworkInfo =
                    reflect::decode("mesos.v1.FrameworkInfo", Encoding::Json, &json(info)).unwrap();
                info.id = None;
                let subscribe = scheduler::call::Subscribe { framework_info: info, ..Default::default() };
                let subscribe = scheduler::Call { subscribe: Some(subscribe), ..call(Type::Subscribe) };
                told.push((650, Act::Call(Box::new(subscribe))));
            } else if let Some(task) = event["launch"].get("task") {
                let task = reflect::decode("mesos.v1.TaskInfo", Encoding::Json, &json(task)).unwrap();
                let launch = mesos::offer::operation::Launch { task_infos: vec![task] };
                let operation = mesos::offer::Operation {
                    r#type: Some(mesos::offer::operation::Type::Launch.into()),
                    launch: Some(launch),
                    ..Default::default()
                };
                let accept = scheduler::call::Accept {
                    operations: vec![operation],
                    filters: Some(mesos::Filters { refuse_seconds: Some(0.0) }),
                    ..Default::default()
                };
                let accept = scheduler::Call { accept: Some(accept), ..call(Type::Accept) };
                told.push((if launched { at - 1 } else { 700 }, Act::Call(Box::new(accept))));
                launched = true;
            } else if let Some(kill) = event.get("kill") {
                let kill =
                    reflect::decode("mesos.v1.scheduler.Call.Kill", Encoding::Json, &json(kill)).unwrap();
                told.push((
                    at - 1,
                    Act::Call(Box::new(scheduler::Call { kill: Some(kill), ..call(Type::Kill) })),
                ));
            } else if let Some(message) = event.get("message") {
                let heard: executor::event::Message =
                    reflect::decode("mesos.v1.executor.Event.Message", Encoding::Json, &json(message))
                        .unwrap();
                let message = scheduler::call::Message { data: heard.data, ..Default::default() };
                let message = scheduler::Call { message: Some(message), ..call(Type::Message) };
                told.push((at - 1, Act::Call(Box::new(message))));
            } else if event["type"] == "SHUTDOWN" {
                let shutdown = Some(scheduler::call::Shutdown::default());
                told.push((
                    at - 1,
                    Act::Call(Box::new(scheduler::Call { shutdown, ..call(Type::Shutdown) })),
                ));
            }
        }
        told
    }

    /// Makes a call in the name of the played scheduler.
    fn played_call(&mut self, call: &scheduler::Call) {
        let mut call = call.clone();
        if call.subscribe.is_none() {
            let (connection, _) = self.schedulers["played"];
            let events = &self.world.schedulers[&connection].events;
            call.framework_id =
                events[0].subscribed.as_ref().map(|subscribed| subscribed.framework_id.clone());
            let offer =
                events.iter().rev().find_map(|event| event.offers.as_ref()).map(|offers| &offers.offers[0]);
            if let (Some(accept), Some(offer)) = (&mut call.accept, offer) {
                accept.offer_ids = vec![offer.id.clone()];
            }
            let agent_id = offer.map(|offer| offer.agent_id.clone()).unwrap();
            let executor =
                self.world.agents[0].containers.values().next().map(|(_, id)| id.wire()).unwrap_or_default();
            if let Some(message) = &mut call.message {
                (message.agent_id, message.executor_id) = (agent_id.clone(), executor.clone());
            }
            if let Some(shutdown) = &mut call.shutdown {
                (shutdown.agent_id, shutdown.executor_id) = (agent_id, executor);
            }
        }
        let stream_id = self.stream_ids.get("played").cloned().flatten();
        if let master::Answer::Stream { connection, stream_id } = self.world.call(call, stream_id.as_deref())
        {
            self.schedulers.insert("played".into(), (connection, stream_id.clone()));
            self.stream_ids.insert("played".into(), stream_id);
        }
    }

    /// The played scheduler acknowledges what it has heard.
    fn acknowledge(&mut self, terminal: bool) {
        let Some((connection, _)) = self.schedulers.get("played") else { return };
        let statuses: Vec<mesos::TaskStatus> = self.world.schedulers[connection]
            .events
            .iter()
            .filter_map(|event| event.update.as_ref())
            .map(|update| update.status.clone())
            .filter(|status| status.uuid.is_some() && (terminal || !master::is_terminal(status.state())))
            .collect();
        for status in statuses {
            let acknowledge = Some(scheduler::call::Acknowledge {
                agent_id: status.agent_id.clone().unwrap(),
                task_id: status.task_id.clone(),
                uuid: status.uuid.clone().unwrap(),
            });
            let kind = Some(scheduler::call::Type::Acknowledge.into());
            self.played_call(&scheduler::Call { r#type: kind, acknowledge, ..Default::default() });
        }
    }

    fn exchange(&mut self, exchange: &Value) {
        let name = exchange["exchange"].as_str().unwrap();
        let Ok(body) = std::fs::read(self.folder.join(format!("{name}.request.bin"))) else { return };
        let recorded = exchange["status"].as_u64().unwrap_or(0) as u16;
        if [405, 406, 415].contains(&recorded) {
            return;
        }
        let status = match exchange["request"].as_str().unwrap_or("") {
            "POST /api/v1/scheduler" => self.scheduler_call(name, exchange["role"].as_str().unwrap(), &body),
            "POST /api/v1/executor" => self.executor_call(name, &body),
            "POST /api/v1" if exchange["role"] == "operator" => self.operator_call(&body),
            _ => return,
        };
        // 0: nothing came back, since the server was down; 404 and 503 of a server that starts are the HTTP edge's.
        let of_the_edge =
            [0, 404].contains(&recorded) || (name.ends_with("resubscribe-503") && !name.contains("update"));
        if !of_the_edge && status != recorded {
            self.problems.push(format!("{name}: status {status}, recorded {recorded}"));
        }
    }

    fn scheduler_call(&mut self, name: &str, role: &str, body: &[u8]) -> u16 {
        let Ok(mut call) = reflect::decode::<scheduler::Call>(CALL, Encoding::Protobuf, body) else {
            return 400;
        };
        self.match_offers(role, &mut call);
        self.match_operation(role, &mut call);
        let subscribe = call.r#type() == scheduler::call::Type::Subscribe;
        let stream_id = match (subscribe, name.contains("stream-id-of-first") || name.contains("superseded"))
        {
            (true, _) => None,
            (false, true) => self.old_stream_ids.last().cloned(),
            (false, false) => self.stream_ids.get(role).cloned().flatten(),
        };
        match self.world.call(call, stream_id.as_deref()) {
            master::Answer::Refused(status, _) => status,
            master::Answer::Accepted => 202,
            master::Answer::Done | master::Answer::Response(_) => 200,
            master::Answer::Stream { connection, stream_id } => {
                self.schedulers.insert(name.to_owned(), (connection, stream_id.clone()));
                let all = self.stream_ids.values().flatten().cloned();
                self.old_stream_ids.extend(all);
                self.stream_ids.insert(role.to_owned(), stream_id);
                self.newest_stream.insert(role.to_owned(), connection);
                200
            }
        }
    }

    fn operator_call(&mut self, body: &[u8]) -> u16 {
        let Ok(call) = reflect::decode("mesos.v1.master.Call", Encoding::Protobuf, body) else { return 400 };
        match self.world.operate(call) {
            master::Answer::Refused(status, _) => status,
            master::Answer::Accepted => 202,
            master::Answer::Done | master::Answer::Response(_) | master::Answer::Stream { .. } => 200,
        }
    }

    /// Recorded offers become ours.
    fn match_offers(&mut self, role: &str, call: &mut scheduler::Call) {
        let ids = match (&mut call.accept, &mut call.decline) {
            (Some(accept), _) => &mut accept.offer_ids,
            (_, Some(decline)) => &mut decline.offer_ids,
            _ => return,
        };
        let mut ids = std::mem::take(ids);
        for id in &mut ids {
            if let Some(agent) = self.agent_of_offer(&id.value) {
                id.value = self.our_offer(role, &id.value, &agent);
            }
        }
        match (&mut call.accept, &mut call.decline) {
            (Some(accept), _) => accept.offer_ids = ids,
            (_, Some(decline)) => decline.offer_ids = ids,
            _ => {}
        }
    }

    /// The uuid of a recorded feedback becomes ours of the same operation.
    fn match_operation(&mut self, role: &str, call: &mut scheduler::Call) {
        let Some(acknowledge) = &mut call.acknowledge_operation_status else { return };
        let events = &self.world.schedulers[&self.newest_stream[role]].events;
        let statuses = events.iter().filter_map(|event| event.update_operation_status.as_ref());
        let ours = statuses
            .map(|update| &update.status)
            .find(|status| status.operation_id.as_ref() == Some(&acknowledge.operation_id));
        if let Some(uuid) = ours.and_then(|status| status.uuid.clone()) {
            acknowledge.uuid = uuid.value;
        }
    }

    /// The agent of a recorded offer; none for offers that never were.
    fn agent_of_offer(&self, id: &str) -> Option<String> {
        let events = self.json["events"].as_array().unwrap().iter();
        let mut offers = events.filter_map(|event| event["event"]["offers"]["offers"].as_array()).flatten();
        let offer = offers.find(|offer| offer["id"]["value"] == id)?;
        Some(offer["agent_id"]["value"].as_str().unwrap().to_owned())
    }

    /// Our offer for a recorded one: the newest of that agent to this scheduler; time passes until there is one.
    fn our_offer(&mut self, role: &str, recorded: &str, agent: &str) -> String {
        if let Some(ours) = self.offers.get(recorded) {
            return ours.clone();
        }
        for _ in 0..40 {
            let connection = self.newest_stream[role];
            let events = self.world.schedulers[&connection].events.iter().rev();
            let offers = events.filter_map(|event| event.offers.as_ref()).flat_map(|offers| &offers.offers);
            let used: Vec<&String> = self.offers.values().collect();
            let found = offers
                .map(|o| (&o.id.value, &o.agent_id.value))
                .find(|(id, on)| *on == agent && !used.contains(id));
            if let Some((id, _)) = found {
                let id = id.clone();
                self.offers.insert(recorded.to_owned(), id.clone());
                return id;
            }
            self.world.advance(Duration::from_millis(100));
        }
        recorded.to_owned()
    }

    fn executor_call(&mut self, name: &str, body: &[u8]) -> u16 {
        let Ok(call) = reflect::decode::<executor::Call>(EXECUTOR_CALL, Encoding::Protobuf, body) else {
            return 400;
        };
        let index = self.world.agent_of(&call.executor_id.value);
        if self.world.agents[index].core.is_none() {
            return 0;
        }
        match self.world.executor_call(index, call) {
            agent::Answer::Refused(status, _) => status,
            agent::Answer::Accepted => 202,
            agent::Answer::Response(_) => 200,
            agent::Answer::Stream(connection) => {
                self.executors.insert(name.to_owned(), (index, connection));
                200
            }
        }
    }

    fn compare(&mut self) {
        for (name, (connection, _)) in std::mem::take(&mut self.schedulers) {
            if name == "played" {
                continue;
            }
            let ours = &self.world.schedulers[&connection].events;
            let ours = ours.iter().map(|event| in_words(event, "mesos.v1.scheduler.Event")).collect();
            self.compare_stream(&name, "mesos.v1.scheduler.Event", ours);
        }
        for (name, (index, connection)) in std::mem::take(&mut self.executors) {
            let Some(heard) = self.world.agents[index].executors.get(&connection) else { continue };
            let ours = heard.events.iter().map(|event| in_words(event, "mesos.v1.executor.Event")).collect();
            self.compare_stream(&name, "mesos.v1.executor.Event", ours);
        }
    }

    fn compare_stream(&mut self, name: &str, message: &str, ours: Vec<Value>) {
        let bytes = std::fs::read(self.folder.join(format!("{name}.stream.bin"))).unwrap();
        let mut decoder = Decoder::new(Limits::default());
        decoder.push(&bytes);
        let mut theirs = Vec::new();
        while let Some(record) = decoder.next().unwrap() {
            theirs.push(match message {
                "mesos.v1.scheduler.Event" => {
                    in_words(&decode::<scheduler::Event>(message, &record), message)
                }
                _ => in_words(&decode::<executor::Event>(message, &record), message),
            });
        }
        let (mut ours, mut theirs) = (essence(ours), essence(theirs));
        if self.json["scenario"] == "14-agent-restart" {
            // Order counts within a task only, and Mesos goes through the tasks of an agent in no order.
            let task = |event: &Value| event.pointer("/update/status/task_id/value").map(Value::to_string);
            ours.sort_by_key(task);
            theirs.sort_by_key(task);
        }
        for (index, (a, b)) in ours.iter().zip(&theirs).enumerate() {
            if a != b {
                self.problems.push(format!("{name}, event {index}:\n   ours     {a}\n   recorded {b}"));
                return;
            }
        }
        if ours.len() != theirs.len() {
            let more = if ours.len() > theirs.len() { &ours[theirs.len()..] } else { &theirs[ours.len()..] };
            let whose = if ours.len() > theirs.len() { "only ours" } else { "only recorded" };
            let more: Vec<String> = more.iter().map(Value::to_string).collect();
            self.problems.push(format!("{name}, {whose}:\n   {}", more.join("\n   ")));
        }
    }
}

fn json(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

fn decode<M: prost::Message + Default>(name: &str, record: &[u8]) -> M {
    reflect::decode(name, Encoding::Protobuf, record).unwrap()
}

fn in_words<M: prost::Message>(event: &M, name: &str) -> Value {
    serde_json::from_slice(&reflect::encode(name, Encoding::Json, event).unwrap()).unwrap()
}

/// Without HEARTBEATs and OFFERS, without what differs from run to run, FAILUREs last (they may overtake updates), and
/// without updates that were only sent again.
fn essence(events: Vec<Value>) -> Vec<Value> {
    let mut seen = Vec::new();
    let mut kept: Vec<Value> = Vec::new();
    for mut event in events {
        let kind = event["type"].as_str().unwrap_or("").to_owned();
        if ["HEARTBEAT", "OFFERS", "RESCIND"].contains(&kind.as_str()) {
            continue;
        }
        if let Some(status) = event.pointer_mut("/update/status").and_then(Value::as_object_mut) {
            if let Some(uuid) = status.get("uuid").cloned() {
                if seen.contains(&uuid) {
                    continue;
                }
                seen.push(uuid);
            }
            if status["source"] != "SOURCE_EXECUTOR" && status.contains_key("uuid") {
                status["uuid"] = "made by the agent".into();
            }
            status.remove("timestamp");
            status.remove("container_status");
            status.remove("unreachable_time");
            shorten(status.get_mut("message"));
        }
        if let Some(subscribed) = event.get_mut("subscribed").and_then(Value::as_object_mut) {
            for varying in ["master_info", "container_id", "agent_info"] {
                subscribed.remove(varying);
            }
        }
        kept.push(event);
    }
    for event in &mut kept {
        if let Some(status) =
            event.pointer_mut("/update_operation_status/status").and_then(Value::as_object_mut)
        {
            if status.contains_key("uuid") {
                status["uuid"] = "made by the agent".into();
            }
            shorten(status.get_mut("message"));
        }
    }
    kept.sort_by_key(|event| event["type"] == "FAILURE");
    kept
}

/// Texts that hold ids of containers, or that ours says in more or fewer words, are compared by their beginning.
fn shorten(message: Option<&mut Value>) {
    const BEGINNINGS: [&str; 5] = [
        "Failed to launch container: Failed to fetch all URIs for container",
        "ExecutorInfo is not compatible with existing ExecutorInfo with same ExecutorID.",
        "Total resources ",
        "Executor did not",
        "A reserve operation was attempted by authenticated principal",
    ];
    let Some(message) = message else { return };
    let text = message.as_str().unwrap_or("").to_owned();
    if let Some(beginning) = BEGINNINGS.iter().find(|beginning| text.starts_with(**beginning)) {
        *message = (*beginning).into();
    }
}

#[test]
fn a_first_subscription_reads_as_recorded() {
    load("01-subscribe", Timings::default()).play(&[]);
}

#[test]
fn a_launch_and_its_updates_read_as_recorded() {
    load("02-launch", Timings::default()).play(&[]);
}

#[test]
fn declining_reviving_and_suppressing_read_as_recorded() {
    load("03-decline-revive-suppress", Timings::default()).play(&[(17_133, Act::Disconnect("01-subscribe"))]);
}

#[test]
fn reconciliation_reads_as_recorded() {
    load("04-reconcile", Timings::default()).play(&[]);
}

#[test]
fn killed_stopped_crashed_and_failed_executors_read_as_recorded() {
    let timings = Timings { executor_registration: Duration::from_secs(5), ..Timings::default() };
    load("05-kill-shutdown-crash", timings).play(&[(13_200, Act::FetchFailure("logherd-exec.8"))]);
}

#[test]
fn messages_read_as_recorded() {
    load("06-message", Timings::default()).play(&[]);
}

#[test]
fn an_elapsed_failover_timeout_reads_as_recorded() {
    load("07-failover-timeout", Timings::default()).play(&[(909, Act::Disconnect("01-subscribe"))]);
}

#[test]
fn resubscription_takeover_and_teardown_read_as_recorded() {
    load("07-resubscribe-takeover", Timings::default()).play(&[(1024, Act::Disconnect("01-subscribe"))]);
}

#[test]
fn refused_tasks_and_offers_read_as_recorded() {
    load("08-invalid-task-or-offer", Timings::default()).play(&[]);
}

#[test]
fn refused_frameworks_read_as_recorded() {
    let acts = [(9141, Act::Disconnect("14-subscribe-good"))];
    load_with("08-bad-framework-info", Timings::default(), &["logherd"]).play(&acts);
}

#[test]
fn an_unreachable_agent_that_returns_reads_as_recorded() {
    let timings = Timings { agent_ping: Duration::from_secs(1), agent_ping_misses: 3, ..Timings::default() };
    load("09-agent-unreachable", timings).play(&[
        (1621, Act::KillAgent),
        (6885, Act::StartAgent),
        (7000, Act::Subscribe("logherd-exec.1")),
    ]);
}

#[test]
fn the_executor_s_side_reads_as_recorded() {
    load("13-executor", Timings::default()).play(&[]);
}

#[test]
fn an_agent_that_restarts_reads_as_recorded() {
    let acts =
        [(2017, Act::KillAgent), (2150, Act::StartAgent), (5284, Act::KillAgent), (5350, Act::StartAgent)];
    load("14-agent-restart", Timings::default()).play(&acts);
}

#[test]
fn validated_updates_read_as_recorded() {
    load("15-update-validation", Timings::default()).play(&[(5500, Act::AcknowledgeAll)]);
}

#[test]
fn reservations_read_as_recorded() {
    load("10-reserve-unreserve", Timings::default()).play(&[]);
}

#[test]
fn draining_and_marking_gone_read_as_recorded() {
    load("11-drain-gone", Timings::default()).play(&[]);
}

#[test]
fn an_agent_that_forgets_its_executors_reads_as_recorded() {
    let acts = [
        (788, Act::KillAgent),
        (900, Act::StartAgent),
        (3915, Act::Disconnect("01-subscribe")),
        (4083, Act::KillAgent),
        (4190, Act::StartEmptyAgent),
    ];
    load("14-agent-restart-refusals", Timings::default()).play(&acts);
}

#[test]
fn maintenance_reads_as_recorded() {
    let mut scenario = load("11-maintenance", Timings::default());
    // Rounds of allocation fall between the same calls as in the recording.
    scenario.world.advance(Duration::from_millis(100));
    scenario.play(&[]);
}
