//! Reads what can be read of a message that is not sound as a whole.
//!
//! Mesos lets texts be any bytes, protobuf here does not: an attribute in Latin-1, or the words of a program in the message of
//! an update, would cost everything beside it. Only what may hold such texts is read anew, each of its texts as bytes, with
//! `U+FFFD` for what is no UTF-8. What is broken otherwise stays an error.
use super::items::each;
use bytes::Bytes;
use prost::{DecodeError, Message};
use proto::mesos::v1;
use proto::mesos::v1::scheduler as wire;
use proto::mesos::v1::{master, value};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(int32, optional, tag = "1")]
    kind: Option<i32>,
    #[prost(message, optional, tag = "3")]
    offers: Option<Offers>,
    #[prost(message, optional, tag = "5")]
    update: Option<Update>,
}

#[derive(Clone, PartialEq, Message)]
struct Offers {
    #[prost(bytes = "vec", repeated, tag = "1")]
    offers: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Offer {
    #[prost(message, required, tag = "1")]
    id: v1::OfferId,
    #[prost(message, required, tag = "2")]
    framework_id: v1::FrameworkId,
    #[prost(message, required, tag = "3")]
    agent_id: v1::AgentId,
    #[prost(bytes = "vec", tag = "4")]
    hostname: Vec<u8>,
    #[prost(message, repeated, tag = "5")]
    resources: Vec<v1::Resource>,
    #[prost(message, repeated, tag = "6")]
    executor_ids: Vec<v1::ExecutorId>,
    #[prost(message, repeated, tag = "7")]
    attributes: Vec<Attribute>,
    #[prost(message, optional, tag = "9")]
    unavailability: Option<v1::Unavailability>,
    #[prost(message, optional, tag = "10")]
    allocation_info: Option<v1::resource::AllocationInfo>,
    #[prost(message, optional, tag = "11")]
    domain: Option<v1::DomainInfo>,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(bytes = "vec", tag = "1")]
    name: Vec<u8>,
    #[prost(int32, tag = "2")]
    kind: i32,
    #[prost(message, optional, tag = "3")]
    scalar: Option<value::Scalar>,
    #[prost(message, optional, tag = "4")]
    ranges: Option<value::Ranges>,
    #[prost(message, optional, tag = "5")]
    text: Option<Text>,
    #[prost(message, optional, tag = "6")]
    set: Option<Set>,
}

