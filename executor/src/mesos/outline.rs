//! Reads an event of the agent, also when a text in its SUBSCRIBED is no UTF-8: Mesos lets an agent's attributes be any bytes,
//! and without that event nothing would ever run here.
use prost::{DecodeError, Message};
use proto::mesos::v1;
use proto::mesos::v1::executor::Event;
use proto::mesos::v1::executor::event::{Subscribed, Type};

/// What is needed of a SUBSCRIBED event.
#[derive(Clone, PartialEq, Message)]
struct Outline {
    #[prost(int32, optional, tag = "1")]
    kind: Option<i32>,
    #[prost(message, optional, tag = "2")]
    subscribed: Option<Subscription>,
}

#[derive(Clone, PartialEq, Message)]
struct Subscription {
    #[prost(message, required, tag = "2")]
    framework_info: v1::FrameworkInfo,
    #[prost(message, required, tag = "3")]
    agent_info: Agent,
}

#[derive(Clone, PartialEq, Message)]
struct Agent {
    #[prost(bytes = "vec", tag = "1")]
    hostname: Vec<u8>,
    #[prost(message, optional, tag = "6")]
    id: Option<v1::AgentId>,
}

/// Reads an event.
pub(super) fn event(record: &[u8]) -> Result<Event, DecodeError> {
    let whole = match Event::decode(record) {
        Ok(event) => return Ok(event),
        Err(error) => error,
    };
    match Outline::decode(record)? {
        Outline { kind, subscribed: Some(subscribed) } if kind == Some(Type::Subscribed as i32) => {
            tracing::warn!(error = %whole, "the agent describes itself by a text that is no UTF-8; going on without it");
            let agent_info = v1::AgentInfo {
                hostname: String::from_utf8_lossy(&subscribed.agent_info.hostname).into_owned(),
                id: subscribed.agent_info.id,
                ..v1::AgentInfo::default()
            };
            let framework_info = subscribed.framework_info;
            let subscribed = Some(Subscribed { framework_info, agent_info, ..Subscribed::default() });
            Ok(Event { r#type: kind, subscribed, ..Event::default() })
        }
        _ => Err(whole),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_subscription_is_taken_although_an_attribute_of_the_agent_is_no_utf8() {
        let text = Some(v1::value::Text { value: "\u{e9}\u{e9}".into() });
        let rack = v1::Attribute { name: "rack".into(), text, ..v1::Attribute::default() };
        let agent_info =
            v1::AgentInfo { hostname: "node-1".into(), attributes: vec![rack], ..v1::AgentInfo::default() };
        let framework_info =
            v1::FrameworkInfo { user: "root".into(), name: "logherd".into(), ..Default::default() };
        let subscribed =
            Some(Subscribed { framework_info: framework_info.clone(), agent_info, ..Default::default() });
        let sent = Event { r#type: Some(Type::Subscribed as i32), subscribed, ..Event::default() };
        let mut bytes = sent.encode_to_vec();
        let at = bytes.windows(4).position(|window| window == "\u{e9}\u{e9}".as_bytes()).unwrap();
        bytes[at..at + 4].fill(0xe9);
        assert!(Event::decode(&bytes[..]).is_err());
        let read = event(&bytes).unwrap().subscribed.unwrap();
        assert_eq!((read.agent_info.hostname.as_str(), read.framework_info), ("node-1", framework_info));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(event(&bytes));
        }
    }
}
