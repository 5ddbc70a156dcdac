//! Reads and writes messages in both encodings, and refuses those that lack a required field.
//!
//! The generated types cannot tell a missing required field from an empty one; so what comes in is first read by its
//! descriptor. The same descriptor gives JSON in Mesos' style: field names as in the `.proto`, enums by name, 64-bit
//! numbers as numbers.

use super::content::Encoding;
use prost::Message;
use prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, MessageDescriptor, ReflectMessage, SerializeOptions, Value,
};
use std::sync::LazyLock;

static POOL: LazyLock<Option<DescriptorPool>> =
    LazyLock::new(|| DescriptorPool::decode(proto::mesos::DESCRIPTORS).ok());

fn descriptor(name: &str) -> Result<MessageDescriptor, String> {
    POOL.as_ref()
        .and_then(|pool| pool.get_message_by_name(name))
        .ok_or_else(|| format!("there is no message '{name}'"))
}

/// Reads a message; says why not.
pub(crate) fn decode<M: Message + Default>(name: &str, encoding: Encoding, body: &[u8]) -> Result<M, String> {
    let descriptor = descriptor(name)?;
    let message = match encoding {
        Encoding::Protobuf => DynamicMessage::decode(descriptor, body).map_err(|e| e.to_string())?,
        Encoding::Json => {
            let mut json = serde_json::Deserializer::from_slice(body);
            let message = DynamicMessage::deserialize(descriptor, &mut json).map_err(|e| e.to_string())?;
            json.end().map_err(|e| e.to_string())?;
            message
        }
    };
    match missing(&message) {
        Some(path) => Err(format!("missing required field '{path}'")),
        None => message.transcode_to().map_err(|e| e.to_string()),
    }
}

/// Writes a message.
pub(crate) fn encode<M: Message>(name: &str, encoding: Encoding, message: &M) -> Result<Vec<u8>, String> {
    match encoding {
        Encoding::Protobuf => Ok(message.encode_to_vec()),
        Encoding::Json => {
            let mut dynamic = DynamicMessage::new(descriptor(name)?);
            dynamic.transcode_from(message).map_err(|e| e.to_string())?;
            let options = SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(false);
            let mut json = serde_json::Serializer::new(Vec::new());
            dynamic.serialize_with_options(&mut json, &options).map_err(|e| e.to_string())?;
            Ok(json.into_inner())
        }
    }
}

/// The path to the first required field that is not there.
fn missing(message: &DynamicMessage) -> Option<String> {
    let absent = message
        .descriptor()
        .fields()
        .find(|field| field.cardinality() == Cardinality::Required && !message.has_field(field));
    if let Some(field) = absent {
        return Some(field.name().to_owned());
    }
    message.fields().find_map(|(field, value)| {
        let inside = match value {
            Value::Message(inner) => missing(inner),
            Value::List(items) => items.iter().filter_map(Value::as_message).find_map(missing),
            Value::Map(items) => items.values().filter_map(Value::as_message).find_map(missing),
            _ => None,
        }?;
        Some(format!("{}.{inside}", field.name()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::mesos::v1::scheduler;

    const CALL: &str = "mesos.v1.scheduler.Call";

    #[test]
    fn a_missing_required_field_is_named_however_deep_it_is() {
        let kill_without_task = [0x10, 0x06, 0x32, 0x00];
        let problem = decode::<scheduler::Call>(CALL, Encoding::Protobuf, &kill_without_task).unwrap_err();
        assert_eq!(problem, "missing required field 'kill.task_id'");
        assert!(decode::<scheduler::Call>(CALL, Encoding::Protobuf, b"garbage").is_err());
        assert!(decode::<scheduler::Call>(CALL, Encoding::Protobuf, b"").is_ok());
    }

    #[test]
    fn json_and_protobuf_say_the_same() {
        let json = br#"{"type":"KILL","framework_id":{"value":"f"},"kill":{"task_id":{"value":"t"},
            "kill_policy":{"grace_period":{"nanoseconds":3000000000}}}}"#;
        let call = decode::<scheduler::Call>(CALL, Encoding::Json, json).unwrap();
        assert_eq!(call.kill.as_ref().unwrap().task_id.value, "t");
        let back = encode(CALL, Encoding::Json, &call).unwrap();
        let (a, b): (serde_json::Value, serde_json::Value) =
            (serde_json::from_slice(json).unwrap(), serde_json::from_slice(&back).unwrap());
        assert_eq!(a, b);
    }
}