#[derive(Clone, PartialEq, Message)]
struct Text {
    #[prost(bytes = "vec", tag = "1")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Set {
    #[prost(bytes = "vec", repeated, tag = "1")]
    item: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Update {
    #[prost(message, required, tag = "1")]
    status: Status,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(message, required, tag = "1")]
    task_id: v1::TaskId,
    #[prost(int32, tag = "2")]
    state: i32,
    #[prost(bytes = "vec", tag = "4")]
    message: Vec<u8>,
    #[prost(message, optional, tag = "5")]
    agent_id: Option<v1::AgentId>,
    #[prost(message, optional, tag = "7")]
    executor_id: Option<v1::ExecutorId>,
    #[prost(int32, optional, tag = "10")]
    reason: Option<i32>,
    #[prost(bytes = "vec", optional, tag = "11")]
    uuid: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Response {
    #[prost(message, optional, tag = "10")]
    get_agents: Option<GetAgents>,
}

#[derive(Clone, PartialEq, Message)]
struct GetAgents {
    #[prost(bytes = "vec", repeated, tag = "1")]
    agents: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    recovered: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Agent {
    #[prost(message, required, tag = "1")]
    agent_info: AgentInfo,
}

#[derive(Clone, PartialEq, Message)]
struct AgentInfo {
    #[prost(bytes = "vec", tag = "1")]
    hostname: Vec<u8>,
    #[prost(message, repeated, tag = "3")]
    resources: Vec<v1::Resource>,
    #[prost(message, repeated, tag = "5")]
    attributes: Vec<Attribute>,
    #[prost(message, optional, tag = "6")]
    id: Option<v1::AgentId>,
    #[prost(message, optional, tag = "10")]
    domain: Option<v1::DomainInfo>,
}

/// The rest of an agent, which has no texts that people write.
#[derive(Clone, PartialEq, Message)]
struct AgentState {
    #[prost(bool, tag = "2")]
    active: bool,
    #[prost(string, tag = "3")]
    version: String,
    #[prost(string, optional, tag = "4")]
    pid: Option<String>,
    #[prost(message, repeated, tag = "7")]
    total: Vec<v1::Resource>,
    #[prost(message, repeated, tag = "8")]
    allocated: Vec<v1::Resource>,
    #[prost(message, repeated, tag = "10")]
    capabilities: Vec<v1::agent_info::Capability>,
    #[prost(bool, optional, tag = "12")]
    deactivated: Option<bool>,
    #[prost(message, optional, tag = "13")]
    drain_info: Option<v1::DrainInfo>,
}

/// An event of the scheduler API; what cannot be read of its offers is left out.
pub(super) fn event(record: &[u8]) -> Result<wire::Event, DecodeError> {
    let whole = match wire::Event::decode(record) {
        Ok(event) => return Ok(event),
        Err(error) => error,
    };
    let outline = Event::decode(record)?;
    if outline.offers.is_none() && outline.update.is_none() {
        return Err(whole);
    }
    tracing::warn!(error = %whole, "an event has a text that is no UTF-8; it is read with marks in its place");
    let offers = outline.offers.map(|offers| wire::event::Offers {
        offers: offers.offers.iter().filter_map(|bytes| readable(OFFER, bytes, offer)).collect(),
    });
    let update = outline.update.map(|update| wire::event::Update { status: status(update.status) });
    Ok(wire::Event { r#type: outline.kind, offers, update, ..wire::Event::default() })
}

/// An answer of the operator API; what cannot be read of its agents is left out.
pub(super) fn response(body: &[u8]) -> Result<master::Response, DecodeError> {
    let whole = match master::Response::decode(body) {
        Ok(response) => return Ok(response),
        Err(error) => error,
    };
    let Some(listed) = Response::decode(body)?.get_agents else { return Err(whole) };
    tracing::debug!(error = %whole, "the list of agents has a text that is no UTF-8; it is read with marks in its place");
    let agents = listed.agents.iter().filter_map(|bytes| readable(AGENT, bytes, agent)).collect();
    let recovered =
        listed.recovered.iter().filter_map(|bytes| readable(AGENT_INFO, bytes, agent_info)).collect();
    let get_agents = Some(master::response::GetAgents { agents, recovered_agents: recovered });
    Ok(master::Response { get_agents, ..master::Response::default() })
}

/// Of which kind something is that the master told, and where the id of its agent is: in the text of field 1 there.
pub(super) struct Kind(&'static str, &'static [u32]);

pub(super) const OFFER: Kind = Kind("offer", &[3]);
pub(super) const AGENT: Kind = Kind("agent", &[1, 6]);
pub(super) const AGENT_INFO: Kind = Kind("agent", &[6]);

/// What could not be read lately, by its checksum: the master tells the same every few seconds.
static SAID: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());
/// How much of it is remembered.
const SAID_MAX: usize = 1000;

/// What can be read; the rest is said once and left out.
pub(super) fn readable<T>(
    Kind(what, id_in): Kind,
    bytes: &[u8],
    read: impl FnOnce(&[u8]) -> Result<T, DecodeError>,
) -> Option<T> {
    let error = match read(bytes) {
        Ok(read) => return Some(read),
        Err(error) => error,
    };
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.len() >= SAID_MAX {
        said.clear();
    }
    if said.insert(crc32fast::hash(bytes)) {
        let agent = id_of(bytes, id_in);
        tracing::error!(
            what, agent, %error,
            "one of the master's cannot be read and is left out: nothing is launched by it; see what is wrong with that agent's \
             attributes and resources, and report it"
        );
    }
    None
}

/// The id of an agent, as far as it can be found; else nothing.
fn id_of(bytes: &[u8], path: &[u32]) -> String {
    let mut id = String::new();
    let found = each(Bytes::copy_from_slice(bytes), path, &mut |field, text| {
        if field == 1 {
            id = lossy(&text);
        }
        Ok(())
    });
    // What is broken may come after it.
    drop(found);
    id
}

fn offer(bytes: &[u8]) -> Result<v1::Offer, DecodeError> {
    if let Ok(offer) = v1::Offer::decode(bytes) {
        return Ok(offer);
    }
    let outline = Offer::decode(bytes)?;
    Ok(v1::Offer {
        id: outline.id,
        framework_id: outline.framework_id,
        agent_id: outline.agent_id,
        hostname: lossy(&outline.hostname),
        resources: outline.resources,
        executor_ids: outline.executor_ids,
        attributes: outline.attributes.into_iter().map(attribute).collect(),
        unavailability: outline.unavailability,
        allocation_info: outline.allocation_info,
        domain: outline.domain,
        ..v1::Offer::default()
    })
}

fn status(outline: Status) -> v1::TaskStatus {
    v1::TaskStatus {
        task_id: outline.task_id,
        state: outline.state,
        message: Some(lossy(&outline.message)),
        agent_id: outline.agent_id,
        executor_id: outline.executor_id,
        reason: outline.reason,
        uuid: outline.uuid,
        ..v1::TaskStatus::default()
    }
}

/// An agent of the operator API.
pub(super) fn agent(bytes: &[u8]) -> Result<master::response::get_agents::Agent, DecodeError> {
    if let Ok(agent) = master::response::get_agents::Agent::decode(bytes) {
        return Ok(agent);
    }
    let (outline, state) = (Agent::decode(bytes)?, AgentState::decode(bytes)?);
    Ok(master::response::get_agents::Agent {
        agent_info: info(outline.agent_info),
        active: state.active,
        version: state.version,
        pid: state.pid,
        total_resources: state.total,
        allocated_resources: state.allocated,
        capabilities: state.capabilities,
        deactivated: state.deactivated,
        drain_info: state.drain_info,
        ..Default::default()
    })
}

/// What the master remembers of an agent.
pub(super) fn agent_info(bytes: &[u8]) -> Result<v1::AgentInfo, DecodeError> {
    v1::AgentInfo::decode(bytes).or_else(|_| AgentInfo::decode(bytes).map(info))
}

fn info(outline: AgentInfo) -> v1::AgentInfo {
    v1::AgentInfo {
        hostname: lossy(&outline.hostname),
        resources: outline.resources,
        attributes: outline.attributes.into_iter().map(attribute).collect(),
        id: outline.id,
        domain: outline.domain,
        ..v1::AgentInfo::default()
    }
}

fn attribute(outline: Attribute) -> v1::Attribute {
    v1::Attribute {
        name: lossy(&outline.name),
        r#type: outline.kind,
        scalar: outline.scalar,
        ranges: outline.ranges,
        text: outline.text.map(|text| value::Text { value: lossy(&text.value) }),
        set: outline.set.map(|set| value::Set { item: set.item.iter().map(|item| lossy(item)).collect() }),
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_it_is_that_cannot_be_read_is_found_where_only_something_else_is_broken() {
        let id = Some(v1::AgentId { value: "S7".into() });
        let info = v1::AgentInfo { hostname: "node-7".into(), id, ..v1::AgentInfo::default() };
        let mut broken = info.encode_to_vec();
        // Field 3, which is resources, as a number.
        broken.extend([3 << 3, 1]);
        assert_eq!(id_of(&broken, AGENT_INFO.1), "S7");
        assert!(readable(AGENT_INFO, &broken, agent_info).is_none());
        let agent = master::response::get_agents::Agent { agent_info: info, ..Default::default() };
        assert_eq!(id_of(&agent.encode_to_vec(), AGENT.1), "S7");
    }
    use proptest::prelude::*;

    /// What is no UTF-8, once `MARK` is put over with it.
    const MARK: &str = "\u{e9}\u{e9}";

    /// The bytes of a message in which each `MARK` is four bytes that are no UTF-8.
    fn spoiled(message: &impl Message) -> Vec<u8> {
        let mut bytes = message.encode_to_vec();
        for at in 0..bytes.len() {
            if bytes[at..].starts_with(MARK.as_bytes()) {
                bytes[at..at + 4].fill(0xe9);
            }
        }
        bytes
    }

    fn rack(value: &str) -> v1::Attribute {
        let text = Some(value::Text { value: value.into() });
        v1::Attribute { name: "rack".into(), r#type: value::Type::Text as i32, text, ..Default::default() }
    }

    fn offered(id: &str, rack_of: &str) -> v1::Offer {
        v1::Offer {
            id: v1::OfferId { value: id.into() },
            agent_id: v1::AgentId { value: format!("agent-of-{id}") },
            hostname: "node".into(),
            attributes: vec![rack(rack_of)],
            executor_ids: vec![v1::ExecutorId { value: "e".into() }],
            ..v1::Offer::default()
        }
    }

    #[test]
    fn an_offer_with_a_text_that_is_no_utf8_costs_neither_itself_nor_its_neighbours() {
        let offers = Some(wire::event::Offers { offers: vec![offered("o1", "r1"), offered("o2", MARK)] });
        let sent = wire::Event { r#type: Some(2), offers, ..wire::Event::default() };
        let bytes = spoiled(&sent);
        assert!(wire::Event::decode(&bytes[..]).is_err());
        let read = event(&bytes).unwrap().offers.unwrap().offers;
        assert_eq!(read[0], offered("o1", "r1"));
        assert_eq!(read[1], offered("o2", &"\u{fffd}".repeat(4)));
    }

    #[test]
    fn an_update_with_a_message_that_is_no_utf8_is_taken_in_and_can_be_acknowledged() {
        let status = v1::TaskStatus {
            task_id: v1::TaskId { value: "t".into() },
            state: v1::TaskState::TaskFailed as i32,
            message: Some(format!("it said {MARK}")),
            agent_id: Some(v1::AgentId { value: "a".into() }),
            reason: Some(1),
            uuid: Some(vec![0xfe; 16]),
            ..v1::TaskStatus::default()
        };
        let update = Some(wire::event::Update { status: status.clone() });
        let bytes = spoiled(&wire::Event { r#type: Some(4), update, ..wire::Event::default() });
        let read = event(&bytes).unwrap();
        let expected =
            v1::TaskStatus { message: Some(format!("it said {}", "\u{fffd}".repeat(4))), ..status };
        assert_eq!((read.r#type, read.update.unwrap().status), (Some(4), expected));
    }

    #[test]
    fn an_agent_with_a_text_that_is_no_utf8_is_listed_with_all_others() {
        let listed = |id: &str, rack_of: &str| master::response::get_agents::Agent {
            agent_info: v1::AgentInfo {
                hostname: "node".into(),
                attributes: vec![rack(rack_of)],
                id: Some(v1::AgentId { value: id.into() }),
                ..v1::AgentInfo::default()
            },
            active: true,
            version: "1.12.0".into(),
            ..Default::default()
        };
        let recovered = listed("S3", MARK).agent_info;
        let get_agents = Some(master::response::GetAgents {
            agents: vec![listed("S1", MARK), listed("S2", "r2")],
            recovered_agents: vec![recovered],
        });
        let bytes = spoiled(&master::Response { get_agents, ..Default::default() });
        let read = response(&bytes).unwrap().get_agents.unwrap();
        let marked = "\u{fffd}".repeat(4);
        assert_eq!(read.agents, [listed("S1", &marked), listed("S2", "r2")]);
        assert_eq!(read.recovered_agents, [listed("S3", &marked).agent_info]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(event(&bytes));
            drop(response(&bytes));
        }
    }
}
