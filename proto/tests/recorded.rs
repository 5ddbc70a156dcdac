//! Checks our `.proto` files and the RecordIO decoder against exchanges recorded with a real Mesos 1.12.
//!
//! Each folder of `fixtures/mesos-1.12` is one scenario: the bytes as they went over the wire, and `events.json` with what
//! they say in Mesos' own JSON. Every recorded byte must decode to that JSON, in any chunking, and must survive a round
//! trip through the types that the rest of Logherd uses. What our subset leaves out on purpose is listed in [`LEFT_OUT`];
//! a field that is neither known nor listed fails the test.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says what is wrong by panicking"
)]

use prost::Message;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, SerializeOptions,
};
use proto::mesos::v1;
use proto::recordio::{Decoder, Limits};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Fields that Mesos sends and Logherd has no use for: `message.field`, as in the `.proto` files of Mesos.
const LEFT_OUT: &[&str] =
    &["mesos.v1.AgentInfo.checkpoint", "mesos.v1.agent.Response.GetContainers.Container.resource_statistics"];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/mesos-1.12")
}

fn pool() -> DescriptorPool {
    DescriptorPool::decode(proto::mesos::DESCRIPTORS).unwrap()
}

/// One recorded request with everything that came back.
struct Exchange {
    name: String,
    scenario: PathBuf,
    recorded: Value,
    /// The events of its stream, in order.
    events: Vec<Value>,
}

impl Exchange {
    fn file(&self, suffix: &str) -> Option<Vec<u8>> {
        std::fs::read(self.scenario.join(format!("{}.{suffix}", self.name))).ok()
    }

    fn at(&self) -> String {
        format!("{}/{}", self.scenario.file_name().unwrap().to_string_lossy(), self.name)
    }

    /// The package that its messages belong to, or `None` when it was not an API call.
    fn package(&self) -> Option<&'static str> {
        let (method, path) = self.recorded["request"].as_str()?.split_once(' ')?;
        let agent = self.recorded["role"].as_str()?.starts_with("agent");
        match (method, path) {
            ("POST", "/api/v1/scheduler") => Some("mesos.v1.scheduler"),
            ("POST", "/api/v1/executor" | "/slave(1)/api/v1/executor") => Some("mesos.v1.executor"),
            ("POST", "/api/v1") if agent => Some("mesos.v1.agent"),
            ("POST", "/api/v1") => Some("mesos.v1.master"),
            _ => None,
        }
    }
}

fn exchanges() -> Vec<Exchange> {
    let mut scenarios: Vec<PathBuf> =
        std::fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap().path()).collect();
    scenarios.sort();
    let mut all = Vec::new();
    for scenario in scenarios {
        let recorded: Value =
            serde_json::from_slice(&std::fs::read(scenario.join("events.json")).unwrap()).unwrap();
        for exchange in recorded["exchanges"].as_array().unwrap() {
            let name = exchange["exchange"].as_str().unwrap().to_owned();
            let of_this = |event: &&Value| event["exchange"] == exchange["exchange"];
            let mut events: Vec<Value> =
                recorded["events"].as_array().unwrap().iter().filter(of_this).cloned().collect();
            events.sort_by_key(|event| event["index"].as_u64().unwrap());
            all.push(Exchange { name, scenario: scenario.clone(), recorded: exchange.clone(), events });
        }
    }
    assert!(all.len() > 400, "the recordings are missing: {} exchanges", all.len());
    all
}

/// A message as JSON in Mesos' own style.
fn json(message: &DynamicMessage) -> Value {
    let style = SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(false);
    message.serialize_with_options(serde_json::value::Serializer, &style).unwrap()
}

fn decode(descriptor: &MessageDescriptor, bytes: &[u8]) -> DynamicMessage {
    DynamicMessage::decode(descriptor.clone(), bytes).unwrap()
}

/// Removes what our subset does not know and collects its names; removes empty lists, which only Mesos prints.
fn prune(value: &mut Value, descriptor: &MessageDescriptor, unknown: &mut BTreeSet<String>) {
    let Value::Object(members) = value else { return };
    if descriptor.is_map_entry() {
        return;
    }
    members.retain(|_, member| !member.as_array().is_some_and(Vec::is_empty));
    members.retain(|name, _| {
        let known = descriptor.get_field_by_name(name).is_some();
        if !known {
            unknown.insert(format!("{}.{name}", descriptor.full_name()));
        }
        known
    });
    for (name, member) in members.iter_mut() {
        let field = descriptor.get_field_by_name(name).unwrap();
        prune_field(member, &field, unknown);
    }
}

fn prune_field(value: &mut Value, field: &FieldDescriptor, unknown: &mut BTreeSet<String>) {
    let Kind::Message(descriptor) = field.kind() else { return };
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| prune(item, &descriptor, unknown)),
        Value::Object(entries) if field.is_map() => {
            let Kind::Message(of_value) = descriptor.map_entry_value_field().kind() else { return };
            entries.values_mut().for_each(|entry| prune(entry, &of_value, unknown));
        }
        other => prune(other, &descriptor, unknown),
    }
}

/// Whether two values say the same: Mesos prints 16 digits of a double, and JSON does not tell 1 from 1.0.
fn alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            let (one, other) = (one.as_f64().unwrap(), other.as_f64().unwrap());
            (one - other).abs() <= 1e-15 * one.abs()
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| alike(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, member)| other.get(name).is_some_and(|other| alike(member, other)))
        }
        (one, other) => one == other,
    }
}

fn assert_says(at: &str, descriptor: &MessageDescriptor, seen: &Value, recorded: &Value) {
    let mut recorded = recorded.clone();
    let mut unknown = BTreeSet::new();
    prune(&mut recorded, descriptor, &mut unknown);
    unknown.retain(|name| !LEFT_OUT.contains(&name.as_str()));
    assert!(unknown.is_empty(), "{at}: neither in our .proto files nor in LEFT_OUT: {unknown:?}");
    assert!(
        alike(seen, &recorded),
        "{at}: decoded\n{}\nrecorded\n{}",
        serde_json::to_string_pretty(seen).unwrap(),
        serde_json::to_string_pretty(&recorded).unwrap()
    );
}

/// Decodes as the type that the rest of Logherd uses and encodes that again.
fn through_our_types(message: &str, bytes: &[u8]) -> Vec<u8> {
    fn again<M: Message + Default>(bytes: &[u8]) -> Vec<u8> {
        M::decode(bytes).unwrap().encode_to_vec()
    }
    match message {
        "mesos.v1.scheduler.Call" => again::<v1::scheduler::Call>(bytes),
        "mesos.v1.scheduler.Event" => again::<v1::scheduler::Event>(bytes),
        "mesos.v1.executor.Call" => again::<v1::executor::Call>(bytes),
        "mesos.v1.executor.Event" => again::<v1::executor::Event>(bytes),
        "mesos.v1.master.Call" => again::<v1::master::Call>(bytes),
        "mesos.v1.master.Event" => again::<v1::master::Event>(bytes),
        "mesos.v1.master.Response" => again::<v1::master::Response>(bytes),
        "mesos.v1.agent.Call" => again::<v1::agent::Call>(bytes),
        "mesos.v1.agent.Response" => again::<v1::agent::Response>(bytes),
        other => panic!("no type for {other}"),
    }
}

fn descriptor(pool: &DescriptorPool, package: &str, name: &str) -> MessageDescriptor {
    pool.get_message_by_name(&format!("{package}.{name}")).unwrap()
}

/// Checks one protobuf message: it says what was recorded, and it still does after a trip through our own types.
fn check_message(at: &str, descriptor: &MessageDescriptor, bytes: &[u8], recorded: &Value) {
    let message = decode(descriptor, bytes);
    assert_says(at, descriptor, &json(&message), recorded);
    let again = through_our_types(descriptor.full_name(), bytes);
    assert_says(&format!("{at} (round trip)"), descriptor, &json(&decode(descriptor, &again)), recorded);
}

fn records(chunks: impl IntoIterator<Item = Vec<u8>>) -> Vec<Vec<u8>> {
    let mut decoder = Decoder::new(Limits::default());
    let mut records = Vec::new();
    for chunk in chunks {
        decoder.push_bytes(chunk.into());
        while let Some(record) = decoder.next().unwrap() {
            records.push(record.to_vec());
        }
    }
    records
}

#[test]
fn every_recorded_stream_decodes_to_the_recorded_events() {
    let pool = pool();
    let mut seen = 0;
    for exchange in exchanges() {
        let (Some(stream), Some(package)) = (exchange.file("stream.bin"), exchange.package()) else {
            continue;
        };
        let chunks: Value = serde_json::from_slice(&exchange.file("chunks.json").unwrap()).unwrap();
        let place = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();
        let as_sent = chunks["chunks"].as_array().unwrap().iter().map(|chunk| {
            let (offset, length) = (place(&chunk["offset"]), place(&chunk["length"]));
            stream[offset..offset + length].to_vec()
        });
        let events = records(as_sent);
        assert_eq!(events.len(), exchange.events.len(), "{}", exchange.at());
        let descriptor = descriptor(&pool, package, "Event");
        for (bytes, recorded) in events.iter().zip(&exchange.events) {
            let at = format!("{} event {}", exchange.at(), recorded["index"]);
            if bytes.starts_with(b"{") {
                let said: Value = serde_json::from_slice(bytes).unwrap();
                assert_says(&at, &descriptor, &json(&from_json(&descriptor, &said)), &recorded["event"]);
            } else {
                check_message(&at, &descriptor, bytes, &recorded["event"]);
            }
            seen += 1;
        }
    }
    assert!(seen > 300, "only {seen} events were checked");
}

#[test]
fn every_recorded_stream_split_at_every_byte_gives_the_same_records() {
    for exchange in exchanges() {
        let Some(stream) = exchange.file("stream.bin") else { continue };
        let whole = records([stream.clone()]);
        assert_eq!(whole.len(), exchange.events.len(), "{}", exchange.at());
        assert_eq!(records(stream.iter().map(|&byte| vec![byte])), whole, "{}: byte by byte", exchange.at());
        if stream.len() > 20_000 {
            continue; // every cut of a long stream would take minutes and show nothing else
        }
        for cut in 0..=stream.len() {
            let (head, tail) = stream.split_at(cut);
            assert_eq!(records([head.to_vec(), tail.to_vec()]), whole, "{}: cut at {cut}", exchange.at());
        }
    }
}

/// Reads Mesos' JSON into our types, without what we left out.
fn from_json(descriptor: &MessageDescriptor, said: &Value) -> DynamicMessage {
    let mut said = said.clone();
    prune(&mut said, descriptor, &mut BTreeSet::new());
    DynamicMessage::deserialize(descriptor.clone(), said).unwrap()
}

#[test]
fn every_recorded_request_survives_our_types() {
    let pool = pool();
    let mut exact = 0;
    for exchange in exchanges() {
        let (Some(body), Some(package)) = (exchange.file("request.bin"), exchange.package()) else {
            continue;
        };
        let Some(call) = exchange.recorded.get("call") else { continue };
        let descriptor = descriptor(&pool, package, "Call");
        if body.starts_with(b"{") {
            let said: Value = serde_json::from_slice(&body).unwrap();
            assert_says(&exchange.at(), &descriptor, &json(&from_json(&descriptor, &said)), call);
            continue;
        }
        check_message(&exchange.at(), &descriptor, &body, call);
        let again = through_our_types(descriptor.full_name(), &body);
        assert_eq!(again.escape_ascii().to_string(), body.escape_ascii().to_string(), "{}", exchange.at());
        exact += 1;
    }
    assert!(exact > 300, "only {exact} requests were checked");
}

#[test]
fn every_recorded_operator_answer_decodes_to_what_was_recorded() {
    let pool = pool();
    let mut seen = 0;
    for exchange in exchanges() {
        let (Some(body), Some(package)) = (exchange.file("response.bin"), exchange.package()) else {
            continue;
        };
        let answer = &exchange.recorded["body"];
        if !matches!(package, "mesos.v1.master" | "mesos.v1.agent")
            || !answer.is_object()
            || body.starts_with(b"\x1f\x8b")
        {
            continue;
        }
        let descriptor = descriptor(&pool, package, "Response");
        if body.starts_with(b"{") {
            let said: Value = serde_json::from_slice(&body).unwrap();
            assert_says(&exchange.at(), &descriptor, &json(&from_json(&descriptor, &said)), answer);
        } else {
            check_message(&exchange.at(), &descriptor, &body, answer);
        }
        seen += 1;
    }
    assert!(seen > 30, "only {seen} answers were checked");
}

#[test]
fn bodies_that_mesos_refused_never_make_our_types_panic() {
    for exchange in exchanges() {
        let (Some(body), Some(package)) = (exchange.file("request.bin"), exchange.package()) else {
            continue;
        };
        let bodies = (0..=body.len().min(2_000)).map(|end| &body[..end]);
        for body in bodies {
            match package {
                "mesos.v1.scheduler" => drop(v1::scheduler::Call::decode(body)),
                "mesos.v1.executor" => drop(v1::executor::Call::decode(body)),
                "mesos.v1.agent" => drop(v1::agent::Call::decode(body)),
                _ => drop(v1::master::Call::decode(body)),
            }
        }
    }
}
